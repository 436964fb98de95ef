/* SPDX-License-Identifier: MIT */
/* Who doesn't read is held, and cut off when that lasts; who reads never is, however much comes together. */
#define _GNU_SOURCE /* prlimit */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "daemon/inbox.h"
#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/stage.h"
#include "tests/lib/timing.h"

#define THREADS 32
#define BATCH FASTALLOC_BATCH_MAX
#define FLOOD 1000u   /* requests: more than fit in the sockets */
#define LONG_MS 50000 /* ten times what anything here takes, or more */
#define PINGS_ROOM (1 << 17)
#define DESCRIPTORS 256u /* the daemon's limit, half of which may be on their way */

/* Without the limit it would take a thousand clients to come up to it. */
static void set_up(void)
{
    const struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    stage_setup();
}

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

/* Pings, to be sent in one piece; their size. */
static size_t encode_pings(struct bare *bare, unsigned count, uint8_t *data, size_t room)
{
    struct ping_request ping;
    size_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += bare_encode(bare, METHOD_PING, &ping, data + size, room - size);
    return size;
}

static size_t encode_open(struct bare *bare, uint8_t *data, size_t room)
{
    struct pool_open_request request = {.name = STAGE_POOL, .map = true};
    return bare_encode(bare, METHOD_POOL_OPEN, &request, data, room);
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
    struct pool_open_reply reply;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    for (int i = 0; i < 3; i++)
        bare_write(&bare, data, encode_open(&bare, data, sizeof(data)));
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

/* Reads no reply to the two opens, and is held at the second. */
static void hoard(struct bare *hoarder)
{
    uint8_t data[256];
    bare_connect(hoarder, stage.daemon.socket);
    bare_hello(hoarder, true);
    for (int i = 0; i < 2; i++)
        bare_write(hoarder, data, encode_open(hoarder, data, sizeof(data)));
}

/* ---- A client that reads slowly -------------------------------------------------------------- */

#define SIP 300u /* bytes */
#define SIPS_MS                                                                                    \
    100 /* from one to the next: all that is there lasts for twice the daemon's patience */
#define SIPPINGS 1500u /* whose replies fit in the socket: half of what it takes */
#define MARKER "marker"

struct sipper {
    struct bare bare;
    struct scan scan;
    size_t begin, end; /* of the reply that isn't there whole yet */
    unsigned replies;
    uint8_t data[PINGS_ROOM];
};

static void await_pool(const char *name)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    int64_t end = timing_now() + STAGE_FOREVER;
    while (fastalloc_pool_show(stage.connection, name, &info, NULL) < 0)
        ck_assert_msg(timing_now() < end, "no pool %s", name);
}

/*
 * Asks for descriptors, for as much else as fits in the socket, and for descriptors again. At that
 * it is held when this returns, with nothing in the daemon that could still be sent.
 */
static void sip_begin(struct sipper *sipper)
{
    struct bare *bare = &sipper->bare;
    uint8_t *data = sipper->data;
    size_t room = sizeof(sipper->data);
    struct pool_create_request marker = {.name = MARKER, .object_size = 64, .capacity = 1};
    *sipper = (struct sipper){.begin = 0};
    scan_init(&sipper->scan);
    bare_connect(bare, stage.daemon.socket);
    bare_hello(bare, true);
    size_t size = encode_open(bare, data, room);
    size += encode_pings(bare, SIPPINGS, data + size, room - size);
    size += bare_encode(bare, METHOD_POOL_CREATE, &marker, data + size, room - size);
    size += encode_open(bare, data + size, room - size);
    bare_write(bare, data, size);
    await_pool(MARKER);
}

static void sip(struct sipper *sipper)
{
    ssize_t size = recv(sipper->bare.fd, sipper->data + sipper->end, SIP, 0);
    ck_assert_int_gt(size, 0);
    sipper->end += (size_t)size;
    while (sipper->begin < sipper->end && scan_continue(&sipper->scan, sipper->data + sipper->begin,
                                                        sipper->end - sipper->begin) == SCAN_DONE) {
        sipper->begin += sipper->scan.position;
        sipper->replies++;
        scan_init(&sipper->scan);
    }
}

static void sip_end(struct sipper *sipper)
{
    while (sipper->replies < SIPPINGS + 3)
        sip(sipper);
    bare_close(&sipper->bare);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, MARKER, true, NULL), 0);
}

