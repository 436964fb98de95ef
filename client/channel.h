/* SPDX-License-Identifier: MIT */
/*
 * The channel carries the calls of many threads over one socket, side by side: requests out, each
 * reply to the call that waits for it. It owns the socket.
 *
 * There is no thread behind it. One of those that wait reads for all of them; when its own reply is
 * there, it leaves that to another. A call alone on the channel is one send() and one recvmsg(),
 * and no memory is taken.
 *
 * A call can also be started, and its reply taken later: whoever reads meanwhile takes it for it. When
 * who waits for it is late, it stays under way: what it brings isn't lost.
 *
 * When the connection is lost, whoever reads makes a new one and resumes the session on it; then each
 * call that was under way is sent again by its own thread, in the order in which they began. A call
 * that was started ends instead: it is nobody's need. Each part of this has a file of its own:
 * pending (the calls, and how long they may take), sending, reading, reconnect, and loss, which is
 * where a connection ends.
 *
 * A peer that breaks the protocol, or knows the session no more, breaks the channel: that is a state,
 * in which each call, those under way too, fails with FASTALLOC_ERR_DISCONNECTED and the reason.
 */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include <fastalloc/fastalloc.h>

#include "client/call.h"
#include "client/inbox.h"
#include "client/resume.h"
#include "client/settle.h"

/* One that nobody is going to wait for soon is started only while fewer than so many others are. */
#define CHANNEL_AHEAD_MAX 2u

enum channel_state {
    CHANNEL_UP,       /* connected, and the session is ours */
    CHANNEL_DOWN,     /* not connected */
    CHANNEL_RESUMING, /* connected, and the daemon was asked for the session */
    CHANNEL_BROKEN,   /* for ever */
};

struct channel {
    pthread_mutex_t lock; /* of all below but what belongs to the reader */
    int fd;               /* the same number for all connections, one after the other */
    uid_t uid;            /* the daemon's */
    enum channel_state state;
    uint32_t era; /* connections that were lost */
    bool sending; /* somebody waits for room to send the rest of `out` */
    bool reading; /* somebody owns the inbox */
    uint32_t last_msgid;
    uint64_t last_number; /* of allocates */
    uint32_t last_change;
    unsigned started;         /* calls without a reply yet */
    unsigned abandoned;       /* whose replies may yet come */
    size_t unsent;            /* of the pending ones */
    size_t allocates;         /* the same */
    struct call_list pending; /* in the order in which they began */
    struct call_list changes; /* those of them that have a number, in its order */
    struct settle settle;
    struct resume resume;
    msgpack_sbuffer out;
    size_t out_begin; /* what goes before it is in the socket */
    struct inbox inbox;

    /* While there is no connection; of CLOCK_MONOTONIC. */
    bool proven;     /* the last one has answered a call */
    bool tried;      /* to connect since it was lost, or since a call asked for a try */
    int failure;     /* of the last try; 0 = there was none */
    int64_t lost_at; /* since when no daemon has answered a call, later by how long one was up */
    int64_t retry_at;
    int64_t retry_wait;
    pthread_cond_t retry;
    int64_t connected_at;
    uint64_t resumed; /* atomic */

    int64_t reply_limit;
    int64_t reconnect_limit;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char reason[FASTALLOC_NAME_MAX + PROTOCOL_TEXT_MAX]; /* of its not being up */
};

struct channel_options {
    const char *path;
    int64_t reply_limit;
    int64_t reconnect_limit;
};

/* Takes over the connected socket, also when it fails. -ENOMEM or another negated errno. */
int channel_init(struct channel *channel, int fd, const struct channel_options *options);

/*
 * Ends the connection itself, of which a forked child may hold another descriptor. Not in such a
 * child, where it would end the parent's.
 */
void channel_hang_up(struct channel *channel);

/* Closes this process' descriptor and frees the rest. No call may be under way. */
void channel_deinit(struct channel *channel);

/* From now on a lost connection isn't the end: the session is resumed. */
void channel_keep(struct channel *channel, uint64_t session,
                  const uint8_t token[PROTOCOL_TOKEN_SIZE]);

/* How often it was. */
uint64_t channel_resumed(const struct channel *channel);

/* Whether the session can have one more pool open. */
bool channel_has_room_for_pool(struct channel *channel);

/* The pool's bell is about to be closed. */
void channel_forget_bell(struct channel *channel, uint32_t pool);

/* So is the pool. Whether the daemon is to be told: else the next resume, which doesn't name it, does. */
bool channel_forget_pool(struct channel *channel, uint32_t pool);

/* Sends the request and waits for the reply. 0, or the code that is raised in call->error. */
int channel_call(struct channel *channel, struct call *call);

/*
 * Has a lost connection made anew that nobody else notices, since this process asks the daemon for
 * nothing: what it rings for on the bell of a daemon that is gone nobody hears. Waits for a moment at
 * most, and not at all while others use the channel. Where the daemon needs more time than that to
 * resume the session, the next one goes on with it.
 */
void channel_revive(struct channel *channel);

/*
 * Sends the request and waits for nothing, neither for its reply nor for room in the socket. False:
 * not now, `most` others were started and aren't answered, or it can't be sent. Else the call and all
 * that it points to stay where they are until channel_wait() or channel_is_over() says that it is
 * over, or until channel_abandon().
 */
bool channel_start(struct channel *channel, struct call *call, unsigned most);

/*
 * Waits for the reply to a call that was started, as channel_call() would within this time from
 * `begun` on. Whether it is over, with its result in call->result; else it stays under way.
 */
bool channel_wait(struct channel *channel, struct call *call, int64_t begun, int64_t timeout);

/* Forgets a call that was started: its reply won't be looked at. False: that is there already. */
bool channel_abandon(struct channel *channel, struct call *call);

/*
 * Of a call that was started nobody will finish: `take` takes its reply, whichever thread reads it
 * then. False: that is there already, and the call is over.
 */
bool channel_leave(struct channel *channel, struct call *call, call_take_t take);

/* Whether a call that was left has its reply by now, or will never have one. */
bool channel_is_over(struct channel *channel, struct call *call);

#endif
