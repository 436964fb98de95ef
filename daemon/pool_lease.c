/* SPDX-License-Identifier: MIT */
/*
 * Leased pools: what is granted ahead, what is taken back, and what the daemon sees of the rest.
 *
 * Members change words by themselves, and may write anything there. So each word is judged
 * by the ledger and by what was seen of it last, and looked at and changed in two attempts at most:
 * no number of them and nothing they hold makes the daemon try for ever.
 */
#include "daemon/pool_part.h"

#include "daemon/tally.h"
#include "shm/lease.h"

/*
 * The pool is roomy with one in so many slots free, once it was asked as many times: that pays for what
 * becoming tight costs, even if all of them are refused.
 */
#define ROOMY_SHARE 1024u

bool pool_is_leased(const struct pool *pool)
{
    return pool->ctl->kind == LAYOUT_LEASED;
}

/* ---- Seeing ---------------------------------------------------------------------------------- */

uint64_t pool_freed_until(uint64_t word)
{
    return slot_generation(word) - SLOT_GENERATION_FIRST + (slot_state(word) == SLOT_RETIRED);
}

/*
 * The object that was seen is gone. If others came and went in its slot since, it may have been
 * freed at any moment since that look: then nothing is known of how long it was held.
 */
static void end_age(struct pool *pool, uint32_t index, uint64_t freed, int64_t now)
{
    int64_t held = pool_end_age(pool, index, now);
    if (freed == 1)
        tally_handed_on(&pool->ctl->counters, held);
}

struct seen pool_see(struct pool *pool, uint32_t index, uint64_t word, int64_t now)
{
    uint64_t before = pool->lease.seen[index];
    bool was = slot_is_allocated(before), is = slot_is_allocated(word);
    struct seen seen = {.freed = pool_freed_until(word) - pool_freed_until(before)};
    seen.allocated = seen.freed + is - was;
    pool->lease.seen[index] = word;
    if (was && seen.freed > 0)
        end_age(pool, index, seen.freed, now);
    if (is && seen.allocated > 0)
        ages_begin(&pool->ages, index, now);
    return seen;
}

static void add_seen(struct seen *sum, struct seen seen)
{
    sum->allocated += seen.allocated;
    sum->freed += seen.freed;
}

static void tally_seen(struct pool *pool, struct seen seen, int64_t now)
{
    if (seen.allocated > 0 || seen.freed > 0)
        tally_swept(&pool->ctl->counters, seen.allocated, seen.freed, now);
}

void pool_see_now(struct pool *pool, uint32_t index, uint64_t word, int64_t now)
{
    tally_seen(pool, pool_see(pool, index, word, now), now);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

/* What is detached can only be freed, once: nobody allocates or caches for the pool itself. */
static bool is_possible_detached(uint64_t seen, uint64_t word)
{
    return word == seen ||
           (slot_state(seen) == SLOT_LIVE && word == lease_freed(seen, SLOT_RETURNED));
}

/* What a member may have made of a slot that it was granted, or somebody of a detached one. */
static bool is_possible(const struct pool *pool, uint32_t index, uint32_t holder, uint64_t word)
{
    uint64_t seen = pool->lease.seen[index];
    if (slot_state(seen) == SLOT_SHARED)
        return word == seen;
    if (holder == SLOT_MEMBER_POOL)
        return is_possible_detached(seen, word);
    if (pool_member_of(pool, slot_member(word)) != holder ||
        slot_generation(word) < slot_generation(seen))
        return false;
    bool later = slot_generation(word) > slot_generation(seen);
    bool was_free = slot_state(seen) == SLOT_CACHED || slot_state(seen) == SLOT_RETURNED;
    switch (slot_state(word)) {
    case SLOT_CACHED:
    case SLOT_RETURNED:
        return later || was_free;
    case SLOT_LIVE:
        return later || was_free || slot_state(seen) == SLOT_LIVE;
    case SLOT_RETIRED:
        return slot_generation(word) == SLOT_GENERATION_LAST;
    default:
        return false;
    }
}

/*
 * Words that the daemon alone may change are put right. A granted slot is taken out of use: its
 * holder may have it mapped, and in mind, as it was.
 */
static struct seen repair(struct pool *pool, uint32_t index, uint32_t holder, int64_t now)
{
    uint64_t *word = &pool->words[index], seen = pool->lease.seen[index];
    pool_note_damage(pool);
    if (slot_state(seen) == SLOT_SHARED) {
        word_replace(word, seen);
        return (struct seen){0};
    }
    uint64_t retired = slot_word(slot_generation(seen), SLOT_MEMBER_NONE, SLOT_RETIRED);
    pool_revoke(pool, slot_member(seen));
    pool_revoke(pool, slot_member(word_load(word)));
    word_replace(word, retired);
    pool_discharge(pool, holder);
    ledger_retire(&pool->ledger, index);
    return pool_see(pool, index, retired, now);
}

void pool_change_own(struct pool *pool, uint32_t index, uint64_t word)
{
    if (word_exchange(&pool->words[index], pool->lease.seen[index], word))
        return;
    pool_note_damage(pool);
    word_replace(&pool->words[index], word);
}

bool pool_check_word(struct pool *pool, uint32_t index, int64_t now)
{
    uint32_t holder = ledger_holder(&pool->ledger, index);
    uint64_t word = word_load(&pool->words[index]);
    if (holder == SLOT_MEMBER_NONE)
        return false;
    bool possible = is_possible(pool, index, holder, word);
    tally_seen(pool, possible ? pool_see(pool, index, word, now) : repair(pool, index, holder, now),
               now);
    return possible;
}

/* ---- Granting -------------------------------------------------------------------------------- */

void pool_grant(struct pool *pool, uint32_t index, uint32_t number, enum slot_state state)
{
    uint64_t word = slot_word(slot_generation(pool->lease.seen[index]), number, state);
    pool_change_own(pool, index, word);
    pool->lease.seen[index] = word;
}

void pool_lease(struct pool *pool, uint32_t member, uint32_t thread, uint32_t count,
                struct slots_charge *charge, uint8_t *slots)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = ledger_grant(&pool->ledger, layout_ledger_entry(0, member));
        pool_grant(pool, index, thread ? thread : member, SLOT_CACHED);
        lease_to_wire(index, slots + (size_t)i * LEASE_WIRE_SIZE);
    }
    pool_charge_holder(pool, member, charge);
    pool->accounts[member]->cached += count;
    if (thread)
        pool_restore(pool, thread);
}

