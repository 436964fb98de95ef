/* SPDX-License-Identifier: MIT */
/* Objects and their handles, with a real daemon. */
#include <fastalloc/admin.h>

#include <string.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define CAPACITY 8

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

static fastalloc_handle_t allocate(void)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_try_allocate(pool, &handle, &error) == 0, "%s", error.message);
    return handle;
}

static fastalloc_stats_t stats_of(const char *name)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, name, &stats, NULL), 0);
    return stats;
}

static uint64_t usage(void)
{
    return stats_of("objects").current_usage;
}

/* ---- One process ----------------------------------------------------------------------------- */

START_TEST(test_an_object_lives_from_allocate_to_free)
{
    fastalloc_handle_t handle = allocate();
    char *object = fastalloc_get(pool, handle);
    ck_assert_ptr_nonnull(object);
    memcpy(object, "hello", sizeof("hello"));
    ck_assert_str_eq(fastalloc_get(pool, handle), "hello");
    ck_assert(fastalloc_still_valid(pool, handle));
    ck_assert_uint_eq(usage(), 1);
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
    ck_assert(!fastalloc_still_valid(pool, handle));
    ck_assert_uint_eq(usage(), 0);
}
END_TEST

START_TEST(test_the_inline_view_says_the_same_as_the_library)
{
    fastalloc_handle_t handle = allocate();
    const fastalloc_view_t *view = fastalloc_pool_view(pool);
    ck_assert_ptr_eq(fastalloc_view_get(view, handle), fastalloc_get(pool, handle));
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    ck_assert_ptr_null(fastalloc_view_get(view, handle));
}
END_TEST

START_TEST(test_objects_are_aligned_and_apart)
{
    fastalloc_handle_t handles[CAPACITY];
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    for (int i = 0; i < CAPACITY; i++) {
        ck_assert_uint_eq((uintptr_t)fastalloc_get(pool, handles[i]) % 16, 0);
        memset(fastalloc_get(pool, handles[i]), i, 64);
    }
    for (int i = 0; i < CAPACITY; i++)
        for (int j = 0; j < 64; j++)
            ck_assert_int_eq(((char *)fastalloc_get(pool, handles[i]))[j], i);
}
END_TEST

START_TEST(test_a_full_pool_is_exhausted_and_says_by_how_much)
{
    fastalloc_handle_t handles[CAPACITY], handle = {1, 2, 3};
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error), FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_str_eq(error.pool, "objects");
    ck_assert_uint_eq(error.capacity, CAPACITY);
    ck_assert_uint_eq(error.allocated, CAPACITY);
    ck_assert_uint_eq(error.requested, 1);
    ck_assert(fastalloc_handle_equal(handle, (fastalloc_handle_t){1, 2, 3}));
}
END_TEST

START_TEST(test_a_batch_is_all_or_none)
{
    fastalloc_handle_t handles[CAPACITY], untouched = {1, 2, 3};
    allocate();
    for (int i = 0; i < CAPACITY; i++)
        handles[i] = untouched;
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(usage(), 1);
    for (int i = 0; i < CAPACITY; i++)
        ck_assert(fastalloc_handle_equal(handles[i], untouched));
}
END_TEST

START_TEST(test_more_than_the_pool_ever_has_is_exhausted_at_once)
{
    fastalloc_handle_t handles[CAPACITY + 1];
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY + 1, FASTALLOC_FOREVER, handles, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
}
END_TEST

