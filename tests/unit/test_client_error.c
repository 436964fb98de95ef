/* SPDX-License-Identifier: MIT */
/* How errors get from the daemon to the caller. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/peer.h"
#include "tests/unit/suite.h"

static fastalloc_connection_t *connect_to(const struct test_peer *test)
{
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = test->socket;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, NULL), 0);
    return connection;
}

static int ping(fastalloc_connection_t *connection, fastalloc_error_t *error)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return fastalloc_ping(connection, &info, error);
}

/* ---- The table ------------------------------------------------------------------------------- */

#define WIRE_ENTRY(NAME, number, fields) {"FASTALLOC_ERR_" #NAME, number, FASTALLOC_ERR_##NAME},
static const struct {
    const char *name;
    int wire;
    int code;
} wire_errors[] = {PROTOCOL_ERRORS(WIRE_ENTRY)};

#define WIRE_ERRORS (sizeof(wire_errors) / sizeof(wire_errors[0]))

/* A daemon that ends gives no answer with that: the call waits for the next one. */
static bool is_answer(size_t i)
{
    return wire_errors[i].wire != ERROR_SHUTTING_DOWN;
}

/* Answers as many pings with each error of the list, in turn. */
static void answer_each_error(struct peer *peer)
{
    peer_greet(peer);
    for (size_t i = 0; i < WIRE_ERRORS; i++) {
        struct error error;
        if (!is_answer(i))
            continue;
        error_set(&error, (enum error_code)wire_errors[i].wire, "error %d", wire_errors[i].wire);
        peer_receive(peer, METHOD_PING, NULL);
        peer_reply_error(peer, &error);
    }
}

START_TEST(test_each_number_on_the_wire_becomes_its_public_code)
{
    struct test_peer test;
    test_peer_start(&test, answer_each_error);
    fastalloc_connection_t *connection = connect_to(&test);
    for (size_t i = 0; i < WIRE_ERRORS; i++) {
        char line[32];
        fastalloc_error_t error = FASTALLOC_ERROR_INIT;
        if (!is_answer(i))
            continue;
        snprintf(line, sizeof(line), "error %d", wire_errors[i].wire);
        ck_assert_int_eq(ping(connection, &error), -10000 - wire_errors[i].wire);
        ck_assert_int_eq(error.code, -10000 - wire_errors[i].wire);
        ck_assert_str_eq(error.message, line);
    }
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

START_TEST(test_each_public_code_has_its_name_and_number)
{
    for (size_t i = 0; i < WIRE_ERRORS; i++) {
        ck_assert_int_eq(wire_errors[i].code, -10000 - wire_errors[i].wire);
        ck_assert_str_eq(fastalloc_result_name(wire_errors[i].code), wire_errors[i].name);
    }
    ck_assert_str_eq(fastalloc_result_name(FASTALLOC_ERR_UNREACHABLE), "FASTALLOC_ERR_UNREACHABLE");
    ck_assert_str_eq(fastalloc_result_name(FASTALLOC_ERR_DISCONNECTED),
                     "FASTALLOC_ERR_DISCONNECTED");
    ck_assert_str_eq(fastalloc_result_name(FASTALLOC_ERR_NO_REPLY), "FASTALLOC_ERR_NO_REPLY");
    ck_assert_str_eq(fastalloc_result_name(FASTALLOC_ERR_FORKED), "FASTALLOC_ERR_FORKED");
    ck_assert_str_eq(fastalloc_result_name(FASTALLOC_ERR_SOCKET_PATH), "FASTALLOC_ERR_SOCKET_PATH");
}
END_TEST

START_TEST(test_no_code_between_those_has_a_name)
{
    size_t named = 0;
    for (int code = -10000; code > -11000; code--)
        named += strcmp(fastalloc_result_name(code), "unknown") != 0;
    ck_assert_uint_eq(named, WIRE_ERRORS + 5);
}
END_TEST

START_TEST(test_errnos_and_success_have_names)
{
    ck_assert_str_eq(fastalloc_result_name(0), "OK");
    ck_assert_str_eq(fastalloc_result_name(-ENOMEM), "ENOMEM");
    ck_assert_str_eq(fastalloc_result_name(-4095), "unknown");
    ck_assert_str_eq(fastalloc_result_name(1), "unknown");
    ck_assert_str_eq(fastalloc_result_name(INT32_MIN), "unknown");
}
END_TEST

/* ---- Fields ---------------------------------------------------------------------------------- */

static void answer_exhausted(struct peer *peer)
{
    struct error error;
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    error_set(&error, ERROR_POOL_EXHAUSTED, "pool 'p' is exhausted");
    memcpy(error.pool, "p", 2);
    error.capacity = 10;
    error.allocated = 9;
    error.requested = 2;
    error.waiters = UINT64_MAX;
    peer_reply_error(peer, &error);
}

START_TEST(test_the_fields_of_an_error_arrive)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    error.max = 77;
    test_peer_start(&test, answer_exhausted);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_str_eq(error.pool, "p");
    ck_assert_uint_eq(error.capacity, 10);
    ck_assert_uint_eq(error.allocated, 9);
    ck_assert_uint_eq(error.requested, 2);
    ck_assert_uint_eq(error.waiters, UINT64_MAX);
    ck_assert_uint_eq(error.max, 0);
    ck_assert_uint_eq(error.size, sizeof(error));
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void answer_type_mismatch(struct peer *peer)
{
    struct error error;
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    error_set(&error, ERROR_TYPE_MISMATCH, "other type");
    memcpy(error.pool, "p", 2);
    memset(error.requested_type, 'r', PROTOCOL_NAME_MAX);
    memset(error.actual_type, 'a', PROTOCOL_NAME_MAX);
    peer_reply_error(peer, &error);
}

START_TEST(test_names_of_full_length_arrive)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, answer_type_mismatch);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_TYPE_MISMATCH);
    ck_assert_uint_eq(strlen(error.requested_type), FASTALLOC_NAME_MAX);
    ck_assert_uint_eq(strlen(error.actual_type), FASTALLOC_NAME_MAX);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void answer_unknown_error(struct peer *peer)
{
    static const char reply[] = "\x94\x01\x02\x84\xa4"
                                "code\xcd\x03\xe7\xa4name\xa3NEW\xa7message\xa4oops\xa6"
                                "detail\x81\xa3new\x01\xc0";
    peer_greet(peer);
    peer_receive(peer, METHOD_PING, NULL);
    peer_send(peer, reply, sizeof(reply) - 1);
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &(struct ping_reply){.pid = 1});
}

