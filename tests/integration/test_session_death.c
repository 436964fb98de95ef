/* SPDX-License-Identifier: MIT */
/* What a client held is free again, and what it waited for forgotten, once it is dead by whatever way. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/stage.h"
#include "tests/lib/timing.h"

#define DEATHS 100
#define NO_SIGNAL 0 /* it exits */

/* ---- Scripts --------------------------------------------------------------------------------- */

static void hold_all(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handles[STAGE_CAPACITY];
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    child_require(fastalloc_allocate_many(pool, STAGE_CAPACITY, 0, handles, NULL) == 0);
    child_say(control, 'r');
    child_listen(control);
}

/* The argument says how many it waits for. */
static void wait_for_some(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handles[STAGE_CAPACITY];
    uint32_t count = *(const uint32_t *)argument;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    child_say(control, 'r');
    child_require(fastalloc_allocate_many(pool, count, FASTALLOC_FOREVER, handles, NULL) == 0);
    child_say(control, 'g');
    child_listen(control);
}

static void start_waiting(struct test_child *child, uint32_t count, uint64_t waiters)
{
    test_child_start(child, wait_for_some, &count);
    test_child_hear(child, 'r');
    stage_await_waiters(waiters);
}

/* ---- Holding --------------------------------------------------------------------------------- */

static void end_child(struct test_child *child, int signal)
{
    if (signal == NO_SIGNAL)
        test_child_tell(child, 'x');
    else
        ck_assert_int_eq(kill(child->pid, signal), 0);
}

static void check_end(struct test_child *child, int signal)
{
    int status = test_child_join(child);
    if (signal == NO_SIGNAL)
        ck_assert_int_eq(status, 0);
    else
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal);
}

static void check_deaths(int signal, const char *what)
{
    struct timing timing = {0};
    for (int i = 0; i < DEATHS; i++) {
        struct test_child child;
        test_child_start(&child, hold_all, NULL);
        test_child_hear(&child, 'r');
        stage_expect_exhausted();

        int64_t begin = timing_now();
        end_child(&child, signal);
        timing_add(&timing, stage_take_all() - begin);
        check_end(&child, signal);
    }
    ck_assert_uint_eq(stage_stats().reclaimed, DEATHS * STAGE_CAPACITY);
    timing_report(&timing, what);
}

START_TEST(test_sigkill_frees_what_was_held)
{
    check_deaths(SIGKILL, "slots back after SIGKILL");
}
END_TEST

START_TEST(test_sigsegv_frees_what_was_held)
{
    check_deaths(SIGSEGV, "slots back after SIGSEGV");
}
END_TEST

START_TEST(test_sigabrt_frees_what_was_held)
{
    check_deaths(SIGABRT, "slots back after SIGABRT");
}
END_TEST

START_TEST(test_sigterm_frees_what_was_held)
{
    check_deaths(SIGTERM, "slots back after SIGTERM");
}
END_TEST

START_TEST(test_exit_frees_what_was_held)
{
    check_deaths(NO_SIGNAL, "slots back after exit");
}
END_TEST

START_TEST(test_what_lives_is_not_reclaimed)
{
    struct test_child child;
    test_child_start(&child, hold_all, NULL);
    test_child_hear(&child, 'r');
    stage_expect_exhausted_for(300000000);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);
    test_child_kill(&child, SIGKILL);
}
END_TEST

START_TEST(test_handles_of_the_dead_are_stale)
{
    fastalloc_handle_t handle;
    fastalloc_connection_t *other = test_daemon_connect(&stage.daemon);
    fastalloc_pool_t *pool = test_daemon_pool(other, STAGE_POOL, 64, STAGE_CAPACITY);
    ck_assert_int_eq(fastalloc_allocate(pool, 0, &handle, NULL), 0);
    ck_assert_ptr_nonnull(fastalloc_get(stage.pool, handle));
    fastalloc_disconnect(other);

    stage_settle();
    ck_assert_ptr_null(fastalloc_get(stage.pool, handle));
    ck_assert_int_eq(fastalloc_free(stage.pool, handle, NULL), FASTALLOC_ERR_STALE_HANDLE);
}
END_TEST

/* ---- Waiting --------------------------------------------------------------------------------- */

START_TEST(test_death_takes_a_waiter_out_of_the_queue)
{
    struct timing timing = {0};
    stage_take(STAGE_CAPACITY);
    for (int i = 0; i < DEATHS; i++) {
        struct test_child child;
        start_waiting(&child, 1, 1);

        int64_t begin = timing_now();
        ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
        stage_await_waiters(0);
        timing_add(&timing, timing_now() - begin);
        test_child_join(&child);
    }
    stage_give_back();
    timing_report(&timing, "waiter gone after SIGKILL");
}
END_TEST

START_TEST(test_death_of_the_first_waiter_serves_the_next)
{
    struct timing timing = {0};
    for (int i = 0; i < DEATHS; i++) {
        struct test_child first, second;
        stage_take(STAGE_CAPACITY - 1);
        start_waiting(&first, 2, 1);
        start_waiting(&second, 1, 2); /* one is free, but it isn't its turn */

        int64_t begin = timing_now();
        ck_assert_int_eq(kill(first.pid, SIGKILL), 0);
        test_child_hear(&second, 'g');
        timing_add(&timing, timing_now() - begin);
        test_child_join(&first);
        test_child_kill(&second, SIGKILL);
        stage_give_back();
    }
    timing_report(&timing, "next waiter served after SIGKILL");
}
END_TEST

START_TEST(test_death_of_the_holder_serves_waiters_in_turn)
{
    struct test_child holder, waiters[4];
    test_child_start(&holder, hold_all, NULL);
    test_child_hear(&holder, 'r');
    for (unsigned i = 0; i < 4; i++)
        start_waiting(&waiters[i], STAGE_CAPACITY / 2, i + 1);

    test_child_kill(&holder, SIGKILL);
    test_child_hear(&waiters[0], 'g');
    test_child_hear(&waiters[1], 'g');
    stage_await_waiters(2);
    test_child_kill(&waiters[1], SIGKILL);
    test_child_hear(&waiters[2], 'g');
    stage_await_waiters(1);
    test_child_kill(&waiters[3], SIGKILL);
    test_child_kill(&waiters[0], SIGKILL);
    test_child_kill(&waiters[2], SIGKILL);
}
END_TEST

START_TEST(test_the_dead_are_never_served)
{
    struct test_child child;
    stage_take(STAGE_CAPACITY);
    start_waiting(&child, 1, 1);
    test_child_kill(&child, SIGKILL);
    stage_settle();
    stage_give_back();

    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_eq(stats.current_usage, 0);
    ck_assert_uint_eq(stats.total_allocations, STAGE_CAPACITY);
    ck_assert_uint_eq(stats.timeouts, 0);
}
END_TEST

STAGE_MAIN("session_death", test_sigkill_frees_what_was_held, test_sigsegv_frees_what_was_held,
           test_sigabrt_frees_what_was_held, test_sigterm_frees_what_was_held,
           test_exit_frees_what_was_held, test_what_lives_is_not_reclaimed,
           test_handles_of_the_dead_are_stale, test_death_takes_a_waiter_out_of_the_queue,
           test_death_of_the_first_waiter_serves_the_next,
           test_death_of_the_holder_serves_waiters_in_turn, test_the_dead_are_never_served)
