/* SPDX-License-Identifier: MIT */
/* How long calls take while no daemon is there, or none that answers; and what goes on afterwards. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/peer_pool.h"
#include "tests/unit/suite.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND (1000 * MILLISECOND)

/* What the library documents beyond a call's own time; and what it may take on a busy machine. */
#define GRACE (50 * MILLISECOND)
#define AT_MOST(time) (10 * (time))

static const struct ping_reply good_ping = {.pid = 1, .release = "0", .instance = "test"};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

static int ping(fastalloc_connection_t *connection, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return fastalloc_ping(connection, &info, error);
}

static void answer_ping(struct peer *peer)
{
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &good_ping);
}

/* ---- What the library calls, seen from here -------------------------------------------------- */

/* The library's calls of these functions come here, since programs go before libraries. */
#define INSTEAD __attribute__((visibility("default")))

static atomic_int sockets_to_fail;
static atomic_int connects;
static _Atomic(const char *) failing;     /* what can't be sent */
static atomic_int send_error;             /* and why; 0 = it can */
static _Atomic(const char *) pushed_back; /* what there is no room for, until that was waited for */
static _Thread_local bool waits_for_room;
static atomic_bool lose_descriptors; /* of the next message that comes with some */
static atomic_int ends_until_late;   /* connections that end before the one that lasted for long */
static _Atomic int64_t behind;       /* that the clock is until then */

INSTEAD int socket(int domain, int type, int protocol)
{
    if (atomic_load(&sockets_to_fail) > 0 && atomic_fetch_sub(&sockets_to_fail, 1) > 0) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

INSTEAD int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    atomic_fetch_add(&connects, 1);
    return (int)syscall(SYS_connect, fd, addr, len);
}

static bool names(const void *request, size_t size, const char *method)
{
    return memmem(request, size, method, strlen(method));
}

static void fail_to_send(const char *method, int error)
{
    atomic_store(&failing, method);
    atomic_store(&send_error, error);
}

INSTEAD ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    if (atomic_load(&send_error) != 0 && names(buf, n, atomic_load(&failing))) {
        errno = atomic_load(&send_error);
        return -1;
    }
    const char *method = atomic_load(&pushed_back);
    if (method && names(buf, n, method)) {
        waits_for_room = true;
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

/* There is some as soon as nobody waits for it any more. */
INSTEAD int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                  const sigset_t *ss)
{
    struct timespec left = *timeout;
    if (!waits_for_room)
        return (int)syscall(SYS_ppoll, fds, nfds, &left, ss, 8);
    int result = (int)syscall(SYS_ppoll, NULL, 0, &left, ss, 8);
    atomic_store(&pushed_back, NULL);
    waits_for_room = false;
    return result;
}

INSTEAD int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
    int result = (int)syscall(SYS_clock_gettime, clock_id, tp);
    tp->tv_sec -= atomic_load(&behind) / SECOND;
    return result;
}

/* As the kernel does in a process that has no room for one more. */
INSTEAD ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t size = syscall(SYS_recvmsg, fd, message, flags);
    if (size == 0 && atomic_load(&ends_until_late) > 0 &&
        atomic_fetch_sub(&ends_until_late, 1) == 1)
        atomic_store(&behind, 0);
    struct cmsghdr *control = size > 0 ? CMSG_FIRSTHDR(message) : NULL;
    if (control && atomic_exchange(&lose_descriptors, false)) {
        int lost;
        memcpy(&lost, CMSG_DATA(control), sizeof(lost));
        close(lost);
        message->msg_controllen = 0;
        message->msg_flags |= MSG_CTRUNC;
    }
    return size;
}

/* ---- A client -------------------------------------------------------------------------------- */

static struct test_peer test;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;

static void begin(peer_script_t script)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    test_peer_start(&test, script);
    options.socket = test.socket;
    options.reply_limit = options.reconnect_limit = 100 * MILLISECOND;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
}

