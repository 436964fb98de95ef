/* SPDX-License-Identifier: MIT */
/*
 * Calls on a connection: limits in time, many threads, full sockets, and the system calls they
 * cost.
 */
#include <fastalloc/admin.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/peer_pool.h"
#include "tests/unit/suite.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND (1000 * MILLISECOND)

static const struct ping_reply good_ping = {.pid = 1, .release = "0", .instance = "test"};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

static fastalloc_connection_t *connect_with_limit(const struct test_peer *test, int64_t limit)
{
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = test->socket;
    options.reply_limit = limit;
    options.reconnect_limit = SECOND / 10;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, NULL), 0);
    return connection;
}

static int ping(fastalloc_connection_t *connection, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return fastalloc_ping(connection, &info, error);
}

/* ---- What the library calls, seen from here -------------------------------------------------- */

/* The library's calls of these functions come here, since programs go before libraries. */
#define INSTEAD __attribute__((visibility("default")))
static atomic_int sends, receives, polls;

static int full_pipe[2] = {-1, -1}; /* a byte for each send that found the socket full */

static void tell(int fd)
{
    ck_assert_int_eq(write(fd, "", 1), 1);
}

INSTEAD ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    atomic_fetch_add(&sends, 1);
    ssize_t result = syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
    if (result < 0 && errno == EAGAIN) {
        tell(full_pipe[1]);
        errno = EAGAIN;
    }
    return result;
}

INSTEAD ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    atomic_fetch_add(&receives, 1);
    return syscall(SYS_recvmsg, fd, message, flags);
}

INSTEAD int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                  const sigset_t *ss)
{
    struct timespec left = timeout ? *timeout : (struct timespec){0, 0};
    atomic_fetch_add(&polls, 1);
    return (int)syscall(SYS_ppoll, fds, nfds, timeout ? &left : NULL, ss, 8);
}

static atomic_int allocations;

/* A sanitizer has these for itself. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

INSTEAD void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

INSTEAD void *calloc(size_t nmemb, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(nmemb, size);
}

INSTEAD void *realloc(void *ptr, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(ptr, size);
}
#endif

static void answer_pings(struct peer *peer)
{
    peer_greet(peer);
    for (int i = 0; i < 100; i++) {
        peer_receive(peer, METHOD_PING, NULL);
        peer_reply(peer, METHOD_PING, &good_ping);
    }
}

static void expect_two_system_calls(int64_t limit)
{
    struct test_peer test;
    test_peer_start(&test, answer_pings);
    fastalloc_connection_t *connection = connect_with_limit(&test, limit);
    sends = receives = polls = allocations = 0;
    int failures = 0;
    for (int i = 0; i < 100; i++) /* without assertions, which take memory */
        failures += ping(connection, NULL) < 0;
    int taken = allocations;
    ck_assert_int_eq(failures, 0);
    ck_assert_int_eq(sends, 100);
    ck_assert_int_eq(receives, 100);
    ck_assert_int_eq(polls, 0);
    ck_assert_int_eq(taken, 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

START_TEST(test_a_call_is_one_send_and_one_receive_and_takes_no_memory)
{
    expect_two_system_calls(60 * SECOND);
}
END_TEST

START_TEST(test_a_call_without_limit_is_one_send_and_one_receive)
{
    expect_two_system_calls(FASTALLOC_FOREVER);
}
END_TEST

static void answer_allocations(struct peer *peer)
{
    static const uint8_t bytes[HANDLE_WIRE_SIZE];
    const struct allocate_reply allocated = {.handles = {bytes, sizeof(bytes)}};
    const struct free_reply freed = {.freed = 1};
    peer_greet(peer);
    peer_pool_open(peer);
    for (int i = 0; i < 100; i++) {
        peer_receive(peer, METHOD_ALLOCATE, NULL);
        peer_reply(peer, METHOD_ALLOCATE, &allocated);
        peer_receive(peer, METHOD_FREE, NULL);
        peer_reply(peer, METHOD_FREE, &freed);
    }
}

START_TEST(test_so_are_an_allocation_and_a_free_and_statistics_are_none)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handle;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    test_peer_start(&test, answer_allocations);
    fastalloc_connection_t *connection = connect_with_limit(&test, 60 * SECOND);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    sends = receives = polls = allocations = 0;
    int failures = 0;
    for (int i = 0; i < 100; i++) {
        failures += (i % 2 == 0 ? fastalloc_try_allocate(pool, &handle, NULL)
                                : fastalloc_allocate_with(pool, &options, &handle, NULL)) < 0;
        failures += fastalloc_free(pool, handle, NULL) < 0;
        failures += fastalloc_stats(pool, &stats, NULL) < 0;
    }
    int taken = allocations;
    ck_assert_int_eq(failures, 0);
    ck_assert_int_eq(sends, 200);
    ck_assert_int_eq(receives, 200);
    ck_assert_int_eq(polls, 0);
    ck_assert_int_eq(taken, 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Limits in time -------------------------------------------------------------------------- */

static void never_answer(struct peer *peer)
{
    peer_greet(peer);
}

static void expect_no_reply_after(int64_t limit)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, never_answer);
    fastalloc_connection_t *connection = connect_with_limit(&test, limit);

    int64_t start = now();
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_NO_REPLY);
    ck_assert_int_ge(now() - start, limit);
    ck_assert_ptr_nonnull(strstr(error.message, "ping"));
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_NO_REPLY);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

