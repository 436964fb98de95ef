/* SPDX-License-Identifier: MIT */
/*
 * The view: what a process needs to follow handles of one pool, and the inline functions that do
 * so.
 *
 * Every slot has one 64-bit word in shared memory, `generation : 48 | member : 13 | state : 3`. A
 * handle is valid while the word's generation equals its own and the word says that the slot is
 * allocated. Following a handle is two loads and two comparisons: wait-free, no system call, no
 * lock.
 *
 * Take the view from fastalloc_pool_view(). It lives as long as the pool is open. Any thread may
 * use it. In a forked child it reads as all zero, so that each handle is refused there.
 */
#ifndef FASTALLOC_VIEW_H
#define FASTALLOC_VIEW_H

#include <stddef.h>

#include <fastalloc/handle.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The slot word's fields, and the two states in which its object may be looked at. */
#define FASTALLOC_WORD_GENERATION_SHIFT 16
#define FASTALLOC_WORD_MEMBER_SHIFT 3
#define FASTALLOC_WORD_MEMBER_BITS 13
#define FASTALLOC_STATE_LIVE UINT64_C(2)
#define FASTALLOC_STATE_SHARED UINT64_C(3)

/* Everything of a word but its member, and but the bit in which LIVE and SHARED differ. */
#define FASTALLOC_WORD_ALLOCATED_MASK (~UINT64_C(0xffff) | UINT64_C(6))

typedef struct fastalloc_view {
    uint64_t identity; /* complement of pool : 32 | nonce : 16, so that zero matches nothing */
    const uint32_t *capacity; /* slots that exist now; grows, never shrinks */
    const uint64_t *words;    /* one for each slot */
    unsigned char *data;      /* object i stands at data + i * stride */
    uint64_t stride;          /* bytes */
} fastalloc_view_t;

/*
 * The object that the handle names, or NULL when it is stale, of another pool or instance, or was
 * never given out. The memory is the pool's: it may be used until the object is freed. A reader
 * that doesn't own the object asks fastalloc_view_still_valid() after reading and discards what it
 * read if not.
 */
static inline void *fastalloc_view_get(const fastalloc_view_t *view, fastalloc_handle_t handle)
{
    uint64_t identity = (uint64_t)handle.pool << 16 | handle.tag >> 48;
    if (view->identity != ~identity)
        return NULL;

    /* Acquire: pairs with the daemon's release of a capacity that grew. */
    if (handle.index >= __atomic_load_n(view->capacity, __ATOMIC_ACQUIRE))
        return NULL;

    /* Acquire: pairs with the release that made this slot live. */
    uint64_t word = __atomic_load_n(&view->words[handle.index], __ATOMIC_ACQUIRE);
    uint64_t difference = word ^ handle.tag << FASTALLOC_WORD_GENERATION_SHIFT;
    if ((difference & FASTALLOC_WORD_ALLOCATED_MASK) != FASTALLOC_STATE_LIVE)
        return NULL;

    return view->data + handle.index * view->stride;
}

/*
 * Whether what was just read through the handle was the object's own: true if the object had not
 * been freed by now. For readers that don't own the object; reading first, asking after.
 */
static inline bool fastalloc_view_still_valid(const fastalloc_view_t *view,
                                              fastalloc_handle_t handle)
{
#ifndef __SANITIZE_THREAD__ /* which knows no fences */
    /* Acquire: the reads before must be done before the word is looked at again. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
    return fastalloc_view_get(view, handle) != NULL;
}

#ifdef __cplusplus
}
#endif

#endif
