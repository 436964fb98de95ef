/* SPDX-License-Identifier: MIT */
/* Finding a daemon, waiting for one, and saying why there is none. */
#include <fastalloc/fastalloc.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/fd_count.h"
#include "tests/lib/peer.h"
#include "tests/unit/suite.h"

#define SECOND INT64_C(1000000000)

/* The library's calls of connect() come here: the n-th of them starts what it waits for. */
static int connects;
static int late_at;
static void (*arrive_late)(void);
static int client_fd = -1;

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *addr,
                                                   socklen_t len)
{
    client_fd = fd;
    if (++connects == late_at)
        arrive_late();
    return (int)syscall(SYS_connect, fd, addr, len);
}

static int try_connect(const char *path, int64_t limit, fastalloc_error_t *error)
{
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = path;
    options.connect_limit = limit;
    int result = fastalloc_connect(&options, &connection, error);
    if (result == 0)
        fastalloc_disconnect(connection);
    return result;
}

/* ---- Nobody there ---------------------------------------------------------------------------- */

static void expect_unreachable(const char *path, int system_error, const char *advice)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(try_connect(path, 0, &error), FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(error.code, FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(error.system_error, system_error);
    ck_assert_ptr_nonnull(strstr(error.message, path));
    ck_assert_msg(strstr(error.message, advice), "%s", error.message);
    ck_assert_int_eq(connects, 1);
}

START_TEST(test_without_a_socket_the_error_says_how_to_start_a_daemon)
{
    expect_unreachable("/nonexistent/socket", ENOENT,
                       "Start it with `fastallocd --socket /nonexistent/socket`");
}
END_TEST

START_TEST(test_without_a_listener_the_error_says_how_to_start_a_daemon)
{
    struct test_peer test;
    test_peer_bind(&test, 1);
    close(test.listener);
    expect_unreachable(test.socket, ECONNREFUSED, "Start it with `fastallocd --socket ");
    unlink(test.socket);
    rmdir(test.directory);
}
END_TEST

START_TEST(test_a_path_that_is_no_socket_is_no_daemon)
{
    expect_unreachable("/dev/null", ECONNREFUSED, "is it running?");
}
END_TEST

START_TEST(test_tries_until_the_limit_and_not_longer)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(try_connect("/nonexistent/socket", SECOND / 20, &error),
                     FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_gt(connects, 2);
    ck_assert_int_eq(error.system_error, ENOENT);
}
END_TEST

/* ---- Somebody comes -------------------------------------------------------------------------- */

static struct test_peer late;

/* A peer that was started inside connect() has a copy of the client's end. */
static void greet(struct peer *peer)
{
    if (client_fd >= 0)
        close(client_fd);
    peer_greet(peer);
}

static void start_late(void)
{
    test_peer_start(&late, greet);
    ck_assert_int_eq(rename(late.socket, "socket"), 0);
}

START_TEST(test_a_daemon_that_comes_up_meanwhile_is_found)
{
    char directory[] = "/tmp/fastalloc-test.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    late_at = 4;
    arrive_late = start_late;
    ck_assert_int_eq(try_connect("socket", 60 * SECOND, NULL), 0);
    ck_assert_int_eq(connects, 4);
    test_peer_join(&late);
    unlink("socket");
    rmdir(directory);
}
END_TEST

/* Clients at the door that nobody lets in: with a backlog of 0 one has room. */
static int fill_backlog(const struct test_peer *test, int fds[8])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, test->socket, sizeof(test->socket));
    for (int i = 0; i < 8; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(fds[i], 0);
        if (syscall(SYS_connect, fds[i], &address, sizeof(address)) < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            close(fds[i]);
            return i;
        }
    }
    ck_abort_msg("a backlog without end");
}

static void empty_backlog(struct test_peer *test, int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        int fd = accept(test->listener, NULL, NULL);
        ck_assert_int_ge(fd, 0);
        close(fd);
        close(fds[i]);
    }
}

START_TEST(test_a_full_backlog_doesnt_hang)
{
    struct test_peer test;
    int fds[8];
    test_peer_bind(&test, 0);
    int count = fill_backlog(&test, fds);
    expect_unreachable(test.socket, EAGAIN, "too many are connecting");
    empty_backlog(&test, fds, count);
    close(test.listener);
    unlink(test.socket);
    rmdir(test.directory);
}
END_TEST

