/* SPDX-License-Identifier: MIT */
/* What a pool is made to be, as its users see it. */
#define _GNU_SOURCE /* setresuid */
#include <fastalloc/admin.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define OBJECT 64u
#define CAPACITY 8u
#define NOBODY 65534

/* A sanitizer has an mlock() that does nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_LOCK false
#else
#define CAN_LOCK true
#endif

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t *handles; /* shared with children */

static void setup(void)
{
    static const char *const arguments[] = {"--log-level", "error", NULL};
    handles = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_daemon_start(&server, arguments);
    connection = test_daemon_connect(&server);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(handles, 4096);
}

static fastalloc_open_options_t plain(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = OBJECT;
    options.capacity = CAPACITY;
    return options;
}

static void make(const fastalloc_open_options_t *options)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_open(connection, "pool", options, &pool, &error) == 0, "%s",
                  error.message);
}

/* A process that does it, and says nothing but whether it was right. */
static void in_child(child_script_t script)
{
    struct test_child child;
    test_child_start(&child, script, NULL);
    ck_assert_int_eq(test_child_join(&child), 0);
}

/* ---- What is in an object -------------------------------------------------------------------- */

static const char greeting[] = "template";

static void expect_template(int control, const void *argument)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t handle;
    fastalloc_pool_t *same = child_open(server.socket, "pool", &mine);
    for (unsigned i = 0; i < 2 * CAPACITY; i++) { /* each slot: the first time, and another */
        child_require(fastalloc_try_allocate(same, &handle, NULL) == 0);
        char *object = fastalloc_get(same, handle);
        child_require(memcmp(object, greeting, sizeof(greeting)) == 0);
        memset(object, 'x', OBJECT);
        child_require(fastalloc_free(same, handle, NULL) == 0);
    }
    fastalloc_disconnect(mine);
}

START_TEST(test_each_object_begins_as_the_template_in_every_process)
{
    char bytes[sizeof(greeting)];
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_open_options_t options = plain();
    memcpy(bytes, greeting, sizeof(bytes));
    options.template_bytes = bytes;
    options.template_size = sizeof(bytes);
    make(&options);
    memset(bytes, 0, sizeof(bytes)); /* it was copied */
    in_child(expect_template);
    in_child(expect_template);
    ck_assert_int_eq(fastalloc_pool_show(connection, "pool", &info, NULL), 0);
    ck_assert_uint_eq(info.template_size, sizeof(greeting));
}
END_TEST

static void expect_zero_behind_template(int control, const void *argument)
{
    static const char zero[OBJECT];
    fastalloc_connection_t *mine;
    fastalloc_handle_t all[CAPACITY];
    fastalloc_pool_t *same = child_open(server.socket, "pool", &mine);
    child_require(fastalloc_allocate_many(same, CAPACITY, 0, all, NULL) == 0);
    for (unsigned i = 0; i < CAPACITY; i++) {
        char *object = fastalloc_get(same, all[i]);
        child_require(memcmp(object, greeting, sizeof(greeting)) == 0);
        child_require(memcmp(object + sizeof(greeting), zero, OBJECT - sizeof(greeting)) == 0);
        memset(object, 'x', OBJECT);
    }
    fastalloc_disconnect(mine);
}

START_TEST(test_objects_begin_as_zero_behind_the_template)
{
    fastalloc_open_options_t options = plain();
    options.zero = FASTALLOC_ZERO_ON_ALLOCATE;
    options.template_bytes = greeting;
    options.template_size = sizeof(greeting);
    make(&options);
    in_child(expect_zero_behind_template);
    in_child(expect_zero_behind_template);
}
END_TEST

static void write_secrets(int control, const void *argument)
{
    fastalloc_connection_t *mine;
    fastalloc_pool_t *same = child_open(server.socket, "pool", &mine);
    child_require(fastalloc_allocate_many(same, 2, 0, handles, NULL) == 0);
    for (int i = 0; i < 2; i++)
        memset(fastalloc_get(same, handles[i]), 's', OBJECT);
    child_say(control, 'w');
    child_require(child_listen(control) == 'f');
    child_require(fastalloc_free(same, handles[0], NULL) == 0);
    child_say(control, 'f');
    child_listen(control);
}

