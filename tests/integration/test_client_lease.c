/* SPDX-License-Identifier: MIT */
/*
 * Leased pools in one process, with a real daemon: what is done without it, what is asked of it, and
 * that nobody can tell which it was. That something is done without it is shown while it is stopped.
 */
#include <fastalloc/admin.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bias.h"
#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define CAPACITY 4096
#define SIZE 64
#define FIRST 32 /* slots that a thread is granted first */

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_error_t error;

static void setup(void)
{
    static const char *const arguments[] = {"--log-level", "error", NULL};
    test_daemon_start(&server, arguments);
    connection = test_daemon_connect(&server);
    error = FASTALLOC_ERROR_INIT;
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

/* ---- Help ------------------------------------------------------------------------------------ */

static fastalloc_open_options_t leased(uint64_t capacity)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = SIZE;
    options.capacity = capacity;
    options.kind = FASTALLOC_LEASED;
    return options;
}

static fastalloc_pool_t *open_with(const char *name, const fastalloc_open_options_t *options)
{
    fastalloc_pool_t *pool;
    ck_assert_msg(fastalloc_open(connection, name, options, &pool, &error) == 0, "%s",
                  error.message);
    return pool;
}

static fastalloc_pool_t *open_leased(const char *name, uint64_t capacity)
{
    fastalloc_open_options_t options = leased(capacity);
    return open_with(name, &options);
}

static fastalloc_handle_t take(fastalloc_pool_t *pool)
{
    fastalloc_handle_t handle;
    ck_assert_msg(fastalloc_try_allocate(pool, &handle, &error) == 0, "%s", error.message);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handle));
    return handle;
}

static void give(fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    ck_assert_msg(fastalloc_free(pool, handle, &error) == 0, "%s", error.message);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
}

static void stop_daemon(void)
{
    int status;
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(server.pid, &status, WUNTRACED), server.pid);
}

static void continue_daemon(void)
{
    ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
}

/* Also has the replies read that came before. */
static fastalloc_stats_t stats_of(const char *name)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, name, &stats, NULL), 0);
    return stats;
}

/* All slots but `used` can be allocated, not one more, and then freed. */
static void expect_room(fastalloc_pool_t *pool, uint64_t capacity, uint64_t used)
{
    static fastalloc_handle_t handles[CAPACITY];
    for (uint64_t i = 0; i < capacity - used; i++)
        handles[i] = take(pool);
    fastalloc_handle_t handle;
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error), FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.allocated, capacity);
    for (uint64_t i = 0; i < capacity - used; i++)
        give(pool, handles[i]);
}

/* ---- What a pool is -------------------------------------------------------------------------- */

START_TEST(test_a_pool_is_of_the_kind_it_was_made_as)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_pool_t *pool = open_leased("leased", 16), *same;
    ck_assert_int_eq(fastalloc_pool_show(connection, "leased", &info, NULL), 0);
    ck_assert_int_eq(info.kind, FASTALLOC_LEASED);
    ck_assert(!info.damaged);
    ck_assert_int_eq(fastalloc_open(connection, "leased", NULL, &same, NULL), 0);
    ck_assert_ptr_eq(same, pool);

    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.kind = FASTALLOC_BROKERED;
    ck_assert_int_eq(fastalloc_open(connection, "leased", &options, &same, &error),
                     FASTALLOC_ERR_CONFIG_MISMATCH);
    ck_assert_str_eq(error.field, "kind");
    ck_assert_ptr_nonnull(strstr(error.message, "exists with kind 'leased', not 'brokered';"));

    options = leased(16);
    options.kind = 0;
    open_with("plain", &options);
    ck_assert_int_eq(fastalloc_pool_show(connection, "plain", &info, NULL), 0);
    ck_assert_int_eq(info.kind, FASTALLOC_BROKERED);
}
END_TEST

START_TEST(test_kinds_that_there_are_not_are_refused)
{
    static const int32_t kinds[] = {-1, 3, INT32_MAX};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        fastalloc_pool_t *pool;
        fastalloc_open_options_t options = leased(16);
        options.kind = kinds[i];
        ck_assert_int_eq(fastalloc_open(connection, "x", &options, &pool, &error),
                         FASTALLOC_ERR_INVALID_ARGUMENT);
        ck_assert_str_eq(error.field, "kind");
    }
}
END_TEST

