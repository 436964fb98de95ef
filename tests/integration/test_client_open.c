/* SPDX-License-Identifier: MIT */
/* Opening pools of a real daemon, and looking after them. */
#include <fastalloc/admin.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/fd_count.h"
#include "tests/unit/suite.h"

static struct test_daemon server;
static fastalloc_connection_t *connection;

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static fastalloc_open_options_t particle(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 40;
    options.alignment = 64;
    options.capacity = 10;
    options.type = "particle";
    return options;
}

static fastalloc_pool_t *open_particles(void)
{
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = particle();
    ck_assert_msg(fastalloc_open(connection, "particles", &options, &pool, &error) == 0, "%s",
                  error.message);
    return pool;
}

static uint64_t members(void)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    ck_assert_int_eq(fastalloc_pool_show(connection, "particles", &info, NULL), 0);
    return info.members;
}

/* ---- Opening --------------------------------------------------------------------------------- */

START_TEST(test_a_pool_is_made_as_asked_for)
{
    fastalloc_handle_t handle;
    fastalloc_pool_t *pool = open_particles();
    ck_assert_str_eq(fastalloc_pool_name(pool), "particles");
    ck_assert_str_eq(fastalloc_pool_type(pool), "particle");
    ck_assert_uint_eq(fastalloc_pool_object_size(pool), 40);
    ck_assert_uint_eq(fastalloc_pool_stride(pool), 64);
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), 10);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    ck_assert_uint_eq((uintptr_t)fastalloc_get(pool, handle) % 64, 0);
}
END_TEST

START_TEST(test_without_options_an_existing_pool_is_opened_for_writing)
{
    fastalloc_pool_t *pool, *same = open_particles();
    ck_assert_int_eq(fastalloc_open(connection, "particles", NULL, &pool, NULL), 0);
    ck_assert_ptr_eq(pool, same);
}
END_TEST

START_TEST(test_a_pool_opened_twice_stays_until_it_is_closed_twice)
{
    fastalloc_handle_t handle;
    unsigned before = test_fd_count();
    fastalloc_pool_t *pool = open_particles(), *again = open_particles();
    ck_assert_ptr_eq(pool, again);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    fastalloc_close(pool);
    ck_assert_ptr_nonnull(fastalloc_get(again, handle));
    ck_assert_uint_eq(members(), 1);
    fastalloc_close(again);
    ck_assert_uint_eq(members(), 0);
    ck_assert_uint_eq(test_fd_count(), before);
}
END_TEST

START_TEST(test_closing_frees_what_was_allocated)
{
    fastalloc_handle_t handles[10];
    fastalloc_pool_t *pool = open_particles();
    ck_assert_int_eq(fastalloc_allocate_many(pool, 10, 0, handles, NULL), 0);
    fastalloc_close(pool);
    pool = open_particles();
    ck_assert_ptr_null(fastalloc_get(pool, handles[0]));
    ck_assert_int_eq(fastalloc_allocate_many(pool, 10, 0, handles, NULL), 0);
}
END_TEST

START_TEST(test_a_pool_that_isnt_there_is_named)
{
    fastalloc_pool_t *pool = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_open(connection, "nothing", NULL, &pool, &error),
                     FASTALLOC_ERR_NO_SUCH_POOL);
    ck_assert_str_eq(error.pool, "nothing");
    ck_assert_ptr_nonnull(strstr(error.message, "nothing"));
    ck_assert_ptr_null(pool);
}
END_TEST

static void expect_mismatch(const fastalloc_open_options_t *options, int code,
                            fastalloc_error_t *error)
{
    fastalloc_pool_t *pool;
    *error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_open(connection, "particles", options, &pool, error), code);
    ck_assert_str_eq(error->pool, "particles");
    ck_assert_uint_eq(members(), 1);
}

START_TEST(test_another_size_alignment_or_type_is_a_mismatch)
{
    fastalloc_error_t error;
    open_particles();
    fastalloc_open_options_t options = particle();
    options.object_size = 41;
    expect_mismatch(&options, FASTALLOC_ERR_OBJECT_SIZE_MISMATCH, &error);
    ck_assert_uint_eq(error.requested, 41);
    ck_assert_uint_eq(error.actual, 40);

    options = particle();
    options.alignment = 128;
    expect_mismatch(&options, FASTALLOC_ERR_ALIGNMENT_MISMATCH, &error);
    ck_assert_uint_eq(error.requested, 128);
    ck_assert_uint_eq(error.actual, 64);

    options = particle();
    options.type = "wave";
    expect_mismatch(&options, FASTALLOC_ERR_TYPE_MISMATCH, &error);
    ck_assert_str_eq(error.requested_type, "wave");
    ck_assert_str_eq(error.actual_type, "particle");
}
END_TEST

