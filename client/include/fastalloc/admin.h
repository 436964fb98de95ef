/* SPDX-License-Identifier: MIT */
/*
 * libfastalloc for those who look after pools rather than use them: make, list and destroy pools,
 * see the sessions. Nothing is mapped. What <fastalloc/fastalloc.h> says of results, errors and
 * threads holds here.
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

typedef struct fastalloc_pool_config {
    size_t size;
    uint64_t object_size; /* bytes */
    uint64_t capacity;    /* slots */
    uint32_t alignment;   /* a power of two up to 4096; 0 = 16 */
    uint32_t mode;        /* who may open, as of a file (0640: the group may read); 0 = 0600 */
    const char *type;     /* what the objects are; NULL = no type */
} fastalloc_pool_config_t;

#define FASTALLOC_POOL_CONFIG_INIT FASTALLOC_SIZED(fastalloc_pool_config_t)

/*
 * Makes a pool, owned by the caller's uid and gid.
 *
 * FASTALLOC_ERR_POOL_EXISTS, FASTALLOC_ERR_INVALID_CAPACITY, FASTALLOC_ERR_INVALID_ALIGNMENT,
 * FASTALLOC_ERR_INVALID_OBJECT_SIZE, FASTALLOC_ERR_SHARED_MEMORY_FULL,
 * FASTALLOC_ERR_LIMIT_EXCEEDED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_pool_create(fastalloc_connection_t *connection, const char *name,
                      const fastalloc_pool_config_t *config, fastalloc_error_t *error);

/*
 * Destroys a pool: by its owner, the daemon's user, or root. With `force` even while slots are
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
    uint64_t allocated;
    uint64_t members; /* sessions that have it open */
    uint64_t memory;  /* bytes of shared memory */
    char name[FASTALLOC_NAME_MAX + 1];
    char type[FASTALLOC_NAME_MAX + 1];
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
    uint64_t allocated; /* slots, in all pools */
    char name[FASTALLOC_NAME_MAX + 1];
} fastalloc_session_info_t;

/* Calls `visit` for each session, oldest first, as fastalloc_pool_list() does for pools. */
typedef int (*fastalloc_session_visitor_t)(const fastalloc_session_info_t *info, void *context);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_session_list(fastalloc_connection_t *connection,
                                                                 fastalloc_session_visitor_t visit,
                                                                 void *context,
                                                                 fastalloc_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
