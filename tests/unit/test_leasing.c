/* SPDX-License-Identifier: MIT */
/*
 * The daemon's side of leased pools. The tests are the members: they change words, hint bits and look
 * at the epoch as docs/protocol.md says.
 */
#include "daemon/leasing.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "shm/counters.h"
#include "tests/unit/holds.h"
#include "tests/unit/leasing_case.h"

#define SECOND INT64_C(1000000000)

/* ---- A member that comes between ------------------------------------------------------------- */

/* Is called once, before the next change of a word for which the daemon has looked already. */
static void (*comes_between)(void);

static void let_it_come(void)
{
    void (*comes)(void) = comes_between;
    comes_between = NULL;
    if (comes)
        comes();
}

bool __real_slot_change_hands(uint64_t *word, uint64_t generation, uint32_t member,
                              enum slot_state state);
bool __wrap_slot_change_hands(uint64_t *word, uint64_t generation, uint32_t member,
                              enum slot_state state);
bool __real_slot_make_idle(uint64_t *word, uint64_t generation);
bool __wrap_slot_make_idle(uint64_t *word, uint64_t generation);

bool __wrap_slot_change_hands(uint64_t *word, uint64_t generation, uint32_t member,
                              enum slot_state state)
{
    let_it_come();
    return __real_slot_change_hands(word, generation, member, state);
}

bool __wrap_slot_make_idle(uint64_t *word, uint64_t generation)
{
    let_it_come();
    return __real_slot_make_idle(word, generation);
}

/* ---- Grants ---------------------------------------------------------------------------------- */

START_TEST(test_leasing_grants_fewer_as_the_pool_fills_and_at_last_all)
{
    uint32_t left = SLOTS;
    while (left > 0) {
        uint32_t granted = lease(alice, SLOTS);
        ck_assert_uint_eq(granted, left / 4 > 0 ? left / 4 : left);
        left -= granted;
        ck_assert_uint_eq(pool_held(leased, a), SLOTS - left);
        ck_assert_uint_eq(leased->accounts[a]->quota.used, SLOTS - left);
    }
    ck_assert_uint_eq(lease(alice, 1), 0);
    ck_assert_uint_eq(lease(bob, 1), 0);
    ck_assert_uint_eq(pool_usage(leased), 0);
    ck_assert_uint_eq(pool_cached(leased), SLOTS);
    ck_assert_uint_eq(epoch_load(&leased->ctl->waiters), 0); /* nobody was refused */
}
END_TEST

START_TEST(test_leasing_grants_no_more_than_asked_for)
{
    ck_assert_uint_eq(lease(alice, 1), 1);
    ck_assert_uint_eq(lease(alice, 2), 2);
    ck_assert_uint_eq(pool_held(leased, a), 3);
    USE(.capacity = UINT64_C(5) * LEASE_MAX);
    ck_assert_uint_eq(lease(alice, LEASE_MAX), LEASE_MAX);
}
END_TEST

START_TEST(test_leasing_grants_no_reserved_slot_and_critical_requests_get_them)
{
    USE(.capacity = SLOTS, .reserve_critical = 3, .reserve_normal = 2);
    ck_assert_uint_eq(lease_all(alice), SLOTS - 5);
    ck_assert_uint_eq(pool_room(leased, PRIORITY_CRITICAL), 5);
    GETS(bob, leased, 0, .count = 2);
    GETS(bob, leased, 0, .count = 3, .priority = CRITICAL);
    GETS(bob, leased, 0, .count = SLOTS - 5, .priority = CRITICAL);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1, .priority = CRITICAL);
}
END_TEST

START_TEST(test_leasing_reserve_is_kept_of_what_is_taken_back)
{
    USE(.capacity = SLOTS, .reserve_critical = 3, .reserve_normal = 2);
    lease_all(alice);
    allocate(a, 0, 4);
    GETS(bob, leased, 0, .count = SLOTS - 5 - 4, .priority = BEST_EFFORT);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1, .priority = BEST_EFFORT);
    ck_assert_uint_eq(error.reserved, 5);
    GETS(bob, leased, 0, .count = 2);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1);
    GETS(bob, leased, 0, .count = 3, .priority = CRITICAL);
}
END_TEST

START_TEST(test_leasing_grants_nothing_beyond_a_quota)
{
    USE(.capacity = 100, .session_slots = 7, .user_slots = 10);
    ck_assert_uint_eq(lease_all(alice), 7);
    ck_assert_uint_eq(lease_all(bob), 3); /* of the same user */
    ck_assert_uint_eq(leased->accounts[b]->user->quotas[USER_SLOTS].used, 10);
    ck_assert_uint_eq(lease(alice, 1) + lease(bob, 1), 0);
}
END_TEST

START_TEST(test_leasing_what_waits_is_charged_too)
{
    USE(.capacity = 8, .session_slots = 6);
    take(bob, leased, 4);
    WAITS(alice, leased, 1, .count = 5, .timeout = FOREVER);
    ck_assert_uint_eq(lease(alice, 4), 0);
    ck_assert_uint_eq(lease(bob, 4), 0); /* the pool is tight */
}
END_TEST

START_TEST(test_leasing_grants_nothing_while_tight)
{
    take(bob, leased, SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    ck_assert(pool_is_tight(leased));
    ck_assert_uint_eq(lease(alice, 1), 0);
    WAITS(alice, leased, 1, .count = SLOTS, .timeout = FOREVER);
    pool_operate(leased, POOL_FREE, b, held, SLOTS - 1, broker.now, &error);
    demand_serve(&broker, leased);
    ck_assert_uint_eq(pool_room(leased, PRIORITY_BEST_EFFORT), SLOTS - 1);
    ck_assert_uint_eq(lease(alice, 1) + lease(bob, 1), 0);
}
END_TEST

START_TEST(test_leasing_grants_what_was_returned_to_a_tight_pool)
{
    take(bob, leased, SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    for (uint32_t i = 0; i < SLOTS; i++)
        ck_assert(!free_quietly(i % 2 ? alice : bob, i));
    ck_assert_uint_gt(lease(alice, 1), 0);
    ck_assert(!pool_is_tight(leased));
    ck_assert_uint_eq(epoch_load(&leased->ctl->waiters), 0);
}
END_TEST

/* ---- Taking back ----------------------------------------------------------------------------- */

START_TEST(test_leasing_exactly_what_is_not_live_can_be_had)
{
    for (uint32_t live = 0; live <= SLOTS; live++) {
        USE(.capacity = SLOTS);
        ck_assert_uint_eq(lease_all(alice), SLOTS);
        allocate(a, 0, live);
        for (uint32_t i = live; i < SLOTS; i++)
            GETS(bob, leased, 0, .count = 1);
        REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1);
        ck_assert_uint_eq(error.allocated, SLOTS);
        for (uint32_t i = 0; i < live; i++)
            ck_assert_uint_eq(member_word(leased, slots[i]), slot_word(1, a, SLOT_LIVE));
        for (uint32_t i = live; i < SLOTS; i++)
            ck_assert(!member_allocate(leased, a, slots[i]));
    }
}
END_TEST

START_TEST(test_leasing_exactly_what_is_not_live_can_be_had_at_once)
{
    for (uint32_t live = 0; live < SLOTS; live++) {
        USE(.capacity = SLOTS);
        lease_all(alice);
        allocate(a, 0, live);
        REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = SLOTS - live + 1);
        ck_assert_uint_eq(error.allocated, live);
        GETS(bob, leased, 0, .count = SLOTS - live);
    }
}
END_TEST

START_TEST(test_leasing_takes_back_from_its_own_cache_too)
{
    lease_all(alice);
    GETS(alice, leased, 0, .count = SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
}
END_TEST

START_TEST(test_leasing_what_was_freed_by_whomever_can_be_had_again)
{
    ck_assert_uint_eq(lease_all(alice), SLOTS);
    allocate(a, 0, SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++)
        free_quietly(i % 2 ? alice : bob, slots[i]);
    for (uint32_t i = 0; i < SLOTS; i++)
        ck_assert_int_eq(state_of(slots[i]), i % 2 ? SLOT_CACHED : SLOT_RETURNED);
    GETS(bob, leased, 0, .count = SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++)
        ck_assert_uint_eq(member_word(leased, i), slot_word(2, b, SLOT_LIVE));
}
END_TEST

START_TEST(test_leasing_gathers_nothing_while_there_is_room)
{
    lease(alice, 2);
    allocate(a, 0, 1);
    free_quietly(bob, slots[0]);
    GETS(bob, leased, 0, .count = 1);
    ck_assert_int_eq(state_of(slots[0]), SLOT_RETURNED);
    ck_assert_int_eq(state_of(slots[1]), SLOT_CACHED);
    ck_assert(member_hinted(leased, slots[0]));
}
END_TEST

static void check_gathers_nothing(uint32_t count, uint32_t priority)
{
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = count, .priority = priority);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = count, .priority = priority,
            .timeout = FOREVER);
    ck_assert_int_eq(state_of(slots[1]), SLOT_CACHED);
    ck_assert_uint_eq(error.allocated, 1);
    ck_assert_uint_eq(error.reserved, priority == CRITICAL ? 0 : 3);
    ck_assert(!pool_is_tight(leased));
}