START_TEST(test_who_opens_for_reading_can_look_and_no_more)
{
    fastalloc_pool_t *pool = open_leased("objects", 16);
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    fastalloc_pool_t *reader = open_with("objects", &options);
    fastalloc_handle_t handle = take(pool), other;
    memcpy(fastalloc_get(pool, handle), "written", sizeof("written"));
    ck_assert_str_eq(fastalloc_get(reader, handle), "written");
    ck_assert_int_eq(fastalloc_try_allocate(reader, &other, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_int_eq(fastalloc_free(reader, handle, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_int_eq(fastalloc_free_many(reader, &handle, 1, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    fastalloc_close(pool); /* the session stays a member: what it cached is given back here */
    ck_assert_uint_eq(stats_of("objects").cached, 0);
    ck_assert_ptr_nonnull(fastalloc_get(reader, handle));
}
END_TEST

/* ---- Without the daemon ---------------------------------------------------------------------- */

START_TEST(test_what_is_cached_is_allocated_and_freed_without_the_daemon)
{
    fastalloc_pool_t *pool = open_leased("objects", CAPACITY);
    fastalloc_handle_t handles[FIRST];
    handles[0] = take(pool);
    stop_daemon();
    for (int round = 0; round < 1000; round++) {
        for (int i = 1; i < FIRST; i++)
            handles[i] = take(pool);
        for (int i = 1; i < FIRST; i++)
            give(pool, handles[i]);
    }
    continue_daemon();
    fastalloc_stats_t stats = stats_of("objects");
    ck_assert_uint_eq(stats.total_allocations, 1 + 1000L * (FIRST - 1));
    ck_assert_uint_eq(stats.total_deallocations, 1000L * (FIRST - 1));
    ck_assert_uint_eq(stats.current_usage, 1);
    ck_assert_uint_eq(stats.cached, FIRST - 1);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handles[0]));
}
END_TEST

START_TEST(test_slots_are_used_in_the_order_of_their_memory)
{
    fastalloc_pool_t *pool = open_leased("objects", CAPACITY);
    char *last = fastalloc_get(pool, take(pool));
    for (int i = 1; i < 1000; i++) {
        char *next = fastalloc_get(pool, take(pool));
        ck_assert_ptr_eq(next, last + SIZE);
        last = next;
    }
}
END_TEST

START_TEST(test_batches_come_out_of_the_cache_too)
{
    fastalloc_pool_t *pool = open_leased("objects", CAPACITY);
    static fastalloc_handle_t handles[FASTALLOC_BATCH_MAX];
    ck_assert_int_eq(fastalloc_allocate_many(pool, FASTALLOC_BATCH_MAX, 0, handles, &error), 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, FASTALLOC_BATCH_MAX, &error), 0);
    stop_daemon();
    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(fastalloc_allocate_many(pool, FASTALLOC_BATCH_MAX, 0, handles, &error), 0);
        ck_assert_int_eq(fastalloc_free_many(pool, handles, FASTALLOC_BATCH_MAX, &error), 0);
    }
    continue_daemon();
    ck_assert_uint_eq(stats_of("objects").current_usage, 0);
    expect_room(pool, CAPACITY, 0);
}
END_TEST

/* The last ones that a thread frees are its cache's, the first ones anybody's. */
START_TEST(test_a_cache_has_a_limit_and_what_is_beyond_it_is_everybodys)
{
    fastalloc_pool_t *pool = open_leased("objects", CAPACITY + FASTALLOC_BATCH_MAX);
    static fastalloc_handle_t handles[CAPACITY + FASTALLOC_BATCH_MAX];
    for (int i = 0; i < CAPACITY + FASTALLOC_BATCH_MAX; i++)
        handles[i] = take(pool);
    for (int i = 0; i < CAPACITY + FASTALLOC_BATCH_MAX; i++)
        give(pool, handles[i]);
    fastalloc_stats_t stats = stats_of("objects");
    ck_assert_uint_eq(stats.current_usage, 0);
    ck_assert_uint_le(stats.cached, CAPACITY);
    ck_assert_uint_eq(stats.total_deallocations, CAPACITY + FASTALLOC_BATCH_MAX);
}
END_TEST

START_TEST(test_more_is_granted_before_the_cache_is_empty)
{
    fastalloc_pool_t *pool = open_leased("objects", CAPACITY);
    for (int i = 0; i < FIRST + 2 * FIRST - 2 * FIRST / 4 + 1; i++)
        take(pool); /* the last one asks for more, as a quarter of the second grant is left */
    stats_of("objects");
    stop_daemon();
    for (int i = 0; i < 2 * FIRST / 4 - 1 + 4 * FIRST - 4 * FIRST / 4; i++)
        take(pool);
    continue_daemon();
    ck_assert_uint_eq(stats_of("objects").current_usage, FIRST + 2 * FIRST + 3 * FIRST);
}
END_TEST

/* ---- Refusals -------------------------------------------------------------------------------- */

/* What fastalloc_free() said of the handle is what the daemon says of it. */
static void expect_as_daemon(fastalloc_pool_t *pool, fastalloc_handle_t handle, int code)
{
    fastalloc_error_t its = FASTALLOC_ERROR_INIT;
    error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_free(pool, handle, &error), code);
    ck_assert_int_eq(fastalloc_release(pool, &handle, 1, &its), code);
    ck_assert_mem_eq(&error, &its, sizeof(error));
    ck_assert_int_eq(error.code, code);
    ck_assert_str_eq(error.pool, fastalloc_pool_name(pool));
}

START_TEST(test_bad_handles_are_refused_in_the_words_of_the_daemon)
{
    fastalloc_pool_t *pool = open_leased("objects", 16), *other = open_leased("others", 16);
    fastalloc_handle_t handle = take(pool), wild = handle;
    give(pool, handle);
    expect_as_daemon(pool, handle, FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_int_eq(take(pool).index, handle.index);
    expect_as_daemon(pool, handle, FASTALLOC_ERR_STALE_HANDLE);
    expect_as_daemon(other, handle, FASTALLOC_ERR_WRONG_POOL);
    expect_as_daemon(pool, FASTALLOC_HANDLE_NONE, FASTALLOC_ERR_WRONG_POOL);
    wild.index = 16;
    expect_as_daemon(pool, wild, FASTALLOC_ERR_STALE_HANDLE);
    wild.index = UINT32_MAX;
    expect_as_daemon(pool, wild, FASTALLOC_ERR_STALE_HANDLE);
    wild = handle;
    wild.tag ^= UINT64_C(1) << 60;
    expect_as_daemon(pool, wild, FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_uint_eq(stats_of("objects").current_usage, 1);
}
END_TEST

START_TEST(test_a_batch_with_one_bad_handle_frees_none)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_handle_t handles[40];
    for (int i = 0; i < 40; i++)
        handles[i] = take(pool);
    fastalloc_handle_t good = handles[30];
    const struct {
        fastalloc_handle_t handle;
        int code;
    } bad[] = {
        {FASTALLOC_HANDLE_NONE, FASTALLOC_ERR_WRONG_POOL},
        {{good.pool, good.index, good.tag + 1}, FASTALLOC_ERR_STALE_HANDLE},
        {handles[3], FASTALLOC_ERR_DUPLICATE_HANDLE},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        handles[30] = bad[i].handle;
        ck_assert_int_eq(fastalloc_free_many(pool, handles, 40, &error), bad[i].code);
        ck_assert_uint_eq(error.position, 30);
        ck_assert_uint_eq(stats_of("objects").current_usage, 40);
    }
    handles[30] = good;
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 40, &error), 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 40, &error), FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_uint_eq(error.position, 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 0, NULL), FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, FASTALLOC_BATCH_MAX + 1, NULL),
                     FASTALLOC_ERR_LIMIT_EXCEEDED);
    expect_room(pool, 64, 0);
}
END_TEST

