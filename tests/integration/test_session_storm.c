/* SPDX-License-Identifier: MIT */
/* Many deaths: at random instants of busy loops, and many at once. Who lives notices nothing of them. */
#define _GNU_SOURCE /* ppoll */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/stage.h"
#include "tests/lib/timing.h"

#define KILLS 200
#define BUSY 3          /* clients at a time */
#define LONGEST_US 2000 /* that one lives once it is busy */
#define CROWD 50
#define OWN 8 /* slots of the test's own, that nobody may touch */

/* ---- Scripts --------------------------------------------------------------------------------- */

/* Allocates and frees, one and several, of the slots that the test leaves, for ever. */
static void loop(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handles[OWN];
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    child_say(control, 'r');
    for (unsigned i = 0;; i++) {
        unsigned count = 1 + i % OWN;
        child_require(fastalloc_allocate_many(pool, count, STAGE_FOREVER, handles, NULL) == 0);
        for (unsigned j = 0; j < count; j++)
            memset(fastalloc_get(pool, handles[j]), 0xff, 64);
        child_require(fastalloc_free_many(pool, handles, count, NULL) == 0);
    }
}

static void hold_one(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    child_require(fastalloc_try_allocate(pool, &handle, NULL) == 0);
    child_say(control, 'r');
    child_listen(control);
}

/* ---- Random instants ------------------------------------------------------------------------- */

static void let_live(const struct test_child *child, long microseconds)
{
    struct pollfd poll_fd = {.fd = child->control, .events = POLLIN};
    struct timespec time = {.tv_nsec = microseconds * 1000};
    ck_assert_int_eq(ppoll(&poll_fd, 1, &time, NULL), 0); /* it says no more, unless it failed */
}

static void start_loop(struct test_child *child)
{
    test_child_start(child, loop, NULL);
    test_child_hear(child, 'r');
}

static void check_own(const fastalloc_handle_t own[OWN])
{
    for (unsigned i = 0; i < OWN; i++) {
        const unsigned char *object = fastalloc_get(stage.pool, own[i]);
        ck_assert_ptr_nonnull(object);
        for (unsigned j = 0; j < 64; j++)
            ck_assert_uint_eq(object[j], i + 1);
    }
}

START_TEST(test_deaths_at_random_instants_lose_nothing)
{
    struct test_child busy[BUSY];
    fastalloc_handle_t own[OWN];
    unsigned seed = (unsigned)timing_now();
    printf("seed %u\n", seed);
    srandom(seed);
    ck_assert_int_eq(fastalloc_allocate_many(stage.pool, OWN, 0, own, NULL), 0);
    for (unsigned i = 0; i < OWN; i++)
        memset(fastalloc_get(stage.pool, own[i]), (int)i + 1, 64);
    /* So few are left that they wait for each other. */
    stage_take(STAGE_CAPACITY - OWN - 10);

    for (unsigned i = 0; i < BUSY; i++)
        start_loop(&busy[i]);
    for (unsigned i = 0; i < KILLS; i++) {
        struct test_child *victim = &busy[random() % BUSY];
        let_live(victim, random() % LONGEST_US);
        test_child_kill(victim, SIGKILL);
        start_loop(victim);
        check_own(own);
    }
    for (unsigned i = 0; i < BUSY; i++)
        test_child_kill(&busy[i], SIGKILL);

    stage_settle();
    check_own(own);
    stage_give_back();
    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_eq(stats.current_usage, OWN);
    ck_assert_uint_eq(stats.total_allocations - stats.total_deallocations, OWN);
    ck_assert_uint_eq(stats.waiters, 0);
    printf("%u kills, %u allocations, %u slots reclaimed\n", KILLS + BUSY,
           (unsigned)stats.total_allocations, (unsigned)stats.reclaimed);
    ck_assert_uint_gt(stats.reclaimed, 0); /* else no kill ever hit a holder */
    ck_assert_int_eq(fastalloc_free_many(stage.pool, own, OWN, NULL), 0);
}
END_TEST

/* ---- Many at once ---------------------------------------------------------------------------- */

START_TEST(test_fifty_clients_die_at_once)
{
    static struct test_child crowd[CROWD];
    stage_take(STAGE_CAPACITY - CROWD);
    for (unsigned i = 0; i < CROWD; i++) {
        test_child_start(&crowd[i], hold_one, NULL);
        test_child_hear(&crowd[i], 'r');
    }
    stage_expect_exhausted();
    ck_assert_uint_eq(stage_sessions().all, CROWD + 1);

    struct timing timing = {0};
    int64_t begin = timing_now();
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert_int_eq(kill(crowd[i].pid, SIGKILL), 0);
    stage_take(CROWD);
    timing_add(&timing, timing_now() - begin);
    for (unsigned i = 0; i < CROWD; i++)
        test_child_join(&crowd[i]);
    stage_give_back();
    ck_assert_uint_eq(stage_stats().reclaimed, CROWD);
    timing_report(&timing, "slots back after SIGKILL of fifty clients");
}
END_TEST

STAGE_MAIN("session_storm", test_deaths_at_random_instants_lose_nothing,
           test_fifty_clients_die_at_once)