START_TEST(test_leasing_gathers_nothing_for_what_there_can_never_be)
{
    USE(.capacity = SLOTS, .reserve_critical = 3);
    ck_assert_uint_eq(lease(alice, 2), 2);
    allocate(a, 0, 1);
    check_gathers_nothing(SLOTS + 1, CRITICAL);
    check_gathers_nothing(SLOTS - 2, NORMAL);
    USE(.capacity = SLOTS, .capacity_max = SLOTS + 1, .growth = "linear:1");
    ck_assert_uint_eq(lease(alice, 2), 2);
    allocate(a, 0, 1);
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, bob, leased, 0, .count = SLOTS + 2);
    ck_assert_uint_eq(error.requested, SLOTS + 3);
    ck_assert_int_eq(state_of(slots[1]), SLOT_CACHED);
}
END_TEST

/* ---- Reserves -------------------------------------------------------------------------------- */

/* 10 of 20 are kept for critical requests; alice allocated the others. */
static void begin_reserve(void)
{
    USE(.capacity = 20, .reserve_critical = 10);
    ck_assert_uint_eq(lease_all(alice), 10);
    allocate(a, 0, 10);
}

START_TEST(test_leasing_frees_fill_up_the_reserve)
{
    begin_reserve();
    GETS(bob, leased, 0, .count = 5, .priority = CRITICAL);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert(!free_quietly(alice, slots[i]));
        ck_assert(!member_allocate(leased, a, slots[i]));
    }
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    GETS(bob, leased, 0, .count = 10, .priority = CRITICAL);
}
END_TEST

START_TEST(test_leasing_frees_fill_up_the_reserve_after_who_waited)
{
    begin_reserve();
    WAITS(bob, leased, 1, .count = 12, .timeout = FOREVER, .priority = CRITICAL);
    for (uint32_t i = 0; i < 10; i++)
        free_aloud(alice, slots[i]);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(pool_cached(leased), 0);
    GETS(bob, leased, 0, .count = 8, .priority = CRITICAL);
}
END_TEST

START_TEST(test_leasing_caches_fill_up_the_reserve)
{
    USE(.capacity = 20, .reserve_critical = 10);
    ck_assert_uint_eq(lease_all(alice), 10);
    GETS(bob, leased, 0, .count = 5, .priority = CRITICAL);
    ck_assert_uint_eq(pool_room(leased, PRIORITY_CRITICAL), 15);
    ck_assert(!pool_is_tight(leased));
}
END_TEST

START_TEST(test_leasing_members_cache_again_once_the_reserve_is_full)
{
    begin_reserve();
    ck_assert(!pool_is_tight(leased));
    GETS(bob, leased, 0, .count = 1, .priority = CRITICAL);
    ck_assert(pool_is_tight(leased));
    free_quietly(alice, slots[0]);
    ck_assert_uint_eq(lease(alice, 1), 0);
    free_quietly(alice, slots[1]);
    ck_assert_uint_eq(lease(alice, 1), 1);
    ck_assert(!pool_is_tight(leased));
}
END_TEST

/* ---- Hints ----------------------------------------------------------------------------------- */

#define BLOCKS 3u
#define MANY (BLOCKS * LEASE_BLOCK)

/* All bob's, and refused to alice: the pool is tight. */
static void fill_blocks(uint32_t capacity)
{
    USE(.capacity = capacity);
    take(bob, leased, capacity);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
}

START_TEST(test_leasing_harvests_the_blocks_with_hints)
{
    fill_blocks(MANY);
    for (uint32_t i = 0; i < BLOCKS; i++)
        ck_assert(member_free_word(leased, a, i * LEASE_BLOCK + 5));
    member_hint(leased, LEASE_BLOCK + 63);
    pool_harvest(leased, broker.now);
    ck_assert_int_eq(state_of(5), SLOT_RETURNED);
    ck_assert_int_eq(state_of(LEASE_BLOCK + 5), SLOT_IDLE);
    ck_assert_int_eq(state_of(2 * LEASE_BLOCK + 5), SLOT_RETURNED);
    ck_assert_uint_eq(pool_held(leased, b), MANY - 1);
    ck_assert(!member_hinted(leased, LEASE_BLOCK));
    member_hint(leased, 0);
    member_hint(leased, MANY - 1);
    pool_harvest(leased, broker.now);
    ck_assert_uint_eq(pool_held(leased, b), MANY - BLOCKS);
    broker_check(&broker);
}
END_TEST

START_TEST(test_leasing_harvests_beyond_the_first_word_of_hints)
{
    static const uint32_t places[] = {0, LEASE_HINT_SLOTS - 1, LEASE_HINT_SLOTS,
                                      LEASE_HINT_SLOTS + 99};
    const uint32_t capacity = LEASE_HINT_SLOTS + 100;
    USE(.capacity = capacity);
    for (uint32_t i = 0; i < capacity; i += 2 * SLOTS)
        take(bob, leased, capacity - i < 2 * SLOTS ? capacity - i : 2 * SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    for (uint32_t i = 0; i < 4; i++)
        free_quietly(i % 2 ? alice : bob, places[i]);
    GETS(alice, leased, 0, .count = 4);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
}
END_TEST

START_TEST(test_leasing_refuses_until_the_hint_is_there)
{
    fill_blocks(SLOTS);
    ck_assert(member_free_word(leased, a, 3)); /* the thread is held up here */
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    member_after_free(leased, 3);
    GETS(alice, leased, 0, .count = 1);
}
END_TEST

START_TEST(test_leasing_harvest_leaves_what_is_cached)
{
    lease(alice, 4);
    allocate(a, 0, 2);
    free_quietly(bob, slots[0]);
    free_quietly(alice, slots[1]);
    pool_harvest(leased, broker.now);
    ck_assert_int_eq(state_of(slots[0]), SLOT_IDLE);
    ck_assert_int_eq(state_of(slots[1]), SLOT_CACHED);
    ck_assert_int_eq(state_of(slots[2]), SLOT_CACHED);
    ck_assert(member_allocate(leased, a, slots[1]));
    broker_check(&broker);
}
END_TEST

START_TEST(test_leasing_thread_gives_its_cache_back)
{
    uint32_t count = lease(alice, 4);
    for (uint32_t i = 0; i < count; i++)
        ck_assert(member_give_back(leased, a, slots[i]));
    ck_assert(!member_give_back(leased, a, slots[0]));
    leasing_look(&broker, leased);
    ck_assert_uint_eq(pool_held(leased, a), 0);
    ck_assert_uint_eq(leased->ctl->counters.total_allocations, 0); /* it was never used */
    ck_assert_uint_eq(slot_generation(member_word(leased, slots[0])), SLOT_GENERATION_FIRST);
}
END_TEST

/* ---- The epoch ------------------------------------------------------------------------------- */

static uint64_t epoch(void)
{
    return epoch_load(&leased->ctl->waiters);
}

START_TEST(test_leasing_becomes_tight_when_it_refuses_and_roomy_again)
{
    ck_assert_uint_eq(epoch(), 0);
    take(bob, leased, SLOTS);
    ck_assert_uint_eq(epoch(), 0);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    uint64_t first = epoch();
    ck_assert_uint_ne(first, 0);
    ck_assert(!lease_somebody_waits(first));
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    ck_assert_uint_eq(epoch(), first); /* nobody is told of anything */
    ck_assert(pool_operate(leased, POOL_FREE, b, held, SLOTS, broker.now, &error));
    demand_serve(&broker, leased);
    broker_check(&broker);
    ck_assert_uint_eq(epoch(), 0);
    take(bob, leased, SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    ck_assert_uint_gt(epoch(), first); /* never the same number again */
}
END_TEST

#define OWED 8u

/* All but so many slots are bob's. */
static void fill_thousands(uint32_t left)
{
    USE(.capacity = UINT64_C(1024) * OWED);
    for (uint32_t i = 0; i < OWED * 1024; i += PROTOCOL_BATCH_MAX)
        take(bob, leased, PROTOCOL_BATCH_MAX);
    ck_assert(pool_operate(leased, POOL_FREE, b, held, left, broker.now, &error));
}

/* There is room, but not for that much. */
START_TEST(test_leasing_looks_at_all_slots_once_for_many_that_are_refused)
{
    fill_thousands(OWED);
    for (uint32_t i = 1; i <= OWED; i++) {
        REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = OWED + 1);
        ck_assert_uint_eq(leased->lease.number, 1);
        ck_assert(pool_is_tight(leased) == (i < OWED));
    }
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = OWED + 1);
    ck_assert_uint_eq(leased->lease.number, 2);
}
END_TEST

START_TEST(test_leasing_grants_once_becoming_tight_was_worth_it)
{
    fill_thousands(2 * OWED);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 2 * OWED + 1);
    for (uint32_t i = 2; i < OWED; i++)
        ck_assert_uint_eq(lease(alice, 1), 0);
    ck_assert_uint_eq(lease(alice, 1), 1);
}
END_TEST

START_TEST(test_leasing_tells_members_while_somebody_waits)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    uint64_t first = epoch();
    ck_assert(lease_somebody_waits(first));
    ck_assert(free_quietly(bob, 3));
    ck_assert_uint_eq(answer_count, 0);
    ring(bob);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert(!lease_somebody_waits(epoch()));
    ck_assert_int_eq(state_of(3), SLOT_LIVE);
    ck_assert_uint_eq(slot_member(member_word(leased, 3)), a);
}
END_TEST

