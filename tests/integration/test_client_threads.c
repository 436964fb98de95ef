/* SPDX-License-Identifier: MIT */
/* Many threads on one connection to a real daemon. */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define THREADS 8
#define ROUNDS 2000
#define CAPACITY 64
#define SECOND INT64_C(1000000000)

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    pool = test_daemon_pool(connection, "objects", 64, CAPACITY);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

struct worker {
    pthread_t thread;
    const char *(*work)(unsigned number); /* what went wrong, or NULL */
    unsigned number;                      /* from 1 */
    const char *wrong;
};

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    worker->wrong = worker->work(worker->number);
    return NULL;
}

static void run_threads(const char *(*work)(unsigned number))
{
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.work = work, .number = i + 1};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_msg(!workers[i].wrong, "%s", workers[i].wrong);
    }
}

static uint64_t usage(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, "objects", &stats, NULL), 0);
    return stats.current_usage;
}

/* Whether the object still says who has it, which it doesn't if two threads got the same one. */
static bool use_object(fastalloc_handle_t handle, uint64_t value)
{
    uint64_t *object = fastalloc_get(pool, handle);
    if (!object)
        return false;
    object[0] = value;
    sched_yield();
    return object[0] == value && fastalloc_get(pool, handle) == object;
}

static const char *allocate_and_free(unsigned number)
{
    uint64_t self = (uint64_t)number << 32;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        fastalloc_handle_t handle;
        if (fastalloc_allocate(pool, 60 * SECOND, &handle, NULL) < 0)
            return "allocate failed";
        if (!use_object(handle, self | i))
            return "somebody else has the object too";
        if (fastalloc_free(pool, handle, NULL) < 0)
            return "free failed";
    }
    return NULL;
}

START_TEST(test_threads_get_objects_of_their_own)
{
    run_threads(allocate_and_free);
    ck_assert_uint_eq(usage(), 0);
}
END_TEST

START_TEST(test_threads_wait_for_each_other_when_there_is_too_little)
{
    pool = test_daemon_pool(connection, "few", 64, THREADS / 2);
    run_threads(allocate_and_free);
}
END_TEST

/* Without assertions, which lose memory when they are cancelled. */
static void *wait_for_ever(void *result)
{
    fastalloc_handle_t handle;
    *(int *)result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, NULL);
    pthread_testcancel();
    return result;
}

/* Cancelled while it waits, and perhaps reads for all: it ends after its call, the others go on. */
START_TEST(test_a_cancelled_thread_stops_nobody)
{
    pthread_t thread;
    fastalloc_handle_t handle;
    int result = 1;
    void *ended;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    pool = test_daemon_pool(connection, "one", 64, 1);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_ever, &result), 0);
    do
        ck_assert_int_eq(fastalloc_pool_stats(connection, "one", &stats, NULL), 0);
    while (stats.waiters == 0);
    ck_assert_int_eq(pthread_cancel(thread), 0);
    ck_assert_int_eq(fastalloc_pool_stats(connection, "one", &stats, NULL), 0);
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, &ended), 0);
    ck_assert_int_eq(result, 0);
    ck_assert(ended == PTHREAD_CANCELED);
    ck_assert_int_eq(fastalloc_pool_stats(connection, "one", &stats, NULL), 0);
    ck_assert_uint_eq(stats.waiters, 0);
}
END_TEST

static const char *free_in_batches(unsigned number)
{
    for (size_t i = 0; i < ROUNDS / 4; i++) {
        fastalloc_handle_t handles[CAPACITY / THREADS];
        size_t count = 1 + (i + number) % (CAPACITY / THREADS);
        if (fastalloc_allocate_many(pool, count, FASTALLOC_NOWAIT, handles, NULL) < 0)
            return "a batch failed";
        for (size_t j = 0; j < count; j++)
            if (!use_object(handles[j], i))
                return "somebody else has the object too";
        if (fastalloc_free_many(pool, handles, count, NULL) < 0)
            return "free failed";
    }
    return NULL;
}

START_TEST(test_batches_of_threads_dont_mix)
{
    run_threads(free_in_batches);
    ck_assert_uint_eq(usage(), 0);
}
END_TEST

/* Each asks for things of its own, and must get the answers to them. */
static const char *ask_this_and_that(unsigned number)
{
    char name[32];
    fastalloc_open_options_t config = FASTALLOC_OPEN_OPTIONS_INIT;
    snprintf(name, sizeof(name), "own-%u", number);
    config.object_size = 8;
    config.capacity = number;
    if (fastalloc_pool_create(connection, name, &config, NULL) < 0)
        return "create failed";
    for (int i = 0; i < ROUNDS / 4; i++) {
        fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
        fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
        fastalloc_error_t error = FASTALLOC_ERROR_INIT;
        if (fastalloc_pool_stats(connection, name, &stats, NULL) < 0 ||
            stats.capacity != config.capacity)
            return "another thread's statistics";
        if (fastalloc_pool_show(connection, name, &info, NULL) < 0 || strcmp(info.name, name) != 0)
            return "another thread's pool";
        if (fastalloc_pool_create(connection, name, &config, &error) != FASTALLOC_ERR_POOL_EXISTS ||
            strcmp(error.pool, name) != 0)
            return "another thread's error";
    }
    return NULL;
}

START_TEST(test_each_thread_gets_the_answers_to_its_questions)
{
    run_threads(ask_this_and_that);
}
END_TEST

static const char *open_and_close(unsigned number)
{
    for (int i = 0; i < ROUNDS / 20; i++) {
        fastalloc_pool_t *mine;
        fastalloc_handle_t handle;
        fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
        const char *name = number % 2 ? "odd" : "even";
        options.create = true;
        options.object_size = 8;
        options.capacity = THREADS;
        if (fastalloc_open(connection, name, &options, &mine, NULL) < 0)
            return "open failed";
        if (strcmp(fastalloc_pool_name(mine), name) != 0)
            return "another thread's pool";
        if (fastalloc_try_allocate(mine, &handle, NULL) < 0 || !fastalloc_get(mine, handle) ||
            fastalloc_free(mine, handle, NULL) < 0)
            return "the pool is of no use";
        fastalloc_close(mine);
    }
    return NULL;
}

START_TEST(test_threads_open_and_close_the_same_pools)
{
    run_threads(open_and_close);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_threads_get_objects_of_their_own,
        test_threads_wait_for_each_other_when_there_is_too_little,
        test_a_cancelled_thread_stops_nobody,
        test_batches_of_threads_dont_mix,
        test_each_thread_gets_the_answers_to_its_questions,
        test_threads_open_and_close_the_same_pools,
    };
    return suite_run("client_threads", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
