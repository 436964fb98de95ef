/* SPDX-License-Identifier: MIT */
#include "daemon/growing.h"

#include <pthread.h>

#include "tests/unit/broker_case.h"

static struct pool_grow_reply grown;

static enum broker_outcome grow_checked(struct pool *of, struct session *session, uint32_t msgid,
                                        uint64_t capacity, uint64_t max)
{
    struct pool_grow_request request = {.capacity = capacity, .capacity_max = max};
    memset(&error, 0, sizeof(error));
    enum broker_outcome outcome =
        growing_request(&broker, session, of, &request, msgid, &grown, &error);
    ck_assert((outcome == BROKER_REFUSED) == (error.code != ERROR_NONE));
    broker_check(&broker);
    return outcome;
}

/* Of objects of a MiB, so that growing by more than 4 goes on beside the loop. */
static struct pool *make_big(uint64_t capacity, uint64_t max, const char *growth)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = capacity,
                            .capacity_max = max, .growth = growth, .watermark = "off");
    join(alice, big);
    join(bob, big);
    return big;
}

/* ---- Policies -------------------------------------------------------------------------------- */

/* Takes one after the other until it is refused; the capacities that the pool had. */
static void check_capacities(const char *growth, uint32_t max, const uint32_t *expected)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = expected[0], .capacity_max = max,
                                .growth = growth, .watermark = "off");
    join(alice, growing);
    unsigned step = 0;
    for (uint32_t used = 0; used < max; used++) {
        if (used == expected[step])
            step++;
        GETS(alice, growing, 0, .count = 1);
        ck_assert_uint_eq(pool_capacity(growing), expected[step]);
    }
    ck_assert_uint_eq(expected[step], max); /* used up exactly */
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, growing, 0, .count = 1);
    ck_assert_uint_eq(growing->ctl->counters.growth_count, step);
    ck_assert_uint_eq(count_events(EVENT_GROWN), step);
}

START_TEST(test_growing_is_linear)
{
    check_capacities("linear:3", 10, (const uint32_t[]){2, 5, 8, 10});
    ck_assert_uint_eq(last_event(EVENT_GROWN)->count, 2); /* cut off at the maximum */
}
END_TEST

START_TEST(test_growing_is_exponential)
{
    check_capacities("exponential:1.5", 20, (const uint32_t[]){2, 3, 4, 6, 9, 13, 19, 20});
}
END_TEST

START_TEST(test_growing_is_custom)
{
    check_capacities("custom:5,6,12", 15, (const uint32_t[]){2, 5, 6, 12, 15});
}
END_TEST

START_TEST(test_growing_none_never_does)
{
    check_capacities("linear:1", 4, (const uint32_t[]){4});
    struct pool *fixed = MAKE(.name = "fixed", .capacity = 2, .capacity_max = 9);
    join(alice, fixed);
    take(alice, fixed, 2);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, fixed, 0, .count = 1);
    ck_assert_uint_eq(pool_capacity(fixed), 2);
}
END_TEST

START_TEST(test_growing_takes_as_many_steps_as_the_request_needs)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 1, .capacity_max = 1000,
                                .growth = "linear:10", .watermark = "off");
    join(alice, growing);
    take(alice, growing, 95);
    ck_assert_uint_eq(pool_capacity(growing), 101);
    ck_assert_uint_eq(growing->ctl->counters.growth_count, 1);
}
END_TEST

START_TEST(test_growing_looks_ahead)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 10, .capacity_max = 30,
                                .growth = "linear:10", .grow_ahead = 4, .watermark = "off");
    join(alice, growing);
    take(alice, growing, 6);
    ck_assert_uint_eq(pool_capacity(growing), 10); /* 4 are left */
    GETS(alice, growing, 0, .count = 1);
    ck_assert_uint_eq(pool_capacity(growing), 20);
    GETS(alice, growing, 0, .count = 20); /* by 10 to serve it, and no more ahead of the maximum */
    ck_assert_uint_eq(pool_capacity(growing), 30);
    GETS(alice, growing, 0, .count = 3);
    REFUSES(ERROR_MAX_CAPACITY_EXCEEDED, alice, growing, 0, .count = 1);
}
END_TEST

START_TEST(test_growing_ahead_goes_on_beside_the_loop)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 2, .capacity_max = 20,
                            .growth = "linear:6", .grow_ahead = 1, .watermark = "off");
    join(alice, big);
    take(alice, big, 1);
    ck_assert_uint_eq(job_count, 0);
    GETS(alice, big, 0, .count = 1);
    ck_assert_uint_eq(job_count, 1);
    ck_assert_uint_eq(pool_capacity(big), 2);
    do_job();
    ck_assert_uint_eq(pool_capacity(big), 8);
    ck_assert_uint_eq(job_count, 0);
}
END_TEST

