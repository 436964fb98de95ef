/* SPDX-License-Identifier: MIT */
/*
 * What stands in a pool's shared memory, byte for byte. This is the format: daemon and clients of
 * different builds meet here, so fields are of fixed width, places are offsets, and nothing moves
 * without a new layout version.
 *
 *   ctl       the head below, then two arrays of 64-bit words (offsets in shm/geometry.h):
 *             members  [LAYOUT_MEMBERS]  whose each member number is, 0 = free
 *             ledger   [capacity]        which member holds the slot, by which request; 0 = nobody
 *   slots     one hint bit for each 64 slots; in leased pools a line for each biased thread; then the
 *             slot words
 *   data      the objects, `stride` apart
 *   holders   who holds SHARED slots, 64-bit entries, 0 = free; made when the first slot is shared
 *   template  what each new object begins with; only where the pool has one
 *
 * Clients get the first three. ctl, holders and template are written by the daemon alone, slots by
 * the daemon, and in leased pools by members. ctl, slots and data grow with the capacity.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "shm/histogram.h"
#include "shm/slot.h"

#define LAYOUT_MAGIC UINT64_C(0x6f6c6c6174736166) /* "fastallo" in memory */
#define LAYOUT_VERSION 4u

#define LAYOUT_NAME_SIZE 64                   /* pool and type names, the final NUL included */
#define LAYOUT_GROWTH_SIZE 192                /* a growth policy's text, the final NUL included */
#define LAYOUT_WATERMARK_SIZE 16              /* a watermark's */
#define LAYOUT_MEMBERS (SLOT_MEMBER_POOL + 1) /* the table is indexed by member number */

/*
 * The highest member numbers are those of biased threads of leased pools, each of a session that is a
 * member too: they stand in slot words, with the session in the member table, but never in the ledger.
 */
#define LAYOUT_THREADS 256u
#define LAYOUT_THREAD_FIRST (SLOT_MEMBER_POOL - LAYOUT_THREADS)

enum layout_kind {
    LAYOUT_BROKERED = 1, /* slots is read-only for clients; every change is a request */
    LAYOUT_LEASED = 2,   /* members change the words of slots that they were granted */
};

enum layout_flag {
    LAYOUT_OWNER_FREES = 1 << 0,   /* only who holds an object may free it */
    LAYOUT_ZERO_ALLOCATE = 1 << 1, /* objects begin as zero bytes, after the template */
    LAYOUT_ZERO_FREE = 1 << 2,     /* objects are overwritten with zero bytes when they are freed */
    LAYOUT_PREFAULT = 1 << 3,      /* members fault the data in when they open the pool */
    LAYOUT_LOCK = 1 << 4,          /* and lock it in memory */
    LAYOUT_HUGE = 1 << 5,          /* and ask for huge pages */
};

/* Whether members broke what they may write; for ever. */
enum layout_damage {
    LAYOUT_DAMAGE_NONE = 0,
    LAYOUT_DAMAGE_SEEN = 1,
    LAYOUT_DAMAGE_SAID = 2, /* to whoever listens */
};

/* How the pool was made and what may be changed of it; the growth and watermark as their text. */
struct layout_policy {
    char growth[LAYOUT_GROWTH_SIZE];
    char watermark[LAYOUT_WATERMARK_SIZE];
    uint32_t capacity_first;   /* that it began with */
    uint32_t reserve_critical; /* slots that only critical requests may take */
    uint32_t reserve_normal;   /* slots that best-effort requests may not take */
    uint32_t grow_ahead;       /* it grows when fewer slots are free; 0 = when it must */
    uint32_t session_slots;    /* the most that one session may hold; 0 = all */
    uint32_t user_slots;       /* the most that the sessions of one uid may; 0 = all */
    uint32_t template_size;    /* bytes; 0 = none */
    uint32_t pad;
    uint64_t hold_limit; /* ns after which an object is held for too long; 0 = never */
    uint64_t trim_after; /* ns of quiet after which free memory is given back; 0 = never */
};

/*
 * A change of who holds a slot, while it is under way: between LIVE of one member, LIVE of another,
 * and SHARED. Written before the word, cleared after the ledger and the holders; a daemon that
 * starts and finds one lets the word choose between the two sides.
 */
enum layout_intent_kind {
    LAYOUT_INTENT_NONE = 0,
    LAYOUT_INTENT_MOVE = 1,  /* LIVE of `from` to LIVE of `to` */
    LAYOUT_INTENT_SHARE = 2, /* LIVE of `from` to SHARED by `from` and `to` */
};

struct layout_intent {
    uint32_t kind; /* written last, cleared first */
    uint32_t index;
    uint32_t from;
    uint32_t to;
    uint64_t generation;
    uint64_t entry; /* the ledger's, once it is done */
};

