/* SPDX-License-Identifier: MIT */
/* A connection that is lost and made anew: what is resumed, settled, repeated, and what is not. */
#include <fastalloc/admin.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/connection.h"
#include "shm/handle.h"
#include "shm/lease.h"
#include "tests/lib/fd_count.h"
#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

#define MILLISECOND INT64_C(1000000)

static const fastalloc_handle_t one = {PEER_POOL_ID, 0, 1};

static int ping(fastalloc_connection_t *connection, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return fastalloc_ping(connection, &info, error);
}

static void answer_ping(struct peer *peer)
{
    static const struct ping_reply reply = {.pid = 1, .release = "0", .instance = "test"};
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &reply);
}

/* From a script to the test, or back. */
static int pipe_fds[2];

static bool tell(void)
{
    return write(pipe_fds[1], "", 1) == 1;
}

static bool hear(void)
{
    char byte;
    return read(pipe_fds[0], &byte, 1) == 1;
}

static void open_pipe(void)
{
    ck_assert_int_eq(pipe(pipe_fds), 0);
}

static void close_pipe(void)
{
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* ---- Each kind of call, cut off at each place ------------------------------------------------ */

static int do_nothing_with_pool(const fastalloc_pool_info_t *info, void *context)
{
    return 0;
}

static int do_nothing_with_event(const fastalloc_event_t *event, void *context)
{
    return 0;
}

static int call_ping(struct peer_client *client)
{
    return ping(client->connection, &client->error);
}

static int call_open(struct peer_client *client)
{
    fastalloc_pool_t *again;
    return fastalloc_open(client->connection, "pool", NULL, &again, &client->error);
}

static int call_allocate(struct peer_client *client)
{
    fastalloc_handle_t handle;
    int result = fastalloc_allocate(client->pool, FASTALLOC_FOREVER, &handle, &client->error);
    ck_assert(result < 0 || fastalloc_handle_equal(handle, one));
    return result;
}

static int call_free(struct peer_client *client)
{
    return fastalloc_free(client->pool, one, &client->error);
}

static int call_retain(struct peer_client *client)
{
    return fastalloc_retain(client->pool, &one, 1, &client->error);
}

static int call_release(struct peer_client *client)
{
    return fastalloc_release(client->pool, &one, 1, &client->error);
}

static int call_adopt(struct peer_client *client)
{
    return fastalloc_adopt(client->pool, &one, 1, &client->error);
}

static int call_detach(struct peer_client *client)
{
    return fastalloc_detach(client->pool, &one, 1, &client->error);
}

static int call_create(struct peer_client *client)
{
    return fastalloc_pool_create(client->connection, "new", NULL, &client->error);
}

static int call_destroy(struct peer_client *client)
{
    return fastalloc_pool_destroy(client->connection, "new", true, &client->error);
}

static int call_grow(struct peer_client *client)
{
    return fastalloc_pool_grow(client->connection, "pool", 20, 0, &client->error);
}

static int call_trim(struct peer_client *client)
{
    return fastalloc_pool_trim(client->connection, "pool", NULL, &client->error);
}

static int call_cancel(struct peer_client *client)
{
    return fastalloc_cancel(client->pool, &client->error);
}

static int call_list(struct peer_client *client)
{
    return fastalloc_pool_list(client->connection, do_nothing_with_pool, NULL, &client->error);
}

static int call_events(struct peer_client *client)
{
    uint64_t after = 0;
    return fastalloc_events(client->connection, NULL, FASTALLOC_FOREVER, &after, NULL,
                            do_nothing_with_event, NULL, &client->error);
}

static const uint8_t wire_of_one[HANDLE_WIRE_SIZE] = {PEER_POOL_ID, 0, 0, 0, 0, 0, 0, 0, 1};

static const union {
    struct ping_reply ping;
    struct allocate_reply allocate;
    struct free_reply counted;
    struct pool_create_reply create;
    struct pool_destroy_reply destroy;
    struct pool_grow_reply grow;
    struct pool_trim_reply trim;
    struct cancel_reply cancel;
    struct pool_list_reply list;
    struct events_reply events;
} good[] = {
    {.ping = {.pid = 1, .release = "0", .instance = "test"}},
    {.allocate = {.handles = {wire_of_one, sizeof(wire_of_one)}}},
    {.counted = {.freed = 1}},
    {.create = {.pool = 9}},
    {.destroy = {0}},
    {.grow = {.capacity = 20, .capacity_max = 20}},
    {.trim = {0}},
    {.cancel = {0}},
    {.list = {.more = false}},
    {.events = {.next = 1}},
};

static const struct kind {
    enum method method;
    int (*call)(struct peer_client *client);
    const void *reply; /* NULL: that of an open */
} kinds[] = {
    {METHOD_PING, call_ping, &good[0]},          {METHOD_POOL_OPEN, call_open, NULL},
    {METHOD_ALLOCATE, call_allocate, &good[1]},  {METHOD_FREE, call_free, &good[2]},
    {METHOD_RETAIN, call_retain, &good[2]},      {METHOD_RELEASE, call_release, &good[2]},
    {METHOD_ADOPT, call_adopt, &good[2]},        {METHOD_DETACH, call_detach, &good[2]},
    {METHOD_POOL_CREATE, call_create, &good[3]}, {METHOD_POOL_DESTROY, call_destroy, &good[4]},
    {METHOD_POOL_GROW, call_grow, &good[5]},     {METHOD_POOL_TRIM, call_trim, &good[6]},
    {METHOD_CANCEL, call_cancel, &good[7]},      {METHOD_POOL_LIST, call_list, &good[8]},
    {METHOD_EVENTS, call_events, &good[9]},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

enum cut {
    CUT_BEFORE,      /* the request is sent */
    CUT_AFTER_A_BIT, /* of the request */
    CUT_AFTER,       /* the request, which was carried out or not */
    CUT_IN_REPLY,
    CUT_TWICE, /* after the request, and after the repeated one */
    CUTS,
};

static const struct kind *kind;
static enum cut cut;

/* The bytes of a request behind its msgid. */
struct message {
    size_t size;
    uint8_t data[1024];
};

static void keep_message(struct message *message, const struct peer *peer)
{
    message->size = peer->taken - 3;
    peer_require(peer->msgid < 128 && message->size <= sizeof(message->data));
    memcpy(message->data, peer->data + 3, message->size);
}

static void expect_same(const struct message *before, const struct peer *peer)
{
    struct message now;
    keep_message(&now, peer);
    peer_require(now.size == before->size && memcmp(now.data, before->data, now.size) == 0);
}

/* Up to where it is cut. Whether it was received whole, and what it was then. */
static bool receive_first(struct peer *peer, struct message *message)
{
    char some[8];
    if (cut == CUT_BEFORE)
        return false;
    if (cut == CUT_AFTER_A_BIT) {
        peer_require(recv(peer->fd, some, sizeof(some), 0) > 0);
        return false;
    }
    peer_receive(peer, kind->method, NULL);
    keep_message(message, peer);
    if (cut == CUT_IN_REPLY)
        peer_send(peer, "\x94\x01", 2);
    return true;
}

static void serve_repeated(struct peer *peer, bool received, const struct message *message)
{
    peer_receive(peer, kind->method, NULL);
    if (received && kind->method != METHOD_ALLOCATE)
        expect_same(message, peer);
}

static void answer_repeated(struct peer *peer)
{
    struct peer_pool pool;
    if (kind->reply) {
        peer_reply(peer, kind->method, kind->reply);
        return;
    }
    peer->taken = 0; /* it is received once more, by who fills in the pool */
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_pool_reply(&pool, peer);
}

static void settle_one(struct peer *peer, uint64_t number)
{
    if (kind->method == METHOD_ALLOCATE)
        peer_settle(peer, &number, 1);
}

static void serve_cut_off(struct peer *peer)
{
    struct message message;
    peer_greet(peer);
    peer_pool_open(peer);
    if (cut == CUT_BEFORE)
        shutdown(peer->fd, SHUT_RDWR);
    peer_require(hear());
    bool received = receive_first(peer, &message);
    peer_resume(peer);
    settle_one(peer, 1);
    serve_repeated(peer, received, &message);
    if (cut == CUT_TWICE) {
        peer_resume(peer);
        settle_one(peer, 2);
        serve_repeated(peer, received, &message);
    }
    answer_repeated(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &good[0]);
}

static void expect_repeated(void)
{
    struct peer_client client;
    open_pipe();
    peer_client_open(&client, serve_cut_off);
    ck_assert(tell());
    ck_assert_msg(kind->call(&client) == 0, "%s, cut %d: %s", method_table[kind->method].name, cut,
                  client.error.message);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(client.connection), cut == CUT_TWICE ? 2 : 1);
    peer_client_end(&client);
    close_pipe();
}

START_TEST(test_whatever_is_cut_off_is_repeated_and_nobody_notices)
{
    for (cut = 0; cut < CUTS; cut++)
        for (size_t i = 0; i < KINDS; i++) {
            kind = &kinds[i];
            expect_repeated();
        }
}
END_TEST

/* ---- What is resumed ------------------------------------------------------------------------- */

static void open_numbered(struct peer *peer, uint32_t id)
{
    struct peer_pool pool;
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    pool.reply.pool = pool.head.pool = id;
    peer_pool_reply(&pool, peer);
}

static void expect_pools(struct peer *peer, const uint8_t *wire, size_t size)
{
    const struct resume_reply reply = {.release = "0"};
    struct resume_request request;
    peer_receive_resume(peer, &request);
    peer_require(request.pools.size == size && memcmp(request.pools.data, wire, size) == 0);
    peer_reply(peer, METHOD_RESUME, &reply);
}

static void serve_three_pools(struct peer *peer)
{
    peer_greet(peer);
    for (uint32_t id = 1; id <= 3; id++)
        open_numbered(peer, id);
    peer_receive(peer, METHOD_POOL_CLOSE, NULL); /* of the second */
    expect_pools(peer, (const uint8_t[]){1, 0, 0, 0, 3, 0, 0, 0}, 8);
    peer_receive(peer, METHOD_POOL_OPEN, NULL);
    expect_pools(peer, (const uint8_t[]){1, 0, 0, 0, 3, 0, 0, 0}, 8);
    open_numbered(peer, 4);
    answer_ping(peer);
    peer_receive(peer, METHOD_PING, NULL);
    expect_pools(peer, (const uint8_t[]){1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}, 12);
    answer_ping(peer);
}

START_TEST(test_the_pools_that_are_open_are_resumed_and_no_others)
{
    static const char *const names[] = {"first", "second", "third", "fourth"};
    struct peer_client client;
    fastalloc_pool_t *pools[4];
    peer_client_connect(&client, serve_three_pools);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(fastalloc_open(client.connection, names[i], NULL, &pools[i], NULL), 0);
    fastalloc_close(pools[1]);
    ck_assert_int_eq(fastalloc_open(client.connection, names[3], NULL, &pools[3], NULL), 0);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(client.connection), 3);
    peer_client_end(&client);
}
END_TEST

