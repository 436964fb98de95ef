/* SPDX-License-Identifier: MIT */
/* What the library does when the daemon doesn't keep to the protocol. */
#include <fastalloc/admin.h>

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/fd_count.h"
#include "tests/lib/peer_pool.h"
#include "tests/unit/suite.h"

#define SECOND INT64_C(1000000000)

static int connect_to(const struct test_peer *test, fastalloc_connection_t **connection,
                      fastalloc_error_t *error)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = test->socket;
    options.reply_limit = 60 * SECOND;
    options.reconnect_limit = SECOND / 10;
    return fastalloc_connect(&options, connection, error);
}

static int ping(fastalloc_connection_t *connection, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return fastalloc_ping(connection, &info, error);
}

/* The daemon greets, then does this when it is asked for a ping. The same is said ever after. */
static void expect_from_ping(peer_script_t script, int code, const char *reason)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, script);
    unsigned before = test_fd_count();

    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(ping(connection, &error), code);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, reason), "'%s' doesn't say '%s'", error.message, reason);
    ck_assert_ptr_nonnull(strstr(error.message, test.socket));

    ck_assert_int_eq(ping(connection, &error), code == FASTALLOC_ERR_UNREACHABLE
                                                   ? FASTALLOC_ERR_UNREACHABLE
                                                   : FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(error.message, reason));
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}

static void expect_malformed(peer_script_t script, const char *reason)
{
    expect_from_ping(script, FASTALLOC_ERR_MALFORMED, reason);
}

/* Connecting itself fails, and leaves nothing behind. */
static void expect_no_session(peer_script_t script, int code)
{
    struct test_peer test;
    fastalloc_connection_t *connection = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, script);
    unsigned before = test_fd_count();

    ck_assert_int_eq(connect_to(&test, &connection, &error), code);
    ck_assert_int_eq(error.code, code);
    ck_assert_str_ne(error.message, "");
    ck_assert_ptr_null(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}

static const struct ping_reply good_ping = {.pid = 1, .release = "0", .instance = "test"};

/* ---- Messages -------------------------------------------------------------------------------- */

/* Answers a ping with bytes as they are. */
#define ANSWER_BYTES(name, bytes)                                                                  \
    static void name(struct peer *peer)                                                            \
    {                                                                                              \
        peer_greet(peer);                                                                          \
        peer_receive(peer, METHOD_PING, NULL);                                                     \
        peer_send(peer, bytes, sizeof(bytes) - 1);                                                 \
    }

ANSWER_BYTES(answer_bad_byte, "\xc1")
START_TEST(test_a_byte_that_is_no_messagepack_is_refused)
{
    expect_malformed(answer_bad_byte, "protocol");
}
END_TEST

ANSWER_BYTES(answer_too_large, "\x94\x01\x01\xc0\xdd\x10\x00\x00\x00")
START_TEST(test_a_message_that_declares_too_much_is_refused)
{
    expect_malformed(answer_too_large, "protocol");
}
END_TEST

ANSWER_BYTES(answer_too_deep, "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91")
START_TEST(test_a_message_that_is_too_deep_is_refused)
{
    expect_malformed(answer_too_deep, "protocol");
}
END_TEST

ANSWER_BYTES(answer_twice_the_key, "\x94\x01\x01\xc0\x82\xa3pid\x01\xa3pid\x01")
START_TEST(test_a_key_that_comes_twice_is_refused)
{
    expect_malformed(answer_twice_the_key, "protocol");
}
END_TEST

ANSWER_BYTES(answer_no_frame, "\x92\x01\x02")
START_TEST(test_a_message_that_is_no_frame_is_refused)
{
    expect_malformed(answer_no_frame, "MessagePack-RPC");
}
END_TEST

ANSWER_BYTES(answer_a_map, "\x80")
START_TEST(test_a_message_that_is_no_array_is_refused)
{
    expect_malformed(answer_a_map, "MessagePack-RPC");
}
END_TEST

ANSWER_BYTES(answer_with_request, "\x94\x00\x01\xa4ping\x80")
START_TEST(test_a_request_from_the_daemon_is_refused)
{
    expect_malformed(answer_with_request, "request");
}
END_TEST

