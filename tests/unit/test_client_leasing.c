/* SPDX-License-Identifier: MIT */
/* A leased pool of a scripted daemon: what the library takes of it, and what it refuses. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/bias.h"
#include "shm/lease.h"
#include "tests/lib/fd_count.h"
#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

#define MEMBER 3u
#define FIRST 32u /* slots that are asked for first */
#define THREAD LAYOUT_THREAD_FIRST
#define MILLISECOND INT64_C(1000000)

/* ---- The scripted daemon --------------------------------------------------------------------- */

/* Its pool; all slots are in the caches of this member or thread. */
static struct leased {
    struct peer_pool pool;
    unsigned descriptors;
    uint32_t owner;
    uint32_t thread;           /* that it gives numbers of */
    struct layout_thread line; /* of the first one */
} leased;

static void begin_leased(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_receive(&leased.pool, LAYOUT_LEASED, peer);
    leased.pool.reply.member = leased.owner = MEMBER;
    leased.pool.reply.descriptors = 4;
    leased.descriptors = 4;
    leased.thread = 0;
    leased.line = (struct layout_thread){0};
}

static void reply_leased(struct peer *peer)
{
    const struct peer_pool *pool = &leased.pool;
    uint64_t words[PEER_POOL_CAPACITY];
    int fds[4];
    for (size_t i = 0; i < 3; i++)
        fds[i] = peer_memory(pool->sizes[i]);
    fds[3] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (size_t i = 0; i < PEER_POOL_CAPACITY; i++)
        words[i] = slot_word(SLOT_GENERATION_FIRST, leased.owner, SLOT_CACHED);
    peer_require(pwrite(fds[0], &pool->head, sizeof(pool->head), 0) > 0);
    peer_require(pwrite(fds[1], words, sizeof(words), (off_t)pool->geometry.words_offset) > 0);
    peer_require(pwrite(fds[1], &leased.line, sizeof(leased.line),
                        (off_t)pool->geometry.threads_offset) > 0);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool->reply, fds, leased.descriptors);
    for (size_t i = leased.descriptors; i < 4; i++)
        close(fds[i]);
}

static void serve_leased(struct peer *peer)
{
    begin_leased(peer);
    reply_leased(peer);
}

/* Receives a lease of so many and answers it with these slots. */
static void grant(struct peer *peer, uint32_t asked, const uint32_t *slots, uint32_t count,
                  size_t surplus)
{
    uint8_t bytes[64 * 4 + 4] = {0};
    struct lease_request request;
    struct lease_reply reply = {
        .slots = {bytes, (size_t)count * 4 + surplus},
        .thread = leased.thread,
    };
    for (uint32_t i = 0; i < count; i++) {
        uint32_t wire = htole32(slots[i]);
        memcpy(bytes + (size_t)i * 4, &wire, sizeof(wire));
    }
    peer_receive(peer, METHOD_LEASE, &request);
    peer_require(request.pool == PEER_POOL_ID && request.count == asked);
    peer_reply(peer, METHOD_LEASE, &reply);
}

/* Receives an allocate of one object and answers it with that of the slot. */
static void allocate(struct peer *peer, uint32_t index)
{
    uint8_t bytes[HANDLE_WIRE_SIZE];
    struct allocate_request request;
    struct allocate_reply reply = {.handles = {bytes, sizeof(bytes)}};
    handle_to_wire(handle_make(PEER_POOL_ID, index, PEER_POOL_NONCE, SLOT_GENERATION_FIRST), bytes);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.pool == PEER_POOL_ID && request.count == 0);
    peer_reply(peer, METHOD_ALLOCATE, &reply);
}

