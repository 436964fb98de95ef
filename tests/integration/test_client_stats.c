/* SPDX-License-Identifier: MIT */
/* Statistics as the library reads them in shared memory, and events, with a real daemon. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define CAPACITY 16u
#define MILLISECOND INT64_C(1000000)

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t handles[CAPACITY];

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    pool = test_daemon_pool(connection, "counted", 64, CAPACITY);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static fastalloc_stats_t snapshot(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_stats(pool, &stats, &error) == 0, "%s", error.message);
    return stats;
}

static fastalloc_stats_t asked(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, "counted", &stats, NULL), 0);
    return stats;
}

static void allocate(size_t count)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_allocate_many(pool, count, 0, handles, &error) == 0, "%s",
                  error.message);
}

static void give_back(size_t count)
{
    ck_assert_int_eq(fastalloc_free_many(pool, handles, count, NULL), 0);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Each kind of number has become something. */
static void make_history(void)
{
    fastalloc_handle_t handle;
    allocate(CAPACITY);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_int_eq(fastalloc_allocate(pool, MILLISECOND, &handle, NULL), FASTALLOC_ERR_TIMEOUT);
    give_back(CAPACITY);
    allocate(3);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "counted", CAPACITY + 1, CAPACITY + 1, NULL),
                     0);
}

START_TEST(test_a_snapshot_says_what_the_daemon_says)
{
    make_history();
    fastalloc_stats_t mine = snapshot(), its = asked();
    ck_assert_uint_le(mine.age, its.age + 1000 * MILLISECOND);
    ck_assert(mine.average_usage > 0 && mine.average_usage <= CAPACITY);
    ck_assert(its.average_usage > 0 && its.average_usage <= CAPACITY);
    mine.age = its.age = 0;
    mine.average_usage = its.average_usage = 0;
    ck_assert_mem_eq(&mine, &its, sizeof(mine));
}
END_TEST

START_TEST(test_every_number_is_what_was_done)
{
    make_history();
    fastalloc_stats_t stats = snapshot();
    ck_assert_uint_eq(stats.capacity, CAPACITY + 1);
    ck_assert_uint_eq(stats.current_usage, 3);
    ck_assert_uint_eq(stats.available, CAPACITY - 2);
    ck_assert_uint_eq(stats.peak_usage, CAPACITY);
    ck_assert_uint_eq(stats.total_allocations, CAPACITY + 3);
    ck_assert_uint_eq(stats.total_deallocations, CAPACITY);
    ck_assert_uint_eq(stats.allocation_failures, 2);
    ck_assert_uint_eq(stats.timeouts, 1);
    ck_assert_uint_eq(stats.growth_count, 1);
    ck_assert_uint_eq(stats.watermarks, 1);
    ck_assert_uint_eq(stats.waiters, 0);
    ck_assert_uint_eq(stats.total_waits, 1);
    ck_assert_uint_ge(stats.wait_max, MILLISECOND);
    ck_assert_uint_ge(stats.wait_p50, MILLISECOND);
    ck_assert_uint_ge(stats.wait_p99, stats.wait_p50);
    ck_assert_uint_ge(stats.hold_max, MILLISECOND);
    ck_assert_uint_ge(stats.hold_p99, stats.hold_p50);
    ck_assert_uint_ge(stats.hold_max, stats.hold_p99);
    ck_assert(fastalloc_stats_hit_rate(&stats) > 0.9 && fastalloc_stats_hit_rate(&stats) < 1);
    ck_assert(fastalloc_stats_utilization_rate(&stats) > 0.17);
}
END_TEST