START_TEST(test_leasing_has_a_new_number_each_time_somebody_told)
{
    uint64_t last = 0;
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .count = 4, .timeout = FOREVER);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_gt(epoch() >> 1, last >> 1);
        last = epoch();
        ck_assert_msg(free_aloud(bob, i), "bob told of %u already", i);
        ck_assert_uint_eq(answer_count, i / 3);
    }
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_leasing_is_told_once_of_each_number)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .count = 4, .timeout = FOREVER);
    ck_assert(free_quietly(bob, 0));
    ck_assert(!free_quietly(bob, 1));
    ck_assert(!free_quietly(bob, 2));
    ck_assert(!free_quietly(bob, 3));
    ring(bob);
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_leasing_who_waits_later_is_told_of_by_another_number)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(free_aloud(bob, 0));
    WAITS(alice, leased, 2, .timeout = FOREVER);
    ck_assert(free_aloud(bob, 1));
    ck_assert_uint_eq(answer_count, 2);
}
END_TEST

START_TEST(test_leasing_nobody_is_told_of_who_does_not_wait_any_more)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = 100);
    pass_to(200);
    check_answer(0, "alice", 1, ERROR_TIMEOUT);
    ck_assert(pool_is_tight(leased) && !lease_somebody_waits(epoch()));
    WAITS(alice, leased, 2, .timeout = FOREVER);
    ck_assert(lease_somebody_waits(epoch()));
    ck_assert_uint_eq(demand_cancel(&broker, alice, leased, 0, NULL), 1);
    demand_serve(&broker, leased);
    ck_assert(pool_is_tight(leased) && !lease_somebody_waits(epoch()));
    ck_assert(!free_quietly(bob, 0));
}
END_TEST

START_TEST(test_leasing_nothing_stays_cached_while_somebody_waits)
{
    lease_all(alice);
    allocate(a, 0, SLOTS - 2);
    WAITS(bob, leased, 1, .count = 3, .timeout = FOREVER);
    ck_assert_uint_eq(pool_cached(leased), 0);
    ck_assert(!member_allocate(leased, a, slots[SLOTS - 1]));
    ck_assert(free_quietly(alice, slots[0])); /* not past bob, who waits */
    ck_assert_int_eq(state_of(slots[0]), SLOT_RETURNED);
    WAITS(alice, leased, 2, .count = 1, .timeout = FOREVER);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(answer_count, 1);
}
END_TEST

START_TEST(test_leasing_ring_of_somebody_elses_pool_is_nothing)
{
    struct session *carol = begin(bob_name, false);
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    uint64_t before = epoch();
    ring(carol);
    ck_assert_uint_eq(epoch(), before);
    ring(bob);
    ck_assert_uint_eq(answer_count, 0);
    end(&carol);
}
END_TEST

/* ---- Words that are looked at while somebody waits ------------------------------------------- */

/* Alice waits for one slot; bob freed one, and his bell isn't heard yet. */
static void let_one_wait(void)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(free_quietly(bob, 3));
    ck_assert_uint_eq(answer_count, 0);
}

static void check_served(void)
{
    broker_check(&broker);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(slot_member(member_word(leased, 3)), a);
    ring(bob); /* late, and for nothing */
    ck_assert_uint_eq(answer_count, 1);
}

/* It was seen RETURNED, and at the same generation it is allocated. */
START_TEST(test_leasing_slot_that_its_member_recovered_is_not_damaged)
{
    GETS(bob, leased, 0, .count = 1);
    fastalloc_handle_t handle = handle_from_wire(reply.handles.data);
    uint64_t *word = &leased->words[handle.index], live;
    memcpy(held, reply.handles.data, HANDLE_WIRE_SIZE);
    ck_assert(word_exchange(word, member_word(leased, handle.index),
                            lease_freed(member_word(leased, handle.index), SLOT_RETURNED)));
    ck_assert(!operate(leased, POOL_FREE, 0, 1)); /* stale, and so the word is looked at */
    ck_assert(lease_recover(word, member_word(leased, handle.index), lease_state(b, SLOT_CACHED)));
    ck_assert(lease_allocate(word, lease_state(b, SLOT_CACHED), &live));
    leasing_look(&broker, leased);
    broker_check(&broker);
    ck_assert(!pool_is_damaged(leased) && leased->lease.damage == 0);
    ck_assert_uint_eq(pool_usage(leased), 1);
}
END_TEST

START_TEST(test_leasing_serves_who_waits_rather_than_time_out)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = 100);
    ck_assert(free_quietly(bob, 3));
    pass_to(100);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(leased->ctl->counters.timeouts, 0);
}
END_TEST

START_TEST(test_leasing_serves_who_waits_when_statistics_are_asked_for)
{
    let_one_wait();
    leasing_look(&broker, leased);
    check_served();
}
END_TEST

START_TEST(test_leasing_serves_who_waits_when_the_pool_is_trimmed)
{
    let_one_wait();
    broker_trim(&broker, leased);
    check_served();
}
END_TEST

START_TEST(test_leasing_serves_who_waits_before_it_grants)
{
    let_one_wait();
    ck_assert_uint_eq(lease(bob, 1), 0);
    check_served();
}
END_TEST

START_TEST(test_leasing_serves_who_waits_when_a_quota_refuses)
{
    USE(.capacity = SLOTS, .session_slots = SLOTS);
    let_one_wait();
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, leased, 0, .count = 2);
    check_served();
}
END_TEST

START_TEST(test_leasing_serves_who_waits_when_a_quota_refuses_to_let_hold)
{
    USE(.capacity = SLOTS, .session_slots = SLOTS - 1);
    take(alice, leased, 2);
    struct session *carol = begin(bob_name, false);
    join(carol, leased);
    GETS(bob, leased, 0, .count = SLOTS - 2);
    WAITS(carol, leased, 1, .timeout = FOREVER);
    ck_assert(free_quietly(bob, 2));
    hold(0, 3);
    for (uint32_t i = 4; i < SLOTS; i++)
        hold(i - 3, i);
    ck_assert(!operate(leased, POOL_RETAIN, 0, SLOTS - 2)); /* that one is stale */
    hold(SLOTS - 3, 0);
    ck_assert(!operate(leased, POOL_RETAIN, 0, SLOTS - 2));
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    check_answer(0, "bob", 1, ERROR_NONE);
    end(&carol);
}
END_TEST

START_TEST(test_leasing_serves_whom_a_more_important_one_overtook)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(free_quietly(bob, 3));
    ck_assert(!free_quietly(bob, 4));
    GETS(bob, leased, 0, .count = 1, .priority = CRITICAL);
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_leasing_refuses_none_behind_others_beside_free_slots)
{
    let_one_wait();
    free_quietly(bob, 4);
    GETS(bob, leased, 0, .count = 1);
    check_answer(0, "alice", 1, ERROR_NONE);
    WAITS(alice, leased, 2, .count = 2, .timeout = FOREVER);
    free_quietly(bob, 5);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1); /* that isn't enough for alice */
    free_quietly(bob, 6);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, leased, 0, .count = 1);
    check_answer(1, "alice", 2, ERROR_NONE);
}
END_TEST

START_TEST(test_leasing_says_what_was_seen_by_whomever)
{
    USE(.capacity = SLOTS, .watermark = "50%");
    struct session *carol = begin(bob_name, false);
    lease_all(alice);
    allocate(a, 0, SLOTS / 2 - 1);
    leasing_look(&broker, leased);
    ck_assert_ptr_null(last_event(EVENT_WATERMARK_REACHED));
    allocate(a, SLOTS / 2 - 1, 1);
    hold(0, slots[SLOTS / 2 - 1]);
    hold(1, slots[SLOTS / 2 - 1]);
    ck_assert(!operate(leased, POOL_RETAIN, 0, 2)); /* twice the same, seen nevertheless */
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_ptr_nonnull(last_event(EVENT_WATERMARK_REACHED));
    for (uint32_t i = 0; i < SLOTS / 2; i++)
        free_quietly(alice, slots[i]);
    broker_trim(&broker, leased);
    broker_check(&broker);
    ck_assert_ptr_nonnull(last_event(EVENT_WATERMARK_FALLEN));
    end(&carol);
}
END_TEST

START_TEST(test_leasing_tells_what_a_holder_allocated_not_what_it_caches)
{
    struct holder_info info;
    pass_to(SECOND);
    lease(alice, 4);
    allocate(a, 3, 1);
    ck_assert_uint_eq(notice_holders(&broker, leased, &info, 1), 0);
    leasing_look(&broker, leased);
    pass_to(3 * SECOND);
    ck_assert_uint_eq(notice_holders(&broker, leased, &info, 1), 1);
    ck_assert_uint_eq(info.slots, 1);
    ck_assert_uint_eq(info.oldest, 2 * SECOND);
}
END_TEST

/* ---- Members that go ------------------------------------------------------------------------- */

