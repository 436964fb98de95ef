/* SPDX-License-Identifier: MIT */
#include "daemon/demand.h"

#include "tests/unit/broker_case.h"

/* ---- Order ----------------------------------------------------------------------------------- */

START_TEST(test_demand_serves_by_priority_then_by_age)
{
    static const uint32_t priorities[] = {BEST_EFFORT, NORMAL,      CRITICAL,
                                          NORMAL,      BEST_EFFORT, CRITICAL};
    static const uint32_t order[] = {2, 5, 1, 3, 0, 4};
    take(alice, pool, CAPACITY);
    for (uint32_t i = 0; i < 6; i++)
        WAITS(i % 2 ? alice : bob, pool, i, .timeout = FOREVER, .priority = priorities[i]);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        ck_assert(give_back(pool, i, 1));
        ck_assert_uint_eq(answer_count, i + 1);
    }
    for (uint32_t i = 0; i < CAPACITY; i++)
        check_answer(i, order[i] % 2 ? "alice" : "bob", order[i], ERROR_NONE);
    memcpy(held, whole[0].handles, HANDLE_WIRE_SIZE);
    memcpy(held + HANDLE_WIRE_SIZE, whole[1].handles, HANDLE_WIRE_SIZE);
    ck_assert(give_back(pool, 0, 2));
    check_answer(4, "bob", 0, ERROR_NONE);
    check_answer(5, "bob", 4, ERROR_NONE);
}
END_TEST

START_TEST(test_demand_lets_no_small_request_of_its_priority_or_below_overtake)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1);
    ck_assert_uint_eq(error.waiters, 1);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1, .priority = BEST_EFFORT);
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
    WAITS(alice, pool, 3, .count = 1, .timeout = FOREVER, .priority = BEST_EFFORT);
    ck_assert_uint_eq(pool_usage(pool), CAPACITY - 1); /* one is free all the time */
    ck_assert(give_back(pool, 0, 1));
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(answers[0].count, 2);
}
END_TEST

START_TEST(test_demand_lets_what_is_more_important_overtake)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER, .priority = BEST_EFFORT);
    GETS(alice, pool, 0, .count = 1); /* the last free one */
    WAITS(bob, pool, 2, .count = 2, .timeout = FOREVER);
    ck_assert(give_back(pool, 0, 1));
    GETS(alice, pool, 0, .count = 1, .priority = CRITICAL);
    ck_assert_uint_eq(answer_count, 0);
    ck_assert(give_back(pool, 1, 2));
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 2, ERROR_NONE);
}
END_TEST

START_TEST(test_demand_waits_behind_a_more_important_one)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER, .priority = CRITICAL);
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1, .priority = BEST_EFFORT);
    WAITS(alice, pool, 3, .count = 1, .timeout = FOREVER, .priority = CRITICAL);
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 0, NULL), 1);
    demand_serve(&broker, pool);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 1); /* the critical one; then there is no room */
    check_answer(0, "alice", 3, ERROR_NONE);
}
END_TEST

START_TEST(test_demand_is_for_all_or_nothing)
{
    take(alice, pool, 2);
    struct layout_counters before = pool->ctl->counters;
    for (uint32_t count = 3; count <= CAPACITY; count++)
        REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .count = count);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert_uint_eq(session_usage(bob), 0);
    before.allocation_failures += 2; /* and nothing else changed, but for how often */
    before.sequence = pool->ctl->counters.sequence;
    ck_assert_mem_eq(&before, &pool->ctl->counters, sizeof(before));
    take(bob, pool, 2);
}
END_TEST

