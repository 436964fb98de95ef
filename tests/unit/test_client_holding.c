/* SPDX-License-Identifier: MIT */
/* Allocating with options, cancelling, and who holds what: requests and replies. */
#include <fastalloc/fastalloc.h>

#include <string.h>

#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

#define COUNT 3

static const fastalloc_handle_t handles[COUNT] = {
    {PEER_POOL_ID, 0, 1}, {PEER_POOL_ID, 1, 2}, {PEER_POOL_ID, 2, 3}};

/* ---- Allocating ------------------------------------------------------------------------------ */

static void serve_allocation(struct peer *peer)
{
    static const uint8_t bytes[2 * HANDLE_WIRE_SIZE];
    struct allocate_request request;
    const struct allocate_reply reply = {.handles = {bytes, sizeof(bytes)}};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.pool == PEER_POOL_ID && request.count == 2 && request.timeout == 5);
    peer_require(request.priority == 2 && request.evictable && request.request == 1);
    peer_reply(peer, METHOD_ALLOCATE, &reply);
}

START_TEST(test_the_options_of_an_allocation_are_asked_for)
{
    struct peer_client client;
    fastalloc_handle_t mine[2] = {{1, 2, 3}, {1, 2, 3}};
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    options.count = 2;
    options.timeout = 5;
    options.priority = FASTALLOC_BEST_EFFORT;
    options.evictable = true;
    peer_client_open(&client, serve_allocation);
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, mine, NULL), 0);
    ck_assert(fastalloc_handle_is_none(mine[1]));
    peer_client_end(&client);
}
END_TEST

/* The pool's number and the request's are all there is. */
static void serve_two_plain_allocations(struct peer *peer)
{
    static const uint8_t bytes[HANDLE_WIRE_SIZE];
    const struct allocate_reply reply = {.handles = {bytes, sizeof(bytes)}};
    peer_greet(peer);
    peer_pool_open(peer);
    for (int i = 0; i < 2; i++) {
        peer_receive(peer, METHOD_ALLOCATE, NULL);
        peer_require(peer->request.params->via.map.size == 2);
        peer_reply(peer, METHOD_ALLOCATE, &reply);
    }
}

START_TEST(test_without_options_one_object_is_allocated_at_once)
{
    struct peer_client client;
    fastalloc_handle_t handle = {1, 2, 3};
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    peer_client_open(&client, serve_two_plain_allocations);
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, NULL, &handle, NULL), 0);
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, &handle, NULL), 0);
    ck_assert(fastalloc_handle_is_none(handle));
    peer_client_end(&client);
}
END_TEST

static void only_open(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
}

START_TEST(test_options_to_allocate_that_cant_be_are_refused)
{
    struct peer_client client;
    fastalloc_handle_t handle = {1, 2, 3};
    fastalloc_error_t *error = &client.error;
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    peer_client_open(&client, only_open);
    options.priority = 3;
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, &handle, error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "priority");
    options.priority = -1;
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, &handle, error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    options.priority = 0;
    options.count = FASTALLOC_BATCH_MAX + 1;
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, &handle, error),
                     FASTALLOC_ERR_LIMIT_EXCEEDED);
    options.size = 0;
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, &options, &handle, error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "size");
    ck_assert_uint_eq(handle.tag, 3);
    peer_client_end(&client);
}
END_TEST

static void serve_cancel(struct peer *peer)
{
    struct cancel_request request;
    const struct cancel_reply reply = {.cancelled = 7};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_CANCEL, &request);
    peer_require(request.pool == PEER_POOL_ID && request.request == 0);
    peer_reply(peer, METHOD_CANCEL, &reply);
}

START_TEST(test_a_cancel_is_for_all_requests_in_the_pool)
{
    struct peer_client client;
    peer_client_open(&client, serve_cancel);
    ck_assert_int_eq(fastalloc_cancel(client.pool, NULL), 0);
    peer_client_end(&client);
}
END_TEST

/* ---- Handles --------------------------------------------------------------------------------- */

typedef int (*operation_t)(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                           fastalloc_error_t *error);

static int release(fastalloc_pool_t *pool, const fastalloc_handle_t *three, size_t count,
                   fastalloc_error_t *error)
{
    return fastalloc_release(pool, three, count, error);
}

static int free_many(fastalloc_pool_t *pool, const fastalloc_handle_t *three, size_t count,
                     fastalloc_error_t *error)
{
    return fastalloc_free_many(pool, three, count, error);
}

