/* SPDX-License-Identifier: MIT */
/* A broker forgets all it knows, as if it were killed; another one takes over what it left. */
#include "tests/unit/recovery_case.h"

static fastalloc_handle_t handle_at(uint32_t position)
{
    return handle_from_wire(held + (size_t)position * HANDLE_WIRE_SIZE);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

START_TEST(test_recovery_keeps_what_the_living_hold)
{
    take(alice, pool, 2);
    crash();
    ck_assert_uint_eq(found.pools, 1);
    ck_assert_uint_eq(found.sessions, 1);
    ck_assert_uint_eq(found.ended, 1);
    ck_assert_ptr_nonnull(alice);
    ck_assert_ptr_null(bob);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert_uint_eq(session_usage(alice), 2);
    ck_assert(give_back(pool, 0, 2));
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert(!give_back(pool, 0, 1));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_recovery_frees_what_the_dead_held)
{
    take(alice, pool, 1);
    take(bob, pool, 2);
    close(witness);
    witness = -1;
    crash();
    ck_assert_uint_eq(found.ended, 2);
    ck_assert_uint_eq(found.sessions, 0);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 3);
    ck_assert_uint_eq(pool->member_count, 0);
}
END_TEST

START_TEST(test_recovery_again_and_again_changes_nothing)
{
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert(operate(pool, POOL_DETACH, 1, 1));
    for (int i = 0; i < 5; i++) {
        crash();
        ck_assert_uint_eq(pool_usage(pool), 3);
        ck_assert_uint_eq(
            holders_count_of(&pool->holders, handle_at(0).index, member_of(alice, pool)), 2);
        ck_assert_uint_eq(pool_held(pool, SLOT_MEMBER_POOL), 1);
    }
    ck_assert(operate(pool, POOL_ADOPT, 1, 1));
    ck_assert(operate(pool, POOL_RELEASE, 0, 1));
    ck_assert(give_back(pool, 0, 3));
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_recovery_keeps_what_a_pool_is)
{
    static const uint8_t content[] = "begin";
    struct pool *other =
        MAKE(.name = "other", .type = "thing", .object_size = 24, .capacity = 8, .capacity_max = 64,
             .growth = "linear:8", .watermark = "50%", .reserve_critical = 1, .session_slots = 5,
             .hold_limit = 7, .trim_after = 9, .mode = 0640, .content = {content, sizeof(content)});
    struct layout_ctl before;
    memcpy(&before, other->ctl, sizeof(before));
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_ptr_nonnull(other);
    before.counters = other->ctl->counters;
    ck_assert_mem_eq(&before, other->ctl, sizeof(before));
    ck_assert_int_eq(other->growth.kind, GROWTH_LINEAR);
    ck_assert_uint_eq(other->watermark.level, 50);
    ck_assert_mem_eq(other->content, content, sizeof(content));
    join(alice, other);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, other, 1, .count = 6);
    GETS(alice, other, 1, .count = 5);
}
END_TEST

START_TEST(test_recovery_removes_a_pool_in_the_making)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    registry_set_state(&other->entry->state, REGISTRY_MAKING);
    crash();
    ck_assert_uint_eq(found.removed, 1);
    ck_assert_ptr_null(broker_find_pool(&broker, "other"));
    MAKE(.name = "other", .capacity = 8);
}
END_TEST

START_TEST(test_recovery_goes_on_with_a_destruction)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    join(alice, other);
    take(alice, other, 1);
    fastalloc_handle_t handle = handle_at(0);
    int slots = store_descriptor(&other->store, STORE_SLOTS, false);
    size_t words = other->store.geometry.words_offset;
    registry_set_state(&other->entry->state, REGISTRY_ENDING);
    crash();
    ck_assert_uint_eq(found.removed, 1);
    ck_assert_ptr_null(broker_find_pool(&broker, "other"));
    uint64_t word;
    ck_assert_int_eq(pread(slots, &word, 8, (off_t)(words + (size_t)8 * handle.index)), 8);
    ck_assert_int_eq(slot_state(word), SLOT_RETIRED);
    close(slots);
}
END_TEST

START_TEST(test_recovery_goes_on_with_a_destruction_of_which_only_files_are_left)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    char name[SEGMENT_NAME_SIZE];
    registry_set_state(&other->entry->state, REGISTRY_ENDING);
    store_name(&other->store, STORE_CTL, name);
    ck_assert_int_eq(segment_unlink(name), 0);
    crash();
    ck_assert_uint_eq(found.removed, 1);
}
END_TEST

