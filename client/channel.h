/* SPDX-License-Identifier: MIT */
/*
 * The channel carries the calls of many threads over one socket, side by side: requests out, each
 * reply to the call that waits for it. It owns the socket.
 *
 * There is no thread behind it. One of those that wait reads for all of them; when its own reply is
 * there, it leaves that to another. A call alone on the channel is one send() and one recvmsg(),
 * and no memory is taken.
 *
 * A call can also be started, and its reply taken later: whoever reads meanwhile takes it for it. So
 * few of them are under way at once that their replies, unread, keep the daemon from nothing.
 *
 * A peer that breaks the protocol, goes away or doesn't answer breaks the channel: that is a state,
 * in which each call, those under way too, fails with FASTALLOC_ERR_DISCONNECTED and the reason.
 */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include <fastalloc/fastalloc.h>

#include "client/inbox.h"
#include "proto/message.h"

/* Calls that are started and not answered yet. */
#define CHANNEL_STARTED_MAX 2u

struct call;

/*
 * Takes out of the reply, already decoded, what lies in the message (bytes, lists) or came beside
 * it (descriptors): they are gone afterwards. Called by whichever thread reads. 0;
 * FASTALLOC_ERR_MALFORMED, with call->complaint, which breaks the channel; or another code that it
 * has raised in call->error.
 */
typedef int (*call_take_t)(struct call *call, struct descriptors *arrived);

/* One call, on its caller's stack; or where it stays until it is finished, if it is started. */
struct call {
    enum method method;
    const void *request; /* struct <method>_request */
    void *reply;         /* struct <method>_reply */
    call_take_t take;    /* or NULL */
    void *context;       /* for `take` */
    int64_t timeout;     /* how long the request lets the daemon wait; negative: for ever */
    fastalloc_error_t *error;
    const char *complaint;

    /* The channel's. */
    uint32_t msgid;
    int result;
    bool sent;
    bool done;
    bool waits;   /* for another thread that reads */
    bool started; /* by channel_start() */
    int64_t deadline;
    pthread_cond_t wake;
    struct call *next;
    struct call **link; /* NULL: not in the list */
};

struct channel {
    pthread_mutex_t lock; /* of all below but what belongs to the reader */
    int fd;
    bool broken;
    bool sending; /* somebody has sent a part of `out` and waits to send the rest */
    bool reading; /* somebody owns the inbox */
    uint32_t last_msgid;
    unsigned started;   /* calls without a reply yet */
    unsigned abandoned; /* whose replies may yet come */
    int64_t reply_limit;
    int64_t patience; /* how long one blocking receive may last */
    pthread_cond_t turn;
    struct call *pending;
    msgpack_sbuffer out;
    struct inbox inbox;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char reason[FASTALLOC_NAME_MAX + PROTOCOL_TEXT_MAX];
};

/* Takes over the connected socket, also when it fails. -ENOMEM or another negated errno. */
int channel_init(struct channel *channel, int fd, const char *path, int64_t reply_limit);

/*
 * Ends the connection itself, of which a forked child may hold another descriptor. Not in such a
 * child, where it would end the parent's.
 */
void channel_hang_up(struct channel *channel);

/* Closes this process' descriptor and frees the rest. No call may be under way. */
void channel_deinit(struct channel *channel);

/* Sends the request and waits for the reply. 0, or the code that is raised in call->error. */
int channel_call(struct channel *channel, struct call *call);

/*
 * Sends the request, whose reply nobody waits for. False: not now, others are under way, or it can't
 * be sent. Else the call and all that it points to stay where they are until channel_finish() or
 * channel_abandon(), one of which must follow, or until channel_is_over() after channel_leave().
 */
bool channel_start(struct channel *channel, struct call *call);

/* Waits for the reply to a call that was started, if it isn't there already; as channel_call(). */
int channel_finish(struct channel *channel, struct call *call);

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