static void answer_another_msgid(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply_to(peer, peer->msgid + 1, METHOD_PING, &good_ping);
}

START_TEST(test_a_reply_to_no_request_is_refused)
{
    expect_malformed(answer_another_msgid, "no request");
}
END_TEST

static void answer_twice(struct peer *peer)
{
    msgpack_sbuffer both;
    msgpack_sbuffer_init(&both);
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_require(envelope_encode_reply(&both, peer->msgid, METHOD_PING, &good_ping) == 0);
    peer_require(envelope_encode_reply(&both, peer->msgid, METHOD_PING, &good_ping) == 0);
    peer_send(peer, both.data, both.size);
    msgpack_sbuffer_destroy(&both);
}

/* The first reply is good, what comes with it isn't. */
static void expect_good_then_broken(peer_script_t script, const char *reason)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, script);
    unsigned before = test_fd_count();

    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(ping(connection, &error), 0);
    ck_assert_int_eq(error.code, 0);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_msg(strstr(error.message, reason), "'%s' doesn't say '%s'", error.message, reason);
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}

START_TEST(test_a_second_reply_is_refused)
{
    expect_good_then_broken(answer_twice, "no request");
}
END_TEST

static int ended_pipe[2];

static void answer_bad_byte_and_tell(struct peer *peer)
{
    answer_bad_byte(peer);
    peer_wait_for_end(peer);
    peer_require(write(ended_pipe[1], "", 1) == 1);
}

START_TEST(test_a_broken_connection_ends_for_the_daemon_before_it_is_closed)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    char byte;
    ck_assert_int_eq(pipe(ended_pipe), 0);
    test_peer_start(&test, answer_bad_byte_and_tell);
    close(ended_pipe[1]);
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_MALFORMED);
    ck_assert_int_eq(read(ended_pipe[0], &byte, 1), 1);
    close(ended_pipe[0]);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Fields ---------------------------------------------------------------------------------- */

/* Begins of [1, 2, ...: the ping is the second request. */
ANSWER_BYTES(answer_number, "\x94\x01\x02\xc0\x01")
START_TEST(test_a_result_that_is_no_map_is_refused)
{
    expect_malformed(answer_number, "map");
}
END_TEST

ANSWER_BYTES(answer_nil, "\x94\x01\x02\xc0\xc0")
START_TEST(test_a_reply_with_neither_error_nor_result_is_refused)
{
    expect_malformed(answer_nil, "map");
}
END_TEST

ANSWER_BYTES(answer_nothing, "\x94\x01\x02\xc0\x80")
START_TEST(test_a_field_that_is_missing_is_refused)
{
    expect_malformed(answer_nothing, "pid");
}
END_TEST

ANSWER_BYTES(answer_wrong_type, "\x94\x01\x02\xc0\x81\xa3pid\xa1x")
START_TEST(test_a_field_of_the_wrong_type_is_refused)
{
    expect_malformed(answer_wrong_type, "pid");
}
END_TEST

ANSWER_BYTES(answer_control_characters, "\x94\x01\x02\xc0\x81\xa7release\xa1\x1b")
START_TEST(test_a_string_with_control_characters_is_refused)
{
    expect_malformed(answer_control_characters, "release");
}
END_TEST

ANSWER_BYTES(answer_error_number, "\x94\x01\x02\x05\xc0")
START_TEST(test_an_error_that_is_no_map_is_refused)
{
    expect_malformed(answer_error_number, "error");
}
END_TEST

ANSWER_BYTES(answer_error_without_code, "\x94\x01\x02\x81\xa4name\xa1x\xc0")
START_TEST(test_an_error_without_its_code_is_refused)
{
    expect_malformed(answer_error_without_code, "error");
}
END_TEST

/* ---- Descriptors ----------------------------------------------------------------------------- */

static void send_ping_with(struct peer *peer, size_t count)
{
    int fds[16];
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    for (size_t i = 0; i < count; i++)
        fds[i] = peer_memory(1);
    peer_reply_with(peer, METHOD_PING, &good_ping, fds, count);
}

