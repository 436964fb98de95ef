/* SPDX-License-Identifier: MIT */
/* The laws of a pool. */
#include "daemon/pool.h"

#include <assert.h>

#include "shm/lease.h"

/* What the daemon keeps of the slot agrees with itself, whatever members make of the word. */
static void check_seen(const struct pool *pool, uint32_t index, uint32_t holder)
{
    uint64_t seen = pool->lease.seen[index];
    enum slot_state state = slot_state(seen);
    assert(pool_member_of(pool, slot_member(seen)) == holder);
    assert((holder == SLOT_MEMBER_NONE) == (state == SLOT_IDLE || state == SLOT_RETIRED) ||
           slot_generation(seen) == SLOT_GENERATION_LAST);
    assert((state == SLOT_SHARED) == (holders_count(&pool->holders, index) > 0));
}

/* Members change only what is granted, and there is nothing else that they can make of it. */
static void check_leased(const struct pool *pool, uint32_t index, uint32_t holder)
{
    uint64_t word = word_load(&pool->words[index]), seen = pool->lease.seen[index];
    enum slot_state state = slot_state(word);
    check_seen(pool, index, holder);
    assert(slot_generation(word) >= slot_generation(seen));
    if (holder == SLOT_MEMBER_NONE)
        assert(word == seen);
    else
        assert(state == SLOT_CACHED || state == SLOT_LIVE || state == SLOT_SHARED ||
               state == SLOT_RETURNED || state == SLOT_RETIRED);
}

static void check_slot(const struct pool *pool, uint32_t index)
{
    uint64_t word = word_load(&pool->words[index]);
    uint32_t holder = ledger_holder(&pool->ledger, index);
    uint32_t holds = holders_count(&pool->holders, index);

    assert(pool_member_of(pool, slot_member(word)) == holder);
    if (pool_is_leased(pool))
        check_leased(pool, index, holder);
    else
        assert(slot_is_allocated(word) == (holder != SLOT_MEMBER_NONE));
    assert(slot_generation(word) >= SLOT_GENERATION_FIRST);
    assert((slot_state(word) == SLOT_SHARED) == (holds > 0));
    assert(holder == SLOT_MEMBER_NONE || holder == SLOT_MEMBER_POOL ||
           field_load(&pool->store.members[holder]) != 0);
    assert(!(pool->marks[index / 64] >> index % 64 & 1));
    assert(holder == SLOT_MEMBER_NONE || !store_is_trimmed(&pool->store, index));
}

static void check_evictable(const struct pool *pool)
{
    uint32_t evictable = 0;
    chain_check(&pool->evictable, pool->evictable_links, pool_capacity(pool));
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        evictable += (ledger_entry(&pool->ledger, i) & LAYOUT_EVICTABLE) != 0;
    assert(evictable == pool->evictable.count);
}

/* How many slots the member's requests wait for. */
static uint64_t waited_for(const struct pool *pool, uint32_t member)
{
    const struct waiter *waiter;
    uint64_t slots = 0;
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        TAILQ_FOREACH (waiter, &pool->waiters.waiting[priority], in_pool)
            slots += waiter->member == member ? waiter->count : 0;
    return slots;
}

static void check_waiters(const struct pool *pool)
{
    const struct waiter *waiter;
    uint32_t waiters = 0;
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        TAILQ_FOREACH (waiter, &pool->waiters.waiting[priority], in_pool) {
            assert(waiter->slots.session.amount == waiter->count);
            waiters++;
        }
    assert(waiters == pool->waiters.count && waiters == pool->ctl->counters.waiters);
}

static void check_members(const struct pool *pool)
{
    uint32_t members = 0;
    for (uint32_t member = 1; member < pool->account_count; member++) {
        const struct pool_account *account = pool->accounts[member];
        assert((account != NULL) == (field_load(&pool->store.members[member]) != 0));
        if (!account)
            continue;
        members++;
        assert(account->held.session.amount == pool_held(pool, member));
        assert(account->held.user.amount == pool_held(pool, member));
        assert(account->quota.used == pool_held(pool, member) + waited_for(pool, member));
    }
    assert(members == pool->member_count);
}

/* The number of a thread is its session's, which is a member. */
static void check_threads(const struct pool *pool)
{
    const uint64_t *members = pool->store.members;
    uint32_t biased = 0;
    for (uint32_t i = 0; i < LAYOUT_THREADS; i++) {
        const struct lease_thread *thread = &pool->lease.threads[i];
        uint64_t session = field_load(&members[LAYOUT_THREAD_FIRST + i]);
        assert((thread->member != SLOT_MEMBER_NONE) == (session != 0));
        assert(session == 0 || (pool_is_leased(pool) && thread->member <= POOL_MEMBER_MAX &&
                                session == field_load(&members[thread->member])));
        assert(session != 0 || !thread->biased);
        biased += thread->biased;
    }
    assert(biased == pool->lease.biased);
}

/* Tight exactly if members are told so; who waits is told of, too. */
static void check_epoch(const struct pool *pool)
{
    const struct lease *lease = &pool->lease;
    uint64_t epoch = lease->tight ? lease_epoch(lease->number, lease->waiting) : 0;
    assert(pool->ctl->waiters == epoch && (lease->tight || !lease->waiting));
    assert(!pool_is_leased(pool) || pool->waiters.count == 0 || lease->waiting);
}

/* Of all slots together. */
static void check_usage(const struct pool *pool)
{
    const struct layout_counters *counters = &pool->ctl->counters;
    uint32_t allocated = 0;
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        allocated += slot_is_allocated(pool_is_leased(pool) ? pool->lease.seen[i]
                                                            : word_load(&pool->words[i]));
    assert(allocated == counters->current_usage);
    assert(pool->ages.held.count == counters->current_usage);
    assert(pool->ages.too_long == counters->held_long);
    assert(counters->sequence % 2 == 0 && counters->current_usage <= counters->peak_usage);
    assert(counters->current_usage - counters->reset_usage ==
           counters->total_allocations - counters->total_deallocations);
}

void pool_check(const struct pool *pool)
{
    ledger_check(&pool->ledger);
    holders_check(&pool->holders);
    ages_check(&pool->ages, pool_capacity(pool));
    check_evictable(pool);
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        check_slot(pool, i);
    check_waiters(pool);
    check_members(pool);
    check_threads(pool);
    assert(pool_capacity(pool) == pool->ctl->capacity);
    assert(pool_capacity(pool) <= pool_capacity_max(pool));
    assert(pool->ctl->intent.kind == LAYOUT_INTENT_NONE);
    check_epoch(pool);
    check_usage(pool);
}
