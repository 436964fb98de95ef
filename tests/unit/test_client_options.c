/* SPDX-License-Identifier: MIT */
/* What a pool is asked to be: how the options travel, and which can't. */
#include <fastalloc/admin.h>

#include <string.h>

#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

static const char content[] = "begin";

/* Each field has a value of its own. */
static fastalloc_open_options_t all_options(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = PEER_POOL_OBJECT;
    options.alignment = 16;
    options.type = "particle";
    options.mode = 0640;
    options.gid = 21;
    options.owner_frees = true;
    options.capacity = 2;
    options.capacity_max = 3;
    options.growth = "linear:1";
    options.grow_ahead = 4;
    options.reserve_critical = 5;
    options.reserve_normal = 6;
    options.session_slots = 7;
    options.user_slots = 8;
    options.zero = FASTALLOC_ZERO_ON_FREE;
    options.template_bytes = content;
    options.template_size = sizeof(content);
    options.watermark = "80%";
    options.hold_limit = 9;
    options.trim_after = 10;
    options.prefault = true;
    options.lock = true;
    options.huge = true;
    return options;
}

/* Of a request to open or to create. */
#define REQUIRE_ALL(request)                                                                       \
    do {                                                                                           \
        peer_require(strcmp((request)->name, "pool") == 0);                                        \
        peer_require((request)->object_size == PEER_POOL_OBJECT && (request)->alignment == 16);    \
        peer_require(strcmp((request)->type, "particle") == 0);                                    \
        peer_require((request)->mode == 0640 && (request)->gid == 21 && (request)->owner_frees);   \
        peer_require((request)->capacity == 2 && (request)->capacity_max == 3);                    \
        peer_require(strcmp((request)->growth, "linear:1") == 0 && (request)->grow_ahead == 4);    \
        peer_require((request)->reserve_critical == 5 && (request)->reserve_normal == 6);          \
        peer_require((request)->session_slots == 7 && (request)->user_slots == 8);                 \
        peer_require((request)->zero == 2);                                                        \
        peer_require((request)->template.size == sizeof(content) &&                                \
                     memcmp((request)->template.data, content, sizeof(content)) == 0);             \
        peer_require(strcmp((request)->watermark, "80%") == 0);                                    \
        peer_require((request)->hold_limit == 9 && (request)->trim_after == 10);                   \
        peer_require((request)->prefault && (request)->lock && (request)->huge);                   \
    } while (0)

static void serve_open(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_require(pool.request.create && pool.request.map && pool.request.write);
    REQUIRE_ALL(&pool.request);
    peer_pool_reply(&pool, peer);
}