static void end(void)
{
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

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

static int to_script[2];

static bool listen_to_test(void)
{
    char byte;
    return read(to_script[0], &byte, 1) == 1;
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

/* An allocation that fails with this code, in no less than this time and not much more. */
static void expect_failure(int64_t timeout, int code, int64_t least, int64_t most)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    int64_t start = now();
    int result = fastalloc_allocate(pool, timeout, &handle, &error);
    int64_t took = now() - start;
    ck_assert_msg(result == code, "%s: %s", fastalloc_result_name(result), error.message);
    ck_assert_int_eq(error.code, code);
    ck_assert_int_ge(took, least);
    ck_assert_int_lt(took, AT_MOST(most));
}

/* ---- A daemon that doesn't answer ------------------------------------------------------------ */

static void open_and_wait(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    peer_require(hear());
}

/* All that came meanwhile is answered by nobody, and then there is a ping. */
static void wake_up(struct peer *peer)
{
    struct allocate_request request;
    open_and_wait(peer);
    for (uint64_t number = 1; number <= 2; number++) {
        peer_receive(peer, METHOD_ALLOCATE, &request);
        peer_require(request.request == number);
        peer_settle(peer, &number, 1);
    }
    peer_receive(peer, METHOD_PING, NULL); /* that was given up */
    peer_reply(peer, METHOD_PING, &good_ping);
    answer_ping(peer);
}

START_TEST(test_calls_end_in_time_when_the_daemon_hangs_and_it_may_go_on)
{
    open_pipe();
    begin(wake_up);
    expect_failure(100 * MILLISECOND, FASTALLOC_ERR_TIMEOUT, 100 * MILLISECOND,
                   100 * MILLISECOND + GRACE);
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_NO_REPLY, GRACE, GRACE);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_NO_REPLY);
    ck_assert(tell());
    ck_assert_int_eq(ping(connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 0);
    end();
    close_pipe();
}
END_TEST

#define WRITERS 16

static void *free_the_most(void *argument)
{
    static const fastalloc_handle_t handles[FASTALLOC_BATCH_MAX];
    int *result = argument;
    *result = fastalloc_free_many(pool, handles, FASTALLOC_BATCH_MAX, NULL);
    return NULL;
}

/* Whole requests come, though the last one was given up when half of it was sent. */
static void read_on(struct peer *peer)
{
    const struct free_reply freed = {.freed = FASTALLOC_BATCH_MAX};
    struct free_request request;
    uint32_t change = 0;
    open_and_wait(peer);
    while (!peer_is_next(peer, METHOD_PING)) {
        peer_receive(peer, METHOD_FREE, &request);
        peer_require(request.change > change);
        change = request.change;
        peer_reply(peer, METHOD_FREE, &freed);
    }
    answer_ping(peer);
}

START_TEST(test_what_was_sent_in_part_is_sent_to_its_end)
{
    pthread_t threads[WRITERS];
    int results[WRITERS];
    open_pipe();
    begin(read_on);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, free_the_most, &results[i]), 0);
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(results[i], FASTALLOC_ERR_NO_REPLY);
    }
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_NO_REPLY, GRACE, GRACE);
    ck_assert(tell());
    ck_assert_int_eq(ping(connection, NULL), 0);
    end();
    close_pipe();
}
END_TEST

static void *allocate_for_a_while(void *argument)
{
    fastalloc_handle_t handle;
    int *result = argument;
    *result = fastalloc_allocate(pool, 100 * MILLISECOND, &handle, NULL);
    return NULL;
}

static void settle_the_first(struct peer *peer)
{
    const uint64_t first = 1;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    peer_require(tell());
    peer_settle(peer, &first, 1);
    answer_ping(peer);
}

/* Though another one that was sent is given up meanwhile, and there is room again just then. */
START_TEST(test_what_was_not_sent_in_time_is_not_sent)
{
    pthread_t thread;
    int result;
    open_pipe();
    begin(settle_the_first);
    ck_assert_int_eq(pthread_create(&thread, NULL, allocate_for_a_while, &result), 0);
    ck_assert(hear());
    atomic_store(&pushed_back, "allocate");
    expect_failure(200 * MILLISECOND, FASTALLOC_ERR_TIMEOUT, 200 * MILLISECOND,
                   200 * MILLISECOND + GRACE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(result, FASTALLOC_ERR_TIMEOUT);
    ck_assert_int_eq(ping(connection, NULL), 0);
    end();
    close_pipe();
}
END_TEST

/* An open that nobody waits for any more is none that the daemon may go on with. */
static void open_late(struct peer *peer)
{
    struct resume_request request;
    const struct resume_reply reply = {.release = "0"};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_POOL_OPEN, NULL);
    peer_wait_for_end(peer);
    peer_receive_resume(peer, &request);
    peer_require(request.pools.size == sizeof(uint32_t));
    peer_reply(peer, METHOD_RESUME, &reply);
    answer_ping(peer);
}