static void open_leased(struct peer *peer, int bell)
{
    struct peer_pool pool;
    int fds[4] = {-1, -1, -1, bell};
    peer_pool_receive(&pool, LAYOUT_LEASED, peer);
    pool.reply.descriptors = 4;
    for (size_t i = 0; i < 3; i++)
        fds[i] = peer_memory(pool.sizes[i]);
    peer_require(pwrite(fds[0], &pool.head, sizeof(pool.head), 0) > 0);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool.reply, fds, 4);
}

/* A new bell that the client rings when it has it. */
static void resume_with_bell(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    struct resume_request request;
    uint64_t rung = 0;
    int bell = eventfd(0, EFD_CLOEXEC), sent = dup(bell);
    peer_receive_resume(peer, &request);
    peer_reply_with(peer, METHOD_RESUME, &reply, &sent, 1);
    peer_require(read(bell, &rung, sizeof(rung)) == sizeof(rung) && rung == 1);
    close(bell);
}

static void serve_bells(struct peer *peer)
{
    peer_greet(peer);
    open_leased(peer, eventfd(0, EFD_CLOEXEC));
    peer_receive(peer, METHOD_PING, NULL);
    resume_with_bell(peer);
    answer_ping(peer);
    peer_pool_close(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_resume(peer);
    answer_ping(peer);
}

START_TEST(test_a_leased_pool_gets_the_new_bell)
{
    struct peer_client client;
    peer_client_open(&client, serve_bells);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    fastalloc_close(client.pool);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    peer_client_end(&client);
}
END_TEST

/* Both ends of what the script and the test tell each other. */
static int ends[2];

static bool say(int end)
{
    return write(end, "", 1) == 1;
}

static bool listen_to(int end)
{
    char byte;
    return read(end, &byte, 1) == 1;
}

static void *map(int fd, size_t size)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    peer_require(address != MAP_FAILED);
    return address;
}