static struct test_peer busy;
static int waiting[8];
static int waiting_count;

static void serve_late(void)
{
    empty_backlog(&busy, waiting, waiting_count);
    test_peer_run(&busy, greet);
}

START_TEST(test_a_full_backlog_is_waited_for)
{
    test_peer_bind(&busy, 0);
    waiting_count = fill_backlog(&busy, waiting);
    late_at = 3;
    arrive_late = serve_late;
    ck_assert_int_eq(try_connect(busy.socket, 60 * SECOND, NULL), 0);
    ck_assert_int_eq(connects, 3);
    test_peer_join(&busy);
}
END_TEST

/* ---- Which socket ---------------------------------------------------------------------------- */

START_TEST(test_the_longest_path_is_accepted_and_one_more_is_not)
{
    char path[109];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    ck_assert_int_eq(try_connect(path, 0, &error), FASTALLOC_ERR_UNREACHABLE);
    path[107] = 'x';
    path[108] = '\0';
    ck_assert_int_eq(try_connect(path, 0, &error), FASTALLOC_ERR_SOCKET_PATH);
    ck_assert_uint_eq(error.max, 107);
    ck_assert_ptr_nonnull(strstr(error.message, "108 bytes"));
    ck_assert_int_eq(try_connect("", 0, &error), FASTALLOC_ERR_SOCKET_PATH);
}
END_TEST

static void expect_default(const char *path)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(try_connect(NULL, 0, &error), FASTALLOC_ERR_UNREACHABLE);
    ck_assert_msg(strstr(error.message, path), "%s", error.message);
}

START_TEST(test_the_environment_names_the_socket)
{
    setenv("FASTALLOC_SOCKET", "/nonexistent/named", 1);
    setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    expect_default("/nonexistent/named");
}
END_TEST

START_TEST(test_the_users_own_instance_comes_before_the_systems)
{
    char directory[] = "/tmp/fastalloc-test.XXXXXX";
    char path[64];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(mkdir("fastalloc", 0700), 0);
    ck_assert_int_eq(mknod("fastalloc/default.sock", S_IFREG | 0600, 0), 0);
    unsetenv("FASTALLOC_SOCKET");
    setenv("XDG_RUNTIME_DIR", directory, 1);
    snprintf(path, sizeof(path), "%s/fastalloc/default.sock", directory);
    expect_default(path);
    unlink("fastalloc/default.sock");
    rmdir("fastalloc");
    rmdir(directory);
}
END_TEST

START_TEST(test_without_either_it_is_the_systems_instance)
{
    if (access("/run/fastalloc/default.sock", F_OK) == 0)
        return; /* it runs on this machine */
    setenv("FASTALLOC_SOCKET", "", 1);
    setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    expect_default("/run/fastalloc/default.sock");
}
END_TEST

/* ---- A daemon that ends amid it -------------------------------------------------------------- */

static void end_at_each_place(struct peer *peer)
{
    struct error error;
    peer_cut(peer);
    peer_accept(peer);
    peer_receive(peer, METHOD_HELLO, NULL);
    peer_send(peer, "\x94\x01", 2);
    peer_cut(peer);
    peer_accept(peer);
    peer_receive(peer, METHOD_HELLO, NULL);
    peer_reply_error(peer, error_set(&error, ERROR_SHUTTING_DOWN, "the daemon ends"));
    peer_cut(peer);
    peer_accept(peer);
    peer_greet(peer);
}

START_TEST(test_a_daemon_that_ends_is_waited_for_as_one_that_comes)
{
    struct test_peer test;
    unsigned before = test_fd_count();
    test_peer_start(&test, end_at_each_place);
    ck_assert_int_eq(try_connect(test.socket, 60 * SECOND, NULL), 0);
    ck_assert_int_eq(connects, 4);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}
END_TEST

static void cut_off(struct peer *peer)
{
    peer_cut(peer);
}

START_TEST(test_who_does_not_wait_does_not_wait_for_the_next_daemon)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, cut_off);
    ck_assert_int_eq(try_connect(test.socket, 0, &error), FASTALLOC_ERR_UNREACHABLE);
    ck_assert_int_eq(error.system_error, ECONNRESET);
    ck_assert_ptr_nonnull(strstr(error.message, test.socket));
    ck_assert_int_eq(connects, 1);
    test_peer_join(&test);
}
END_TEST

/* ---- The session ----------------------------------------------------------------------------- */