START_TEST(test_demand_of_thousands_is_served_in_order)
{
    enum { SESSIONS = 10, EACH = 1000, ALL = SESSIONS * EACH, SLOTS = 2000 };
    struct pool *big = MAKE(.name = "big", .capacity = SLOTS, .watermark = "off");
    struct session *others[SESSIONS];
    static char names[SESSIONS][8];
    static uint32_t expected[PRIORITIES][ALL];
    uint32_t counts[PRIORITIES] = {0}, next[PRIORITIES] = {0};
    static uint8_t mine[2][SLOTS * HANDLE_WIRE_SIZE];

    join(alice, big);
    for (unsigned i = 0; i < SESSIONS; i++) {
        snprintf(names[i], sizeof(names[i]), "s%u", i);
        others[i] = begin(names[i], false);
        join(others[i], big);
    }
    take(alice, big, SLOTS);
    memcpy(mine[0], held, sizeof(mine[0]));
    for (uint32_t i = 0; i < ALL; i++) { /* all asked before any is served */
        uint32_t priority = i * 7 % 3;
        ck_assert_int_eq(
            ASK_UNCHECKED(others[i % SESSIONS], big, i, .timeout = FOREVER, .priority = priority),
            BROKER_WAITS);
        expected[priority][counts[priority]++] = i;
    }
    broker_check(&broker);
    ck_assert_uint_eq(broker.waiter_count, ALL);

    static const uint32_t rank[] = {CRITICAL, NORMAL, BEST_EFFORT};
    uint32_t class = 0;
    for (size_t served = 0; served < ALL;) { /* it is freed again by whom it was given to */
        static uint8_t given[SLOTS * HANDLE_WIRE_SIZE];
        memcpy(given, mine[0], sizeof(given));
        for (uint32_t i = 0; i < SLOTS; i++) {
            memcpy(held, given + (size_t)i * HANDLE_WIRE_SIZE, HANDLE_WIRE_SIZE);
            ck_assert(
                pool_operate(big, POOL_FREE, member_of(alice, big), held, 1, broker.now, &error));
            demand_serve(&broker, big);
            memcpy(mine[0] + (size_t)i * HANDLE_WIRE_SIZE, broker.served, HANDLE_WIRE_SIZE);
        }
        broker_check(&broker);
        served += SLOTS;
        ck_assert_uint_eq(answer_count, served);
    }
    for (uint32_t i = 0; i < ALL; i++) {
        while (next[rank[class]] == counts[rank[class]])
            class ++;
        uint32_t number = expected[rank[class]][next[rank[class]]++];
        check_answer(i, names[number % SESSIONS], number, ERROR_NONE);
    }
}
END_TEST

/* ---- Time ------------------------------------------------------------------------------------ */

START_TEST(test_demand_times_out_at_the_number_and_never_before)
{
    take(alice, pool, CAPACITY);
    for (int64_t timeout = 1; timeout <= 1000; timeout++)
        ck_assert_int_eq(ASK_UNCHECKED(bob, pool, (uint32_t)timeout, .timeout = timeout),
                         BROKER_WAITS);
    for (int64_t now = 1; now <= 1000; now++) {
        ck_assert_int_eq(broker_next_deadline(&broker), now);
        broker_set_time(&broker, now - 1);
        broker_pass_time(&broker);
        ck_assert_uint_eq(answer_count, (size_t)now - 1);
        broker_set_time(&broker, now);
        broker_pass_time(&broker);
        check_answer((size_t)now - 1, "bob", (uint32_t)now, ERROR_TIMEOUT);
    }
    broker_check(&broker);
    ck_assert_uint_eq(pool->ctl->counters.timeouts, 1000);
    ck_assert_uint_eq(pool->ctl->counters.waits.max, 1000);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_demand_time_does_not_go_back)
{
    take(alice, pool, CAPACITY);
    broker_set_time(&broker, 500);
    broker_set_time(&broker, 100);
    WAITS(bob, pool, 1, .timeout = 10);
    ck_assert_int_eq(broker_next_deadline(&broker), 510);
}
END_TEST

START_TEST(test_demand_timeout_of_the_first_serves_the_next_and_says_who_holds)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = 10);
    WAITS(bob, pool, 2, .count = 1, .timeout = 10);
    pass_to(10);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    ck_assert_uint_eq(whole[0].error.waiters, 1);
    ck_assert_uint_eq(whole[0].error.requested, 2);
    ck_assert_uint_eq(whole[0].error.allocated, CAPACITY - 1);
    ck_assert_ptr_nonnull(strstr(whole[0].error.holders, "'alice'"));
    check_answer(1, "bob", 2, ERROR_NONE); /* in time, though it was due as well */
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_demand_without_a_timeout_is_refused_at_once)
{
    take(alice, pool, CAPACITY);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .timeout = 0);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .timeout = 0, .priority = CRITICAL);
    ck_assert_uint_eq(broker.waiter_count, 0);
    ck_assert_uint_eq(pool->ctl->counters.total_waits, 0);
}
END_TEST

/* ---- Without a timeout, while the pool grows ------------------------------------------------- */

static struct pool *make_growing(void)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = MIB, .capacity = 1,
                                .capacity_max = 13, .growth = "linear:6", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 1);
    return growing;
}

