/* SPDX-License-Identifier: MIT */
/* Clients of a real daemon that cuts them off, dies and is started again, or ends for a while. */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define CAPACITY 64
#define WORKERS 6
#define ROUNDS 400
#define PAUSE 60u /* calls between two losses */
#define SECOND INT64_C(1000000000)
#define DESCRIPTORS 256

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static int client_fd;

/* The library's end of the only connection that this process has. */
static int find_socket(void)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        struct sockaddr_un address = {.sun_family = AF_UNSPEC};
        socklen_t size = sizeof(address);
        if (getpeername(fd, (struct sockaddr *)&address, &size) == 0 &&
            address.sun_family == AF_UNIX && strcmp(address.sun_path, server.socket) == 0)
            return fd;
    }
    ck_abort_msg("no socket");
}

static void setup(void)
{
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    pool = test_daemon_pool(connection, "objects", 64, CAPACITY);
    client_fd = find_socket();
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static fastalloc_stats_t stats_of(const char *name)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_pool_stats(connection, name, &stats, &error) == 0, "%s", error.message);
    return stats;
}

/* ---- Ways to lose the connection ------------------------------------------------------------- */

static void cut(void)
{
    ck_assert_int_eq(shutdown(client_fd, SHUT_RDWR), 0);
}

static void end_daemon(int signal)
{
    ck_assert_int_eq(kill(server.pid, signal), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
}

static void kill_and_restart(void)
{
    end_daemon(SIGKILL);
    test_daemon_restart(&server, NULL);
}

static void stop_and_restart(void)
{
    end_daemon(SIGTERM);
    test_daemon_restart(&server, NULL);
}

/* ---- Everybody works while it is lost -------------------------------------------------------- */

static atomic_uint calls;   /* that have succeeded */
static atomic_uint working; /* threads */

struct worker {
    pthread_t thread;
    int (*work)(unsigned number, fastalloc_error_t *error);
    unsigned number;
    int result;
    fastalloc_error_t error;
};

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    worker->result = 0;
    for (int i = 0; i < ROUNDS && worker->result == 0; i++)
        worker->result = worker->work(worker->number, &worker->error);
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static int count(int result)
{
    atomic_fetch_add(&calls, 1);
    return result;
}

/* The object goes through all hands that there are, and is nobody else's meanwhile. */
static int pass_object_round(unsigned number, fastalloc_error_t *error)
{
    fastalloc_handle_t handle;
    int result = count(fastalloc_allocate(pool, 60 * SECOND, &handle, error));
    if (result < 0)
        return result;
    uint64_t *object = fastalloc_get(pool, handle);
    if (!object)
        return -1;
    *object = number;
    if ((result = count(fastalloc_retain(pool, &handle, 1, error))) < 0 ||
        (result = count(fastalloc_release(pool, &handle, 1, error))) < 0 ||
        (result = count(fastalloc_detach(pool, &handle, 1, error))) < 0 ||
        (result = count(fastalloc_adopt(pool, &handle, 1, error))) < 0)
        return result;
    if (*object != number || !fastalloc_still_valid(pool, handle))
        return -1;
    return count(fastalloc_free(pool, handle, error));
}

static int allocate_batches(unsigned number, fastalloc_error_t *error)
{
    fastalloc_handle_t handles[5];
    int result = count(fastalloc_allocate_many(pool, 5, 60 * SECOND, handles, error));
    return result < 0 ? result : count(fastalloc_free_many(pool, handles, 5, error));
}

static int make_a_pool(unsigned number, fastalloc_error_t *error)
{
    char name[16];
    fastalloc_pool_t *mine = NULL;
    fastalloc_handle_t handle;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.object_size = 64;
    options.capacity = 4;
    snprintf(name, sizeof(name), "pool%u", number);
    int result = count(fastalloc_pool_create(connection, name, &options, error));
    if (result == 0)
        result = count(fastalloc_open(connection, name, NULL, &mine, error));
    if (result < 0)
        return result;
    result = count(fastalloc_allocate(mine, 60 * SECOND, &handle, error));
    fastalloc_close(mine);
    return result < 0 ? result : count(fastalloc_pool_destroy(connection, name, false, error));
}

static int look_around(unsigned number, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    int result = count(fastalloc_ping(connection, &info, error));
    return result < 0 ? result : count(fastalloc_pool_stats(connection, "objects", &stats, error));
}

static void start_workers(struct worker *workers)
{
    static int (*const works[WORKERS])(unsigned, fastalloc_error_t *) = {
        pass_object_round, pass_object_round, allocate_batches,
        allocate_batches,  make_a_pool,       look_around,
    };
    atomic_store(&working, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.work = works[i], .number = i + 1};
        workers[i].error = FASTALLOC_ERROR_INIT;
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
}

/* Whether so many calls more have succeeded; else all is done. */
static bool await_calls(unsigned more)
{
    unsigned target = atomic_load(&calls) + more;
    while (atomic_load(&working) > 0 && (int)(atomic_load(&calls) - target) < 0)
        sched_yield();
    return atomic_load(&working) > 0;
}

static void work_while(void (*lose)(void), unsigned pause)
{
    struct worker workers[WORKERS];
    start_workers(workers);
    while (await_calls(pause))
        lose();
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_msg(workers[i].result == 0, "worker %u: %s: %s", i,
                      fastalloc_result_name(workers[i].result), workers[i].error.message);
    }
    ck_assert_uint_eq(stats_of("objects").current_usage, 0);
    ck_assert_uint_ge(fastalloc_resumed(connection), 1);
}