static void answer_with_descriptor(struct peer *peer)
{
    send_ping_with(peer, 1);
}

START_TEST(test_a_descriptor_that_nothing_told_of_is_refused)
{
    expect_good_then_broken(answer_with_descriptor, "descriptors");
}
END_TEST

static void answer_with_16_descriptors(struct peer *peer)
{
    send_ping_with(peer, 16);
}

START_TEST(test_more_descriptors_than_there_is_room_for_are_refused)
{
    expect_good_then_broken(answer_with_16_descriptors, "descriptors");
}
END_TEST

static void answer_descriptors_for_ever(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_send(peer, "\x94", 1);
    for (int i = 0; i < 6; i++) {
        int fd = peer_memory(1);
        peer_send_with(peer, i == 0 ? "\xdd" : "\x00", 1, &fd, 1);
    }
}

START_TEST(test_descriptors_that_add_up_inside_a_message_are_refused)
{
    expect_malformed(answer_descriptors_for_ever, "descriptors");
}
END_TEST

static void greet_with(struct peer *peer, uint32_t version, uint32_t told, const int *fds,
                       size_t count)
{
    static const uint8_t token[PROTOCOL_TOKEN_SIZE];
    struct hello_reply reply = {
        .version = version,
        .release = "0",
        .session = 1,
        .token = {token, sizeof(token)},
        .descriptors = told,
    };
    peer_receive(peer, METHOD_HELLO, NULL);
    peer_reply_with(peer, METHOD_HELLO, &reply, fds, count);
}

static void greet_without_descriptor(struct peer *peer)
{
    greet_with(peer, PROTOCOL_VERSION, 1, NULL, 0);
}

START_TEST(test_a_witness_that_is_missing_is_refused)
{
    expect_no_session(greet_without_descriptor, FASTALLOC_ERR_MALFORMED);
}
END_TEST

static void greet_without_witness(struct peer *peer)
{
    greet_with(peer, PROTOCOL_VERSION, 0, NULL, 0);
}

START_TEST(test_a_session_without_witness_is_refused)
{
    expect_no_session(greet_without_witness, FASTALLOC_ERR_MALFORMED);
}
END_TEST

static void greet_with_two(struct peer *peer)
{
    int fds[2] = {peer_memory(4096), peer_memory(4096)};
    greet_with(peer, PROTOCOL_VERSION, 1, fds, 2);
}

START_TEST(test_a_second_witness_is_refused)
{
    expect_no_session(greet_with_two, FASTALLOC_ERR_MALFORMED);
}
END_TEST

static void greet_with_short_witness(struct peer *peer)
{
    int fd = peer_memory(4095);
    greet_with(peer, PROTOCOL_VERSION, 1, &fd, 1);
}

START_TEST(test_a_witness_that_is_too_short_is_refused)
{
    expect_no_session(greet_with_short_witness, FASTALLOC_ERR_MALFORMED);
}
END_TEST

static void greet_with_pipe(struct peer *peer)
{
    int fds[2];
    peer_require(pipe(fds) == 0);
    greet_with(peer, PROTOCOL_VERSION, 1, fds, 1);
}

START_TEST(test_a_witness_that_is_no_memory_is_refused)
{
    expect_no_session(greet_with_pipe, FASTALLOC_ERR_MALFORMED);
}
END_TEST

/* ---- Bells ----------------------------------------------------------------------------------- */

static void open_with_bell(struct peer *peer, int bell)
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

/* It has no reader. */
static int write_end(void)
{
    int fds[2];
    peer_require(pipe(fds) == 0);
    close(fds[0]);
    return fds[1];
}

static void open_with_pipe(struct peer *peer)
{
    peer_greet(peer);
    open_with_bell(peer, write_end());
}