/* With no space at all it is seen only in the thread. */
START_TEST(test_growing_ahead_beside_the_loop_says_once_that_it_failed)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 4, .capacity_max = 20,
                            .growth = "linear:8", .grow_ahead = 4, .watermark = "off");
    join(alice, big);
    test_shm_fill(0);
    for (unsigned i = 0; i < 4; i++) {
        GETS(alice, big, 0, .count = 1);
        do_job();
    }
    ck_assert_uint_eq(count_events(EVENT_GROWTH_FAILED), 1);
    test_shm_unfill();
    demand_serve(&broker, big);
    do_job();
    ck_assert_uint_eq(pool_capacity(big), 12);
    test_shm_fill(0);
    GETS(alice, big, 0, .count = 8);
    do_job();
    ck_assert_uint_eq(count_events(EVENT_GROWTH_FAILED), 2);
    test_shm_unfill();
}
END_TEST

START_TEST(test_growing_ahead_says_once_that_it_cannot)
{
    struct pool *growing =
        MAKE(.name = "growing", .object_size = 4096, .capacity = 8, .capacity_max = 100,
             .growth = "linear:8", .grow_ahead = 8, .watermark = "off");
    join(alice, growing);
    test_shm_fill(0);
    for (unsigned i = 0; i < 4; i++)
        GETS(alice, growing, 0, .count = 1);
    ck_assert_uint_eq(count_events(EVENT_GROWTH_FAILED), 1);
    test_shm_unfill();
    GETS(alice, growing, 0, .count = 1);
    ck_assert_uint_eq(pool_capacity(growing), 16);
    test_shm_fill(0);
    GETS(alice, growing, 0, .count = 4);
    ck_assert_uint_eq(count_events(EVENT_GROWTH_FAILED), 2); /* again, since it went well between */
    test_shm_unfill();
}
END_TEST

/* ---- Beside the loop ------------------------------------------------------------------------- */

START_TEST(test_growing_a_little_is_done_at_once)
{
    struct pool *big = make_big(1, 20, "linear:1");
    take(alice, big, 1 + 3);
    ck_assert_uint_eq(job_count, 0);
    WAITS(alice, big, 1, .count = 8, .timeout = FOREVER);
    ck_assert_uint_eq(job_count, 1);
    do_job();
    ck_assert_uint_eq(pool_capacity(big), 12);
}
END_TEST

START_TEST(test_growing_at_the_limit_is_done_at_once_and_one_page_above_beside_the_loop)
{
    struct pool *pages = MAKE(.name = "pages", .object_size = 4096, .capacity = 1,
                              .capacity_max = 1200, .watermark = "off");
    const struct geometry *geometry = &pages->store.geometry;
    struct pool_grow_request request = {.capacity = 1};
    while (store_size(geometry, (uint32_t)request.capacity + 1) - store_size(geometry, 1) <=
           GROWING_AT_ONCE_MAX)
        request.capacity++;
    ck_assert_uint_eq(store_size(geometry, (uint32_t)request.capacity) - store_size(geometry, 1),
                      GROWING_AT_ONCE_MAX);
    ck_assert_int_eq(growing_request(&broker, alice, pages, &request, 1, &grown, &error),
                     BROKER_DONE);
    ck_assert_uint_eq(job_count, 0);
    broker_destroy_pool(&broker, pages);
    pages = MAKE(.name = "pages", .object_size = 4096, .capacity = 1, .capacity_max = 1200,
                 .watermark = "off");
    request.capacity++;
    ck_assert_int_eq(growing_request(&broker, alice, pages, &request, 1, &grown, &error),
                     BROKER_WAITS);
    ck_assert_uint_eq(job_count, 1);
    do_job();
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_growing_without_an_offload_is_done_at_once)
{
    struct pool *big = make_big(1, 20, "linear:1");
    offload_status = -ENOMEM; /* nobody takes the job */
    take(alice, big, 9);
    broker.rim.offload = NULL;
    GETS(alice, big, 0, .count = 9);
    ck_assert_uint_eq(pool_capacity(big), 18);
}
END_TEST

static void *run_in_thread(void *job)
{
    ((struct job *)job)->run(job);
    return NULL;
}

