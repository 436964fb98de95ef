/* SPDX-License-Identifier: MIT */
/*
 * libfastalloc for those who look after pools rather than use them: make, list, change and destroy
 * pools, see who holds what, and what happened. Nothing is mapped. What <fastalloc/fastalloc.h>
 * says of results, errors and threads holds here.
 */
#ifndef FASTALLOC_ADMIN_H
#define FASTALLOC_ADMIN_H

#include <sys/types.h>

#include <fastalloc/fastalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Daemon ---------------------------------------------------------------------------------- */

typedef struct fastalloc_daemon_info {
    size_t size;
    pid_t pid;
    char release[FASTALLOC_NAME_MAX + 1];  /* "0.1.0" */
    char instance[FASTALLOC_NAME_MAX + 1]; /* "default" */
} fastalloc_daemon_info_t;

#define FASTALLOC_DAEMON_INFO_INIT FASTALLOC_SIZED(fastalloc_daemon_info_t)

/* One round trip to the daemon, which says who it is. */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_ping(fastalloc_connection_t *connection,
                                                         fastalloc_daemon_info_t *info,
                                                         fastalloc_error_t *error);

/* ---- Pools ----------------------------------------------------------------------------------- */

/*
 * Makes a pool, owned by the caller; of the options `access` and `create` don't matter.
 *
 * FASTALLOC_ERR_POOL_EXISTS, FASTALLOC_ERR_INVALID_CAPACITY, FASTALLOC_ERR_INVALID_ALIGNMENT,
 * FASTALLOC_ERR_INVALID_OBJECT_SIZE, FASTALLOC_ERR_INVALID_ARGUMENT [field],
 * FASTALLOC_ERR_SHARED_MEMORY_FULL, FASTALLOC_ERR_QUOTA_EXCEEDED, FASTALLOC_ERR_LIMIT_EXCEEDED,
 * FASTALLOC_ERR_NOT_PERMITTED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_pool_create(fastalloc_connection_t *connection, const char *name,
                      const fastalloc_open_options_t *options, fastalloc_error_t *error);

/*
 * Lets a pool grow to `capacity_max` slots from now on, if that isn't 0, and has it grow to
 * `capacity`, if it has fewer. The maximum can be raised, of a pool that never grew too, up to the
 * addresses that were reserved for it (fastalloc_pool_info_t), and is never lowered. Who has the
 * pool open needn't do anything.
 *
 * By those who may administer it: its owner, those whom its mode gives x, the daemon's user, root.
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED, FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED,
 * FASTALLOC_ERR_INVALID_CAPACITY, FASTALLOC_ERR_SHARED_MEMORY_FULL, FASTALLOC_ERR_QUOTA_EXCEEDED,
 * FASTALLOC_ERR_LIMIT_EXCEEDED (too many wait for it to grow), FASTALLOC_ERR_POOL_DESTROYED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_grow(fastalloc_connection_t *connection,
                                                              const char *name, uint64_t capacity,
                                                              uint64_t capacity_max,
                                                              fastalloc_error_t *error);

/*
 * Gives back the memory of the data of free slots; it is taken again before a slot is allocated.
 * *bytes, if not NULL, is how much; if the daemon ended amid it, what the next one gave back. By those
 * who may administer the pool.
 *
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_trim(fastalloc_connection_t *connection,
                                                              const char *name, uint64_t *bytes,
                                                              fastalloc_error_t *error);

/*
 * Begins the pool's statistics anew. By those who may administer it.
 *
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_pool_reset_stats(fastalloc_connection_t *connection, const char *name,
                           fastalloc_error_t *error);

/*
 * Destroys a pool. By those who may administer it. With `force` even while slots are
 * allocated or processes have it open: their handles are stale at once, and the memory goes when
 * they close it.
 *
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED, FASTALLOC_ERR_POOL_IN_USE.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_destroy(fastalloc_connection_t *connection,
                                                                 const char *name, bool force,
                                                                 fastalloc_error_t *error);

typedef struct fastalloc_pool_info {
    size_t size;
    uint32_t id;
    uint32_t mode;
    uid_t uid;
    gid_t gid;
    uint64_t object_size;
    uint64_t stride;
    uint64_t alignment;
    uint64_t capacity;
    uint64_t capacity_max; /* it may grow to */
    uint64_t reserve;      /* and capacity_max may be raised to */
    uint64_t allocated;
    uint64_t members; /* sessions that have it open */
    uint64_t memory;  /* bytes of shared memory */
    /* As in fastalloc_open_options_t. */
    uint64_t grow_ahead;
    uint64_t reserve_critical;
    uint64_t reserve_normal;
    uint64_t session_slots;
    uint64_t user_slots;
    uint64_t template_size;
    uint64_t hold_limit;
    uint64_t trim_after;
    int32_t zero;
    bool owner_frees;
    bool prefault;
    bool lock;
    bool huge;
    char growth[192];
    char watermark[16];
    char name[FASTALLOC_NAME_MAX + 1];
    char type[FASTALLOC_NAME_MAX + 1];
    int32_t kind; /* enum fastalloc_kind */
    bool damaged; /* a member of the leased pool broke words in it; slots were taken out of use */
} fastalloc_pool_info_t;

#define FASTALLOC_POOL_INFO_INIT FASTALLOC_SIZED(fastalloc_pool_info_t)

/* One pool, by name. FASTALLOC_ERR_NO_SUCH_POOL. */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_show(fastalloc_connection_t *connection,
                                                              const char *name,
                                                              fastalloc_pool_info_t *info,
                                                              fastalloc_error_t *error);

/*
 * Calls `visit` for each pool, oldest first. The info is good during the call. A visitor that
 * returns other than 0 ends the walk, and that is what the function returns. The visitor may use
 * the connection.
 */
