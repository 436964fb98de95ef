/* SPDX-License-Identifier: MIT */
/*
 * A pool: its store, its ledger, its slot words, its members, who holds what and since when, and
 * its counters. Numbers only: it knows no socket, no session but by its number, and no clock; times
 * are ns of the monotonic clock that never go back.
 *
 * An object is held: by the one member that allocated or adopted it (LIVE), by the pool itself once
 * it was detached, or by several (SHARED); it is free when the last hold is given up.
 *
 * The order of every change is what recovery rests on. Grant: ledger, word. Take back: word,
 * zeroes if the pool says so, ledger; of a SHARED slot the last hold before that, so one without
 * holds is nobody's. Change of
 * hands: intent, word, ledger or holders, intent cleared. Creation: the objects, filled, then the
 * layout version. Destruction: the version, the words, then the objects.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/ages.h"
#include "daemon/deadline.h"
#include "daemon/holders.h"
#include "daemon/job.h"
#include "daemon/journal.h"
#include "daemon/ledger.h"
#include "daemon/numbers.h"
#include "daemon/pool_config.h"
#include "daemon/quota.h"
#include "daemon/store.h"
#include "daemon/waitqueue.h"
#include "proto/error.h"
#include "shm/handle.h"

/*
 * The highest member number that a session can get: above are those of threads, and the pool
 * itself.
 */
#define POOL_MEMBER_MAX (LAYOUT_THREAD_FIRST - 1)

struct registry_pool;

/* A member, and what its slots are charged to. */
struct pool_account {
    const struct session *session; /* whoever joined sets it */
    struct quota quota;            /* the session's, in this pool */
    struct user *user;             /* of the pool's users */
    struct slots_charge held;
    uint32_t cached; /* slots of a leased pool, when all were looked at last, and granted since */
};

/* A session's request that the pool grow, which waits for it. */
struct grower {
    TAILQ_ENTRY(grower) in_pool;
    LIST_ENTRY(grower) in_session;
    struct pool *pool;
    struct session *session;
    uint32_t msgid;
    uint32_t capacity;
    struct charge waiting; /* the user's, in the instance */
};

LIST_HEAD(grower_list, grower);

/* A growth beside the loop. */
struct pool_growing {
    struct job job;
    struct pool *pool;
    bool active;
    uint32_t capacity; /* to which it grows */
    int status;
    bool failed;         /* the last one, which was said; none went well since */
    struct charge bytes; /* what it costs the pool's user */
    TAILQ_HEAD(, grower) growers;
};

/* What a thread number of a leased pool stands for; what its line says is for members to spoil. */
struct lease_thread {
    uint32_t member; /* whose thread it is; SLOT_MEMBER_NONE = the number is free */
    bool biased;     /* it was granted slots, and not revoked since */
};

/* Of a leased pool. */
struct lease {
    struct lease_thread threads[LAYOUT_THREADS]; /* by number, from LAYOUT_THREAD_FIRST on */
    uint32_t biased;                             /* of them */
    uint64_t *seen;                              /* each slot's word, when the daemon looked last */
    uint64_t number;                             /* the epoch's last */
    bool tight;
    bool waiting;    /* as the epoch says */
    uint32_t owed;   /* times that it is asked before it is roomy again */
    uint32_t damage; /* words that couldn't be */
};

struct pool {
    TAILQ_ENTRY(pool) in_broker;
    struct registry_pool *entry; /* whoever made the pool sets it */
    struct journal *journal;     /* so is this; NULL: what is changed here isn't noted */
    uint32_t id;
    uint16_t nonce;
    struct store store;
    struct layout_ctl *ctl; /* the store's */
    uint64_t *words;        /* the store's */
    struct ledger ledger;
    struct holders holders;
    struct ages ages;
    struct chain evictable;             /* oldest first */
    struct chain_link *evictable_links; /* NULL until something is */
    uint32_t prepared;                  /* slots that it must have room for: those to come too */
    uint64_t *marks;                    /* a bit a slot, to find a handle that stands twice */
    struct pool_account **accounts;     /* by member number */
    uint32_t account_count;
    uint32_t member_count;
    struct users users;
    struct growth growth;
    struct watermark watermark;
    uint8_t *content; /* the template */
    struct waitqueue waiters;
    struct lease lease;

    /* The broker's. */
    struct user *user; /* the owner, in the instance */
    struct charge counted;
    struct charge bytes;
    struct pool_growing growing;
    struct deadline long_held; /* when an object will have been held for too long */
    struct deadline trim;      /* when the pool has perhaps been quiet for long enough */
    bool mapped;          /* somebody has it mapped to write; that of a leased pool does much */
    struct deadline look; /* when a leased pool is looked at again */
    int64_t look_after;   /* ns */
    int64_t glanced_at;   /* when it was last; not so soon again for whoever asks for its numbers */
    int64_t trimmed_at;   /* when it last was, for being quiet */
    bool exhausted;       /* it was said, and nothing fitted since */
    bool destroyed;       /* it is gone, but for the growth that is under way */
};

