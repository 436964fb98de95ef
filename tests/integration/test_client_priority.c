/* SPDX-License-Identifier: MIT */
/* Who gets slots first, who has to give them up, and who stops waiting. */
#include <fastalloc/admin.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "daemon/inbox.h"
#include "tests/lib/bare.h"
#include "tests/lib/daemon.h"
#include "tests/lib/timing.h"
#include "tests/unit/suite.h"

#define CAPACITY 8
#define PATIENCE_MS 30000
#define PATIENCE (PATIENCE_MS * INT64_C(1000000)) /* ns */

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t handles[CAPACITY + 1];

static fastalloc_open_options_t reserving(uint64_t critical, uint64_t normal)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.reserve_critical = critical;
    options.reserve_normal = normal;
    return options;
}

static fastalloc_pool_t *open_with(const char *name, const fastalloc_open_options_t *options)
{
    fastalloc_pool_t *opened;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_msg(fastalloc_open(connection, name, options, &opened, &error) == 0, "%s",
                  error.message);
    return opened;
}

static void setup(void)
{
    static const char *const arguments[] = {"--log-level", "error", NULL};
    test_daemon_start(&server, arguments);
    connection = test_daemon_connect(&server);
    fastalloc_open_options_t options = reserving(0, 0);
    pool = open_with("plain", &options);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static int allocate_as(int32_t priority, size_t count, bool evictable, fastalloc_handle_t *mine,
                       fastalloc_error_t *error)
{
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    options.priority = priority;
    options.count = count;
    options.evictable = evictable;
    return fastalloc_allocate_with(pool, &options, mine, error);
}

static void await_waiters(uint64_t count)
{
    int64_t end = timing_now() + PATIENCE;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    do {
        ck_assert_int_eq(fastalloc_pool_stats(connection, fastalloc_pool_name(pool), &stats, NULL),
                         0);
        ck_assert_msg(timing_now() < end, "%u requests wait", (unsigned)stats.waiters);
    } while (stats.waiters != count);
}

/* ---- Reserves -------------------------------------------------------------------------------- */

START_TEST(test_each_priority_leaves_what_is_reserved_for_those_above)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = reserving(2, 1);
    pool = open_with("reserving", &options);
    ck_assert_int_eq(allocate_as(FASTALLOC_BEST_EFFORT, 5, false, handles, NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_BEST_EFFORT, 1, false, handles, &error),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.reserved, 3);
    ck_assert_uint_eq(error.allocated, 5);
    ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, false, handles, NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, false, handles, &error),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.reserved, 2);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 2, false, handles, NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 1, false, handles, &error),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.reserved, 0);
}
END_TEST

START_TEST(test_what_can_never_be_had_is_refused_at_once)
{
    fastalloc_allocate_options_t ask = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    fastalloc_open_options_t options = reserving(2, 1);
    pool = open_with("reserving", &options);
    ask.timeout = FASTALLOC_FOREVER;
    ask.count = CAPACITY - 1;
    ck_assert_int_eq(fastalloc_allocate_with(pool, &ask, handles, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ask.priority = FASTALLOC_CRITICAL;
    ck_assert_int_eq(fastalloc_allocate_with(pool, &ask, handles, NULL), 0);
}
END_TEST

START_TEST(test_a_pool_that_grows_keeps_its_reserves)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_open_options_t options = reserving(4, 0);
    options.growth = "linear:1";
    options.capacity_max = UINT64_C(4) * CAPACITY;
    pool = open_with("growing", &options);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, CAPACITY - 1, false, handles, NULL), 0);
    for (int i = 0; i < CAPACITY; i++) {
        ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, false, handles, NULL), 0);
        ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
        ck_assert_uint_ge(stats.available, 4);
    }
}
END_TEST

/* ---- Eviction -------------------------------------------------------------------------------- */

START_TEST(test_a_critical_request_evicts_the_oldest_and_their_handles_are_stale)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_handle_t critical[2];
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, i != 0, &handles[i], NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, false, critical, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 2, false, critical, NULL), 0);
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(fastalloc_get(pool, handles[i]) == NULL, i == 1 || i == 2);
    ck_assert_int_eq(fastalloc_free(pool, handles[1], NULL), FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
    ck_assert_uint_eq(stats.evictions, 2);
    ck_assert_uint_eq(stats.current_usage, CAPACITY);
    ck_assert_uint_eq(stats.total_deallocations, 2);
}
END_TEST

START_TEST(test_too_few_evictable_objects_are_all_spared)
{
    fastalloc_handle_t critical[3];
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, i < 2, &handles[i], NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 3, false, critical, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    for (int i = 0; i < CAPACITY; i++)
        ck_assert_ptr_nonnull(fastalloc_get(pool, handles[i]));
}
END_TEST