static void resume_with_pipe(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0", .descriptors = 1};
    struct resume_request request;
    int bell = write_end();
    peer_greet(peer);
    open_with_bell(peer, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    peer_receive(peer, METHOD_PING, NULL);
    peer_receive_resume(peer, &request);
    peer_reply_with(peer, METHOD_RESUME, &reply, &bell, 1);
}

static void expect_no_bell(peer_script_t script, int opened, int pinged)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, script);
    unsigned before = test_fd_count();
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), opened);
    ck_assert_int_eq(ping(connection, &error), pinged);
    ck_assert_msg(strstr(error.message, "a bell that is none"), "%s", error.message);
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}

START_TEST(test_a_bell_that_raises_a_signal_is_refused)
{
    expect_no_bell(open_with_pipe, FASTALLOC_ERR_MALFORMED, FASTALLOC_ERR_DISCONNECTED);
}
END_TEST

START_TEST(test_a_new_bell_that_raises_a_signal_is_refused)
{
    expect_no_bell(resume_with_pipe, 0, FASTALLOC_ERR_DISCONNECTED);
}
END_TEST

static void open_with_blocking_bell(struct peer *peer)
{
    const struct ping_reply pong = {.pid = 1, .release = "0", .instance = "test"};
    int bell = eventfd(0, EFD_CLOEXEC);
    peer_greet(peer);
    open_with_bell(peer, dup(bell));
    peer_receive(peer, METHOD_PING, NULL);
    peer_require(fcntl(bell, F_GETFL) & O_NONBLOCK);
    peer_reply(peer, METHOD_PING, &pong);
}

START_TEST(test_a_bell_that_blocks_is_made_not_to)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    test_peer_start(&test, open_with_blocking_bell);
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    ck_assert_int_eq(ping(connection, NULL), 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Greeting -------------------------------------------------------------------------------- */

static void greet_in_future(struct peer *peer)
{
    int fd = peer_memory(4096);
    greet_with(peer, PROTOCOL_VERSION + 1, 1, &fd, 1);
}

START_TEST(test_another_version_of_the_protocol_is_refused)
{
    expect_no_session(greet_in_future, FASTALLOC_ERR_PROTOCOL_MISMATCH);
}
END_TEST

static void greet_with_error(struct peer *peer)
{
    struct error error;
    peer_receive(peer, METHOD_HELLO, NULL);
    peer_reply_error(peer, error_set(&error, ERROR_LIMIT_EXCEEDED, "too many sessions"));
}

START_TEST(test_a_hello_that_is_refused_is_no_session)
{
    expect_no_session(greet_with_error, FASTALLOC_ERR_LIMIT_EXCEEDED);
}
END_TEST

static void close_at_once(struct peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
}

START_TEST(test_a_daemon_that_closes_at_once_is_no_session)
{
    expect_no_session(close_at_once, FASTALLOC_ERR_UNREACHABLE);
}
END_TEST

/* ---- End ------------------------------------------------------------------------------------- */

static void close_instead(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    shutdown(peer->fd, SHUT_RDWR);
}

START_TEST(test_after_a_close_instead_of_a_reply_another_daemon_is_awaited)
{
    expect_from_ping(close_instead, FASTALLOC_ERR_UNREACHABLE, "no daemon answers");
}
END_TEST

static void close_inside(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_send(peer, "\x94\x01\x02", 3);
    shutdown(peer->fd, SHUT_RDWR);
}

START_TEST(test_after_a_close_inside_a_reply_another_daemon_is_awaited)
{
    expect_from_ping(close_inside, FASTALLOC_ERR_UNREACHABLE, "no daemon answers");
}
END_TEST

static void close_after_greeting(struct peer *peer)
{
    peer_greet(peer);
    close(peer->fd);
}

START_TEST(test_a_call_after_the_daemon_closed_fails_without_a_signal)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    test_peer_start(&test, close_after_greeting);
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    test_peer_join(&test);
    ck_assert_int_eq(ping(connection, NULL), FASTALLOC_ERR_UNREACHABLE);
    fastalloc_disconnect(connection);
}
END_TEST

static void say_farewell(struct peer *peer)
{
    struct error error;
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    peer_greet(peer);
    error_set(&error, ERROR_SHUTTING_DOWN, "the machine goes down");
    peer_require(envelope_encode_farewell(&buffer, &error) == 0);
    peer_send(peer, buffer.data, buffer.size);
    msgpack_sbuffer_destroy(&buffer);
    close(peer->fd);
}

