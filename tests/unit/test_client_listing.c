/* SPDX-License-Identifier: MIT */
/* Lists of pools and sessions that come in pages. */
#include <fastalloc/admin.h>

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

/* ---- Pages of a scripted daemon -------------------------------------------------------------- */

/* Answers with pools of the ids from first to last. */
static void send_pools(struct peer *peer, uint32_t first, uint32_t last, bool more)
{
    size_t count = last - first + 1;
    struct pool_info *pools = calloc(count, sizeof(*pools));
    struct pool_list_reply reply = {.pools = {pools, count}, .more = more};
    if (!pools)
        abort();
    for (size_t i = 0; i < count; i++) {
        pools[i].pool = first + (uint32_t)i;
        pools[i].capacity = 10;
        snprintf(pools[i].name, sizeof(pools[i].name), "pool-%u", pools[i].pool);
    }
    peer_reply(peer, METHOD_POOL_LIST, &reply);
    free(pools);
}

static void expect_request(struct peer *peer, uint32_t after)
{
    struct pool_list_request request;
    peer_receive(peer, METHOD_POOL_LIST, &request);
    peer_require(request.after == after && request.name[0] == '\0');
}

static void serve_three_pages(struct peer *peer)
{
    peer_greet(peer);
    expect_request(peer, 0);
    send_pools(peer, 1, PROTOCOL_LIST_MAX, true);
    expect_request(peer, PROTOCOL_LIST_MAX);
    send_pools(peer, 200, 200, true);
    expect_request(peer, 200);
    send_pools(peer, 201, 250, false);
}

static int count_pool(const fastalloc_pool_info_t *info, void *context)
{
    unsigned *count = context;
    char name[32];
    snprintf(name, sizeof(name), "pool-%u", info->id);
    ck_assert_str_eq(info->name, name);
    ck_assert_uint_eq(info->capacity, 10);
    ck_assert_uint_eq(info->size, sizeof(*info));
    ++*count;
    return 0;
}

START_TEST(test_all_pages_are_visited)
{
    struct test_peer test;
    unsigned count = 0;
    test_peer_start(&test, serve_three_pages);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_list(connection, count_pool, &count, NULL), 0);
    ck_assert_uint_eq(count, PROTOCOL_LIST_MAX + 1 + 50);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_one_page(struct peer *peer)
{
    peer_greet(peer);
    expect_request(peer, 0);
    send_pools(peer, 1, 3, true);
}

static int stop_at_two(const fastalloc_pool_info_t *info, void *context)
{
    return info->id == 2 ? 77 : 0;
}

START_TEST(test_a_visitor_ends_the_walk)
{
    struct test_peer test;
    test_peer_start(&test, serve_one_page);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_list(connection, stop_at_two, NULL, NULL), 77);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_list_and_ping(struct peer *peer)
{
    const struct ping_reply reply = {.pid = 9};
    peer_greet(peer);
    expect_request(peer, 0);
    send_pools(peer, 1, 1, false);
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &reply);
}

static int ping_from_visitor(const fastalloc_pool_info_t *pool, void *connection)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    ck_assert_int_eq(fastalloc_ping(connection, &info, NULL), 0);
    return (int)info.pid;
}

START_TEST(test_a_visitor_may_use_the_connection)
{
    struct test_peer test;
    test_peer_start(&test, serve_list_and_ping);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_list(connection, ping_from_visitor, connection, NULL), 9);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_empty_list(struct peer *peer)
{
    struct pool_list_reply reply = {.more = false};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    peer_reply(peer, METHOD_POOL_LIST, &reply);
}

