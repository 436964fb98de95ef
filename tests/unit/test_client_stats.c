/* SPDX-License-Identifier: MIT */
/* Statistics: from shared memory, as a scripted daemon left it there, and by request. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

#define SECOND UINT64_C(1000000000)

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* ---- In shared memory ------------------------------------------------------------------------ */

static uint64_t sequence;

/* 4 slots are in use for the second since the reset; before, at it, 4 as well. */
static void serve_counters(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    pool.head.counters = (struct layout_counters){
        .sequence = sequence,
        .total_allocations = 10,
        .total_deallocations = 6,
        .allocation_failures = 1,
        .timeouts = 2,
        .reclaimed = 3,
        .current_usage = 4,
        .peak_usage = 9,
        .growth_count = 11,
        .evictions = 12,
        .waiters = 13,
        .total_waits = 14,
        .held_long = 15,
        .total_held_long = 16,
        .watermarks = 17,
        .reset_usage = 4,
        .reset_at = now() - SECOND,
        .changed_at = now() - SECOND,
        .waits = {.count = 1, .max = 2, .buckets = {[2] = 1}},
        .holds = {.count = 1, .max = 3, .buckets = {[3] = 1}},
    };
    peer_pool_reply(&pool, peer);
}

START_TEST(test_a_snapshot_says_what_stands_in_shared_memory)
{
    struct peer_client client;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    sequence = 2;
    peer_client_open(&client, serve_counters);
    ck_assert_int_eq(fastalloc_stats(client.pool, &stats, NULL), 0);
    ck_assert_uint_eq(stats.size, sizeof(stats));
    ck_assert_uint_eq(stats.capacity, PEER_POOL_CAPACITY);
    ck_assert_uint_eq(stats.current_usage, 4);
    ck_assert_uint_eq(stats.available, PEER_POOL_CAPACITY - 4);
    ck_assert_uint_eq(stats.peak_usage, 9);
    ck_assert(stats.average_usage > 3.999 && stats.average_usage < 4.001);
    ck_assert_uint_eq(stats.total_allocations, 10);
    ck_assert_uint_eq(stats.total_deallocations, 6);
    ck_assert_uint_eq(stats.allocation_failures, 1);
    ck_assert_uint_eq(stats.timeouts, 2);
    ck_assert_uint_eq(stats.reclaimed, 3);
    ck_assert_uint_eq(stats.growth_count, 11);
    ck_assert_uint_eq(stats.evictions, 12);
    ck_assert_uint_eq(stats.waiters, 13);
    ck_assert_uint_eq(stats.total_waits, 14);
    ck_assert_uint_eq(stats.held_long, 15);
    ck_assert_uint_eq(stats.total_held_long, 16);
    ck_assert_uint_eq(stats.watermarks, 17);
    ck_assert_uint_eq(stats.wait_p50, 2);
    ck_assert_uint_eq(stats.wait_p99, 2);
    ck_assert_uint_eq(stats.wait_max, 2);
    ck_assert_uint_eq(stats.hold_p50, 3);
    ck_assert_uint_eq(stats.hold_p99, 3);
    ck_assert_uint_eq(stats.hold_max, 3);
    ck_assert_uint_ge(stats.age, SECOND);
    peer_client_end(&client);
}
END_TEST

START_TEST(test_a_change_that_was_never_ended_is_eagain)
{
    struct peer_client client;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    sequence = 3;
    peer_client_open(&client, serve_counters);
    ck_assert_int_eq(fastalloc_stats(client.pool, &stats, &client.error), -EAGAIN);
    ck_assert_int_eq(client.error.system_error, EAGAIN);
    ck_assert_ptr_nonnull(strstr(client.error.message, "fastalloc_pool_stats"));
    ck_assert_uint_eq(stats.capacity, 0);
    peer_client_end(&client);
}
END_TEST

START_TEST(test_statistics_of_a_shorter_struct_go_as_far_as_it_reaches)
{
    struct peer_client client;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    stats.size = offsetof(fastalloc_stats_t, peak_usage);
    stats.peak_usage = 99;
    sequence = 2;
    peer_client_open(&client, serve_counters);
    ck_assert_int_eq(fastalloc_stats(client.pool, &stats, NULL), 0);
    ck_assert_uint_eq(stats.available, PEER_POOL_CAPACITY - 4);
    ck_assert_uint_eq(stats.peak_usage, 99);
    peer_client_end(&client);
}
END_TEST

static fastalloc_pool_t *shared;