START_TEST(test_recovery_keeps_grown_pools_and_takes_back_what_was_not_published)
{
    struct pool *other =
        MAKE(.name = "other", .capacity = 8, .capacity_max = 4096, .growth = "linear:1000");
    join(alice, other);
    take(alice, other, 9);
    ck_assert_uint_eq(pool_capacity(other), 1008);
    ck_assert_int_eq(pool_prepare_growth(other, 2008), 0);
    ck_assert_int_eq(store_grow(&other->store, 2008), 0);
    uint64_t size = store_size(&other->store.geometry, 1008);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_eq(pool_capacity(other), 1008);
    ck_assert_uint_eq(pool_size(other), size);
    ck_assert(store_is_whole(&other->store));
    ck_assert_uint_eq(pool_usage(other), 9);
    ck_assert(!pool_is_damaged(other) && other->lease.damage == 0);
    take(alice, other, 1000);
    ck_assert_uint_eq(pool_capacity(other), 2008);
}
END_TEST

START_TEST(test_recovery_knows_what_memory_was_given_back)
{
    struct pool *other = MAKE(.name = "other", .object_size = 4096, .capacity = 64);
    join(alice, other);
    take(alice, other, 3);
    ck_assert_uint_eq(broker_trim(&broker, other), UINT64_C(61) * 4096);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_ge(store_trimmed_size(&other->store), UINT64_C(61) * 4096);
    take(alice, other, 61);
    ck_assert_uint_eq(store_trimmed_size(&other->store), 0);
}
END_TEST

START_TEST(test_recovery_counts_on)
{
    take(alice, pool, 3);
    ck_assert(give_back(pool, 0, 2));
    uint64_t nothing = pool->ctl->counters.allocation_failures;
    crash();
    const struct layout_counters *counters = &pool->ctl->counters;
    ck_assert_uint_eq(counters->total_allocations, 3);
    ck_assert_uint_eq(counters->total_deallocations, 2);
    ck_assert_uint_eq(counters->peak_usage, 3);
    ck_assert_uint_eq(counters->allocation_failures, nothing);
    counters_begin(&pool->ctl->counters.sequence); /* killed in the middle of a change */
    pool->ctl->counters.current_usage = 7;
    crash();
    ck_assert_uint_eq(pool->ctl->counters.current_usage, 1);
    ck_assert_uint_eq(pool->ctl->counters.total_allocations, 3);
}
END_TEST

/* ---- What may stand in a slot ---------------------------------------------------------------- */

#define GENERATION 9u

enum what { FREE, KEPT, RETIRED };

/* A slot at that ledger entry and word, in every pool of its kind: what becomes of it, and damage. */
static void check_slot(uint64_t entry, uint64_t word, enum what what, uint32_t damage)
{
    uint32_t index = 2, holder = layout_ledger_member(entry);
    field_store(&pool->store.ledger[index], entry);
    word_replace(&pool->words[index], word);
    crash();
    uint64_t now = word_load(&pool->words[index]);
    ck_assert_uint_eq(pool->lease.damage, damage);
    ck_assert_uint_eq(ledger_holder(&pool->ledger, index), what == KEPT ? holder : 0);
    ck_assert_int_eq(slot_state(now), what == FREE      ? SLOT_IDLE
                                      : what == RETIRED ? SLOT_RETIRED
                                                        : slot_state(word));
    ck_assert(what == KEPT ? now == word : slot_generation(now) >= slot_generation(word));
    /* As it was, for the next one. */
    crash();
    ck_assert_uint_eq(pool->lease.damage, 0);
    field_store(&pool->store.ledger[index], 0);
    word_replace(&pool->words[index], slot_word(GENERATION, SLOT_MEMBER_NONE, SLOT_IDLE));
    crash();
}

static uint64_t word_of(uint32_t member, enum slot_state state)
{
    return slot_word(GENERATION, member, state);
}