START_TEST(test_the_largest_batch_goes_and_one_more_doesnt)
{
    static fastalloc_handle_t handles[FASTALLOC_BATCH_MAX + 1];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *large = test_daemon_pool(connection, "large", 8, FASTALLOC_BATCH_MAX + 1);
    ck_assert_int_eq(fastalloc_allocate_many(large, FASTALLOC_BATCH_MAX + 1, 0, handles, &error),
                     FASTALLOC_ERR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, FASTALLOC_BATCH_MAX);
    ck_assert_int_eq(fastalloc_allocate_many(large, FASTALLOC_BATCH_MAX, 0, handles, NULL), 0);
    ck_assert_ptr_nonnull(fastalloc_get(large, handles[FASTALLOC_BATCH_MAX - 1]));
    ck_assert_int_eq(fastalloc_free_many(large, handles, FASTALLOC_BATCH_MAX + 1, &error),
                     FASTALLOC_ERR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(stats_of("large").current_usage, FASTALLOC_BATCH_MAX);
    ck_assert_int_eq(fastalloc_free_many(large, handles, FASTALLOC_BATCH_MAX, NULL), 0);
    ck_assert_uint_eq(stats_of("large").current_usage, 0);
}
END_TEST

START_TEST(test_a_batch_of_nothing_is_refused)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_allocate_many(pool, 0, 0, &handle, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "count");
    ck_assert_int_eq(fastalloc_free_many(pool, &handle, 0, &error), FASTALLOC_ERR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_statistics_count_what_happened)
{
    fastalloc_handle_t handle = allocate();
    allocate();
    fastalloc_free(pool, handle, NULL);
    fastalloc_handle_t handles[CAPACITY];
    ck_assert_int_lt(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    fastalloc_stats_t stats = stats_of("objects");
    ck_assert_uint_eq(stats.capacity, CAPACITY);
    ck_assert_uint_eq(stats.current_usage, 1);
    ck_assert_uint_eq(stats.available, CAPACITY - 1);
    ck_assert_uint_eq(stats.peak_usage, 2);
    ck_assert_uint_eq(stats.total_allocations, 2);
    ck_assert_uint_eq(stats.total_deallocations, 1);
    ck_assert_uint_eq(stats.allocation_failures, 1);
    ck_assert_uint_eq(stats.waiters, 0);
    ck_assert_double_eq(fastalloc_stats_utilization_rate(&stats), 1.0 / CAPACITY);
}
END_TEST

/* ---- Handles that free nothing --------------------------------------------------------------- */

static void expect_free_refused(const fastalloc_handle_t *handles, size_t count, int code,
                                uint64_t position)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    uint64_t before = usage();
    ck_assert_int_eq(fastalloc_free_many(pool, handles, count, &error), code);
    ck_assert_uint_eq(error.position, position);
    ck_assert_str_eq(error.pool, "objects");
    ck_assert_uint_eq(usage(), before);
}

START_TEST(test_a_second_free_is_stale_and_frees_nothing)
{
    fastalloc_handle_t handle = allocate();
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), 0);
    fastalloc_handle_t next = allocate();
    expect_free_refused(&handle, 1, FASTALLOC_ERR_STALE_HANDLE, 0);
    ck_assert_ptr_nonnull(fastalloc_get(pool, next));
}
END_TEST

START_TEST(test_one_stale_handle_saves_the_whole_batch)
{
    fastalloc_handle_t handles[3] = {allocate(), allocate(), allocate()};
    fastalloc_free(pool, handles[2], NULL);
    expect_free_refused(handles, 3, FASTALLOC_ERR_STALE_HANDLE, 2);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handles[0]));
}
END_TEST

START_TEST(test_a_duplicate_saves_the_whole_batch)
{
    fastalloc_handle_t handles[3] = {allocate(), allocate(), {0, 0, 0}};
    handles[2] = handles[0];
    expect_free_refused(handles, 3, FASTALLOC_ERR_DUPLICATE_HANDLE, 2);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handles[0]));
}
END_TEST

START_TEST(test_another_pools_handle_saves_the_whole_batch)
{
    fastalloc_pool_t *other = test_daemon_pool(connection, "other", 64, CAPACITY);
    fastalloc_handle_t handles[2] = {allocate(), {0, 0, 0}};
    ck_assert_int_eq(fastalloc_try_allocate(other, &handles[1], NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handles[1]));
    expect_free_refused(handles, 2, FASTALLOC_ERR_WRONG_POOL, 1);
    ck_assert_ptr_nonnull(fastalloc_get(other, handles[1]));
}
END_TEST

START_TEST(test_invented_handles_free_nothing)
{
    fastalloc_handle_t real = allocate(), invented;
    invented = real;
    invented.tag += 1;
    expect_free_refused(&invented, 1, FASTALLOC_ERR_STALE_HANDLE, 0);
    invented = real;
    invented.index = UINT32_MAX;
    expect_free_refused(&invented, 1, FASTALLOC_ERR_STALE_HANDLE, 0);
    invented = FASTALLOC_HANDLE_NONE;
    expect_free_refused(&invented, 1, FASTALLOC_ERR_WRONG_POOL, 0);
}
END_TEST