START_TEST(test_objects_cannot_be_evictable)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    fastalloc_handle_t handle = take(pool);
    options.evictable = true;
    ck_assert_int_eq(fastalloc_allocate_with(pool, &options, &handle, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "evictable");
}
END_TEST

/* What fastalloc_check_left() says; "" if there are so many. */
static const char *complaint(fastalloc_pool_t *pool, uint64_t least)
{
    static char text[256];
    int says[2], own = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe2(says, O_CLOEXEC), 0);
    dup2(says[1], STDERR_FILENO);
    fastalloc_check_left(pool, least, false, "file.c", 1);
    dup2(own, STDERR_FILENO);
    close(own);
    close(says[1]);
    ssize_t size = read(says[0], text, sizeof(text) - 1);
    ck_assert_int_ge(size, 0);
    text[size] = '\0';
    close(says[0]);
    return text;
}

START_TEST(test_what_is_left_is_as_of_now)
{
    fastalloc_handle_t handles[52];
    fastalloc_pool_t *pool = open_leased("objects", 64);
    for (int i = 0; i < 52; i++)
        handles[i] = take(pool);
    ck_assert_str_eq(complaint(pool, 12), "");
    ck_assert_str_eq(complaint(pool, 13),
                     "file.c:1: pool 'objects' has 12 of 64 slots left, fewer than 13\n");
    for (int i = 0; i < 52; i++)
        give(pool, handles[i]);
    ck_assert_str_eq(complaint(pool, 64), "");
}
END_TEST