START_TEST(test_a_reset_begins_anew_but_keeps_what_is_now)
{
    make_history();
    ck_assert_int_eq(fastalloc_pool_reset_stats(connection, "counted", NULL), 0);
    fastalloc_stats_t stats = snapshot();
    ck_assert_uint_eq(stats.current_usage, 3);
    ck_assert_uint_eq(stats.peak_usage, 3);
    ck_assert_uint_eq(stats.total_allocations, 0);
    ck_assert_uint_eq(stats.total_deallocations, 0);
    ck_assert_uint_eq(stats.allocation_failures, 0);
    ck_assert_uint_eq(stats.total_waits, 0);
    ck_assert_uint_eq(stats.wait_max, 0);
    ck_assert_uint_eq(stats.hold_max, 0);
    ck_assert(stats.average_usage > 2.99 && stats.average_usage < 3.01);
    ck_assert(fastalloc_stats_hit_rate(&stats) == 1.0);
}
END_TEST

START_TEST(test_a_reader_and_a_stopped_daemon_are_no_hindrance)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    allocate(5);
    ck_assert_int_eq(fastalloc_open(connection, "counted", &options, &pool, NULL), 0);
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    ck_assert_uint_eq(snapshot().current_usage, 5);
    ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
}
END_TEST

START_TEST(test_a_destroyed_pool_has_no_statistics)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "counted", true, NULL), 0);
    ck_assert_int_eq(fastalloc_stats(pool, &stats, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_str_eq(error.pool, "counted");
    ck_assert_int_eq(fastalloc_pool_stats(connection, "counted", &stats, NULL),
                     FASTALLOC_ERR_NO_SUCH_POOL);
}
END_TEST

/* ---- Consistency ----------------------------------------------------------------------------- */

#define SNAPSHOTS 20000

static void churn(int control, const void *argument)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t some[CAPACITY / 2];
    fastalloc_pool_t *counted = child_open(argument, "counted", &mine);
    child_say(control, 'b');
    for (size_t i = 0;; i++) {
        size_t count = 1 + i % (CAPACITY / 2);
        if (fastalloc_allocate_many(counted, count, 0, some, NULL) < 0 ||
            fastalloc_free_many(counted, some, count, NULL) < 0)
            return; /* the daemon was killed */
    }
}

START_TEST(test_the_numbers_of_every_snapshot_belong_together)
{
    struct test_child child;
    fastalloc_stats_t stats, last = snapshot();
    unsigned changes = 0;
    test_child_start(&child, churn, server.socket);
    test_child_hear(&child, 'b');
    for (int i = 0; i < SNAPSHOTS || changes < 100; i++) {
        stats = snapshot();
        ck_assert_uint_eq(stats.total_allocations - stats.total_deallocations, stats.current_usage);
        ck_assert_uint_eq(stats.available, CAPACITY - stats.current_usage);
        ck_assert_uint_ge(stats.peak_usage, stats.current_usage);
        ck_assert_uint_ge(stats.total_allocations, last.total_allocations);
        ck_assert_uint_ge(stats.total_deallocations, last.total_deallocations);
        changes += stats.total_allocations != last.total_allocations;
        last = stats;
    }
    test_child_kill(&child, SIGKILL);
}
END_TEST

START_TEST(test_a_daemon_killed_at_any_moment_leaves_whole_numbers_or_eagain)
{
    struct test_child child;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    test_child_start(&child, churn, server.socket);
    test_child_hear(&child, 'b');
    while (snapshot().total_allocations < 1000)
        continue;
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    int result = fastalloc_stats(pool, &stats, NULL);
    ck_assert(result == 0 || result == -EAGAIN);
    if (result == 0)
        ck_assert_uint_eq(stats.total_allocations - stats.total_deallocations, stats.current_usage);
    test_child_join(&child);
    fastalloc_disconnect(connection);
    test_daemon_restart(&server, NULL);
    connection = test_daemon_connect(&server);
}
END_TEST

/* ---- Events ---------------------------------------------------------------------------------- */

struct heard {
    uint64_t number;
    unsigned count;
    char kinds[8][FASTALLOC_NAME_MAX + 1];
    fastalloc_event_t last;
};

static int hear(const fastalloc_event_t *event, void *context)
{
    struct heard *heard = context;
    ck_assert_uint_gt(event->number, heard->last.number);
    memcpy(heard->kinds[heard->count++ % 8], event->kind, sizeof(event->kind));
    heard->last = *event;
    return 0;
}