START_TEST(test_demand_without_a_timeout_waits_for_a_growth)
{
    struct pool *growing = make_growing();
    WAITS(bob, growing, 1, .timeout = 0);
    WAITS(alice, growing, 2, .timeout = 0); /* though one is in front */
    WAITS(alice, growing, 3, .timeout = 0, .priority = BEST_EFFORT);
    ck_assert_uint_eq(job_count, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    pass_to(INT64_C(1) << 60);
    ck_assert_uint_eq(answer_count, 0);
    do_job();
    check_answer(0, "bob", 1, ERROR_NONE);
    check_answer(1, "alice", 2, ERROR_NONE);
    check_answer(2, "alice", 3, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(growing), 7);
}
END_TEST

START_TEST(test_demand_without_a_timeout_is_refused_when_the_growth_fails)
{
    struct pool *growing = make_growing();
    WAITS(bob, growing, 1, .timeout = 0);
    WAITS(alice, growing, 2, .timeout = 100);
    WAITS(bob, growing, 3, .timeout = 0);
    test_shm_fill(0);
    do_job();
    ck_assert_uint_eq(answer_count, 2);
    check_answer(0, "bob", 1, ERROR_SHARED_MEMORY_FULL);
    check_answer(1, "bob", 3, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_ge(whole[0].error.needed, 6 * MIB);
    ck_assert_uint_lt(whole[0].error.available, 6 * MIB);
    ck_assert_uint_eq(growing->ctl->counters.allocation_failures, 2);
    ck_assert_uint_eq(job_count, 0); /* it isn't tried again at once */
    test_shm_unfill();
    pass_to(100);
    check_answer(2, "alice", 2, ERROR_TIMEOUT);
}
END_TEST

/* The growth fails for many; those behind want so little that there is room. */
START_TEST(test_demand_behind_a_request_that_a_growth_failed_is_served)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = MIB, .capacity = 2,
                                .capacity_max = 13, .growth = "linear:6", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 1);
    WAITS(bob, growing, 1, .count = 2, .timeout = 0);
    WAITS(alice, growing, 2, .count = 1, .timeout = FOREVER);
    test_shm_fill(0);
    do_job();
    check_answer(0, "bob", 1, ERROR_SHARED_MEMORY_FULL);
    check_answer(1, "alice", 2, ERROR_NONE);
    test_shm_unfill();
}
END_TEST

START_TEST(test_demand_that_the_growth_is_not_enough_for_is_refused)
{
    struct pool *growing = make_growing();
    WAITS(alice, growing, 1, .timeout = 0);
    WAITS(bob, growing, 2, .count = 13, .timeout = 0);
    do_job();
    check_answer(0, "alice", 1, ERROR_NONE);
    check_answer(1, "bob", 2, ERROR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(whole[1].error.current, 7);
    ck_assert_uint_eq(whole[1].error.requested, 15);
    ck_assert_uint_eq(whole[1].error.max, 13);
    ck_assert_uint_eq(broker.waiter_count, 0);
}
END_TEST

/* It may even be begun again, for the next in the queue: it is waited for as well. */
START_TEST(test_demand_without_a_timeout_waits_for_growth_after_growth)
{
    struct pool *growing = make_growing();
    WAITS(bob, growing, 1, .count = 6, .timeout = FOREVER);
    WAITS(alice, growing, 2, .count = 6, .timeout = 0);
    do_job();
    ck_assert_uint_eq(answer_count, 1);
    ck_assert_uint_eq(job_count, 1);
    do_job();
    check_answer(1, "alice", 2, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(growing), 13);
}
END_TEST

START_TEST(test_demand_is_served_by_what_is_freed_while_the_pool_grows)
{
    struct pool *growing = make_growing();
    WAITS(bob, growing, 1, .timeout = 0);
    ck_assert(give_back(growing, 0, 1));
    check_answer(0, "bob", 1, ERROR_NONE);
    do_job();
    ck_assert_uint_eq(pool_capacity(growing), 7);
}
END_TEST

/* ---- Room ------------------------------------------------------------------------------------ */

START_TEST(test_demand_leaves_what_is_reserved)
{
    struct pool *kept = MAKE(.name = "kept", .capacity = 10, .reserve_critical = 2,
                             .reserve_normal = 3, .watermark = "off");
    join(alice, kept);
    join(bob, kept);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, kept, 0, .count = 6, .priority = BEST_EFFORT);
    ck_assert_uint_eq(error.reserved, 5);
    ck_assert_uint_eq(error.allocated, 0);
    ck_assert_ptr_nonnull(strstr(error.message, "never has that many"));
    GETS(bob, kept, 0, .count = 5, .priority = BEST_EFFORT);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, kept, 0, .priority = BEST_EFFORT);
    ck_assert_uint_eq(error.reserved, 5);
    ck_assert_ptr_nonnull(strstr(error.message, "reserved"));
    GETS(bob, kept, 0, .count = 3);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, kept, 0, .count = 1);
    ck_assert_uint_eq(error.reserved, 2);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, kept, 0, .count = 9, .timeout = FOREVER); /* can never be */
    REFUSES(ERROR_POOL_EXHAUSTED, bob, kept, 0, .count = 3, .priority = CRITICAL);
    ck_assert_uint_eq(error.reserved, 0);
}
END_TEST