START_TEST(test_what_the_daemon_said_before_it_closed_is_reported)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, say_farewell);
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    test_peer_join(&test);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(error.message, "the machine goes down"));
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(error.message, "the machine goes down"));
    fastalloc_disconnect(connection);
}
END_TEST

/* ---- What is odd, but right ------------------------------------------------------------------ */

static void expect_good(peer_script_t script)
{
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    test_peer_start(&test, script);
    ck_assert_int_eq(connect_to(&test, &connection, NULL), 0);
    ck_assert_int_eq(fastalloc_ping(connection, &info, NULL), 0);
    ck_assert_int_eq(info.pid, 1);
    ck_assert_str_eq(info.instance, "test");
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

static void answer_in_drips(struct peer *peer)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_require(envelope_encode_reply(&buffer, peer->msgid, METHOD_PING, &good_ping) == 0);
    for (size_t i = 0; i < buffer.size; i++)
        peer_send(peer, buffer.data + i, 1);
    msgpack_sbuffer_destroy(&buffer);
}

START_TEST(test_a_reply_may_come_byte_by_byte)
{
    expect_good(answer_in_drips);
}
END_TEST

static void answer_after_news(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_send(peer, "\x93\x02\xa4news\x80", 8);
    peer_reply(peer, METHOD_PING, &good_ping);
}

START_TEST(test_a_notification_that_is_unknown_is_passed_over)
{
    expect_good(answer_after_news);
}
END_TEST

ANSWER_BYTES(answer_with_more, "\x94\x01\x02\xc0\x84\xa3pid\x01\xa7release\xa1"
                               "0\xa8instance\xa4test\xa6uptime\x05")
START_TEST(test_a_field_that_is_unknown_is_passed_over)
{
    expect_good(answer_with_more);
}
END_TEST

SUITE_MAIN(
    "client_hostile", test_a_byte_that_is_no_messagepack_is_refused,
    test_a_message_that_declares_too_much_is_refused, test_a_message_that_is_too_deep_is_refused,
    test_a_key_that_comes_twice_is_refused, test_a_message_that_is_no_frame_is_refused,
    test_a_message_that_is_no_array_is_refused, test_a_request_from_the_daemon_is_refused,
    test_a_reply_to_no_request_is_refused, test_a_second_reply_is_refused,
    test_a_broken_connection_ends_for_the_daemon_before_it_is_closed,
    test_a_result_that_is_no_map_is_refused, test_a_reply_with_neither_error_nor_result_is_refused,
    test_a_field_that_is_missing_is_refused, test_a_field_of_the_wrong_type_is_refused,
    test_a_string_with_control_characters_is_refused, test_an_error_that_is_no_map_is_refused,
    test_an_error_without_its_code_is_refused, test_a_descriptor_that_nothing_told_of_is_refused,
    test_more_descriptors_than_there_is_room_for_are_refused,
    test_descriptors_that_add_up_inside_a_message_are_refused,
    test_a_witness_that_is_missing_is_refused, test_a_session_without_witness_is_refused,
    test_a_second_witness_is_refused, test_a_witness_that_is_too_short_is_refused,
    test_a_witness_that_is_no_memory_is_refused, test_a_bell_that_raises_a_signal_is_refused,
    test_a_new_bell_that_raises_a_signal_is_refused, test_a_bell_that_blocks_is_made_not_to,
    test_another_version_of_the_protocol_is_refused, test_a_hello_that_is_refused_is_no_session,
    test_a_daemon_that_closes_at_once_is_no_session,
    test_after_a_close_instead_of_a_reply_another_daemon_is_awaited,
    test_after_a_close_inside_a_reply_another_daemon_is_awaited,
    test_a_call_after_the_daemon_closed_fails_without_a_signal,
    test_what_the_daemon_said_before_it_closed_is_reported, test_a_reply_may_come_byte_by_byte,
    test_a_notification_that_is_unknown_is_passed_over, test_a_field_that_is_unknown_is_passed_over)
