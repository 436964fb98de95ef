/* SPDX-License-Identifier: MIT */
/*
 * A ring through which one thread passes handles to another, of any process: an object of a pool as
 * any other, at which both look. Wait-free, no system call. One thread puts, one takes.
 *
 * Each side keeps the other's position as it saw it last, and looks again only when that says that
 * the ring is full or empty: so a line of memory travels once for many handles.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/handle.h>

#define RING_SIZE 1024u /* a power of two */

/* On lines of their own: what one side writes must not disturb the other. */
struct ring_side {
    _Alignas(128) uint64_t position; /* handles that were put, or taken */
    uint64_t other;                  /* the other's, when this side looked last */
};

/* All zero is an empty ring: make its pool with FASTALLOC_ZERO_ON_ALLOCATE. */
struct ring {
    struct ring_side put;
    struct ring_side take;
    _Alignas(128) fastalloc_handle_t handles[RING_SIZE];
};

/* False if it is full. */
static inline bool ring_put(struct ring *ring, fastalloc_handle_t handle)
{
    struct ring_side *side = &ring->put;
    if (side->position - side->other == RING_SIZE) {
        /* Acquire: the place was read before it is written anew. */
        side->other = __atomic_load_n(&ring->take.position, __ATOMIC_ACQUIRE);
        if (side->position - side->other == RING_SIZE)
            return false;
    }
    ring->handles[side->position % RING_SIZE] = handle;
    /* Release: who sees the position sees the handle, and what was written to its object. */
    __atomic_store_n(&side->position, side->position + 1, __ATOMIC_RELEASE);
    return true;
}

/* False if it is empty. */
static inline bool ring_take(struct ring *ring, fastalloc_handle_t *handle)
{
    struct ring_side *side = &ring->take;
    if (side->position == side->other) {
        side->other = __atomic_load_n(&ring->put.position, __ATOMIC_ACQUIRE);
        if (side->position == side->other)
            return false;
    }
    *handle = ring->handles[side->position % RING_SIZE];
    __atomic_store_n(&side->position, side->position + 1, __ATOMIC_RELEASE);
    return true;
}

#endif