typedef int (*fastalloc_pool_visitor_t)(const fastalloc_pool_info_t *info, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_list(fastalloc_connection_t *connection,
                                                              fastalloc_pool_visitor_t visit,
                                                              void *context,
                                                              fastalloc_error_t *error);

/* ---- Sessions -------------------------------------------------------------------------------- */

typedef struct fastalloc_session_info {
    size_t size;
    uint64_t id;
    pid_t pid; /* as the daemon sees it; 0 from another pid namespace. For people only */
    uid_t uid;
    bool connected;   /* false: the connection is gone but the process still has its pools mapped */
    uint32_t pools;   /* it has open */
    uint32_t waiting; /* requests */
    uint64_t allocated; /* slots, in all pools; what it has cached in leased ones as well */
    char name[FASTALLOC_NAME_MAX + 1];
} fastalloc_session_info_t;

/* Calls `visit` for each session, oldest first, as fastalloc_pool_list() does for pools. */
typedef int (*fastalloc_session_visitor_t)(const fastalloc_session_info_t *info, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_session_list(fastalloc_connection_t *connection,
                                                                 fastalloc_session_visitor_t visit,
                                                                 void *context,
                                                                 fastalloc_error_t *error);

/* ---- Who holds what, and what happened ------------------------------------------------------- */

typedef struct fastalloc_holder_info {
    size_t size;
    uint64_t session; /* 0: the pool itself, of what was detached */
    pid_t pid;
    uid_t uid;
    bool connected;
    uint64_t slots;  /* it holds, alone or with others */
    uint64_t oldest; /* ns that what it holds longest is held, be it with others; a daemon that is
                        started counts anew */
    char name[FASTALLOC_NAME_MAX + 1];
} fastalloc_holder_info_t;

/*
 * Calls `visit` for those that hold most of the pool, most first, as fastalloc_pool_list() does.
 * FASTALLOC_ERR_NO_SUCH_POOL.
 */
typedef int (*fastalloc_holder_visitor_t)(const fastalloc_holder_info_t *info, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_holder_list(fastalloc_connection_t *connection, const char *name,
                      fastalloc_holder_visitor_t visit, void *context, fastalloc_error_t *error);

/*
 * `kind` is one of watermark-reached, watermark-fallen, exhausted, grown, growth-failed, evicted,
 * held-long, reclaimed, damaged, destroyed; later daemons may have more. `count` is how many slots
 * it concerns: asked for, grown by, evicted, ...; of damaged, in how many places that was seen.
 */
typedef struct fastalloc_event {
    size_t size;
    uint64_t number; /* 1, 2, ... of the instance */
    uint64_t time;   /* ns of CLOCK_MONOTONIC */
    uint32_t pool;
    uint64_t capacity;
    uint64_t allocated;
    uint64_t count;
    uint64_t session; /* 0 = none */
    char kind[FASTALLOC_NAME_MAX + 1];
    char name[FASTALLOC_NAME_MAX + 1]; /* the pool's */
} fastalloc_event_t;

/*
 * Calls `visit` for each event that came after number *after, oldest first, of the pool (NULL: of
 * all that the caller may read), as fastalloc_pool_list() does. When there is none it waits for
 * one, for as long as `timeout` says; none in time is no error.
 *
 * *after is moved behind what was visited, also when the visitor ends the walk or a call fails in
 * the middle of it: give it to the next call. *lost, if not NULL, is how many events there were
 * after it that the daemon keeps no longer, as all of a daemon that was restarted since; it is set
 * before the first visit. Where some were lost and none is left, it doesn't wait either.
 *
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED, FASTALLOC_ERR_LIMIT_EXCEEDED and
 * FASTALLOC_ERR_QUOTA_EXCEEDED (too many requests wait), FASTALLOC_ERR_UNREACHABLE and
 * FASTALLOC_ERR_NO_REPLY (its time is over, and no daemon is there, or none that answers).
 */
typedef int (*fastalloc_event_visitor_t)(const fastalloc_event_t *event, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_events(fastalloc_connection_t *connection,
                                                           const char *name, int64_t timeout,
                                                           uint64_t *after, uint64_t *lost,
                                                           fastalloc_event_visitor_t visit,
                                                           void *context, fastalloc_error_t *error);

/* ---- Laws ------------------------------------------------------------------------------------ */

typedef struct fastalloc_check_info {
    size_t size;
    uint64_t pools; /* that were looked through, as were sessions and slots */
    uint64_t sessions;
    uint64_t slots;
    uint64_t violations; /* found: what no daemon leaves, be it a fault or a member's doing */
    uint64_t notes;      /* found: what is worth to be known */
} fastalloc_check_info_t;

#define FASTALLOC_CHECK_INFO_INIT FASTALLOC_SIZED(fastalloc_check_info_t)

#define FASTALLOC_FINDING_MAX 400

typedef struct fastalloc_finding {
    size_t size;
    bool violation;                       /* false: a note */
    char text[FASTALLOC_FINDING_MAX + 1]; /* one line for people */
} fastalloc_finding_t;

/*
 * Has the daemon look through all that the instance keeps in shared memory, whether that is as it must
 * be, and changes nothing; which takes it some 20 ms for a million slots. *info, if not NULL,
 * is set first; then `visit`, if not NULL, is called for the first findings, 64 at most, as
 * fastalloc_pool_list() does. That there are some is no error.
 *
 * By the daemon's user and root: FASTALLOC_ERR_NOT_PERMITTED.
 */
typedef int (*fastalloc_finding_visitor_t)(const fastalloc_finding_t *finding, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_check(fastalloc_connection_t *connection,
                                                          fastalloc_check_info_t *info,
                                                          fastalloc_finding_visitor_t visit,
                                                          void *context, fastalloc_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