START_TEST(test_nothing_fails_and_nothing_is_lost_when_connections_are_cut)
{
    work_while(cut, PAUSE);
}
END_TEST

START_TEST(test_nothing_fails_and_nothing_is_lost_when_the_daemon_is_killed)
{
    work_while(kill_and_restart, 5 * PAUSE);
}
END_TEST

START_TEST(test_nothing_fails_and_nothing_is_lost_when_the_daemon_is_restarted)
{
    work_while(stop_and_restart, 5 * PAUSE);
}
END_TEST

/* ---- One who waits --------------------------------------------------------------------------- */

struct waiter {
    pthread_t thread;
    fastalloc_handle_t handle;
    int result;
};

static void *wait_for_it(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &waiter->handle, NULL);
    return NULL;
}

static void await_waiters(uint64_t waiters)
{
    while (stats_of("objects").waiters != waiters)
        continue;
}

static void wait_while(void (*lose)(void))
{
    struct waiter waiter;
    fastalloc_handle_t handles[CAPACITY];
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    for (int i = 0; i < CAPACITY; i++)
        *(int *)fastalloc_get(pool, handles[i]) = i;
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_for_it, &waiter), 0);
    for (int times = 0; times < 5; times++) {
        await_waiters(1);
        lose();
    }
    await_waiters(1);
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(*(int *)fastalloc_get(pool, handles[i]), i);
    ck_assert_int_eq(fastalloc_free(pool, handles[0], NULL), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, 0);
    ck_assert_int_eq(fastalloc_free(pool, waiter.handle, NULL), 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles + 1, CAPACITY - 1, NULL), 0);
    ck_assert_uint_eq(stats_of("objects").current_usage, 0);
}

START_TEST(test_who_waits_waits_on_when_the_connection_is_cut)
{
    wait_while(cut);
}
END_TEST

START_TEST(test_who_waits_waits_on_when_the_daemon_is_killed)
{
    wait_while(kill_and_restart);
}
END_TEST

/* Who waits is another process, which came to the new daemon. */
static void wait_in_process(int control, const void *socket)
{
    fastalloc_connection_t *mine;
    fastalloc_handle_t handle;
    fastalloc_pool_t *leased = child_open(socket, "leased", &mine);
    child_require(fastalloc_allocate(leased, 60 * SECOND, &handle, NULL) == 0);
    child_say(control, 'g');
    child_listen(control);
    fastalloc_disconnect(mine);
}

static fastalloc_pool_t *make_leased(void)
{
    fastalloc_pool_t *leased;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.kind = FASTALLOC_LEASED;
    ck_assert_int_eq(fastalloc_open(connection, "leased", &options, &leased, NULL), 0);
    return leased;
}

/* Of what is freed with no word to the daemon it hears all the same. */
START_TEST(test_who_only_frees_is_heard_by_the_next_daemon)
{
    struct test_child child;
    fastalloc_handle_t handles[CAPACITY];
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_pool_t *leased = make_leased();
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(fastalloc_allocate(leased, 0, &handles[i], NULL), 0);
    kill_and_restart();
    fastalloc_connection_t *other = test_daemon_connect(&server);
    test_child_start(&child, wait_in_process, server.socket);
    while (stats.waiters == 0)
        ck_assert_int_eq(fastalloc_pool_stats(other, "leased", &stats, NULL), 0);
    ck_assert_int_eq(fastalloc_free(leased, handles[0], NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 1);
    test_child_hear(&child, 'g');
    test_child_tell(&child, 'e');
    ck_assert_int_eq(test_child_join(&child), 0);
    fastalloc_disconnect(other);
}
END_TEST

/* ---- What ends ------------------------------------------------------------------------------- */

START_TEST(test_what_is_granted_to_nobody_is_free_again)
{
    fastalloc_handle_t handles[CAPACITY], one;
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 1, handles, NULL),
                     FASTALLOC_ERR_TIMEOUT);
    ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
    ck_assert_int_eq(fastalloc_allocate(pool, 60 * SECOND, &one, NULL), 0);
    ck_assert_int_eq(fastalloc_free(pool, one, NULL), 0);
    ck_assert_uint_eq(stats_of("objects").current_usage, 0);
}
END_TEST

START_TEST(test_a_session_that_nobody_knows_any_more_is_over)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    const char *const purge[] = {"--purge", NULL};
    end_daemon(SIGKILL);
    test_daemon_restart(&server, purge);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    test_daemon_restart(&server, NULL);
    ck_assert_int_eq(fastalloc_ping(connection, &info, &error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_int_eq(fastalloc_ping(connection, &info, &error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_msg(strstr(error.message, "doesn't know this session"), "%s", error.message);
    fastalloc_disconnect(connection);
    connection = test_daemon_connect(&server);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_nothing_fails_and_nothing_is_lost_when_connections_are_cut,
        test_nothing_fails_and_nothing_is_lost_when_the_daemon_is_killed,
        test_nothing_fails_and_nothing_is_lost_when_the_daemon_is_restarted,
        test_who_waits_waits_on_when_the_connection_is_cut,
        test_who_waits_waits_on_when_the_daemon_is_killed,
        test_who_only_frees_is_heard_by_the_next_daemon,
        test_what_is_granted_to_nobody_is_free_again,
        test_a_session_that_nobody_knows_any_more_is_over,
    };
    return suite_run("client_resume", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