START_TEST(test_a_destroyed_pool_is_gone_for_its_members)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_handle_t handle = take(pool), other;
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "objects", false, NULL),
                     FASTALLOC_ERR_POOL_IN_USE);
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "objects", true, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
    ck_assert_int_eq(fastalloc_try_allocate(pool, &other, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_int_eq(fastalloc_allocate_many(pool, 2, 0, &other, &error),
                     FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_int_eq(fastalloc_free(pool, handle, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_str_eq(error.pool, "objects");
    fastalloc_close(pool);
    expect_room(open_leased("objects", 64), 64, 0);
}
END_TEST

START_TEST(test_a_cache_of_a_daemon_that_died_is_used_up_and_then_told_of)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_handle_t handle = take(pool);
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    give(pool, handle);
    int taken = 0, result;
    while ((result = fastalloc_try_allocate(pool, &handle, NULL)) == 0)
        taken++;
    ck_assert_int_eq(result, FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_ge(taken, 1);
    give(pool, handle);
    fastalloc_disconnect(connection);
    test_daemon_restart(&server, NULL);
    connection = test_daemon_connect(&server);
}
END_TEST

/* The lines of threads stand before the words. */
static bool is_biased(const fastalloc_pool_t *pool, uint32_t index)
{
    const uint64_t *words = fastalloc_pool_view(pool)->words;
    const struct layout_thread *lines = (const struct layout_thread *)(const void *)words;
    uint32_t number = slot_member(words[index]);
    return bias_is_thread(number) && !bias_is_revoked(lines - (SLOT_MEMBER_POOL - number));
}

/* Twice, so that what was asked for the first time is in nobody's way. */
START_TEST(test_a_thread_that_needs_no_slots_is_biased_again_after_a_restart)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_handle_t handle = take(pool);
    if (!is_biased(pool, handle.index))
        return; /* there are no barriers on this machine */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
        test_daemon_restart(&server, NULL);
        while (is_biased(pool, handle.index))
            sched_yield();
        while (!is_biased(pool, handle.index)) {
            give(pool, handle);
            handle = take(pool);
        }
    }
    give(pool, handle);
}
END_TEST

/* ---- What objects begin with ----------------------------------------------------------------- */

static void expect_content(fastalloc_pool_t *pool, fastalloc_handle_t handle, const char *content)
{
    const unsigned char *object = fastalloc_get(pool, handle);
    size_t size = strlen(content);
    ck_assert_mem_eq(object, content, size);
    for (size_t i = size; i < SIZE; i++)
        ck_assert_uint_eq(object[i], 0);
}

START_TEST(test_objects_begin_with_template_and_zeroes_wherever_they_come_from)
{
    static const char *const templates[] = {"", "template"};
    for (size_t i = 0; i < 2; i++) {
        fastalloc_open_options_t options = leased(64);
        options.zero = FASTALLOC_ZERO_ON_ALLOCATE;
        options.template_bytes = templates[i];
        options.template_size = strlen(templates[i]);
        fastalloc_pool_t *pool = open_with(i == 0 ? "zeroed" : "templated", &options);
        fastalloc_handle_t handles[64];
        for (int round = 0; round < 4; round++) {
            for (int k = 0; k < 8; k++)
                handles[k] = take(pool);
            ck_assert_int_eq(fastalloc_allocate_many(pool, 56, 0, handles + 8, &error), 0);
            for (int k = 0; k < 64; k++) {
                expect_content(pool, handles[k], templates[i]);
                memset(fastalloc_get(pool, handles[k]), 0xee, SIZE);
            }
            ck_assert_int_eq(fastalloc_free_many(pool, handles, 64, &error), 0);
        }
    }
}
END_TEST

START_TEST(test_a_template_alone_leaves_the_rest)
{
    fastalloc_open_options_t options = leased(64);
    options.template_bytes = "template";
    options.template_size = 8;
    fastalloc_pool_t *pool = open_with("templated", &options);
    fastalloc_handle_t handle = take(pool);
    memset(fastalloc_get(pool, handle), 0xee, SIZE);
    give(pool, handle);
    unsigned char *object = fastalloc_get(pool, take(pool));
    ck_assert_mem_eq(object, "template", 8);
    ck_assert_uint_eq(object[8], 0xee);
}
END_TEST

START_TEST(test_freed_objects_are_overwritten_if_the_pool_says_so)
{
    fastalloc_open_options_t options = leased(64);
    options.zero = FASTALLOC_ZERO_ON_FREE;
    fastalloc_pool_t *pool = open_with("secret", &options);
    fastalloc_handle_t handles[3] = {take(pool), take(pool), take(pool)};
    const unsigned char *objects[3];
    for (int i = 0; i < 3; i++) {
        objects[i] = fastalloc_get(pool, handles[i]);
        memset(fastalloc_get(pool, handles[i]), 's', SIZE);
    }
    give(pool, handles[0]);
    ck_assert_int_eq(fastalloc_free_many(pool, handles + 1, 2, &error), 0);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < SIZE; k++)
            ck_assert_uint_eq(objects[i][k], 0);
    ck_assert_int_eq(fastalloc_free(pool, handles[0], &error), FASTALLOC_ERR_STALE_HANDLE);
}
END_TEST

/* ---- Policies -------------------------------------------------------------------------------- */

START_TEST(test_pools_grow_under_their_members)
{
    fastalloc_open_options_t options = leased(32);
    options.capacity_max = 500;
    options.growth = "linear:50";
    fastalloc_pool_t *pool = open_with("growing", &options);
    fastalloc_handle_t handles[500], handle;
    for (uint32_t i = 0; i < 500; i++) {
        handles[i] = take(pool);
        memcpy(fastalloc_get(pool, handles[i]), &i, sizeof(i));
    }
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error),
                     FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED);
    for (uint32_t i = 0; i < 500; i++)
        ck_assert_mem_eq(fastalloc_get(pool, handles[i]), &i, sizeof(i));
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 500, &error), 0);
}
END_TEST

