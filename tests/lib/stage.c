/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* unshare */
#include "tests/lib/stage.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "tests/lib/timing.h"

struct stage stage;

static bool isolated;
static fastalloc_handle_t taken[STAGE_CAPACITY];
static uint32_t taken_count;

/* ---- Counting -------------------------------------------------------------------------------- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* As oneself, in a user namespace where that is enough to mount. */
static bool enter_namespaces(void)
{
    char users[64], groups[64];
    if (geteuid() == 0)
        return unshare(CLONE_NEWNS) == 0;
    snprintf(users, sizeof(users), "%u %u 1", geteuid(), geteuid());
    snprintf(groups, sizeof(groups), "%u %u 1", getegid(), getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", users) &&
           write_file("/proc/self/gid_map", groups);
}

static void isolate(void)
{
    isolated = enter_namespaces() && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("none", "/dev/shm", "tmpfs", 0, "mode=1777") == 0;
    if (!isolated)
        fprintf(stderr, "no /dev/shm of its own for this test: objects are not counted\n");
}

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
    return isolated ? (int)count_entries("/dev/shm") : 0;
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
    isolate();
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
    ck_assert_int_eq(count_objects(), 0);
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