/*
 * Makes the pool's objects, under names that come from the key, and maps what the daemon needs.
 * False with what pool_config_check() says, SHARED_MEMORY_FULL, OUT_OF_MEMORY or SYSTEM; then
 * nothing is left behind.
 */
bool pool_create(const struct pool_config *config, uint32_t id, uint16_t nonce,
                 const uint8_t key[SEGMENT_KEY_SIZE], int64_t now, struct pool **pool,
                 struct error *error);

/*
 * Takes over the pool that a dead daemon left under that key, untouched yet. False with what is
 * wrong with it. If it was being destroyed, pool_destroy() is all to be done with it; else
 * pool_rejoin() each member that there is, and pool_recover().
 */
bool pool_take_over(uint32_t id, uint16_t nonce, const uint8_t key[SEGMENT_KEY_SIZE],
                    bool destroyed, struct pool **pool, struct error *error);

/* The number is taken: that of a session of the uid. 0 or -ENOMEM. */
int pool_rejoin(struct pool *pool, uint32_t member, uid_t uid);

/*
 * Brings the pool into the state in which its laws hold: every slot is nobody's, or that of the one
 * who had allocated it; what was granted ahead is taken back. 0 or a negated errno; then nobody may
 * use it.
 */
int pool_recover(struct pool *pool, int64_t now);

/*
 * Makes every handle stale, in running members too, and removes the objects' names. Members keep
 * the memory until they unmap it. Nobody may wait any more.
 */
void pool_destroy(struct pool *pool);

/* Unmaps the pool and forgets it; its objects stay. NULL is fine. */
void pool_free(struct pool *pool);

/* Members broke what they may write: it stands in the pool from then on. */
bool pool_is_damaged(const struct pool *pool);

/* ---- Capacity */

uint32_t pool_capacity(const struct pool *pool);
uint32_t pool_capacity_max(const struct pool *pool);
uint32_t pool_usage(const struct pool *pool);
/*
 * Bytes of shared memory in all its objects: as it will be made; as it is; without those given
 * back.
 */
uint64_t pool_planned_size(const struct pool_config *config, const struct pool_plan *plan);
uint64_t pool_size(const struct pool *pool);
uint64_t pool_memory(const struct pool *pool);

/*
 * Takes the daemon's own memory for that capacity; then store_grow() may run, in a thread too; then
 * pool_grown() publishes the store's capacity. 0 or -ENOMEM.
 */
int pool_prepare_growth(struct pool *pool, uint32_t capacity);
void pool_grown(struct pool *pool);

/* Says why store_grow(capacity) failed with that status. */
void pool_refuse_growth(const struct pool *pool, uint32_t capacity, int status,
                        struct error *error);

/* ---- Members */

/* A member number for the session; SLOT_MEMBER_NONE when there are none left, or no memory. */
uint32_t pool_join(struct pool *pool, uint64_t session, uid_t uid);
/* The member may write, from now on. */
void pool_allow_write(struct pool *pool, uint32_t member);
bool pool_may_write(const struct pool *pool, uint32_t member);
/* The session whose number it is; 0 = nobody's. */
uint64_t pool_session(const struct pool *pool, uint32_t member);

/* Takes back all that the member holds and its number. Returns how many slots that freed. */
uint32_t pool_leave(struct pool *pool, uint32_t member, int64_t now);

/*
 * Charges slots that the member is to get to its session's and its user's quota. False with
 * QUOTA_EXCEEDED.
 */
bool pool_charge(const struct pool *pool, uint32_t member, uint32_t count,
                 struct slots_charge *charge, struct error *error);

/* Slots that the member holds, alone or with others. */
uint32_t pool_held(const struct pool *pool, uint32_t member);
/* Those of them in which there are objects, as far as was seen. */
uint32_t pool_objects(const struct pool *pool, uint32_t member);

/* ---- Slots */

/* Free slots that a request of the priority may take. */
uint32_t pool_room(const struct pool *pool, enum priority priority);
/* Those it may never take, free or not. */
uint32_t pool_reserved(const struct pool *pool, enum priority priority);

/*
 * Makes the `count` slots that are granted next ready: with memory if theirs was given back;
 * filled, if they are to be objects at once, with zeroes and the template if the pool says so.
 * False with SHARED_MEMORY_FULL or SYSTEM.
 */
bool pool_prepare(struct pool *pool, uint32_t count, bool fill, struct error *error);