static int take_as(fastalloc_pool_t *pool, int32_t priority)
{
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    fastalloc_handle_t handle;
    options.priority = priority;
    return fastalloc_allocate_with(pool, &options, &handle, &error);
}

START_TEST(test_reserves_are_kept_for_whom_they_are)
{
    fastalloc_open_options_t options = leased(100);
    options.reserve_critical = 10;
    options.reserve_normal = 20;
    fastalloc_pool_t *pool = open_with("reserved", &options);
    unsigned got[3] = {0};
    while (take_as(pool, FASTALLOC_BEST_EFFORT) == 0)
        got[0]++;
    while (take_as(pool, FASTALLOC_NORMAL) == 0)
        got[1]++;
    while (take_as(pool, FASTALLOC_CRITICAL) == 0)
        got[2]++;
    ck_assert_uint_eq(got[0], 70);
    ck_assert_uint_eq(got[1], 20);
    ck_assert_uint_eq(got[2], 10);
}
END_TEST

START_TEST(test_quotas_hold_with_caches_and_these_refuse_nothing)
{
    fastalloc_open_options_t options = leased(100);
    options.session_slots = 50;
    options.user_slots = 70;
    fastalloc_pool_t *pool = open_with("shares", &options), *others;
    fastalloc_connection_t *another = test_daemon_connect(&server);
    fastalloc_handle_t handles[50], handle;
    ck_assert_int_eq(fastalloc_open(another, "shares", NULL, &others, NULL), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++)
            handles[i] = take(pool);
        ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error),
                         FASTALLOC_ERR_QUOTA_EXCEEDED);
        ck_assert_str_eq(error.field, "session_slots");
        for (int i = 0; i < 50; i++)
            give(pool, handles[i]);
    }
    for (int i = 0; i < 50; i++)
        take(others); /* though 50 are in a cache of the same user */
    for (int i = 0; i < 20; i++)
        take(pool);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error), FASTALLOC_ERR_QUOTA_EXCEEDED);
    fastalloc_disconnect(another);
}
END_TEST

