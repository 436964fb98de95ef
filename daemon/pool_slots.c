/* SPDX-License-Identifier: MIT */
/* A pool's slots: how they are allocated, freed, evicted and trimmed. */
#include "daemon/pool_part.h"

#include <assert.h>

#include "daemon/tally.h"
#include "shm/order.h"

/* ---- Allocation ------------------------------------------------------------------------------ */

uint32_t pool_reserved(const struct pool *pool, enum priority priority)
{
    const struct layout_policy *policy = &pool->ctl->policy;
    uint32_t reserved = priority > PRIORITY_CRITICAL ? policy->reserve_critical : 0;
    return reserved + (priority > PRIORITY_NORMAL ? policy->reserve_normal : 0);
}

uint32_t pool_room(const struct pool *pool, enum priority priority)
{
    uint32_t idle = ledger_count(&pool->ledger, SLOT_MEMBER_NONE);
    uint32_t reserved = pool_reserved(pool, priority);
    return idle > reserved ? idle - reserved : 0;
}

/* Bytes that the slots from `index` on, which are granted next, have had given back, at most. */
static uint64_t missing_memory(const struct pool *pool, uint32_t index, uint32_t count)
{
    uint64_t all = store_trimmed_size(&pool->store), missing = 0;
    for (; count > 0 && missing < all; count--, index = ledger_next(&pool->ledger, index))
        missing += store_is_trimmed(&pool->store, index) ? pool->store.geometry.stride : 0;
    missing = (missing + 4095) / 4096 * 4096;
    return missing < all ? missing : all;
}

bool pool_prepare(struct pool *pool, uint32_t count, bool fill, struct error *error)
{
    bool zero = fill && (pool->ctl->flags & LAYOUT_ZERO_ALLOCATE);
    bool content = fill && pool->content;
    uint32_t template_size = pool->ctl->policy.template_size;
    if (!zero && !content && pool->store.trimmed_count == 0)
        return true;

    uint32_t index = LEDGER_NONE;
    for (uint32_t i = 0; i < count; i++) {
        index = ledger_next(&pool->ledger, index);
        int status = store_untrim(&pool->store, index);
        if (status == 0 && zero)
            status = store_zero(&pool->store, index, template_size);
        if (status == 0 && content)
            status = store_write(&pool->store, index, pool->content, template_size);
        if (status < 0)
            return pool_refuse_memory(pool, " for objects that were trimmed",
                                      missing_memory(pool, index, count - i), status, error);
    }
    return true;
}

/* Returns the generation at which it is. */
static uint64_t make_live(struct pool *pool, uint32_t index, uint32_t member)
{
    if (pool_is_leased(pool)) {
        pool_grant(pool, index, member, SLOT_LIVE);
        return slot_generation(pool->lease.seen[index]);
    }
    bool live = slot_make_live(&pool->words[index], member);
    assert(live);
    (void)live;
    return slot_generation(word_load(&pool->words[index]));
}

void pool_allocate(struct pool *pool, uint32_t member, uint64_t request, bool evictable,
                   uint32_t count, struct slots_charge *charge, int64_t now, uint8_t *handles)
{
    uint64_t entry = layout_ledger_entry(request, member) | (evictable ? LAYOUT_EVICTABLE : 0);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = ledger_grant(&pool->ledger, entry);
        assert(index != LEDGER_NONE);
        uint64_t generation = make_live(pool, index, member);
        ages_begin(&pool->ages, index, now);
        if (evictable)
            chain_append(&pool->evictable, pool->evictable_links, index);
        handle_to_wire(handle_make(pool->id, index, pool->nonce, generation),
                       handles + (size_t)i * HANDLE_WIRE_SIZE);
    }
    pool_charge_holder(pool, member, charge);
    tally_allocated(&pool->ctl->counters, count, now);
}

int pool_allow_evictable(struct pool *pool)
{
    return pool->evictable_links ? 0 : pool_reserve_evictable(pool, pool->prepared);
}

/* ---- Freeing --------------------------------------------------------------------------------- */

void pool_forget_evictable(struct pool *pool, uint32_t index)
{
    if (ledger_entry(&pool->ledger, index) & LAYOUT_EVICTABLE)
        chain_remove(&pool->evictable, pool->evictable_links, index);
}

