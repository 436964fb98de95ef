/* SPDX-License-Identifier: MIT */
/*
 * The cache of a thread in a leased pool: numbers of slots that its process may allocate by itself,
 * used from the top. It is a list of guesses; the slots' words decide.
 *
 * A cache is its thread's alone, and is found without a lock. When the thread ends, the next thread
 * takes it over; it ends with the pool. In a forked child it is empty for ever.
 */
#ifndef CLIENT_CACHE_H
#define CLIENT_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/channel.h"
#include "proto/message.h"
#include "shm/layout.h"
#include "shm/lease.h"

struct cache_pool;

/* A request for more slots that is under way. */
struct cache_refill {
    bool started;
    struct call call;
    struct lease_request request;
    struct lease_reply reply;
    uint32_t count; /* that it brought */
    uint32_t slots[LEASE_MAX];
};

/* Guarded. */
struct cache {
    uint32_t count;

    /* What its user notes about it (client/lease.h). */
    uint32_t floor, ceiling;    /* between which numbers of slots the short ways can be gone */
    uint32_t low;               /* with no more than so many left, more are asked for */
    uint32_t cursor;            /* the block from which on to look for what was returned */
    uint32_t wanted;            /* slots to ask for next */
    uint32_t thread;            /* its number; 0 = none, LEASE_THREAD_NEW = it is to ask for one */
    uint32_t capacity;          /* of slots that its thread has heard of */
    struct layout_thread *line; /* never NULL in the process that made it */
    uint64_t cached;            /* the state of the words of its slots; and what those that are */
    uint64_t key;               /* allocated differ by from their handles */
    struct layout_thread unbiased; /* the line of a thread without a number */
    uint32_t locked;               /* operations of a thread that was revoked, since it asked */
    uint32_t patience;             /* with no more than so many it doesn't ask again */

    bool alive; /* not in a forked child */
    struct cache_pool *pool;
    LIST_ENTRY(cache) in_pool;
    LIST_ENTRY(cache) in_thread;
    struct cache_refill refill;
    uint32_t slots[LEASE_MAX];
};

LIST_HEAD(cache_list, cache);

/* What the user of a pool's caches does with each, no two of them at once. */
struct cache_user {
    void (*begin)(struct cache *cache);     /* it is new, and its thread's */
    void (*leave)(struct cache *cache);     /* its thread ends */
    bool (*take_over)(struct cache *cache); /* by another thread, if it can be: it was left */
    void (*end)(struct cache *cache);       /* the pool is closed */
};

/*
 * The caches of one pool: those of threads, and those that threads left, for the next ones. To be
 * guarded memory: a forked child finds it zeroed, with none.
 */
struct cache_pool {
    uint64_t serial; /* this one's alone, in this process and in children; 0 = none */
    const struct cache_user *user;
    struct cache_list caches;
    struct cache_list left;
};

/* Begins a pool without caches. 0, -ENOMEM or -EAGAIN. */
int cache_pool_init(struct cache_pool *pool, const struct cache_user *user);

/* Ends all its caches. Nobody uses them any more; their threads may end meanwhile. */
void cache_pool_deinit(struct cache_pool *pool);

/* This thread's cache in the pool, made if there is none yet; NULL if there is no memory for it. */
struct cache *cache_get(struct cache_pool *pool);

/* ---- Finding --------------------------------------------------------------------------------- */

/* The caches that this thread used last, each at the place that its pool's serial gives it. */
#define CACHE_PLACES 8u

struct cache_place {
    uint64_t serial;
    struct cache *cache;
};

extern _Thread_local struct cache_place cache_places[CACHE_PLACES]
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* This thread's cache in the pool of that serial, or NULL: it has none, or cache_get() knows it. */
static inline struct cache *cache_find(uint64_t serial)
{
    const struct cache_place *place = &cache_places[serial % CACHE_PLACES];
    return place->serial == serial ? place->cache : NULL;
}

/* ---- Using ----------------------------------------------------------------------------------- */

static inline bool cache_is_full(const struct cache *cache)
{
    return cache->count == LEASE_MAX;
}

/* Not if it is full. */
static inline void cache_push(struct cache *cache, uint32_t index)
{
    cache->slots[cache->count++] = index;
}

/* What the next pop takes. Not if it is empty. */
static inline uint32_t cache_top(const struct cache *cache)
{
    return cache->slots[cache->count - 1];
}

/* Not if it is empty. */
static inline uint32_t cache_pop(struct cache *cache)
{
    return cache->slots[--cache->count];
}

#endif