START_TEST(test_what_is_adopted_or_retained_is_no_longer_evictable)
{
    fastalloc_handle_t critical[1];
    ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, CAPACITY, true, handles, NULL), 0);
    fastalloc_connection_t *other = test_daemon_connect(&server);
    fastalloc_pool_t *same = test_daemon_pool(other, "plain", 64, CAPACITY);
    ck_assert_int_eq(fastalloc_adopt(same, handles, CAPACITY / 2, NULL), 0);
    ck_assert_int_eq(fastalloc_retain(same, handles + CAPACITY / 2, CAPACITY / 2, NULL), 0);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 1, false, critical, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    fastalloc_disconnect(other);
}
END_TEST

/* ---- Order ----------------------------------------------------------------------------------- */

struct waiter {
    pthread_t thread;
    fastalloc_pool_t *pool;
    fastalloc_allocate_options_t options;
    int result;
    unsigned place; /* in the order in which they were served */
    fastalloc_handle_t handles[2];
};

static unsigned served;

static void *wait_for_slot(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = fastalloc_allocate_with(waiter->pool, &waiter->options, waiter->handles, NULL);
    waiter->place = __atomic_add_fetch(&served, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void start_waiter(struct waiter *waiter, int32_t priority)
{
    *waiter = (struct waiter){.pool = pool, .options = FASTALLOC_ALLOCATE_OPTIONS_INIT};
    waiter->options.priority = priority;
    waiter->options.timeout = FASTALLOC_FOREVER;
    ck_assert_int_eq(pthread_create(&waiter->thread, NULL, wait_for_slot, waiter), 0);
}

START_TEST(test_who_waits_is_served_by_priority_and_then_by_age)
{
    static const int32_t priorities[] = {FASTALLOC_BEST_EFFORT, FASTALLOC_NORMAL, FASTALLOC_NORMAL,
                                         FASTALLOC_CRITICAL};
    static const int order[] = {3, 1, 2, 0};
    struct waiter waiters[4];
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        start_waiter(&waiters[i], priorities[i]);
        await_waiters(i + 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(fastalloc_free(pool, handles[i], NULL), 0);
        ck_assert_int_eq(pthread_join(waiters[order[i]].thread, NULL), 0);
        ck_assert_int_eq(waiters[order[i]].result, 0);
        ck_assert_uint_eq(waiters[order[i]].place, i + 1);
    }
}
END_TEST

/* One slot is free, but the one who waits asks for two. */
START_TEST(test_a_later_request_overtakes_none_of_its_own_priority_but_those_below)
{
    struct waiter waiter = {.pool = pool, .options = FASTALLOC_ALLOCATE_OPTIONS_INIT};
    fastalloc_handle_t last;
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY - 1, 0, handles, NULL), 0);
    waiter.options.count = 2;
    waiter.options.timeout = FASTALLOC_FOREVER;
    ck_assert_int_eq(pthread_create(&waiter.thread, NULL, wait_for_slot, &waiter), 0);
    await_waiters(1);
    ck_assert_int_eq(allocate_as(FASTALLOC_BEST_EFFORT, 1, false, &last, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_int_eq(allocate_as(FASTALLOC_NORMAL, 1, false, &last, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_int_eq(allocate_as(FASTALLOC_CRITICAL, 1, false, &last, NULL), 0);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 2, NULL), 0);
    ck_assert_int_eq(pthread_join(waiter.thread, NULL), 0);
    ck_assert_int_eq(waiter.result, 0);
}
END_TEST

/* ---- Cancelling ------------------------------------------------------------------------------ */

START_TEST(test_a_cancel_ends_all_waits_of_its_connection_in_that_pool_alone)
{
    struct waiter waiters[4], elsewhere;
    fastalloc_open_options_t options = reserving(0, 0);
    fastalloc_pool_t *plain = pool, *other = open_with("other", &options);
    ck_assert_int_eq(fastalloc_allocate_many(other, CAPACITY, 0, handles, NULL), 0);
    pool = other;
    start_waiter(&elsewhere, FASTALLOC_NORMAL);
    await_waiters(1);
    pool = plain;
    fastalloc_handle_t first[CAPACITY];
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, first, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        start_waiter(&waiters[i], (int32_t)i % 3);
    await_waiters(4);

    ck_assert_int_eq(fastalloc_cancel(pool, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(waiters[i].thread, NULL), 0);
        ck_assert_int_eq(waiters[i].result, FASTALLOC_ERR_CANCELLED);
    }
    await_waiters(0);
    ck_assert_int_eq(fastalloc_cancel(pool, NULL), 0);
    ck_assert_int_eq(fastalloc_free(other, handles[0], NULL), 0);
    ck_assert_int_eq(pthread_join(elsewhere.thread, NULL), 0);
    ck_assert_int_eq(elsewhere.result, 0);
    ck_assert_ptr_nonnull(fastalloc_get(other, elsewhere.handles[0]));
}
END_TEST

START_TEST(test_waits_of_another_connection_arent_cancelled)
{
    struct bare bare;
    struct allocate_reply reply;
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 0, handles, NULL), 0);
    bare_connect(&bare, server.socket);
    bare_hello(&bare, false);
    bare_open(&bare, "plain", false);
    struct allocate_request request = bare_allocation(&bare, 1, FASTALLOC_FOREVER);
    bare_send(&bare, METHOD_ALLOCATE, &request);
    await_waiters(1);
    ck_assert_int_eq(fastalloc_cancel(pool, NULL), 0);
    await_waiters(1);
    ck_assert_int_eq(fastalloc_free(pool, handles[0], NULL), 0);
    bare_receive(&bare, METHOD_ALLOCATE, &reply);
    ck_assert_uint_eq(reply.handles.size, HANDLE_WIRE_SIZE);
    bare_close(&bare);
}
END_TEST

