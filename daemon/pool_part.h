/* SPDX-License-Identifier: MIT */
/* What the parts of a pool share: pool.c, pool_slots.c, pool_operate.c. */
#ifndef DAEMON_POOL_PART_H
#define DAEMON_POOL_PART_H

#include "daemon/pool.h"

/* Says that `what` took memory that there isn't: "pool 'name' needs ... what". Returns false. */
bool pool_refuse_memory(const struct pool *pool, const char *what, uint64_t needed, int status,
                        struct error *error);

/* The member holds what was charged. */
void pool_charge_holder(struct pool *pool, uint32_t member, struct slots_charge *charge);
/* One slot less is charged to the member; the pool's own aren't charged to anybody. */
void pool_discharge(struct pool *pool, uint32_t member);
void pool_free_account(struct pool *pool, uint32_t member);

/* Takes the memory that evictable objects need in that many slots. 0 or -ENOMEM. */
int pool_reserve_evictable(struct pool *pool, uint32_t capacity);
/* The slot's object isn't evictable any more, if it was. */
void pool_forget_evictable(struct pool *pool, uint32_t index);

/* How long the slot was held; the counter of those held for too long follows. */
int64_t pool_end_age(struct pool *pool, uint32_t index, int64_t now);
/* The slot is nobody's any more; whoever held it isn't charged for it already. */
void pool_take_back(struct pool *pool, uint32_t index, int64_t now);
/* The same of a LIVE one, whose holder is discharged. */
void pool_free_live(struct pool *pool, uint32_t index, int64_t now);

#endif
