/* SPDX-License-Identifier: MIT */
/* Who doesn't read is held, and cut off when that lasts; who reads never is, however much comes together. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "daemon/inbox.h"
#include "tests/lib/bare.h"
#include "tests/lib/stage.h"

#define THREADS 32
#define BATCH FASTALLOC_BATCH_MAX
#define FLOOD 1000u   /* requests: more than fit in the sockets */
#define LONG_MS 50000 /* ten times what anything here takes, or more */

static void expect_served(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(stage.connection, STAGE_POOL, &stats, NULL), 0);
}

/* Sends pings until neither daemon nor socket take more; returns how many were sent whole. */
static unsigned flood(struct bare *bare)
{
    uint8_t request[64];
    struct ping_request ping;
    unsigned sent = 0;
    for (;;) {
        size_t size = bare_encode(bare, METHOD_PING, &ping, request, sizeof(request));
        struct pollfd room = {.fd = bare->fd, .events = POLLOUT};
        if (poll(&room, 1, sent > FLOOD ? 200 : LONG_MS) == 0)
            return sent;
        ck_assert_int_eq(send(bare->fd, request, size, MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t)size);
        sent++;
    }
}

/* Reads that many replies, which must be those to the requests from `first` on, in their order. */
static void expect_replies(struct bare *bare, uint32_t first, unsigned count)
{
    struct inbox inbox;
    struct bytes message;
    struct envelope envelope;
    struct error error;
    struct pollfd more = {.fd = bare->fd, .events = POLLIN};
    inbox_init(&inbox);
    for (unsigned i = 0; i < count; i++) {
        while (inbox_next(&inbox, &message) == SCAN_MORE) {
            ck_assert_int_eq(poll(&more, 1, LONG_MS), 1);
            ck_assert_int_gt(inbox_receive(&inbox, bare->fd), 0);
        }
        ck_assert(envelope_decode(&bare->decoder, message.data, message.size, &envelope, &error));
        ck_assert_uint_eq(envelope.msgid, first + i);
        inbox_take(&inbox);
    }
    inbox_deinit(&inbox);
}

START_TEST(test_a_flood_is_held_and_then_answered_in_order)
{
    struct bare bare;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, false);
    uint32_t first = bare.msgid + 1;
    unsigned sent = flood(&bare);
    ck_assert_uint_gt(sent, FLOOD);
    expect_served();
    expect_replies(&bare, first, sent);
    bare_close(&bare);
}
END_TEST

START_TEST(test_descriptors_come_one_reply_at_a_time)
{
    struct bare bare;
    uint8_t data[256];
    struct pool_open_request request = {.name = STAGE_POOL, .map = true};
    struct pool_open_reply reply;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    for (int i = 0; i < 3; i++)
        bare_write(&bare, data, bare_encode(&bare, METHOD_POOL_OPEN, &request, data, sizeof(data)));
    expect_served();
    bare.msgid -= 3;
    for (int i = 0; i < 3; i++) {
        bare.msgid++;
        bare_receive(&bare, METHOD_POOL_OPEN, &reply);
        ck_assert_uint_eq(reply.descriptors, 3);
        ck_assert_uint_eq(bare.fd_count, 3);
    }
    bare_close(&bare);
}
END_TEST

static bool is_cut_off(const struct bare *bare)
{
    struct pollfd end = {.fd = bare->fd, .events = POLLRDHUP};
    return poll(&end, 1, LONG_MS) == 1;
}

/* Both at once, since each takes as long as the daemon's patience. */
START_TEST(test_who_never_reads_is_cut_off)
{
    struct bare silent, hoarder;
    uint8_t data[256];
    struct pool_open_request request = {.name = STAGE_POOL, .map = true};
    bare_connect(&silent, stage.daemon.socket);
    bare_hello(&silent, false);
    bare_connect(&hoarder, stage.daemon.socket);
    bare_hello(&hoarder, true);
    for (int i = 0; i < 2; i++)
        bare_write(&hoarder, data,
                   bare_encode(&hoarder, METHOD_POOL_OPEN, &request, data, sizeof(data)));
    flood(&silent);
    ck_assert(is_cut_off(&silent));
    ck_assert(is_cut_off(&hoarder));
    expect_served();
    bare_close(&silent);
    bare_close(&hoarder);
}
END_TEST

static void *churn(void *argument)
{
    fastalloc_pool_t *pool = argument;
    static __thread fastalloc_handle_t handles[BATCH];
    for (int i = 0; i < 20; i++)
        if (fastalloc_allocate_many(pool, BATCH, FASTALLOC_FOREVER, handles, NULL) < 0 ||
            fastalloc_free_many(pool, handles, BATCH, NULL) < 0)
            return argument;
    return NULL;
}

START_TEST(test_many_threads_with_large_batches_are_never_cut_off)
{
    pthread_t threads[THREADS];
    fastalloc_pool_t *pool = test_daemon_pool(stage.connection, "large", 64, THREADS * BATCH / 2);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, pool), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, "large", true, NULL), 0);
    fastalloc_close(pool);
}
END_TEST

SUITE_MAIN_WITH("hold", stage_setup, stage_teardown,
                test_a_flood_is_held_and_then_answered_in_order,
                test_descriptors_come_one_reply_at_a_time, test_who_never_reads_is_cut_off,
                test_many_threads_with_large_batches_are_never_cut_off)
