/* SPDX-License-Identifier: MIT */
/*
 * Clients on the bare protocol that go at awkward moments: amid a message, between two, with descriptors
 * or replies unread. And the orderly ends, for comparison.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/stage.h"
#include "tests/lib/timing.h"

#define TIMES 100
#define HANGUPS 200u
#define PLENTY_NS INT64_C(300000000)
#define DESCRIPTORS_UNREAD 8 /* replies with three each: as many as the daemon lets be */

static struct bare bare;

static void hold_all(bool witness)
{
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, witness);
    bare_open(&bare, STAGE_POOL, witness);
    bare_allocate(&bare, STAGE_CAPACITY);
}

/* Returns the mapping that makes it count as alive. */
static void *open_with_witness(void)
{
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    void *witness = mmap(NULL, 4096, PROT_READ, MAP_SHARED, bare.fds[0], 0);
    ck_assert_ptr_ne(witness, MAP_FAILED);
    bare_open(&bare, STAGE_POOL, true);
    return witness;
}

static void *hold_with_witness(uint32_t count)
{
    void *witness = open_with_witness();
    bare_allocate(&bare, count);
    return witness;
}

/* ---- Whose mappings are gone ----------------------------------------------------------------- */

START_TEST(test_client_that_maps_nothing_ends_with_its_connection)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        hold_all(false);
        stage_expect_exhausted();
        int64_t begin = timing_now();
        bare_close(&bare); /* the process, this one, lives on */
        timing_add(&timing, stage_take_all() - begin);
    }
    ck_assert_uint_eq(stage_stats().reclaimed, TIMES * STAGE_CAPACITY);
    timing_report(&timing, "slots back after a close without mappings");
}
END_TEST

START_TEST(test_client_with_an_unmapped_witness_ends_with_its_connection)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        hold_all(true);
        stage_expect_exhausted();
        int64_t begin = timing_now();
        bare_close(&bare);
        timing_add(&timing, stage_take_all() - begin);
    }
    timing_report(&timing, "slots back after a close, nothing mapped");
}
END_TEST

START_TEST(test_mapped_witness_keeps_slots_after_the_connection)
{
    void *witness = hold_with_witness(STAGE_CAPACITY);
    bare_close(&bare);

    stage_expect_exhausted_for(PLENTY_NS);
    ck_assert_uint_eq(stage_sessions().orphans, 1);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);

    struct timing timing = {0};
    int64_t begin = timing_now();
    munmap(witness, 4096);
    timing_add(&timing, stage_take_all() - begin);
    timing_report(&timing, "slots back after the last mapping");
}
END_TEST

/* Clients hang up faster than the daemon looks again; it must look nevertheless. */
START_TEST(test_hangups_of_others_put_off_no_end)
{
    unsigned hangups = 0;
    void *before = NULL;
    do {
        void *witness = open_with_witness();
        bare_close(&bare);
        if (before)
            munmap(before, 4096);
        before = witness;
        hangups++;
    } while (stage_sessions().all == 1 + hangups && hangups < HANGUPS);
    munmap(before, 4096);
    ck_assert_uint_lt(hangups, HANGUPS);
}
END_TEST

START_TEST(test_waiters_go_with_the_connection_though_the_session_stays)
{
    static struct bare next;
    struct allocate_reply reply;
    void *witness = hold_with_witness(STAGE_CAPACITY - 1);
    struct allocate_request request = bare_allocation(&bare, 2, STAGE_FOREVER);
    bare_send(&bare, METHOD_ALLOCATE, &request);
    stage_await_waiters(1);
    bare_connect(&next, stage.daemon.socket);
    bare_hello(&next, false);
    bare_open(&next, STAGE_POOL, false);
    request = bare_allocation(&next, 1, STAGE_FOREVER);
    bare_send(&next, METHOD_ALLOCATE, &request); /* one is free, but it isn't its turn */
    stage_await_waiters(2);

    bare_close(&bare);
    bare_receive(&next, METHOD_ALLOCATE, &reply);
    ck_assert_uint_eq(stage_sessions().orphans, 1);
    munmap(witness, 4096);
    bare_close(&next);
}
END_TEST

