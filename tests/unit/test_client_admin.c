/* SPDX-License-Identifier: MIT */
/* Looking after pools: requests, replies, and lists of holders and events. */
#include <fastalloc/admin.h>

#include <string.h>

#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

/* ---- Pools ----------------------------------------------------------------------------------- */

static void serve_grow_and_trim(struct peer *peer)
{
    struct pool_grow_request grow;
    struct pool_trim_request trim;
    const struct pool_grow_reply grown = {.capacity = 20, .capacity_max = 30};
    const struct pool_trim_reply trimmed = {.bytes = 4096};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_GROW, &grow);
    peer_require(strcmp(grow.name, "pool") == 0 && grow.capacity == 20 && grow.capacity_max == 30);
    peer_reply(peer, METHOD_POOL_GROW, &grown);
    for (int i = 0; i < 2; i++) {
        peer_receive(peer, METHOD_POOL_TRIM, &trim);
        peer_require(strcmp(trim.name, "pool") == 0);
        peer_reply(peer, METHOD_POOL_TRIM, &trimmed);
    }
}

START_TEST(test_growing_and_trimming_are_asked_for)
{
    struct peer_client client;
    uint64_t bytes = 0;
    peer_client_connect(&client, serve_grow_and_trim);
    ck_assert_int_eq(fastalloc_pool_grow(client.connection, "pool", 20, 30, NULL), 0);
    ck_assert_int_eq(fastalloc_pool_trim(client.connection, "pool", &bytes, NULL), 0);
    ck_assert_uint_eq(bytes, 4096);
    ck_assert_int_eq(fastalloc_pool_trim(client.connection, "pool", NULL, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static void serve_pool(struct peer *peer)
{
    const struct pool_info info = {
        .pool = 1,
        .name = "pool",
        .type = "particle",
        .object_size = 2,
        .alignment = 4,
        .stride = 5,
        .capacity = 6,
        .capacity_max = 7,
        .reserve = 8,
        .growth = "linear:9",
        .grow_ahead = 10,
        .owner_frees = true,
        .reserve_critical = 11,
        .reserve_normal = 12,
        .session_slots = 13,
        .user_slots = 14,
        .zero = FASTALLOC_ZERO_ON_FREE,
        .template_size = 15,
        .watermark = "16%",
        .hold_limit = 17,
        .trim_after = 18,
        .prefault = true,
        .lock = true,
        .huge = true,
        .allocated = 19,
        .members = 20,
        .uid = 21,
        .gid = 22,
        .mode = 0640,
        .memory = 23,
    };
    const struct pool_list_reply reply = {.pools = {&info, 1}};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_LIST, NULL);
    peer_reply(peer, METHOD_POOL_LIST, &reply);
}

START_TEST(test_a_pool_arrives_whole)
{
    struct peer_client client;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    peer_client_connect(&client, serve_pool);
    ck_assert_int_eq(fastalloc_pool_show(client.connection, "pool", &info, NULL), 0);
    ck_assert(info.id == 1 && info.object_size == 2 && info.alignment == 4 && info.stride == 5);
    ck_assert(info.capacity == 6 && info.capacity_max == 7 && info.reserve == 8);
    ck_assert_str_eq(info.growth, "linear:9");
    ck_assert(info.grow_ahead == 10 && info.owner_frees && info.reserve_critical == 11);
    ck_assert(info.reserve_normal == 12 && info.session_slots == 13 && info.user_slots == 14);
    ck_assert(info.zero == FASTALLOC_ZERO_ON_FREE && info.template_size == 15);
    ck_assert_str_eq(info.watermark, "16%");
    ck_assert(info.hold_limit == 17 && info.trim_after == 18);
    ck_assert(info.prefault && info.lock && info.huge);
    ck_assert(info.allocated == 19 && info.members == 20 && info.uid == 21 && info.gid == 22);
    ck_assert(info.mode == 0640 && info.memory == 23);
    ck_assert_str_eq(info.name, "pool");
    ck_assert_str_eq(info.type, "particle");
    peer_client_end(&client);
}
END_TEST

static void only_greet(struct peer *peer)
{
    peer_greet(peer);
}

static int never_visit_holder(const fastalloc_holder_info_t *info, void *context)
{
    ck_abort_msg("a holder was visited");
    return 0;
}

static int never_visit_event(const fastalloc_event_t *event, void *context)
{
    ck_abort_msg("an event was visited");
    return 0;
}

START_TEST(test_a_name_that_is_too_long_isnt_sent)
{
    struct peer_client client;
    char name[FASTALLOC_NAME_MAX + 2];
    uint64_t number = 0;
    memset(name, 'n', sizeof(name));
    name[FASTALLOC_NAME_MAX + 1] = '\0';
    peer_client_connect(&client, only_greet);
    fastalloc_connection_t *connection = client.connection;
    ck_assert_int_eq(fastalloc_pool_grow(connection, name, 1, 1, &client.error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(client.error.field, "name");
    ck_assert_int_eq(fastalloc_pool_trim(connection, name, NULL, NULL),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_int_eq(fastalloc_pool_reset_stats(connection, name, NULL),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_int_eq(fastalloc_holder_list(connection, name, never_visit_holder, NULL, NULL),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_int_eq(
        fastalloc_events(connection, name, 0, &number, NULL, never_visit_event, NULL, NULL),
        FASTALLOC_ERR_INVALID_ARGUMENT);
    peer_client_end(&client);
}
END_TEST

/* ---- Holders --------------------------------------------------------------------------------- */

static void serve_holders(struct peer *peer)
{
    const struct holder_info holders[] = {
        {.session = 9, .name = "a", .pid = 2, .uid = 3, .connected = true, .slots = 4, .oldest = 5},
        {.session = 0, .slots = 1},
        {.session = 8, .slots = 1},
    };
    struct holders_request request;
    const struct holders_reply reply = {.holders = {holders, 3}};
    peer_greet(peer);
    peer_receive(peer, METHOD_HOLDERS, &request);
    peer_require(strcmp(request.name, "pool") == 0);
    peer_reply(peer, METHOD_HOLDERS, &reply);
}

static int keep_holder(const fastalloc_holder_info_t *info, void *context)
{
    fastalloc_holder_info_t **next = context;
    *(*next)++ = *info;
    return info->session == 0 ? 77 : 0;
}

START_TEST(test_holders_come_in_the_daemons_order_until_the_visitor_has_enough)
{
    struct peer_client client;
    fastalloc_holder_info_t infos[3], *next = infos;
    peer_client_connect(&client, serve_holders);
    ck_assert_int_eq(fastalloc_holder_list(client.connection, "pool", keep_holder, &next, NULL),
                     77);
    ck_assert_ptr_eq(next, infos + 2);
    ck_assert(infos[0].size == sizeof(infos[0]) && infos[0].session == 9 && infos[0].pid == 2);
    ck_assert(infos[0].uid == 3 && infos[0].connected && infos[0].slots == 4);
    ck_assert_uint_eq(infos[0].oldest, 5);
    ck_assert_str_eq(infos[0].name, "a");
    ck_assert(infos[1].session == 0 && !infos[1].connected);
    peer_client_end(&client);
}
END_TEST

static void serve_no_holders(struct peer *peer)
{
    static const char reply[] = "\x94\x01\x02\xc0\x81\xa7holders\x91\x01";
    peer_greet(peer);
    peer_receive(peer, METHOD_HOLDERS, NULL);
    peer_send(peer, reply, sizeof(reply) - 1);
}

START_TEST(test_elements_that_are_no_holders_are_refused)
{
    struct peer_client client;
    peer_client_connect(&client, serve_no_holders);
    ck_assert_int_eq(
        fastalloc_holder_list(client.connection, "pool", never_visit_holder, NULL, NULL),
        FASTALLOC_ERR_MALFORMED);
    peer_client_end(&client);
}
END_TEST

/* ---- Findings -------------------------------------------------------------------------------- */

static void serve_findings(struct peer *peer)
{
    static const struct check_finding findings[] = {
        {.violation = true, .text = "one"}, {.text = "two"}, {.text = "three"}};
    const struct check_reply reply = {.pools = 1,
                                      .sessions = 2,
                                      .slots = 3,
                                      .violations = 4,
                                      .notes = 5,
                                      .findings = {findings, 3}};
    peer_greet(peer);
    for (int i = 0; i < 2; i++) {
        peer_receive(peer, METHOD_CHECK, NULL);
        peer_reply(peer, METHOD_CHECK, &reply);
    }
}

static int keep_finding(const fastalloc_finding_t *finding, void *context)
{
    fastalloc_finding_t **next = context;
    *(*next)++ = *finding;
    return strcmp(finding->text, "two") == 0 ? 77 : 0;
}

START_TEST(test_findings_come_until_the_visitor_has_enough)
{
    struct peer_client client;
    fastalloc_finding_t findings[3], *next = findings;
    fastalloc_check_info_t check = FASTALLOC_CHECK_INFO_INIT;
    peer_client_connect(&client, serve_findings);
    ck_assert_int_eq(fastalloc_check(client.connection, &check, keep_finding, &next, NULL), 77);
    ck_assert_ptr_eq(next, findings + 2);
    ck_assert(check.size == sizeof(check) && check.pools == 1 && check.sessions == 2);
    ck_assert(check.slots == 3 && check.violations == 4 && check.notes == 5);
    ck_assert(findings[0].size == sizeof(findings[0]) && findings[0].violation);
    ck_assert_str_eq(findings[0].text, "one");
    ck_assert(!findings[1].violation);
    ck_assert_int_eq(fastalloc_check(client.connection, NULL, NULL, NULL, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static void serve_no_findings(struct peer *peer)
{
    static const char reply[] =
        "\x94\x01\x02\xc0\x86\xa5pools\x01\xa8sessions\x01\xa5slots\x01\xaaviolations\x01"
        "\xa5notes\x01\xa8"
        "findings\x91\x01";
    peer_greet(peer);
    peer_receive(peer, METHOD_CHECK, NULL);
    peer_send(peer, reply, sizeof(reply) - 1);
}

START_TEST(test_elements_that_are_no_findings_are_refused)
{
    struct peer_client client;
    fastalloc_finding_t findings[1], *next = findings;
    peer_client_connect(&client, serve_no_findings);
    ck_assert_int_eq(fastalloc_check(client.connection, NULL, keep_finding, &next, NULL),
                     FASTALLOC_ERR_MALFORMED);
    ck_assert_ptr_eq(next, findings);
    peer_client_end(&client);
}
END_TEST

/* ---- Events ---------------------------------------------------------------------------------- */

static void expect_request(struct peer *peer, uint64_t after, int64_t timeout)
{
    struct events_request request;
    peer_receive(peer, METHOD_EVENTS, &request);
    peer_require(request.after == after && request.timeout == timeout);
    peer_require(strcmp(request.name, "pool") == 0);
}

static void send_events(struct peer *peer, uint64_t first, uint64_t last, uint64_t next,
                        uint64_t lost)
{
    struct event_info events[PROTOCOL_LIST_MAX];
    const struct events_reply reply = {
        .events = {events, last - first + 1}, .next = next, .lost = lost};
    peer_require(reply.events.count <= PROTOCOL_LIST_MAX);
    for (uint64_t i = 0; i < reply.events.count; i++)
        events[i] = (struct event_info){
            .number = first + i,
            .kind = "grown",
            .time = 2,
            .pool = 3,
            .name = "pool",
            .capacity = 4,
            .allocated = 5,
            .count = 6,
            .session = 7,
        };
    peer_reply(peer, METHOD_EVENTS, &reply);
}

struct walk {
    uint64_t last;
    uint64_t stop_at;
};

static int follow(const fastalloc_event_t *event, void *context)
{
    struct walk *walk = context;
    ck_assert(event->size == sizeof(*event) && event->time == 2 && event->pool == 3);
    ck_assert(event->capacity == 4 && event->allocated == 5 && event->count == 6);
    ck_assert_uint_eq(event->session, 7);
    ck_assert_str_eq(event->kind, "grown");
    ck_assert_str_eq(event->name, "pool");
    ck_assert_uint_gt(event->number, walk->last);
    walk->last = event->number;
    return event->number == walk->stop_at ? 77 : 0;
}

/* The first request alone waits. A page that isn't full is the last. */
static void serve_pages(struct peer *peer)
{
    peer_greet(peer);
    expect_request(peer, 10, 5);
    send_events(peer, 13, 12 + PROTOCOL_LIST_MAX, 12 + PROTOCOL_LIST_MAX, 2);
    expect_request(peer, 12 + PROTOCOL_LIST_MAX, 0);
    send_events(peer, 90, 92, 95, 1);
}

START_TEST(test_all_events_are_visited_and_the_next_call_begins_behind_them)
{
    struct peer_client client;
    struct walk walk = {0, 0};
    uint64_t after = 10, lost = 0;
    peer_client_connect(&client, serve_pages);
    ck_assert_int_eq(
        fastalloc_events(client.connection, "pool", 5, &after, &lost, follow, &walk, NULL), 0);
    ck_assert_uint_eq(walk.last, 92);
    ck_assert_uint_eq(after, 95);
    ck_assert_uint_eq(lost, 3);
    peer_client_end(&client);
}
END_TEST

static void serve_page(struct peer *peer)
{
    peer_greet(peer);
    expect_request(peer, 0, FASTALLOC_FOREVER);
    send_events(peer, 1, PROTOCOL_LIST_MAX, PROTOCOL_LIST_MAX, 0);
}

START_TEST(test_a_visitor_that_has_enough_goes_on_behind_what_it_saw)
{
    struct peer_client client;
    struct walk walk = {0, 2};
    uint64_t after = 0;
    peer_client_connect(&client, serve_page);
    ck_assert_int_eq(fastalloc_events(client.connection, "pool", FASTALLOC_FOREVER, &after, NULL,
                                      follow, &walk, NULL),
                     77);
    ck_assert_uint_eq(after, 2);
    peer_client_end(&client);
}
END_TEST

/* As after a restart of the daemon, whose numbers begin anew. */
static void serve_restarted(struct peer *peer)
{
    peer_greet(peer);
    expect_request(peer, 1000, 0);
    send_events(peer, 1, 2, 2, 0);
    expect_request(peer, 2, 0);
    send_events(peer, 1, 0, 2, 0);
}

START_TEST(test_numbers_may_begin_anew_and_none_is_no_error)
{
    struct peer_client client;
    struct walk walk = {0, 0};
    uint64_t after = 1000;
    peer_client_connect(&client, serve_restarted);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            fastalloc_events(client.connection, "pool", 0, &after, NULL, follow, &walk, NULL), 0);
    ck_assert_uint_eq(after, 2);
    peer_client_end(&client);
}
END_TEST

static void serve_error_after_page(struct peer *peer)
{
    struct error error;
    serve_page(peer);
    expect_request(peer, PROTOCOL_LIST_MAX, 0);
    error_set(&error, ERROR_NO_SUCH_POOL, "gone");
    peer_reply_error(peer, &error);
}

START_TEST(test_what_was_visited_before_a_failure_isnt_again)
{
    struct peer_client client;
    struct walk walk = {0, 0};
    uint64_t after = 0;
    peer_client_connect(&client, serve_error_after_page);
    ck_assert_int_eq(fastalloc_events(client.connection, "pool", FASTALLOC_FOREVER, &after, NULL,
                                      follow, &walk, NULL),
                     FASTALLOC_ERR_NO_SUCH_POOL);
    ck_assert_uint_eq(after, PROTOCOL_LIST_MAX);
    peer_client_end(&client);
}
END_TEST

/* Nothing is visited, and the number stays. */
static void expect_refused(peer_script_t script)
{
    struct peer_client client;
    uint64_t after = 3;
    peer_client_connect(&client, script);
    ck_assert_int_eq(
        fastalloc_events(client.connection, "pool", 0, &after, NULL, never_visit_event, NULL, NULL),
        FASTALLOC_ERR_MALFORMED);
    ck_assert_uint_eq(after, 3);
    peer_client_end(&client);
}

static void serve_disorder(struct peer *peer)
{
    const struct event_info events[] = {{.number = 5}, {.number = 4}};
    const struct events_reply reply = {.events = {events, 2}, .next = 5};
    peer_greet(peer);
    peer_receive(peer, METHOD_EVENTS, NULL);
    peer_reply(peer, METHOD_EVENTS, &reply);
}

START_TEST(test_numbers_that_dont_rise_are_refused)
{
    expect_refused(serve_disorder);
}
END_TEST

static void serve_standstill(struct peer *peer)
{
    peer_greet(peer);
    peer_receive(peer, METHOD_EVENTS, NULL);
    send_events(peer, 4, 5, 4, 0);
}

START_TEST(test_a_next_number_below_the_last_is_refused)
{
    expect_refused(serve_standstill);
}
END_TEST

SUITE_MAIN("client_admin", test_growing_and_trimming_are_asked_for, test_a_pool_arrives_whole,
           test_a_name_that_is_too_long_isnt_sent,
           test_holders_come_in_the_daemons_order_until_the_visitor_has_enough,
           test_elements_that_are_no_holders_are_refused,
           test_findings_come_until_the_visitor_has_enough,
           test_elements_that_are_no_findings_are_refused,
           test_all_events_are_visited_and_the_next_call_begins_behind_them,
           test_a_visitor_that_has_enough_goes_on_behind_what_it_saw,
           test_numbers_may_begin_anew_and_none_is_no_error,
           test_what_was_visited_before_a_failure_isnt_again,
           test_numbers_that_dont_rise_are_refused, test_a_next_number_below_the_last_is_refused)