START_TEST(test_recovery_of_every_state)
{
    uint32_t me = member_of(alice, pool), stranger = me + 5;
    uint64_t mine = layout_ledger_entry(3, me), pools = layout_ledger_entry(0, SLOT_MEMBER_POOL);
    bool leased = test_kind() == LAYOUT_LEASED;
    enum what cached = leased ? FREE : RETIRED;
    uint32_t wrong = leased ? 0 : 1;

    check_slot(0, slot_word(SLOT_GENERATION_LAST, 0, SLOT_RETIRED), RETIRED, 0);
    check_slot(mine, slot_word(SLOT_GENERATION_LAST, me, SLOT_RETIRED), RETIRED, 0);
    ck_assert(!pool_is_damaged(pool));
    check_slot(0, word_of(0, SLOT_RETIRED), RETIRED, 1); /* early */
    pool->ctl->damage = LAYOUT_DAMAGE_NONE;
    check_slot(mine, word_of(me, SLOT_RETIRED), RETIRED, 1);
    check_slot(0, word_of(0, SLOT_RETIRED), RETIRED, 0); /* since it was broken */
    check_slot(0, word_of(me, SLOT_LIVE), RETIRED, 1);
    check_slot(0, word_of(me, SLOT_CACHED), RETIRED, 1);
    check_slot(0, slot_word(0, 0, SLOT_IDLE), RETIRED, 1);
    check_slot(0, word_of(me, SLOT_IDLE), RETIRED, 1);
    check_slot(0, word_of(me, SLOT_RETIRED), RETIRED, 1);

    check_slot(mine, word_of(0, SLOT_IDLE), FREE, 0);
    check_slot(mine, word_of(0, SLOT_RETIRED), RETIRED, 0);
    check_slot(mine, word_of(me, SLOT_RETIRED), RETIRED, 0);
    check_slot(mine, word_of(me, SLOT_LIVE), KEPT, 0);
    check_slot(mine, word_of(stranger, SLOT_LIVE), RETIRED, 1);
    check_slot(mine, word_of(LAYOUT_THREAD_FIRST, SLOT_LIVE), RETIRED, 1); /* nobody's */
    check_slot(mine, word_of(me, SLOT_SHARED), RETIRED, 1);
    check_slot(mine, word_of(SLOT_MEMBER_POOL, SLOT_SHARED), RETIRED, 1);
    check_slot(mine, word_of(me, SLOT_CACHED), cached, wrong);
    check_slot(mine, word_of(me, SLOT_RETURNED), cached, wrong);
    check_slot(mine, word_of(stranger, SLOT_CACHED), RETIRED, 1);
    check_slot(mine, word_of(me, (enum slot_state)6), RETIRED, 1);
    check_slot(mine, word_of(me, (enum slot_state)7), RETIRED, 1);

    check_slot(pools, word_of(SLOT_MEMBER_POOL, SLOT_LIVE), KEPT, 0);
    check_slot(pools, word_of(SLOT_MEMBER_POOL, SLOT_SHARED), FREE, 0);
    check_slot(pools, word_of(SLOT_MEMBER_POOL, SLOT_RETURNED), cached, wrong);
    check_slot(pools, word_of(SLOT_MEMBER_POOL, SLOT_CACHED), RETIRED, 1);
    check_slot(pools, word_of(me, SLOT_LIVE), RETIRED, 1);
    check_slot(pools, word_of(me, SLOT_SHARED), RETIRED, 1);

    check_slot(pools | LAYOUT_EVICTABLE, word_of(SLOT_MEMBER_POOL, SLOT_LIVE), RETIRED, 1);
    check_slot(mine | LAYOUT_EVICTABLE, word_of(me, SLOT_LIVE), leased ? RETIRED : KEPT, leased);
    check_slot(layout_ledger_entry(1, SLOT_MEMBER_NONE), word_of(0, SLOT_IDLE), RETIRED, 1);
    check_slot(layout_ledger_entry(1, stranger), word_of(stranger, SLOT_LIVE), RETIRED, 1);
    check_slot(layout_ledger_entry(1, POOL_MEMBER_MAX), word_of(0, SLOT_IDLE), RETIRED, 1);
}
END_TEST

START_TEST(test_recovery_overwrites_what_was_freed_where_the_pool_says_so)
{
    struct pool *other = MAKE(.name = "other", .capacity = 2, .flags = LAYOUT_ZERO_FREE);
    uint64_t secret = 77;
    join(alice, other);
    take(alice, other, 1);
    uint32_t index = handle_at(0).index;
    ck_assert_int_eq(pwrite(other->store.data_fd, &secret, 8, (off_t)(16 * index)), 8);
    word_replace(&other->words[index], slot_idle_after(handle_generation(handle_at(0))));
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_eq(pool_usage(other), 0);
    ck_assert_int_eq(pread(other->store.data_fd, &secret, 8, (off_t)(16 * index)), 8);
    ck_assert_uint_eq(secret, 0);
}
END_TEST

START_TEST(test_recovery_keeps_what_may_be_evicted)
{
    if (test_kind() == LAYOUT_LEASED)
        return crash();
    GETS(alice, pool, 1, .count = 2, .evictable = true);
    take(alice, pool, 2);
    crash();
    ck_assert_uint_eq(pool->evictable.count, 2);
    GETS(alice, pool, 1, .count = 2, .priority = CRITICAL);
    ck_assert_uint_eq(pool->evictable.count, 0);
}
END_TEST

/* ---- What else may stand there --------------------------------------------------------------- */

static void leave_intent(enum layout_intent_kind kind, uint32_t index, uint32_t from, uint32_t to)
{
    pool->ctl->intent = (struct layout_intent){
        .kind = kind,
        .index = index,
        .from = from,
        .to = to,
        .generation = handle_generation(handle_at(0)),
        .entry = layout_ledger_entry(0, to),
    };
    crash();
    ck_assert_uint_eq(pool->ctl->intent.kind, LAYOUT_INTENT_NONE);
}