START_TEST(test_an_open_asks_for_every_option)
{
    struct peer_client client;
    fastalloc_open_options_t options = all_options();
    peer_client_connect(&client, serve_open);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", &options, &client.pool, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static void serve_create(struct peer *peer)
{
    struct pool_create_request request;
    const struct pool_create_reply reply = {.pool = 1};
    peer_greet(peer);
    peer_receive(peer, METHOD_POOL_CREATE, &request);
    REQUIRE_ALL(&request);
    peer_reply(peer, METHOD_POOL_CREATE, &reply);
}

START_TEST(test_a_create_asks_for_every_option)
{
    struct peer_client client;
    fastalloc_open_options_t options = all_options();
    peer_client_connect(&client, serve_create);
    ck_assert_int_eq(fastalloc_pool_create(client.connection, "pool", &options, NULL), 0);
    peer_client_end(&client);
}
END_TEST

/* The name, `write` and `map` are all there is. */
static void serve_plain(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_require(pool.request.write && pool.request.map && !pool.request.create);
    peer_require(peer->request.params->via.map.size == 3);
    peer_pool_reply(&pool, peer);
}

START_TEST(test_without_options_nothing_is_asked_for)
{
    struct peer_client client;
    peer_client_open(&client, serve_plain);
    peer_client_end(&client);
}
END_TEST

static void only_greet(struct peer *peer)
{
    peer_greet(peer);
}

/* Neither is sent. */
static void expect_refused(const fastalloc_open_options_t *options, const char *field,
                           const char *reason)
{
    struct peer_client client;
    fastalloc_error_t *error = &client.error;
    peer_client_connect(&client, only_greet);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", options, &client.pool, error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, field);
    ck_assert_msg(strstr(error->message, reason), "'%s' doesn't say '%s'", error->message, reason);
    client.error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_pool_create(client.connection, "pool", options, error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, field);
    peer_client_end(&client);
}

#define REFUSED(test, statement, field, reason)                                                    \
    START_TEST(test)                                                                               \
    {                                                                                              \
        fastalloc_open_options_t options = all_options();                                          \
        statement;                                                                                 \
        expect_refused(&options, field, reason);                                                   \
    }                                                                                              \
    END_TEST

#define LONG_TEXT                                                                                  \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"  \
    "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"  \
    "2345678901"

REFUSED(test_a_type_that_is_too_long_is_refused, options.type = LONG_TEXT, "type", "63 bytes")
REFUSED(test_a_growth_that_is_too_long_is_refused, options.growth = LONG_TEXT, "growth",
        "191 bytes")
REFUSED(test_a_watermark_that_is_too_long_is_refused, options.watermark = "1234567890123456",
        "watermark", "15 bytes")
REFUSED(test_an_access_that_isnt_one_is_refused, options.access = 2, "access", "FASTALLOC_READ")
REFUSED(test_a_zero_above_the_last_is_refused, options.zero = 3, "zero", "FASTALLOC_ZERO_NEVER")
REFUSED(test_a_zero_below_the_first_is_refused, options.zero = -1, "zero", "FASTALLOC_ZERO_NEVER")
REFUSED(test_a_mode_of_more_than_permissions_is_refused, options.mode = 04755, "mode", "0777")
REFUSED(test_a_hold_limit_beyond_time_is_refused, options.hold_limit = UINT64_MAX, "hold_limit",
        "hold_limit")
REFUSED(test_a_trim_beyond_time_is_refused, options.trim_after = UINT64_MAX, "trim_after",
        "trim_after")
REFUSED(test_a_template_without_bytes_is_refused, options.template_bytes = NULL, "template_bytes",
        "template_size is 6")
REFUSED(test_a_template_that_is_too_long_is_refused, options.template_size = 32769, "template_size",
        "32768")
REFUSED(test_options_without_their_size_are_refused, options.size = 0, "size",
        "FASTALLOC_OPEN_OPTIONS_INIT")

/* Those of a program that was built before there was more. */
static void serve_old(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_require(pool.request.create && pool.request.object_size == PEER_POOL_OBJECT);
    peer_require(pool.request.type[0] == '\0' && !pool.request.huge);
    peer_pool_reply(&pool, peer);
}

START_TEST(test_options_of_a_shorter_struct_go_as_far_as_they_reach)
{
    struct peer_client client;
    fastalloc_open_options_t options = all_options();
    options.size = offsetof(fastalloc_open_options_t, alignment);
    peer_client_connect(&client, serve_old);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", &options, &client.pool, NULL), 0);
    peer_client_end(&client);
}
END_TEST

SUITE_MAIN("client_options", test_an_open_asks_for_every_option,
           test_a_create_asks_for_every_option, test_without_options_nothing_is_asked_for,
           test_a_type_that_is_too_long_is_refused, test_a_growth_that_is_too_long_is_refused,
           test_a_watermark_that_is_too_long_is_refused, test_an_access_that_isnt_one_is_refused,
           test_a_zero_above_the_last_is_refused, test_a_zero_below_the_first_is_refused,
           test_a_mode_of_more_than_permissions_is_refused,
           test_a_hold_limit_beyond_time_is_refused, test_a_trim_beyond_time_is_refused,
           test_a_template_without_bytes_is_refused, test_a_template_that_is_too_long_is_refused,
           test_options_without_their_size_are_refused,
           test_options_of_a_shorter_struct_go_as_far_as_they_reach)