START_TEST(test_what_no_pool_can_be_is_refused)
{
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = particle();
    options.capacity = 0;
    ck_assert_int_eq(fastalloc_open(connection, "new", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_CAPACITY);
    options = particle();
    options.alignment = 48;
    ck_assert_int_eq(fastalloc_open(connection, "new", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_ALIGNMENT);
    ck_assert_uint_eq(error.alignment, 48);
    options = particle();
    options.object_size = 0;
    ck_assert_int_eq(fastalloc_open(connection, "new", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_OBJECT_SIZE);
}
END_TEST

/* ---- Reading only ---------------------------------------------------------------------------- */

static fastalloc_handle_t shared;

static void read_then_write(int control, const void *socket)
{
    fastalloc_connection_t *mine;
    fastalloc_pool_t *pool;
    fastalloc_connect_options_t connect = FASTALLOC_CONNECT_OPTIONS_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL);
    connect.socket = socket;
    options.access = FASTALLOC_READ;
    child_require(fastalloc_connect(&connect, &mine, NULL) == 0);
    child_require(fastalloc_open(mine, "particles", &options, &pool, NULL) == 0);

    char *object = fastalloc_get(pool, shared);
    child_require(object && strcmp(object, "read me") == 0);
    child_say(control, 'r');
    *object = 'w';
    child_say(control, 'w');
}

START_TEST(test_a_reader_reads_and_dies_when_it_writes)
{
    struct test_child child;
    fastalloc_pool_t *pool = open_particles();
    ck_assert_int_eq(fastalloc_try_allocate(pool, &shared, NULL), 0);
    memcpy(fastalloc_get(pool, shared), "read me", sizeof("read me"));
    test_child_start(&child, read_then_write, server.socket);
    test_child_hear(&child, 'r');
    int status = test_child_join(&child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ck_assert_str_eq(fastalloc_get(pool, shared), "read me");
}
END_TEST

START_TEST(test_a_reader_can_neither_allocate_nor_free)
{
    fastalloc_pool_t *reader;
    fastalloc_handle_t handle;
    fastalloc_pool_t *writer = open_particles();
    ck_assert_int_eq(fastalloc_try_allocate(writer, &handle, NULL), 0);
    fastalloc_connection_t *other = test_daemon_connect(&server);
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    ck_assert_int_eq(fastalloc_open(other, "particles", &options, &reader, NULL), 0);
    ck_assert_int_eq(fastalloc_free(reader, handle, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_int_eq(fastalloc_try_allocate(reader, &handle, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_ptr_nonnull(fastalloc_get(reader, handle));
    fastalloc_disconnect(other);
}
END_TEST

START_TEST(test_one_process_can_read_and_write_by_two_pools)
{
    fastalloc_pool_t *reader;
    fastalloc_handle_t handle;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    fastalloc_pool_t *writer = open_particles();
    ck_assert_int_eq(fastalloc_open(connection, "particles", &options, &reader, NULL), 0);
    ck_assert_ptr_ne(writer, reader);
    ck_assert_int_eq(fastalloc_try_allocate(writer, &handle, NULL), 0);
    ck_assert_ptr_ne(fastalloc_get(writer, handle), fastalloc_get(reader, handle));
    memcpy(fastalloc_get(writer, handle), "seen", sizeof("seen"));
    ck_assert_str_eq(fastalloc_get(reader, handle), "seen");
    ck_assert_int_eq(fastalloc_free(reader, handle, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_int_eq(fastalloc_try_allocate(reader, &handle, NULL), FASTALLOC_ERR_NOT_A_MEMBER);
    fastalloc_close(reader);
    ck_assert_str_eq(fastalloc_get(writer, handle), "seen");
    ck_assert_int_eq(fastalloc_free(writer, handle, NULL), 0);
}
END_TEST

/* ---- Looking after --------------------------------------------------------------------------- */

START_TEST(test_no_name_shows_no_pool)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    open_particles();
    ck_assert_int_eq(fastalloc_pool_show(connection, "", &info, NULL), FASTALLOC_ERR_NO_SUCH_POOL);
    ck_assert_int_eq(fastalloc_pool_show(connection, NULL, &info, NULL),
                     FASTALLOC_ERR_NO_SUCH_POOL);
}
END_TEST

START_TEST(test_the_daemon_says_who_it_is)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    ck_assert_int_eq(fastalloc_ping(connection, &info, NULL), 0);
    ck_assert_int_eq(info.pid, server.pid);
    ck_assert_str_eq(info.release, FASTALLOC_VERSION);
    ck_assert_str_ne(info.instance, "");
}
END_TEST

static void create_waves(int expected, fastalloc_error_t *error)
{
    fastalloc_open_options_t config = FASTALLOC_OPEN_OPTIONS_INIT;
    config.object_size = 100;
    config.capacity = 7;
    config.mode = 0640;
    ck_assert_int_eq(fastalloc_pool_create(connection, "waves", &config, error), expected);
}

START_TEST(test_a_pool_is_created_shown_and_destroyed)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    create_waves(0, NULL);
    create_waves(FASTALLOC_ERR_POOL_EXISTS, &error);
    ck_assert_str_eq(error.pool, "waves");

    ck_assert_int_eq(fastalloc_pool_show(connection, "waves", &info, NULL), 0);
    ck_assert_str_eq(info.name, "waves");
    ck_assert_str_eq(info.type, "");
    ck_assert_uint_eq(info.object_size, 100);
    ck_assert_uint_eq(info.alignment, 16);
    ck_assert_uint_eq(info.stride, 112);
    ck_assert_uint_eq(info.capacity, 7);
    ck_assert_uint_eq(info.mode, 0640);
    ck_assert_uint_eq(info.uid, getuid());
    ck_assert_uint_gt(info.memory, 700);

    ck_assert_int_eq(fastalloc_pool_destroy(connection, "waves", false, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_show(connection, "waves", &info, &error),
                     FASTALLOC_ERR_NO_SUCH_POOL);
}
END_TEST

START_TEST(test_a_pool_in_use_is_destroyed_only_by_force)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *pool = open_particles();
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "particles", false, &error),
                     FASTALLOC_ERR_POOL_IN_USE);
    ck_assert_uint_eq(error.allocated, 1);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handle));

    ck_assert_int_eq(fastalloc_pool_destroy(connection, "particles", true, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_str_eq(error.pool, "particles");
    fastalloc_close(pool);
}
END_TEST

START_TEST(test_a_pool_made_again_by_that_name_is_another)
{
    fastalloc_handle_t handle, next;
    fastalloc_pool_t *old = open_particles();
    ck_assert_int_eq(fastalloc_try_allocate(old, &handle, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_destroy(connection, "particles", true, NULL), 0);
    fastalloc_pool_t *pool = open_particles();
    ck_assert_ptr_ne(pool, old);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &next, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(pool, handle));
    ck_assert_int_eq(fastalloc_free(pool, handle, NULL), FASTALLOC_ERR_WRONG_POOL);
    fastalloc_close(old);
    ck_assert_ptr_nonnull(fastalloc_get(pool, next));
}
END_TEST

static int count_pools(const fastalloc_pool_info_t *info, void *context)
{
    unsigned *count = context;
    ck_assert_uint_eq(info->capacity, ++*count);
    return 0;
}

START_TEST(test_more_pools_than_a_page_holds_are_all_listed)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= 150; i++) {
        fastalloc_open_options_t config = FASTALLOC_OPEN_OPTIONS_INIT;
        char name[] = "pool-000";
        name[5] += (char)(i / 100);
        name[6] += (char)(i / 10 % 10);
        name[7] += (char)(i % 10);
        config.object_size = 8;
        config.capacity = i;
        ck_assert_int_eq(fastalloc_pool_create(connection, name, &config, NULL), 0);
    }
    ck_assert_int_eq(fastalloc_pool_list(connection, count_pools, &count, NULL), 0);
    ck_assert_uint_eq(count, 150);
}
END_TEST

static int find_self(const fastalloc_session_info_t *info, void *context)
{
    if (info->id != fastalloc_session(connection))
        return 0;
    memcpy(context, info, sizeof(*info));
    return 1;
}

START_TEST(test_a_session_finds_itself_in_the_list)
{
    fastalloc_session_info_t info = {.size = 0};
    fastalloc_handle_t handles[3];
    fastalloc_pool_t *pool = open_particles();
    ck_assert_int_eq(fastalloc_allocate_many(pool, 3, 0, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_session_list(connection, find_self, &info, NULL), 1);
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_uint_eq(info.uid, getuid());
    ck_assert(info.connected);
    ck_assert_uint_eq(info.pools, 1);
    ck_assert_uint_eq(info.allocated, 3);
    ck_assert_str_eq(info.name, "test_client_open");
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_a_pool_is_made_as_asked_for,
        test_without_options_an_existing_pool_is_opened_for_writing,
        test_a_pool_opened_twice_stays_until_it_is_closed_twice,
        test_closing_frees_what_was_allocated,
        test_a_pool_that_isnt_there_is_named,
        test_another_size_alignment_or_type_is_a_mismatch,
        test_what_no_pool_can_be_is_refused,
        test_a_reader_reads_and_dies_when_it_writes,
        test_a_reader_can_neither_allocate_nor_free,
        test_one_process_can_read_and_write_by_two_pools,
        test_no_name_shows_no_pool,
        test_the_daemon_says_who_it_is,
        test_a_pool_is_created_shown_and_destroyed,
        test_a_pool_in_use_is_destroyed_only_by_force,
        test_a_pool_made_again_by_that_name_is_another,
        test_more_pools_than_a_page_holds_are_all_listed,
        test_a_session_finds_itself_in_the_list,
    };
    return suite_run("client_open", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