static uint32_t take(struct peer_client *client)
{
    fastalloc_handle_t handle;
    ck_assert_msg(fastalloc_try_allocate(client->pool, &handle, &client->error) == 0, "%s",
                  client->error.message);
    return handle.index;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void serve_open(struct peer *peer)
{
    serve_leased(peer);
    peer_pool_close(peer);
}

START_TEST(test_an_open_pool_keeps_one_descriptor_until_it_is_closed)
{
    struct peer_client client;
    peer_client_connect(&client, serve_open);
    unsigned before = test_fd_count();
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", NULL, &client.pool, NULL), 0);
    ck_assert_uint_eq(test_fd_count(), before + 1);
    fastalloc_close(client.pool);
    ck_assert_uint_eq(test_fd_count(), before);
    client.pool = NULL;
    peer_client_end(&client);
}
END_TEST

static void (*spoil)(void);

static void serve_spoiled(struct peer *peer)
{
    begin_leased(peer);
    spoil();
    peer->may_lose_client = true;
    reply_leased(peer);
}

static void spoil_member(void)
{
    leased.pool.reply.member = SLOT_MEMBER_NONE;
}

static void spoil_member_pool(void)
{
    leased.pool.reply.member = SLOT_MEMBER_POOL;
}

static void spoil_template(void)
{
    static const uint8_t bytes[PEER_POOL_OBJECT + 1];
    leased.pool.reply.template = (struct bytes){bytes, sizeof(bytes)};
}

static void spoil_descriptors(void)
{
    leased.pool.reply.descriptors = leased.descriptors = 3;
}

static void spoil_told(void)
{
    leased.descriptors = 3;
}

static void spoil_kind(void)
{
    leased.pool.reply.kind = LAYOUT_BROKERED;
}

START_TEST(test_replies_that_cannot_be_break_the_connection)
{
    static void (*const ways[])(void) = {spoil_member,      spoil_member_pool, spoil_template,
                                         spoil_descriptors, spoil_told,        spoil_kind};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct peer_client client;
        unsigned before = test_fd_count();
        spoil = ways[i];
        peer_client_connect(&client, serve_spoiled);
        ck_assert_int_eq(
            fastalloc_open(client.connection, "pool", NULL, &client.pool, &client.error),
            FASTALLOC_ERR_MALFORMED);
        ck_assert_int_eq(fastalloc_open(client.connection, "pool", NULL, &client.pool, NULL),
                         FASTALLOC_ERR_DISCONNECTED);
        client.pool = NULL;
        peer_client_end(&client);
        ck_assert_uint_eq(test_fd_count(), before);
    }
}
END_TEST

static void serve_other_kind(struct peer *peer)
{
    begin_leased(peer);
    leased.pool.head.kind = LAYOUT_BROKERED;
    reply_leased(peer);
    peer_pool_close(peer);
}

START_TEST(test_a_pool_of_another_kind_than_was_said_is_refused)
{
    struct peer_client client;
    peer_client_connect(&client, serve_other_kind);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", NULL, &client.pool, &client.error),
                     FASTALLOC_ERR_MALFORMED);
    ck_assert_ptr_nonnull(strstr(client.error.message, "kind"));
    client.pool = NULL;
    peer_client_end(&client);
}
END_TEST

/* ---- Leasing --------------------------------------------------------------------------------- */

static void serve_some(struct peer *peer)
{
    static const uint32_t rising[] = {0, 1, 2}, falling[] = {5, 4, 3}, twice[] = {6, 6, 7};
    serve_leased(peer);
    grant(peer, FIRST, rising, 3, 0);
    grant(peer, FIRST, falling, 3, 0); /* after fewer than asked for, again as many */
    grant(peer, FIRST, twice, 3, 0);
    grant(peer, FIRST, NULL, 0, 0);
    allocate(peer, 9);
    peer_pool_close(peer);
}

START_TEST(test_slots_are_used_as_they_are_granted_each_once)
{
    struct peer_client client;
    peer_client_open(&client, serve_some);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(take(&client), i);
    ck_assert_uint_eq(take(&client), 9);
    fastalloc_close(client.pool);
    client.pool = NULL;
    peer_client_end(&client);
}
END_TEST

/* What is granted is taken back before it is used, and so is what is granted instead. */
static void serve_in_vain(struct peer *peer)
{
    static const uint32_t slots[] = {0, 0};
    serve_leased(peer);
    grant(peer, FIRST, slots, 1, 0);
    grant(peer, FIRST, slots, 2, 0);
    allocate(peer, 5);
}

START_TEST(test_slots_that_were_taken_back_are_asked_for_once_and_then_in_turn)
{
    struct peer_client client;
    peer_client_open(&client, serve_in_vain);
    ck_assert_uint_eq(take(&client), 0);
    ck_assert_uint_eq(take(&client), 5);
    peer_client_end(&client);
}
END_TEST