START_TEST(test_demand_reserved_serves_the_right_waiters)
{
    struct pool *kept = MAKE(.name = "kept", .capacity = 4, .reserve_critical = 1,
                             .reserve_normal = 1, .watermark = "off");
    join(alice, kept);
    join(bob, kept);
    GETS(alice, kept, 0, .count = 4, .priority = CRITICAL);
    memcpy(held, reply.handles.data, reply.handles.size);
    WAITS(bob, kept, 1, .timeout = FOREVER, .priority = BEST_EFFORT);
    WAITS(bob, kept, 2, .timeout = FOREVER);
    WAITS(bob, kept, 3, .timeout = FOREVER, .priority = CRITICAL);
    ck_assert(give_back(kept, 0, 1));
    check_answer(0, "bob", 3, ERROR_NONE);
    ck_assert(give_back(kept, 1, 1));
    ck_assert_uint_eq(answer_count, 1); /* one is free, for critical ones */
    ck_assert(give_back(kept, 2, 1));
    check_answer(1, "bob", 2, ERROR_NONE);
    ck_assert(give_back(kept, 3, 1));
    ck_assert_uint_eq(answer_count, 2);
    memcpy(held, whole[0].handles, HANDLE_WIRE_SIZE);
    ck_assert(give_back(kept, 0, 1));
    check_answer(2, "bob", 1, ERROR_NONE);
}
END_TEST

/* Without it a full pool gave the slot by which it grew, and that was to be reserved. */
START_TEST(test_demand_grows_by_what_is_reserved_too)
{
    struct pool *kept = MAKE(.name = "kept", .capacity = 4, .capacity_max = 8, .growth = "linear:1",
                             .reserve_critical = 2, .watermark = "off");
    join(alice, kept);
    GETS(alice, kept, 0, .count = 4, .priority = CRITICAL);
    GETS(alice, kept, 0, .count = 1);
    ck_assert_uint_eq(pool_capacity(kept), 7);
    GETS(alice, kept, 0, .count = 1);
    ck_assert_uint_eq(pool_capacity(kept), 8);
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, kept, 0, .count = 1);
    ck_assert_uint_eq(error.current, 8);
    ck_assert_uint_eq(error.requested, 9);
    ck_assert_uint_eq(error.max, 8);
    ck_assert_uint_eq(error.reserved, 2);
    GETS(alice, kept, 0, .count = 2, .priority = CRITICAL);
}
END_TEST

START_TEST(test_demand_says_by_how_much_the_maximum_is_exceeded)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 2, .capacity_max = 5,
                                .growth = "linear:2", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 5); /* exactly the maximum */
    ck_assert_uint_eq(pool_capacity(growing), 5);
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, growing, 0, .count = 1);
    ck_assert_uint_eq(error.current, 5);
    ck_assert_uint_eq(error.requested, 6);
    ck_assert_uint_eq(error.max, 5);
    ck_assert_uint_eq(error.allocated, 5);
    ck_assert_str_eq(error.pool, "growing");
    ck_assert_ptr_nonnull(strstr(error.message, "can't grow any more"));
    ck_assert(give_back(growing, 0, 2));
    WAITS(bob, growing, 1, .count = 3, .timeout = FOREVER);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, growing, 0, .count = 1); /* it isn't the maximum */
    ck_assert_ptr_nonnull(strstr(error.message, "others wait"));
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, growing, 0, .count = 6, .timeout = FOREVER);
    ck_assert_uint_eq(error.requested, 9);
    ck_assert_uint_eq(error.waiters, 1);
}
END_TEST

START_TEST(test_demand_above_a_growing_pools_maximum_does_not_make_it_grow)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 2, .capacity_max = 5,
                                .growth = "linear:2", .watermark = "off");
    join(alice, growing);
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, growing, 0, .count = 6);
    ck_assert_uint_eq(pool_capacity(growing), 2);
    GETS(alice, growing, 0, .count = 5);
}
END_TEST

/* ---- Eviction -------------------------------------------------------------------------------- */