START_TEST(test_growing_in_a_thread_disturbs_nobody)
{
    struct pool *big = make_big(4, 40, "linear:30");
    pthread_t thread;
    take(alice, big, 4);
    WAITS(bob, big, 7, .count = 2, .timeout = FOREVER);
    ck_assert_uint_eq(job_count, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_in_thread, jobs[0]), 0);
    for (unsigned i = 0; i < 100; i++) { /* what there is goes on being used */
        take(alice, pool, CAPACITY);
        ck_assert(give_back(pool, 0, CAPACITY));
        WAITS(alice, big, 8, .timeout = 1 + i);
        ck_assert_uint_eq(demand_cancel(&broker, alice, big, 0, NULL), 1);
        ck_assert_uint_eq(pool_capacity(big), 4);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(answer_count, 0);
    finish_job();
    check_answer(0, "bob", 7, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(big), 34);
    ck_assert_uint_eq(broker.job_count, 0);
}
END_TEST

/* Objects that are freed and taken in a pool while it grows, evictable ones for the first time too. */
START_TEST(test_growing_in_a_thread_lets_the_pool_be_used)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    struct pool *big = make_big(4, 40, "linear:30");
    pthread_t thread;
    take(alice, big, 4);
    ck_assert_int_eq(grow_checked(big, bob, 1, 34, 0), BROKER_WAITS);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_in_thread, jobs[0]), 0);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(give_back(big, 0, 4));
        broker_trim(&broker, big);
        GETS(alice, big, 0, .count = 4, .evictable = i % 2);
        memcpy(held, reply.handles.data, reply.handles.size);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    finish_job();
    GETS(bob, big, 0, .count = 30, .evictable = true);
    GETS(alice, big, 0, .count = 32, .priority = CRITICAL);
    ck_assert_uint_eq(big->ctl->counters.evictions, 32);
}
END_TEST

START_TEST(test_growing_stops_when_the_pool_is_destroyed)
{
    struct pool *big = make_big(1, 20, "linear:8");
    take(alice, big, 1);
    WAITS(bob, big, 1, .timeout = FOREVER);
    WAITS(bob, big, 2, .timeout = 0);
    ck_assert_int_eq(grow_checked(big, alice, 3, 5, 0), BROKER_WAITS);
    unsigned files = test_shm_files();
    ck_assert_uint_eq(broker_destroy_pool(&broker, big), 1);
    broker_check(&broker);
    ck_assert_uint_eq(test_shm_files(), files - 3);
    check_answer(0, "bob", 1, ERROR_POOL_DESTROYED);
    check_answer(1, "bob", 2, ERROR_POOL_DESTROYED);
    check_answer(2, "alice", 3, ERROR_POOL_DESTROYED);
    ck_assert_int_eq(answers[2].method, METHOD_POOL_GROW);
    struct pool *again = MAKE(.name = "big", .capacity = 1); /* the name is free already */
    ck_assert_uint_eq(broker.job_count, 1);
    do_job();
    ck_assert_uint_eq(broker.job_count, 0);
    ck_assert_uint_eq(answer_count, 3);
    ck_assert_ptr_eq(broker_find_pool(&broker, "big"), again);
    ck_assert_uint_eq(test_shm_files(), files); /* the new one's three */
}
END_TEST

/* The growth was through, but the loop hadn't heard of it. */
START_TEST(test_growing_that_was_done_when_the_pool_is_destroyed_is_forgotten)
{
    struct pool *big = make_big(1, 20, "linear:8");
    unsigned files = test_shm_files();
    take(alice, big, 1);
    WAITS(bob, big, 1, .timeout = FOREVER);
    jobs[0]->run(jobs[0]);
    broker_destroy_pool(&broker, big);
    broker_check(&broker);
    finish_job();
    ck_assert_uint_eq(answer_count, 1);
    ck_assert_uint_eq(test_shm_files(), files - 3);
    ck_assert_ptr_null(last_event(EVENT_GROWN));
}
END_TEST

START_TEST(test_growing_in_a_thread_survives_that_the_pool_is_destroyed)
{
    unsigned files = test_shm_files();
    for (unsigned i = 0; i < 10; i++) {
        struct pool *big = make_big(1, 20, "linear:19");
        pthread_t thread;
        take(alice, big, 1);
        WAITS(bob, big, i, .timeout = 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_in_thread, jobs[0]), 0);
        for (unsigned j = 0; j < i * 10; j++) { /* somewhere in the middle */
            WAITS(bob, big, 0, .timeout = FOREVER);
            ck_assert_uint_eq(demand_cancel(&broker, bob, big, requests, NULL), 1);
        }
        broker_destroy_pool(&broker, big);
        broker_check(&broker);
        check_answer(i, "bob", i, ERROR_POOL_DESTROYED);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        finish_job();
        ck_assert_uint_eq(test_shm_files(), files);
        ck_assert_uint_eq(alice->user->quotas[USER_POOLS].used, 1);
        ck_assert_uint_eq(alice->user->quotas[USER_BYTES].used, pool->bytes.amount);
    }
}
END_TEST

