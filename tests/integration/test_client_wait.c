/* SPDX-License-Identifier: MIT */
/* Waiting for room in a pool of a real daemon. */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND (1000 * MILLISECOND)

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;

/* One that doesn't wait long for another daemon. */
static fastalloc_connection_t *connect_briefly(void)
{
    fastalloc_connection_t *brief;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = server.socket;
    options.connect_limit = 10 * SECOND;
    options.reconnect_limit = SECOND / 5;
    ck_assert_int_eq(fastalloc_connect(&options, &brief, NULL), 0);
    return brief;
}

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = connect_briefly();
    pool = test_daemon_pool(connection, "tight", 64, 1);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

/* Until the daemon has so many requests in the pool's queue: asking it again each time. */
static void await_waiters(uint64_t count)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    do
        ck_assert_int_eq(fastalloc_pool_stats(connection, "tight", &stats, NULL), 0);
    while (stats.waiters != count);
}

static fastalloc_handle_t take_it(void)
{
    fastalloc_handle_t handle;
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    return handle;
}

START_TEST(test_a_wait_ends_at_its_timeout_and_not_before)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    take_it();
    int64_t start = now();
    ck_assert_int_eq(fastalloc_allocate(pool, 50 * MILLISECOND, &handle, &error),
                     FASTALLOC_ERR_TIMEOUT);
    ck_assert_int_ge(now() - start, 50 * MILLISECOND);
    ck_assert_str_eq(error.pool, "tight");
    ck_assert_uint_eq(error.capacity, 1);
    ck_assert_uint_eq(error.allocated, 1);
}
END_TEST

START_TEST(test_a_wait_longer_than_the_limit_for_replies_is_no_lost_reply)
{
    fastalloc_connection_t *hasty;
    fastalloc_handle_t handle;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = server.socket;
    options.reply_limit = SECOND;
    take_it();
    ck_assert_int_eq(fastalloc_connect(&options, &hasty, NULL), 0);
    fastalloc_pool_t *same = test_daemon_pool(hasty, "tight", 64, 1);
    ck_assert_int_eq(fastalloc_allocate(same, 3 * SECOND / 2, &handle, NULL),
                     FASTALLOC_ERR_TIMEOUT);
    ck_assert_int_eq(fastalloc_try_allocate(same, &handle, NULL), FASTALLOC_ERR_POOL_EXHAUSTED);
    fastalloc_disconnect(hasty);
}
END_TEST

static void wait_for_it(int control, const void *socket)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t handle;
    fastalloc_pool_t *tight = child_open(socket, "tight", &mine);
    child_require(fastalloc_allocate(tight, FASTALLOC_FOREVER, &handle, NULL) == 0);
    child_require(fastalloc_get(tight, handle) != NULL);
    child_say(control, 'g');
    child_listen(control);
    fastalloc_disconnect(mine);
}

START_TEST(test_what_is_freed_is_handed_to_the_process_that_waits)
{
    struct test_child child;
    fastalloc_handle_t handle = take_it();
    test_child_start(&child, wait_for_it, server.socket);
    await_waiters(1);
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    test_child_hear(&child, 'g');
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), FASTALLOC_ERR_POOL_EXHAUSTED);
    test_child_tell(&child, 'e');
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

START_TEST(test_a_killed_process_hands_on_what_it_had)
{
    struct test_child child;
    fastalloc_handle_t handle;
    test_child_start(&child, wait_for_it, server.socket);
    test_child_hear(&child, 'g');
    test_child_kill(&child, SIGKILL);
    ck_assert_int_eq(fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, NULL), 0);
}
END_TEST

struct waiter {
    pthread_t thread;
    int result;
    fastalloc_handle_t handle;
};

static void *wait_in_thread(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &waiter->handle, NULL);
    return NULL;
}

START_TEST(test_other_threads_work_on_while_one_waits)
{
    struct waiter waiter;
    fastalloc_handle_t handle = take_it();
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_in_thread, &waiter), 0);
    await_waiters(1);
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, 0);
    ck_assert_ptr_nonnull(fastalloc_get(pool, waiter.handle));
}
END_TEST

START_TEST(test_who_waits_for_a_pool_that_is_destroyed_is_told)
{
    struct waiter waiter;
    take_it();
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_in_thread, &waiter), 0);
    await_waiters(1);
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "tight", true, NULL), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, FASTALLOC_ERR_POOL_DESTROYED);
}
END_TEST

START_TEST(test_who_waits_when_the_daemon_ends_is_told_if_none_comes_after_it)
{
    struct waiter waiter;
    take_it();
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_in_thread, &waiter), 0);
    await_waiters(1);
    ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    fastalloc_disconnect(connection);

    test_daemon_restart(&server, NULL);
    connection = test_daemon_connect(&server);
}
END_TEST

START_TEST(test_who_waits_when_the_daemon_is_killed_is_told_if_none_comes_after_it)
{
    struct waiter waiter;
    fastalloc_handle_t handle = take_it();
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_in_thread, &waiter), 0);
    await_waiters(1);
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, FASTALLOC_ERR_UNREACHABLE);

    /* What was allocated can still be read. */
    ck_assert_ptr_nonnull(fastalloc_get(pool, handle));
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    fastalloc_disconnect(connection);

    /* The next one cleans up after it. */
    test_daemon_restart(&server, NULL);
    connection = test_daemon_connect(&server);
}
END_TEST

START_TEST(test_a_stopped_daemon_is_given_up_at_the_limit)
{
    fastalloc_connection_t *hasty;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = server.socket;
    options.reply_limit = SECOND / 5;
    ck_assert_int_eq(fastalloc_connect(&options, &hasty, NULL), 0);
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    ck_assert_int_eq(fastalloc_ping(hasty, &info, NULL), FASTALLOC_ERR_NO_REPLY);
    ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
    fastalloc_disconnect(hasty);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_a_wait_ends_at_its_timeout_and_not_before,
        test_a_wait_longer_than_the_limit_for_replies_is_no_lost_reply,
        test_what_is_freed_is_handed_to_the_process_that_waits,
        test_a_killed_process_hands_on_what_it_had,
        test_other_threads_work_on_while_one_waits,
        test_who_waits_for_a_pool_that_is_destroyed_is_told,
        test_who_waits_when_the_daemon_ends_is_told_if_none_comes_after_it,
        test_who_waits_when_the_daemon_is_killed_is_told_if_none_comes_after_it,
        test_a_stopped_daemon_is_given_up_at_the_limit,
    };
    return suite_run("client_wait", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