/* All at once, since each takes as long as the daemon's patience. It ends for the hoarder last. */
START_TEST(test_who_never_reads_is_cut_off_but_not_who_reads_slowly)
{
    static struct sipper sipper;
    struct bare silent, hoarder;
    bare_connect(&silent, stage.daemon.socket);
    bare_hello(&silent, false);
    flood(&silent);
    sip_begin(&sipper);
    hoard(&hoarder);
    struct pollfd end = {.fd = hoarder.fd, .events = POLLRDHUP};
    while (poll(&end, 1, SIPS_MS) == 0)
        sip(&sipper);
    ck_assert(is_cut_off(&silent));
    sip_end(&sipper);
    expect_served();
    bare_close(&silent);
    bare_close(&hoarder);
}
END_TEST

/* ---- The others ------------------------------------------------------------------------------ */

#define PIPELINED 17u /* requests: one more than are taken in a turn */
#define VISITS 12
#define VISITS_NS                                                                                  \
    INT64_C(200000000) /* 1 + 2 + 4 + ... + 64 + 80 + 80 ms, and that is more than twice this */

/* Counts from now on how often the daemon looks whether the witness is mapped. */
static int watch_witness(int witness)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", witness);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ck_assert_int_ge(watch, 0);
    ck_assert_int_ge(inotify_add_watch(watch, path, IN_OPEN), 0);
    return watch;
}

static unsigned count_visits(int watch)
{
    struct inotify_event events[64];
    ssize_t size = read(watch, events, sizeof(events));
    return size > 0 ? (unsigned)((size_t)size / sizeof(events[0])) : 0;
}

/* The connection is gone but the process may write still: the witness is open. Returns that. */
static int leave_session(int *watch)
{
    struct bare bare;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    int witness = dup(bare.fds[0]);
    bare_open(&bare, STAGE_POOL, false);
    *watch = watch_witness(witness);
    bare_close(&bare);
    return witness;
}

START_TEST(test_who_sends_much_doesnt_make_the_daemon_look_at_others)
{
    struct bare busy;
    uint8_t data[1024];
    int watch;
    bare_connect(&busy, stage.daemon.socket);
    bare_hello(&busy, false);
    int64_t begin = timing_now();
    int witness = leave_session(&watch);
    for (unsigned visits = 0; visits < VISITS; visits += count_visits(watch)) {
        uint32_t first = busy.msgid + 1;
        bare_write(&busy, data, encode_pings(&busy, PIPELINED, data, sizeof(data)));
        expect_replies(&busy, first, PIPELINED);
    }
    ck_assert_int_ge(timing_now() - begin, VISITS_NS);
    close(watch);
    close(witness);
    bare_close(&busy);
}
END_TEST

/* ---- What was sent right before the end ------------------------------------------------------ */

#define LAST_WORDS 100u /* requests: several turns' */

/* While the daemon is stopped, so that it finds all of it and the end together. */
static void send_last_words(struct bare *bare)
{
    uint8_t data[4096];
    kill(stage.daemon.pid, SIGSTOP);
    bare_write(bare, data, encode_pings(bare, LAST_WORDS, data, sizeof(data)));
}

START_TEST(test_what_was_sent_before_the_end_is_answered)
{
    struct bare bare;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, false);
    uint32_t first = bare.msgid + 1;
    send_last_words(&bare);
    ck_assert_int_eq(shutdown(bare.fd, SHUT_WR), 0);
    kill(stage.daemon.pid, SIGCONT);
    expect_replies(&bare, first, LAST_WORDS);
    bare_close(&bare);
}
END_TEST