/* ---- Holds ----------------------------------------------------------------------------------- */

START_TEST(test_what_is_shared_goes_with_its_last_hold)
{
    fastalloc_pool_t *pool = open_leased("objects", 64), *others;
    fastalloc_connection_t *another = test_daemon_connect(&server);
    ck_assert_int_eq(fastalloc_open(another, "objects", NULL, &others, NULL), 0);
    fastalloc_handle_t handles[2] = {take(pool), take(pool)};
    ck_assert_int_eq(fastalloc_retain(others, handles, 1, NULL), 0);
    ck_assert_int_eq(fastalloc_free(pool, handles[0], &error), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 2, &error), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_uint_eq(error.position, 0);
    ck_assert_int_eq(fastalloc_release(pool, handles, 1, NULL), 0);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handles[0]));
    ck_assert_int_eq(fastalloc_release(others, handles, 1, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handles[0]));
    ck_assert_int_eq(fastalloc_detach(pool, &handles[1], 1, NULL), 0);
    fastalloc_disconnect(another);
    give(pool, handles[1]); /* of the pool's own */
    expect_room(pool, 64, 0);
}
END_TEST

START_TEST(test_what_is_held_twice_by_one_session_it_may_free)
{
    fastalloc_pool_t *pool = open_leased("objects", 64);
    fastalloc_handle_t handles[2] = {take(pool), take(pool)};
    ck_assert_int_eq(fastalloc_retain(pool, &handles[1], 1, NULL), 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 2, &error), 0);
    expect_room(pool, 64, 0);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

struct visitor {
    fastalloc_pool_t *pool;
    int count; /* objects to leave */
    fastalloc_handle_t handles[128];
};

static void *visit(void *argument)
{
    struct visitor *visitor = argument;
    for (int i = 0; i < visitor->count; i++)
        if (fastalloc_try_allocate(visitor->pool, &visitor->handles[i], NULL) < 0)
            return argument;
    return NULL;
}

static void run_visitor(struct visitor *visitor)
{
    pthread_t thread;
    void *failed;
    ck_assert_int_eq(pthread_create(&thread, NULL, visit, visitor), 0);
    ck_assert_int_eq(pthread_join(thread, &failed), 0);
    ck_assert_ptr_null(failed);
}

START_TEST(test_a_thread_that_ends_gives_its_cache_back_and_leaves_its_objects)
{
    struct visitor visitor = {.pool = open_leased("objects", CAPACITY), .count = 5};
    run_visitor(&visitor);
    fastalloc_stats_t stats = stats_of("objects");
    ck_assert_uint_eq(stats.cached, 0);
    ck_assert_uint_eq(stats.current_usage, 5);
    for (int i = 0; i < 5; i++)
        give(visitor.pool, visitor.handles[i]);
    expect_room(visitor.pool, CAPACITY, 0);
}
END_TEST

/* Such that it has just asked for more. */
START_TEST(test_a_thread_may_end_with_a_request_under_way)
{
    struct visitor visitor = {.pool = open_leased("objects", CAPACITY)};
    visitor.count = FIRST + 2 * FIRST - 2 * FIRST / 4 + 1;
    for (int round = 0; round < 3; round++) {
        run_visitor(&visitor);
        ck_assert_int_eq(
            fastalloc_free_many(visitor.pool, visitor.handles, (size_t)visitor.count, &error), 0);
        ck_assert_uint_eq(stats_of("objects").current_usage, 0);
    }
    expect_room(visitor.pool, CAPACITY, 0);
}
END_TEST

/* Its reply comes before that to a later request, with which it goes back. */
START_TEST(test_what_a_thread_had_asked_for_as_it_ended_goes_back)
{
    struct visitor visitor = {.pool = open_leased("objects", CAPACITY)};
    visitor.count = FIRST + 2 * FIRST - 2 * FIRST / 4 + 1;
    for (int round = 0; round < 3; round++)
        run_visitor(&visitor);
    stats_of("objects");
    ck_assert_uint_eq(stats_of("objects").cached, 0);
    ck_assert_uint_eq(stats_of("objects").current_usage, 3 * (uint64_t)visitor.count);
}
END_TEST