static void look_in_child(int control, const void *argument)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t handle = {1, 2, 3};
    (void)control;
    (void)argument;
    child_require(fastalloc_stats(shared, &stats, &error) == FASTALLOC_ERR_FORKED);
    child_require(error.code == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_cancel(shared, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_adopt(shared, &handle, 1, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_allocate_with(shared, NULL, &handle, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_pool_capacity(shared) == 0);
    fastalloc_check_left(shared, UINT64_MAX, true, "file", 1);
}

START_TEST(test_a_forked_child_gets_none_and_is_told_so)
{
    struct peer_client client;
    struct test_child child;
    peer_client_open(&client, serve_counters);
    shared = client.pool;
    test_child_start(&child, look_in_child, NULL);
    ck_assert_int_eq(test_child_join(&child), 0);
    peer_client_end(&client);
}
END_TEST

/* ---- How many are left ----------------------------------------------------------------------- */

static int says[2]; /* a pipe: what the child says on stderr */

static void check_left(int control, const void *argument)
{
    const struct test_peer *test = argument;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool = child_open(test->socket, "pool", &connection);
    (void)control;
    dup2(says[1], STDERR_FILENO);
    fastalloc_check_left(pool, 6, true, "file.c", 10);
    fastalloc_check_left(pool, 7, false, "file.c", 11);
    fastalloc_check_left(pool, 7, true, "file.c", 12);
}

START_TEST(test_too_little_left_is_said_and_aborts_if_asked_to)
{
    struct test_peer test;
    struct test_child child;
    char text[256];
    sequence = 3; /* it needs no snapshot */
    ck_assert_int_eq(pipe2(says, O_CLOEXEC), 0);
    test_peer_start(&test, serve_counters);
    test_child_start(&child, check_left, &test);
    int status = test_child_join(&child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    close(says[1]);
    ssize_t size = read(says[0], text, sizeof(text) - 1);
    ck_assert_int_gt(size, 0);
    text[size] = '\0';
    ck_assert_str_eq(text, "file.c:11: pool 'pool' has 6 of 10 slots left, fewer than 7\n"
                           "file.c:12: pool 'pool' has 6 of 10 slots left, fewer than 7\n");
    close(says[0]);
    test_peer_join(&test);
}
END_TEST

/* ---- By request ------------------------------------------------------------------------------ */

static void serve_stats(struct peer *peer)
{
    struct stats_request request;
    struct stats_reset_request reset;
    const struct stats_reset_reply done;
    const struct stats_reply reply = {
        .pool = 1,
        .capacity = 2,
        .current_usage = 3,
        .available = 4,
        .peak_usage = 5,
        .total_allocations = 6,
        .total_deallocations = 7,
        .allocation_failures = 8,
        .timeouts = 9,
        .reclaimed = 10,
        .waiters = 11,
        .total_waits = 12,
        .growth_count = 13,
        .evictions = 14,
        .average_usage = 1500,
        .watermarks = 15,
        .held_long = 16,
        .total_held_long = 17,
        .wait_p50 = 18,
        .wait_p99 = 19,
        .wait_max = 20,
        .hold_p50 = 21,
        .hold_p99 = 22,
        .hold_max = 23,
        .age = 24,
    };
    peer_greet(peer);
    peer_receive(peer, METHOD_STATS, &request);
    peer_require(strcmp(request.name, "pool") == 0);
    peer_reply(peer, METHOD_STATS, &reply);
    peer_receive(peer, METHOD_STATS_RESET, &reset);
    peer_require(strcmp(reset.name, "pool") == 0);
    peer_reply(peer, METHOD_STATS_RESET, &done);
}

START_TEST(test_statistics_arrive_whole_and_are_reset)
{
    struct peer_client client;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    const fastalloc_stats_t expected = {
        .size = sizeof(stats),
        .capacity = 2,
        .current_usage = 3,
        .available = 4,
        .peak_usage = 5,
        .average_usage = 1.5,
        .total_allocations = 6,
        .total_deallocations = 7,
        .allocation_failures = 8,
        .growth_count = 13,
        .timeouts = 9,
        .reclaimed = 10,
        .evictions = 14,
        .watermarks = 15,
        .waiters = 11,
        .total_waits = 12,
        .wait_p50 = 18,
        .wait_p99 = 19,
        .wait_max = 20,
        .held_long = 16,
        .total_held_long = 17,
        .hold_p50 = 21,
        .hold_p99 = 22,
        .hold_max = 23,
        .age = 24,
    };
    peer_client_connect(&client, serve_stats);
    ck_assert_int_eq(fastalloc_pool_stats(client.connection, "pool", &stats, NULL), 0);
    ck_assert_mem_eq(&stats, &expected, sizeof(stats));
    ck_assert_int_eq(fastalloc_pool_reset_stats(client.connection, "pool", NULL), 0);
    peer_client_end(&client);
}
END_TEST

SUITE_MAIN("client_stats", test_a_snapshot_says_what_stands_in_shared_memory,
           test_a_change_that_was_never_ended_is_eagain,
           test_statistics_of_a_shorter_struct_go_as_far_as_it_reaches,
           test_a_forked_child_gets_none_and_is_told_so,
           test_too_little_left_is_said_and_aborts_if_asked_to,
           test_statistics_arrive_whole_and_are_reset)