/* The other one is killed with what it holds. */
START_TEST(test_what_is_freed_or_reclaimed_is_overwritten_for_those_who_still_look)
{
    static const char zero[OBJECT];
    struct test_child child;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_open_options_t options = plain();
    options.zero = FASTALLOC_ZERO_ON_FREE;
    make(&options);
    test_child_start(&child, write_secrets, NULL);
    test_child_hear(&child, 'w');
    const char *first = fastalloc_get(pool, handles[0]), *second = fastalloc_get(pool, handles[1]);
    ck_assert(first[0] == 's' && second[OBJECT - 1] == 's');
    test_child_tell(&child, 'f');
    test_child_hear(&child, 'f');
    ck_assert_mem_eq(first, zero, OBJECT);
    ck_assert_int_eq(second[0], 's');
    test_child_kill(&child, SIGKILL);
    do
        ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
    while (stats.current_usage > 0);
    ck_assert_mem_eq(second, zero, OBJECT);
}
END_TEST

/* ---- Who may --------------------------------------------------------------------------------- */

static void expect_owners_alone(int control, const void *argument)
{
    fastalloc_connection_t *mine;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *same = child_open(server.socket, "pool", &mine);
    child_require(fastalloc_free(same, handles[0], &error) == FASTALLOC_ERR_NOT_HOLDER);
    child_require(strcmp(error.pool, "pool") == 0 && error.position == 0);
    child_require(fastalloc_adopt(same, handles, 1, NULL) == FASTALLOC_ERR_NOT_HOLDER);
    child_require(fastalloc_free(same, handles[1], NULL) == FASTALLOC_ERR_NOT_HOLDER);
    child_require(fastalloc_adopt(same, handles + 1, 1, NULL) == 0);
    child_require(fastalloc_free(same, handles[1], NULL) == 0);
    fastalloc_disconnect(mine);
}

START_TEST(test_where_the_owner_frees_others_cant_but_what_was_detached_and_adopted)
{
    fastalloc_open_options_t options = plain();
    options.owner_frees = true;
    make(&options);
    ck_assert_int_eq(fastalloc_allocate_many(pool, 2, 0, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_detach(pool, handles + 1, 1, NULL), 0);
    in_child(expect_owners_alone);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handles[0]));
    ck_assert_ptr_null(fastalloc_get(pool, handles[1]));
    ck_assert_int_eq(fastalloc_free(pool, handles[0], NULL), 0);
}
END_TEST

/* Another session of the same user. */
static void expect_user_quota(int control, const void *argument)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t own[3];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *same = child_open(server.socket, "pool", &mine);
    child_require(fastalloc_allocate_many(same, 3, 0, own, &error) == FASTALLOC_ERR_QUOTA_EXCEEDED);
    child_require(strcmp(error.field, "user_slots") == 0);
    child_require(error.max == 5 && error.allocated == 3 && error.requested == 3);
    child_require(fastalloc_allocate_many(same, 2, 0, own, NULL) == 0);
    child_require(fastalloc_retain(same, handles, 1, &error) == FASTALLOC_ERR_QUOTA_EXCEEDED);
    fastalloc_disconnect(mine);
}

START_TEST(test_quotas_hold_for_a_session_and_for_all_of_a_user)
{
    fastalloc_handle_t more;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = plain();
    options.session_slots = 3;
    options.user_slots = 5;
    make(&options);
    ck_assert_int_eq(fastalloc_allocate_many(pool, 3, 0, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_allocate(pool, FASTALLOC_FOREVER, &more, &error),
                     FASTALLOC_ERR_QUOTA_EXCEEDED);
    ck_assert_str_eq(error.field, "session_slots");
    ck_assert_uint_eq(error.max, 3);
    ck_assert_uint_eq(error.allocated, 3);
    in_child(expect_user_quota);
    ck_assert_int_eq(fastalloc_detach(pool, handles, 1, &error), FASTALLOC_ERR_NOT_PERMITTED);
    ck_assert_int_eq(fastalloc_free(pool, handles[0], NULL), 0);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &more, NULL), 0);
}
END_TEST

/* ---- What was asked for ---------------------------------------------------------------------- */

static fastalloc_open_options_t all(void)
{
    fastalloc_open_options_t options = plain();
    options.mode = 0640;
    options.owner_frees = true;
    options.growth = "linear:2";
    options.capacity_max = 20;
    options.grow_ahead = 1;
    options.reserve_critical = 2;
    options.reserve_normal = 1;
    options.session_slots = 6;
    options.user_slots = 7;
    options.zero = FASTALLOC_ZERO_ON_FREE;
    options.template_bytes = greeting;
    options.template_size = sizeof(greeting);
    options.watermark = "75%";
    options.hold_limit = 1000000000000;
    options.trim_after = 2000000000000;
    options.prefault = true;
    return options;
}

