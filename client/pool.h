/* SPDX-License-Identifier: MIT */
/*
 * An open pool: its mapping, and the view through which handles are followed. It belongs to a
 * connection, which knows it as long as it is open.
 */
#ifndef CLIENT_POOL_H
#define CLIENT_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "client/connection.h"
#include "client/lease.h"
#include "client/mapping.h"
#include "shm/order.h"

/* All zero in a forked child. */
struct pool_guarded {
    fastalloc_view_t view;
    struct lease lease;
};

struct fastalloc_pool {
    struct fastalloc_connection *connection;
    struct fastalloc_pool *next;
    unsigned references; /* opened so often */
    uint32_t id;
    bool write;
    fastalloc_view_t *view; /* guarded */
    struct lease *lease;    /* guarded; NULL: every change is a request */
    struct pool_guarded *guarded;
    struct mapping mapping;
    int bell;               /* -1 = none; to tell the daemon of frees */
    unsigned char *content; /* what objects that are allocated here begin with */
    size_t content_size;
    char name[FASTALLOC_NAME_MAX + 1];
    char type[FASTALLOC_NAME_MAX + 1];
};

static inline bool pool_is_destroyed(const struct fastalloc_pool *pool)
{
    const struct layout_ctl *ctl = pool->mapping.parts[MAPPING_CTL].address;
    return field32_load(&ctl->version) == 0;
}

/* FASTALLOC_ERR_POOL_DESTROYED. */
int pool_raise_destroyed(const struct fastalloc_pool *pool, fastalloc_error_t *error);

/*
 * connection_call() for a request that names the pool by its number. The daemon knows none of that
 * number once the pool is destroyed: then this says so.
 */
int pool_call(const struct fastalloc_pool *pool, struct call *call);

/* Deletes a whole list, without a word to the daemon. In a forked child nothing is unmapped. */
void pool_delete_all(struct fastalloc_pool *pools, bool forked);

#endif
