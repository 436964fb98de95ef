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
#include "client/mapping.h"

struct fastalloc_pool {
    struct fastalloc_connection *connection;
    struct fastalloc_pool *next;
    unsigned references; /* opened so often */
    uint32_t id;
    bool write;
    fastalloc_view_t *view; /* guarded: all zero in a forked child */
    struct mapping mapping;
    char name[FASTALLOC_NAME_MAX + 1];
    char type[FASTALLOC_NAME_MAX + 1];
};

/* Deletes a whole list, without a word to the daemon. In a forked child nothing is unmapped. */
void pool_delete_all(struct fastalloc_pool *pools, bool forked);

#endif