static void speak_and_die(int control, const void *argument)
{
    struct bare bare = *(const struct bare *)argument;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)control;
    strncpy(address.sun_path, stage.daemon.socket, sizeof(address.sun_path) - 1);
    child_require(connect(bare.fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    bare_hello(&bare, false);
    send_last_words(&bare);
}

/* The test holds the socket of the dead, and reads the replies. */
START_TEST(test_what_was_sent_before_death_is_answered)
{
    static struct bare bare;
    struct test_child child;
    bare.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(decoder_init(&bare.decoder) == 0);
    test_child_start(&child, speak_and_die, &bare);
    ck_assert_int_eq(test_child_join(&child), 0);
    kill(stage.daemon.pid, SIGCONT);
    expect_replies(&bare, bare.msgid + 2, LAST_WORDS);
    bare_close(&bare);
}
END_TEST

/* ---- Descriptors ----------------------------------------------------------------------------- */

#define HOARDERS (DESCRIPTORS / 2 / 3)
#define FILLERS                                                                                    \
    3200u /* pings whose replies are more than the socket takes, but too few to be held */

/* An open that fails lets the daemon see that all descriptors which it sent were received. */
#define MISSING "missing"

/* Has descriptors waiting in the daemon, behind replies that fill the socket. */
static void hoard_unsent(struct bare *bare)
{
    static uint8_t data[PINGS_ROOM];
    struct pool_open_request missing = {.name = MISSING, .map = true};
    bare_connect(bare, stage.daemon.socket);
    bare_hello(bare, true);
    size_t size = bare_encode(bare, METHOD_POOL_OPEN, &missing, data, sizeof(data));
    size += encode_pings(bare, FILLERS, data + size, sizeof(data) - size);
    size += encode_open(bare, data + size, sizeof(data) - size);
    bare_write(bare, data, size);
}

static void await_members(uint64_t members)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    int64_t end = timing_now() + 3 * STAGE_FOREVER;
    do {
        ck_assert_msg(timing_now() < end, "%u members", (unsigned)info.members);
        ck_assert_int_eq(fastalloc_pool_show(stage.connection, STAGE_POOL, &info, NULL), 0);
    } while (info.members != members);
}

START_TEST(test_descriptors_count_before_they_are_sent)
{
    struct bare *hoarders = calloc(HOARDERS, sizeof(*hoarders));
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_pool_t *pool;
    ck_assert_int_eq(fastalloc_open(stage.connection, MISSING, NULL, &pool, NULL),
                     FASTALLOC_ERR_NO_SUCH_POOL);
    options.create = true;
    options.object_size = 64;
    options.capacity = 1;
    for (unsigned i = 0; i < HOARDERS; i++)
        hoard_unsent(&hoarders[i]);
    await_members(HOARDERS + 1);
    ck_assert_int_eq(fastalloc_open(stage.connection, "more", &options, &pool, NULL),
                     FASTALLOC_ERR_LIMIT_EXCEEDED);
    for (unsigned i = 0; i < HOARDERS; i++)
        bare_close(&hoarders[i]);
    stage_settle();
    ck_assert_int_eq(fastalloc_open(stage.connection, "more", &options, &pool, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, "more", true, NULL), 0);
    fastalloc_close(pool);
    free(hoarders);
}
END_TEST

#define CROWD 20u

static void limit_daemon(unsigned descriptors)
{
    const struct rlimit limit = {descriptors, DESCRIPTORS};
    ck_assert_int_eq(prlimit(stage.daemon.pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

/* Each takes two descriptors, so that with an odd number of them one is left in the end. */
START_TEST(test_nobody_is_turned_away_for_want_of_descriptors)
{
    struct bare *crowd = calloc(CROWD, sizeof(*crowd));
    struct hello_request request = {.version = PROTOCOL_VERSION, .name = "crowd"};
    struct hello_reply reply;
    for (unsigned odd = 0; odd < 2; odd++) {
        limit_daemon(stage.descriptors + CROWD + odd);
        for (unsigned i = 0; i < CROWD; i++) {
            bare_connect(&crowd[i], stage.daemon.socket);
            bare_send(&crowd[i], METHOD_HELLO, &request);
        }
        for (unsigned i = 0; i < CROWD; i++) {
            bare_receive(&crowd[i], METHOD_HELLO, &reply);
            bare_close(&crowd[i]);
        }
    }
    limit_daemon(DESCRIPTORS);
    free(crowd);
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

SUITE_MAIN_WITH("hold", set_up, stage_teardown, test_a_flood_is_held_and_then_answered_in_order,
                test_descriptors_come_one_reply_at_a_time,
                test_who_never_reads_is_cut_off_but_not_who_reads_slowly,
                test_who_sends_much_doesnt_make_the_daemon_look_at_others,
                test_what_was_sent_before_the_end_is_answered,
                test_what_was_sent_before_death_is_answered,
                test_descriptors_count_before_they_are_sent,
                test_nobody_is_turned_away_for_want_of_descriptors,
                test_many_threads_with_large_batches_are_never_cut_off)