START_TEST(test_leasing_finds_what_a_dead_member_had_returned_without_a_hint)
{
    take(alice, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(member_free_word(leased, b, 5)); /* alice's, and bob dies here */
    ck_assert(!member_hinted(leased, 5));
    end(&bob);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(slot_member(member_word(leased, 5)), a);
}
END_TEST

START_TEST(test_leasing_finds_it_when_it_was_its_own)
{
    GETS(bob, leased, 0, .count = 1);
    take(alice, leased, SLOTS - 1);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(member_free_word(leased, b, 0)); /* it stays in the cache of a thread that is dead */
    ck_assert_int_eq(state_of(0), SLOT_CACHED);
    end(&bob);
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_leasing_finds_it_when_nobody_waits_yet)
{
    take(alice, leased, SLOTS);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    ck_assert(member_free_word(leased, b, 5));
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    end(&bob);
    GETS(alice, leased, 0, .count = 1);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
}
END_TEST

/* What a slot is when bob leaves. */
enum was {
    WAS_CACHED,
    WAS_LIVE,
    WAS_LIVE_UNSEEN, /* he allocated it, which the daemon doesn't know */
    WAS_RETURNED,
    WAS_RETURNED_UNHINTED,
    WAS_OWN_SHARED,
    WAS_SHARED,
    WAS_ALICES,
    WAS_ALICES_RETURNED, /* by him, without a hint */
    WAS_DETACHED,
    WAS_KINDS,
};

static bool as_alice(enum pool_operation operation, uint32_t index)
{
    hold(0, index);
    return pool_operate(leased, operation, a, held, 1, broker.now, &error);
}

static bool as_bob(enum pool_operation operation, uint32_t index)
{
    hold(0, index);
    return pool_operate(leased, operation, b, held, 1, broker.now, &error);
}

/* The daemon looks at that slot, and at no other. */
static void let_see(uint32_t index)
{
    hold(0, index);
    hold(1, index);
    ck_assert(!pool_operate(leased, POOL_FREE, a, held, 2, broker.now, &error));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
}

/* The next slot is that. */
static uint32_t bring_about(enum was was)
{
    bool alices = was == WAS_ALICES || was == WAS_ALICES_RETURNED;
    ck_assert_uint_eq(lease(alices ? alice : bob, 1), 1);
    uint32_t index = slots[0];
    if (was != WAS_CACHED)
        ck_assert(member_allocate(leased, alices ? a : b, index));
    switch (was) {
    case WAS_CACHED:
    case WAS_LIVE_UNSEEN:
    case WAS_KINDS:
        break;
    case WAS_LIVE:
    case WAS_ALICES:
        let_see(index);
        break;
    case WAS_RETURNED:
        ck_assert(member_free(leased, a, index));
        break;
    case WAS_RETURNED_UNHINTED:
        ck_assert(member_free_word(leased, a, index));
        break;
    case WAS_ALICES_RETURNED:
        ck_assert(member_free_word(leased, b, index));
        break;
    case WAS_OWN_SHARED:
        ck_assert(as_bob(POOL_RETAIN, index));
        break;
    case WAS_SHARED:
        ck_assert(as_alice(POOL_RETAIN, index));
        break;
    case WAS_DETACHED:
        ck_assert(as_bob(POOL_DETACH, index));
        break;
    }
    return index;
}

/* And what it is after that. */
static void check_left(enum was was, uint32_t index)
{
    uint32_t generation = was == WAS_CACHED ? 1 : 2;
    switch (was) {
    case WAS_SHARED:
        ck_assert_int_eq(state_of(index), SLOT_SHARED);
        ck_assert_uint_eq(count_holds(&leased->holders, index, a), 1);
        ck_assert_uint_eq(holders_count(&leased->holders, index), 1);
        break;
    case WAS_ALICES:
        ck_assert_uint_eq(member_word(leased, index), slot_word(1, a, SLOT_LIVE));
        break;
    case WAS_DETACHED:
        ck_assert_uint_eq(member_word(leased, index), slot_word(1, SLOT_MEMBER_POOL, SLOT_LIVE));
        break;
    default:
        ck_assert_uint_eq(member_word(leased, index),
                          slot_word(generation, SLOT_MEMBER_NONE, SLOT_IDLE));
        ck_assert_uint_eq(holder_of(index), SLOT_MEMBER_NONE);
    }
}

static bool is_left(enum was was)
{
    return was == WAS_SHARED || was == WAS_ALICES || was == WAS_DETACHED;
}

/* Freed by his leaving, and not by whoever had freed it before that. */
static bool is_freed(enum was was)
{
    return was == WAS_LIVE || was == WAS_LIVE_UNSEEN || was == WAS_OWN_SHARED;
}

static void leave_with(unsigned combination)
{
    uint32_t places[WAS_KINDS] = {0}, left = 0, freed = 0, allocated = 0;
    USE(.capacity = UINT64_C(4) * WAS_KINDS);
    for (enum was was = 0; was < WAS_KINDS; was++)
        if (combination >> was & 1) {
            places[was] = bring_about(was);
            left += is_left(was);
            freed += is_freed(was);
            allocated += was != WAS_CACHED;
        }
    ck_assert_uint_eq(broker_close_pool(&broker, bob, session_membership(bob, leased->id)), freed);
    broker_check(&broker);
    for (enum was was = 0; was < WAS_KINDS; was++)
        if (combination >> was & 1)
            check_left(was, places[was]);
    const struct layout_counters *counters = &leased->ctl->counters;
    ck_assert_uint_eq(pool_usage(leased), left);
    ck_assert_uint_eq(counters->total_allocations, allocated);
    ck_assert_uint_eq(counters->total_deallocations, allocated - left);
    GETS(alice, leased, 0, .count = 4 * WAS_KINDS - left);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    join(bob, leased);
}

START_TEST(test_leasing_member_may_leave_whatever_it_was_doing)
{
    for (unsigned combination = 0; combination < 1u << WAS_KINDS; combination++)
        leave_with(combination);
}
END_TEST

static uint32_t raced; /* the slot that somebody frees meanwhile */

static void alice_frees(void)
{
    ck_assert(member_free(leased, a, raced));
}

static void bob_frees(void)
{
    ck_assert(member_free(leased, b, raced));
}

static void bob_frees_and_allocates(void)
{
    bob_frees();
    ck_assert(member_allocate(leased, b, raced));
}

START_TEST(test_leasing_member_may_leave_while_others_free_what_it_has)
{
    static void (*const meanwhile[])(void) = {alice_frees, bob_frees, bob_frees_and_allocates};
    for (unsigned i = 0; i < 3; i++) {
        USE(.capacity = SLOTS);
        raced = bring_about(WAS_LIVE);
        comes_between = meanwhile[i];
        broker_close_pool(&broker, bob, session_membership(bob, leased->id));
        ck_assert(!comes_between);
        broker_check(&broker);
        ck_assert_int_eq(state_of(raced), SLOT_IDLE);
        ck_assert_uint_eq(slot_generation(member_word(leased, raced)), i == 2 ? 3 : 2);
        ck_assert_uint_eq(leased->ctl->counters.total_deallocations, i == 2 ? 2 : 1);
        join(bob, leased);
    }
}
END_TEST

/* ---- Operations and members' frees ----------------------------------------------------------- */

static const enum pool_operation operations[] = {POOL_FREE, POOL_RELEASE, POOL_RETAIN, POOL_ADOPT,
                                                 POOL_DETACH};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static bool is_bobs(enum pool_operation operation)
{
    return operation == POOL_RELEASE || operation == POOL_DETACH;
}

START_TEST(test_leasing_operation_on_what_a_member_freed_is_refused)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        for (unsigned own = 0; own < 2; own++) {
            USE(.capacity = SLOTS);
            uint32_t index = bring_about(WAS_LIVE_UNSEEN);
            hold(0, index);
            ck_assert(member_free(leased, own ? b : a, index));
            ck_assert(!operate(leased, operations[i], 0, 1));
            ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
            ck_assert_uint_eq(pool_held(leased, b), 1); /* cached, or not harvested yet */
            ck_assert_uint_eq(pool_held(leased, a), 0);
            ck_assert_uint_eq(leased->ctl->counters.total_deallocations, 1);
        }
}
END_TEST

/*
 * Of two objects of bob's one is freed just before the word is changed: that is said, and the other
 * isn't harmed.
 */
static void race(enum pool_operation operation, bool own)
{
    USE(.capacity = SLOTS);
    raced = bring_about(WAS_LIVE);
    uint32_t other = bring_about(WAS_LIVE), member = is_bobs(operation) ? b : a;
    hold(0, raced);
    hold(1, other);
    comes_between = own ? bob_frees : alice_frees;
    ck_assert(!pool_operate(leased, operation, member, held, 2, broker.now, &error));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
    ck_assert_uint_eq(error.position, 0);
    ck_assert(!comes_between);
    demand_serve(&broker, leased);
    broker_check(&broker);

    ck_assert_uint_eq(member_word(leased, raced),
                      slot_word(2, b, own ? SLOT_CACHED : SLOT_RETURNED));
    ck_assert_uint_eq(holder_of(raced), b);
    ck_assert_uint_eq(holders_count(&leased->holders, raced), 0);
    uint32_t alices = (operation == POOL_RETAIN) + (operation == POOL_ADOPT);
    uint32_t bobs = 1 + (operation == POOL_RETAIN);
    ck_assert_uint_eq(pool_held(leased, a), alices);
    ck_assert_uint_eq(pool_held(leased, b), bobs);
    ck_assert_uint_eq(leased->accounts[a]->quota.used, alices);
    ck_assert_uint_eq(leased->accounts[b]->quota.used, bobs);
    bool freed = operation == POOL_FREE || operation == POOL_RELEASE;
    ck_assert_uint_eq(slot_is_allocated(member_word(leased, other)), !freed);
    GETS(alice, leased, 0, .count = freed ? SLOTS : SLOTS - 1);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
}

START_TEST(test_leasing_operation_may_lose_against_a_free)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        for (unsigned own = 0; own < 2; own++)
            race(operations[i], own);
}
END_TEST

START_TEST(test_leasing_settling_may_lose_against_a_free)
{
    static void (*const meanwhile[])(void) = {alice_frees, bob_frees, bob_frees_and_allocates};
    static const uint64_t request = 1000;
    const struct numbers named = {&request, 1};
    for (unsigned i = 0; i < 3; i++) {
        USE(.capacity = SLOTS);
        GETS(bob, leased, 0, .request = request, .count = 2);
        raced = handle_from_wire(reply.handles.data).index;
        comes_between = meanwhile[i];
        ck_assert_uint_eq(pool_settle(leased, b, &named, broker.now), 1);
        ck_assert(!comes_between);
        demand_serve(&broker, leased);
        broker_check(&broker);
        ck_assert_int_eq(state_of(raced), i == 0   ? SLOT_RETURNED
                                          : i == 1 ? SLOT_CACHED
                                                   : SLOT_LIVE);
        ck_assert_uint_eq(pool_held(leased, b), 1);
        ck_assert_uint_eq(leased->accounts[b]->quota.used, 1);
    }
}
END_TEST