static void serve_refused(struct peer *peer)
{
    struct lease_request request;
    struct error error;
    serve_leased(peer);
    peer_receive(peer, METHOD_LEASE, &request);
    peer_reply_error(peer, error_set(&error, ERROR_NOT_A_MEMBER, "no member any more"));
    allocate(peer, 4);
}

START_TEST(test_a_lease_that_is_refused_leaves_it_to_the_request)
{
    struct peer_client client;
    peer_client_open(&client, serve_refused);
    ck_assert_uint_eq(take(&client), 4);
    peer_client_end(&client);
}
END_TEST

static void serve_tight(struct peer *peer)
{
    begin_leased(peer);
    leased.pool.head.waiters = lease_epoch(1, false);
    reply_leased(peer);
    allocate(peer, 2);
    allocate(peer, 3);
}

START_TEST(test_of_a_tight_pool_nothing_is_leased)
{
    struct peer_client client;
    peer_client_open(&client, serve_tight);
    ck_assert_uint_eq(take(&client), 2);
    ck_assert_uint_eq(take(&client), 3);
    peer_client_end(&client);
}
END_TEST

static struct {
    uint32_t slots[40];
    uint32_t count;
    size_t surplus;
} wrong;

static void serve_wrong(struct peer *peer)
{
    serve_leased(peer);
    peer->may_lose_client = true;
    grant(peer, FIRST, wrong.slots, wrong.count, wrong.surplus);
}

static void expect_broken(void)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    peer_client_open(&client, serve_wrong);
    ck_assert_int_eq(fastalloc_try_allocate(client.pool, &handle, &client.error),
                     FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(client.error.message, "slots"));
    peer_client_end(&client);
}

START_TEST(test_slots_that_there_are_not_break_the_connection)
{
    static const uint32_t numbers[] = {PEER_POOL_CAPACITY, 4 * PEER_POOL_CAPACITY, UINT32_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        wrong.slots[0] = 1;
        wrong.slots[1] = numbers[i];
        wrong.count = 2;
        expect_broken();
    }
    wrong.slots[1] = 2;
    wrong.surplus = 1;
    expect_broken();
    wrong.surplus = 0;
    wrong.count = FIRST + 1;
    expect_broken();
}
END_TEST

/* ---- A full socket --------------------------------------------------------------------------- */

/* The library's calls of these functions come here, since programs go before libraries. */
#define INSTEAD __attribute__((visibility("default")))

static atomic_bool full; /* for leases */
static atomic_int refused, waits;
static _Thread_local bool is_refused;

INSTEAD ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    is_refused = atomic_load(&full) && memmem(buf, n, "\xa5lease", 6);
    if (is_refused) {
        atomic_fetch_add(&refused, 1);
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

INSTEAD int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                  const sigset_t *ss)
{
    struct timespec left = *timeout;
    atomic_fetch_add(&waits, is_refused);
    return (int)syscall(SYS_ppoll, fds, nfds, &left, ss, 8);
}

/* Of each grant some are named again and again, and used once. */
static void serve_much(struct peer *peer)
{
    uint32_t slots[2 * FIRST] = {0};
    serve_leased(peer);
    grant(peer, FIRST, slots, FIRST, 0);
    for (uint32_t i = 0; i < 2 * FIRST; i++)
        slots[i] = i < 2 * FIRST - 4 ? 1 : i - (2 * FIRST - 4) + 2;
    grant(peer, 2 * FIRST, slots, 2 * FIRST, 0);
    allocate(peer, 8);
    slots[0] = 6;
    grant(peer, 4 * FIRST, slots, 1, 0);
}

/* Neither for what isn't needed yet, nor for what can be asked for one by one. */
START_TEST(test_nobody_waits_for_room_to_ask_for_more)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    peer_client_open(&client, serve_much);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_uint_eq(take(&client), i);
    full = true;
    for (uint32_t i = 2; i < 6; i++)
        ck_assert_uint_eq(take(&client), i);
    ck_assert_int_gt(refused, 0);
    ck_assert_int_eq(fastalloc_allocate(client.pool, FASTALLOC_FOREVER, &handle, NULL), 0);
    ck_assert_uint_eq(handle.index, 8);
    ck_assert_int_eq(waits, 0);
    full = false;
    ck_assert_uint_eq(take(&client), 6);
    peer_client_end(&client);
}
END_TEST

