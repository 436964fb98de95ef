/* SPDX-License-Identifier: MIT */
/*
 * A pool: its shared-memory objects, its ledger, its slot words, its members and its counters.
 * Numbers only: it knows no socket, no session but by its number, and no clock.
 *
 * The order of every change is what recovery rests on. Grant: ledger, word. Take back: word,
 * ledger. Creation: the objects, filled, then the layout version. Destruction: the version, the
 * words, then the objects.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/ledger.h"
#include "daemon/waitqueue.h"
#include "proto/error.h"
#include "shm/geometry.h"
#include "shm/handle.h"
#include "shm/segment.h"

/* The highest member number that a session can get: the one above is the pool itself. */
#define POOL_MEMBER_MAX (SLOT_MEMBER_POOL - 1)

struct pool_config {
    const char *name;
    const char *type;
    uint64_t object_size;
    uint64_t capacity;
    uint32_t alignment; /* 0 = GEOMETRY_ALIGNMENT_DEFAULT */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
};

struct registry_pool;

struct pool {
    TAILQ_ENTRY(pool) in_broker;
    struct registry_pool *entry; /* whoever made the pool sets it */
    uint32_t id;
    uint16_t nonce;
    uint8_t key[SEGMENT_KEY_SIZE]; /* names the objects */
    struct geometry geometry;
    struct layout_ctl *ctl;
    size_t ctl_mapped;
    uint64_t *members; /* in ctl */
    uint64_t *words;
    void *slots;
    size_t slots_mapped;
    struct ledger ledger;
    uint64_t *marks; /* a bit a slot, to find a handle that stands twice in a request */
    uint32_t member_count;
    struct waitqueue waiters;
    uint32_t waiter_count;
};

/* What the pool's descriptors are, in the order in which they travel. */
enum pool_object { POOL_CTL, POOL_SLOTS, POOL_DATA, POOL_OBJECT_COUNT };

/*
 * Checks the configuration, but for the name. False with INVALID_OBJECT_SIZE, INVALID_ALIGNMENT or
 * INVALID_CAPACITY.
 */
bool pool_geometry(const struct pool_config *config, struct geometry *geometry,
                   struct error *error);

/*
 * Makes the pool's objects, under names that come from the key, and maps what the daemon needs.
 * False with what pool_geometry() says, SHARED_MEMORY_FULL, OUT_OF_MEMORY or SYSTEM; then nothing
 * is left behind.
 */
bool pool_create(const struct pool_config *config, uint32_t id, uint16_t nonce,
                 const uint8_t key[SEGMENT_KEY_SIZE], struct pool **pool, struct error *error);

/*
 * Makes every handle stale, in running members too, and removes the objects' names. Members keep
 * the memory until they unmap it. Nobody may wait any more.
 */
void pool_destroy(struct pool *pool);

/* Unmaps the pool and forgets it; its objects stay. NULL is fine. */
void pool_free(struct pool *pool);

/* Removes the objects of a key, of whichever there are. Returns how many there were. */
unsigned pool_unlink_objects(const uint8_t key[SEGMENT_KEY_SIZE]);

/* A new descriptor of one object, for a client; data writable if asked. Or a negated errno. */
int pool_descriptor(const struct pool *pool, enum pool_object object, bool writable);

/* A member number for the session; SLOT_MEMBER_NONE when there are none left, or no memory. */
uint32_t pool_join(struct pool *pool, uint64_t session);

/* Takes back all that the member holds and its number. Returns how many slots that were. */
uint32_t pool_leave(struct pool *pool, uint32_t member);

/* Whether all `count` can be allocated now. */
bool pool_has_room(const struct pool *pool, uint32_t count);

/* Allocates `count` slots, for which there is room, and writes their handles in wire form. */
void pool_allocate(struct pool *pool, uint32_t member, uint64_t request, uint32_t count,
                   uint8_t *handles);

/*
 * Frees all the handles (wire form) or none. False with WRONG_POOL, STALE_HANDLE or
 * DUPLICATE_HANDLE and the position of the first that is wrong.
 */
bool pool_free_handles(struct pool *pool, const uint8_t *handles, uint32_t count,
                       struct error *error);

/* Counts a request that was refused, for want of slots, or in vain waited for them. */
void pool_count_failure(struct pool *pool, bool timed_out);
/* Counts slots that were taken back from a session that ended. */
void pool_count_reclaimed(struct pool *pool, uint32_t slots);

uint32_t pool_capacity(const struct pool *pool);
uint32_t pool_usage(const struct pool *pool);
uint64_t pool_memory(const struct pool *pool);

/* Asserts the pool's laws; for tests, after each step. */
void pool_check(const struct pool *pool);

#endif