/* It had failed; when all sessions have ended there would be memory, and nobody for the job. */
START_TEST(test_growing_ahead_does_not_begin_when_the_broker_ends)
{
    uint32_t pools, sessions;
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 4, .capacity_max = 20,
                            .growth = "linear:8", .grow_ahead = 5, .watermark = "off");
    join(bob, big);
    test_shm_fill(MIB);
    GETS(bob, big, 0, .count = 2);
    ck_assert_uint_eq(count_events(EVENT_GROWTH_FAILED), 1);
    test_shm_unfill();
    end(&alice);
    broker_refuse_all(&broker);
    broker_disconnect(&broker, bob);
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    ck_assert_uint_eq(job_count, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0); /* for the teardown */
}
END_TEST

START_TEST(test_growing_goes_on_when_its_sessions_are_gone)
{
    struct pool *big = make_big(1, 20, "linear:8");
    take(alice, big, 1);
    WAITS(bob, big, 1, .timeout = FOREVER);
    ck_assert_int_eq(grow_checked(big, bob, 2, 12, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 3, 9, 0), BROKER_WAITS);
    end(&bob);
    do_job();
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 3, ERROR_NONE);
    ck_assert_uint_eq(whole[0].grow.capacity, 9);
    ck_assert_uint_eq(job_count, 0);
}
END_TEST

START_TEST(test_growing_is_refused_when_the_instance_ends)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 1, .capacity_max = 20,
                            .growth = "linear:8", .grow_ahead = 1, .watermark = "off");
    join(alice, big);
    take(alice, big, 1); /* and it grows ahead */
    ck_assert_uint_eq(job_count, 1);
    WAITS(alice, big, 1, .timeout = 0);
    ck_assert_int_eq(grow_checked(big, alice, 2, 20, 0), BROKER_WAITS);
    broker_refuse_all(&broker);
    broker_check(&broker);
    check_answer(0, "alice", 1, ERROR_SHUTTING_DOWN);
    check_answer(1, "alice", 2, ERROR_SHUTTING_DOWN);
    test_shm_fill(0);
    do_job();
    test_shm_unfill();
    end(&alice);
    end(&bob);
    ck_assert_uint_eq(job_count, 0); /* nothing grows ahead any more */
}
END_TEST

/* ---- Requests to grow ------------------------------------------------------------------------ */

START_TEST(test_growing_by_request)
{
    struct pool *fixed = MAKE(.name = "fixed", .capacity = 2, .capacity_max = 9);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, 5, 0), BROKER_DONE);
    ck_assert_uint_eq(grown.capacity, 5);
    ck_assert_uint_eq(grown.capacity_max, 9);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, 3, 0), BROKER_DONE); /* it has more */
    ck_assert_uint_eq(grown.capacity, 5);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, 0, 0), BROKER_DONE);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, 9, 0), BROKER_DONE);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, 10, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(error.current, 9);
    ck_assert_uint_eq(error.requested, 10);
    ck_assert_uint_eq(error.max, 9);
    ck_assert_int_eq(grow_checked(fixed, alice, 0, UINT64_MAX, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_MAX_CAPACITY_EXCEEDED);
}
END_TEST

START_TEST(test_growing_raises_the_maximum_to_the_reserve_and_no_more)
{
    uint64_t reserve = pool->store.geometry.reserve;
    ck_assert_uint_gt(reserve, CAPACITY);
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, reserve + 1), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(error.current, CAPACITY);
    ck_assert_uint_eq(error.requested, reserve + 1);
    ck_assert_uint_eq(error.max, reserve);
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, UINT64_MAX), BROKER_REFUSED);
    ck_assert_uint_eq(pool_capacity_max(pool), CAPACITY);
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, CAPACITY + 2), BROKER_DONE);
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, CAPACITY + 1), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_INVALID_CAPACITY);
    ck_assert_uint_eq(error.capacity, CAPACITY + 1);
    ck_assert_uint_eq(error.max, reserve);
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, CAPACITY + 2), BROKER_DONE); /* the same */
    ck_assert_int_eq(grow_checked(pool, alice, 0, 0, reserve), BROKER_DONE);
    ck_assert_uint_eq(grown.capacity_max, reserve);
    ck_assert_int_eq(grow_checked(pool, alice, 0, reserve + 1, 0), BROKER_REFUSED);
}
END_TEST