START_TEST(test_a_reply_that_never_comes_is_given_up_at_the_limit)
{
    expect_no_reply_after(100 * MILLISECOND);
}
END_TEST

START_TEST(test_a_limit_too_short_for_a_timeout_of_the_socket_holds)
{
    expect_no_reply_after(30 * MILLISECOND);
}
END_TEST

static void send_news_for_ever(struct peer *peer)
{
    peer_greet(peer);
    while (send(peer->fd, "\x93\x02\xa4news\x80", 8, MSG_NOSIGNAL) > 0)
        continue;
}

START_TEST(test_bytes_without_end_are_no_reply)
{
    struct test_peer test;
    test_peer_start(&test, send_news_for_ever);
    fastalloc_connection_t *connection = connect_with_limit(&test, 100 * MILLISECOND);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_NO_REPLY);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

#define THREADS 8

struct caller {
    pthread_t thread;
    fastalloc_connection_t *connection;
    int number;
    int result;
    fastalloc_stats_t stats;
};

/* The pool's name tells the scripted daemon who asks. */
static void *ask_for_stats(void *argument)
{
    struct caller *caller = argument;
    char name[16];
    snprintf(name, sizeof(name), "%d", caller->number);
    caller->stats = FASTALLOC_STATS_INIT;
    caller->result = fastalloc_pool_stats(caller->connection, name, &caller->stats, NULL);
    return NULL;
}

static void start_callers(struct caller *callers, fastalloc_connection_t *connection)
{
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.connection = connection, .number = i};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, ask_for_stats, &callers[i]), 0);
    }
}

static void join_callers(struct caller *callers)
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
}

/* Waits until all ask, then answers the newest first. */
static void answer_backwards(struct peer *peer)
{
    uint32_t msgids[THREADS];
    struct stats_request requests[THREADS];
    peer_greet(peer);
    for (int i = 0; i < THREADS; i++) {
        peer_receive(peer, METHOD_STATS, &requests[i]);
        msgids[i] = peer->msgid;
    }
    for (int i = THREADS - 1; i >= 0; i--) {
        struct stats_reply reply = {.capacity = strtoul(requests[i].name, NULL, 10) + 100};
        peer_reply_to(peer, msgids[i], METHOD_STATS, &reply);
    }
}

START_TEST(test_each_thread_gets_its_own_reply_in_whatever_order)
{
    struct test_peer test;
    struct caller callers[THREADS];
    test_peer_start(&test, answer_backwards);
    fastalloc_connection_t *connection = connect_with_limit(&test, 60 * SECOND);
    start_callers(callers, connection);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(callers[i].result, 0);
        ck_assert_uint_eq(callers[i].stats.capacity, 100 + (unsigned)i);
    }
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void close_on_all(struct peer *peer)
{
    peer_greet(peer);
    for (int i = 0; i < THREADS; i++)
        peer_receive(peer, METHOD_STATS, NULL);
    shutdown(peer->fd, SHUT_RDWR);
}