/*
 * Allocates `count` slots, for which there is room and which are ready, and writes their handles in
 * wire form. The charge is the member's then. An evictable object's memory must have been taken.
 */
void pool_allocate(struct pool *pool, uint32_t member, uint64_t request, bool evictable,
                   uint32_t count, struct slots_charge *charge, int64_t now, uint8_t *handles);

/* Takes the memory that evictable objects need, for this and all later ones. 0 or -ENOMEM. */
int pool_allow_evictable(struct pool *pool);

/* Frees the oldest evictable objects, that many, if there are so many. Whether there were. */
bool pool_evict(struct pool *pool, uint32_t count, int64_t now);

/*
 * What a member does with handles (wire form), with all of them or with none. False with
 * WRONG_POOL, STALE_HANDLE or DUPLICATE_HANDLE and the position of the first that is wrong, or with
 * what stands there. In a leased pool a member may free an object amid it: STALE_HANDLE too, but then
 * it is done with the others.
 */
enum pool_operation {
    POOL_FREE,    /* for all: OBJECT_SHARED if others hold it, NOT_HOLDER if only they may */
    POOL_RELEASE, /* gives up one hold, the last one frees: NOT_HOLDER */
    POOL_RETAIN,  /* one more hold: QUOTA_EXCEEDED, LIMIT_EXCEEDED, SHARED_MEMORY_FULL */
    POOL_ADOPT,   /* the holder's hold is the member's now: OBJECT_SHARED, NOT_HOLDER, QUOTA... */
    POOL_DETACH,  /* it is the pool's own now: OBJECT_SHARED, NOT_HOLDER, NOT_PERMITTED */
};

bool pool_operate(struct pool *pool, enum pool_operation operation, uint32_t member,
                  const uint8_t *handles, uint32_t count, int64_t now, struct error *error);

/*
 * Carries out the rest of the operation that the journal tells of: a dead daemon's, in this pool. 0
 * or -ENOMEM; then the rest is still to be carried out.
 */
int pool_finish_change(struct pool *pool, int64_t now);

/*
 * Frees the objects that the member was allocated by these requests, and that are still its own.
 * Returns how many.
 */
uint32_t pool_settle(struct pool *pool, uint32_t member, const struct numbers *requests,
                     int64_t now);

/* ---- Leased pools (docs/decisions/0015) */

bool pool_is_leased(const struct pool *pool);

/*
 * Grants `count` slots, at least one, for which there is room and memory, to the member's cache,
 * and writes their numbers, 32 bits each, in wire form. If `thread` isn't 0 they are that thread's
 * of the member, which may be biased then.
 */
void pool_lease(struct pool *pool, uint32_t member, uint32_t thread, uint32_t count,
                struct slots_charge *charge, uint8_t *slots);

/* Slots that are granted but not allocated, as the daemon saw it last. */
uint32_t pool_cached(const struct pool *pool);

/*
 * Makes the pool tight, if it isn't yet, and says whether somebody waits, by a number that is new;
 * then takes back what members freed, and, when it becomes tight, what they have cached.
 */
void pool_tighten(struct pool *pool, bool waiting, int64_t now);
/*
 * It was asked for something: it is roomy again, if it was tight, nobody waits any more, and it has
 * had room for as long as becoming tight was worth.
 */
void pool_relax(struct pool *pool);
bool pool_is_tight(const struct pool *pool);

/* Takes back what members returned, as far as hints tell. */
void pool_harvest(struct pool *pool, int64_t now);
/* Takes back all that members returned, and all that they have cached. */
void pool_harvest_all(struct pool *pool, int64_t now);
/*
 * Looks at the words of those that are about to be counted as held for too long, each of them once.
 */
void pool_check_held(struct pool *pool, int64_t now);
/* Looks at all words, and counts what happened since. Returns whether anything did. */
bool pool_sweep(struct pool *pool, int64_t now);

/* ---- Biased threads of leased pools (docs/decisions/0016) */

/*
 * A number for one more thread of the member's; SLOT_MEMBER_NONE when there are none left, or where
 * there can't be any. It is the thread's until the member leaves.
 */
uint32_t pool_add_thread(struct pool *pool, uint32_t member);
/* Whether the number is that of a thread of the member's. */
bool pool_has_thread(const struct pool *pool, uint32_t member, uint32_t number);
/* The member to which a number in a slot's word belongs: its own, or that of a thread of its. */
uint32_t pool_member_of(const struct pool *pool, uint32_t number);

/* ---- Memory */

/* Gives back the memory of the data of free slots. Returns how many bytes. */
uint64_t pool_trim(struct pool *pool, int64_t now);

/* Asserts the pool's laws; for tests, after each step. */
void pool_check(const struct pool *pool);

#endif