/* Written by the daemon; numbers since the pool was made or its statistics were reset. */
struct layout_counters {
    uint64_t sequence; /* odd while anything of it is being changed */
    uint64_t total_allocations;
    uint64_t total_deallocations;
    uint64_t allocation_failures;
    uint64_t timeouts;
    uint64_t reclaimed; /* slots taken back from sessions that ended */
    uint64_t current_usage;
    uint64_t peak_usage;
    uint64_t growth_count;
    uint64_t evictions;   /* slots */
    uint64_t waiters;     /* requests that wait now */
    uint64_t total_waits; /* that ever had to */
    uint64_t held_long;   /* slots now held for longer than the limit */
    uint64_t total_held_long;
    uint64_t watermarks;  /* times that the watermark was reached */
    uint64_t reset_usage; /* at reset_at */
    uint64_t reset_at;    /* ns of the monotonic clock */
    uint64_t changed_at;  /* when current_usage changed last */
    uint64_t area_low;    /* sum of usage times ns, from reset_at to changed_at: 128 bits */
    uint64_t area_high;
    uint64_t freed; /* of leased pools: objects that ended, as seen in the words, never reset */
    uint64_t pad[19];
    struct histogram waits; /* how long requests waited that were granted or timed out */
    struct histogram holds; /* how long objects were held until they were freed or handed on */
};

/* A biased thread's line (shm/bias.h). */
struct layout_thread {
    uint64_t announced; /* by the thread */
    uint32_t revoked;   /* by anybody, enum bias_revoked */
    uint8_t pad[52];
};

_Static_assert(offsetof(struct layout_thread, announced) == 0, "layout");
_Static_assert(offsetof(struct layout_thread, revoked) == 8, "layout");
_Static_assert(sizeof(struct layout_thread) == 64, "layout");

struct layout_ctl {
    uint64_t magic;
    uint32_t version; /* LAYOUT_VERSION, stored last; 0 before, and once the pool is destroyed */
    uint32_t pool;
    uint32_t nonce;
    uint32_t kind;
    uint64_t object_size;
    uint64_t stride;
    uint32_t alignment;
    uint32_t capacity_max; /* growth ends here; an administrator may raise it up to the reserve */
    uint32_t reserve;      /* clients map this many slots */
    uint32_t damage;       /* enum layout_damage */
    uint32_t uid;          /* the owner's */
    uint32_t gid;
    uint32_t mode;  /* permission bits as of a file: read = get, write = allocate and free */
    uint32_t flags; /* enum layout_flag */
    char name[LAYOUT_NAME_SIZE];
    char type[LAYOUT_NAME_SIZE];
    uint8_t pad1[56];

    uint32_t capacity; /* slots that exist; a line of its own, since every get loads it */
    uint8_t pad2[60];

    uint64_t waiters; /* of leased pools: the epoch (shm/lease.h) */
    uint64_t epochs;  /* the last number of an epoch, stored before the epoch */
    uint8_t pad3[48];

    struct layout_policy policy;
    struct layout_intent intent;
    uint8_t pad4[96];

