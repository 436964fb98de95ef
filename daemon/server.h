/* SPDX-License-Identifier: MIT */
/*
 * The server: libuv's loop with the listening socket, the signals and the timers, and the list of
 * connections. It ends with SIGTERM, SIGINT, or when it was idle for as long as the options say.
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "daemon/broker.h"
#include "daemon/dispatch.h"
#include "daemon/options.h"
#include "proto/envelope.h"

/* How often is looked again at what no event tells of: at doubled distances. */
#define RECHECK_FIRST_MS 1u
#define RECHECK_LAST_MS 80u

struct connection;

struct server {
    uv_loop_t loop;
    uv_poll_t listener;
    uv_poll_t bells; /* of bells_fd */
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_timer_t deadline; /* of the request that times out next */
    uv_timer_t recheck;  /* of sessions whose connection is gone but whose mappings aren't */
    uv_timer_t idle;
    uv_timer_t again; /* until connections are accepted once more */
    int listen_fd;
    int bells_fd; /* an epoll instance, of the bells that are listened to */
    bool accepting;
    bool full;        /* it was logged that there is no room for more connections */
    uint64_t full_at; /* ms of the loop's clock, when that was last so */
    bool stopping;
    int64_t armed; /* what the deadline timer is set to */
    uint64_t recheck_ms;
    long exit_idle;
    struct broker *broker;
    struct dispatch dispatch;
    struct decoder decoder;
    struct answer answer;
    TAILQ_HEAD(, connection) connections;
    unsigned connection_count;
    unsigned uncollected; /* descriptors for clients that perhaps haven't received them yet */
    unsigned uncollected_max;
};

/*
 * Lets SIGTERM and SIGINT wait or come through. They wait from the program's begin until the loop
 * takes them, and again once it ends, so that there is no moment in which they kill a daemon that
 * has something to put away.
 */
void server_hold_signals(bool hold);

/* Serves until it is told to end. `listen_fd` stays the caller's. 0 or a negated errno. */
int server_run(struct server *server, struct broker *broker, const char *instance, int listen_fd,
               long exit_idle);

/* What the connections tell the server. */
void server_connection_added(struct server *server, struct connection *connection);
void server_connection_removed(struct server *server, struct connection *connection);

/*
 * Calls connection_rung() each time the bell is rung, until it is forgotten, which it must be before it
 * is closed. 0 or a negated errno.
 */
int server_add_bell(struct server *server, struct connection *connection, int bell);
void server_forget_bell(const struct server *server, int bell);

/*
 * The session of a connection that is gone still lives. The server calls connection_recheck() after
 * a while: a short one after something happened (`soon`), a longer one each time nothing did.
 */
void server_look_again(struct server *server, bool soon);

/* The distance that follows this one. */
uint64_t server_recheck_longer(uint64_t ms);

/* Looks at all connections for descriptors that have been received meanwhile. */
void server_collect(struct server *server);

/* The broker's offload: each job gets a thread. The context is the server. */
int server_offload(void *context, struct job *job);

/* Tells the broker what time it is. */
void server_tell_time(const struct server *server);

/* Deadlines may have changed. */
void server_arm(struct server *server);

#endif