START_TEST(test_demand_evicts_the_oldest_for_critical_ones_only)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    uint8_t evictable[CAPACITY][HANDLE_WIRE_SIZE];
    for (unsigned i = 0; i < 3; i++) {
        GETS(bob, pool, 0, .evictable = true);
        memcpy(evictable[i], reply.handles.data, HANDLE_WIRE_SIZE);
    }
    GETS(bob, pool, 0, .count = 1);
    memcpy(evictable[3], reply.handles.data, HANDLE_WIRE_SIZE); /* which isn't */
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .priority = NORMAL);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .priority = BEST_EFFORT);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 4, .priority = CRITICAL);
    ck_assert_uint_eq(pool->ctl->counters.evictions, 0);

    GETS(alice, pool, 0, .count = 2, .priority = CRITICAL);
    ck_assert_uint_eq(pool->ctl->counters.evictions, 2);
    ck_assert_uint_eq(session_usage(bob), 2);
    ck_assert_uint_eq(last_event(EVENT_EVICTED)->count, 2);
    for (unsigned i = 0; i < 4; i++) {
        memcpy(held, evictable[i], HANDLE_WIRE_SIZE);
        ck_assert_int_eq(give_back(pool, 0, 1), i >= 2); /* the first two are gone */
    }
}
END_TEST

START_TEST(test_demand_evicts_only_what_is_missing)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    GETS(bob, pool, 0, .count = 3, .evictable = true);
    GETS(alice, pool, 0, .count = 3, .priority = CRITICAL);
    ck_assert_uint_eq(pool->ctl->counters.evictions, 2);
    ck_assert_uint_eq(session_usage(bob), 1);
}
END_TEST

START_TEST(test_demand_evicts_nothing_that_is_shared_or_was_handed_on)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    GETS(bob, pool, 0, .count = CAPACITY, .evictable = true);
    memcpy(held, reply.handles.data, reply.handles.size);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2));
    ck_assert(operate(pool, POOL_ADOPT, 2, 1));
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 2, .priority = CRITICAL);
    GETS(alice, pool, 0, .count = 1, .priority = CRITICAL);
    ck_assert_uint_eq(pool->ctl->counters.evictions, 1);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1, .priority = CRITICAL);
}
END_TEST

/* The memory of one idle slot was given back and isn't there any more. */
START_TEST(test_demand_that_fails_evicts_nothing)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    struct pool *trimmed =
        MAKE(.name = "trimmed", .object_size = MIB, .capacity = 2, .watermark = "off");
    join(alice, trimmed);
    join(bob, trimmed);
    GETS(bob, trimmed, 0, .evictable = true);
    ck_assert_uint_eq(broker_trim(&broker, trimmed), MIB);
    test_shm_fill(0);
    REFUSES(ERROR_SHARED_MEMORY_FULL, alice, trimmed, 0, .count = 2, .priority = CRITICAL);
    ck_assert_uint_eq(session_usage(bob), 1);
    ck_assert_uint_eq(trimmed->ctl->counters.evictions, 0);
    ck_assert_ptr_null(last_event(EVENT_EVICTED));
    test_shm_unfill();
    GETS(alice, trimmed, 0, .count = 2, .priority = CRITICAL);
    ck_assert_uint_eq(session_usage(bob), 0);
}
END_TEST

START_TEST(test_demand_grows_rather_than_evicts)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    struct pool *growing = MAKE(.name = "growing", .capacity = 1, .capacity_max = 2,
                                .growth = "linear:1", .watermark = "off");
    join(alice, growing);
    GETS(alice, growing, 0, .evictable = true);
    GETS(alice, growing, 0, .priority = CRITICAL);
    ck_assert_uint_eq(growing->ctl->counters.evictions, 0);
    GETS(alice, growing, 0, .priority = CRITICAL);
    ck_assert_uint_eq(growing->ctl->counters.evictions, 1);
}
END_TEST

START_TEST(test_demand_evicts_when_a_growth_fails)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    struct pool *growing = MAKE(.name = "growing", .object_size = MIB, .capacity = 1,
                                .capacity_max = 10, .growth = "linear:8", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    GETS(bob, growing, 0, .evictable = true);
    WAITS(alice, growing, 1, .priority = CRITICAL);
    test_shm_fill(0);
    do_job();
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(growing->ctl->counters.evictions, 1);
    test_shm_unfill();
}
END_TEST

/* ---- Cancelling ------------------------------------------------------------------------------ */