START_TEST(test_a_handle_survives_its_text_form)
{
    char text[FASTALLOC_HANDLE_TEXT_SIZE];
    fastalloc_handle_t handle = allocate(), parsed;
    fastalloc_handle_format(handle, text);
    ck_assert_int_eq(fastalloc_handle_parse(text, &parsed), 0);
    ck_assert_ptr_eq(fastalloc_get(pool, parsed), fastalloc_get(pool, handle));
    ck_assert_int_lt(fastalloc_handle_parse("nonsense", &parsed), 0);
}
END_TEST

/* ---- Several processes ----------------------------------------------------------------------- */

static void send_handle(int fd, fastalloc_handle_t handle)
{
    ck_assert_int_eq(write(fd, &handle, sizeof(handle)), (int)sizeof(handle));
}

/* NONE when the other end is gone. */
static fastalloc_handle_t receive_handle(int fd)
{
    fastalloc_handle_t handle;
    ssize_t size = read(fd, &handle, sizeof(handle));
    return size == (ssize_t)sizeof(handle) ? handle : FASTALLOC_HANDLE_NONE;
}

/* Reads what it gets and frees it, sends an object of its own, and sees it freed. */
static void exchange(int control, const void *socket)
{
    fastalloc_connection_t *mine;
    fastalloc_pool_t *objects = child_open(socket, "objects", &mine);
    fastalloc_handle_t ping = receive_handle(control), pong;
    const char *text = fastalloc_get(objects, ping);
    child_require(text && strcmp(text, "ping") == 0);
    child_require(fastalloc_free(objects, ping, NULL) == 0);

    child_require(fastalloc_try_allocate(objects, &pong, NULL) == 0);
    memcpy(fastalloc_get(objects, pong), "pong", sizeof("pong"));
    send_handle(control, pong);
    child_require(child_listen(control) == 'f');
    child_require(fastalloc_get(objects, pong) == NULL);
    fastalloc_disconnect(mine);
}

START_TEST(test_two_processes_exchange_objects_by_handle)
{
    struct test_child child;
    test_child_start(&child, exchange, server.socket);
    fastalloc_handle_t ping = allocate();
    memcpy(fastalloc_get(pool, ping), "ping", sizeof("ping"));
    send_handle(child.control, ping);

    fastalloc_handle_t pong = receive_handle(child.control);
    ck_assert_ptr_nonnull(fastalloc_get(pool, pong));
    ck_assert_str_eq(fastalloc_get(pool, pong), "pong");
    ck_assert_ptr_null(fastalloc_get(pool, ping));
    ck_assert_int_eq(fastalloc_free(pool, pong, NULL), 0);
    test_child_tell(&child, 'f');
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

static void allocate_and_leave(int control, const void *socket)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t handle;
    fastalloc_pool_t *objects = child_open(socket, "objects", &mine);
    child_require(fastalloc_try_allocate(objects, &handle, NULL) == 0);
    send_handle(control, handle);
    child_listen(control);
    fastalloc_disconnect(mine);
}

START_TEST(test_what_a_process_leaves_behind_is_freed)
{
    struct test_child child;
    fastalloc_handle_t all[CAPACITY];
    test_child_start(&child, allocate_and_leave, server.socket);
    fastalloc_handle_t handle = receive_handle(child.control);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handle));
    test_child_tell(&child, 'l');
    /* In the queue until the daemon has seen that the session is over. */
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, FASTALLOC_FOREVER, all, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_an_object_lives_from_allocate_to_free,
        test_the_inline_view_says_the_same_as_the_library,
        test_objects_are_aligned_and_apart,
        test_a_full_pool_is_exhausted_and_says_by_how_much,
        test_a_batch_is_all_or_none,
        test_more_than_the_pool_ever_has_is_exhausted_at_once,
        test_the_largest_batch_goes_and_one_more_doesnt,
        test_a_batch_of_nothing_is_refused,
        test_statistics_count_what_happened,
        test_a_second_free_is_stale_and_frees_nothing,
        test_one_stale_handle_saves_the_whole_batch,
        test_a_duplicate_saves_the_whole_batch,
        test_another_pools_handle_saves_the_whole_batch,
        test_invented_handles_free_nothing,
        test_a_handle_survives_its_text_form,
        test_two_processes_exchange_objects_by_handle,
        test_what_a_process_leaves_behind_is_freed,
    };
    return suite_run("client_objects", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