START_TEST(test_recovery_of_intents_that_say_nothing)
{
    take(alice, pool, 1);
    uint32_t index = handle_at(0).index, me = member_of(alice, pool);
    leave_intent(LAYOUT_INTENT_MOVE, CAPACITY, me, me);
    leave_intent(LAYOUT_INTENT_MOVE, index, me, 77);
    leave_intent(LAYOUT_INTENT_MOVE, index, 77, me);
    leave_intent(LAYOUT_INTENT_MOVE, index, me, SLOT_MEMBER_POOL); /* not begun */
    leave_intent(LAYOUT_INTENT_SHARE, index, me, me);              /* not begun */
    leave_intent((enum layout_intent_kind)9, index, me, me);
    ck_assert_uint_eq(pool_usage(pool), 1);
    ck_assert_uint_eq(pool_held(pool, me), 1);
    ck_assert(give_back(pool, 0, 1));
}
END_TEST

/* The table of holders is too short for a shared object, so nobody holds it. */
START_TEST(test_recovery_of_a_share_without_room_for_holders)
{
    take(alice, pool, 1);
    uint32_t index = handle_at(0).index, me = member_of(alice, pool);
    word_replace(&pool->words[index],
                 slot_word(handle_generation(handle_at(0)), SLOT_MEMBER_POOL, SLOT_SHARED));
    leave_intent(LAYOUT_INTENT_SHARE, index, me, me);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->lease.damage, 1);
}
END_TEST

START_TEST(test_recovery_drops_holds_that_mean_nothing)
{
    take(alice, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    uint32_t me = member_of(alice, pool), index = handle_at(0).index;
    uint64_t generation = handle_generation(handle_at(0)), *entries = pool->holders.entries;
    entries[100] = layout_holder_entry(generation + 1, index, me);
    entries[101] = layout_holder_entry(generation, CAPACITY, me);
    entries[102] = layout_holder_entry(generation, index, 0);
    entries[103] = layout_holder_entry(generation, index, me + 5);
    entries[104] = layout_holder_entry(handle_generation(handle_at(1)), handle_at(1).index, me);
    crash();
    ck_assert_uint_eq(holders_total(&pool->holders), 2);
    ck_assert_uint_eq(pool_held(pool, me), 3);
}
END_TEST

START_TEST(test_recovery_drops_the_holds_of_what_it_retires)
{
    take(alice, pool, 1);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    field_store(&pool->store.ledger[handle_at(0).index], 0);
    crash();
    ck_assert_uint_eq(pool->lease.damage, 1);
    ck_assert_uint_eq(holders_total(&pool->holders), 0);
    ck_assert_uint_eq(pool->holders.entries[0], 0);
    ck_assert_uint_eq(pool_held(pool, member_of(alice, pool)), 0);
}
END_TEST

static void resize(enum store_object object, off_t size)
{
    int fd = store_descriptor(&pool->store, object, true);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

START_TEST(test_recovery_of_a_table_of_holders_that_was_being_made)
{
    take(alice, pool, 1);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    resize(STORE_HOLDERS, 4096 + 2048); /* being doubled */
    crash();
    ck_assert_uint_eq(pool_held(pool, member_of(alice, pool)), 2);
    ck_assert_uint_eq(holders_size(&pool->holders), 4096);
    ck_assert(operate(pool, POOL_RELEASE, 0, 1));
    ck_assert(operate(pool, POOL_RELEASE, 0, 1));
    resize(STORE_HOLDERS, 0);
    crash();
    ck_assert_uint_eq(holders_size(&pool->holders), 0);
    take(alice, pool, 1);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
}
END_TEST

START_TEST(test_recovery_of_objects_that_members_cut_or_inflated)
{
    struct pool *other = MAKE(.name = "other", .object_size = 4096, .capacity = 8);
    join(alice, other);
    take(alice, other, 2);
    pool = other; /* for resize() */
    resize(STORE_DATA, (off_t)100 * 4096);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert(store_is_whole(&other->store));
    ck_assert_uint_eq(other->lease.damage, 0);
    pool = other;
    resize(STORE_DATA, 4096);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert(store_is_whole(&other->store));
    ck_assert_uint_eq(other->lease.damage, 1);
    ck_assert_uint_eq(pool_usage(other), 2);
    pool = other;
    resize(STORE_SLOTS, 0); /* nothing is known of its slots any more */
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_eq(pool_usage(other), 0);
    ck_assert_uint_eq(other->lease.damage, 1 + 8);
}
END_TEST

START_TEST(test_recovery_says_of_slots_that_members_spoilt_that_they_are_out_of_use)
{
    resize(STORE_SLOTS, 0);
    crash();
    ck_assert_uint_eq(last_event(EVENT_DAMAGED)->count, pool->lease.damage);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 1, .count = 1);
    ck_assert_msg(strstr(error.message, "out of use") != NULL, "%s", error.message);
}
END_TEST

/* It is said once, by the daemon that it couldn't be said by too; and stays so. */
START_TEST(test_recovery_keeps_that_a_pool_is_damaged)
{
    resize(STORE_DATA, 0);
    crash();
    ck_assert(pool_is_damaged(pool));
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 1);
    crash();
    ck_assert(pool_is_damaged(pool));
    ck_assert_uint_eq(pool->lease.damage, 0);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 0);
    pool->ctl->damage = LAYOUT_DAMAGE_SEEN;
    crash();
    ck_assert(pool_is_damaged(pool));
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 1);
}
END_TEST