static const char *expected_name;

static void greet_by_name(struct peer *peer)
{
    static const uint8_t token[PROTOCOL_TOKEN_SIZE];
    struct hello_request request;
    struct hello_reply reply = {
        .version = PROTOCOL_VERSION,
        .release = "0",
        .session = 42,
        .token = {token, sizeof(token)},
        .descriptors = 1,
    };
    int witness = peer_memory(4096);
    peer_receive(peer, METHOD_HELLO, &request);
    peer_require(strcmp(request.name, expected_name) == 0);
    peer_reply_with(peer, METHOD_HELLO, &reply, &witness, 1);
}

static void expect_name(const char *given, const char *expected)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    expected_name = expected;
    test_peer_start(&test, greet_by_name);
    options.socket = test.socket;
    options.name = given;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, NULL), 0);
    ck_assert_uint_eq(fastalloc_session(connection), 42);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

START_TEST(test_a_client_is_called_as_it_says)
{
    expect_name("left worker", "left worker");
}
END_TEST

START_TEST(test_a_client_without_name_is_called_as_its_program)
{
    expect_name(NULL, program_invocation_short_name);
}
END_TEST

START_TEST(test_a_program_with_an_odd_name_can_connect)
{
    char odd[] = "a\xff\n b"
                 "........................................................................";
    char name[FASTALLOC_NAME_MAX + 1] = "a???b";
    memset(name + 5, '.', FASTALLOC_NAME_MAX - 5);
    program_invocation_short_name = odd;
    expect_name(NULL, name);
}
END_TEST

START_TEST(test_a_name_that_is_too_long_is_refused)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    char name[FASTALLOC_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FASTALLOC_NAME_MAX + 1] = '\0';
    test_peer_bind(&test, 1);
    options.socket = test.socket;
    options.name = name;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "name");
    close(test.listener);
    unlink(test.socket);
    rmdir(test.directory);
}
END_TEST

/* ---- No descriptors left --------------------------------------------------------------------- */

static struct rlimit old_limit;

static void limit_descriptors(unsigned more)
{
    int next = dup(0);
    ck_assert_int_ge(next, 0);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
    struct rlimit limit = {(rlim_t)next + more, old_limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void unlimit_descriptors(void)
{
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old_limit), 0);
}

START_TEST(test_no_descriptor_for_the_socket_is_emfile)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    limit_descriptors(0);
    ck_assert_int_eq(try_connect("/nonexistent/socket", 0, &error), -EMFILE);
    ck_assert_int_eq(error.code, -EMFILE);
    ck_assert_int_eq(error.system_error, EMFILE);
    unlimit_descriptors();
}
END_TEST

START_TEST(test_no_descriptor_for_the_witness_is_emfile)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, greet);
    limit_descriptors(1);
    ck_assert_int_eq(try_connect(test.socket, 0, &error), -EMFILE);
    ck_assert_ptr_nonnull(strstr(error.message, "ulimit"));
    unlimit_descriptors();
    test_peer_join(&test);
}
END_TEST

START_TEST(test_disconnecting_nothing_is_nothing)
{
    fastalloc_disconnect(NULL);
    fastalloc_close(NULL);
}
END_TEST

SUITE_MAIN("client_connect", test_without_a_socket_the_error_says_how_to_start_a_daemon,
           test_without_a_listener_the_error_says_how_to_start_a_daemon,
           test_a_path_that_is_no_socket_is_no_daemon, test_tries_until_the_limit_and_not_longer,
           test_a_daemon_that_comes_up_meanwhile_is_found, test_a_full_backlog_doesnt_hang,
           test_a_full_backlog_is_waited_for, test_the_longest_path_is_accepted_and_one_more_is_not,
           test_the_environment_names_the_socket,
           test_the_users_own_instance_comes_before_the_systems,
           test_without_either_it_is_the_systems_instance,
           test_a_daemon_that_ends_is_waited_for_as_one_that_comes,
           test_who_does_not_wait_does_not_wait_for_the_next_daemon,
           test_a_client_is_called_as_it_says, test_a_client_without_name_is_called_as_its_program,
           test_a_program_with_an_odd_name_can_connect, test_a_name_that_is_too_long_is_refused,
           test_no_descriptor_for_the_socket_is_emfile,
           test_no_descriptor_for_the_witness_is_emfile, test_disconnecting_nothing_is_nothing)
