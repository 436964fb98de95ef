/* SPDX-License-Identifier: MIT */
/*
 * The broker: all that an instance serves, its pools, its sessions, who waits and what happened. It
 * decides who gets what, with demand.h, growing.h and notice.h, which are parts of it. No socket
 * and no message's bytes get here; time comes in as a number.
 */
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/access.h"
#include "daemon/deadline.h"
#include "daemon/events.h"
#include "daemon/job.h"
#include "daemon/pool.h"
#include "daemon/quota.h"
#include "daemon/registry.h"
#include "daemon/session.h"
#include "proto/message.h"

#define BROKER_SESSION_WAITERS 1024u /* requests of one session that wait */
#define BROKER_WAITERS 65536u        /* of all */

/*
 * The answer to a request that had to wait: the method's reply, or an error. `connection` is the
 * session's. Must not call the broker.
 */
typedef void (*broker_answer)(void *connection, uint32_t msgid, enum method method,
                              const void *reply, const struct error *error);

/*
 * Another connection has taken over the session of this one, which may be gone already: it has none
 * any more. Must not call the broker.
 */
typedef void (*broker_let_go)(void *connection);

/* What a request may come to at once. */
enum broker_outcome { BROKER_DONE, BROKER_WAITS, BROKER_REFUSED };

/* What the rim does for the broker. */
struct broker_rim {
    broker_answer answer;
    broker_let_go let_go;
    job_offload offload; /* NULL: jobs are done at once */
    void *context;       /* for offload */
};

struct broker {
    struct registry registry;
    struct journal journal;
    TAILQ_HEAD(, pool) pools; /* oldest first */
    uint32_t pool_count;
    struct session_list sessions; /* oldest first */
    uint32_t session_count;
    struct deadlines deadlines;
    uint32_t waiter_count;
    uint32_t job_count; /* under way */
    struct listeners listeners;
    struct events events;
    struct users users; /* of the instance */
    struct broker_rim rim;
    struct event_info heard[PROTOCOL_LIST_MAX];             /* of the reply that is being made */
    int64_t now;                                            /* see broker_set_time() */
    uint32_t uid;                                           /* the daemon's own user */
    struct create_rule create;                              /* who may make pools */
    uint8_t handles[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE]; /* of the reply that is being made */
    uint8_t served[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE];  /* of one to a request that waited */
    bool ending;                                            /* nobody asks for anything any more */
    bool recovering; /* nobody asks yet, and there is no loop that jobs could be given to */
};

/*
 * With the registry at the path, for recovery_run(), or a new one. 0; -EPROTO if what is there is none
 * of this version; or another negated errno.
 */
int broker_init(struct broker *broker, const char *registry, const struct broker_rim *rim,
                int64_t now);

/*
 * The end of the instance; no session is connected any more and no job under way. Sessions whose
 * mappings are gone are ended. If none lives and nothing is allocated, all objects are removed:
 * true. Else everything is kept for the next start: false, and the numbers of what was kept; of
 * nothing, if objects that are nobody's are left, since they couldn't be removed.
 */
bool broker_deinit(struct broker *broker, uint32_t *kept_pools, uint32_t *kept_sessions);

/* Frees what this process knows of it; the objects and the registry stay. */
void broker_forget(struct broker *broker);

/* The instance is about to end: whoever waits gets SHUTTING_DOWN. Nobody may ask any more. */
void broker_refuse_all(struct broker *broker);

/* What time it is, in ns of the monotonic clock: to be told before anything that happens then. */
void broker_set_time(struct broker *broker, int64_t now);

/* When broker_pass_time() is to be called; DEADLINE_NEVER. */
int64_t broker_next_deadline(const struct broker *broker);

/* Does what is due: requests time out, quiet pools are trimmed, ... */
void broker_pass_time(struct broker *broker);

/* One more request of the session may wait, and is charged. False with LIMIT_EXCEEDED, QUOTA_... */
bool broker_may_wait(const struct broker *broker, const struct session *session,
                     struct charge *waiting, struct error *error);
/* When a request with that timeout is over. */
int64_t broker_deadline(const struct broker *broker, int64_t timeout);
/* Something was allocated or freed in the pool: it may have deadlines now. */
void broker_arm_pool(struct broker *broker, struct pool *pool);
/* And the end of a pool that is destroyed already. */
void broker_release_pool(struct pool *pool);

/* For recovery.h: what is there already becomes one of the broker's, charged to whom it is. */
void broker_add_pool(struct broker *broker, struct pool *pool, struct registry_pool *entry);
void broker_add_session(struct broker *broker, struct session *session, struct user *user);
/* The instance's user of a session of that uid, or NULL without memory. */
struct user *broker_get_session_user(struct broker *broker, uid_t uid);

/* ---- Sessions */

/* INVALID_..., LIMIT_EXCEEDED, QUOTA_EXCEEDED, OUT_OF_MEMORY, SHARED_MEMORY_FULL, SYSTEM. */
bool broker_begin_session(struct broker *broker, const struct peer *peer, const char *name,
                          bool witnessed, void *connection, struct session **session,
                          struct error *error);

/* The session's connection is gone: its waiting requests are too. */
void broker_disconnect(struct broker *broker, struct session *session);

/* NULL if there is none of the number. */
struct session *broker_find_session(const struct broker *broker, uint64_t id);

/* The session is the connection's now, which that peer made, whether it still had another or not. */
void broker_resume(struct broker *broker, struct session *session, const struct peer *peer,
                   void *connection);

/* Ends the session and frees what it held, if it isn't alive any more. Returns whether it ended. */
bool broker_end_session(struct broker *broker, struct session *session);

/* Ends one that was begun just now and nobody has heard of, so that its witness needn't be asked. */
void broker_withdraw_session(struct broker *broker, struct session *session);

/*
 * The session leaves the pool: its requests that wait there are refused. Returns the slots freed.
 */
uint32_t broker_close_pool(struct broker *broker, struct session *session,
                           struct membership *membership);

/* ---- Pools */

struct pool *broker_find_pool(const struct broker *broker, const char *name);

/* POOL_EXISTS, LIMIT_EXCEEDED, QUOTA_EXCEEDED, and what pool_create() says. The name is valid. */
bool broker_create_pool(struct broker *broker, const struct pool_config *config, struct pool **pool,
                        struct error *error);

/*
 * Whoever waits there gets POOL_DESTROYED, every handle is stale. Returns how many objects it had.
 */
uint32_t broker_destroy_pool(struct broker *broker, struct pool *pool);

/* Gives back the memory of the pool's free slots. Returns how many bytes. */
uint64_t broker_trim(struct broker *broker, struct pool *pool);

/* Asserts the laws of everything; for tests. */
void broker_check(const struct broker *broker);

#endif