/* A pool that others wait for, with two objects. */
static struct layout_ctl *open_tight(struct peer *peer, uint32_t id)
{
    struct peer_pool pool;
    int fds[4];
    peer_pool_receive(&pool, LAYOUT_LEASED, peer);
    pool.reply.pool = pool.head.pool = id;
    pool.reply.descriptors = 4;
    pool.head.waiters = lease_epoch(1, true);
    for (size_t i = 0; i < 3; i++)
        fds[i] = peer_memory(pool.sizes[i]);
    fds[3] = eventfd(0, EFD_CLOEXEC);
    peer_require(pwrite(fds[0], &pool.head, sizeof(pool.head), 0) > 0);
    struct layout_ctl *ctl = map(fds[0], pool.sizes[0]);
    char *slots = map(fds[1], pool.sizes[1]);
    for (size_t i = 0; i < 2; i++)
        ((uint64_t *)(void *)(slots + pool.geometry.words_offset))[i] =
            slot_word(SLOT_GENERATION_FIRST, pool.reply.member, SLOT_LIVE);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool.reply, fds, 4);
    return ctl;
}

/*
 * It is gone when the first object is freed, after it said something that nobody has read, and there, but
 * late, when the second one is.
 */
static void resume_late(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    uint64_t rung = 0;
    peer_greet(peer);
    struct layout_ctl *ctl = open_tight(peer, PEER_POOL_ID);
    int bell = eventfd(0, EFD_CLOEXEC), sent = dup(bell);
    peer_send(peer, "\x93\x02\xa4news\x80", 8);
    peer_cut(peer);
    peer_require(say(ends[1]) && listen_to(ends[1]));
    peer_accept(peer);
    peer_receive(peer, METHOD_RESUME, NULL);
    ctl->waiters = lease_epoch(2, true);
    peer_reply_with(peer, METHOD_RESUME, &reply, &sent, 1);
    peer_require(say(ends[1]));
    answer_ping(peer);
    peer_require(read(bell, &rung, sizeof(rung)) == sizeof(rung) && rung == 1);
    close(bell);
}