START_TEST(test_a_pool_is_shown_as_it_was_made)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_open_options_t options = all();
    make(&options);
    ck_assert_int_eq(fastalloc_pool_show(connection, "pool", &info, NULL), 0);
    ck_assert(info.mode == 0640 && info.owner_frees && info.capacity == CAPACITY);
    ck_assert(info.capacity_max == 20 && info.reserve >= 20 && info.grow_ahead == 1);
    ck_assert_str_eq(info.growth, "linear:2");
    ck_assert(info.reserve_critical == 2 && info.reserve_normal == 1);
    ck_assert(info.session_slots == 6 && info.user_slots == 7);
    ck_assert(info.zero == FASTALLOC_ZERO_ON_FREE && info.template_size == sizeof(greeting));
    ck_assert_str_eq(info.watermark, "75%");
    ck_assert(info.hold_limit == 1000000000000 && info.trim_after == 2000000000000);
    ck_assert(info.prefault && !info.lock && !info.huge);
    ck_assert_uint_eq(info.uid, getuid());
}
END_TEST

START_TEST(test_the_same_options_open_what_they_made_and_so_do_none)
{
    fastalloc_pool_t *again;
    fastalloc_open_options_t options = all();
    make(&options);
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &again, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &again, NULL), 0);
    ck_assert_ptr_eq(again, pool);
}
END_TEST

static void expect_mismatch(const fastalloc_open_options_t *options, const char *field)
{
    fastalloc_pool_t *again = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_open(connection, "pool", options, &again, &error) ==
                      FASTALLOC_ERR_CONFIG_MISMATCH,
                  "%s: %s", field, fastalloc_result_name(error.code));
    ck_assert_str_eq(error.pool, "pool");
    ck_assert_str_eq(error.field, field);
    ck_assert_ptr_nonnull(strstr(error.message, field));
    ck_assert_ptr_null(again);
}

#define EXPECT_MISMATCH(member, value)                                                             \
    do {                                                                                           \
        fastalloc_open_options_t other_ = all();                                                   \
        other_.member = (value);                                                                   \
        expect_mismatch(&other_, #member);                                                         \
    } while (0)

START_TEST(test_whatever_differs_is_named)
{
    fastalloc_open_options_t options = all();
    make(&options);
    EXPECT_MISMATCH(capacity, 9);
    EXPECT_MISMATCH(capacity_max, 21);
    EXPECT_MISMATCH(growth, "linear:3");
    EXPECT_MISMATCH(grow_ahead, 2);
    EXPECT_MISMATCH(mode, 0600);
    EXPECT_MISMATCH(reserve_critical, 3);
    EXPECT_MISMATCH(reserve_normal, 2);
    EXPECT_MISMATCH(session_slots, 5);
    EXPECT_MISMATCH(user_slots, 8);
    EXPECT_MISMATCH(watermark, "76%");
    EXPECT_MISMATCH(hold_limit, 1);
    EXPECT_MISMATCH(trim_after, 1);
    EXPECT_MISMATCH(zero, FASTALLOC_ZERO_ON_ALLOCATE);
    EXPECT_MISMATCH(lock, true);
    EXPECT_MISMATCH(huge, true);
    options.template_bytes = "TEMPLATE";
    expect_mismatch(&options, "template");
    options.template_bytes = greeting;
    options.template_size--;
    expect_mismatch(&options, "template");
}
END_TEST

START_TEST(test_a_pool_without_what_is_asked_for_is_a_mismatch)
{
    fastalloc_open_options_t options = plain();
    make(&options);
    options.owner_frees = true;
    expect_mismatch(&options, "owner_frees");
    options = plain();
    options.prefault = true;
    expect_mismatch(&options, "prefault");
}
END_TEST

START_TEST(test_a_pool_that_grew_is_opened_by_the_capacity_it_began_with)
{
    fastalloc_pool_t *again;
    fastalloc_open_options_t options = all();
    make(&options);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "pool", 16, 30, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &again, NULL), 0);
    ck_assert_uint_eq(fastalloc_pool_capacity(again), 16);
}
END_TEST

static void expect_impossible(const fastalloc_open_options_t *options, const char *field)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_pool_create(connection, "pool", options, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, field);
}