START_TEST(test_leasing_operation_on_what_is_detached_may_lose_too)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (operations[i] == POOL_RELEASE)
            continue;
        USE(.capacity = SLOTS);
        raced = bring_about(WAS_DETACHED);
        hold(0, raced);
        comes_between = alice_frees;
        ck_assert(!pool_operate(leased, operations[i], b, held, 1, broker.now, &error));
        ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
        ck_assert(!comes_between);
        broker_check(&broker);
        ck_assert_uint_eq(member_word(leased, raced),
                          slot_word(2, SLOT_MEMBER_POOL, SLOT_RETURNED));
        ck_assert_uint_eq(pool_held(leased, a) + pool_held(leased, b), 0);
        GETS(alice, leased, 0, .count = SLOTS);
    }
}
END_TEST

START_TEST(test_leasing_member_frees_what_was_detached_or_adopted)
{
    uint32_t index = bring_about(WAS_DETACHED);
    ck_assert(member_free(leased, a, index));
    leasing_look(&broker, leased);
    ck_assert_int_eq(state_of(index), SLOT_IDLE);
    index = bring_about(WAS_LIVE);
    ck_assert(as_alice(POOL_ADOPT, index));
    ck_assert(member_free(leased, a, index));
    ck_assert_int_eq(state_of(index), SLOT_CACHED);
    ck_assert(member_allocate(leased, a, index));
    ck_assert(member_free(leased, b, index));
    leasing_look(&broker, leased);
    ck_assert_int_eq(state_of(index), SLOT_IDLE);
    ck_assert_uint_eq(pool_held(leased, a) + pool_held(leased, b), 0);
}
END_TEST

START_TEST(test_leasing_batch_is_all_or_nothing)
{
    uint32_t first = bring_about(WAS_LIVE), second = bring_about(WAS_LIVE_UNSEEN);
    hold(0, first);
    hold(1, second);
    ck_assert(member_free(leased, b, second));
    for (size_t i = 0; i < OPERATIONS; i++) {
        ck_assert(!pool_operate(leased, operations[i], is_bobs(operations[i]) ? b : a, held, 2,
                                broker.now, &error));
        broker_check(&broker);
        ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
        ck_assert_uint_eq(error.position, 1);
        ck_assert_uint_eq(member_word(leased, first), slot_word(1, b, SLOT_LIVE));
        ck_assert_uint_eq(pool_held(leased, a), 0);
    }
}
END_TEST

START_TEST(test_leasing_refuses_evictable_objects)
{
    REFUSES(ERROR_INVALID_ARGUMENT, alice, leased, 0, .count = 1, .evictable = true);
    ck_assert_str_eq(error.field, "evictable");
    ck_assert_ptr_nonnull(strstr(error.message, "leased"));
    ck_assert_uint_eq(leased->accounts[a]->quota.used, 0);
}
END_TEST

/* ---- Quotas ---------------------------------------------------------------------------------- */

START_TEST(test_leasing_quota_refuses_once_caches_are_taken_back)
{
    USE(.capacity = 100, .session_slots = 4);
    ck_assert_uint_eq(lease(alice, 4), 4);
    allocate(a, 0, 2);
    GETS(alice, leased, 0, .count = 2);
    ck_assert(!member_allocate(leased, a, slots[2]));
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, leased, 0, .count = 1);
    ck_assert_uint_eq(error.allocated, 4);
    free_quietly(alice, slots[0]);
    free_quietly(bob, slots[1]);
    GETS(alice, leased, 0, .count = 2);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, leased, 0, .count = 1);
}
END_TEST

START_TEST(test_leasing_quota_of_the_user_takes_back_caches_of_other_sessions)
{
    USE(.capacity = 100, .user_slots = 4);
    ck_assert_uint_eq(lease(alice, 4), 4);
    allocate(a, 0, 1);
    GETS(bob, leased, 0, .count = 3);
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, leased, 0, .count = 1);
}
END_TEST

START_TEST(test_leasing_quota_lets_hold_and_adopt_once_caches_are_taken_back)
{
    static const enum pool_operation both[] = {POOL_RETAIN, POOL_ADOPT};
    for (unsigned i = 0; i < 2; i++) {
        USE(.capacity = 100, .session_slots = 4);
        uint32_t index = bring_about(WAS_LIVE);
        ck_assert_uint_eq(lease(alice, 4), 4);
        allocate(a, 0, 3);
        hold(0, index);
        hold(1, slots[3]);
        ck_assert(operate(leased, both[i], 0, 1));
        ck_assert_uint_eq(pool_held(leased, a), 4);
        index = bring_about(WAS_LIVE);
        hold(0, index);
        ck_assert(!operate(leased, both[i], 0, 1));
        ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    }
}
END_TEST

START_TEST(test_leasing_quota_may_find_that_the_object_is_gone)
{
    USE(.capacity = 100, .session_slots = 4);
    raced = bring_about(WAS_LIVE);
    ck_assert_uint_eq(lease(alice, 4), 4);
    allocate(a, 0, 3);
    hold(0, raced);
    ck_assert(member_give_back(leased, a, slots[3]));
    hold(1, slots[0]);
    ck_assert(member_free(leased, b, slots[0])); /* its handle is the one before */
    ck_assert(!operate(leased, POOL_ADOPT, 0, 2));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
    ck_assert_uint_eq(error.position, 1);
    ck_assert(operate(leased, POOL_ADOPT, 0, 1)); /* in place of those two */
    ck_assert_uint_eq(leased->accounts[a]->quota.used, 3);
}
END_TEST

/* ---- Growth, memory, generations ------------------------------------------------------------- */

START_TEST(test_leasing_pool_grows_once_all_is_live)
{
    USE(.capacity = 4, .capacity_max = 100, .growth = "linear:4");
    for (uint32_t capacity = 4; capacity <= 100; capacity += 4) {
        ck_assert_uint_eq(lease_all(alice), 4);
        ck_assert_uint_eq(pool_capacity(leased), capacity);
        allocate(a, 0, 3);
        GETS(bob, leased, 0, .count = 1); /* what was cached */
        ck_assert_uint_eq(pool_capacity(leased), capacity);
        if (capacity == 100)
            break;
        GETS(bob, leased, 0, .count = 1);
        ck_assert_uint_eq(pool_capacity(leased), capacity + 4);
        hold(0, capacity);
        ck_assert(operate(leased, POOL_FREE, 0, 1));
        ck_assert_uint_eq(epoch(), 0);
    }
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, bob, leased, 0, .count = 1);
    ck_assert_uint_eq(pool_usage(leased), 100);
}
END_TEST

START_TEST(test_leasing_pool_grows_ahead_of_grants)
{
    USE(.capacity = 8, .capacity_max = 100, .growth = "linear:8", .grow_ahead = 4);
    while (pool_capacity(leased) < 100) {
        ck_assert_uint_gt(lease(alice, 8), 0);
        ck_assert_uint_ge(pool_room(leased, PRIORITY_CRITICAL), 4);
    }
    lease_all(alice);
    ck_assert_uint_eq(pool_held(leased, a), 100);
}
END_TEST

START_TEST(test_leasing_pool_that_is_grown_serves_who_waits)
{
    const struct pool_grow_request request = {.capacity = SLOTS + 2, .capacity_max = SLOTS + 2};
    struct pool_grow_reply grown;
    USE(.capacity = SLOTS);
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert_int_eq(growing_request(&broker, NULL, leased, &request, 0, &grown, &error),
                     BROKER_DONE);
    broker_check(&broker);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(epoch(), 0);
    ck_assert_uint_eq(lease(bob, 1), 1);
}
END_TEST

START_TEST(test_leasing_trim_takes_back_what_is_cached)
{
    USE(.capacity = SLOTS, .object_size = 4096, .alignment = 4096);
    lease_all(alice);
    allocate(a, 0, 3);
    ck_assert_uint_eq(broker_trim(&broker, leased), (SLOTS - 3) * UINT64_C(4096));
    ck_assert_uint_eq(pool_cached(leased), 0);
    ck_assert(!member_allocate(leased, a, slots[3]));
    broker_check(&broker);
    lease_all(alice);
    ck_assert_uint_eq(store_trimmed_size(&leased->store), 0); /* they have memory again */
    allocate(a, 0, SLOTS - 3);
}
END_TEST

/* The next grant of each slot is of its last generation. */
static void age(void)
{
    for (uint32_t i = 0; i < pool_capacity(leased); i++) {
        ck_assert_int_eq(state_of(i), SLOT_IDLE);
        leased->words[i] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
        leased->lease.seen[i] = leased->words[i];
    }
    broker_check(&broker);
}

static void check_used_up(uint32_t index)
{
    broker_check(&broker);
    ck_assert_uint_eq(member_word(leased, index),
                      slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_RETIRED));
    ck_assert_uint_eq(holder_of(index), SLOT_MEMBER_NONE);
    ck_assert(!pool_is_damaged(leased));
}