/* ---- Taking back ----------------------------------------------------------------------------- */

static void release(struct pool *pool, uint32_t index, uint32_t holder)
{
    uint64_t generation = slot_generation(pool->lease.seen[index]);
    pool->lease.seen[index] = slot_word(generation, SLOT_MEMBER_NONE, SLOT_IDLE);
    pool_discharge(pool, holder);
    ledger_release(&pool->ledger, index);
}

/* Its last object was freed by a member: it is nobody's, in its word too. */
static void retire(struct pool *pool, uint32_t index, uint32_t holder)
{
    uint64_t retired = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_RETIRED);
    pool_change_own(pool, index, retired);
    pool->lease.seen[index] = retired;
    pool_discharge(pool, holder);
    ledger_retire(&pool->ledger, index);
}

enum collected {
    COLLECT_RETURNED,
    COLLECT_CACHED, /* too, but for what a thread is in the middle of allocating: it has that */
    COLLECT_ALL,    /* the member is gone, so no thread of its is in the middle of anything */
};

static bool is_collected(const struct pool *pool, uint32_t index, uint64_t word,
                         enum collected collected)
{
    if (slot_state(word) != SLOT_CACHED || collected == COLLECT_RETURNED)
        return slot_state(word) == SLOT_RETURNED;
    return collected == COLLECT_ALL || !pool_is_amid(pool, index, word);
}

/* Of a slot that is nobody's no member may have changed the word. (Of a retired one it means nothing.) */
static void check_idle(struct pool *pool, uint32_t index)
{
    uint64_t seen = pool->lease.seen[index];
    if (slot_state(seen) != SLOT_IDLE || word_load(&pool->words[index]) == seen)
        return;
    pool_note_damage(pool);
    word_replace(&pool->words[index], seen);
}

/* Sees the slot, and takes it back if it is to be. *changed: its word did under our hands. */
static struct seen try_to_collect(struct pool *pool, uint32_t index, enum collected collected,
                                  int64_t now, bool *changed)
{
    uint32_t holder = ledger_holder(&pool->ledger, index);
    *changed = false;
    if (holder == SLOT_MEMBER_NONE) {
        check_idle(pool, index);
        return (struct seen){0};
    }
    uint64_t word = word_load(&pool->words[index]);
    if (!is_possible(pool, index, holder, word))
        return repair(pool, index, holder, now);

    struct seen seen = pool_see(pool, index, word, now);
    if (slot_state(word) == SLOT_RETIRED)
        retire(pool, index, holder);
    if (is_collected(pool, index, word, collected)) {
        *changed = !lease_take_back(&pool->words[index], word);
        if (!*changed)
            release(pool, index, holder);
    }
    return seen;
}

/*
 * Twice if need be: a thread that is late may make a slot that is CACHED anew stand aside. A third
 * time there is none but who allocates it.
 */
static struct seen collect(struct pool *pool, uint32_t index, enum collected collected, int64_t now)
{
    bool changed;
    struct seen seen = try_to_collect(pool, index, collected, now, &changed);
    if (changed)
        add_seen(&seen, try_to_collect(pool, index, collected, now, &changed));
    return seen;
}

static uint64_t *hints_of(const struct pool *pool)
{
    return pool->store.slots;
}

/* The hints may be a member's nonsense: those beyond the slots there are mean nothing. */
static struct seen collect_hinted(struct pool *pool, uint32_t first, uint64_t hints, int64_t now)
{
    struct seen sum = {0};
    for (; hints != 0; hints &= hints - 1) {
        uint32_t index = first + (uint32_t)__builtin_ctzll(hints) * LEASE_BLOCK;
        for (uint32_t i = 0; i < LEASE_BLOCK && index < pool->ledger.fresh; i++, index++)
            add_seen(&sum, collect(pool, index, COLLECT_RETURNED, now));
    }
    return sum;
}