START_TEST(test_a_pool_may_be_closed_with_a_request_under_way)
{
    for (int round = 0; round < 3; round++) {
        fastalloc_pool_t *pool = open_leased("objects", CAPACITY);
        for (int i = 0; i < FIRST + 2 * FIRST - 2 * FIRST / 4 + 1; i++)
            take(pool);
        fastalloc_close(pool);
        ck_assert_uint_eq(stats_of("objects").current_usage, 0);
    }
    expect_room(open_leased("objects", CAPACITY), CAPACITY, 0);
}
END_TEST

struct guest {
    fastalloc_pool_t *first;
    fastalloc_pool_t *second;
    pthread_barrier_t turn;
    bool failed;
};

static void *stay(void *argument)
{
    struct guest *guest = argument;
    fastalloc_handle_t handle;
    bool good = fastalloc_try_allocate(guest->first, &handle, NULL) == 0;
    pthread_barrier_wait(&guest->turn);
    pthread_barrier_wait(&guest->turn); /* the first is closed, the second is open meanwhile */
    for (int i = 0; i < 100 && good; i++)
        good = fastalloc_try_allocate(guest->second, &handle, NULL) == 0 &&
               fastalloc_free(guest->second, handle, NULL) == 0;
    if (!good)
        __atomic_store_n(&guest->failed, true, __ATOMIC_RELAXED);
    return NULL;
}

START_TEST(test_a_pool_may_be_closed_with_caches_of_other_threads)
{
    struct guest guest = {.first = open_leased("first", CAPACITY)};
    pthread_t threads[3];
    pthread_barrier_init(&guest.turn, NULL, 4);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stay, &guest), 0);
    pthread_barrier_wait(&guest.turn);
    fastalloc_close(guest.first);
    guest.second = open_leased("second", CAPACITY);
    pthread_barrier_wait(&guest.turn);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!guest.failed);
    pthread_barrier_destroy(&guest.turn);
    fastalloc_stats_t stats = stats_of("second");
    ck_assert_uint_eq(stats.current_usage + stats.cached, 0);
    stats = stats_of("first");
    ck_assert_uint_eq(stats.current_usage + stats.cached, 0);
}
END_TEST

/* What one thread has cached isn't missing when another needs it. */
START_TEST(test_the_caches_of_idle_threads_are_there_for_the_others)
{
    struct guest guest = {.first = open_leased("first", 100)};
    pthread_t threads[3];
    pthread_barrier_init(&guest.turn, NULL, 4);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stay, &guest), 0);
    pthread_barrier_wait(&guest.turn);
    expect_room(guest.first, 100, 3);
    guest.second = guest.first;
    pthread_barrier_wait(&guest.turn);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!guest.failed);
    pthread_barrier_destroy(&guest.turn);
    expect_room(guest.first, 100, 3);
}
END_TEST

/* Somebody else takes all there is, and goes. */
static void have_all_taken_back(const char *name, uint64_t capacity)
{
    fastalloc_connection_t *another = test_daemon_connect(&server);
    fastalloc_pool_t *pool;
    ck_assert_int_eq(fastalloc_open(another, name, NULL, &pool, NULL), 0);
    expect_room(pool, capacity, 0);
    fastalloc_disconnect(another);
    while (stats_of(name).cached > 0)
        continue;
}

/* Some of what it has cached was taken back and is another thread's: enough for a part of a batch. */
START_TEST(test_a_batch_that_comes_short_leaves_nothing_behind)
{
    struct guest guest = {.first = open_leased("objects", 40)};
    fastalloc_handle_t handles[32];
    pthread_t thread;
    ck_assert_int_eq(fastalloc_allocate_many(guest.first, 32, 0, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_free_many(guest.first, handles, 32, NULL), 0);
    have_all_taken_back("objects", 40);
    pthread_barrier_init(&guest.turn, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, stay, &guest), 0);
    pthread_barrier_wait(&guest.turn);
    ck_assert_uint_ge(stats_of("objects").cached, 9);
    ck_assert_int_eq(fastalloc_allocate_many(guest.first, 32, 0, handles, NULL), 0);
    ck_assert_uint_eq(stats_of("objects").current_usage, 1 + 32);
    guest.second = guest.first;
    pthread_barrier_wait(&guest.turn);
    pthread_join(thread, NULL);
    ck_assert(!guest.failed);
    pthread_barrier_destroy(&guest.turn);
}
END_TEST

