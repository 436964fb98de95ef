/* SPDX-License-Identifier: MIT */
/*
 * A connection: one client's socket and the pidfd of its process. Bytes in, scanned, decoded and
 * dispatched; replies out. What a client can make grow here ends at a fixed limit, beyond which it
 * is cut off.
 *
 * It outlives its socket for as long as its session does: the client's mappings may outlive the
 * socket too.
 */
#ifndef DAEMON_CONNECTION_H
#define DAEMON_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "daemon/dispatch.h"
#include "daemon/server.h"
#include "proto/scan.h"

#define CONNECTION_INBOX_MIN 4096u     /* bytes; it grows to one message */
#define CONNECTION_OUTBOX_MAX 262144u  /* bytes of replies that the client doesn't read */
#define CONNECTION_UNCOLLECTED_MAX 24u /* descriptors that the client doesn't receive */

struct connection {
    TAILQ_ENTRY(connection) in_server;
    struct server *server;
    struct caller caller;
    uv_poll_t socket;
    uv_poll_t process;
    int socket_fd;         /* -1: gone */
    int pidfd;             /* -1: none, or the process is gone */
    unsigned open_handles; /* libuv's */
    bool released;         /* goes with the last of them */
    bool doomed;           /* cut off; waits for the loop to come round */
    bool writing;          /* waits for room in the socket */
    struct scan scan;
    uint8_t *inbox;
    size_t inbox_size;
    size_t inbox_room;
    msgpack_sbuffer outbox;
    size_t outbox_sent;
    unsigned uncollected;
};

/* Takes over the accepted socket. 0 or a negated errno, then the socket is closed. */
int connection_new(struct server *server, int fd);

/* The broker's answer function. */
void connection_answer(void *asker, uint32_t msgid, const struct allocate_reply *reply,
                       const struct error *error);

/* Ends the connection, and its session if that isn't alive any more. */
void connection_close(struct connection *connection);

/* Whether it is there for its session alone. */
bool connection_is_orphan(const struct connection *connection);

/* Looks again whether the orphan's session is still alive; `soon` as in server_look_again(). */
void connection_recheck(struct connection *connection, bool soon);

/* The server ends: gives everything up, the session stays as it is. */
void connection_abandon(struct connection *connection);

/* Looks whether descriptors that were sent have been received meanwhile. */
void connection_collect(struct connection *connection);

#endif