START_TEST(test_growing_can_go_to_the_whole_reserve)
{
    struct pool *small = MAKE(.name = "small", .capacity = 2, .watermark = "off");
    uint64_t reserve = small->store.geometry.reserve;
    ck_assert_uint_lt(reserve, 100000);
    join(alice, small);
    ck_assert_int_eq(grow_checked(small, alice, 0, reserve, reserve), BROKER_DONE);
    for (uint64_t i = 0; i < reserve; i++)
        ck_assert_int_eq(ASK_UNCHECKED(alice, small, 0, .count = 1), BROKER_DONE);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, small, 0, .count = 1);
    ck_assert_uint_eq(pool_usage(small), reserve);
}
END_TEST

START_TEST(test_growing_serves_who_waits)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    WAITS(bob, pool, 2, .count = 1, .timeout = FOREVER);
    ck_assert_int_eq(grow_checked(pool, alice, 0, CAPACITY + 2, CAPACITY + 2), BROKER_DONE);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
}
END_TEST

/* The pool may grow by itself now, for those who waited since it had come to its maximum. */
START_TEST(test_growing_serves_who_waits_when_only_the_maximum_is_raised)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 2, .capacity_max = 3,
                                .growth = "linear:1", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 3);
    WAITS(bob, growing, 1, .count = 2, .timeout = FOREVER);
    ck_assert_int_eq(grow_checked(growing, alice, 0, 0, 4), BROKER_DONE);
    ck_assert_uint_eq(answer_count, 0);
    ck_assert_int_eq(grow_checked(growing, alice, 0, 0, 5), BROKER_DONE);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(growing), 5);
}
END_TEST

START_TEST(test_growing_serves_by_a_raised_maximum_though_it_failed)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = MIB, .capacity = 2,
                                .capacity_max = 2, .growth = "linear:1", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 2);
    WAITS(bob, growing, 1, .timeout = FOREVER);
    test_shm_fill(2 * MIB);
    ck_assert_int_eq(grow_checked(growing, alice, 0, 6, 6), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_eq(pool_capacity_max(growing), 6);
    check_answer(0, "bob", 1, ERROR_NONE);
    test_shm_unfill();
}
END_TEST

START_TEST(test_growing_by_several_requests_one_after_the_other)
{
    struct pool *big = make_big(1, 40, "none");
    take(alice, big, 1);
    ck_assert_int_eq(grow_checked(big, alice, 1, 8, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, bob, 2, 20, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, bob, 3, 5, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 4, 21, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 0, 1, 0), BROKER_DONE);
    ck_assert_uint_eq(job_count, 1);
    do_job();
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_uint_eq(whole[0].grow.capacity, 8);
    ck_assert_uint_eq(job_count, 1); /* for the next one */
    do_job();
    ck_assert_uint_eq(answer_count, 4);
    check_answer(1, "bob", 2, ERROR_NONE);
    check_answer(2, "bob", 3, ERROR_NONE);
    check_answer(3, "alice", 4, ERROR_NONE);
    ck_assert_uint_eq(whole[1].grow.capacity, 20);
    ck_assert_uint_eq(whole[2].grow.capacity, 20);
    ck_assert_uint_eq(whole[3].grow.capacity, 21); /* by one MiB, at once */
}
END_TEST