START_TEST(test_a_pool_that_is_opened_too_late_is_left)
{
    fastalloc_pool_t *other;
    begin(open_late);
    ck_assert_int_eq(fastalloc_open(connection, "other", NULL, &other, NULL),
                     FASTALLOC_ERR_NO_REPLY);
    ck_assert_int_eq(ping(connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 1);
    end();
}
END_TEST

/* ---- A close that can't be sent -------------------------------------------------------------- */

/* The session leaves the pool when it is resumed. */
static void expect_left(struct peer *peer)
{
    struct resume_request request;
    const struct resume_reply reply = {.release = "0"};
    peer_wait_for_end(peer);
    peer_receive_resume(peer, &request);
    peer_require(request.pools.size == 0);
    peer_reply(peer, METHOD_RESUME, &reply);
    answer_ping(peer);
}

static void hang_before_close(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    expect_left(peer);
}

static void hang_in_resume(struct peer *peer)
{
    struct resume_request request;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_receive_resume(peer, &request);
    peer_require(request.pools.size == sizeof(uint32_t));
    expect_left(peer);
}

static void close_and_go_on(void)
{
    fastalloc_close(pool);
    atomic_store(&send_error, 0);
    ck_assert_int_eq(ping(connection, NULL), 0);
    end();
}

START_TEST(test_a_pool_that_cannot_be_closed_in_time_is_left)
{
    begin(hang_before_close);
    atomic_store(&pushed_back, "pool.close");
    close_and_go_on();
    begin(hang_in_resume);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_NO_REPLY);
    close_and_go_on();
}
END_TEST

START_TEST(test_a_pool_whose_close_cannot_be_sent_is_left)
{
    begin(hang_before_close);
    fail_to_send("pool.close", ENOBUFS);
    close_and_go_on();
}
END_TEST

/* ---- A settle that can't be sent ------------------------------------------------------------- */

static void settle_before_ping(struct peer *peer)
{
    const uint64_t first = 1;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    peer_settle(peer, &first, 1);
    answer_ping(peer);
}

START_TEST(test_what_is_given_up_is_settled_whatever_became_of_it_before)
{
    begin(settle_before_ping);
    fail_to_send("settle", EAGAIN); /* the socket has no room */
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_NO_REPLY, GRACE, GRACE);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_NO_REPLY);
    fail_to_send("settle", ENOBUFS);
    ck_assert_int_eq(ping(connection, NULL), -ENOBUFS);
    atomic_store(&send_error, 0);
    ck_assert_int_eq(ping(connection, NULL), 0);
    end();
}
END_TEST

static void settle_by_itself(struct peer *peer)
{
    static const uint8_t bytes[HANDLE_WIRE_SIZE];
    const struct allocate_reply allocated = {.handles = {bytes, sizeof(bytes)}};
    const uint64_t second = 2;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    uint32_t msgid = peer->msgid;
    peer_require(tell());
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    peer_require(listen_to_test());
    peer_reply_to(peer, msgid, METHOD_ALLOCATE, &allocated);
    peer->may_lose_client = true; /* it doesn't wait for what comes of that */
    peer_settle(peer, &second, 1);
}

static void *allocate_for_ever(void *argument)
{
    fastalloc_handle_t handle;
    int *result = argument;
    *result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, NULL);
    return NULL;
}

/* Nobody asks for anything more: whoever gets a reply does it. */
START_TEST(test_what_is_given_up_is_settled_as_soon_as_it_can_be)
{
    pthread_t thread;
    int result;
    open_pipe();
    ck_assert_int_eq(pipe(to_script), 0);
    begin(settle_by_itself);
    ck_assert_int_eq(pthread_create(&thread, NULL, allocate_for_ever, &result), 0);
    ck_assert(hear());
    fail_to_send("settle", EAGAIN);
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_NO_REPLY, GRACE, GRACE);
    atomic_store(&send_error, 0);
    ck_assert_int_eq(write(to_script[1], "", 1), 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(result, 0);
    end();
    close_pipe();
    close(to_script[0]);
    close(to_script[1]);
}
END_TEST