/* ---- A daemon that answers late -------------------------------------------------------------- */

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

/* A lease that isn't answered, and an allocate that is asked for when it is too late for it. */
static uint32_t leave_unanswered(struct peer *peer, int64_t timeout)
{
    struct lease_request lease;
    struct allocate_request allocate;
    peer_receive(peer, METHOD_LEASE, &lease);
    uint32_t msgid = peer->msgid;
    peer_receive(peer, METHOD_ALLOCATE, &allocate);
    peer_require(allocate.timeout == timeout);
    peer_settle(peer, &allocate.request, 1);
    return msgid;
}

static void answer_lease(struct peer *peer, uint32_t msgid, uint32_t thread)
{
    static const uint8_t bytes[3 * LEASE_WIRE_SIZE] = {0, 0, 0, 0, 1, 0, 0, 0, 2};
    const struct lease_reply reply = {.slots = {bytes, sizeof(bytes)}, .thread = thread};
    peer_reply_to(peer, msgid, METHOD_LEASE, &reply);
    peer_require(say(ends[1]));
}

static int64_t timeout_of_late;

static void serve_late(struct peer *peer)
{
    serve_leased(peer);
    uint32_t msgid = leave_unanswered(peer, timeout_of_late > 0 ? 1 : 0); /* no time is left */
    answer_lease(peer, msgid, 0);
    peer_pool_close(peer); /* nothing comes before it */
}

static void expect_late(int64_t timeout, int code)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    timeout_of_late = timeout;
    peer_client_open(&client, serve_late);
    ck_assert_int_eq(fastalloc_allocate(client.pool, timeout, &handle, NULL), code);
    ck_assert(listen_to(ends[0]));
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(take(&client), i);
    fastalloc_close(client.pool);
    client.pool = NULL;
    peer_client_end(&client);
}

START_TEST(test_slots_that_are_granted_late_are_used_and_asked_for_once)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    expect_late(FASTALLOC_NOWAIT, FASTALLOC_ERR_NO_REPLY);
    expect_late(MILLISECOND, FASTALLOC_ERR_TIMEOUT);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static void serve_the_next_thread(struct peer *peer)
{
    begin_leased(peer);
    leased.owner = THREAD;
    reply_leased(peer);
    uint32_t msgid = leave_unanswered(peer, 0);
    peer_require(listen_to(ends[1]));
    answer_lease(peer, msgid, THREAD);
    static const struct ping_reply pong = {.pid = 1, .release = "0", .instance = "test"};
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &pong);
    peer_pool_close(peer);
}

static void *take_nothing(void *argument)
{
    struct peer_client *client = argument;
    fastalloc_handle_t handle;
    client->error.code = fastalloc_try_allocate(client->pool, &handle, NULL);
    return NULL;
}

START_TEST(test_a_number_that_is_given_late_is_the_next_threads)
{
    struct peer_client client;
    pthread_t thread;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer_client_open(&client, serve_the_next_thread);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_nothing, &client), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(client.error.code, FASTALLOC_ERR_NO_REPLY);
    ck_assert(say(ends[0]) && listen_to(ends[0]));
    ck_assert_int_eq(fastalloc_ping(client.connection, &info, NULL), 0);
    ck_assert_uint_lt(take(&client), 3);
    fastalloc_close(client.pool);
    client.pool = NULL;
    peer_client_end(&client);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- A thread whose bias the daemon took ----------------------------------------------------- */

#define LOCKED_FIRST 512u /* operations after which it asks for it */

static void begin_revoked(struct peer *peer)
{
    begin_leased(peer);
    leased.owner = leased.thread = THREAD;
    leased.line.revoked = BIAS_BY_DAEMON;
    reply_leased(peer);
}

static void serve_revoked(struct peer *peer)
{
    static const uint32_t slots[] = {0, 1, 2};
    begin_revoked(peer);
    grant(peer, FIRST, slots, 3, 0);
}

static void use(const struct peer_client *client, uint32_t operations)
{
    fastalloc_handle_t handle;
    for (uint32_t i = 0; i < operations; i += 2) {
        if (fastalloc_allocate(client->pool, FASTALLOC_FOREVER, &handle, NULL) < 0)
            abort();
        if (fastalloc_free(client->pool, handle, NULL) < 0)
            abort();
    }
}

