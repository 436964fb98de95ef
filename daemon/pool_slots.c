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

bool pool_prepare(struct pool *pool, uint32_t count, struct error *error)
{
    bool zero = pool->ctl->flags & LAYOUT_ZERO_ALLOCATE;
    uint32_t template_size = pool->ctl->policy.template_size;
    if (!zero && !pool->content && pool->store.trimmed_count == 0)
        return true;

    uint32_t index = LEDGER_NONE;
    for (uint32_t i = 0; i < count; i++) {
        index = ledger_next(&pool->ledger, index);
        int status = store_untrim(&pool->store, index);
        if (status == 0 && zero)
            status = store_zero(&pool->store, index, template_size);
        if (status == 0 && pool->content)
            status = store_write(&pool->store, index, pool->content, template_size);
        if (status < 0)
            return pool_refuse_memory(pool, " for objects that were trimmed",
                                      missing_memory(pool, index, count - i), status, error);
    }
    return true;
}

void pool_allocate(struct pool *pool, uint32_t member, uint64_t request, bool evictable,
                   uint32_t count, struct slots_charge *charge, int64_t now, uint8_t *handles)
{
    uint64_t entry = layout_ledger_entry(request, member) | (evictable ? LAYOUT_EVICTABLE : 0);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = ledger_grant(&pool->ledger, entry);
        assert(index != LEDGER_NONE);
        uint64_t generation = slot_generation(word_load(&pool->words[index]));
        bool live = slot_make_live(&pool->words[index], member);
        assert(live);
        (void)live;
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

void pool_take_back(struct pool *pool, uint32_t index, int64_t now)
{
    uint64_t *word = &pool->words[index];
    bool idle = slot_make_idle(word, slot_generation(word_load(word)));
    assert(idle);
    (void)idle;
    if (pool->ctl->flags & LAYOUT_ZERO_FREE) /* can't fail: its memory is there, and it is open */
        store_zero(&pool->store, index, 0);
    pool_forget_evictable(pool, index);
    if (slot_state(word_load(word)) == SLOT_RETIRED)
        ledger_retire(&pool->ledger, index);
    else
        ledger_release(&pool->ledger, index);
    tally_freed(&pool->ctl->counters, pool_end_age(pool, index, now), now);
}

void pool_free_live(struct pool *pool, uint32_t index, int64_t now)
{
    pool_discharge(pool, ledger_holder(&pool->ledger, index));
    pool_take_back(pool, index, now);
}

bool pool_evict(struct pool *pool, uint32_t count, int64_t now)
{
    if (pool->evictable.count < count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        pool_free_live(pool, pool->evictable.first, now);
    tally_add(&pool->ctl->counters, &pool->ctl->counters.evictions, count);
    return true;
}

uint32_t pool_leave(struct pool *pool, uint32_t member, int64_t now)
{
    uint32_t before = pool_usage(pool);
    for (uint32_t index; (index = ledger_oldest(&pool->ledger, member)) != LEDGER_NONE;)
        pool_free_live(pool, index, now);
    for (uint32_t index; (index = holders_remove_oldest(&pool->holders, member)) != HOLDERS_NONE;) {
        pool_discharge(pool, member);
        if (holders_count(&pool->holders, index) == 0)
            pool_take_back(pool, index, now);
    }
    pool_free_account(pool, member);
    field_store(&pool->store.members[member], 0);
    pool->member_count--;
    return before - pool_usage(pool);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool is_free(const struct pool *pool, uint32_t index)
{
    return !slot_is_allocated(word_load(&pool->words[index]));
}

uint64_t pool_trim(struct pool *pool)
{
    uint64_t before = store_trimmed_size(&pool->store);
    uint32_t capacity = pool_capacity(pool);
    for (uint32_t first = 0, end; first < capacity; first = end + 1) {
        for (end = first; end < capacity && is_free(pool, end);)
            end++;
        if (end > first)
            store_trim(&pool->store, first, end, capacity);
    }
    return store_trimmed_size(&pool->store) - before;
}
