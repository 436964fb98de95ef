/* SPDX-License-Identifier: MIT */
/*
 * The broker: all that an instance serves, its pools, its sessions and the requests that wait. It
 * decides who gets what. No socket and no message gets here; time comes in as a number.
 */
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/access.h"
#include "daemon/pool.h"
#include "daemon/registry.h"
#include "daemon/session.h"
#include "daemon/waitqueue.h"
#include "proto/message.h"

#define BROKER_SESSION_WAITERS 1024u /* requests of one session that wait */
#define BROKER_WAITERS 65536u        /* of all */

/*
 * The answer to a request that had to wait: the handles, or an error. `connection` is the
 * session's. Must not call the broker.
 */
typedef void (*broker_answer)(void *connection, uint32_t msgid, const struct allocate_reply *reply,
                              const struct error *error);

struct broker {
    struct registry registry;
    TAILQ_HEAD(, pool) pools;     /* oldest first */
    struct session_list sessions; /* oldest first */
    uint32_t session_count;
    struct deadlines deadlines;
    uint32_t waiter_count;
    broker_answer answer;
    uint32_t uid;                                           /* the daemon's own user */
    struct create_rule create;                              /* who may make pools */
    uint8_t handles[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE]; /* of the reply that is being made */
};

/* With a new registry at the path. 0 or a negated errno. */
int broker_init(struct broker *broker, const char *registry, broker_answer answer);

/*
 * The end of the instance; no session is connected any more. Sessions whose mappings are gone are
 * ended. If none lives and nothing is allocated, all objects are removed: true. Else everything is
 * kept for the next start: false, and the numbers of what was kept.
 */
bool broker_deinit(struct broker *broker, uint32_t *kept_pools, uint32_t *kept_sessions);

/* The instance is about to end: whoever waits gets SHUTTING_DOWN. Nobody may ask any more. */
void broker_refuse_all(struct broker *broker);

/* ---- Sessions */

/* INVALID_..., LIMIT_EXCEEDED, OUT_OF_MEMORY, SHARED_MEMORY_FULL, SYSTEM. */
bool broker_begin_session(struct broker *broker, const struct peer *peer, const char *name,
                          bool witnessed, void *connection, struct session **session,
                          struct error *error);

/* The session's connection is gone: its waiting requests are too. */
void broker_disconnect(struct broker *broker, struct session *session);

/* Ends the session and frees what it held, if it isn't alive any more. Returns whether it ended. */
bool broker_end_session(struct broker *broker, struct session *session);

/*
 * The session leaves the pool: its requests that wait there are refused. Returns the slots freed.
 */
uint32_t broker_close_pool(struct broker *broker, struct session *session,
                           struct membership *membership);

/* ---- Pools */

struct pool *broker_find_pool(const struct broker *broker, const char *name);

/* POOL_EXISTS, LIMIT_EXCEEDED, and what pool_create() says. The name is valid. */
bool broker_create_pool(struct broker *broker, const struct pool_config *config, struct pool **pool,
                        struct error *error);

/*
 * Whoever waits there gets POOL_DESTROYED, every handle is stale. Returns how many objects it had.
 */
uint32_t broker_destroy_pool(struct broker *broker, struct pool *pool);

/* ---- Slots */

enum broker_outcome { BROKER_DONE, BROKER_WAITS, BROKER_REFUSED };

/*
 * Allocates, or puts the request in the queue, or refuses it with POOL_EXHAUSTED, LIMIT_EXCEEDED or
 * OUT_OF_MEMORY. When it is done the reply's handles point into the broker.
 */
enum broker_outcome broker_allocate(struct broker *broker, struct session *session,
                                    const struct membership *membership,
                                    const struct allocate_request *request, uint32_t msgid,
                                    int64_t now, struct allocate_reply *reply, struct error *error);

bool broker_free(struct broker *broker, const struct membership *membership,
                 const struct bytes *handles, struct error *error);

/* When the next waiting request times out; WAITER_FOREVER if none does. */
int64_t broker_next_deadline(const struct broker *broker);

/* Answers TIMEOUT to every request whose deadline has passed. */
void broker_expire(struct broker *broker, int64_t now);

/* Asserts the laws of everything; for tests. */
void broker_check(const struct broker *broker);

#endif