/* Those of a member that no session is, or that one is twice. */
START_TEST(test_recovery_lets_strangers_leave)
{
    take(alice, pool, 1);
    take(bob, pool, 2);
    uint32_t his = member_of(bob, pool);
    field_store(&pool->store.members[his], 4711);
    crash();
    ck_assert_uint_eq(pool_usage(pool), 1);
    ck_assert_uint_eq(pool->member_count, 1);
    field_store(&pool->store.members[7], alice->id);
    crash();
    ck_assert_uint_eq(pool->member_count, 1);
    ck_assert_uint_eq(session_usage(alice), 1);
}
END_TEST

START_TEST(test_recovery_of_threads_without_a_member)
{
    if (test_kind() == LAYOUT_BROKERED)
        return crash();
    uint64_t *members = pool->store.members;
    field_store(&members[LAYOUT_THREAD_FIRST + 3], 4711);
    field_store(&members[LAYOUT_THREAD_FIRST + 4], field_load(&members[member_of(alice, pool)]));
    crash();
    ck_assert_uint_eq(pool_member_of(pool, LAYOUT_THREAD_FIRST + 3), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(pool_member_of(pool, LAYOUT_THREAD_FIRST + 4), member_of(alice, pool));
    ck_assert_uint_eq(field_load(&pool->store.members[LAYOUT_THREAD_FIRST + 3]), 0);
}
END_TEST

START_TEST(test_recovery_of_numbers_that_may_write_but_are_nobodys)
{
    uint64_t *members = pool->store.members;
    field_store(&members[9], LAYOUT_MEMBER_WRITES);
    field_store(&members[LAYOUT_THREAD_FIRST + 3], LAYOUT_MEMBER_WRITES);
    crash();
    members = pool->store.members;
    ck_assert_uint_eq(field_load(&members[9]), 0);
    ck_assert_uint_eq(field_load(&members[LAYOUT_THREAD_FIRST + 3]), 0);
    ck_assert_uint_eq(pool->member_count, 1);
}
END_TEST

START_TEST(test_recovery_of_a_generation_before_the_first)
{
    uint32_t index = 2, me = member_of(alice, pool);
    field_store(&pool->store.ledger[index], layout_ledger_entry(3, me));
    word_replace(&pool->words[index], slot_word(0, me, SLOT_CACHED));
    crash();
    ck_assert_uint_eq(word_load(&pool->words[index]),
                      slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_RETIRED));
}
END_TEST

START_TEST(test_recovery_of_ledger_entries_beyond_the_capacity)
{
    field_store(&pool->store.ledger[CAPACITY], layout_ledger_entry(1, member_of(alice, pool)));
    crash();
    ck_assert_uint_eq(field_load(&pool->store.ledger[CAPACITY]), 0);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

/* In a leased pool it would say to members that somebody waits. */
START_TEST(test_recovery_of_an_epoch_that_nobody_waits_in)
{
    if (test_kind() == LAYOUT_LEASED)
        return crash();
    epoch_store(&pool->ctl->waiters, lease_epoch(3, true));
    crash();
    ck_assert_uint_eq(field_load(&pool->ctl->waiters), 0);
}
END_TEST

/* That it was reached was said, by the daemon that died. */
START_TEST(test_recovery_knows_whether_the_watermark_was_reached)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8, .watermark = "25%");
    join(alice, other);
    take(alice, other, 3);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 0);
    ck_assert(give_back(other, 0, 3));
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
}
END_TEST

START_TEST(test_recovery_says_that_the_watermark_fell_with_those_who_are_gone)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8, .watermark = "25%");
    join(bob, other);
    take(bob, other, 3);
    crash();
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
}
END_TEST

