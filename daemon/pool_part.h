/* SPDX-License-Identifier: MIT */
/*
 * What the parts of a pool share: pool.c, pool_slots.c, pool_operate.c, pool_lease.c, pool_bias.c,
 * pool_recover.c.
 */
#ifndef DAEMON_POOL_PART_H
#define DAEMON_POOL_PART_H

#include "daemon/pool.h"

/* Says that `what` took memory that there isn't: "pool 'name' needs ... what". Returns false. */
bool pool_refuse_memory(const struct pool *pool, const char *what, uint64_t needed, int status,
                        struct error *error);

/* With nothing in it. NULL without memory. */
struct pool *pool_new(const struct pool_config *config, const struct pool_plan *plan, uint32_t id,
                      uint16_t nonce);
/* Its store is there. */
void pool_begin(struct pool *pool);
/* The daemon's own memory for that many slots. 0 or a negated errno. */
int pool_take_memory(struct pool *pool, uint32_t capacity, bool leased);

/* The member holds what was charged. */
void pool_charge_holder(struct pool *pool, uint32_t member, struct slots_charge *charge);
/* One slot less is charged to the member; the pool's own aren't charged to anybody. */
void pool_discharge(struct pool *pool, uint32_t member);
void pool_free_account(struct pool *pool, uint32_t member);

/* Takes the memory that evictable objects need in that many slots. 0 or -ENOMEM. */
int pool_reserve_evictable(struct pool *pool, uint32_t capacity);
/* The slot's object isn't evictable any more, if it was. */
void pool_forget_evictable(struct pool *pool, uint32_t index);

/* ---- Of leased pools */

/* What happened to a slot since it was looked at last. */
struct seen {
    uint64_t allocated;
    uint64_t freed;
};

/* Objects of a slot that were freed so far. */
uint64_t pool_freed_until(uint64_t word);
/* The slot's word is this one now. The counters are the caller's to see to. */
struct seen pool_see(struct pool *pool, uint32_t index, uint64_t word, int64_t now);
/* And they follow. */
void pool_see_now(struct pool *pool, uint32_t index, uint64_t word, int64_t now);
/*
 * Changes a word that the daemon alone may change, IDLE or SHARED, whatever a member made of it.
 * What was seen of it is the caller's to see to.
 */
void pool_change_own(struct pool *pool, uint32_t index, uint64_t word);
/* Whether the slot is granted, and its word can be; if it can't, it is put right, or out of use. */
bool pool_check_word(struct pool *pool, uint32_t index, int64_t now);
/* IDLE -> CACHED or LIVE under that number of the member, whom the ledger has already. */
void pool_grant(struct pool *pool, uint32_t index, uint32_t number, enum slot_state state);
/* Takes the slot back from a member that is gone, whatever it was doing. */
void pool_reclaim(struct pool *pool, uint32_t index, uint32_t holder, int64_t now);

/* Goes on with the epochs of the daemon before, tight if it was. */
void pool_recover_epoch(struct pool *pool);

/* ---- Of biased threads */

/* The number is that of a thread of the member's, which may be biased. */
void pool_take_thread(struct pool *pool, uint32_t member, uint32_t number);

/*
 * The thread doesn't store plainly any more, but for what pool_is_amid() tells; nothing, if the
 * number is no thread's or the thread wasn't biased. False: the system lets nobody revoke it now.
 * Of all threads, at the price of one.
 */
bool pool_revoke(struct pool *pool, uint32_t number);
void pool_revoke_all(struct pool *pool);
/* The thread may be biased again. */
void pool_restore(struct pool *pool, uint32_t number);
/*
 * Whether this word, CACHED or LIVE, is one that a thread which was revoked is in the middle of
 * changing: to LIVE, or by a free.
 */
bool pool_is_amid(const struct pool *pool, uint32_t index, uint64_t word);
/* The member's numbers are free again. None of them stands in a word any more. */
void pool_end_threads(struct pool *pool, uint32_t member);

/* ---- Of all */

/* Members broke what they may write; to be noted before it is put right. */
void pool_note_damage(struct pool *pool);

/* How long the slot was held; the counter of those held for too long follows. */
int64_t pool_end_age(struct pool *pool, uint32_t index, int64_t now);
/*
 * The slot, allocated at this generation, is nobody's any more; whoever held it is to be
 * discharged. False if it isn't that: in a leased pool a member may have freed it meanwhile.
 */
bool pool_take_back(struct pool *pool, uint32_t index, uint64_t generation, int64_t now);
/* The same of a LIVE one, whose holder is discharged. */
bool pool_free_live(struct pool *pool, uint32_t index, uint64_t generation, int64_t now);

#endif
