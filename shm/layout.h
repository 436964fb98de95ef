/* SPDX-License-Identifier: MIT */
/*
 * What stands in a pool's shared memory, byte for byte. This is the format: daemon and clients of
 * different builds meet here, so fields are of fixed width, places are offsets, and nothing moves
 * without a new layout version.
 *
 *   ctl    the head below, then three arrays of 64-bit words (offsets in shm/geometry.h):
 *          members   [LAYOUT_MEMBERS]  session id of each member number, 0 = free
 *          holders   [holders_max]     holders of SHARED slots, 0 = free
 *          ledger    [capacity]        which member holds the slot, by which request; 0 = nobody
 *   slots  one hint bit for each 64 slots, then the slot words
 *   data   the objects, `stride` apart
 *
 * ctl is written by the daemon alone. slots is written by the daemon, and in leased pools by
 * members.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "shm/slot.h"

#define LAYOUT_MAGIC UINT64_C(0x6f6c6c6174736166) /* "fastallo" in memory */
#define LAYOUT_VERSION 1u

#define LAYOUT_NAME_SIZE 64                   /* pool and type names, the final NUL included */
#define LAYOUT_MEMBERS (SLOT_MEMBER_POOL + 1) /* the table is indexed by member number */

enum layout_kind {
    LAYOUT_BROKERED = 1, /* slots is read-only for clients; every change is a request */
    LAYOUT_LEASED = 2,   /* members change the words of slots that they were granted */
};

/*
 * A transfer of ownership, while it is under way. Written before the word, cleared after the
 * ledger; a daemon that starts and finds one lets the word choose between the two names.
 */
struct layout_intent {
    uint32_t kind; /* 0 = none; written last, cleared last */
    uint32_t index;
    uint32_t from;
    uint32_t to;
    uint64_t generation;
    uint64_t request;
};

/* Written by the daemon; every number since the pool was made. */
struct layout_counters {
    uint64_t sequence; /* odd while the numbers below are being changed */
    uint64_t total_allocations;
    uint64_t total_deallocations;
    uint64_t allocation_failures;
    uint64_t timeouts;
    uint64_t reclaimed; /* slots taken back from sessions that ended */
    uint64_t current_usage;
    uint64_t peak_usage;
};

struct layout_ctl {
    uint64_t magic;
    uint32_t version; /* LAYOUT_VERSION, stored last; 0 before, and once the pool is destroyed */
    uint32_t pool;
    uint32_t nonce;
    uint32_t kind;
    uint64_t object_size;
    uint64_t stride;
    uint32_t alignment;
    uint32_t capacity_max; /* growth ends here */
    uint32_t reserve;      /* clients map this many slots; capacity_max can be raised up to it */
    uint32_t holders_max;
    uint32_t uid; /* the owner's */
    uint32_t gid;
    uint32_t mode;  /* permission bits as of a file: read = get, write = allocate and free */
    uint32_t flags; /* none yet */
    char name[LAYOUT_NAME_SIZE];
    char type[LAYOUT_NAME_SIZE];
    uint8_t pad0[56];

    uint32_t capacity; /* slots that exist; a line of its own, since every get loads it */
    uint8_t pad1[60];

    uint64_t waiters; /* epoch: 0 = nobody waits */
    uint8_t pad2[56];

    struct layout_counters counters;
    struct layout_intent intent;
    uint8_t pad3[32];
};

_Static_assert(offsetof(struct layout_ctl, magic) == 0, "layout");
_Static_assert(offsetof(struct layout_ctl, version) == 8, "layout");
_Static_assert(offsetof(struct layout_ctl, pool) == 12, "layout");
_Static_assert(offsetof(struct layout_ctl, nonce) == 16, "layout");
_Static_assert(offsetof(struct layout_ctl, kind) == 20, "layout");
_Static_assert(offsetof(struct layout_ctl, object_size) == 24, "layout");
_Static_assert(offsetof(struct layout_ctl, stride) == 32, "layout");
_Static_assert(offsetof(struct layout_ctl, alignment) == 40, "layout");
_Static_assert(offsetof(struct layout_ctl, capacity_max) == 44, "layout");
_Static_assert(offsetof(struct layout_ctl, reserve) == 48, "layout");
_Static_assert(offsetof(struct layout_ctl, holders_max) == 52, "layout");
_Static_assert(offsetof(struct layout_ctl, uid) == 56, "layout");
_Static_assert(offsetof(struct layout_ctl, gid) == 60, "layout");
_Static_assert(offsetof(struct layout_ctl, mode) == 64, "layout");
_Static_assert(offsetof(struct layout_ctl, flags) == 68, "layout");
_Static_assert(offsetof(struct layout_ctl, name) == 72, "layout");
_Static_assert(offsetof(struct layout_ctl, type) == 136, "layout");
_Static_assert(offsetof(struct layout_ctl, capacity) == 256, "layout");
_Static_assert(offsetof(struct layout_ctl, waiters) == 320, "layout");
_Static_assert(offsetof(struct layout_ctl, counters) == 384, "layout");
_Static_assert(offsetof(struct layout_counters, sequence) == 0, "layout");
_Static_assert(offsetof(struct layout_counters, total_allocations) == 8, "layout");
_Static_assert(offsetof(struct layout_counters, total_deallocations) == 16, "layout");
_Static_assert(offsetof(struct layout_counters, allocation_failures) == 24, "layout");
_Static_assert(offsetof(struct layout_counters, timeouts) == 32, "layout");
_Static_assert(offsetof(struct layout_counters, reclaimed) == 40, "layout");
_Static_assert(offsetof(struct layout_counters, current_usage) == 48, "layout");
_Static_assert(offsetof(struct layout_counters, peak_usage) == 56, "layout");
_Static_assert(offsetof(struct layout_ctl, intent) == 448, "layout");
_Static_assert(offsetof(struct layout_intent, kind) == 0, "layout");
_Static_assert(offsetof(struct layout_intent, index) == 4, "layout");
_Static_assert(offsetof(struct layout_intent, from) == 8, "layout");
_Static_assert(offsetof(struct layout_intent, to) == 12, "layout");
_Static_assert(offsetof(struct layout_intent, generation) == 16, "layout");
_Static_assert(offsetof(struct layout_intent, request) == 24, "layout");
_Static_assert(sizeof(struct layout_ctl) == 512, "layout");

/*
 * Ledger entries: `request : 51 | member : 13`. 0 = the slot is nobody's. The request number is the
 * session's own; it tells, after a lost reply, what that request had been granted.
 */
#define LAYOUT_REQUEST_MAX ((UINT64_C(1) << 51) - 1)

static inline uint64_t layout_ledger_entry(uint64_t request, uint32_t member)
{
    return request << FASTALLOC_WORD_MEMBER_BITS | member;
}

static inline uint32_t layout_ledger_member(uint64_t entry)
{
    return (uint32_t)entry & SLOT_MEMBER_POOL;
}

static inline uint64_t layout_ledger_request(uint64_t entry)
{
    return entry >> FASTALLOC_WORD_MEMBER_BITS;
}

/* Holder entries: `generation's low 19 bits : 19 | index : 32 | member : 13`. 0 = free. */
static inline uint64_t layout_holder_entry(uint64_t generation, uint32_t index, uint32_t member)
{
    return generation << 45 | (uint64_t)index << FASTALLOC_WORD_MEMBER_BITS | member;
}

#endif