/* Members that allocate and free by themselves are as little quiet as those that ask. */
START_TEST(test_leasing_busy_pool_is_not_trimmed)
{
    const int64_t step = SECOND / 100, end = 5 * SECOND;
    USE(.capacity = SLOTS, .trim_after = SECOND / 2);
    ck_assert_uint_eq(lease(alice, 4), 4);
    for (int64_t at = step; at <= end; at += step) {
        allocate(a, 0, 4);
        for (uint32_t i = 0; i < 4; i++)
            ck_assert(member_free(leased, a, slots[i]));
        pass_to(at);
    }
    ck_assert_uint_eq(pool_cached(leased), 4);
    pass_to(end + SECOND / 2);
    pass_to(end + SECOND);
    ck_assert_uint_eq(pool_cached(leased), 0);
    ck_assert_int_ge(leased->trimmed_at, end);
}
END_TEST

/* However soon it is to be trimmed, looking at it takes but a part of the time. */
START_TEST(test_leasing_busy_pool_is_looked_at_now_and_then)
{
    USE(.capacity = SLOTS, .trim_after = 1);
    ck_assert_uint_eq(lease(alice, 1), 1);
    allocate(a, 0, 1);
    pass_to(1);
    ck_assert_uint_eq(pool_usage(leased), 1);
    ck_assert_int_ge(leased->trim.at, 1 + (int64_t)SLOTS * LEASING_GLANCE_NS);
}
END_TEST

START_TEST(test_leasing_slot_whose_generations_are_used_up_is_out_of_use)
{
    enum { OWN, FOREIGN, REQUEST, DEATH, ENDS };
    for (unsigned ends = 0; ends < ENDS; ends++)
        for (unsigned seen = 0; seen < 2; seen++) {
            USE(.capacity = 4);
            age();
            uint32_t index = bring_about(seen ? WAS_LIVE : WAS_LIVE_UNSEEN);
            hold(0, index);
            if (ends == REQUEST) {
                ck_assert(operate(leased, POOL_FREE, 0, 1));
            } else if (ends == DEATH) {
                broker_close_pool(&broker, bob, session_membership(bob, leased->id));
            } else {
                ck_assert(member_free(leased, ends == OWN ? b : a, index));
                ck_assert_int_eq(state_of(index), SLOT_RETIRED);
            }
            ck_assert(!operate(leased, POOL_FREE, 0, 1));
            ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
            leasing_look(&broker, leased);
            check_used_up(index);
            ck_assert_uint_eq(leased->ctl->counters.total_allocations, 1);
            ck_assert_uint_eq(leased->ctl->counters.total_deallocations, 1);
            GETS(alice, leased, 0, .count = 3);
            REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
            join(bob, leased);
        }
}
END_TEST

START_TEST(test_leasing_slot_that_was_only_cached_is_not_used_up)
{
    USE(.capacity = 4);
    age();
    lease_all(bob);
    ck_assert(member_give_back(leased, b, slots[0]));
    GETS(alice, leased, 0, .count = 4);
}
END_TEST

START_TEST(test_leasing_retired_slot_serves_nobody_who_waits)
{
    USE(.capacity = 2);
    age();
    take(bob, leased, 2);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    uint64_t before = epoch();
    ck_assert(free_aloud(bob, 0));
    ck_assert_uint_eq(answer_count, 0);
    ck_assert_uint_gt(epoch(), before);
    check_used_up(0);
}
END_TEST

/* ---- Statistics ------------------------------------------------------------------------------ */

static void allocate_and_free(uint32_t member, uint32_t index, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        ck_assert(member_allocate(leased, member, index));
        ck_assert(member_free(leased, member, index));
    }
}

START_TEST(test_leasing_totals_are_exact_after_a_sweep)
{
    const struct layout_counters *counters = &leased->ctl->counters;
    uint64_t allocations = 0, deallocations = 0;
    lease_all(alice);
    for (uint32_t round = 1; round < 200; round++) {
        uint32_t count = lease_all(alice);
        for (uint32_t i = 0; i < count; i++)
            allocate_and_free(a, slots[i], round * (i + 1) % 7);
        for (uint32_t i = 0; i < count; i++)
            allocations += round * (i + 1) % 7;
        deallocations = allocations;
        allocate(a, 0, round % (count + 1));
        allocations += round % (count + 1);
        for (uint32_t i = 0; i < round % (count + 1); i++)
            deallocations += (round + i) % 3 != 0;
        if (round % 2)
            leasing_look(&broker, leased);
        for (uint32_t i = 0; i < round % (count + 1); i++)
            if ((round + i) % 3 != 0)
                free_quietly(i % 2 ? alice : bob, slots[i]);
        leasing_look(&broker, leased);
        ck_assert_uint_eq(counters->total_allocations, allocations);
        ck_assert_uint_eq(counters->total_deallocations, deallocations);
        ck_assert_uint_eq(pool_usage(leased), allocations - deallocations);
        for (uint32_t i = 0; i < round % (count + 1); i++)
            if ((round + i) % 3 == 0)
                free_quietly(bob, slots[i]);
        broker_trim(&broker, leased);
        deallocations = allocations;
        ck_assert_uint_eq(counters->total_deallocations, deallocations);
        ck_assert_uint_eq(pool_usage(leased), 0);
    }
    ck_assert_uint_eq(counters->peak_usage, SLOTS);
}
END_TEST

START_TEST(test_leasing_usage_and_ages_are_what_sweeps_saw)
{
    const struct layout_counters *counters = &leased->ctl->counters;
    lease_all(alice);
    allocate(a, 0, 8);
    for (uint32_t i = 4; i < 8; i++)
        free_quietly(alice, slots[i]);
    pass_to(SECOND);
    leasing_look(&broker, leased);
    ck_assert_uint_eq(pool_usage(leased), 4);
    ck_assert_uint_eq(counters->peak_usage, 4); /* nobody saw the other four */
    ck_assert_uint_eq(pool_cached(leased), SLOTS - 4);
    ck_assert_uint_eq(counters->holds.count, 0);
    pass_to(3 * SECOND);
    for (uint32_t i = 0; i < 4; i++)
        free_quietly(i % 2 ? alice : bob, slots[i]);
    leasing_look(&broker, leased);
    ck_assert_uint_eq(counters->holds.count, 4);
    ck_assert_uint_eq(counters->holds.max, 2 * SECOND);
    ck_assert_uint_eq(counters_average_usage(counters, broker.now), 8.0 / 3);
}
END_TEST

START_TEST(test_leasing_tells_no_time_of_what_came_and_went_between_looks)
{
    const struct layout_counters *counters = &leased->ctl->counters;
    lease(alice, 1);
    allocate(a, 0, 1);
    leasing_look(&broker, leased);
    pass_to(SECOND);
    ck_assert(member_free(leased, a, slots[0]));
    allocate_and_free(a, slots[0], 1);
    ck_assert(member_allocate(leased, a, slots[0]));
    leasing_look(&broker, leased);
    ck_assert_uint_eq(counters->total_deallocations, 2);
    ck_assert_uint_eq(counters->holds.count, 0);
    pass_to(2 * SECOND);
    ck_assert(member_free(leased, a, slots[0]));
    leasing_look(&broker, leased);
    ck_assert_uint_eq(counters->holds.count, 1);
    ck_assert_uint_eq(counters->holds.max, SECOND);
}
END_TEST

START_TEST(test_leasing_object_that_took_the_place_of_another_is_new)
{
    USE(.capacity = SLOTS, .hold_limit = 5 * SECOND);
    lease(alice, 1);
    allocate(a, 0, 1);
    leasing_look(&broker, leased);
    pass_to(4 * SECOND);
    allocate_and_free(a, slots[0], 0);
    ck_assert(member_free(leased, a, slots[0]) && member_allocate(leased, a, slots[0]));
    leasing_look(&broker, leased);
    pass_to(8 * SECOND);
    ck_assert_ptr_null(last_event(EVENT_HELD_LONG));
    pass_to(9 * SECOND);
    ck_assert_ptr_nonnull(last_event(EVENT_HELD_LONG));
    ck_assert_uint_eq(leased->ctl->counters.held_long, 1);
    ck_assert(member_free(leased, a, slots[0]));
    leasing_look(&broker, leased);
    ck_assert_uint_eq(leased->ctl->counters.held_long, 0);
}
END_TEST

static void check_held_long(uint32_t now, uint32_t ever)
{
    const struct layout_counters *counters = &leased->ctl->counters;
    ck_assert_uint_eq(counters->held_long, now);
    ck_assert_uint_eq(counters->total_held_long, ever);
}

/* One of four is: one is in alice's cache again, one bob freed, one she freed and allocated anew. */
START_TEST(test_leasing_held_for_too_long_is_what_still_is)
{
    USE(.capacity = SLOTS, .hold_limit = 10 * SECOND);
    ck_assert_uint_eq(lease(alice, 4), 4);
    allocate(a, 0, 4);
    leasing_look(&broker, leased);
    free_quietly(alice, slots[0]);
    free_quietly(bob, slots[1]);
    free_quietly(alice, slots[2]);
    allocate(a, 2, 1);
    pass_to(10 * SECOND - 1);
    check_held_long(0, 0);
    pass_to(10 * SECOND);
    check_held_long(1, 1);
    ck_assert_uint_eq(pool_usage(leased), 2);
    pass_to(20 * SECOND);
    check_held_long(2, 2);
}
END_TEST

START_TEST(test_leasing_word_of_what_is_held_for_too_long_may_be_damaged)
{
    USE(.capacity = SLOTS, .hold_limit = 10 * SECOND);
    lease(alice, 1);
    allocate(a, 0, 1);
    leasing_look(&broker, leased);
    word_replace(&leased->words[slots[0]], slot_word(1, b, SLOT_LIVE));
    pass_to(10 * SECOND);
    check_held_long(0, 0);
    ck_assert(pool_is_damaged(leased));
}
END_TEST