START_TEST(test_recovery_of_a_change_that_says_nothing)
{
    take(alice, pool, 1);
    uint32_t me = member_of(alice, pool);
    const struct registry_change changes[] = {
        {.kind = JOURNAL_OPERATE + POOL_FREE, .pool = 77, .member = me, .count = 1},
        {.kind = JOURNAL_OPERATE + POOL_FREE, .pool = pool->id, .member = 77, .count = 1},
        {.kind = JOURNAL_OPERATE + POOL_FREE, .pool = pool->id, .member = 4, .count = 1},
        {.kind = JOURNAL_OPERATE + POOL_FREE, .pool = pool->id, .member = me, .count = 1},
        {.kind = JOURNAL_OPERATE + POOL_FREE,
         .pool = pool->id,
         .member = me,
         .count = PROTOCOL_BATCH_MAX + 1},
        {.kind = JOURNAL_OPERATE + POOL_FREE,
         .pool = pool->id,
         .member = me,
         .count = 1,
         .progress = UINT64_MAX},
        {.kind = 9, .pool = pool->id, .member = me, .count = 1},
        {.kind = JOURNAL_DESTROY, .pool = pool->id, .session = alice->id, .number = 5},
        {.kind = JOURNAL_CREATE, .pool = 77, .session = alice->id, .number = 5},
        {.kind = JOURNAL_DESTROY, .pool = 77, .session = alice->id, .number = 5},
        {.kind = JOURNAL_OPERATE + POOL_FREE,
         .pool = pool->id,
         .session = alice->id,
         .number = 5,
         .member = me,
         .count = 1,
         .progress = UINT64_C(1) << 32},
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct registry_change *record = broker.journal.record;
        memcpy(record, &changes[i], offsetof(struct registry_change, handles));
        memset(record->handles, 0, sizeof(record->handles));
        crash();
        ck_assert_uint_eq(broker.journal.record->kind, JOURNAL_NONE);
        ck_assert_uint_eq(pool_usage(pool), 1);
        ck_assert(!journal_is_done(alice->entry, 5));
    }
}
END_TEST

START_TEST(test_recovery_marks_what_was_done_when_it_died)
{
    struct registry_change *record = broker.journal.record;
    *record = (struct registry_change){
        .kind = JOURNAL_CREATE, .pool = pool->id, .session = alice->id, .number = 5};
    crash();
    ck_assert(journal_is_done(alice->entry, 5));
    record = broker.journal.record;
    *record = (struct registry_change){.kind = JOURNAL_DESTROY,
                                       .pool = ++broker.registry.file->last_pool,
                                       .session = alice->id,
                                       .number = 6};
    crash();
    ck_assert(journal_is_done(alice->entry, 6));
}
END_TEST

/* ---- What is nobody's ------------------------------------------------------------------------ */

/* The machine was started: shared memory is empty, and the registry stood on a disk. */
static void reboot(void)
{
    broker.registry.file->boot[3] ^= 1;
    broker.registry.file->failures = RECOVERY_FAILURES_MAX;
    broker_forget(&broker);
    test_private_shm(SHM_SIZE);
    recover();
}