START_TEST(test_growing_that_fails_refuses_only_who_wanted_as_much)
{
    struct pool *big = make_big(1, 40, "none");
    ck_assert_int_eq(grow_checked(big, alice, 1, 30, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, bob, 2, 3, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 3, 40, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 4, 10, 0), BROKER_WAITS);
    test_shm_fill(12 * MIB);
    do_job();
    check_answer(0, "alice", 1, ERROR_SHARED_MEMORY_FULL);
    check_answer(1, "bob", 2, ERROR_NONE);
    check_answer(2, "alice", 3, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_eq(answer_count, 3);
    do_job();
    check_answer(3, "alice", 4, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(big), 10);
    test_shm_unfill();
}
END_TEST

START_TEST(test_growing_counts_among_the_waiting_requests)
{
    struct pool *big = make_big(1, 40, "none");
    for (unsigned i = 0; i < BROKER_SESSION_WAITERS; i++)
        ck_assert_int_eq(grow_checked(big, alice, i, 30, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, alice, 99, 30, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, BROKER_SESSION_WAITERS);
    bob->user->quotas[USER_WAITERS].max = BROKER_SESSION_WAITERS + 1; /* of both */
    ck_assert_int_eq(grow_checked(big, bob, 1, 30, 0), BROKER_WAITS);
    ck_assert_int_eq(grow_checked(big, bob, 2, 30, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_str_eq(error.field, "waiters");
    ck_assert_uint_eq(error.allocated, BROKER_SESSION_WAITERS + 1);
    end(&bob);
    ck_assert_uint_eq(broker.waiter_count, BROKER_SESSION_WAITERS);
    do_job();
    ck_assert_uint_eq(answer_count, BROKER_SESSION_WAITERS);
    ck_assert_uint_eq(broker.waiter_count, 0);
}
END_TEST

START_TEST(test_growing_that_nobody_may_wait_for_is_not_begun)
{
    struct pool *big = make_big(1, 40, "none");
    bob->user->quotas[USER_WAITERS].max = 0;
    ck_assert_int_eq(grow_checked(big, bob, 1, 30, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_uint_eq(job_count, 0);
    ck_assert_uint_eq(pool_capacity(big), 1);
    ck_assert_int_eq(grow_checked(big, bob, 2, 3, 0), BROKER_DONE); /* nobody needs to */
    bob->user->quotas[USER_WAITERS].max = 1;
    offload_status = -ENOMEM;
    ck_assert_int_eq(grow_checked(big, bob, 3, 20, 0), BROKER_DONE); /* nor here, as it turns out */
    offload_status = 0;
    ck_assert_uint_eq(bob->user->quotas[USER_WAITERS].used, 0);
}
END_TEST

/* ---- What isn't there ------------------------------------------------------------------------ */

/* All that a growth changes. */
struct state {
    uint32_t capacity;
    uint32_t max;
    uint64_t bytes;
    uint64_t charged;
    uint64_t memory;
    uint64_t space;
    uint64_t growths;
};

static struct state state_of(const struct pool *of)
{
    return (struct state){
        .capacity = pool_capacity(of),
        .max = pool_capacity_max(of),
        .bytes = of->bytes.amount,
        .charged = of->user->quotas[USER_BYTES].used,
        .memory = pool_memory(of),
        .space = segment_space(),
        .growths = of->ctl->counters.growth_count,
    };
}

static void check_full(const struct error *refusal, uint64_t slots)
{
    ck_assert_int_eq(refusal->code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_ge(refusal->needed, slots * MIB);
    ck_assert_uint_lt(refusal->needed, (slots + 1) * MIB);
    ck_assert_uint_lt(refusal->available, refusal->needed);
}

START_TEST(test_growing_without_memory_changes_nothing)
{
    struct pool *big = make_big(1, 40, "linear:8");
    take(alice, big, 1);
    for (int begun = 0; begun <= 1; begun++) { /* seen before it begins, or by the thread */
        struct state before;
        memset(&before, 0, sizeof(before));
        if (!begun)
            test_shm_fill(5 * MIB);
        before = state_of(big);
        before.charged = big->user->quotas[USER_BYTES].used;
        if (begun) {
            ck_assert_int_eq(grow_checked(big, alice, 5, 9, 0), BROKER_WAITS);
            ck_assert_uint_gt(big->user->quotas[USER_BYTES].used, before.charged);
            test_shm_fill(5 * MIB);
            before.space = segment_space();
            do_job();
            check_answer(0, "alice", 5, ERROR_SHARED_MEMORY_FULL);
            check_full(&whole[0].error, 8);
            ck_assert_uint_eq(whole[0].error.available, 5 * MIB);
        } else {
            ck_assert_int_eq(grow_checked(big, alice, 0, 9, 0), BROKER_REFUSED);
            check_full(&error, 8);
            ck_assert_uint_eq(error.available, 5 * MIB);
            REFUSES(ERROR_SHARED_MEMORY_FULL, bob, big, 0, .timeout = 0);
            check_full(&error, 8);
        }
        struct state after = state_of(big);
        ck_assert_mem_eq(&before, &after, sizeof(before));
        ck_assert_uint_ge(count_events(EVENT_GROWTH_FAILED), 1);
        ck_assert_uint_eq(last_event(EVENT_GROWTH_FAILED)->count, 9);
        test_shm_unfill();
    }
    GETS(alice, pool, 0, .count = 1);
    ck_assert_int_eq(grow_checked(big, alice, 6, 9, 0), BROKER_WAITS); /* and then it can */
    do_job();
    ck_assert_uint_eq(pool_capacity(big), 9);
}
END_TEST

START_TEST(test_growing_obeys_the_users_quota_of_bytes)
{
    static char carol_name[] = "carol";
    struct error refusal;
    broker.users.max[USER_BYTES] = 8 * MIB;
    struct session *carol = begin_as(carol_name, false, 4000);
    struct pool *made, *big = MAKE(.name = "big", .uid = 4000, .object_size = MIB, .capacity = 1,
                                   .capacity_max = 30, .growth = "linear:1", .watermark = "off");
    join(carol, big);
    uint64_t used = big->user->quotas[USER_BYTES].used;
    ck_assert_uint_eq(used, big->bytes.amount);
    ck_assert_int_eq(grow_checked(big, carol, 0, 9, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_str_eq(error.field, "bytes");
    ck_assert_uint_eq(error.allocated, used);
    ck_assert_uint_eq(error.max, 8 * MIB);
    ck_assert_uint_eq(big->user->quotas[USER_BYTES].used, used);

    uint64_t others = store_size(&big->store.geometry, 6);
    big->user->quotas[USER_BYTES].max = others; /* at the limit, and one byte below */
    ck_assert_int_eq(grow_checked(big, carol, 1, 6, 0), BROKER_WAITS);
    ck_assert_uint_eq(big->user->quotas[USER_BYTES].used, others);
    struct pool_config config = {.name = "two", .type = "", .object_size = 1, .capacity = 1};
    config.uid = 4000;
    ck_assert(!broker_create_pool(&broker, &config, &made, &refusal));
    ck_assert_int_eq(refusal.code, ERROR_QUOTA_EXCEEDED); /* what grows counts already */
    do_job();
    big->user->quotas[USER_BYTES].max = store_size(&big->store.geometry, 7) - 1;
    take(carol, big, 6);
    REFUSES(ERROR_QUOTA_EXCEEDED, carol, big, 0, .count = 1);
    WAITS(carol, big, 2, .count = 1, .timeout = 10);
    big->user->quotas[USER_BYTES].max++;
    demand_serve(&broker, big);
    check_answer(1, "carol", 2, ERROR_NONE);
    broker_destroy_pool(&broker, big);
    ck_assert(broker_create_pool(&broker, &config, &made, &refusal));
}
END_TEST

/* It fails in the thread by something else than space, which isn't seen before. */
START_TEST(test_growing_that_fails_is_not_begun_again_by_itself)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 2, .capacity_max = 40,
                            .growth = "linear:8", .grow_ahead = 1, .watermark = "off");
    join(alice, big);
    join(bob, big);
    take(alice, big, 2); /* and it grows ahead */
    WAITS(bob, big, 1, .timeout = FOREVER);
    WAITS(bob, big, 2, .timeout = 0);
    test_shm_fill(0);
    jobs[0]->run(jobs[0]);
    test_shm_unfill(); /* now there would be enough again */
    finish_job();
    ck_assert_uint_eq(job_count, 0);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 2, ERROR_SHARED_MEMORY_FULL);
    ck_assert(give_back(big, 0, 1)); /* by the next thing that happens it is */
    check_answer(1, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(job_count, 1);
    do_job();
    ck_assert_uint_eq(pool_capacity(big), 10);
}
END_TEST

/* Whether it comes before those that wait for it, or after them. */
START_TEST(test_growing_that_failed_is_begun_again_by_the_next_request)
{
    struct pool *growing = MAKE(.name = "growing", .object_size = MIB, .capacity = 1,
                                .capacity_max = 9, .growth = "linear:1", .watermark = "off");
    join(alice, growing);
    join(bob, growing);
    take(alice, growing, 1);
    test_shm_fill(0);
    WAITS(bob, growing, 1, .timeout = FOREVER);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, growing, 0, .count = 1);
    WAITS(bob, growing, 2, .timeout = FOREVER, .priority = BEST_EFFORT);
    ck_assert_uint_eq(answer_count, 0);
    test_shm_unfill();
    GETS(alice, growing, 0, .count = 1);
    ck_assert_uint_eq(answer_count, 2);
    check_answer(0, "bob", 1, ERROR_NONE);
    check_answer(1, "bob", 2, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(growing), 4);

    test_shm_fill(0);
    WAITS(bob, growing, 3, .timeout = FOREVER);
    test_shm_unfill();
    WAITS(alice, growing, 4, .count = 6, .timeout = FOREVER); /* by what is left it can't */
    check_answer(2, "bob", 3, ERROR_NONE);
    ck_assert_uint_eq(pool_capacity(growing), 5);
}
END_TEST

START_TEST(test_growing_updates_the_watermark)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 10, .capacity_max = 40,
                                .growth = "none", .watermark = "90%");
    join(alice, growing);
    take(alice, growing, 9);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    ck_assert_int_eq(grow_checked(growing, alice, 0, 40, 0), BROKER_DONE);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
}
END_TEST

/* Of a pool that grows the watermark is a part of its maximum, which is another at once. */
START_TEST(test_growing_updates_the_watermark_before_it_is_done)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 4, .capacity_max = 4,
                            .growth = "linear:1", .watermark = "75%");
    join(alice, big);
    take(alice, big, 3);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    ck_assert_int_eq(grow_checked(big, alice, 1, 12, 12), BROKER_WAITS);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
    do_job();
    check_answer(0, "alice", 1, ERROR_NONE);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

START_TEST(test_growing_check_notices_wrong_capacities)
{
    struct pool *growing = MAKE(.name = "growing", .capacity = 2, .capacity_max = 5,
                                .growth = "linear:1", .watermark = "off");
    join(alice, growing);
    take(alice, growing, 3);
    NOTICES(growing->ctl->capacity, 2);
    NOTICES(growing->ctl->capacity_max, 2);
    NOTICES(growing->bytes.amount, growing->bytes.amount + 1);
}
END_TEST

START_TEST(test_growing_check_notices_what_waits_for_no_growth)
{
    struct pool *big = make_big(1, 20, "linear:8");
    take(alice, big, 1);
    WAITS(bob, big, 1, .timeout = 0);
    NOTICES(waitqueue_first(&big->waiters)->deadline.at, 5);
    NOTICES(big->growing.active, false);
    ck_assert_uint_eq(demand_cancel(&broker, bob, big, 0, NULL), 1);
    NOTICES(big->growing.active, false); /* its bytes are charged */
    do_job();
    NOTICES(big->growing.bytes.amount, 1);
    ck_assert_int_eq(grow_checked(big, alice, 1, 20, 0), BROKER_WAITS);
    big->growing.bytes.amount = 0;
    NOTICES(big->growing.active, false); /* a request waits for it */
    big->growing.bytes.amount = store_size(&big->store.geometry, 20) - big->bytes.amount;
}
END_TEST

START_TEST(test_growing_check_notices_charges_that_are_not_given_back)
{
    struct user *user = alice->user;
    NOTICES(user->quotas[USER_SESSIONS].used, 1);
    NOTICES(user->quotas[USER_WAITERS].used, 1);
    NOTICES(user->quotas[USER_POOLS].used, 0);
    NOTICES(user->quotas[USER_POOLS].used, 2);
    NOTICES(pool->destroyed, true);
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .timeout = FOREVER);
    NOTICES(waitqueue_first(&pool->waiters)->waiting.quota, NULL);
    NOTICES(waitqueue_first(&pool->waiters)->growth_only, true);
}
END_TEST

SUITE_MAIN_WITH(
    "growing", broker_set_up, broker_tear_down, test_growing_is_linear, test_growing_is_exponential,
    test_growing_is_custom, test_growing_none_never_does,
    test_growing_takes_as_many_steps_as_the_request_needs, test_growing_looks_ahead,
    test_growing_ahead_goes_on_beside_the_loop, test_growing_ahead_says_once_that_it_cannot,
    test_growing_a_little_is_done_at_once,
    test_growing_at_the_limit_is_done_at_once_and_one_page_above_beside_the_loop,
    test_growing_without_an_offload_is_done_at_once, test_growing_in_a_thread_disturbs_nobody,
    test_growing_in_a_thread_lets_the_pool_be_used, test_growing_stops_when_the_pool_is_destroyed,
    test_growing_that_was_done_when_the_pool_is_destroyed_is_forgotten,
    test_growing_goes_on_when_its_sessions_are_gone, test_growing_is_refused_when_the_instance_ends,
    test_growing_by_request, test_growing_raises_the_maximum_to_the_reserve_and_no_more,
    test_growing_can_go_to_the_whole_reserve, test_growing_serves_who_waits,
    test_growing_serves_who_waits_when_only_the_maximum_is_raised,
    test_growing_serves_by_a_raised_maximum_though_it_failed,
    test_growing_by_several_requests_one_after_the_other,
    test_growing_that_fails_refuses_only_who_wanted_as_much,
    test_growing_counts_among_the_waiting_requests,
    test_growing_that_nobody_may_wait_for_is_not_begun, test_growing_without_memory_changes_nothing,
    test_growing_obeys_the_users_quota_of_bytes,
    test_growing_that_fails_is_not_begun_again_by_itself,
    test_growing_that_failed_is_begun_again_by_the_next_request, test_growing_updates_the_watermark,
    test_growing_updates_the_watermark_before_it_is_done,
    test_growing_check_notices_wrong_capacities,
    test_growing_check_notices_what_waits_for_no_growth,
    test_growing_check_notices_charges_that_are_not_given_back,
    test_growing_in_a_thread_survives_that_the_pool_is_destroyed,
    test_growing_ahead_does_not_begin_when_the_broker_ends,
    test_growing_ahead_beside_the_loop_says_once_that_it_failed)
