/* SPDX-License-Identifier: MIT */
/* Pools that grow while processes have them open, and memory that is given back. */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define OBJECT UINT64_C(4096)
#define FIRST 4u
#define MOST 64u
#define MAPS 8192

/* What parent and child tell one another. */
struct meeting {
    char socket[96];
    fastalloc_handle_t handles[MOST];
    fastalloc_handle_t childs;
};

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static struct meeting *meeting;

static void open_as(const char *name, const char *growth, uint64_t capacity_max)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = OBJECT;
    options.capacity = FIRST;
    options.growth = growth;
    options.capacity_max = capacity_max;
    ck_assert_msg(fastalloc_open(connection, name, &options, &pool, &error) == 0, "%s",
                  error.message);
}

static void setup(void)
{
    meeting =
        mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    memcpy(meeting->socket, server.socket, sizeof(meeting->socket));
    open_as("growing", "exponential:2", MOST);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(meeting, sizeof(*meeting));
}

/* The lines of this process' map that are shared memory of a file. */
static void read_maps(char maps[MAPS])
{
    char line[512];
    size_t size = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    maps[0] = '\0';
    while (file && fgets(line, sizeof(line), file))
        if (strstr(line, "/dev/shm/") && size + strlen(line) < MAPS) {
            memcpy(maps + size, line, strlen(line) + 1);
            size += strlen(line);
        }
    if (file)
        fclose(file);
}

static fastalloc_handle_t allocate(void)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_try_allocate(pool, &handle, &error) == 0, "%s", error.message);
    return handle;
}

static uint32_t *number_of(fastalloc_handle_t handle)
{
    uint32_t *number = fastalloc_get(pool, handle);
    ck_assert_ptr_nonnull(number);
    return number;
}

/* ---- Growing by itself ----------------------------------------------------------------------- */

static void watch_it_grow(int control, const void *argument)
{
    static char before[MAPS], after[MAPS];
    fastalloc_connection_t *mine;
    fastalloc_pool_t *growing = child_open(meeting->socket, "growing", &mine);
    const uint32_t *first = fastalloc_get(growing, meeting->handles[0]);
    (void)argument;
    child_require(first && fastalloc_pool_capacity(growing) == FIRST);
    read_maps(before);
    child_require(before[0] != '\0');
    child_say(control, 'o');
    child_require(child_listen(control) == 'g');

    child_require(fastalloc_pool_capacity(growing) == MOST / 2);
    for (uint32_t i = 0; i < MOST / 2; i++) {
        const uint32_t *number = fastalloc_get(growing, meeting->handles[i]);
        child_require(number && *number == i);
    }
    child_require(fastalloc_get(growing, meeting->handles[0]) == first);
    child_require(fastalloc_try_allocate(growing, &meeting->childs, NULL) == 0);
    memcpy(fastalloc_get(growing, meeting->childs), "mine", sizeof("mine"));
    read_maps(after);
    child_require(strcmp(before, after) == 0);
    child_say(control, 'd');
    child_listen(control);
    fastalloc_disconnect(mine);
}

START_TEST(test_a_pool_grows_under_two_processes_and_neither_maps_anything)
{
    static char before[MAPS], after[MAPS];
    struct test_child child;
    meeting->handles[0] = allocate();
    uint32_t *first = number_of(meeting->handles[0]);
    test_child_start(&child, watch_it_grow, NULL);
    test_child_hear(&child, 'o');
    read_maps(before);
    ck_assert_str_ne(before, "");

    for (uint32_t i = 1; i < MOST / 2; i++) {
        meeting->handles[i] = allocate();
        *number_of(meeting->handles[i]) = i;
    }
    ck_assert_ptr_eq(number_of(meeting->handles[0]), first);
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), MOST / 2);
    test_child_tell(&child, 'g');
    test_child_hear(&child, 'd');
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), MOST);
    ck_assert_str_eq(fastalloc_get(pool, meeting->childs), "mine");
    read_maps(after);
    ck_assert_str_eq(before, after);
    test_child_tell(&child, 'e');
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

START_TEST(test_a_pool_as_large_as_it_gets_says_so)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_allocate_many(pool, MOST, 0, meeting->handles, NULL), 0);
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handle, &error),
                     FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED);
    ck_assert_str_eq(error.pool, "growing");
    ck_assert_uint_eq(error.current, MOST);
    ck_assert_uint_eq(error.requested, MOST + 1);
    ck_assert_uint_eq(error.max, MOST);
    ck_assert_uint_eq(error.allocated, MOST);
    ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
    ck_assert_uint_ge(stats.growth_count, 1);
    ck_assert_uint_eq(stats.capacity, MOST);
}
END_TEST