static uint32_t glanced_usage(void)
{
    leasing_glance(&broker, leased);
    broker_check(&broker);
    return pool_usage(leased);
}

START_TEST(test_leasing_glances_at_many_slots_now_and_then)
{
    const uint32_t many = LEASING_GLANCE_FREE + 1;
    USE(.capacity = many);
    lease(alice, 1);
    ck_assert_uint_eq(glanced_usage(), 0);
    allocate(a, 0, 1);
    pass_to((int64_t)many * LEASING_GLANCE_NS - 1);
    ck_assert_uint_eq(glanced_usage(), 0);
    pass_to((int64_t)many * LEASING_GLANCE_NS);
    ck_assert_uint_eq(glanced_usage(), 1);
    free_quietly(alice, slots[0]);
    ck_assert_uint_eq(glanced_usage(), 1);
    leasing_look(&broker, leased);
    ck_assert_uint_eq(pool_usage(leased), 0);
}
END_TEST

START_TEST(test_leasing_glances_at_few_slots_each_time)
{
    USE(.capacity = LEASING_GLANCE_FREE);
    lease(alice, 1);
    for (uint32_t i = 0; i < 3; i++) {
        allocate(a, 0, 1);
        ck_assert_uint_eq(glanced_usage(), 1);
        free_quietly(alice, slots[0]);
        ck_assert_uint_eq(glanced_usage(), 0);
    }
}
END_TEST

START_TEST(test_leasing_looks_by_itself_only_while_somebody_has_it_mapped)
{
    lease(alice, 1);
    allocate(a, 0, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    USE(.capacity = SLOTS);
    leased->mapped = true;
    leasing_look(&broker, leased);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER); /* nothing is granted */
    lease(alice, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), broker.now + SECOND);
    ck_assert(member_give_back(leased, a, slots[0]));
    pass_to(broker.now + SECOND);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    GETS(alice, leased, 0, .count = 1);
    ck_assert_int_ne(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_leasing_looks_less_often_while_nothing_is_new)
{
    leased->mapped = true;
    lease(alice, 1);
    int64_t wait = SECOND;
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_int_eq(broker_next_deadline(&broker), broker.now + wait);
        pass_to(broker.now + wait);
        wait = wait < 64 * SECOND ? 2 * wait : wait;
    }
    allocate(a, 0, 1);
    pass_to(broker.now + wait);
    ck_assert_uint_eq(pool_usage(leased), 1);
    ck_assert_int_eq(broker_next_deadline(&broker), broker.now + SECOND);
}
END_TEST

START_TEST(test_leasing_look_finds_what_nobody_told_of)
{
    leased->mapped = true;
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert(member_free_word(leased, bob ? a : b, 7)); /* that thread is held up for long */
    pass_to(broker.now + SECOND);
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

/* ---- The end --------------------------------------------------------------------------------- */

START_TEST(test_leasing_pool_can_be_destroyed_under_its_members)
{
    lease_all(alice);
    allocate(a, 0, 5);
    free_quietly(bob, slots[0]);
    uint64_t live = member_word(leased, slots[1]), *words = leased->words;
    uint32_t first = slots[1], cached = slots[9];
    int fd = store_descriptor(&leased->store, STORE_SLOTS, true);
    size_t size = geometry_slots_size(&leased->store.geometry, SLOTS);
    uint8_t *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    close(fd);
    uint64_t *mine = (uint64_t *)(mapped + ((uint8_t *)words - (uint8_t *)leased->store.slots));
    ck_assert_uint_eq(broker_destroy_pool(&broker, leased), 4); /* seen at last */
    leased = NULL;
    uint64_t got;
    ck_assert(!lease_allocate(&mine[cached], lease_state(a, SLOT_CACHED), &got));
    ck_assert(!word_exchange(&mine[first], live, lease_freed(live, SLOT_CACHED)));
    ck_assert_int_eq(slot_state(mine[first]), SLOT_RETIRED);
    munmap(mapped, size);
    ck_assert_uint_eq(last_event(EVENT_DESTROYED)->count, 4);
}
END_TEST

START_TEST(test_leasing_who_waits_hears_that_the_pool_is_destroyed)
{
    take(bob, leased, SLOTS);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    ck_assert_uint_eq(broker_destroy_pool(&broker, leased), SLOTS);
    leased = NULL;
    check_answer(0, "alice", 1, ERROR_POOL_DESTROYED);
}
END_TEST

/* ---- Between the daemon's instructions ------------------------------------------------------- */

/* Shared memory, which the child changes, is to be as it was: this process knows nothing of it. */
static uint8_t kept[2][1 << 17];

static void keep(bool back)
{
    const struct geometry *geometry = &leased->store.geometry;
    uint32_t capacity = pool_capacity(leased);
    const size_t sizes[] = {geometry_ctl_size(geometry, capacity),
                            geometry_slots_size(geometry, capacity)};
    void *const places[] = {leased->ctl, leased->store.slots};
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_le(sizes[i], sizeof(kept[i]));
        memcpy(back ? places[i] : kept[i], back ? kept[i] : places[i], sizes[i]);
    }
}

/*
 * A child does it, after so many instructions of which the member acts; then it goes on. Returns what
 * the child returned; -1 if it was through before.
 */
static int act_between(int (*does)(void), unsigned instructions, void (*acts)(void))
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(does());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    for (unsigned i = 0; i < instructions && WIFSTOPPED(status); i++) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        if (waitpid(pid, &status, 0) != pid)
            ck_abort_msg("the child is gone");
    }
    if (WIFEXITED(status))
        return -1;
    acts();
    ck_assert_int_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* After each instruction, or every so manieth; where they are more, after fewer of them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 128u
#elif !defined(__OPTIMIZE__)
#define STRIDE 8u
#else
#define STRIDE 1u
#endif

/* Until it is through. `check` gets what the child returned. Returns how often that was. */
static unsigned act_everywhere(int (*does)(void), void (*acts)(void), void (*check)(int result),
                               unsigned every)
{
    unsigned times = 0;
    keep(false);
    for (;; times++) {
        int result = act_between(does, times * every * STRIDE, acts);
        if (result >= 0)
            check(result);
        keep(true);
        if (result < 0)
            return times;
    }
}

static bool rang;
static uint64_t told_of; /* by bob and by alice */

static int tighten(void)
{
    pool_tighten(leased, true, broker.now);
    return (int)pool_room(leased, PRIORITY_CRITICAL);
}

static int harvest(void)
{
    pool_harvest(leased, broker.now);
    return (int)pool_room(leased, PRIORITY_CRITICAL);
}

static void bob_frees_aloud(void)
{
    uint64_t last = told_of;
    bob_frees();
    rang = member_rings(leased, &last);
}

static void alice_frees_aloud(void)
{
    uint64_t last = told_of;
    alice_frees();
    rang = member_rings(leased, &last);
}

static void check_found_or_told(int room)
{
    if (room == 0 && !rang)
        ck_abort_msg("one waits beside a slot that is free, and nobody is told");
    if (room == 0 && !member_hinted(leased, raced))
        ck_abort_msg("nobody will find it");
}

START_TEST(test_leasing_free_is_seen_or_told_whenever_somebody_begins_to_wait)
{
    USE(.capacity = 2);
    take(bob, leased, 2);
    raced = 1;
    ck_assert_uint_gt(act_everywhere(tighten, bob_frees_aloud, check_found_or_told, 1), 2);
    ck_assert_uint_gt(act_everywhere(tighten, alice_frees_aloud, check_found_or_told, 3), 2);
}
END_TEST

START_TEST(test_leasing_free_is_seen_or_told_in_a_pool_that_is_tight_already)
{
    USE(.capacity = 2);
    take(bob, leased, 2);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    raced = 1;
    ck_assert_uint_gt(act_everywhere(tighten, bob_frees_aloud, check_found_or_told, 1), 2);
}
END_TEST

/* He told of the number that is there, which the daemon has just heard. */
START_TEST(test_leasing_free_is_seen_or_told_whenever_somebody_waits_anew)
{
    USE(.capacity = 2);
    take(bob, leased, 2);
    WAITS(alice, leased, 1, .timeout = FOREVER);
    told_of = epoch();
    raced = 1;
    ck_assert_uint_gt(act_everywhere(tighten, bob_frees_aloud, check_found_or_told, 1), 2);
}
END_TEST

static void check_found_or_hinted(int room)
{
    if (room == 0 && !member_hinted(leased, raced))
        ck_abort_msg("nobody will find it");
}

/* Another one has a hint already. */
START_TEST(test_leasing_hint_is_seen_or_stays)
{
    USE(.capacity = 2);
    take(bob, leased, 2);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, leased, 0, .count = 1);
    member_hint(leased, 0);
    raced = 1;
    ck_assert_uint_gt(act_everywhere(harvest, alice_frees, check_found_or_hinted, 3), 2);
}
END_TEST

static bool allocated;

static void alice_allocates(void)
{
    allocated = member_allocate(leased, a, raced);
}

static void check_one_has_it(int room)
{
    if (allocated != (room == 0) || allocated != (state_of(raced) == SLOT_LIVE))
        ck_abort_msg("allocated %d, room %d", allocated, room);
}

START_TEST(test_leasing_cached_slot_is_taken_back_or_allocated)
{
    USE(.capacity = 1);
    lease(alice, 1);
    raced = 0;
    ck_assert_uint_gt(act_everywhere(tighten, alice_allocates, check_one_has_it, 1), 2);
}
END_TEST

