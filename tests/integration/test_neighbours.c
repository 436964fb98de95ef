/* SPDX-License-Identifier: MIT */
/*
 * Good clients beside bad ones: what they ask for they get, soon and without an error, whatever the
 * others do to the daemon; without room for one more; and beside a thousand of their like. How each kind
 * of badness ends by itself is in test_hostile.py.
 *
 * FASTALLOC_EFFORT: how much of it.
 */
#define _GNU_SOURCE /* prlimit */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/effort.h"
#include "tests/lib/timing.h"

#define SUITE_TIMEOUT 600
#include "tests/lib/stage.h"

#define PAIRS 1000u               /* of allocate and free */
#define WARM_UP 200u              /* of them, after which the daemon's memory is as it stays */
#define PAIR_NS INT64_C(20000000) /* that one takes at most, 99 times of 100 */
#define BAD_POOL "bad"
#define BURST 64                    /* requests in one write */
#define TINY 4096                   /* bytes that are written or read at once */
#define CROWD 1024u                 /* good clients */
#define CROWD_ROUNDS 4u             /* all of them get something */
#define FLAT_BYTES INT64_C(2097152) /* that the daemon may take more by, from the warm-up on */
#define BACKLOG_MAX 15000           /* connections */
#define FEW 16u                     /* clients that there are descriptors for */

/* ---- Bad clients ----------------------------------------------------------------------------- */

struct bad {
    struct bare bare;
    uint8_t data[BURST * 128];
    size_t size;
};

static struct bad bad;

/* Cut off, it comes again. */
static void come_again(bool hello)
{
    if (bad.bare.fd > 0)
        bare_close(&bad.bare);
    bare_connect(&bad.bare, stage.daemon.socket);
    if (hello)
        bare_hello(&bad.bare, false);
}

static void encode(enum method method, const void *request)
{
    bad.size +=
        bare_encode(&bad.bare, method, request, bad.data + bad.size, sizeof(bad.data) - bad.size);
}

static void encode_pings(unsigned count)
{
    struct ping_request request; /* there is nothing in it */
    bad.size = 0;
    for (unsigned i = 0; i < count; i++)
        encode(METHOD_PING, &request);
}

/* Whether the connection is still there. Nobody reads what it has to say. */
static bool pass_replies(int flags)
{
    uint8_t replies[TINY];
    ssize_t size = recv(bad.bare.fd, replies, sizeof(replies), flags);
    return size > 0 || (size < 0 && errno == EAGAIN);
}

