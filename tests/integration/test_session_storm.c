/* SPDX-License-Identifier: MIT */
/*
 * Many deaths: at random instants of busy loops, and many at once. Who lives notices nothing of them.
 *
 * FASTALLOC_EFFORT: how many. FASTALLOC_SEED chooses what is drawn; it is printed.
 */
#define _GNU_SOURCE /* ppoll */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/effort.h"
#include "tests/lib/timing.h"

#define SUITE_TIMEOUT 600
#include "tests/lib/stage.h"

#define KILLS 400
#define BUSY 3          /* clients at a time */
#define LONGEST_US 2000 /* that one lives once it is busy */
#define CROWD 50
#define OWN 8 /* slots of the test's own, that nobody may touch */

/* ---- Scripts --------------------------------------------------------------------------------- */

/* It is about to do what it does until it is killed. */
static void say_session(int control, uint64_t session)
{
    child_require(send(control, &session, sizeof(session), MSG_NOSIGNAL) == sizeof(session));
}

/* Allocates and frees, one and several, of the slots that the test leaves, for ever. */
static void allocate_and_free(fastalloc_pool_t *pool)
{
    fastalloc_handle_t handles[OWN];
    for (unsigned i = 0;; i++) {
        unsigned count = 1 + i % OWN;
        child_require(fastalloc_allocate_many(pool, count, STAGE_FOREVER, handles, NULL) == 0);
        for (unsigned j = 0; j < count; j++)
            memset(fastalloc_get(pool, handles[j]), 0xff, 64);
        child_require(fastalloc_free_many(pool, handles, count, NULL) == 0);
    }
}

static void loop(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    say_session(control, fastalloc_session(connection));
    allocate_and_free(pool);
}

/* Holds more and more, until it waits for what is never free. */
static void hold_and_wait(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    say_session(control, fastalloc_session(connection));
    for (;;)
        child_require(fastalloc_allocate(pool, STAGE_FOREVER, &handle, NULL) == 0);
}

/* Its child has the socket too, and lives on until the test knows of the death. */
static void loop_and_leave_a_child(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    pid_t pid = fork();
    child_require(pid >= 0);
    if (pid == 0) {
        child_listen(control);
        _exit(0);
    }
    say_session(control, fastalloc_session(connection));
    allocate_and_free(pool);
}

/* So that it is killed amid one, more often than not. */
static void write_bytewise(struct bare *bare, enum method method, const void *request)
{
    uint8_t data[256];
    size_t size = bare_encode(bare, method, request, data, sizeof(data));
    for (size_t i = 0; i < size; i++)
        bare_write(bare, &data[i], 1);
}

static void loop_bytewise(int control, const void *argument)
{
    static struct bare bare;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    child_require(mmap(NULL, 4096, PROT_READ, MAP_SHARED, bare.fds[0], 0) != MAP_FAILED);
    bare_open(&bare, STAGE_POOL, true);
    say_session(control, bare.session);
    for (;;) {
        struct allocate_request allocate = bare_allocation(&bare, 1, STAGE_FOREVER);
        struct allocate_reply handle;
        struct free_request request = {.pool = bare.pool};
        struct free_reply reply;
        write_bytewise(&bare, METHOD_ALLOCATE, &allocate);
        bare_receive(&bare, METHOD_ALLOCATE, &handle);
        request.handles = handle.handles;
        write_bytewise(&bare, METHOD_FREE, &request);
        bare_receive(&bare, METHOD_FREE, &reply);
    }
}

static void hold_one(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    child_require(fastalloc_try_allocate(pool, &handle, NULL) == 0);
    child_say(control, 'r');
    child_listen(control);
}

/* ---- Random instants ------------------------------------------------------------------------- */

static void let_live(const struct test_child *child, long microseconds)
{
    struct pollfd poll_fd = {.fd = child->control, .events = POLLIN};
    struct timespec time = {.tv_nsec = microseconds * 1000};
    ck_assert_int_eq(ppoll(&poll_fd, 1, &time, NULL), 0); /* it says no more, unless it failed */
}

/* One that was started, and what it is for the daemon. */
struct victim {
    struct test_child child;
    uint64_t session;
};