void pool_harvest(struct pool *pool, int64_t now)
{
    struct seen sum = {0};
    for (uint32_t first = 0; first < pool->ledger.fresh; first += LEASE_HINT_SLOTS) {
        uint64_t hints = bits_take(&hints_of(pool)[first / LEASE_HINT_SLOTS]);
        add_seen(&sum, collect_hinted(pool, first, hints, now));
    }
    tally_seen(pool, sum, now);
}

static void forget_cached(struct pool *pool)
{
    for (uint32_t member = 0; member < pool->account_count; member++)
        if (pool->accounts[member])
            pool->accounts[member]->cached = 0;
}

static void count_if_cached(struct pool *pool, uint32_t index)
{
    uint32_t holder = ledger_holder(&pool->ledger, index);
    uint64_t seen = pool->lease.seen[index];
    bool free = slot_state(seen) == SLOT_CACHED || slot_state(seen) == SLOT_RETURNED;
    if (free && holder != SLOT_MEMBER_NONE && holder != SLOT_MEMBER_POOL)
        pool->accounts[holder]->cached++;
}

/* Their hints are cleared first: one that is set later tells of something later. */
static void collect_each(struct pool *pool, enum collected collected, int64_t now)
{
    struct seen sum = {0};
    for (uint32_t first = 0; first < pool->ledger.fresh; first += LEASE_HINT_SLOTS)
        bits_take(&hints_of(pool)[first / LEASE_HINT_SLOTS]);
    forget_cached(pool);
    for (uint32_t index = 0; index < pool->ledger.fresh; index++) {
        add_seen(&sum, collect(pool, index, collected, now));
        count_if_cached(pool, index);
    }
    tally_seen(pool, sum, now);
}

void pool_harvest_all(struct pool *pool, int64_t now)
{
    pool_revoke_all(pool);
    collect_each(pool, COLLECT_CACHED, now);
}

bool pool_sweep(struct pool *pool, int64_t now)
{
    const struct layout_counters *counters = &pool->ctl->counters;
    uint64_t before = counters->total_allocations + counters->total_deallocations;
    collect_each(pool, COLLECT_RETURNED, now);
    return counters->total_allocations + counters->total_deallocations != before;
}

void pool_check_held(struct pool *pool, int64_t now)
{
    const struct ages *ages = &pool->ages;
    for (uint32_t index = ages->next, next; index != CHAIN_END && ages_is_due(ages, index, now);
         index = next) {
        next = ages->links[index].next;
        pool_check_word(pool, index, now);
    }
}

/* Others may yet return what it held, once: then it is looked at anew. */
void pool_reclaim(struct pool *pool, uint32_t index, uint32_t holder, int64_t now)
{
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        uint64_t word = word_load(&pool->words[index]);
        if (slot_is_allocated(word) && is_possible(pool, index, holder, word) &&
            pool_take_back(pool, index, slot_generation(word), now)) {
            pool_discharge(pool, holder);
            return;
        }
        tally_seen(pool, collect(pool, index, COLLECT_ALL, now), now);
        if (ledger_holder(&pool->ledger, index) != holder)
            return;
    }
    tally_seen(pool, repair(pool, index, holder, now), now);
}

uint32_t pool_cached(const struct pool *pool)
{
    return pool_is_leased(pool) ? pool->ledger.held - pool_usage(pool) : 0;
}

/* ---- The epoch ------------------------------------------------------------------------------- */

bool pool_is_tight(const struct pool *pool)
{
    return pool->lease.tight;
}

static void publish(struct pool *pool, bool tight, bool waiting)
{
    pool->lease.tight = tight;
    pool->lease.waiting = waiting;
    field_store(&pool->ctl->epochs, pool->lease.number);
    epoch_store(&pool->ctl->waiters, tight ? lease_epoch(pool->lease.number, waiting) : 0);
}

void pool_tighten(struct pool *pool, bool waiting, int64_t now)
{
    bool was_tight = pool->lease.tight;
    if (!was_tight || waiting) {
        pool->lease.number++;
        publish(pool, true, waiting);
    }
    if (was_tight && pool->lease.biased == 0) {
        pool_harvest(pool, now);
        return;
    }
    pool->lease.owed = pool_capacity(pool) / ROOMY_SHARE;
    pool_harvest_all(pool, now);
}

void pool_relax(struct pool *pool)
{
    struct lease *lease = &pool->lease;
    lease->owed -= lease->owed > 0;
    if (!lease->tight || pool->waiters.count > 0)
        return;
    uint32_t room = pool_room(pool, PRIORITY_BEST_EFFORT);
    if (lease->owed == 0 && room > 0 && room >= pool_capacity(pool) / ROOMY_SHARE)
        publish(pool, false, false);
    else if (lease->waiting)
        publish(pool, true, false);
}

void pool_recover_epoch(struct pool *pool)
{
    const struct layout_ctl *ctl = pool->ctl;
    pool->lease.number = field_load(&ctl->epochs);
    publish(pool, pool_is_leased(pool) && field_load(&ctl->waiters) != 0, false);
}