START_TEST(test_recovery_begins_anew_after_a_reboot)
{
    take(alice, pool, 2);
    uint64_t last = alice->id;
    broker.journal.record->kind = JOURNAL_OPERATE + POOL_FREE;
    reboot();
    ck_assert(found.rebooted);
    ck_assert_uint_eq(found.pools + found.sessions + found.ended + found.removed, 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_uint_eq(broker.journal.record->kind, JOURNAL_NONE);
    crash();
    ck_assert(!found.rebooted);
    reboot();
    ck_assert(!found.rebooted); /* of what there was to lose */
    pool = MAKE(.name = "frames", .type = "frame", .object_size = 16, .capacity = CAPACITY);
    alice = begin(alice_name, true);
    ck_assert_uint_gt(alice->id, last);
    join(alice, pool);
}
END_TEST

/* A container has such a number of its own, and may be started anew beside the same shared memory. */
START_TEST(test_recovery_takes_over_what_is_there_whatever_the_boot)
{
    take(alice, pool, 2);
    broker.registry.file->boot[3] ^= 1;
    crash();
    ck_assert(!found.rebooted);
    ck_assert_ptr_nonnull(alice);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert(!registry_is_of_another_boot(broker.registry.file)); /* it is noted now */
    ck_assert(give_back(pool, 0, 2));
}
END_TEST

/* An object that couldn't be removed when its pool was; and what only looks like one. */
START_TEST(test_recovery_removes_objects_of_nothing_that_it_has)
{
    uint8_t key[SEGMENT_KEY_SIZE];
    char stray[SEGMENT_NAME_SIZE], others[SEGMENT_NAME_SIZE];
    memcpy(key, pool->entry->key, sizeof(key));
    key[SEGMENT_KEY_SIZE - 1] ^= 1;
    segment_name(key, "data", stray);
    key[0] ^= 1;
    segment_name(key, "data", others);
    unsigned files = test_shm_files();
    close(segment_create(stray, 4096));
    close(segment_create(others, 4096));
    take(alice, pool, 1);
    crash();
    ck_assert_int_eq(found.strays, 0);
    ck_assert_uint_eq(test_shm_files(), files + 1);
    ck_assert_int_eq(segment_unlink(others), 0);
    ck_assert(give_back(pool, 0, 1));
}
END_TEST

/* ---- What it doesn't understand -------------------------------------------------------------- */

static void refuses(const char *what)
{
    unsigned files = test_shm_files();
    broker_forget(&broker);
    begin_anew();
    ck_assert(!recovery_run(&broker, false, &found, &error));
    ck_assert_msg(strstr(error.message, what) != NULL, "%s", error.message);
    ck_assert_uint_eq(test_shm_files(), files);
    broker_forget(&broker);
}

#define REFUSES_WITH(place, value, what)                                                           \
    do {                                                                                           \
        __typeof__(place) *at = &(place), was = *at;                                               \
        int ctl = store_descriptor(&pool->store, STORE_CTL, true);                                 \
        off_t offset = (char *)at - (char *)pool->ctl;                                             \
        *at = (value);                                                                             \
        refuses(what);                                                                             \
        ck_assert_int_eq(pwrite(ctl, &was, sizeof(was), offset), sizeof(was));                     \
        close(ctl);                                                                                \
        begin_anew();                                                                              \
        broker.registry.file->failures = 0;                                                        \
        broker_forget(&broker);                                                                    \
        recover();                                                                                 \
    } while (0)

START_TEST(test_recovery_refuses_what_it_does_not_understand)
{
    REFUSES_WITH(pool->ctl->version, LAYOUT_VERSION + 1, "of layout version 5");
    REFUSES_WITH(pool->ctl->version, 0, "of layout version 0");
    REFUSES_WITH(pool->ctl->magic, 1, "isn't one");
    REFUSES_WITH(pool->ctl->pool, 77, "another pool's");
    REFUSES_WITH(pool->ctl->nonce, 0, "another pool's");
    REFUSES_WITH(pool->ctl->stride, 17, "can't be");
    REFUSES_WITH(pool->ctl->capacity, 5, "can't be");
    REFUSES_WITH(pool->ctl->reserve, UINT32_MAX, "can't be");
    REFUSES_WITH(pool->ctl->kind, 3, "can't be");
    REFUSES_WITH(pool->ctl->policy.growth[0], 'x', "can't be");
}
END_TEST

/* Each of these fields of the registry's, at that value. */
#define REFUSES_REGISTRY(place, value)                                                             \
    do {                                                                                           \
        __typeof__(place) was = (place);                                                           \
        (place) = (value);                                                                         \
        refuses("the registry says what can't be");                                                \
        begin_anew();                                                                              \
        (place) = was;                                                                             \
        broker.registry.file->failures = 0;                                                        \
        broker_forget(&broker);                                                                    \
        recover();                                                                                 \
    } while (0)

START_TEST(test_recovery_refuses_a_registry_that_can_not_be)
{
    MAKE(.name = "other", .capacity = 2);
    REFUSES_REGISTRY(broker.registry.file->pools[0].state, 4);
    REFUSES_REGISTRY(broker.registry.file->pools[0].id, 0);
    REFUSES_REGISTRY(broker.registry.file->pools[0].id, 3);
    REFUSES_REGISTRY(broker.registry.file->pools[0].id, 2);                     /* twice */
    REFUSES_REGISTRY(broker.registry.file->last_session, LAYOUT_MEMBER_WRITES); /* has no room */
    REFUSES_REGISTRY(broker.registry.file->pools[0].key[0],
                     broker.registry.file->pools[0].key[0] ^ 1u); /* another instance's */
    REFUSES_REGISTRY(broker.registry.file->sessions[0].witness[7],
                     broker.registry.file->sessions[0].witness[7] ^ 1u);
    REFUSES_REGISTRY(broker.registry.file->last_event, UINT64_C(1) << 63);
    REFUSES_REGISTRY(broker.registry.file->sessions[0].state, REGISTRY_MAKING);
    REFUSES_REGISTRY(broker.registry.file->sessions[0].state, REGISTRY_ENDING);
    REFUSES_REGISTRY(broker.registry.file->sessions[0].id, 0);
    REFUSES_REGISTRY(broker.registry.file->sessions[0].id, 9);
    struct registry_session *second = registry_add_session(&broker.registry, 1);
    REFUSES_REGISTRY(broker.registry.file->sessions[1].id, alice->id);
    (void)second;
}
END_TEST

START_TEST(test_recovery_refuses_a_pool_without_its_objects)
{
    static const enum store_object objects[] = {STORE_CTL, STORE_SLOTS, STORE_DATA};
    for (size_t i = 0; i < 3; i++) {
        char name[SEGMENT_NAME_SIZE], path_of[96], away[96];
        store_name(&pool->store, objects[i], name);
        snprintf(path_of, sizeof(path_of), "/dev/shm%s", name);
        snprintf(away, sizeof(away), "/dev/shm/away");
        ck_assert_int_eq(rename(path_of, away), 0);
        refuses(objects[i] == STORE_CTL ? "its ctl can't be read" : "it can't be taken over");
        ck_assert_int_eq(rename(away, path_of), 0);
        recover();
    }
}
END_TEST

START_TEST(test_recovery_refuses_a_ctl_that_is_too_short)
{
    struct layout_ctl head;
    int fd = store_descriptor(&pool->store, STORE_CTL, true);
    off_t size = lseek(fd, 0, SEEK_END);
    ck_assert_int_eq(ftruncate(fd, 100), 0);
    memcpy(&head, pool->ctl, 100);
    refuses("too short");
    ck_assert_int_eq(ftruncate(fd, size), 0);
    ck_assert_int_eq(ftruncate(fd, 8192), 0);
    close(fd);
    begin_anew();
    struct recovery purged;
    recovery_purge(&broker, &purged);
    ck_assert_uint_eq(test_shm_files(), 0);
    broker_forget(&broker);
    begin_anew();
    alice = bob = NULL;
}
END_TEST

START_TEST(test_recovery_of_a_name_that_was_being_written)
{
    memcpy(alice->entry->name, "\xc3", 2);
    crash();
    ck_assert_str_eq(alice->name, "");
    memset(alice->entry->name, 'x', sizeof(alice->entry->name));
    crash();
    ck_assert_uint_eq(strlen(alice->name), PROTOCOL_NAME_MAX);
}
END_TEST

START_TEST(test_recovery_stops_after_three_failures_until_it_is_asked_for)
{
    uint32_t *version = &pool->ctl->version;
    *version = 99;
    for (unsigned i = 0; i < RECOVERY_FAILURES_MAX; i++)
        refuses("of layout version 99");
    refuses("failed 3 times");
    begin_anew();
    ck_assert(!recovery_run(&broker, true, &found, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "99"));
    struct recovery purged;
    recovery_purge(&broker, &purged);
    ck_assert_uint_eq(purged.pools, 1);
    broker_forget(&broker);
    begin_anew();
    alice = bob = NULL;
}
END_TEST

SUITE_MAIN_WITH(
    "recovery", set_up, tear_down, test_recovery_keeps_what_the_living_hold,
    test_recovery_frees_what_the_dead_held, test_recovery_again_and_again_changes_nothing,
    test_recovery_keeps_what_a_pool_is, test_recovery_removes_a_pool_in_the_making,
    test_recovery_goes_on_with_a_destruction,
    test_recovery_goes_on_with_a_destruction_of_which_only_files_are_left,
    test_recovery_keeps_grown_pools_and_takes_back_what_was_not_published,
    test_recovery_knows_what_memory_was_given_back, test_recovery_counts_on,
    test_recovery_of_every_state, test_recovery_overwrites_what_was_freed_where_the_pool_says_so,
    test_recovery_keeps_what_may_be_evicted, test_recovery_of_intents_that_say_nothing,
    test_recovery_of_a_share_without_room_for_holders, test_recovery_drops_holds_that_mean_nothing,
    test_recovery_drops_the_holds_of_what_it_retires,
    test_recovery_of_a_table_of_holders_that_was_being_made,
    test_recovery_of_objects_that_members_cut_or_inflated,
    test_recovery_says_of_slots_that_members_spoilt_that_they_are_out_of_use,
    test_recovery_keeps_that_a_pool_is_damaged, test_recovery_lets_strangers_leave,
    test_recovery_of_threads_without_a_member,
    test_recovery_of_numbers_that_may_write_but_are_nobodys,
    test_recovery_of_a_generation_before_the_first,
    test_recovery_of_ledger_entries_beyond_the_capacity,
    test_recovery_of_an_epoch_that_nobody_waits_in,
    test_recovery_knows_whether_the_watermark_was_reached,
    test_recovery_says_that_the_watermark_fell_with_those_who_are_gone,
    test_recovery_of_a_change_that_says_nothing, test_recovery_marks_what_was_done_when_it_died,
    test_recovery_begins_anew_after_a_reboot,
    test_recovery_takes_over_what_is_there_whatever_the_boot,
    test_recovery_removes_objects_of_nothing_that_it_has,
    test_recovery_refuses_what_it_does_not_understand,
    test_recovery_refuses_a_registry_that_can_not_be,
    test_recovery_refuses_a_pool_without_its_objects, test_recovery_refuses_a_ctl_that_is_too_short,
    test_recovery_of_a_name_that_was_being_written,
    test_recovery_stops_after_three_failures_until_it_is_asked_for)