/* ---- A forked child -------------------------------------------------------------------------- */

static fastalloc_pool_t *inherited;
static fastalloc_handle_t inherited_handle;

static void *use_in_child(void *argument)
{
    fastalloc_pool_t *pool = argument;
    fastalloc_handle_t handle;
    for (int i = 0; i < 100; i++) {
        child_require(fastalloc_try_allocate(pool, &handle, NULL) == 0);
        child_require(fastalloc_get(pool, handle) != NULL);
        child_require(fastalloc_free(pool, handle, NULL) == 0);
    }
    return NULL;
}

static void be_a_child(int control, const void *argument)
{
    fastalloc_connection_t *own;
    fastalloc_handle_t handles[2];
    pthread_t thread;
    child_require(fastalloc_try_allocate(inherited, handles, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_allocate(inherited, -1, handles, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_allocate_many(inherited, 2, 0, handles, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_free(inherited, inherited_handle, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_free_many(inherited, &inherited_handle, 1, NULL) ==
                  FASTALLOC_ERR_FORKED);
    fastalloc_pool_t *pool = child_open(server.socket, "objects", &own);
    use_in_child(pool);
    child_require(pthread_create(&thread, NULL, use_in_child, pool) == 0);
    child_require(pthread_join(thread, NULL) == 0);
    child_require(fastalloc_try_allocate(inherited, handles, NULL) == FASTALLOC_ERR_FORKED);
    if (argument) /* whether it closes what is its parent's */
        fastalloc_disconnect(connection);
    fastalloc_disconnect(own);
}

START_TEST(test_a_forked_child_has_nothing_of_it_and_can_have_its_own)
{
    inherited = open_leased("objects", CAPACITY);
    inherited_handle = take(inherited);
    for (int round = 0; round < 2; round++) {
        struct test_child child;
        test_child_start(&child, be_a_child, round == 0 ? NULL : "");
        ck_assert_int_eq(test_child_join(&child), 0);
        ck_assert_ptr_nonnull(fastalloc_get(inherited, inherited_handle));
        give(inherited, take(inherited));
    }
    fastalloc_stats_t stats = stats_of("objects");
    ck_assert_uint_eq(stats.current_usage, 1);
    expect_room(inherited, CAPACITY, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_a_pool_is_of_the_kind_it_was_made_as,
        test_kinds_that_there_are_not_are_refused,
        test_who_opens_for_reading_can_look_and_no_more,
        test_what_is_cached_is_allocated_and_freed_without_the_daemon,
        test_slots_are_used_in_the_order_of_their_memory,
        test_batches_come_out_of_the_cache_too,
        test_a_cache_has_a_limit_and_what_is_beyond_it_is_everybodys,
        test_more_is_granted_before_the_cache_is_empty,
        test_bad_handles_are_refused_in_the_words_of_the_daemon,
        test_a_batch_with_one_bad_handle_frees_none,
        test_objects_cannot_be_evictable,
        test_what_is_left_is_as_of_now,
        test_a_destroyed_pool_is_gone_for_its_members,
        test_a_cache_of_a_daemon_that_died_is_used_up_and_then_told_of,
        test_a_thread_that_needs_no_slots_is_biased_again_after_a_restart,
        test_objects_begin_with_template_and_zeroes_wherever_they_come_from,
        test_a_template_alone_leaves_the_rest,
        test_freed_objects_are_overwritten_if_the_pool_says_so,
        test_pools_grow_under_their_members,
        test_reserves_are_kept_for_whom_they_are,
        test_quotas_hold_with_caches_and_these_refuse_nothing,
        test_what_is_shared_goes_with_its_last_hold,
        test_what_is_held_twice_by_one_session_it_may_free,
        test_a_thread_that_ends_gives_its_cache_back_and_leaves_its_objects,
        test_a_thread_may_end_with_a_request_under_way,
        test_what_a_thread_had_asked_for_as_it_ended_goes_back,
        test_a_pool_may_be_closed_with_a_request_under_way,
        test_a_pool_may_be_closed_with_caches_of_other_threads,
        test_the_caches_of_idle_threads_are_there_for_the_others,
        test_a_batch_that_comes_short_leaves_nothing_behind,
        test_a_forked_child_has_nothing_of_it_and_can_have_its_own,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("client_lease", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