START_TEST(test_no_pools_are_no_error)
{
    struct test_peer test;
    unsigned count = 0;
    test_peer_start(&test, serve_empty_list);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_list(connection, count_pool, &count, NULL), 0);
    ck_assert_uint_eq(count, 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

START_TEST(test_a_pool_to_show_that_isnt_there_is_named)
{
    struct test_peer test;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, serve_empty_list);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_show(connection, "p", &info, &error),
                     FASTALLOC_ERR_NO_SUCH_POOL);
    ck_assert_str_eq(error.pool, "p");
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_sessions(struct peer *peer)
{
    const struct session_info session = {
        .session = UINT64_MAX,
        .name = "worker",
        .pid = 12,
        .uid = 34,
        .connected = true,
        .pools = 5,
        .allocated = 6,
        .waiting = 7,
    };
    struct sessions_request request;
    struct sessions_reply reply = {.sessions = {&session, 1}, .more = false};
    peer_greet(peer);
    peer_receive(peer, METHOD_SESSIONS, &request);
    peer_require(request.after == 0);
    peer_reply(peer, METHOD_SESSIONS, &reply);
}

static int keep_session(const fastalloc_session_info_t *info, void *context)
{
    memcpy(context, info, sizeof(*info));
    return 0;
}

START_TEST(test_a_session_arrives_whole)
{
    struct test_peer test;
    fastalloc_session_info_t info = {.size = 0};
    test_peer_start(&test, serve_sessions);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_session_list(connection, keep_session, &info, NULL), 0);
    ck_assert_uint_eq(info.id, UINT64_MAX);
    ck_assert_str_eq(info.name, "worker");
    ck_assert_int_eq(info.pid, 12);
    ck_assert_uint_eq(info.uid, 34);
    ck_assert(info.connected);
    ck_assert_uint_eq(info.pools, 5);
    ck_assert_uint_eq(info.allocated, 6);
    ck_assert_uint_eq(info.waiting, 7);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Lists that don't end -------------------------------------------------------------------- */

static void expect_refused(peer_script_t script, unsigned visited)
{
    struct test_peer test;
    unsigned count = 0;
    test_peer_start(&test, script);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_pool_list(connection, count_pool, &count, NULL),
                     FASTALLOC_ERR_MALFORMED);
    ck_assert_uint_eq(count, visited);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

static void serve_the_same_again(struct peer *peer)
{
    peer_greet(peer);
    for (int i = 0; i < 2; i++) {
        peer_receive(peer, METHOD_POOL_LIST, NULL);
        send_pools(peer, 1, 2, true);
    }
}

START_TEST(test_a_page_that_comes_again_is_refused)
{
    expect_refused(serve_the_same_again, 2);
}
END_TEST

static void serve_empty_page(struct peer *peer)
{
    struct pool_list_reply reply = {.more = true};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    peer_reply(peer, METHOD_POOL_LIST, &reply);
}

START_TEST(test_an_empty_page_before_others_is_refused)
{
    expect_refused(serve_empty_page, 0);
}
END_TEST

static void serve_disorder(struct peer *peer)
{
    const struct pool_info pools[] = {{.pool = 2, .name = "pool-2"}, {.pool = 1, .name = "pool-1"}};
    struct pool_list_reply reply = {.pools = {pools, 2}};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    peer_reply(peer, METHOD_POOL_LIST, &reply);
}

START_TEST(test_ids_that_dont_rise_are_refused)
{
    expect_refused(serve_disorder, 0);
}
END_TEST

static void serve_too_many(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    send_pools(peer, 1, PROTOCOL_LIST_MAX + 1, false);
}

START_TEST(test_a_page_that_is_too_long_is_refused)
{
    expect_refused(serve_too_many, 0);
}
END_TEST

static void serve_numbers(struct peer *peer)
{
    static const char reply[] = "\x94\x01\x02\xc0\x82\xa5pools\x92\x01\x02\xa4more\xc2";
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    peer_send(peer, reply, sizeof(reply) - 1);
}

START_TEST(test_elements_that_are_no_pools_are_refused)
{
    expect_refused(serve_numbers, 0);
}
END_TEST

SUITE_MAIN("client_listing", test_all_pages_are_visited, test_a_visitor_ends_the_walk,
           test_a_visitor_may_use_the_connection, test_no_pools_are_no_error,
           test_a_pool_to_show_that_isnt_there_is_named, test_a_session_arrives_whole,
           test_a_page_that_comes_again_is_refused, test_an_empty_page_before_others_is_refused,
           test_ids_that_dont_rise_are_refused, test_a_page_that_is_too_long_is_refused,
           test_elements_that_are_no_pools_are_refused)