int64_t pool_end_age(struct pool *pool, uint32_t index, int64_t now)
{
    struct layout_counters *counters = &pool->ctl->counters;
    int64_t held = ages_end(&pool->ages, index, now);
    if (counters->held_long != pool->ages.too_long)
        tally_set(counters, &counters->held_long, pool->ages.too_long);
    return held;
}

/* The slot is free at this word. */
static void count_freed(struct pool *pool, uint32_t index, uint64_t word, int64_t now)
{
    if (pool_is_leased(pool))
        pool_see_now(pool, index, word, now);
    else
        tally_freed(&pool->ctl->counters, pool_end_age(pool, index, now), now);
}

static bool make_idle(struct pool *pool, uint32_t index, uint64_t generation)
{
    bool leased = pool_is_leased(pool);
    if (leased && slot_state(pool->lease.seen[index]) == SLOT_SHARED) {
        pool_change_own(pool, index, slot_idle_after(generation));
        return true;
    }
    bool idle = slot_make_idle(&pool->words[index], generation);
    assert(idle || leased);
    return idle;
}

bool pool_take_back(struct pool *pool, uint32_t index, uint64_t generation, int64_t now)
{
    if (!make_idle(pool, index, generation))
        return false;
    if (pool->ctl->flags & LAYOUT_ZERO_FREE) /* can't fail: its memory is there, and it is open */
        store_zero(&pool->store, index, 0);
    pool_forget_evictable(pool, index);
    uint64_t word = slot_idle_after(generation);
    if (slot_state(word) == SLOT_RETIRED)
        ledger_retire(&pool->ledger, index);
    else
        ledger_release(&pool->ledger, index);
    count_freed(pool, index, word, now);
    return true;
}

bool pool_free_live(struct pool *pool, uint32_t index, uint64_t generation, int64_t now)
{
    uint32_t holder = ledger_holder(&pool->ledger, index);
    if (!pool_take_back(pool, index, generation, now))
        return false;
    pool_discharge(pool, holder);
    return true;
}

/* The generation at which a slot that the daemon alone changes is. */
static uint64_t generation_of(const struct pool *pool, uint32_t index)
{
    return slot_generation(pool_is_leased(pool) ? pool->lease.seen[index]
                                                : word_load(&pool->words[index]));
}

bool pool_evict(struct pool *pool, uint32_t count, int64_t now)
{
    if (pool->evictable.count < count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        pool_free_live(pool, pool->evictable.first, generation_of(pool, pool->evictable.first),
                       now);
    tally_add(&pool->ctl->counters, &pool->ctl->counters.evictions, count);
    return true;
}

/* The slots that the member alone holds, and in a leased pool those that it has cached. */
static void take_all_back(struct pool *pool, uint32_t member, int64_t now)
{
    uint32_t index;
    while ((index = ledger_oldest(&pool->ledger, member)) != LEDGER_NONE)
        if (pool_is_leased(pool))
            pool_reclaim(pool, index, member, now);
        else
            pool_free_live(pool, index, generation_of(pool, index), now);
}

uint32_t pool_leave(struct pool *pool, uint32_t member, int64_t now)
{
    if (pool_is_leased(pool))
        pool_sweep(pool, now);
    uint32_t before = pool_usage(pool);
    take_all_back(pool, member, now);
    for (uint32_t index; (index = holders_remove_oldest(&pool->holders, member)) != HOLDERS_NONE;) {
        pool_discharge(pool, member);
        if (holders_count(&pool->holders, index) == 0)
            pool_take_back(pool, index, generation_of(pool, index), now);
    }
    pool_end_threads(pool, member);
    pool_free_account(pool, member);
    field_store(&pool->store.members[member], 0);
    pool->member_count--;
    return before - pool_usage(pool);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Not what a member has cached: it allocates that without asking. */
static bool is_free(const struct pool *pool, uint32_t index)
{
    return ledger_holder(&pool->ledger, index) == SLOT_MEMBER_NONE;
}

uint64_t pool_trim(struct pool *pool, int64_t now)
{
    uint64_t before = store_trimmed_size(&pool->store);
    uint32_t capacity = pool_capacity(pool);
    if (pool_is_leased(pool))
        pool_harvest_all(pool, now);
    for (uint32_t first = 0, end; first < capacity; first = end + 1) {
        for (end = first; end < capacity && is_free(pool, end);)
            end++;
        if (end > first)
            store_trim(&pool->store, first, end, capacity);
    }
    return store_trimmed_size(&pool->store) - before;
}