START_TEST(test_growth_that_is_made_ahead_leaves_room)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = OBJECT;
    options.capacity = FIRST;
    options.capacity_max = MOST;
    options.growth = "linear:3";
    options.grow_ahead = 2;
    ck_assert_int_eq(fastalloc_open(connection, "ahead", &options, &pool, NULL), 0);
    for (int i = 0; i < 20; i++) {
        fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
        allocate();
        ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
        ck_assert_uint_ge(stats.available, 2);
    }
}
END_TEST

#define THREADS 8
#define EACH UINT64_C(500)

static void *fill(void *argument)
{
    fastalloc_pool_t *crowded = argument;
    for (uint32_t i = 0; i < EACH; i++) {
        fastalloc_handle_t handle;
        uint32_t *number;
        if (fastalloc_try_allocate(crowded, &handle, NULL) < 0 ||
            !(number = fastalloc_get(crowded, handle)))
            return argument;
        *number = i;
    }
    return NULL;
}

START_TEST(test_what_is_allocated_can_be_followed_at_once_while_the_pool_grows)
{
    pthread_t threads[THREADS];
    open_as("crowded", "linear:7", THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fill, pool), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), THREADS * EACH);
}
END_TEST

/* ---- By an administrator --------------------------------------------------------------------- */

START_TEST(test_a_pool_that_never_grew_can_be_grown_as_far_as_its_reserve)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    open_as("fixed", NULL, 0);
    ck_assert_int_eq(fastalloc_allocate_many(pool, FIRST, 0, meeting->handles, NULL), 0);
    uint32_t *first = number_of(meeting->handles[0]);
    ck_assert_int_eq(fastalloc_pool_show(connection, "fixed", &info, NULL), 0);
    ck_assert_uint_eq(info.capacity_max, FIRST);
    ck_assert_uint_gt(info.reserve, FIRST);

    ck_assert_int_eq(fastalloc_pool_grow(connection, "fixed", FIRST + 1, 0, &error),
                     FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(error.max, FIRST);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "fixed", 0, info.reserve + 1, &error),
                     FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(error.max, info.reserve);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "fixed", info.reserve, info.reserve, NULL), 0);
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), info.reserve);
    *number_of(allocate()) = 1;
    ck_assert_ptr_eq(number_of(meeting->handles[0]), first);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "none", 1, 1, &error),
                     FASTALLOC_ERR_NO_SUCH_POOL);
}
END_TEST

static void *wait_for_one(void *argument)
{
    fastalloc_handle_t handle;
    int *result = argument;
    *result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, NULL);
    return NULL;
}

START_TEST(test_who_waits_gets_what_an_administrator_adds)
{
    pthread_t thread;
    int result = -1;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    open_as("fixed", NULL, 0);
    ck_assert_int_eq(fastalloc_allocate_many(pool, FIRST, 0, meeting->handles, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_one, &result), 0);
    do
        ck_assert_int_eq(fastalloc_pool_stats(connection, "fixed", &stats, NULL), 0);
    while (stats.waiters == 0);
    ck_assert_int_eq(fastalloc_pool_grow(connection, "fixed", FIRST + 1, FIRST + 1, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(result, 0);
}
END_TEST

/* ---- Memory given back ----------------------------------------------------------------------- */

START_TEST(test_trimming_gives_back_free_slots_alone_and_they_come_again)
{
    uint64_t bytes = 0;
    fastalloc_handle_t *handles = meeting->handles;
    ck_assert_int_eq(fastalloc_allocate_many(pool, MOST, 0, handles, NULL), 0);
    for (uint32_t i = 0; i < MOST; i++)
        memset(number_of(handles[i]), (int)i + 1, OBJECT);
    ck_assert_int_eq(fastalloc_free_many(pool, handles + MOST / 2, MOST / 2, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_trim(connection, "growing", &bytes, NULL), 0);
    ck_assert_uint_eq(bytes, MOST / 2 * OBJECT);
    for (uint32_t i = 0; i < MOST / 2; i++)
        ck_assert_int_eq(((unsigned char *)number_of(handles[i]))[OBJECT - 1], (int)i + 1);
    ck_assert_int_eq(fastalloc_allocate_many(pool, MOST / 2, 0, handles + MOST / 2, NULL), 0);
    for (uint32_t i = MOST / 2; i < MOST; i++)
        ck_assert_uint_eq(*number_of(handles[i]), 0);
    ck_assert_int_eq(fastalloc_pool_trim(connection, "growing", &bytes, NULL), 0);
    ck_assert_uint_eq(bytes, 0);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_a_pool_grows_under_two_processes_and_neither_maps_anything,
        test_a_pool_as_large_as_it_gets_says_so,
        test_growth_that_is_made_ahead_leaves_room,
        test_what_is_allocated_can_be_followed_at_once_while_the_pool_grows,
        test_a_pool_that_never_grew_can_be_grown_as_far_as_its_reserve,
        test_who_waits_gets_what_an_administrator_adds,
        test_trimming_gives_back_free_slots_alone_and_they_come_again,
    };
    return suite_run("client_grow", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
