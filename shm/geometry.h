/* SPDX-License-Identifier: MIT */
/*
 * A pool's geometry: from object size, alignment and reserve to the sizes of its shared-memory
 * objects and the places in them. Pure arithmetic, checked for overflow. It stays as it is for as
 * long as the pool lives; the capacity moves within it.
 *
 * The daemon computes it from a request, a client from the ctl head; both come to the same numbers.
 */
#ifndef SHM_GEOMETRY_H
#define SHM_GEOMETRY_H

#include <stddef.h>
#include <stdint.h>

#include "shm/layout.h"

#define GEOMETRY_ALIGNMENT_DEFAULT 16u /* that of max_align_t on 64-bit machines */
#define GEOMETRY_ALIGNMENT_MAX 4096u   /* a page: mappings start at one */
#define GEOMETRY_CAPACITY_MAX (UINT32_C(1) << 30)
#define GEOMETRY_OBJECT_MAX (UINT64_C(1) << 32) /* bytes */
#define GEOMETRY_DATA_MAX (UINT64_C(1) << 40)   /* bytes of address space for one pool's objects */

/* What all of it adds up to must be a size_t too. */
_Static_assert(sizeof(size_t) == 8, "a pool takes 64-bit addresses");

/*
 * A pool's address space is this many times the maximum capacity that it is made with, as far as
 * GEOMETRY_DATA_MAX allows.
 */
#define GEOMETRY_RESERVE_FACTOR 4u

struct geometry {
    uint64_t object_size;
    uint64_t stride;
    uint32_t alignment;
    uint32_t reserve;      /* the most slots that there can ever be */
    size_t members_offset; /* in ctl */
    size_t ledger_offset;
    size_t threads_offset; /* in slots, where the hint bits stand at 0; 0 = it has no such lines */
    size_t words_offset;
};

enum geometry_result {
    GEOMETRY_OK = 0,
    GEOMETRY_BAD_SIZE,      /* 0, or above GEOMETRY_OBJECT_MAX */
    GEOMETRY_BAD_ALIGNMENT, /* not a power of two, or above GEOMETRY_ALIGNMENT_MAX */
    GEOMETRY_BAD_CAPACITY,  /* 0, above GEOMETRY_CAPACITY_MAX, or too much for GEOMETRY_DATA_MAX */
};

/*
 * For that many slots at most. Alignment 0 means GEOMETRY_ALIGNMENT_DEFAULT. On failure *geometry
 * is untouched.
 */
enum geometry_result geometry_init(struct geometry *geometry, enum layout_kind kind,
                                   uint64_t object_size, uint32_t alignment, uint32_t reserve);

/* The most slots of this size and alignment (both valid) that one pool can have. */
uint32_t geometry_capacity_limit(uint64_t object_size, uint32_t alignment);

/* What to reserve for a pool of that maximum capacity (all valid). */
uint32_t geometry_reserve(uint64_t object_size, uint32_t alignment, uint32_t capacity_max);

/* Bytes of each object when the pool has `capacity` slots. Mappings use the reserve for it. */
size_t geometry_ctl_size(const struct geometry *geometry, uint32_t capacity);
size_t geometry_slots_size(const struct geometry *geometry, uint32_t capacity);
size_t geometry_data_size(const struct geometry *geometry, uint32_t capacity);

#endif