/* ---- Between the daemon's instructions: threads that store plainly */

static uint32_t biased; /* alice's */
static bool begun;      /* it was stopped before its store */

/* Its slot is `raced`. False where the system has no barrier. */
static bool begin_biased(bool live)
{
    USE(.capacity = 1);
    biased = pool_add_thread(leased, a);
    if (biased == SLOT_MEMBER_NONE)
        return false;
    ck_assert_uint_eq(lease_as(alice, biased, 1), 1);
    raced = slots[0];
    ck_assert(!live || member_change(leased, biased, raced, BIAS_ALLOCATES));
    hold(0, raced);
    return true;
}

static void thread_allocates(void)
{
    allocated = member_change(leased, biased, raced, BIAS_ALLOCATES) ||
                member_allocate(leased, biased, raced);
}

static void thread_begins_to_allocate(void)
{
    begun = member_announce(leased, biased, raced, BIAS_ALLOCATES);
}

/* Whatever the daemon has done since. */
static void check_begun_has_it(int room)
{
    if (begun)
        member_store(leased, raced, BIAS_ALLOCATES);
    if (begun != (room == 0) ||
        begun != (member_word(leased, raced) == slot_word(1, biased, SLOT_LIVE)))
        ck_abort_msg("begun %d, room %d", begun, room);
}

START_TEST(test_leasing_slot_of_a_biased_thread_is_taken_back_or_allocated)
{
    if (!begin_biased(false))
        return;
    ck_assert_uint_gt(act_everywhere(tighten, thread_allocates, check_one_has_it, 41), 2);
}
END_TEST

START_TEST(test_leasing_slot_that_a_biased_thread_begins_to_allocate_is_its_own)
{
    if (!begin_biased(false))
        return;
    ck_assert_uint_gt(act_everywhere(tighten, thread_begins_to_allocate, check_begun_has_it, 41),
                      2);
}
END_TEST

static int adopt(void)
{
    return pool_operate(leased, POOL_ADOPT, b, held, 1, broker.now, &error);
}

static void thread_begins_to_free(void)
{
    begun = member_announce(leased, biased, raced, BIAS_FREES);
}

/* Either it is bob's, or it was as good as freed before. */
static void check_begun_frees(int adopted)
{
    if (begun)
        member_store(leased, raced, BIAS_FREES);
    uint64_t freed = slot_word(2, biased, SLOT_CACHED), bobs = slot_word(1, b, SLOT_LIVE);
    if (begun == (adopted != 0) || member_word(leased, raced) != (begun ? freed : bobs))
        ck_abort_msg("begun %d, adopted %d", begun, adopted);
}

START_TEST(test_leasing_object_of_a_biased_thread_is_freed_by_it_or_had_by_others)
{
    if (!begin_biased(true))
        return;
    ck_assert_uint_gt(act_everywhere(adopt, thread_begins_to_free, check_begun_frees, 13), 2);
}
END_TEST

static int reclaim(void)
{
    pool_leave(leased, b, broker.now);
    return (int)pool_room(leased, PRIORITY_CRITICAL);
}

static void alice_may_free(void)
{
    member_free(leased, a, raced);
}

static void check_had(int room)
{
    if (room != 2)
        ck_abort_msg("the member that left keeps %d", 2 - room);
}

START_TEST(test_leasing_member_leaves_whatever_others_free_meanwhile)
{
    USE(.capacity = 2);
    raced = bring_about(WAS_LIVE);
    ck_assert_uint_gt(act_everywhere(reclaim, alice_may_free, check_had, 23), 2);
}
END_TEST

SUITE_MAIN_WITH(
    "leasing", leasing_set_up, broker_tear_down,
    test_leasing_grants_fewer_as_the_pool_fills_and_at_last_all,
    test_leasing_grants_no_more_than_asked_for,
    test_leasing_grants_no_reserved_slot_and_critical_requests_get_them,
    test_leasing_reserve_is_kept_of_what_is_taken_back, test_leasing_grants_nothing_beyond_a_quota,
    test_leasing_what_waits_is_charged_too, test_leasing_grants_nothing_while_tight,
    test_leasing_grants_what_was_returned_to_a_tight_pool,
    test_leasing_exactly_what_is_not_live_can_be_had,
    test_leasing_exactly_what_is_not_live_can_be_had_at_once,
    test_leasing_takes_back_from_its_own_cache_too,
    test_leasing_what_was_freed_by_whomever_can_be_had_again,
    test_leasing_gathers_nothing_while_there_is_room,
    test_leasing_gathers_nothing_for_what_there_can_never_be,
    test_leasing_frees_fill_up_the_reserve, test_leasing_frees_fill_up_the_reserve_after_who_waited,
    test_leasing_caches_fill_up_the_reserve,
    test_leasing_members_cache_again_once_the_reserve_is_full,
    test_leasing_harvests_the_blocks_with_hints,
    test_leasing_harvests_beyond_the_first_word_of_hints,
    test_leasing_refuses_until_the_hint_is_there, test_leasing_harvest_leaves_what_is_cached,
    test_leasing_thread_gives_its_cache_back,
    test_leasing_becomes_tight_when_it_refuses_and_roomy_again,
    test_leasing_looks_at_all_slots_once_for_many_that_are_refused,
    test_leasing_grants_once_becoming_tight_was_worth_it,
    test_leasing_tells_members_while_somebody_waits,
    test_leasing_has_a_new_number_each_time_somebody_told, test_leasing_is_told_once_of_each_number,
    test_leasing_who_waits_later_is_told_of_by_another_number,
    test_leasing_nobody_is_told_of_who_does_not_wait_any_more,
    test_leasing_nothing_stays_cached_while_somebody_waits,
    test_leasing_ring_of_somebody_elses_pool_is_nothing,
    test_leasing_slot_that_its_member_recovered_is_not_damaged,
    test_leasing_serves_who_waits_rather_than_time_out,
    test_leasing_serves_who_waits_when_statistics_are_asked_for,
    test_leasing_serves_who_waits_when_the_pool_is_trimmed,
    test_leasing_serves_who_waits_before_it_grants,
    test_leasing_serves_who_waits_when_a_quota_refuses,
    test_leasing_serves_who_waits_when_a_quota_refuses_to_let_hold,
    test_leasing_serves_whom_a_more_important_one_overtook,
    test_leasing_refuses_none_behind_others_beside_free_slots,
    test_leasing_says_what_was_seen_by_whomever,
    test_leasing_tells_what_a_holder_allocated_not_what_it_caches,
    test_leasing_finds_what_a_dead_member_had_returned_without_a_hint,
    test_leasing_finds_it_when_it_was_its_own, test_leasing_finds_it_when_nobody_waits_yet,
    test_leasing_member_may_leave_whatever_it_was_doing,
    test_leasing_member_may_leave_while_others_free_what_it_has,
    test_leasing_operation_on_what_a_member_freed_is_refused,
    test_leasing_operation_may_lose_against_a_free, test_leasing_settling_may_lose_against_a_free,
    test_leasing_operation_on_what_is_detached_may_lose_too,
    test_leasing_member_frees_what_was_detached_or_adopted, test_leasing_batch_is_all_or_nothing,
    test_leasing_refuses_evictable_objects, test_leasing_quota_refuses_once_caches_are_taken_back,
    test_leasing_quota_of_the_user_takes_back_caches_of_other_sessions,
    test_leasing_quota_lets_hold_and_adopt_once_caches_are_taken_back,
    test_leasing_quota_may_find_that_the_object_is_gone, test_leasing_pool_grows_once_all_is_live,
    test_leasing_pool_grows_ahead_of_grants, test_leasing_pool_that_is_grown_serves_who_waits,
    test_leasing_trim_takes_back_what_is_cached, test_leasing_busy_pool_is_not_trimmed,
    test_leasing_busy_pool_is_looked_at_now_and_then,
    test_leasing_slot_whose_generations_are_used_up_is_out_of_use,
    test_leasing_slot_that_was_only_cached_is_not_used_up,
    test_leasing_retired_slot_serves_nobody_who_waits, test_leasing_totals_are_exact_after_a_sweep,
    test_leasing_usage_and_ages_are_what_sweeps_saw,
    test_leasing_tells_no_time_of_what_came_and_went_between_looks,
    test_leasing_object_that_took_the_place_of_another_is_new,
    test_leasing_held_for_too_long_is_what_still_is,
    test_leasing_word_of_what_is_held_for_too_long_may_be_damaged,
    test_leasing_glances_at_many_slots_now_and_then, test_leasing_glances_at_few_slots_each_time,
    test_leasing_looks_by_itself_only_while_somebody_has_it_mapped,
    test_leasing_looks_less_often_while_nothing_is_new, test_leasing_look_finds_what_nobody_told_of,
    test_leasing_pool_can_be_destroyed_under_its_members,
    test_leasing_who_waits_hears_that_the_pool_is_destroyed,
    test_leasing_free_is_seen_or_told_whenever_somebody_begins_to_wait,
    test_leasing_free_is_seen_or_told_in_a_pool_that_is_tight_already,
    test_leasing_free_is_seen_or_told_whenever_somebody_waits_anew,
    test_leasing_hint_is_seen_or_stays, test_leasing_cached_slot_is_taken_back_or_allocated,
    test_leasing_slot_of_a_biased_thread_is_taken_back_or_allocated,
    test_leasing_slot_that_a_biased_thread_begins_to_allocate_is_its_own,
    test_leasing_object_of_a_biased_thread_is_freed_by_it_or_had_by_others,
    test_leasing_member_leaves_whatever_others_free_meanwhile)