static bool write_all(const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = send(bad.bare.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if ((written < 0 && errno != EAGAIN) || !pass_replies(MSG_DONTWAIT))
            return false;
        data += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static void flood(void)
{
    come_again(true);
    encode_pings(BURST);
    while (write_all(bad.data, bad.size))
        continue;
}

static void never_read(void)
{
    const struct pool_list_request request = {0};
    come_again(true);
    bad.size = 0;
    for (unsigned i = 0; i < BURST; i++)
        encode(METHOD_POOL_LIST, &request);
    while (send(bad.bare.fd, bad.data, bad.size, MSG_NOSIGNAL) > 0)
        continue;
}

static void drip(void)
{
    come_again(true);
    encode_pings(1);
    for (size_t i = 0; write_all(&bad.data[i % bad.size], 1); i++)
        continue;
}

static void send_garbage(void)
{
    come_again(random() % 2);
    for (size_t i = 0; i < TINY; i++)
        bad.data[i] = (uint8_t)random();
    write_all(bad.data, TINY);
}

static void come_and_go(void)
{
    come_again(random() % 2);
}

/* Handles of no object, as many as there may be. */
static void send_the_largest(void)
{
    static uint8_t handles[PROTOCOL_HANDLES_MAX], message[PROTOCOL_HANDLES_MAX + 256];
    struct free_request request = {.pool = 1};
    come_again(true);
    request.handles.data = handles;
    request.handles.size = sizeof(handles);
    size_t size = bare_encode(&bad.bare, METHOD_FREE, &request, message, sizeof(message));
    while (write_all(message, size))
        continue;
}

static void make_and_destroy_pools(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_connection_t *connection = test_daemon_connect(&stage.daemon);
    options.object_size = TINY;
    options.capacity = 16;
    for (;;) {
        child_require(fastalloc_pool_create(connection, BAD_POOL, &options, NULL) == 0);
        child_require(fastalloc_pool_destroy(connection, BAD_POOL, false, NULL) == 0);
    }
}

static void guess_tokens(void)
{
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    struct resume_request request = {.version = PROTOCOL_VERSION};
    come_again(false);
    do {
        bad.size = 0;
        for (unsigned i = 0; i < BURST; i++) {
            request.session = 1 + i % 16;
            for (size_t j = 0; j < sizeof(token); j++)
                token[j] = (uint8_t)random();
            request.token.data = token;
            request.token.size = sizeof(token);
            encode(METHOD_RESUME, &request);
        }
    } while (write_all(bad.data, bad.size));
}

static void (*const badness[])(void) = {
    flood,
    never_read,
    drip,
    send_garbage,
    come_and_go,
    send_the_largest,
    make_and_destroy_pools,
    guess_tokens,
};
#define BAD (sizeof(badness) / sizeof(badness[0]))

static void be_bad(int control, const void *argument)
{
    void (*const *what)(void) = argument;
    child_say(control, 'r');
    for (;;)
        (*what)();
}

/* ---- A good one beside them ------------------------------------------------------------------ */

/* The daemon's own; what it shares with clients isn't among them. */
static int64_t daemon_memory(void)
{
    char path[64], line[256];
    int64_t kilobytes = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", stage.daemon.pid);
    FILE *status = fopen(path, "re");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kilobytes = strtoll(line + 8, NULL, 10);
    fclose(status);
    ck_assert_int_gt(kilobytes, 0);
    return 1024 * kilobytes;
}

/* AddressSanitizer keeps freed memory for a while. */
static bool memory_is_ours(void)
{
    const char *sanitize = getenv("FASTALLOC_SANITIZE");
    return !sanitize || sanitize[0] == '\0';
}

static void allocate_and_free(fastalloc_pool_t *pool, struct timing *timing)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    int64_t begin = timing_now();
    ck_assert_msg(fastalloc_allocate(pool, STAGE_FOREVER, &handle, &error) == 0, "%s",
                  error.message);
    ck_assert_ptr_nonnull(fastalloc_get(pool, handle));
    ck_assert_msg(fastalloc_free(pool, handle, &error) == 0, "%s", error.message);
    timing_add(timing, timing_now() - begin);
}

static void start_bad(struct test_child children[BAD])
{
    for (unsigned i = 0; i < BAD; i++) {
        test_child_start(&children[i], be_bad, &badness[i]);
        test_child_hear(&children[i], 'r');
    }
}

/* One of them may have left a pool. */
static void end_bad(struct test_child children[BAD])
{
    for (unsigned i = 0; i < BAD; i++)
        test_child_kill(&children[i], SIGKILL);
    int result = fastalloc_pool_destroy(stage.connection, BAD_POOL, true, NULL);
    ck_assert(result == 0 || result == FASTALLOC_ERR_NO_SUCH_POOL);
}

START_TEST(test_good_client_notices_nothing_of_eight_bad_ones)
{
    static struct timing timing;
    struct test_child children[BAD];
    start_bad(children);
    for (unsigned i = 0; i < WARM_UP; i++)
        allocate_and_free(stage.pool, &timing);
    int64_t memory = daemon_memory();
    for (unsigned i = 0; i < PAIRS * test_effort(); i++)
        allocate_and_free(stage.pool, &timing);
    int64_t more = daemon_memory() - memory;
    end_bad(children);
    timing_report(&timing, "allocate and free beside eight bad clients");
    printf("the daemon's memory: %" PRId64 " KiB, and %" PRId64 " more\n", memory / 1024,
           more / 1024);
    ck_assert_int_lt(timing.ns[timing.count * 99 / 100], timing_limit(PAIR_NS));
    ck_assert(more < FLAT_BYTES || !memory_is_ours());
    ck_assert_uint_eq(fastalloc_resumed(stage.connection), 0); /* nor was it ever cut off */
}
END_TEST

/* ---- No room for one more -------------------------------------------------------------------- */

static int knocking[BACKLOG_MAX];
static unsigned knocking_count;

/* Connects, if there is room in the backlog. */
static bool knock(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, stage.daemon.socket, sizeof(address.sun_path) - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    knocking[knocking_count++] = fd;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return true;
    ck_assert_int_eq(errno, EAGAIN);
    return false;
}

static void knock_no_more(void)
{
    while (knocking_count > 0)
        close(knocking[--knocking_count]);
}

/* As soon as those are gone that took all the room. */
static void expect_room(const char *what)
{
    struct timing timing = {0};
    int64_t begin = timing_now();
    knock_no_more();
    fastalloc_disconnect(test_daemon_connect(&stage.daemon));
    timing_add(&timing, timing_now() - begin);
    timing_report(&timing, what);
}

static void raise_own_limit(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(test_full_backlog_passes)
{
    struct timing timing = {0};
    raise_own_limit();
    ck_assert_int_eq(kill(stage.daemon.pid, SIGSTOP), 0);
    while (knock())
        ck_assert_uint_lt(knocking_count, BACKLOG_MAX);
    ck_assert_int_eq(kill(stage.daemon.pid, SIGCONT), 0);
    allocate_and_free(stage.pool, &timing); /* who was there before is served at once */
    timing_report(&timing, "allocate and free with a full backlog");
    expect_room("a new client after a full backlog");
}
END_TEST

START_TEST(test_clients_that_take_all_descriptors_pass)
{
    struct timing timing = {0};
    struct rlimit limit;
    ck_assert_int_eq(prlimit(stage.daemon.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    const struct rlimit few = {stage.descriptors + 2 * FEW, limit.rlim_max};
    ck_assert_int_eq(prlimit(stage.daemon.pid, RLIMIT_NOFILE, &few, NULL), 0);
    for (unsigned i = 0; i < 4 * FEW; i++)
        ck_assert(knock());
    for (unsigned i = 0; i < FEW; i++)
        allocate_and_free(stage.pool, &timing);
    timing_report(&timing, "allocate and free where no descriptor is left");
    expect_room("a new client after a want of descriptors");
    ck_assert_int_eq(prlimit(stage.daemon.pid, RLIMIT_NOFILE, &limit, NULL), 0);
}
END_TEST

/* ---- A thousand of their like ---------------------------------------------------------------- */

static struct {
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handle;
} crowd[CROWD];

/* Each gets another object, and frees the one that it held. */
static void serve_crowd(struct timing *timing)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    for (unsigned i = 0; i < CROWD; i++) {
        fastalloc_handle_t handle;
        int64_t begin = timing_now();
        ck_assert_msg(fastalloc_allocate(crowd[i].pool, STAGE_FOREVER, &handle, &error) == 0, "%s",
                      error.message);
        ck_assert_msg(fastalloc_free(crowd[i].pool, crowd[i].handle, &error) == 0, "%s",
                      error.message);
        timing_add(timing, timing_now() - begin);
        crowd[i].handle = handle;
    }
}

static void gather(fastalloc_connection_t *connection)
{
    raise_own_limit();
    fastalloc_close(test_daemon_pool(connection, "crowd", 64, CROWD + 1));
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i].connection = test_daemon_connect(&stage.daemon);
        crowd[i].pool = test_daemon_pool(crowd[i].connection, "crowd", 64, 0);
        ck_assert_int_eq(fastalloc_allocate(crowd[i].pool, STAGE_FOREVER, &crowd[i].handle, NULL),
                         0);
    }
}

START_TEST(test_a_thousand_clients_are_served_in_flat_memory)
{
    static struct timing timing;
    gather(stage.connection);
    serve_crowd(&timing);
    serve_crowd(&timing);
    int64_t memory = daemon_memory();
    for (unsigned i = 0; i < CROWD_ROUNDS * test_effort(); i++)
        serve_crowd(&timing);
    int64_t more = daemon_memory() - memory;
    printf("the daemon's memory: %" PRId64 " KiB, and %" PRId64 " more\n", memory / 1024,
           more / 1024);
    ck_assert(100 * more <= 5 * memory || !memory_is_ours());
    timing_report(&timing, "allocate and free beside a thousand good clients");
    for (unsigned i = 0; i < CROWD; i++)
        fastalloc_disconnect(crowd[i].connection);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, "crowd", false, NULL), 0);
}
END_TEST

STAGE_MAIN("neighbours", test_good_client_notices_nothing_of_eight_bad_ones,
           test_full_backlog_passes, test_clients_that_take_all_descriptors_pass,
           test_a_thousand_clients_are_served_in_flat_memory)