START_TEST(test_demand_cancels_one_or_all)
{
    struct pool *other = MAKE(.name = "other", .capacity = 1, .watermark = "off");
    struct error cancelled;
    error_set(&cancelled, ERROR_CANCELLED, "so");
    join(bob, other);
    take(alice, pool, CAPACITY);
    GETS(bob, other, 0, .count = 1);
    WAITS(bob, pool, 1, .request = 1000, .timeout = 50);
    WAITS(bob, pool, 2, .request = 1001, .timeout = FOREVER);
    WAITS(alice, pool, 3, .request = 1000, .timeout = FOREVER);
    WAITS(bob, other, 4, .request = 1002, .timeout = FOREVER);
    WAITS(bob, pool, 5, .request = 1003, .timeout = FOREVER);
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 999, &cancelled), 0);
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 1002, &cancelled), 0); /* another pool's */
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 1000, &cancelled), 1);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_CANCELLED);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 0, &cancelled), 2);
    ck_assert_uint_eq(demand_cancel(&broker, bob, pool, 0, &cancelled), 0);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 3);
    ck_assert_uint_eq(broker.waiter_count, 2);
    ck_assert_uint_eq(demand_cancel(&broker, bob, NULL, 0, NULL), 1);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 3); /* nobody is told */
}
END_TEST

static struct settle_reply settle(struct session *session, uint64_t first, uint64_t second)
{
    const uint64_t sorted[] = {first, second};
    const struct numbers named = {sorted, 2};
    struct settle_reply settled;
    demand_settle(&broker, session, &named, &settled);
    broker_check(&broker);
    return settled;
}

START_TEST(test_demand_settles_what_was_granted_and_what_waits)
{
    struct pool *other = MAKE(.name = "other", .capacity = 3, .watermark = "off");
    join(alice, other);
    GETS(alice, pool, 0, .request = 1000, .count = 1);
    GETS(alice, pool, 0, .request = 1001, .count = 2);
    GETS(alice, other, 0, .request = 1001, .count = 2);
    GETS(bob, pool, 0, .request = 1001, .count = 1);
    WAITS(alice, pool, 1, .request = 1002, .count = 3, .timeout = 50);
    WAITS(bob, pool, 2, .request = 1002, .count = 2, .timeout = FOREVER);

    struct settle_reply settled = settle(alice, 1001, 1002);
    ck_assert_uint_eq(settled.freed, 4);
    ck_assert_uint_eq(settled.cancelled, 1);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 2, ERROR_NONE);
    ck_assert_uint_eq(pool_held(pool, member_of(alice, pool)), 1);
    ck_assert_uint_eq(pool_held(pool, member_of(bob, pool)), 3);
    ck_assert_uint_eq(pool_usage(other), 0);

    settled = settle(alice, 1001, 1002);
    ck_assert_uint_eq(settled.freed + settled.cancelled, 0);
}
END_TEST

START_TEST(test_demand_settles_nothing_that_changed_hands)
{
    take(alice, pool, CAPACITY);
    uint64_t request = requests;
    ck_assert(operate(pool, POOL_DETACH, 0, 1));
    ck_assert(operate(pool, POOL_RETAIN, 1, 1));
    ck_assert(pool_operate(pool, POOL_ADOPT, member_of(bob, pool),
                           held + (size_t)2 * HANDLE_WIRE_SIZE, 1, broker.now, &error));
    ck_assert_uint_eq(settle(alice, 0, request).freed, CAPACITY - 3);
    ck_assert_uint_eq(pool_usage(pool), 3);
}
END_TEST

START_TEST(test_demand_settles_one_that_waits_for_a_growth)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = 1 << 20, .capacity = 1,
                                .capacity_max = 8, .growth = "linear:7", .watermark = "off");
    join(alice, growing);
    GETS(alice, growing, 0, .count = 1);
    WAITS(alice, growing, 1, .request = 1000, .count = 1);
    ck_assert_uint_eq(settle(alice, 999, 1000).cancelled, 1);
    do_job();
    ck_assert_uint_eq(answer_count, 0);
    ck_assert_uint_eq(pool_usage(growing), 1);
}
END_TEST

/* ---- Quotas ---------------------------------------------------------------------------------- */