START_TEST(test_who_only_frees_gets_the_new_bell_however_late_it_comes)
{
    struct peer_client client;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer_client_open(&client, resume_late);
    for (uint32_t i = 0; i < 2; i++) {
        const fastalloc_handle_t handle =
            handle_make(PEER_POOL_ID, i, PEER_POOL_NONCE, SLOT_GENERATION_FIRST);
        ck_assert(listen_to(ends[0]));
        ck_assert_int_eq(fastalloc_free(client.pool, handle, NULL), 0);
        ck_assert(i > 0 || say(ends[0]));
    }
    ck_assert_uint_eq(fastalloc_resumed(client.connection), 1);
    peer_client_end(&client);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* It goes, and comes when the first pool is closed, after the second one. */
static void come_at_the_end(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    int bell = eventfd(0, EFD_CLOEXEC);
    peer_greet(peer);
    struct layout_ctl *ctl = open_tight(peer, PEER_POOL_ID);
    open_tight(peer, PEER_POOL_ID + 1);
    peer_require(listen_to(ends[1]));
    ctl->waiters = lease_epoch(2, true);
    peer_cut(peer);
    peer_require(say(ends[1]));
    peer_accept(peer);
    peer_receive(peer, METHOD_RESUME, NULL);
    peer_reply_with(peer, METHOD_RESUME, &reply, &bell, 1);
    answer_ping(peer);
}

START_TEST(test_no_bell_is_replaced_that_is_closed)
{
    const fastalloc_handle_t handle =
        handle_make(PEER_POOL_ID, 0, PEER_POOL_NONCE, SLOT_GENERATION_FIRST);
    struct peer_client client;
    fastalloc_pool_t *second;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    unsigned before = test_fd_count();
    peer_client_open(&client, come_at_the_end);
    ck_assert_int_eq(fastalloc_open(client.connection, "second", NULL, &second, NULL), 0);
    ck_assert_int_eq(fastalloc_free(client.pool, handle, NULL), 0);
    ck_assert(say(ends[0]) && listen_to(ends[0]));
    peer_client_end(&client);
    ck_assert_uint_eq(test_fd_count(), before);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* A daemon that errs, and gives two pools one number. */
static void open_two_as_one(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    struct resume_request request;
    int bell = eventfd(0, EFD_CLOEXEC);
    peer_greet(peer);
    peer_pool_open(peer);
    open_tight(peer, PEER_POOL_ID);
    peer_receive(peer, METHOD_PING, NULL);
    peer_receive_resume(peer, &request);
    peer_reply_with(peer, METHOD_RESUME, &reply, &bell, 1);
    answer_ping(peer);
}

START_TEST(test_no_bell_is_replaced_that_no_pool_has)
{
    struct peer_client client;
    fastalloc_pool_t *second;
    peer_client_open(&client, open_two_as_one);
    ck_assert_int_eq(fastalloc_open(client.connection, "second", NULL, &second, NULL), 0);
    unsigned before = test_fd_count();
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_uint_eq(test_fd_count(), before);
    peer_client_end(&client);
}
END_TEST

/* ---- What can't be resumed ------------------------------------------------------------------- */

static enum error_code refusal;

static void refuse_resume(struct peer *peer)
{
    struct resume_request request;
    struct error error;
    error_set(&error, refusal, "the resume is refused");
    peer_receive_resume(peer, &request);
    peer_reply_error(peer, &error);
}

static void serve_refusal(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    refuse_resume(peer);
}

static void expect_end(enum error_code wire, const char *reason)
{
    struct peer_client client;
    refusal = wire;
    peer_client_connect(&client, serve_refusal);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ping(client.connection, &client.error), FASTALLOC_ERR_DISCONNECTED);
        ck_assert_msg(strstr(client.error.message, reason), "%s", client.error.message);
        ck_assert_ptr_nonnull(strstr(client.error.message, client.test.socket));
    }
    ck_assert_uint_eq(fastalloc_resumed(client.connection), 0);
    peer_client_end(&client);
}

