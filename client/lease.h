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
#include <string.h>

#include <fastalloc/fastalloc.h>

#include "client/cache.h"
#include "shm/bias.h"
#include "shm/lease.h"
#include "shm/order.h"
#include "shm/slot.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)

/* From LIVE to CACHED at the next generation. It overflows from the last one. */
#define LEASE_FREED (slot_word(1, 0, SLOT_CACHED) - slot_word(0, 0, SLOT_LIVE))

/* A state that no slot is ever in. */
#define LEASE_STATE_NONE 7u

/* Guarded: all zero in a forked child, where no thread has slots and no handle is right. */
struct lease {
    struct cache_pool caches;
    bool fills;       /* objects begin with something, which we write */
    bool frees;       /* are ours too */
    bool biased;      /* threads may be, and may revoke others */
    bool owner_frees; /* nobody else does */
    uint32_t id;      /* the pool's */
    uint64_t nonce;   /* of its handles, as in their tags */
    uint64_t *words;
    uint64_t *hints;
    struct layout_thread *lines;
    const uint64_t *epoch;
    const uint32_t *capacity;
    const uint64_t *members;
    uint64_t session;
    uint32_t member;
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

/* How long an allocation may wait, and since when it does; 0 = it didn't yet. */
struct lease_wait {
    int64_t timeout;
    int64_t begun;
};

/*
 * Allocates all of `count` objects, or none: then it is to be asked for, in what is left of the time.
 * Not in a forked child.
 */
bool lease_allocate_many(struct lease *lease, size_t count, fastalloc_handle_t *handles,
                         struct lease_wait *wait);

#define LEASE_ASK 1

/*
 * Frees objects: all, or none if one of them can't be, but for those that somebody else frees in the
 * same moment. 0, a code that is raised, or LEASE_ASK: the daemon is to be asked. Not in a forked
 * child.
 */
int lease_free_many(struct lease *lease, const fastalloc_handle_t *handles, size_t count,
                    fastalloc_error_t *error);

/*
 * The same as lease_take() and lease_give(), which come first, of a thread that was revoked: it does
 * what these announced. False: nothing was done.
 */
bool lease_take_locked(struct lease *lease, fastalloc_handle_t *handle);
bool lease_give_locked(struct lease *lease, fastalloc_handle_t handle);

/* The slot that was pushed last, and just freed, goes where it belongs: our thread was revoked. */
void lease_settle_last(struct lease *lease, struct cache *cache);

/* ---- The short paths ------------------------------------------------------------------------- */

/*
 * The handle of the object, in two stores, of which each is loaded as a whole when it is passed on:
 * another width, or a detour through vector registers, costs more than all the rest.
 */
static inline void lease_write_handle(const struct lease *lease, uint32_t index, uint64_t live,
                                      fastalloc_handle_t *handle)
{
    uint64_t head = (uint64_t)index << 32 | lease->id, tag = lease->nonce | slot_generation(live);
    __asm__("" : "+r"(head), "+r"(tag));
    memcpy(handle, &head, sizeof(head));
    handle->tag = tag;
}

/* What a handle has in place of the word of its object. */
static inline uint64_t lease_rotated(fastalloc_handle_t handle)
{
    return handle.tag << FASTALLOC_WORD_GENERATION_SHIFT |
           handle.tag >> (64 - FASTALLOC_WORD_GENERATION_SHIFT);
}

/* One object of a biased thread's cache. False: nothing was done, but for an announcement. */
static inline __attribute__((always_inline)) bool lease_take(const struct lease *lease,
                                                             fastalloc_handle_t *handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    if (!LIKELY(cache && cache->count > cache->floor))
        return false;
    uint32_t index = cache_top(cache);
    uint64_t *word = &lease->words[index], cached = word_load(word);
    uint64_t rest = cached - cache->cached; /* nothing but the generation, if it is ours */
    if (!LIKELY((rest & LEASE_STATE_MASK) == 0))
        return false;

    uint64_t announcement = bias_announcement(slot_generation(rest), index, BIAS_ALLOCATES);
    bool revoked = bias_announce(cache->line, announcement);
    if (!LIKELY(!revoked && word_load(word) == cached))
        return false;
    bias_store(word, cached + (SLOT_LIVE - SLOT_CACHED));
    cache_pop(cache);
    lease_write_handle(lease, index, rest, handle);
    return true;
}

/* One object of a biased thread, to its cache. False: nothing was done, but for an announcement. */
static inline __attribute__((always_inline)) bool lease_give(struct lease *lease,
                                                             fastalloc_handle_t handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    if (!LIKELY(cache && cache->count < cache->ceiling && handle.pool == lease->id &&
                handle.index < cache->capacity && (handle.tag ^ lease->nonce) >> 48 == 0))
        return false;

    uint64_t announcement = bias_announcement(handle.tag, handle.index, BIAS_FREES);
    bool revoked = bias_announce(cache->line, announcement);
    uint64_t *word = &lease->words[handle.index], live = word_load(word), freed;
    if (!LIKELY(!revoked && (live ^ lease_rotated(handle)) == cache->key &&
                !__builtin_add_overflow(live, LEASE_FREED, &freed)))
        return false;
    bias_store(word, freed);
    cache_push(cache, handle.index);
    if (!LIKELY(!bias_is_revoked(cache->line)))
        lease_settle_last(lease, cache);
    return true;
}

#endif