START_TEST(test_demand_counts_what_waits_against_the_sessions_quota)
{
    struct pool *limited =
        MAKE(.name = "limited", .capacity = 4, .session_slots = 3, .watermark = "off");
    join(alice, limited);
    join(bob, limited);
    take(alice, limited, 3); /* at the limit */
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, limited, 0, .count = 1, .timeout = FOREVER);
    ck_assert_str_eq(error.field, "session_slots");
    ck_assert_uint_eq(error.requested, 1);
    ck_assert_uint_eq(error.allocated, 3);
    ck_assert_uint_eq(error.max, 3);
    WAITS(bob, limited, 1, .count = 2, .timeout = 10);
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, limited, 0, .count = 2, .timeout = FOREVER);
    ck_assert_uint_eq(error.allocated, 2);
    WAITS(bob, limited, 2, .count = 1, .timeout = FOREVER);
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, limited, 0, .count = 1);
    pass_to(10); /* the charge of what timed out is given back; the other one is served */
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    check_answer(1, "bob", 2, ERROR_NONE);
    WAITS(bob, limited, 3, .count = 2, .timeout = FOREVER);
    ck_assert_uint_eq(demand_cancel(&broker, bob, limited, 0, NULL), 1);
    WAITS(bob, limited, 4, .count = 2, .timeout = FOREVER);
    ck_assert(give_back(limited, 0, 3));
    check_answer(2, "bob", 4, ERROR_NONE);
    ck_assert_uint_eq(session_usage(bob), 3);
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, limited, 0, .count = 1);
}
END_TEST

START_TEST(test_demand_counts_a_users_sessions_together)
{
    struct pool *limited =
        MAKE(.name = "limited", .capacity = 8, .user_slots = 3, .watermark = "off");
    static char carol_name[] = "carol";
    struct session *carol = begin_as(carol_name, false, peer.uid + 1);
    join(alice, limited);
    join(bob, limited);
    join(carol, limited);
    take(alice, limited, 2);
    REFUSES(ERROR_QUOTA_EXCEEDED, bob, limited, 0, .count = 2);
    ck_assert_str_eq(error.field, "user_slots");
    GETS(bob, limited, 0, .count = 1);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, limited, 0, .count = 1);
    GETS(carol, limited, 0, .count = 3);
    end(&bob);
    GETS(alice, limited, 0, .count = 1);
}
END_TEST

START_TEST(test_demand_refused_charges_nothing)
{
    struct pool *limited =
        MAKE(.name = "limited", .capacity = 4, .session_slots = 5, .watermark = "off");
    join(alice, limited);
    for (unsigned i = 0; i < 3; i++)
        REFUSES(ERROR_POOL_EXHAUSTED, alice, limited, 0, .count = 5, .timeout = FOREVER);
    take(alice, limited, 4);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, limited, 0, .count = 1);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, limited, 0, .count = 2);
}
END_TEST

START_TEST(test_demand_has_a_limit_of_a_users_waiting_requests)
{
    broker.users.max[USER_WAITERS] = 2;
    static char carol_name[] = "carol";
    struct session *carol = begin_as(carol_name, false, 4000); /* a new user */
    join(carol, pool);
    take(alice, pool, CAPACITY);
    WAITS(carol, pool, 1, .timeout = FOREVER);
    WAITS(carol, pool, 2, .timeout = 5);
    REFUSES(ERROR_QUOTA_EXCEEDED, carol, pool, 0, .timeout = FOREVER);
    ck_assert_str_eq(error.field, "waiters");
    ck_assert_uint_eq(error.max, 2);
    pass_to(5);
    WAITS(carol, pool, 3, .timeout = FOREVER);
    WAITS(bob, pool, 4, .timeout = FOREVER);
}
END_TEST

/* ---- Lost wake-ups --------------------------------------------------------------------------- */

/* While the growth had failed one waits; then another one, who may overtake, makes it grow. */
START_TEST(test_demand_serves_who_waited_when_the_pool_grows_for_another)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = 4096, .capacity = 1,
                                .capacity_max = 100, .growth = "linear:8", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 1);
    test_shm_fill(0);
    WAITS(bob, growing, 1, .timeout = FOREVER);
    test_shm_unfill();
    GETS(alice, growing, 0, .count = 2, .priority = CRITICAL);
    uint8_t first[HANDLE_WIRE_SIZE];
    memcpy(first, reply.handles.data, sizeof(first)); /* the reply isn't the other one's */
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_mem_ne(first, whole[0].handles, sizeof(first));
    memcpy(held, first, sizeof(first));
    ck_assert_uint_eq(session_usage(alice), 3);
}
END_TEST

