/* SPDX-License-Identifier: MIT */
/*
 * The library's side of a leased pool: objects that are allocated and freed here, by a change of
 * their slot's word, with no word to the daemon. What can't be done so is left to a request.
 *
 * Here are the two short paths, which nearly all calls take, and which call nothing. lease.c has
 * the rest.
 */
#ifndef CLIENT_LEASE_H
#define CLIENT_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "client/cache.h"
#include "shm/lease.h"
#include "shm/order.h"
#include "shm/slot.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)

/* From LIVE to CACHED at the next generation. */
#define LEASE_FREED (slot_word(1, 0, SLOT_CACHED) - slot_word(0, 0, SLOT_LIVE))

/* A state that no slot is ever in. */
#define LEASE_STATE_NONE 7u

/* Guarded: all zero in a forked child, where no thread has a cache and no handle is right. */
struct lease {
    struct cache_pool caches;
    uint64_t cached; /* a word's state in our caches, and when we have it allocated; but if frees */
    uint64_t live;   /* are the daemon's, one that it never has */
    uint64_t identity; /* of handles: pool : 32 | nonce : 16 */
    bool fills;        /* objects begin with something, which we write */
    bool frees;        /* are ours too */
    bool owner_frees;
    const uint32_t *capacity;
    uint64_t *words;
    uint64_t *hints;
    const uint64_t *epoch;
    struct fastalloc_pool *pool;
    uint64_t rung; /* the epoch of which the daemon was told last; atomic */
};

/*
 * For a pool that is mapped, by the member that it gave this session. 0, or a negated errno, which
 * is raised.
 */
int lease_init(struct lease *lease, struct fastalloc_pool *pool, uint32_t member,
               fastalloc_error_t *error);

/* Gives back what the caches have, of all threads. Nothing happens if it wasn't begun. */
void lease_deinit(struct lease *lease);

/*
 * Allocates all of `count` objects, or none: then it is to be asked for. Not in a forked child.
 */
bool lease_allocate_many(struct lease *lease, size_t count, fastalloc_handle_t *handles);

/* Of a pool that isn't roomy: what is CACHED at this word, now, goes to whoever needs it. */
void lease_put_aside(struct lease *lease, uint32_t index, uint64_t word);

#define LEASE_ASK 1

/*
 * Frees objects: all, or none if one of them can't be, but for those that somebody else frees in the
 * same moment. 0, a code that is raised, or LEASE_ASK: the daemon is to be asked. Not in a forked
 * child.
 */
int lease_free_many(struct lease *lease, const fastalloc_handle_t *handles, size_t count,
                    fastalloc_error_t *error);

/* ---- The short paths ------------------------------------------------------------------------- */

static inline fastalloc_handle_t lease_handle(const struct lease *lease, uint32_t index,
                                              uint64_t live)
{
    return (fastalloc_handle_t){(uint32_t)(lease->identity >> 16), index,
                                lease->identity << 48 | slot_generation(live)};
}

/* One object of the thread's cache. False: nothing was done. */
static inline bool lease_take(const struct lease *lease, fastalloc_handle_t *handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    uint64_t live;
    if (!LIKELY(cache && cache->count > cache->low && !lease->fills))
        return false;
    uint32_t index = cache_pop(cache);
    if (!LIKELY(lease_allocate(&lease->words[index], lease->cached, &live)))
        return false;
    *handle = lease_handle(lease, index, live);
    return true;
}

/* One object of our own, to the thread's cache. False: nothing was done. */
static inline bool lease_give(struct lease *lease, fastalloc_handle_t handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    uint64_t identity = (uint64_t)handle.pool << 16 | handle.tag >> 48;
    uint64_t live = handle.tag << FASTALLOC_WORD_GENERATION_SHIFT | lease->live;
    if (!LIKELY(cache && !cache_is_full(cache) && identity == lease->identity &&
                handle.index < field32_load(lease->capacity) &&
                slot_generation(live) != SLOT_GENERATION_LAST))
        return false;

    /* As lease_freed(), but in one step, since it isn't the last generation. */
    uint64_t freed = live + LEASE_FREED;
    if (!LIKELY(word_exchange(&lease->words[handle.index], live, freed)))
        return false;
    if (LIKELY(epoch_load(lease->epoch) == 0))
        cache_push(cache, handle.index);
    else
        lease_put_aside(lease, handle.index, freed);
    return true;
}

#endif