/* ---- No daemon ------------------------------------------------------------------------------- */

static void open_and_die(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    _exit(0);
}

static int do_nothing(const fastalloc_event_t *event, void *context)
{
    return 0;
}

static void expect_absence(void)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    uint64_t after = 0;
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_UNREACHABLE, 0, GRACE);
    expect_failure(50 * MILLISECOND, FASTALLOC_ERR_TIMEOUT, 50 * MILLISECOND, 50 * MILLISECOND);
    expect_failure(FASTALLOC_FOREVER, FASTALLOC_ERR_UNREACHABLE, 100 * MILLISECOND,
                   100 * MILLISECOND);
    ck_assert_int_eq(
        fastalloc_events(connection, NULL, MILLISECOND, &after, NULL, do_nothing, NULL, &error),
        FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(error.system_error, ECONNREFUSED);
    atomic_store(&connects, 0);
    ck_assert_int_eq(fastalloc_events(connection, NULL, FASTALLOC_NOWAIT, &after, NULL, do_nothing,
                                      NULL, &error),
                     FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(connects, 1);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_UNREACHABLE);
    ck_assert_msg(strstr(error.message, "no daemon answers at "), "%s", error.message);
}

/* The next daemon sees that the pool isn't open any more. */
static void expect_close_at_once(void)
{
    int64_t start = now();
    fastalloc_close(pool);
    ck_assert_int_lt(now() - start, AT_MOST(GRACE));
}

/* Only the first allocation was begun to be sent. */
static void resume_and_settle(struct peer *peer, unsigned pools)
{
    const struct resume_reply reply = {.release = "0"};
    struct resume_request request;
    const uint64_t first = 1;
    peer_receive(peer, METHOD_RESUME, &request);
    peer_require(request.pools.size == pools * sizeof(uint32_t));
    peer_reply(peer, METHOD_RESUME, &reply);
    peer_settle(peer, &first, 1);
}

static void come_back(struct peer *peer)
{
    resume_and_settle(peer, 0);
    answer_ping(peer);
}

/* At the place of the one that went. */
static void start_again(struct test_peer *next, peer_script_t script)
{
    test_peer_start(next, script);
    ck_assert_int_eq(rename(next->socket, test.socket), 0);
}

START_TEST(test_calls_end_in_time_when_there_is_no_daemon_and_one_may_come)
{
    struct test_peer next;
    begin(open_and_die);
    expect_absence();
    expect_close_at_once();
    start_again(&next, come_back);
    ck_assert_int_eq(ping(connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 1);
    fastalloc_disconnect(connection);
    test_peer_join(&next);
    test_peer_join(&test);
}
END_TEST

static void *allocate_at_last(void *argument)
{
    fastalloc_handle_t handle;
    int *result = argument;
    *result = fastalloc_allocate(pool, 60 * SECOND, &handle, NULL);
    return NULL;
}

static void come_back_for_one(struct peer *peer)
{
    static const uint8_t bytes[HANDLE_WIRE_SIZE];
    const struct allocate_reply allocated = {.handles = {bytes, sizeof(bytes)}};
    struct allocate_request request;
    resume_and_settle(peer, 1);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.timeout > 0 && request.timeout < 60 * SECOND);
    peer_reply(peer, METHOD_ALLOCATE, &allocated);
}

/* Whoever looks for a daemon gives up, again and again; who waits longer goes on with it. */
START_TEST(test_who_is_late_leaves_it_to_others_to_find_a_daemon)
{
    struct test_peer next;
    pthread_t patient, hasty[4];
    int result, results[4];
    begin(open_and_die);
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_UNREACHABLE, 0, GRACE);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&hasty[i], NULL, free_the_most, &results[i]), 0);
    ck_assert_int_eq(pthread_create(&patient, NULL, allocate_at_last, &result), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(hasty[i], NULL), 0);
        ck_assert_int_eq(results[i], FASTALLOC_ERR_UNREACHABLE);
    }
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_UNREACHABLE, 0, GRACE);
    start_again(&next, come_back_for_one);
    ck_assert_int_eq(pthread_join(patient, NULL), 0);
    ck_assert_int_eq(result, 0);
    fastalloc_disconnect(connection);
    test_peer_join(&next);
    test_peer_join(&test);
}
END_TEST