static void serve_cancelled(struct peer *peer)
{
    serve_revoked(peer);
    peer->may_lose_client = true;
    grant(peer, 1, NULL, 0, 0);
}

static void *use_though_cancelled(void *argument)
{
    pthread_cancel(pthread_self());
    use(argument, 2 * LOCKED_FIRST);
    return NULL;
}

START_TEST(test_who_asks_for_its_bias_is_not_cancelled_meanwhile)
{
    struct peer_client client;
    pthread_t thread;
    void *result;
    if (!bias_register() || !bias_barrier())
        return;
    peer_client_open(&client, serve_cancelled);
    ck_assert_int_eq(pthread_create(&thread, NULL, use_though_cancelled, &client), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_null(result);
    peer_client_end(&client);
}
END_TEST

/* A grant of all that was wanted, and one with a slot and one without for the bias. */
static void serve_asks(struct peer *peer)
{
    static const uint32_t all[FIRST] = {[FIRST - 9] = 1, 2, 3, 4, 5, 6, 7, 8, 9};
    begin_revoked(peer);
    grant(peer, FIRST, all, FIRST, 0);
    grant(peer, 1, all, 1, 0);
    peer_require(peer_is_next(peer, METHOD_LEASE) && say(ends[1]));
    grant(peer, 1, NULL, 0, 0);
    allocate(peer, 4);
    grant(peer, 2 * FIRST, all, 1, 0);
    allocate(peer, 5);
}

START_TEST(test_asking_for_the_bias_says_nothing_of_how_many_are_wanted)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    struct pollfd told = {.events = POLLIN};
    if (!bias_register() || !bias_barrier())
        return;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer_client_open(&client, serve_asks);
    told.fd = ends[0];
    while (poll(&told, 1, 0) == 0)
        use(&client, 2);
    for (uint32_t i = 0; i < PEER_POOL_CAPACITY; i++)
        ck_assert_uint_lt(take(&client), PEER_POOL_CAPACITY);
    for (uint32_t i = 4; i <= 5; i++) {
        ck_assert_int_eq(fastalloc_allocate(client.pool, FASTALLOC_FOREVER, &handle, NULL), 0);
        ck_assert_uint_eq(handle.index, i);
    }
    peer_client_end(&client);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* The first one is answered when it is told to. */
static void serve_two_asks(struct peer *peer)
{
    serve_revoked(peer);
    peer_require(peer_is_next(peer, METHOD_LEASE) && listen_to(ends[1]));
    grant(peer, 1, NULL, 0, 0);
    peer_require(say(ends[1]));
    grant(peer, 1, NULL, 0, 0);
    peer_pool_close(peer);
}

/* However long the first one isn't answered, the second one isn't put off by that. */
START_TEST(test_the_bias_is_asked_for_more_rarely_each_time_that_it_is)
{
    struct peer_client client;
    if (!bias_register() || !bias_barrier())
        return;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer_client_open(&client, serve_two_asks);
    use(&client, 100 * LOCKED_FIRST);
    ck_assert(say(ends[0]) && listen_to(ends[0]));
    use(&client, 2 * LOCKED_FIRST + 2);
    fastalloc_close(client.pool);
    client.pool = NULL;
    peer_client_end(&client);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

SUITE_MAIN("client_leasing", test_an_open_pool_keeps_one_descriptor_until_it_is_closed,
           test_replies_that_cannot_be_break_the_connection,
           test_a_pool_of_another_kind_than_was_said_is_refused,
           test_slots_are_used_as_they_are_granted_each_once,
           test_slots_that_were_taken_back_are_asked_for_once_and_then_in_turn,
           test_a_lease_that_is_refused_leaves_it_to_the_request,
           test_of_a_tight_pool_nothing_is_leased,
           test_slots_that_there_are_not_break_the_connection,
           test_nobody_waits_for_room_to_ask_for_more,
           test_slots_that_are_granted_late_are_used_and_asked_for_once,
           test_a_number_that_is_given_late_is_the_next_threads,
           test_who_asks_for_its_bias_is_not_cancelled_meanwhile,
           test_asking_for_the_bias_says_nothing_of_how_many_are_wanted,
           test_the_bias_is_asked_for_more_rarely_each_time_that_it_is)