/* ---- Ten thousand ---------------------------------------------------------------------------- */

#define CROWD 10
#define EACH UINT64_C(1000)
#define BATCH 2000

static void send_requests(struct bare *bare)
{
    static uint8_t data[EACH * 64];
    size_t size = 0;
    for (uint64_t i = 0; i < EACH; i++) {
        struct allocate_request request = bare_allocation(bare, 1, FASTALLOC_FOREVER);
        size += bare_encode(bare, METHOD_ALLOCATE, &request, data + size, sizeof(data) - size);
    }
    bare_write(bare, data, size);
}

/* One handle for each, in the order of the requests. */
static void expect_grants(struct bare *bare)
{
    struct inbox inbox;
    struct pollfd more = {.fd = bare->fd, .events = POLLIN};
    uint32_t msgid = bare->msgid - (uint32_t)EACH;
    inbox_init(&inbox);
    for (uint64_t i = 0; i < EACH; i++) {
        struct bytes message;
        struct envelope envelope;
        struct allocate_reply reply;
        struct error error;
        while (inbox_next(&inbox, &message) == SCAN_MORE) {
            ck_assert_int_eq(poll(&more, 1, PATIENCE_MS), 1);
            ck_assert_int_gt(inbox_receive(&inbox, bare->fd), 0);
        }
        ck_assert(envelope_decode(&bare->decoder, message.data, message.size, &envelope, &error));
        ck_assert_uint_eq(envelope.msgid, ++msgid);
        ck_assert(message_decode(&allocate_reply_type, envelope.result, false, &reply, &error));
        ck_assert_uint_eq(reply.handles.size, HANDLE_WIRE_SIZE);
        inbox_take(&inbox);
    }
    inbox_deinit(&inbox);
}

START_TEST(test_ten_thousand_wait_and_all_are_served_in_their_order)
{
    static fastalloc_handle_t all[CROWD * EACH];
    struct bare *crowd = calloc(CROWD, sizeof(*crowd));
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    pool = test_daemon_pool(connection, "crowded", 16, CROWD * EACH);
    for (size_t i = 0; i < CROWD * EACH; i += BATCH)
        ck_assert_int_eq(fastalloc_allocate_many(pool, BATCH, 0, all + i, NULL), 0);
    for (int i = 0; i < CROWD; i++) {
        bare_connect(&crowd[i], server.socket);
        bare_hello(&crowd[i], false);
        bare_open(&crowd[i], "crowded", false);
        send_requests(&crowd[i]);
    }
    await_waiters(CROWD * EACH);
    for (size_t i = 0; i < CROWD * EACH; i += BATCH)
        ck_assert_int_eq(fastalloc_free_many(pool, all + i, BATCH, NULL), 0);
    for (int i = 0; i < CROWD; i++)
        expect_grants(&crowd[i]);
    ck_assert_int_eq(fastalloc_stats(pool, &stats, NULL), 0);
    ck_assert_uint_eq(stats.waiters, 0);
    ck_assert_uint_eq(stats.total_waits, CROWD * EACH);
    ck_assert_uint_eq(stats.current_usage, CROWD * EACH);
    for (int i = 0; i < CROWD; i++)
        bare_close(&crowd[i]);
    free(crowd);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_each_priority_leaves_what_is_reserved_for_those_above,
        test_what_can_never_be_had_is_refused_at_once,
        test_a_pool_that_grows_keeps_its_reserves,
        test_a_critical_request_evicts_the_oldest_and_their_handles_are_stale,
        test_too_few_evictable_objects_are_all_spared,
        test_what_is_adopted_or_retained_is_no_longer_evictable,
        test_who_waits_is_served_by_priority_and_then_by_age,
        test_a_later_request_overtakes_none_of_its_own_priority_but_those_below,
        test_a_cancel_ends_all_waits_of_its_connection_in_that_pool_alone,
        test_waits_of_another_connection_arent_cancelled,
        test_ten_thousand_wait_and_all_are_served_in_their_order,
    };
    return suite_run("client_priority", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
