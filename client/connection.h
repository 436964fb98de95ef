/* SPDX-License-Identifier: MIT */
/*
 * A connection is one session with the daemon: the channel, the witness whose mapping tells the
 * daemon that this process lives, and the pools that are open. It owns all of them.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "client/channel.h"
#include "client/region.h"

struct fastalloc_connection {
    struct channel channel;
    uint32_t *alive; /* guarded: 0 in a forked child */
    struct region witness;
    uint64_t session;
    pthread_mutex_t pools_lock; /* held over a whole open or close: one at a time */
    struct fastalloc_pool *pools;
};

/* Whether this is a child that was forked after the connect. */
static inline bool connection_is_forked(const struct fastalloc_connection *connection)
{
    return *connection->alive == 0;
}

/* Raises FASTALLOC_ERR_FORKED. */
int connection_raise_forked(fastalloc_error_t *error);

/* channel_call(), or FASTALLOC_ERR_FORKED. */
int connection_call(struct fastalloc_connection *connection, struct call *call);

/*
 * For a call's `take`: moves the descriptors, which must be as many as the reply tells of and as
 * are expected, to an empty one.
 */
int connection_take_descriptors(struct call *call, struct descriptors *arrived,
                                struct descriptors *taken, unsigned told, unsigned expected);

#endif