/* A daemon that goes twice, long one after the other, and was there meanwhile. */
static void serve_after_two_ends(struct peer *peer)
{
    static const uint8_t bytes[HANDLE_WIRE_SIZE];
    const struct allocate_reply allocated = {.handles = {bytes, sizeof(bytes)}};
    peer_greet(peer);
    peer_pool_open(peer);
    for (uint64_t number = 1; number <= 2; number++) {
        peer_receive(peer, METHOD_ALLOCATE, NULL);
        peer_resume(peer);
        peer_settle(peer, &number, 1);
    }
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    peer_reply(peer, METHOD_ALLOCATE, &allocated);
}

START_TEST(test_while_a_daemon_is_there_none_is_missed)
{
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    begin(serve_after_two_ends);
    ends_until_late = 2;
    behind = 60 * SECOND;
    int result = fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, &error);
    ck_assert_msg(result == 0, "%s", error.message);
    ck_assert_int_eq(behind, 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 2);
    end();
}
END_TEST

/* ---- A forked child -------------------------------------------------------------------------- */

static int be_a_child(void)
{
    fastalloc_handle_t handle;
    bool refused = ping(connection, NULL) == FASTALLOC_ERR_FORKED &&
                   fastalloc_try_allocate(pool, &handle, NULL) == FASTALLOC_ERR_FORKED;
    fastalloc_disconnect(connection);
    return refused && connects == 0 ? 0 : 1;
}

START_TEST(test_a_child_leaves_it_to_its_parent_to_find_a_daemon)
{
    struct test_peer next;
    int status;
    begin(open_and_die);
    expect_failure(FASTALLOC_NOWAIT, FASTALLOC_ERR_UNREACHABLE, 0, GRACE);
    connects = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(be_a_child());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fastalloc_close(pool);
    start_again(&next, come_back);
    ck_assert_int_eq(ping(connection, NULL), 0);
    fastalloc_disconnect(connection);
    test_peer_join(&next);
    test_peer_join(&test);
}
END_TEST

/* ---- Short of descriptors -------------------------------------------------------------------- */

static void send_bell(struct peer *peer, const struct resume_reply *reply)
{
    int bell = eventfd(0, EFD_CLOEXEC);
    peer_reply_with(peer, METHOD_RESUME, reply, &bell, 1);
}

static void resume_until_it_fits(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    struct resume_request request;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_receive_resume(peer, &request);
    send_bell(peer, &reply);
    peer_receive_resume(peer, &request);
    send_bell(peer, &reply);
    answer_ping(peer);
}

START_TEST(test_a_process_without_room_for_descriptors_tries_again)
{
    begin(resume_until_it_fits);
    connects = 0;
    sockets_to_fail = 3;
    lose_descriptors = true;
    ck_assert_int_eq(ping(connection, NULL), 0);
    ck_assert_int_eq(connects, 2);
    ck_assert_int_le(sockets_to_fail, 0);
    ck_assert_uint_eq(fastalloc_resumed(connection), 1);
    end();
}
END_TEST

SUITE_MAIN("client_bounds", test_calls_end_in_time_when_the_daemon_hangs_and_it_may_go_on,
           test_what_was_sent_in_part_is_sent_to_its_end,
           test_what_was_not_sent_in_time_is_not_sent, test_a_pool_that_is_opened_too_late_is_left,
           test_a_pool_that_cannot_be_closed_in_time_is_left,
           test_a_pool_whose_close_cannot_be_sent_is_left,
           test_what_is_given_up_is_settled_whatever_became_of_it_before,
           test_what_is_given_up_is_settled_as_soon_as_it_can_be,
           test_calls_end_in_time_when_there_is_no_daemon_and_one_may_come,
           test_who_is_late_leaves_it_to_others_to_find_a_daemon,
           test_while_a_daemon_is_there_none_is_missed,
           test_a_child_leaves_it_to_its_parent_to_find_a_daemon,
           test_a_process_without_room_for_descriptors_tries_again)
