/* SPDX-License-Identifier: MIT */
#include "tests/lib/stage.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>

#include <fastalloc/admin.h>

#include "tests/lib/private_shm.h"
#include "tests/lib/timing.h"

struct stage stage;

static fastalloc_handle_t taken[STAGE_CAPACITY];
static uint32_t taken_count;

/* ---- Counting -------------------------------------------------------------------------------- */

static unsigned count_entries(const char *path)
{
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    unsigned count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2; /* "." and ".." */
}

static int count_objects(void)
{
    return stage.daemon.alone ? (int)test_shm_files() : 0;
}

static unsigned count_descriptors(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", stage.daemon.pid);
    return count_entries(path);
}

static int count_session(const fastalloc_session_info_t *info, void *context)
{
    struct stage_sessions *sessions = context;
    sessions->all++;
    sessions->orphans += !info->connected;
    return 0;
}

struct stage_sessions stage_sessions(void)
{
    struct stage_sessions sessions = {0};
    ck_assert_int_eq(fastalloc_session_list(stage.connection, count_session, &sessions, NULL), 0);
    return sessions;
}

void stage_settle(void)
{
    int64_t end = timing_now() + STAGE_FOREVER;
    unsigned sessions = 0, descriptors = 0;
    int objects = 0;
    do {
        ck_assert_msg(timing_now() < end, "left: %u sessions, %d descriptors, %d objects",
                      sessions - 1, (int)(descriptors - stage.descriptors),
                      objects - stage.objects);
        sessions = stage_sessions().all;
        descriptors = count_descriptors();
        objects = count_objects();
    } while (sessions != 1 || descriptors != stage.descriptors || objects != stage.objects);
}

/* ---- The fixture ----------------------------------------------------------------------------- */

void stage_setup(void)
{
    static const char *const arguments[] = {"--log-level", "warning", NULL};
    test_daemon_start(&stage.daemon, arguments);
    stage.connection = test_daemon_connect(&stage.daemon);
    stage.pool = test_daemon_pool(stage.connection, STAGE_POOL, 64, STAGE_CAPACITY);
    ck_assert_uint_eq(stage_sessions().all, 1);
    stage.descriptors = count_descriptors();
    stage.objects = count_objects();
}

void stage_teardown(void)
{
    stage_settle();
    stage_take_all();
    ck_assert_uint_eq(stage_stats().current_usage, 0);
    fastalloc_disconnect(stage.connection);
    test_daemon_stop(&stage.daemon);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

void stage_take(uint32_t count)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(
        fastalloc_allocate_many(stage.pool, count, STAGE_FOREVER, taken + taken_count, &error) == 0,
        "%s", error.message);
    taken_count += count;
}

void stage_give_back(void)
{
    ck_assert_int_eq(fastalloc_free_many(stage.pool, taken, taken_count, NULL), 0);
    taken_count = 0;
}

int64_t stage_take_all(void)
{
    stage_take(STAGE_CAPACITY);
    int64_t now = timing_now();
    stage_give_back();
    return now;
}

void stage_expect_exhausted(void)
{
    fastalloc_handle_t handle;
    ck_assert_int_eq(fastalloc_try_allocate(stage.pool, &handle, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
}

void stage_expect_exhausted_for(int64_t ns)
{
    fastalloc_handle_t handle;
    ck_assert_int_eq(fastalloc_allocate(stage.pool, ns, &handle, NULL), FASTALLOC_ERR_TIMEOUT);
}

fastalloc_stats_t stage_stats(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(stage.connection, STAGE_POOL, &stats, NULL), 0);
    return stats;
}

void stage_await_waiters(uint64_t waiters)
{
    int64_t end = timing_now() + STAGE_FOREVER;
    uint64_t now;
    while ((now = stage_stats().waiters) != waiters)
        ck_assert_msg(timing_now() < end, "%u requests wait", (unsigned)now);
}