START_TEST(test_an_error_of_a_newer_daemon_is_the_systems_and_breaks_nothing)
{
    struct test_peer test;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, answer_unknown_error);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(ping(connection, &error), FASTALLOC_ERR_SYSTEM);
    ck_assert_str_eq(error.message, "oops");
    ck_assert_int_eq(ping(connection, &error), 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- The caller's struct --------------------------------------------------------------------- */

/* Without a daemon: the path is too long. */
static int fail_to_connect(fastalloc_error_t *error)
{
    char path[200];
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    options.socket = path;
    return fastalloc_connect(&options, &connection, error);
}

START_TEST(test_nobody_has_to_ask_for_the_error)
{
    ck_assert_int_eq(fail_to_connect(NULL), FASTALLOC_ERR_SOCKET_PATH);
}
END_TEST

START_TEST(test_an_error_of_an_older_program_is_filled_as_far_as_it_reaches)
{
    fastalloc_error_t error;
    memset(&error, 0x55, sizeof(error));
    error.size = offsetof(fastalloc_error_t, actual);
    ck_assert_int_eq(fail_to_connect(&error), FASTALLOC_ERR_SOCKET_PATH);
    ck_assert_int_eq(error.code, FASTALLOC_ERR_SOCKET_PATH);
    ck_assert_uint_eq(error.requested, 0);
    ck_assert_uint_eq(error.actual, UINT64_C(0x5555555555555555));
    ck_assert_int_eq(error.message[0], 0x55);
    ck_assert_uint_eq(error.size, offsetof(fastalloc_error_t, actual));
}
END_TEST

START_TEST(test_an_error_of_a_newer_program_has_zeros_at_its_end)
{
    struct {
        fastalloc_error_t error;
        uint64_t newer;
    } large;
    memset(&large, 0x55, sizeof(large));
    large.error.size = sizeof(large);
    ck_assert_int_eq(fail_to_connect(&large.error), FASTALLOC_ERR_SOCKET_PATH);
    ck_assert_uint_eq(large.error.max, 107);
    ck_assert_uint_eq(large.newer, 0);
    ck_assert_uint_eq(large.error.size, sizeof(large));
}
END_TEST

START_TEST(test_an_error_without_size_is_left_alone)
{
    fastalloc_error_t error, before;
    memset(&error, 0x55, sizeof(error));
    error.size = 0;
    before = error;
    ck_assert_int_eq(fail_to_connect(&error), FASTALLOC_ERR_SOCKET_PATH);
    ck_assert_mem_eq(&error, &before, sizeof(error));
}
END_TEST

START_TEST(test_options_without_size_are_refused)
{
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = {.size = 0};
    ck_assert_int_eq(fastalloc_connect(&options, &connection, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "size");
}
END_TEST

SUITE_MAIN("client_error", test_each_number_on_the_wire_becomes_its_public_code,
           test_each_public_code_has_its_name_and_number, test_no_code_between_those_has_a_name,
           test_errnos_and_success_have_names, test_the_fields_of_an_error_arrive,
           test_names_of_full_length_arrive,
           test_an_error_of_a_newer_daemon_is_the_systems_and_breaks_nothing,
           test_nobody_has_to_ask_for_the_error,
           test_an_error_of_an_older_program_is_filled_as_far_as_it_reaches,
           test_an_error_of_a_newer_program_has_zeros_at_its_end,
           test_an_error_without_size_is_left_alone, test_options_without_size_are_refused)