static void start_victim(struct victim *victim)
{
    static const child_script_t scripts[] = {loop, hold_and_wait, loop_and_leave_a_child,
                                             loop_bytewise};
    size_t size = sizeof(victim->session);
    test_child_start(&victim->child, scripts[random() % 4], NULL);
    ck_assert_int_eq(recv(victim->child.control, &victim->session, size, MSG_WAITALL), size);
}

static int find_session(const fastalloc_session_info_t *info, void *context)
{
    return info->id == *(const uint64_t *)context;
}

/* With its session all that it held is free. */
static void kill_victim(struct victim *victim, struct timing *timing)
{
    int known = 1;
    int64_t begin = timing_now();
    ck_assert_int_eq(kill(victim->child.pid, SIGKILL), 0);
    while (known) {
        known = fastalloc_session_list(stage.connection, find_session, &victim->session, NULL);
        ck_assert_int_ge(known, 0);
        ck_assert_int_lt(timing_now() - begin, STAGE_FOREVER);
    }
    timing_add(timing, timing_now() - begin);
    int status = test_child_join(&victim->child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it ended with %#x",
                  (unsigned)status);
}

static void check_own(const fastalloc_handle_t own[OWN])
{
    for (unsigned i = 0; i < OWN; i++) {
        const unsigned char *object = fastalloc_get(stage.pool, own[i]);
        ck_assert_ptr_nonnull(object);
        for (unsigned j = 0; j < 64; j++)
            ck_assert_uint_eq(object[j], i + 1);
    }
}

START_TEST(test_deaths_at_random_instants_lose_nothing)
{
    static struct timing timing;
    struct victim busy[BUSY];
    fastalloc_handle_t own[OWN];
    unsigned kills = KILLS * test_effort();
    test_seed();
    ck_assert_int_eq(fastalloc_allocate_many(stage.pool, OWN, 0, own, NULL), 0);
    for (unsigned i = 0; i < OWN; i++)
        memset(fastalloc_get(stage.pool, own[i]), (int)i + 1, 64);
    /* So few are left that they wait for each other. */
    stage_take(STAGE_CAPACITY - OWN - 10);

    for (unsigned i = 0; i < BUSY; i++)
        start_victim(&busy[i]);
    for (unsigned i = 0; i < kills; i++) {
        struct victim *victim = &busy[random() % BUSY];
        let_live(&victim->child, random() % LONGEST_US);
        kill_victim(victim, &timing);
        start_victim(victim);
        check_own(own);
    }
    for (unsigned i = 0; i < BUSY; i++)
        kill_victim(&busy[i], &timing);

    stage_settle();
    check_own(own);
    stage_give_back();
    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_eq(stats.current_usage, OWN);
    ck_assert_uint_eq(stats.total_allocations - stats.total_deallocations, OWN);
    ck_assert_uint_eq(stats.waiters, 0);
    timing_report(&timing, "session gone after SIGKILL at random");
    printf("%u kills, %u allocations, %u slots reclaimed\n", kills + BUSY,
           (unsigned)stats.total_allocations, (unsigned)stats.reclaimed);
    ck_assert_uint_gt(stats.reclaimed, 0); /* else no kill ever hit a holder */
    ck_assert_int_eq(fastalloc_free_many(stage.pool, own, OWN, NULL), 0);
}
END_TEST

/* ---- Many at once ---------------------------------------------------------------------------- */

START_TEST(test_fifty_clients_die_at_once)
{
    static struct test_child crowd[CROWD];
    stage_take(STAGE_CAPACITY - CROWD);
    for (unsigned i = 0; i < CROWD; i++) {
        test_child_start(&crowd[i], hold_one, NULL);
        test_child_hear(&crowd[i], 'r');
    }
    stage_expect_exhausted();
    ck_assert_uint_eq(stage_sessions().all, CROWD + 1);

    struct timing timing = {0};
    int64_t begin = timing_now();
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert_int_eq(kill(crowd[i].pid, SIGKILL), 0);
    stage_take(CROWD);
    timing_add(&timing, timing_now() - begin);
    for (unsigned i = 0; i < CROWD; i++)
        test_child_join(&crowd[i]);
    stage_give_back();
    ck_assert_uint_eq(stage_stats().reclaimed, CROWD);
    timing_report(&timing, "slots back after SIGKILL of fifty clients");
}
END_TEST

STAGE_MAIN("session_storm", test_deaths_at_random_instants_lose_nothing,
           test_fifty_clients_die_at_once)