static void listen_for(struct heard *heard, const char *name, int64_t timeout)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    heard->count = 0;
    ck_assert_msg(
        fastalloc_events(connection, name, timeout, &heard->number, NULL, hear, heard, &error) == 0,
        "%s", error.message);
}

START_TEST(test_what_happens_to_a_pool_is_told_in_order_and_once)
{
    static struct heard heard;
    fastalloc_handle_t handle;
    allocate(CAPACITY);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), FASTALLOC_ERR_POOL_EXHAUSTED);
    give_back(CAPACITY);
    listen_for(&heard, "counted", FASTALLOC_NOWAIT);
    ck_assert_uint_eq(heard.count, 3);
    ck_assert_str_eq(heard.kinds[0], "watermark-reached");
    ck_assert_str_eq(heard.kinds[1], "exhausted");
    ck_assert_str_eq(heard.kinds[2], "watermark-fallen");
    ck_assert_str_eq(heard.last.name, "counted");
    ck_assert_uint_eq(heard.last.capacity, CAPACITY);
    listen_for(&heard, "counted", FASTALLOC_NOWAIT);
    ck_assert_uint_eq(heard.count, 0);
}
END_TEST

static void *wait_for_event(void *argument)
{
    listen_for(argument, NULL, FASTALLOC_FOREVER);
    return NULL;
}

static int find_self(const fastalloc_session_info_t *info, void *context)
{
    return info->id == fastalloc_session(connection) && info->waiting > 0 ? 1 : 0;
}

START_TEST(test_who_listens_is_woken_by_the_next_event)
{
    static struct heard heard;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_event, &heard), 0);
    while (fastalloc_session_list(connection, find_self, NULL, NULL) == 0)
        continue;
    allocate(CAPACITY);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(heard.count, 1);
    ck_assert_str_eq(heard.kinds[0], "watermark-reached");
}
END_TEST

START_TEST(test_silence_is_over_at_the_timeout_and_no_error)
{
    static struct heard heard;
    listen_for(&heard, "counted", MILLISECOND);
    ck_assert_uint_eq(heard.count, 0);
    ck_assert_int_eq(
        fastalloc_events(connection, "none", 0, &heard.number, NULL, hear, &heard, NULL),
        FASTALLOC_ERR_NO_SUCH_POOL);
}
END_TEST

static int count_event(const fastalloc_event_t *event, void *context)
{
    uint64_t *expected = context;
    ck_assert_uint_eq(event->number, ++*expected);
    return 0;
}

START_TEST(test_more_events_than_are_kept_are_counted_as_lost)
{
    uint64_t after = 0, lost = 0, number = 0;
    for (int i = 0; i < 600; i++) {
        allocate(CAPACITY);
        give_back(CAPACITY);
    }
    number = 1200 - 1024;
    ck_assert_int_eq(
        fastalloc_events(connection, NULL, 0, &after, &lost, count_event, &number, NULL), 0);
    ck_assert_uint_eq(number, 1200);
    ck_assert_uint_eq(after, 1200);
    ck_assert_uint_eq(lost, 1200 - 1024);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_a_snapshot_says_what_the_daemon_says,
        test_every_number_is_what_was_done,
        test_a_reset_begins_anew_but_keeps_what_is_now,
        test_a_reader_and_a_stopped_daemon_are_no_hindrance,
        test_a_destroyed_pool_has_no_statistics,
        test_the_numbers_of_every_snapshot_belong_together,
        test_a_daemon_killed_at_any_moment_leaves_whole_numbers_or_eagain,
        test_what_happens_to_a_pool_is_told_in_order_and_once,
        test_who_listens_is_woken_by_the_next_event,
        test_silence_is_over_at_the_timeout_and_no_error,
        test_more_events_than_are_kept_are_counted_as_lost,
    };
    return suite_run("client_stats", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