/* ---- Orderly --------------------------------------------------------------------------------- */

START_TEST(test_close_frees_at_once_and_counts_nothing_as_reclaimed)
{
    fastalloc_handle_t handles[STAGE_CAPACITY];
    fastalloc_connection_t *connection = test_daemon_connect(&stage.daemon);
    fastalloc_pool_t *pool = test_daemon_pool(connection, STAGE_POOL, 64, STAGE_CAPACITY);
    ck_assert_int_eq(fastalloc_allocate_many(pool, STAGE_CAPACITY, 0, handles, NULL), 0);
    fastalloc_close(pool);

    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_eq(stats.current_usage, 0);
    ck_assert_uint_eq(stats.reclaimed, 0);
    fastalloc_disconnect(connection);
}
END_TEST

START_TEST(test_disconnect_frees_what_was_held)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        fastalloc_handle_t handles[STAGE_CAPACITY];
        fastalloc_connection_t *connection = test_daemon_connect(&stage.daemon);
        fastalloc_pool_t *pool = test_daemon_pool(connection, STAGE_POOL, 64, STAGE_CAPACITY);
        ck_assert_int_eq(fastalloc_allocate_many(pool, STAGE_CAPACITY, 0, handles, NULL), 0);
        int64_t begin = timing_now();
        fastalloc_disconnect(connection);
        timing_add(&timing, stage_take_all() - begin);
    }
    timing_report(&timing, "slots back after fastalloc_disconnect()");
}
END_TEST

/* ---- Between and amid messages --------------------------------------------------------------- */

START_TEST(test_end_before_hello)
{
    for (int i = 0; i < TIMES; i++) {
        bare_connect(&bare, stage.daemon.socket);
        bare_close(&bare);
    }
}
END_TEST

START_TEST(test_end_between_hello_and_open)
{
    for (int i = 0; i < TIMES; i++) {
        bare_connect(&bare, stage.daemon.socket);
        bare_hello(&bare, i % 2);
        bare_close(&bare);
    }
}
END_TEST

START_TEST(test_end_at_each_byte_of_a_request)
{
    uint8_t data[256];
    size_t size = 1;
    for (size_t sent = 0; sent < size; sent++) {
        hold_all(false);
        struct allocate_request request = bare_allocation(&bare, 1, STAGE_FOREVER);
        size = bare_encode(&bare, METHOD_ALLOCATE, &request, data, sizeof(data));
        if (sent > 0)
            bare_write(&bare, data, sent);
        bare_close(&bare);
        stage_take_all();
    }
    ck_assert_uint_gt(size, 32);
    ck_assert_uint_eq(stage_stats().waiters, 0);
    ck_assert_uint_eq(stage_stats().timeouts, 0);
}
END_TEST

START_TEST(test_end_with_a_reply_unread_loses_no_slot)
{
    struct allocate_request request;
    for (int i = 0; i < TIMES; i++) {
        bare_connect(&bare, stage.daemon.socket);
        bare_hello(&bare, false);
        bare_open(&bare, STAGE_POOL, false);
        request = bare_allocation(&bare, STAGE_CAPACITY, 0);
        bare_send(&bare, METHOD_ALLOCATE, &request);
        bare_close(&bare);
    }
    stage_settle();
    stage_take_all();
    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_eq(stats.total_allocations, (TIMES + 1) * STAGE_CAPACITY);
    ck_assert_uint_eq(stats.reclaimed, TIMES * STAGE_CAPACITY);
}
END_TEST

/* ---- Killed ---------------------------------------------------------------------------------- */

enum moment { CONNECTED, GREETED, OPENED, HOLDING, AMID, WAITING, UNREAD, MOMENTS };

static void send_half(void)
{
    uint8_t data[256];
    struct allocate_request request = bare_allocation(&bare, 1, STAGE_FOREVER);
    size_t size = bare_encode(&bare, METHOD_ALLOCATE, &request, data, sizeof(data));
    bare_write(&bare, data, size / 2);
}