static const struct {
    enum method method;
    operation_t operation;
} operations[] = {
    {METHOD_ADOPT, fastalloc_adopt},   {METHOD_DETACH, fastalloc_detach},
    {METHOD_RETAIN, fastalloc_retain}, {METHOD_RELEASE, release},
    {METHOD_FREE, free_many},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static uint32_t told; /* how many it was done to */

static void serve_operations(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    for (size_t i = 0; i < OPERATIONS; i++) {
        struct adopt_request request;
        const struct adopt_reply reply = {.adopted = told};
        uint8_t wire[COUNT * HANDLE_WIRE_SIZE];
        for (size_t j = 0; j < COUNT; j++)
            handle_to_wire(handles[j], wire + j * HANDLE_WIRE_SIZE);
        peer_receive(peer, operations[i].method, &request);
        peer_require(request.pool == PEER_POOL_ID && request.handles.size == sizeof(wire));
        peer_require(memcmp(request.handles.data, wire, sizeof(wire)) == 0);
        peer_reply(peer, operations[i].method, &reply);
    }
}

START_TEST(test_what_is_done_with_handles_is_asked_for)
{
    struct peer_client client;
    told = COUNT;
    peer_client_open(&client, serve_operations);
    for (size_t i = 0; i < OPERATIONS; i++)
        ck_assert_int_eq(operations[i].operation(client.pool, handles, COUNT, NULL), 0);
    peer_client_end(&client);
}
END_TEST

static size_t wrong; /* operation */

static void serve_wrong_count(struct peer *peer)
{
    const struct adopt_reply reply = {.adopted = COUNT - 1};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, operations[wrong].method, NULL);
    peer_reply(peer, operations[wrong].method, &reply);
}

START_TEST(test_a_reply_about_another_number_of_handles_is_refused)
{
    for (wrong = 0; wrong < OPERATIONS; wrong++) {
        struct peer_client client;
        peer_client_open(&client, serve_wrong_count);
        ck_assert_int_eq(operations[wrong].operation(client.pool, handles, COUNT, &client.error),
                         FASTALLOC_ERR_MALFORMED);
        ck_assert_ptr_nonnull(strstr(client.error.message, "number of handles"));
        peer_client_end(&client);
    }
}
END_TEST

START_TEST(test_no_handles_and_too_many_are_refused)
{
    static fastalloc_handle_t many[FASTALLOC_BATCH_MAX + 1];
    struct peer_client client;
    peer_client_open(&client, only_open);
    for (size_t i = 0; i < OPERATIONS; i++) {
        ck_assert_int_eq(operations[i].operation(client.pool, many, 0, &client.error),
                         FASTALLOC_ERR_INVALID_ARGUMENT);
        ck_assert_str_eq(client.error.field, "count");
        ck_assert_int_eq(
            operations[i].operation(client.pool, many, FASTALLOC_BATCH_MAX + 1, &client.error),
            FASTALLOC_ERR_LIMIT_EXCEEDED);
        ck_assert_uint_eq(client.error.max, FASTALLOC_BATCH_MAX);
    }
    peer_client_end(&client);
}
END_TEST

START_TEST(test_a_reader_asks_for_none_of_it)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    peer_client_connect(&client, only_open);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", &options, &client.pool, NULL), 0);
    for (size_t i = 0; i < OPERATIONS; i++)
        ck_assert_int_eq(operations[i].operation(client.pool, handles, COUNT, &client.error),
                         FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_int_eq(fastalloc_allocate_with(client.pool, NULL, &handle, &client.error),
                     FASTALLOC_ERR_NOT_A_MEMBER);
    ck_assert_str_eq(client.error.pool, "pool");
    peer_client_end(&client);
}
END_TEST

static void serve_refusal(struct peer *peer)
{
    struct error error;
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ADOPT, NULL);
    error_set(&error, ERROR_OBJECT_SHARED, "shared");
    memcpy(error.pool, "pool", sizeof("pool"));
    error.position = 2;
    peer_reply_error(peer, &error);
    peer_receive(peer, METHOD_ALLOCATE, NULL);
    error_set(&error, ERROR_MAX_CAPACITY_EXCEEDED, "full");
    memcpy(error.pool, "pool", sizeof("pool"));
    memcpy(error.holders, "all of it", sizeof("all of it"));
    error.current = 10;
    error.requested = 11;
    error.max = 12;
    error.allocated = 13;
    error.waiters = 14;
    error.reserved = 15;
    peer_reply_error(peer, &error);
}

START_TEST(test_refusals_arrive_with_their_fields)
{
    struct peer_client client;
    fastalloc_handle_t handle;
    fastalloc_error_t *error = &client.error;
    peer_client_open(&client, serve_refusal);
    ck_assert_int_eq(fastalloc_adopt(client.pool, handles, COUNT, error),
                     FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_str_eq(error->pool, "pool");
    ck_assert_uint_eq(error->position, 2);
    ck_assert_int_eq(fastalloc_try_allocate(client.pool, &handle, error),
                     FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED);
    ck_assert_str_eq(error->holders, "all of it");
    ck_assert_uint_eq(error->current, 10);
    ck_assert_uint_eq(error->requested, 11);
    ck_assert_uint_eq(error->max, 12);
    ck_assert_uint_eq(error->allocated, 13);
    ck_assert_uint_eq(error->waiters, 14);
    ck_assert_uint_eq(error->reserved, 15);
    peer_client_end(&client);
}
END_TEST

SUITE_MAIN("client_holding", test_the_options_of_an_allocation_are_asked_for,
           test_without_options_one_object_is_allocated_at_once,
           test_options_to_allocate_that_cant_be_are_refused,
           test_a_cancel_is_for_all_requests_in_the_pool,
           test_what_is_done_with_handles_is_asked_for,
           test_a_reply_about_another_number_of_handles_is_refused,
           test_no_handles_and_too_many_are_refused, test_a_reader_asks_for_none_of_it,
           test_refusals_arrive_with_their_fields)
