/* SPDX-License-Identifier: MIT */
/*
 * A connection: one client's socket and the pidfd of its process. Bytes in, scanned, decoded and
 * dispatched; replies out.
 *
 * It is held, that is, no further request of it is taken, while it leaves too many replies unread,
 * or descriptors that it was sent uncollected. So nothing of it grows without a limit, and who
 * reads is never cut off. Who holds still for too long is.
 *
 * It outlives its socket for as long as its session does, since the client's mappings may outlive
 * the socket too; and its socket stays open, though not served, for as long as descriptors are on
 * their way in it, since they count against the daemon until then.
 */
#ifndef DAEMON_CONNECTION_H
#define DAEMON_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "daemon/dispatch.h"
#include "daemon/inbox.h"
#include "daemon/outbox.h"
#include "daemon/server.h"

#define CONNECTION_UNREAD_MAX 65536u  /* bytes of replies, above which no request is taken */
#define CONNECTION_TURN_MAX 16u       /* requests taken in one turn of the loop */
#define CONNECTION_HELD_MAX_MS 10000u /* without reading anything, then it is cut off */

/* Why no more requests are taken for now. */
enum pause {
    PAUSE_INPUT,    /* there is no whole one */
    PAUSE_TURN,     /* others are to have their turn */
    PAUSE_UNREAD,   /* too many replies that the client doesn't read */
    PAUSE_CARRIERS, /* the next one asks for descriptors, and others aren't collected yet */
};

struct connection {
    TAILQ_ENTRY(connection) in_server;
    struct server *server;
    struct caller caller;
    uv_poll_t socket;
    uv_poll_t process;
    uv_timer_t look;       /* again, while requests wait */
    int socket_fd;         /* -1: gone */
    int pidfd;             /* -1: none, or the process is gone */
    int events;            /* what the socket is polled for */
    unsigned open_handles; /* libuv's */
    bool released;         /* goes with the last of them */
    bool served;           /* the socket is polled */
    bool listens;          /* the server listens to the bell */
    bool doomed;           /* cut off; waits for the loop to come round */
    enum pause pause;      /* whether requests wait */
    uint64_t look_ms;      /* what the timer was set to */
    uint64_t moved_at;     /* ms of the loop's clock, when it read or had a request taken */
    int unread;            /* as socket_unread() said when it looked last */
    unsigned uncollected;  /* descriptors for it that it perhaps hasn't received yet */
    struct inbox inbox;
    struct outbox outbox;
};

/* Takes over the accepted socket. 0 or a negated errno, then the socket is closed. */
int connection_new(struct server *server, int fd);

/*
 * The server begins with a session that a dead daemon left: one whose connection is gone, until it is
 * resumed. 0 or -ENOMEM.
 */
int connection_adopt(struct server *server, struct session *session);

/* The broker's: its session is another connection's now, so it is closed, if it isn't yet. */
void connection_let_go(void *keeper);

/* The broker's answer function. */
void connection_answer(void *asker, uint32_t msgid, enum method method, const void *answer,
                       const struct error *error);

/* Ends the connection, and its session if that isn't alive any more. */
void connection_close(struct connection *connection);

/*
 * Looks again whether the session of a connection that is gone has ended, of which no event tells; if
 * not, for what it freed in leased pools, of which it perhaps can't tell any more.
 * `soon` as in server_look_again().
 */
void connection_recheck(struct connection *connection, bool soon);

/* Its process has rung the bell. */
void connection_rung(struct connection *connection);

/* Looks whether descriptors that were sent have been received meanwhile. */
void connection_collect(struct connection *connection);

/* The server ends: gives everything up, the session stays as it is. */
void connection_abandon(struct connection *connection);

#endif