START_TEST(test_a_session_that_the_daemon_does_not_know_is_over)
{
    expect_end(ERROR_NO_SUCH_SESSION, "its objects are gone");
    expect_end(ERROR_PROTOCOL_MISMATCH, "the resume is refused");
    expect_end(ERROR_UNKNOWN_METHOD, "the resume is refused");
}
END_TEST

static void refuse_for_a_while(struct peer *peer)
{
    static const enum error_code passing[] = {ERROR_SHUTTING_DOWN, ERROR_OUT_OF_MEMORY,
                                              ERROR_LIMIT_EXCEEDED, ERROR_SYSTEM};
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        refusal = passing[i];
        refuse_resume(peer);
    }
    peer_resume(peer);
    answer_ping(peer);
}

START_TEST(test_what_passes_is_waited_for)
{
    struct peer_client client;
    peer_client_connect(&client, refuse_for_a_while);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(client.connection), 1);
    peer_client_end(&client);
}
END_TEST

/* Until it is told to do otherwise. */
static void refuse_until_told(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0"};
    struct resume_request request;
    struct pollfd told = {.fd = pipe_fds[0], .events = POLLIN};
    struct error error;
    error_set(&error, ERROR_LIMIT_EXCEEDED, "there is no room");
    peer_greet(peer);
    for (;;) {
        peer_receive_resume(peer, &request);
        if (poll(&told, 1, 0) == 1)
            break;
        peer_reply_error(peer, &error);
    }
    peer_reply(peer, METHOD_RESUME, &reply);
    answer_ping(peer);
}