    struct layout_counters counters;
    uint8_t pad5[32];
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
_Static_assert(offsetof(struct layout_ctl, damage) == 52, "layout");
_Static_assert(offsetof(struct layout_ctl, uid) == 56, "layout");
_Static_assert(offsetof(struct layout_ctl, gid) == 60, "layout");
_Static_assert(offsetof(struct layout_ctl, mode) == 64, "layout");
_Static_assert(offsetof(struct layout_ctl, flags) == 68, "layout");
_Static_assert(offsetof(struct layout_ctl, name) == 72, "layout");
_Static_assert(offsetof(struct layout_ctl, type) == 136, "layout");
_Static_assert(offsetof(struct layout_ctl, capacity) == 256, "layout");
_Static_assert(offsetof(struct layout_ctl, waiters) == 320, "layout");
_Static_assert(offsetof(struct layout_ctl, epochs) == 328, "layout");
_Static_assert(offsetof(struct layout_ctl, policy) == 384, "layout");
_Static_assert(offsetof(struct layout_policy, growth) == 0, "layout");
_Static_assert(offsetof(struct layout_policy, watermark) == 192, "layout");
_Static_assert(offsetof(struct layout_policy, capacity_first) == 208, "layout");
_Static_assert(offsetof(struct layout_policy, reserve_critical) == 212, "layout");
_Static_assert(offsetof(struct layout_policy, reserve_normal) == 216, "layout");
_Static_assert(offsetof(struct layout_policy, grow_ahead) == 220, "layout");
_Static_assert(offsetof(struct layout_policy, session_slots) == 224, "layout");
_Static_assert(offsetof(struct layout_policy, user_slots) == 228, "layout");
_Static_assert(offsetof(struct layout_policy, template_size) == 232, "layout");
_Static_assert(offsetof(struct layout_policy, hold_limit) == 240, "layout");
_Static_assert(offsetof(struct layout_policy, trim_after) == 248, "layout");
_Static_assert(offsetof(struct layout_ctl, intent) == 640, "layout");
_Static_assert(offsetof(struct layout_intent, kind) == 0, "layout");
_Static_assert(offsetof(struct layout_intent, index) == 4, "layout");
_Static_assert(offsetof(struct layout_intent, from) == 8, "layout");
_Static_assert(offsetof(struct layout_intent, to) == 12, "layout");
_Static_assert(offsetof(struct layout_intent, generation) == 16, "layout");
_Static_assert(offsetof(struct layout_intent, entry) == 24, "layout");
_Static_assert(offsetof(struct layout_ctl, counters) == 768, "layout");
_Static_assert(offsetof(struct layout_counters, sequence) == 0, "layout");
_Static_assert(offsetof(struct layout_counters, total_allocations) == 8, "layout");
_Static_assert(offsetof(struct layout_counters, total_deallocations) == 16, "layout");
_Static_assert(offsetof(struct layout_counters, allocation_failures) == 24, "layout");
_Static_assert(offsetof(struct layout_counters, timeouts) == 32, "layout");
_Static_assert(offsetof(struct layout_counters, reclaimed) == 40, "layout");
_Static_assert(offsetof(struct layout_counters, current_usage) == 48, "layout");
_Static_assert(offsetof(struct layout_counters, peak_usage) == 56, "layout");
_Static_assert(offsetof(struct layout_counters, growth_count) == 64, "layout");
_Static_assert(offsetof(struct layout_counters, evictions) == 72, "layout");
_Static_assert(offsetof(struct layout_counters, waiters) == 80, "layout");
_Static_assert(offsetof(struct layout_counters, total_waits) == 88, "layout");
_Static_assert(offsetof(struct layout_counters, held_long) == 96, "layout");
_Static_assert(offsetof(struct layout_counters, total_held_long) == 104, "layout");
_Static_assert(offsetof(struct layout_counters, watermarks) == 112, "layout");
_Static_assert(offsetof(struct layout_counters, reset_usage) == 120, "layout");
_Static_assert(offsetof(struct layout_counters, reset_at) == 128, "layout");
_Static_assert(offsetof(struct layout_counters, changed_at) == 136, "layout");
_Static_assert(offsetof(struct layout_counters, area_low) == 144, "layout");
_Static_assert(offsetof(struct layout_counters, area_high) == 152, "layout");
_Static_assert(offsetof(struct layout_counters, freed) == 160, "layout");
_Static_assert(offsetof(struct layout_counters, waits) == 320, "layout");
_Static_assert(offsetof(struct layout_counters, holds) == 1808, "layout");
_Static_assert(sizeof(struct layout_ctl) == 4096, "layout");

/* Member entries: `may write : 1 | session id : 63`. 0 = the number is free. */
#define LAYOUT_MEMBER_WRITES (UINT64_C(1) << 63)

static inline uint64_t layout_member_session(uint64_t entry)
{
    return entry & ~LAYOUT_MEMBER_WRITES;
}

/*
 * Ledger entries: `request : 50 | evictable : 1 | member : 13`. 0 = the slot is nobody's. The
 * request number is the session's own; it tells, after a lost reply, what that request had been
 * granted. An evictable object may be freed when a critical request needs its slot.
 */
#define LAYOUT_REQUEST_MAX ((UINT64_C(1) << 50) - 1)
#define LAYOUT_EVICTABLE (UINT64_C(1) << FASTALLOC_WORD_MEMBER_BITS)

static inline uint64_t layout_ledger_entry(uint64_t request, uint32_t member)
{
    return request << (FASTALLOC_WORD_MEMBER_BITS + 1) | member;
}

static inline uint32_t layout_ledger_member(uint64_t entry)
{
    return (uint32_t)entry & SLOT_MEMBER_POOL;
}

static inline uint64_t layout_ledger_request(uint64_t entry)
{
    return entry >> (FASTALLOC_WORD_MEMBER_BITS + 1);
}

/* Holder entries: `generation's low 19 bits : 19 | index : 32 | member : 13`. 0 = free. */
static inline uint64_t layout_holder_entry(uint64_t generation, uint32_t index, uint32_t member)
{
    return generation << 45 | (uint64_t)index << FASTALLOC_WORD_MEMBER_BITS | member;
}

#endif