#define EXPECT_IMPOSSIBLE(member, value)                                                           \
    do {                                                                                           \
        fastalloc_open_options_t other_ = all();                                                   \
        other_.member = (value);                                                                   \
        expect_impossible(&other_, #member);                                                       \
    } while (0)

START_TEST(test_what_cant_be_is_named)
{
    fastalloc_open_options_t options = all();
    EXPECT_IMPOSSIBLE(growth, "sometimes");
    EXPECT_IMPOSSIBLE(watermark, "101%");
    EXPECT_IMPOSSIBLE(reserve_critical, 21);
    EXPECT_IMPOSSIBLE(reserve_normal, 19);
    EXPECT_IMPOSSIBLE(grow_ahead, 21);
    options.capacity_max = 0;
    expect_impossible(&options, "growth");
    options = all();
    options.object_size = sizeof(greeting) - 1;
    expect_impossible(&options, "template");
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------- */

static uint64_t locked_kilobytes(void)
{
    char line[256];
    uint64_t size = 0;
    FILE *file = fopen("/proc/self/status", "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "VmLck:", 6) == 0)
            size = strtoull(line + 6, NULL, 10);
    fclose(file);
    return size;
}

START_TEST(test_a_locked_pool_is_locked_while_it_is_open)
{
    fastalloc_open_options_t options = plain();
    options.capacity = 1024;
    options.lock = true;
    ck_assert_uint_eq(locked_kilobytes(), 0);
    make(&options);
    ck_assert_uint_eq(locked_kilobytes(), CAN_LOCK ? 1024 * OBJECT / 1024 : 0);
    fastalloc_close(pool);
    ck_assert_uint_eq(locked_kilobytes(), 0);
}
END_TEST

START_TEST(test_what_the_limit_doesnt_let_lock_isnt_opened_and_says_why)
{
    const struct rlimit limit = {4096, 4096};
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_open_options_t options = plain();
    options.capacity = 1024;
    options.lock = true;
    ck_assert_int_eq(fastalloc_pool_create(connection, "pool", &options, NULL), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    bool root = geteuid() == 0; /* who may lock what he likes */
    if (root)
        ck_assert_int_eq(setresuid(NOBODY, NOBODY, 0), 0);
    int result = fastalloc_open(connection, "pool", NULL, &pool, &error);
    if (root)
        ck_assert_int_eq(setresuid(0, 0, 0), 0);
    if (!CAN_LOCK)
        return;
    ck_assert_int_eq(result, -ENOMEM);
    ck_assert_int_eq(error.system_error, ENOMEM);
    ck_assert_ptr_nonnull(strstr(error.message, "'pool'"));
    ck_assert_ptr_nonnull(strstr(error.message, "`lock`"));
    ck_assert_ptr_nonnull(strstr(error.message, "4096 bytes in all (RLIMIT_MEMLOCK)"));
    ck_assert_ptr_nonnull(strstr(error.message, "ulimit -l"));
    ck_assert_int_eq(fastalloc_pool_show(connection, "pool", &info, NULL), 0);
    ck_assert_uint_eq(info.members, 0);
}
END_TEST

static uint64_t minor_faults(void)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &usage), 0);
    return (uint64_t)usage.ru_minflt;
}

START_TEST(test_prefaulted_objects_cost_no_fault)
{
    fastalloc_handle_t many[256];
    fastalloc_open_options_t options = plain();
    options.object_size = 4096;
    options.capacity = 256;
    options.prefault = true;
    make(&options);
    ck_assert_int_eq(fastalloc_allocate_many(pool, 256, 0, many, NULL), 0);
    uint64_t before = minor_faults();
    for (int i = 0; i < 256; i++)
        *(volatile char *)fastalloc_get(pool, many[i]) = 1;
    ck_assert_uint_lt(minor_faults() - before, 128); /* those of the words and of a sanitizer */
}
END_TEST

START_TEST(test_huge_pages_are_advice)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = plain();
    options.object_size = 4 << 20;
    options.huge = true;
    int result = fastalloc_open(connection, "pool", &options, &pool, &error);
    if (result == -EINVAL) { /* a kernel without them */
        ck_assert_ptr_nonnull(strstr(error.message, "`huge`"));
        return;
    }
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    memset(fastalloc_get(pool, handle), 1, 4 << 20);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_each_object_begins_as_the_template_in_every_process,
        test_objects_begin_as_zero_behind_the_template,
        test_what_is_freed_or_reclaimed_is_overwritten_for_those_who_still_look,
        test_where_the_owner_frees_others_cant_but_what_was_detached_and_adopted,
        test_quotas_hold_for_a_session_and_for_all_of_a_user,
        test_a_pool_is_shown_as_it_was_made,
        test_the_same_options_open_what_they_made_and_so_do_none,
        test_whatever_differs_is_named,
        test_a_pool_without_what_is_asked_for_is_a_mismatch,
        test_a_pool_that_grew_is_opened_by_the_capacity_it_began_with,
        test_what_cant_be_is_named,
        test_a_locked_pool_is_locked_while_it_is_open,
        test_what_the_limit_doesnt_let_lock_isnt_opened_and_says_why,
        test_prefaulted_objects_cost_no_fault,
        test_huge_pages_are_advice,
    };
    return suite_run("client_policy", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