START_TEST(test_why_a_session_is_not_resumed_yet_is_said)
{
    struct peer_client client;
    uint64_t after = 0;
    open_pipe();
    peer_client_connect(&client, refuse_until_told);
    while (!strstr(client.error.message, "there is no room")) /* or it isn't even refused in time */
        ck_assert_int_lt(fastalloc_events(client.connection, NULL, 20 * MILLISECOND, &after, NULL,
                                          do_nothing_with_event, NULL, &client.error),
                         0);
    ck_assert_int_eq(client.error.code, FASTALLOC_ERR_UNREACHABLE);
    ck_assert(tell());
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    peer_client_end(&client);
    close_pipe();
}
END_TEST

static void shut_down(struct peer *peer)
{
    struct error error;
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    error_set(&error, ERROR_SHUTTING_DOWN, "the daemon ended while this request waited");
    peer_reply_error(peer, &error);
    peer_resume(peer);
    answer_ping(peer);
}

START_TEST(test_that_the_daemon_ends_is_no_answer)
{
    struct peer_client client;
    peer_client_connect(&client, shut_down);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static void greet_without_witness(struct peer *peer)
{
    struct error error;
    const struct hello_reply reply = {
        .version = PROTOCOL_VERSION,
        .release = "0",
        .session = 1,
        .token = {(const uint8_t *)"0123456789abcdef", PROTOCOL_TOKEN_SIZE},
    };
    peer_receive(peer, METHOD_HELLO, NULL);
    error_set(&error, ERROR_SHARED_MEMORY_FULL, "no room");
    peer_reply_error(peer, &error);
    peer_receive(peer, METHOD_HELLO, NULL);
    peer_reply(peer, METHOD_HELLO, &reply);
    peer_receive(peer, METHOD_PING, NULL);
    peer_cut(peer);
}

START_TEST(test_a_session_without_witness_ends_with_its_connection)
{
    struct peer_client client;
    peer_client_connect(&client, greet_without_witness);
    ck_assert_int_eq(ping(client.connection, &client.error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(client.error.message, "the daemon closed it"));
    peer_client_end(&client);
}
END_TEST

static void listen_as_another(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_require(seteuid(65534) == 0);
    peer_require(listen(peer->listener, 4) == 0);
    peer_cut(peer);
    peer_accept(peer);
}

START_TEST(test_another_user_gets_no_token)
{
    struct peer_client client;
    if (geteuid() != 0)
        return;
    peer_client_connect(&client, listen_as_another);
    ck_assert_int_eq(ping(client.connection, &client.error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_msg(strstr(client.error.message, "65534"), "%s", client.error.message);
    peer_client_end(&client);
}
END_TEST

/* ---- Several at once ------------------------------------------------------------------------- */

struct caller {
    pthread_t thread;
    struct peer_client *client;
    fastalloc_handle_t handle; /* to be freed, or what was allocated */
    int64_t timeout;
    int result;
};

static atomic_int begun;

static void *free_it(void *argument)
{
    struct caller *caller = argument;
    atomic_fetch_add(&begun, 1);
    caller->result = fastalloc_free(caller->client->pool, caller->handle, NULL);
    return NULL;
}

static void *allocate_it(void *argument)
{
    struct caller *caller = argument;
    caller->result =
        fastalloc_allocate(caller->client->pool, caller->timeout, &caller->handle, NULL);
    return NULL;
}

static void start(struct caller *caller, void *(*run)(void *))
{
    ck_assert_int_eq(pthread_create(&caller->thread, NULL, run, caller), 0);
}

static void join(struct caller *caller, int result)
{
    ck_assert_int_eq(pthread_join(caller->thread, NULL), 0);
    ck_assert_int_eq(caller->result, result);
}

#define FREES 8u

static void serve_frees(struct peer *peer)
{
    struct free_request request;
    uint8_t handles[FREES][HANDLE_WIRE_SIZE];
    peer_greet(peer);
    peer_pool_open(peer);
    for (uint32_t i = 0; i < FREES; i++) {
        peer_receive(peer, METHOD_FREE, &request);
        peer_require(request.change == i + 1);
        memcpy(handles[i], request.handles.data, HANDLE_WIRE_SIZE);
        if (i == 2) /* one that isn't repeated */
            peer_reply(peer, METHOD_FREE, &good[2]);
    }
    peer_resume(peer);
    for (uint32_t i = 0; i < FREES; i++) {
        if (i == 2)
            continue;
        peer_receive(peer, METHOD_FREE, &request);
        peer_require(request.change == i + 1);
        peer_require(memcmp(handles[i], request.handles.data, HANDLE_WIRE_SIZE) == 0);
        peer_reply(peer, METHOD_FREE, &good[2]);
    }
}

START_TEST(test_changes_are_repeated_with_their_numbers_in_their_order)
{
    struct peer_client client;
    struct caller callers[FREES];
    peer_client_open(&client, serve_frees);
    for (uint32_t i = 0; i < FREES; i++) {
        callers[i] = (struct caller){.client = &client, .handle = {PEER_POOL_ID, i, 1}};
        start(&callers[i], free_it);
    }
    for (uint32_t i = 0; i < FREES; i++)
        join(&callers[i], 0);
    peer_client_end(&client);
}
END_TEST

#define CROWD (PROTOCOL_CHANGES_MAX + 8)

static uint32_t crowd_begin; /* the number before the first one's */
static uint32_t crowd_most;  /* that may be unanswered: 0 is no number, but the daemon counts it */

static void receive_change(struct peer *peer, uint32_t place)
{
    struct free_request request;
    uint32_t number = crowd_begin + place;
    peer_receive(peer, METHOD_FREE, &request);
    peer_require(request.change == (number < place ? number + 1 : number));
}

/* However they are answered, none goes out that is too far from the first that isn't. */
static void serve_crowd(struct peer *peer)
{
    uint32_t msgids[CROWD + 1] = {0}, received = 0;
    peer_greet(peer);
    peer_pool_open(peer);
    while (received < crowd_most) {
        receive_change(peer, ++received);
        msgids[received] = peer->msgid;
    }
    for (uint32_t i = crowd_most; i > 1; i--)
        peer_reply_to(peer, msgids[i], METHOD_FREE, &good[2]);
    peer_require(tell());
    answer_ping(peer); /* no free comes before it */
    peer_reply_to(peer, msgids[1], METHOD_FREE, &good[2]);
    while (received < CROWD) {
        receive_change(peer, ++received);
        peer_reply(peer, METHOD_FREE, &good[2]);
    }
}

static void expect_crowd(uint32_t before, uint32_t most)
{
    struct peer_client client;
    struct caller callers[CROWD];
    crowd_begin = before;
    crowd_most = most;
    atomic_store(&begun, 0);
    open_pipe();
    peer_client_open(&client, serve_crowd);
    client.connection->channel.last_change = before;
    for (uint32_t i = 0; i < CROWD; i++) {
        callers[i] = (struct caller){.client = &client, .handle = {PEER_POOL_ID, i, 1}};
        start(&callers[i], free_it);
    }
    ck_assert(hear());
    while (atomic_load(&begun) < (int)CROWD)
        sched_yield();
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    for (uint32_t i = 0; i < CROWD; i++)
        join(&callers[i], 0);
    peer_client_end(&client);
    close_pipe();
}

START_TEST(test_no_more_changes_are_unanswered_than_a_daemon_remembers)
{
    expect_crowd(0, PROTOCOL_CHANGES_MAX);
    expect_crowd(UINT32_MAX - (PROTOCOL_CHANGES_MAX - 1), PROTOCOL_CHANGES_MAX - 1);
}
END_TEST

/* Of four allocates one is answered, one given up, and two are under way. */
static void serve_four(struct peer *peer)
{
    struct allocate_request request;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.request == 1);
    peer_reply(peer, METHOD_ALLOCATE, &good[1]);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.request == 2 && request.timeout == MILLISECOND);
    peer_receive(peer, METHOD_SETTLE, NULL); /* at once, when it is given up */
    for (uint64_t number = 3; number <= 4; number++) {
        peer_receive(peer, METHOD_ALLOCATE, &request);
        peer_require(request.request == number && request.timeout < 0);
    }
    peer_resume(peer);
    peer_settle(peer, (const uint64_t[]){2, 3, 4}, 3);
    for (uint64_t number = 5; number <= 6; number++) {
        peer_receive(peer, METHOD_ALLOCATE, &request);
        peer_require(request.request == number && request.timeout < 0);
        peer_reply(peer, METHOD_ALLOCATE, &good[1]);
    }
    peer_receive(peer, METHOD_PING, NULL);
    peer_resume(peer); /* nothing is left to settle */
    answer_ping(peer);
}

START_TEST(test_what_is_settled_are_the_allocates_that_nobody_has_an_answer_to)
{
    struct peer_client client;
    struct caller callers[2];
    fastalloc_handle_t handle;
    peer_client_open(&client, serve_four);
    ck_assert_int_eq(fastalloc_try_allocate(client.pool, &handle, NULL), 0);
    ck_assert_int_eq(fastalloc_allocate(client.pool, MILLISECOND, &handle, &client.error),
                     FASTALLOC_ERR_TIMEOUT);
    ck_assert_str_eq(client.error.pool, "pool");
    ck_assert_uint_eq(client.error.requested, 1);
    ck_assert_uint_eq(client.error.capacity, PEER_POOL_CAPACITY);
    for (size_t i = 0; i < 2; i++) {
        callers[i] = (struct caller){.client = &client, .timeout = FASTALLOC_FOREVER};
        start(&callers[i], allocate_it);
    }
    for (size_t i = 0; i < 2; i++)
        join(&callers[i], 0);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static void answer_late(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    uint32_t msgid = peer->msgid;
    peer_receive(peer, METHOD_SETTLE, NULL);
    uint32_t settle = peer->msgid;
    struct settle_reply settled = {.freed = 1};
    peer_receive(peer, METHOD_PING, NULL);
    uint32_t pinged = peer->msgid;
    peer_reply_to(peer, msgid, METHOD_ALLOCATE, &good[1]);
    peer_reply_to(peer, settle, METHOD_SETTLE, &settled);
    peer_reply_to(peer, pinged, METHOD_PING, &good[0]);
    peer_receive(peer, METHOD_PING, NULL);
    peer_resume(peer);
    answer_ping(peer); /* without a settle before it */
}

START_TEST(test_a_late_reply_is_passed_over)
{
    struct peer_client client;
    fastalloc_handle_t handle = {1, 2, 3};
    peer_client_open(&client, answer_late);
    ck_assert_int_eq(fastalloc_try_allocate(client.pool, &handle, &client.error),
                     FASTALLOC_ERR_NO_REPLY);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert_int_eq(ping(client.connection, NULL), 0);
    ck_assert(fastalloc_handle_equal(handle, (fastalloc_handle_t){1, 2, 3}));
    peer_client_end(&client);
}
END_TEST

SUITE_MAIN("client_resume", test_whatever_is_cut_off_is_repeated_and_nobody_notices,
           test_the_pools_that_are_open_are_resumed_and_no_others,
           test_a_leased_pool_gets_the_new_bell,
           test_who_only_frees_gets_the_new_bell_however_late_it_comes,
           test_no_bell_is_replaced_that_is_closed, test_no_bell_is_replaced_that_no_pool_has,
           test_a_session_that_the_daemon_does_not_know_is_over, test_what_passes_is_waited_for,
           test_why_a_session_is_not_resumed_yet_is_said, test_that_the_daemon_ends_is_no_answer,
           test_a_session_without_witness_ends_with_its_connection, test_another_user_gets_no_token,
           test_changes_are_repeated_with_their_numbers_in_their_order,
           test_no_more_changes_are_unanswered_than_a_daemon_remembers,
           test_what_is_settled_are_the_allocates_that_nobody_has_an_answer_to,
           test_a_late_reply_is_passed_over)
