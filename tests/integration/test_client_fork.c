/* SPDX-License-Identifier: MIT */
/* What a forked child finds of its parent's session, with a real daemon. */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/fd_count.h"
#include "tests/lib/kind.h"
#include "tests/unit/suite.h"

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t handle;
static char *object;

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    pool = test_daemon_pool(connection, "objects", 64, 4);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, NULL), 0);
    object = fastalloc_get(pool, handle);
    memcpy(object, "parent", sizeof("parent"));
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

/* Nothing that the child did may show here. */
static void expect_parent_unharmed(void)
{
    fastalloc_handle_t another;
    ck_assert_ptr_eq(fastalloc_get(pool, handle), object);
    ck_assert_str_eq(object, "parent");
    ck_assert_int_eq(fastalloc_try_allocate(pool, &another, NULL), 0);
    ck_assert_int_eq(fastalloc_free(pool, another, NULL), 0);
}

static void expect_good_child(child_script_t script)
{
    struct test_child child;
    test_child_start(&child, script, NULL);
    ck_assert_int_eq(test_child_join(&child), 0);
    expect_parent_unharmed();
}

static void call_everything(int control, const void *argument)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t none;
    fastalloc_pool_t *again;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    child_require(fastalloc_try_allocate(pool, &none, &error) == FASTALLOC_ERR_FORKED);
    child_require(error.code == FASTALLOC_ERR_FORKED);
    child_require(strstr(error.message, "must connect by itself") != NULL);
    child_require(fastalloc_free(pool, handle, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_open(connection, "objects", NULL, &again, NULL) ==
                  FASTALLOC_ERR_FORKED);
    child_require(fastalloc_pool_stats(connection, "objects", &stats, NULL) ==
                  FASTALLOC_ERR_FORKED);
    child_require(fastalloc_ping(connection, &info, NULL) == FASTALLOC_ERR_FORKED);
}

START_TEST(test_calls_in_a_child_fail_with_a_clear_line)
{
    expect_good_child(call_everything);
}
END_TEST

static void follow_handles(int control, const void *argument)
{
    child_require(fastalloc_get(pool, handle) == NULL);
    child_require(!fastalloc_still_valid(pool, handle));
    child_require(fastalloc_view_get(fastalloc_pool_view(pool), handle) == NULL);
    child_require(fastalloc_get(pool, FASTALLOC_HANDLE_NONE) == NULL);
    child_require(fastalloc_pool_capacity(pool) == 0);
    child_require(strcmp(fastalloc_pool_name(pool), "objects") == 0);
}

START_TEST(test_handles_in_a_child_are_null)
{
    expect_good_child(follow_handles);
}
END_TEST

static void touch_object(int control, const void *argument)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)object = 'c';
}

START_TEST(test_objects_are_not_mapped_in_a_child)
{
    struct test_child child;
    test_child_start(&child, touch_object, NULL);
    int status = test_child_join(&child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    expect_parent_unharmed();
}
END_TEST

static void close_all(int control, const void *argument)
{
    unsigned before = test_fd_count();
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    child_require(test_fd_count() == before - (test_is_leased() ? 2 : 1));
}

START_TEST(test_a_child_may_close_what_it_has_of_its_parents)
{
    expect_good_child(close_all);
}
END_TEST

static void disconnect_alone(int control, const void *argument)
{
    fastalloc_disconnect(connection);
}

START_TEST(test_a_child_may_disconnect_with_pools_open)
{
    expect_good_child(disconnect_alone);
}
END_TEST

/* Something of the child's own lies where the parent has its objects. */
static char *map_there(void)
{
    char *place = object - (uintptr_t)object % 4096;
    char *own = mmap(place, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    child_require(own == place);
    memcpy(own, "mine", sizeof("mine"));
    return own;
}

static void map_there_and_close(int control, const void *argument)
{
    const char *own = map_there();
    fastalloc_close(pool);
    child_require(strcmp(own, "mine") == 0);
}

static void map_there_and_disconnect(int control, const void *argument)
{
    const char *own = map_there();
    fastalloc_disconnect(connection);
    child_require(strcmp(own, "mine") == 0);
}

START_TEST(test_closing_in_a_child_unmaps_nothing_of_its_own)
{
    expect_good_child(map_there_and_close);
}
END_TEST

START_TEST(test_disconnecting_in_a_child_unmaps_nothing_of_its_own)
{
    expect_good_child(map_there_and_disconnect);
}
END_TEST

static void connect_itself(int control, const void *argument)
{
    fastalloc_connection_t *own = test_daemon_connect(&server);
    fastalloc_pool_t *objects = test_daemon_pool(own, "objects", 64, 4);
    child_require(fastalloc_session(own) != fastalloc_session(connection));
    child_require(fastalloc_get(objects, handle) != NULL);
    child_require(strcmp(fastalloc_get(objects, handle), "parent") == 0);
    child_require(fastalloc_get(pool, handle) == NULL);
    fastalloc_disconnect(own);
}

START_TEST(test_a_child_connects_by_itself_and_sees_the_object)
{
    expect_good_child(connect_itself);
}
END_TEST

static void live_on(int control, const void *argument)
{
    child_say(control, 'u');
    child_listen(control);
}

START_TEST(test_a_child_that_lives_on_doesnt_keep_its_parents_session)
{
    struct test_child child;
    fastalloc_handle_t all[4];
    fastalloc_connection_t *other = test_daemon_connect(&server);
    fastalloc_pool_t *same = test_daemon_pool(other, "objects", 64, 4);
    test_child_start(&child, live_on, NULL);
    test_child_hear(&child, 'u');
    fastalloc_disconnect(connection);
    ck_assert_int_eq(fastalloc_allocate_many(same, 4, FASTALLOC_FOREVER, all, NULL), 0);
    test_child_tell(&child, 'e');
    ck_assert_int_eq(test_child_join(&child), 0);
    connection = other;
}
END_TEST

/* ---- A fork amid calls ----------------------------------------------------------------------- */

static void *call_for_ever(void *stop)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
        if (fastalloc_ping(connection, &info, NULL) < 0)
            return connection;
    return NULL;
}

/* Whatever locks another thread of the parent held at that moment. */
static void fail_and_close(int control, const void *argument)
{
    fastalloc_handle_t none;
    child_require(fastalloc_try_allocate(pool, &none, NULL) == FASTALLOC_ERR_FORKED);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
}

START_TEST(test_a_fork_while_other_threads_call_harms_neither)
{
    bool stop = false;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_for_ever, &stop), 0);
    for (int i = 0; i < 50; i++)
        expect_good_child(fail_and_close);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_calls_in_a_child_fail_with_a_clear_line,
        test_handles_in_a_child_are_null,
        test_objects_are_not_mapped_in_a_child,
        test_a_child_may_close_what_it_has_of_its_parents,
        test_a_child_may_disconnect_with_pools_open,
        test_closing_in_a_child_unmaps_nothing_of_its_own,
        test_disconnecting_in_a_child_unmaps_nothing_of_its_own,
        test_a_child_connects_by_itself_and_sees_the_object,
        test_a_child_that_lives_on_doesnt_keep_its_parents_session,
        test_a_fork_while_other_threads_call_harms_neither,
    };
    return suite_run("client_fork", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