START_TEST(test_the_end_of_the_connection_ends_every_call)
{
    struct test_peer test;
    struct caller callers[THREADS];
    test_peer_start(&test, close_on_all);
    fastalloc_connection_t *connection = connect_with_limit(&test, FASTALLOC_FOREVER);
    start_callers(callers, connection);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(callers[i].result, FASTALLOC_ERR_UNREACHABLE);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void break_on_all(struct peer *peer)
{
    peer_greet(peer);
    for (int i = 0; i < THREADS; i++)
        peer_receive(peer, METHOD_STATS, NULL);
    peer_send(peer, "\xc1", 1);
}

START_TEST(test_one_call_learns_what_was_malformed_and_the_others_that_it_is_over)
{
    struct test_peer test;
    struct caller callers[THREADS];
    int malformed = 0, disconnected = 0;
    test_peer_start(&test, break_on_all);
    fastalloc_connection_t *connection = connect_with_limit(&test, FASTALLOC_FOREVER);
    start_callers(callers, connection);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++) {
        malformed += callers[i].result == FASTALLOC_ERR_MALFORMED;
        disconnected += callers[i].result == FASTALLOC_ERR_DISCONNECTED;
    }
    ck_assert_int_eq(malformed, 1);
    ck_assert_int_eq(disconnected, THREADS - 1);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

START_TEST(test_no_reply_to_anybody_ends_every_call)
{
    struct test_peer test;
    struct caller callers[THREADS];
    test_peer_start(&test, never_answer);
    fastalloc_connection_t *connection = connect_with_limit(&test, 100 * MILLISECOND);
    start_callers(callers, connection);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(callers[i].result, FASTALLOC_ERR_NO_REPLY);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- A full socket --------------------------------------------------------------------------- */

#define WRITERS 16

static int answered_pipe[2];

struct writer {
    pthread_t thread;
    fastalloc_pool_t *pool;
    int result;
};

static void *ping_and_tell(void *argument)
{
    ck_assert_int_eq(ping(argument, NULL), 0);
    tell(answered_pipe[1]);
    return NULL;
}

static void *free_the_most(void *argument)
{
    static const fastalloc_handle_t handles[FASTALLOC_BATCH_MAX];
    struct writer *writer = argument;
    writer->result = fastalloc_free_many(writer->pool, handles, FASTALLOC_BATCH_MAX, NULL);
    return NULL;
}

static void wait_for_byte(int fd)
{
    char byte;
    peer_require(read(fd, &byte, 1) == 1);
}

/* Answers the ping only when the socket is full, and reads on only when the answer has arrived. */
static void let_it_fill(struct peer *peer)
{
    struct free_reply freed = {.freed = FASTALLOC_BATCH_MAX};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_PING, NULL);
    wait_for_byte(full_pipe[0]);
    peer_reply(peer, METHOD_PING, &good_ping);
    wait_for_byte(answered_pipe[0]);
    for (int i = 0; i < WRITERS; i++) {
        struct free_request request;
        peer_receive(peer, METHOD_FREE, &request);
        peer_require(request.handles.size == (size_t)FASTALLOC_BATCH_MAX * HANDLE_WIRE_SIZE);
        peer_reply(peer, METHOD_FREE, &freed);
    }
    peer_pool_close(peer);
}

START_TEST(test_a_full_socket_keeps_no_reply_from_being_read)
{
    struct test_peer test;
    struct writer writers[WRITERS];
    pthread_t pinger;
    fastalloc_pool_t *pool;
    ck_assert_int_eq(pipe(full_pipe), 0);
    ck_assert_int_eq(pipe(answered_pipe), 0);
    test_peer_start(&test, let_it_fill);
    fastalloc_connection_t *connection = connect_with_limit(&test, FASTALLOC_FOREVER);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);

    ck_assert_int_eq(pthread_create(&pinger, NULL, ping_and_tell, connection), 0);
    while (atomic_load(&sends) < 3) /* hello, open, ping: it is sent first */
        sched_yield();
    for (int i = 0; i < WRITERS; i++) {
        writers[i].pool = pool;
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, free_the_most, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
        ck_assert_int_eq(writers[i].result, 0);
    }
    ck_assert_int_eq(pthread_join(pinger, NULL), 0);

    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
    for (int i = 0; i < 2; i++) {
        close(full_pipe[i]);
        close(answered_pipe[i]);
    }
}
END_TEST

static void open_and_read_no_more(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    wait_for_byte(answered_pipe[0]);
}

START_TEST(test_a_daemon_that_reads_no_more_is_given_up)
{
    struct test_peer test;
    struct writer writers[WRITERS];
    fastalloc_pool_t *pool;
    ck_assert_int_eq(pipe(full_pipe), 0);
    ck_assert_int_eq(pipe(answered_pipe), 0);
    test_peer_start(&test, open_and_read_no_more);
    fastalloc_connection_t *connection = connect_with_limit(&test, SECOND);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);

    for (int i = 0; i < WRITERS; i++) {
        writers[i].pool = pool;
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, free_the_most, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
        ck_assert_int_eq(writers[i].result, FASTALLOC_ERR_NO_REPLY);
    }
    tell(answered_pipe[1]);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
    for (int i = 0; i < 2; i++) {
        close(full_pipe[i]);
        close(answered_pipe[i]);
    }
}
END_TEST

SUITE_MAIN("client_call", test_a_call_is_one_send_and_one_receive_and_takes_no_memory,
           test_a_call_without_limit_is_one_send_and_one_receive,
           test_so_are_an_allocation_and_a_free_and_statistics_are_none,
           test_a_reply_that_never_comes_is_given_up_at_the_limit,
           test_a_limit_too_short_for_a_timeout_of_the_socket_holds,
           test_bytes_without_end_are_no_reply,
           test_each_thread_gets_its_own_reply_in_whatever_order,
           test_the_end_of_the_connection_ends_every_call,
           test_one_call_learns_what_was_malformed_and_the_others_that_it_is_over,
           test_no_reply_to_anybody_ends_every_call,
           test_a_full_socket_keeps_no_reply_from_being_read,
           test_a_daemon_that_reads_no_more_is_given_up)