static void send_waiting(void)
{
    struct allocate_request request = bare_allocation(&bare, 1, STAGE_FOREVER);
    bare_send(&bare, METHOD_ALLOCATE, &request);
}

/* Its replies bring descriptors, which lie in its socket when it dies. */
static void send_opens(void)
{
    struct pool_open_request request = {.name = STAGE_POOL, .write = true, .map = true};
    for (int i = 0; i < DESCRIPTORS_UNREAD; i++)
        bare_send(&bare, METHOD_POOL_OPEN, &request);
}

/* Goes on as far as the argument says. */
static void come_to(int control, const void *argument)
{
    enum moment moment = *(const enum moment *)argument;
    bare_connect(&bare, stage.daemon.socket);
    if (moment >= GREETED)
        bare_hello(&bare, true);
    if (moment >= OPENED)
        bare_open(&bare, STAGE_POOL, true);
    if (moment >= HOLDING)
        bare_allocate(&bare, STAGE_CAPACITY);
    if (moment == AMID)
        send_half();
    if (moment == WAITING)
        send_waiting();
    if (moment == UNREAD)
        send_opens();
    child_say(control, 'r');
    child_listen(control);
}

static void check_killed_at(enum moment moment, const char *what)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        struct test_child child;
        test_child_start(&child, come_to, &moment);
        test_child_hear(&child, 'r');
        if (moment >= HOLDING)
            stage_expect_exhausted();
        if (moment == WAITING)
            stage_await_waiters(1);

        int64_t begin = timing_now();
        ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
        stage_settle();
        timing_add(&timing, timing_now() - begin);
        test_child_join(&child);
        ck_assert_uint_eq(stage_stats().waiters, 0);
        stage_take_all();
    }
    ck_assert_uint_eq(stage_stats().reclaimed, moment >= HOLDING ? TIMES * STAGE_CAPACITY : 0);
    timing_report(&timing, what);
}

START_TEST(test_killed_before_hello)
{
    check_killed_at(CONNECTED, "all gone after SIGKILL before hello");
}
END_TEST

START_TEST(test_killed_between_hello_and_open)
{
    check_killed_at(GREETED, "all gone after SIGKILL before open");
}
END_TEST

START_TEST(test_killed_between_open_and_allocate)
{
    check_killed_at(OPENED, "all gone after SIGKILL before allocate");
}
END_TEST

START_TEST(test_killed_while_holding)
{
    check_killed_at(HOLDING, "all gone after SIGKILL while holding");
}
END_TEST

START_TEST(test_killed_amid_a_request)
{
    check_killed_at(AMID, "all gone after SIGKILL amid a request");
}
END_TEST

START_TEST(test_killed_while_holding_and_waiting)
{
    check_killed_at(WAITING, "all gone after SIGKILL while waiting");
}
END_TEST

START_TEST(test_killed_with_descriptors_unread)
{
    check_killed_at(UNREAD, "all gone after SIGKILL, descriptors unread");
}
END_TEST

STAGE_MAIN("session_bare", test_client_that_maps_nothing_ends_with_its_connection,
           test_client_with_an_unmapped_witness_ends_with_its_connection,
           test_mapped_witness_keeps_slots_after_the_connection,
           test_hangups_of_others_put_off_no_end,
           test_waiters_go_with_the_connection_though_the_session_stays,
           test_close_frees_at_once_and_counts_nothing_as_reclaimed,
           test_disconnect_frees_what_was_held, test_end_before_hello,
           test_end_between_hello_and_open, test_end_at_each_byte_of_a_request,
           test_end_with_a_reply_unread_loses_no_slot, test_killed_before_hello,
           test_killed_between_hello_and_open, test_killed_between_open_and_allocate,
           test_killed_while_holding, test_killed_amid_a_request,
           test_killed_while_holding_and_waiting, test_killed_with_descriptors_unread)