START_TEST(test_demand_serves_who_waited_when_the_pool_grows_ahead)
{
    struct pool *growing =
        MAKE(.name = "growing", .object_size = 4096, .capacity = 2, .capacity_max = 100,
             .growth = "linear:8", .grow_ahead = 1, .reserve_critical = 1, .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    test_shm_fill(0);
    GETS(alice, growing, 0, .count = 1);
    WAITS(bob, growing, 1, .timeout = FOREVER);
    test_shm_unfill();
    GETS(alice, growing, 0, .count = 1, .priority = CRITICAL); /* what is reserved */
    check_answer(0, "bob", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_demand_that_cannot_be_made_ready_is_refused_and_the_rest_goes_on)
{
    struct pool *trimmed =
        MAKE(.name = "trimmed", .object_size = MIB, .capacity = 3, .watermark = "off");
    join(alice, trimmed);
    join(bob, trimmed);
    take(alice, trimmed, 2);
    ck_assert_uint_eq(broker_trim(&broker, trimmed), MIB);
    WAITS(bob, trimmed, 1, .count = 2, .timeout = FOREVER);
    WAITS(bob, trimmed, 2, .count = 1, .timeout = FOREVER);
    test_shm_fill(0);
    ck_assert(give_back(trimmed, 0, 1));
    check_answer(0, "bob", 1, ERROR_SHARED_MEMORY_FULL);
    check_answer(1, "bob", 2, ERROR_NONE); /* the slot that was freed has its memory */
    test_shm_unfill();
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

START_TEST(test_demand_check_notices_what_is_not_charged)
{
    struct pool *other = MAKE(.name = "other", .capacity = 2, .watermark = "off");
    join(bob, other);
    take(alice, pool, CAPACITY);
    GETS(bob, other, 0, .count = 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    struct waiter *waiter = waitqueue_first(&pool->waiters);
    NOTICES(waiter->slots.session.amount, 1);
    NOTICES(waiter->member, member_of(alice, pool));
    NOTICES(pool->accounts[member_of(bob, pool)]->quota.used, 0);
    NOTICES(pool->accounts[member_of(alice, pool)]->held.user.amount, 3);
    NOTICES(pool->waiters.count, 2);
    NOTICES(pool->ctl->counters.waiters, 0);
    NOTICES(pool->counted.amount, 0);
    NOTICES(pool->bytes.amount, 0);
}
END_TEST

SUITE_MAIN_WITH(
    "demand", broker_set_up, broker_tear_down, test_demand_serves_by_priority_then_by_age,
    test_demand_lets_no_small_request_of_its_priority_or_below_overtake,
    test_demand_lets_what_is_more_important_overtake, test_demand_waits_behind_a_more_important_one,
    test_demand_is_for_all_or_nothing, test_demand_of_thousands_is_served_in_order,
    test_demand_times_out_at_the_number_and_never_before, test_demand_time_does_not_go_back,
    test_demand_timeout_of_the_first_serves_the_next_and_says_who_holds,
    test_demand_without_a_timeout_is_refused_at_once,
    test_demand_without_a_timeout_waits_for_a_growth,
    test_demand_without_a_timeout_is_refused_when_the_growth_fails,
    test_demand_behind_a_request_that_a_growth_failed_is_served,
    test_demand_that_the_growth_is_not_enough_for_is_refused,
    test_demand_without_a_timeout_waits_for_growth_after_growth,
    test_demand_is_served_by_what_is_freed_while_the_pool_grows,
    test_demand_leaves_what_is_reserved, test_demand_reserved_serves_the_right_waiters,
    test_demand_grows_by_what_is_reserved_too, test_demand_says_by_how_much_the_maximum_is_exceeded,
    test_demand_above_a_growing_pools_maximum_does_not_make_it_grow,
    test_demand_evicts_the_oldest_for_critical_ones_only, test_demand_evicts_only_what_is_missing,
    test_demand_evicts_nothing_that_is_shared_or_was_handed_on,
    test_demand_that_fails_evicts_nothing, test_demand_grows_rather_than_evicts,
    test_demand_evicts_when_a_growth_fails, test_demand_cancels_one_or_all,
    test_demand_settles_what_was_granted_and_what_waits,
    test_demand_settles_nothing_that_changed_hands, test_demand_settles_one_that_waits_for_a_growth,
    test_demand_counts_what_waits_against_the_sessions_quota,
    test_demand_counts_a_users_sessions_together, test_demand_refused_charges_nothing,
    test_demand_has_a_limit_of_a_users_waiting_requests,
    test_demand_serves_who_waited_when_the_pool_grows_for_another,
    test_demand_serves_who_waited_when_the_pool_grows_ahead,
    test_demand_that_cannot_be_made_ready_is_refused_and_the_rest_goes_on,
    test_demand_check_notices_what_is_not_charged)
