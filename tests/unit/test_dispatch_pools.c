/* SPDX-License-Identifier: MIT */
/* What callers do with pools: make, open, close and destroy them, allocate and free. */
#include <sys/eventfd.h>

#include "tests/unit/dispatch_case.h"

/* ---- Making pools ---------------------------------------------------------------------------- */

START_TEST(test_pool_create_gives_the_pool_to_the_caller)
{
    check_reply(CALL(&stranger, POOL_CREATE, pool_create, .name = "theirs", .object_size = 1,
                     .capacity = 1));
    const struct layout_ctl *ctl = broker_find_pool(&broker, "theirs")->ctl;
    ck_assert_uint_eq(answer.reply.pool_create.pool, ctl->pool);
    ck_assert_uint_eq(ctl->uid, STRANGER);
    ck_assert_uint_eq(ctl->gid, STRANGER);
    ck_assert_uint_eq(ctl->mode, ACCESS_MODE_DEFAULT);
    ck_assert_str_eq(ctl->type, "");
}
END_TEST

START_TEST(test_pool_create_refuses_what_is_no_name)
{
    check_error(
        CALL(&alice, POOL_CREATE, pool_create, .name = "a/b", .object_size = 1, .capacity = 1),
        ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "name");
    check_error(CALL(&alice, POOL_OPEN, pool_open, .name = "-x", .create = true, .object_size = 1,
                     .capacity = 1),
                ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_pool_create_refuses_impossible_numbers)
{
    check_error(
        CALL(&alice, POOL_CREATE, pool_create, .name = "n", .object_size = 0, .capacity = 1),
        ERROR_INVALID_OBJECT_SIZE);
    check_error(
        CALL(&alice, POOL_CREATE, pool_create, .name = "n", .object_size = 1, .capacity = 0),
        ERROR_INVALID_CAPACITY);
    check_error(CALL(&alice, POOL_CREATE, pool_create, .name = "n", .object_size = 1, .capacity = 1,
                     .alignment = 3),
                ERROR_INVALID_ALIGNMENT);
    check_error(CALL(&alice, POOL_CREATE, pool_create, .name = "n", .object_size = 1, .capacity = 1,
                     .mode = 01000),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "mode");
}
END_TEST

START_TEST(test_pool_create_refuses_a_taken_name)
{
    check_error(
        CALL(&bob, POOL_CREATE, pool_create, .name = "frames", .object_size = 1, .capacity = 1),
        ERROR_POOL_EXISTS);
}
END_TEST

/* ---- Opening --------------------------------------------------------------------------------- */

START_TEST(test_pool_open_says_what_the_pool_is)
{
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "frames"));
    const struct pool_open_reply *reply = &answer.reply.pool_open;

    ck_assert_uint_eq(reply->pool, pool);
    ck_assert_uint_eq(reply->nonce, registry_nonce(&broker.registry));
    ck_assert_uint_eq(reply->member, 1);
    ck_assert(!reply->created);
    ck_assert_uint_eq(reply->object_size, 40);
    ck_assert_uint_eq(reply->stride, 48);
    ck_assert_uint_eq(reply->alignment, 16);
    ck_assert_uint_eq(reply->capacity, CAPACITY);
    ck_assert_str_eq(reply->type, "frame");
    ck_assert_uint_eq(reply->descriptors, 0);
}
END_TEST

START_TEST(test_pool_open_gives_descriptors_to_map)
{
    for (int write = 0; write <= 1; write++) {
        check_reply(
            CALL(&alice, POOL_OPEN, pool_open, .name = "frames", .map = true, .write = write));
        ck_assert_uint_eq(answer.reply.pool_open.descriptors, 3 + (write && test_is_leased()));
        ck_assert_uint_eq(answer.descriptor_count, 3 + (write && test_is_leased()));
        for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++) {
            bool writable = object == STORE_DATA || (object == STORE_SLOTS && test_is_leased());
            ck_assert_int_eq(fcntl(answer.descriptors[object], F_GETFL) & O_ACCMODE,
                             write && writable ? O_RDWR : O_RDONLY);
        }
        close_descriptors();
    }
}
END_TEST

START_TEST(test_pool_open_of_a_leased_pool_gives_words_and_a_bell)
{
    struct pool_open_request request = {.name = "leased",
                                        .map = true,
                                        .create = true,
                                        .write = true,
                                        .kind = LAYOUT_LEASED,
                                        .object_size = 8,
                                        .capacity = 8,
                                        .template = {(const uint8_t *)"abc", 3}};
    for (int write = 1; write >= 0; write--) {
        request.write = write;
        check_reply(call(&alice, METHOD_POOL_OPEN, &request));
        ck_assert_uint_eq(answer.reply.pool_open.kind, LAYOUT_LEASED);
        ck_assert_uint_eq(answer.reply.pool_open.template.size, write ? 3 : 0);
        ck_assert_uint_eq(answer.descriptor_count, write ? 4 : 3);
        for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++)
            ck_assert_int_eq(fcntl(answer.descriptors[object], F_GETFL) & O_ACCMODE,
                             write && object != STORE_CTL ? O_RDWR : O_RDONLY);
        if (write)
            ck_assert_int_eq(eventfd_write(answer.descriptors[3], 1), 0);
        close_descriptors();
    }
    eventfd_t rings;
    ck_assert_int_eq(eventfd_read(alice.bell, &rings), 0);
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "frames"));
    ck_assert_int_eq(bob.bell, -1);
}
END_TEST

START_TEST(test_pool_open_maps_only_for_sessions_with_a_witness)
{
    check_error(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .map = true),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "map");
}
END_TEST

START_TEST(test_pool_open_without_descriptors_joins_nothing)
{
    /* ctl, slots, data, and the bell, of which there are two */
    for (int count = 0; count < DISPATCH_DESCRIPTORS + 1; count++) {
        limit_descriptors(count);
        enum answer_kind kind =
            CALL(&alice, POOL_OPEN, pool_open, .name = "leased", .map = true, .write = true,
                 .create = true, .kind = LAYOUT_LEASED, .object_size = 8, .capacity = 8);
        limit_descriptors(-1);
        check_error(kind, ERROR_SYSTEM);
        ck_assert_uint_eq(error->system_error, EMFILE);
        ck_assert_uint_eq(alice.session->membership_count, 0);
    }
}
END_TEST

START_TEST(test_pool_open_makes_the_pool_if_asked)
{
    struct pool_open_request request = {.name = "new",
                                        .create = true,
                                        .write = true,
                                        .object_size = 100,
                                        .alignment = 64,
                                        .capacity = 5,
                                        .type = "t",
                                        .mode = 0600};
    check_reply(call(&alice, METHOD_POOL_OPEN, &request));
    ck_assert(answer.reply.pool_open.created);
    ck_assert_uint_eq(answer.reply.pool_open.stride, 128);
    ck_assert_uint_eq(answer.reply.pool_open.capacity, 5);
    check_reply(call(&bob, METHOD_POOL_OPEN, &request));
    ck_assert(!answer.reply.pool_open.created);
    ck_assert_uint_eq(answer.reply.pool_open.capacity, 5);
}
END_TEST

/* As open(2) gives a file with mode 0400 to write to, once. */
START_TEST(test_pool_open_gives_its_maker_more_than_the_mode)
{
    const struct pool_open_request request = {.name = "new",
                                              .create = true,
                                              .write = true,
                                              .object_size = 1,
                                              .capacity = 1,
                                              .mode = 0400};
    check_reply(call(&alice, METHOD_POOL_OPEN, &request));
    ck_assert(answer.reply.pool_open.created);
    check_reply(
        CALL(&alice, ALLOCATE, allocate, .pool = answer.reply.pool_open.pool, .request = 1));
    check_error(call(&bob, METHOD_POOL_OPEN, &request), ERROR_NOT_PERMITTED);
}
END_TEST

START_TEST(test_pool_open_that_fails_leaves_no_pool_that_it_made)
{
    limit_descriptors(2);
    enum answer_kind kind = CALL(&alice, POOL_OPEN, pool_open, .name = "new", .create = true,
                                 .map = true, .object_size = 1, .capacity = 1);
    limit_descriptors(-1);
    check_error(kind, ERROR_SYSTEM);
    ck_assert_ptr_null(broker_find_pool(&broker, "new"));
}
END_TEST

START_TEST(test_pool_open_compares_what_is_given)
{
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .object_size = 40,
                     .alignment = 16, .type = "frame"));
    check_error(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .object_size = 41),
                ERROR_OBJECT_SIZE_MISMATCH);
    ck_assert_uint_eq(error->requested, 41);
    ck_assert_uint_eq(error->actual, 40);
    check_error(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .alignment = 64),
                ERROR_ALIGNMENT_MISMATCH);
    ck_assert_uint_eq(error->requested, 64);
    ck_assert_uint_eq(error->actual, 16);
    check_error(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .type = "audio"),
                ERROR_TYPE_MISMATCH);
    ck_assert_str_eq(error->requested_type, "audio");
    ck_assert_str_eq(error->actual_type, "frame");
    ck_assert_str_eq(error->pool, "frames");
}
END_TEST

START_TEST(test_pool_open_compares_when_it_could_create_too)
{
    check_error(CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .create = true, .object_size = 8,
                     .capacity = 1),
                ERROR_OBJECT_SIZE_MISMATCH);
    ck_assert_ptr_nonnull(broker_find_pool(&broker, "frames"));
}
END_TEST

START_TEST(test_pool_open_obeys_the_mode)
{
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"), ERROR_NOT_PERMITTED);
    ck_assert_str_eq(error->pool, "frames");
    stranger.who.peer.gid = OWNER;
    check_reply(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"));
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames", .write = true),
                ERROR_NOT_PERMITTED);
    stranger.who.peer.uid = broker.uid;
    check_reply(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames", .write = true));
}
END_TEST

START_TEST(test_pool_open_counts_all_groups_of_the_caller)
{
    gid_t groups[] = {STRANGER, OWNER};
    stranger.who.groups = groups;
    stranger.who.group_count = 1;
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"), ERROR_NOT_PERMITTED);
    stranger.who.group_count = 2;
    check_reply(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"));
}
END_TEST

START_TEST(test_pool_open_has_a_limit_of_members)
{
    struct pool *full = broker_find_pool(&broker, "frames");
    for (uint32_t i = 1; i <= POOL_MEMBER_MAX; i++)
        full->store.members[i] = UINT64_MAX;
    full->member_count = POOL_MEMBER_MAX;
    msgpack_sbuffer buffer;
    struct envelope envelope;
    struct error malformed;
    msgpack_sbuffer_init(&buffer);
    envelope_encode_request(&buffer, MSGID, METHOD_POOL_OPEN,
                            &(struct pool_open_request){.name = "frames", .map = true});
    envelope_decode(&decoder, (const uint8_t *)buffer.data, buffer.size, &envelope, &malformed);
    dispatch(&served, &alice, &envelope, 0, &answer); /* no check: no session has these numbers */
    msgpack_sbuffer_destroy(&buffer);

    check_error(answer.kind, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error->max, POOL_MEMBER_MAX);
    for (uint32_t i = 1; i <= POOL_MEMBER_MAX; i++)
        full->store.members[i] = 0;
    full->member_count = 0;
}
END_TEST

START_TEST(test_pool_close_frees_what_the_session_held)
{
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 3));
    check_reply(CALL(&bob, POOL_CLOSE, pool_close, .pool = pool));
    ck_assert_uint_eq(answer.reply.pool_close.freed, 3);
    check_error(CALL(&bob, POOL_CLOSE, pool_close, .pool = pool), ERROR_NOT_A_MEMBER);
}
END_TEST

/* ---- Who may make pools ---------------------------------------------------------------------- */

#define MAKE(caller)                                                                               \
    CALL(caller, POOL_OPEN, pool_open, .name = "new", .create = true, .object_size = 1,            \
         .capacity = 1)

START_TEST(test_pool_create_obeys_the_rule_of_the_instance)
{
    struct pool_create_request request = {.name = "new", .object_size = 1, .capacity = 1};
    broker.create = (struct create_rule){CREATORS_OWNER, 0, "owner"};
    check_error(call(&stranger, METHOD_POOL_CREATE, &request), ERROR_NOT_PERMITTED);
    ck_assert_str_eq(error->pool, "new");
    ck_assert_ptr_nonnull(strstr(error->message, "by the daemon's user and root alone"));
    ck_assert_ptr_nonnull(strstr(error->message, "--create owner"));
    check_error(MAKE(&stranger), ERROR_NOT_PERMITTED);
    ck_assert_ptr_null(broker_find_pool(&broker, "new"));
    stranger.who.peer.uid = 0;
    check_reply(call(&stranger, METHOD_POOL_CREATE, &request));
}
END_TEST

START_TEST(test_pool_create_can_be_a_groups)
{
    gid_t group = 5000;
    broker.create = (struct create_rule){CREATORS_GROUP, group, "group:5000"};
    check_error(MAKE(&stranger), ERROR_NOT_PERMITTED);
    ck_assert_ptr_nonnull(strstr(error->message, "members of the group, "));
    ck_assert_ptr_nonnull(strstr(error->message, "--create group:5000"));
    stranger.who.groups = &group;
    stranger.who.group_count = 1;
    check_reply(MAKE(&stranger));
}
END_TEST

START_TEST(test_pool_open_of_one_that_is_there_needs_no_right_to_create)
{
    broker.create = (struct create_rule){CREATORS_OWNER, 0, "owner"};
    check_reply(
        CALL(&bob, POOL_OPEN, pool_open, .name = "frames", .create = true, .object_size = 40));
}
END_TEST

/* ---- Destroying ------------------------------------------------------------------------------ */

START_TEST(test_pool_destroy_is_for_its_owner_and_the_daemons)
{
    check_error(CALL(&stranger, POOL_DESTROY, pool_destroy, .name = "frames", .force = true),
                ERROR_NOT_PERMITTED);
    check_reply(CALL(&bob, POOL_DESTROY, pool_destroy, .name = "frames"));
    ck_assert_uint_eq(answer.reply.pool_destroy.freed, 0);
    ck_assert_ptr_null(broker_find_pool(&broker, "frames"));
}
END_TEST

START_TEST(test_pool_destroy_is_for_whom_the_x_bit_lets_too)
{
    struct layout_ctl *ctl = broker_find_pool(&broker, "frames")->ctl;
    ctl->mode = 0010;
    check_error(CALL(&stranger, POOL_DESTROY, pool_destroy, .name = "frames"), ERROR_NOT_PERMITTED);
    ctl->mode = 0001;
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"), ERROR_NOT_PERMITTED);
    check_reply(CALL(&stranger, POOL_DESTROY, pool_destroy, .name = "frames"));
}
END_TEST

START_TEST(test_pool_destroy_refuses_while_others_have_it_open)
{
    open_to_write(&bob);
    open_to_write(&alice);
    check_error(CALL(&alice, POOL_DESTROY, pool_destroy, .name = "frames"), ERROR_POOL_IN_USE);
    ck_assert_uint_eq(error->members, 1);
    ck_assert_uint_eq(error->allocated, 0);
    ck_assert_str_eq(error->message, "pool 'frames' is in use: open in 1 other session; let them "
                                     "close it, or force it");
    check_reply(CALL(&bob, POOL_CLOSE, pool_close, .pool = pool));
    check_reply(CALL(&alice, POOL_DESTROY, pool_destroy, .name = "frames"));
    ck_assert_uint_eq(alice.session->membership_count, 0);
}
END_TEST

START_TEST(test_pool_destroy_refuses_while_slots_are_allocated)
{
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 2));
    check_error(CALL(&bob, POOL_DESTROY, pool_destroy, .name = "frames"), ERROR_POOL_IN_USE);
    ck_assert_str_eq(error->message, "pool 'frames' is in use: 2 slots allocated; free what is, or "
                                     "force it");
    ck_assert_str_eq(error->pool, "frames");
    ck_assert_uint_eq(error->allocated, 2);
    ck_assert_uint_eq(error->members, 0);
    check_reply(CALL(&bob, POOL_DESTROY, pool_destroy, .name = "frames", .force = true));
    ck_assert_uint_eq(answer.reply.pool_destroy.freed, 2);
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 2), ERROR_NOT_A_MEMBER);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

START_TEST(test_allocate_needs_a_pool_that_is_open_to_write)
{
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1), ERROR_NOT_A_MEMBER);
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "frames"));
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1), ERROR_NOT_A_MEMBER);
    ck_assert_str_eq(error->pool, "frames");
    uint8_t wire[HANDLE_WIRE_SIZE] = {0};
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {wire, sizeof(wire)}),
                ERROR_NOT_A_MEMBER);
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1));
}
END_TEST

START_TEST(test_allocate_limits_count_and_request)
{
    open_to_write(&bob);
    check_error(
        CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = PROTOCOL_BATCH_MAX),
        ERROR_POOL_EXHAUSTED);
    check_error(
        CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = PROTOCOL_BATCH_MAX + 1),
        ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "count");
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = LAYOUT_REQUEST_MAX));
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = LAYOUT_REQUEST_MAX + 1),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "request");
}
END_TEST

START_TEST(test_allocate_gives_the_biggest_batch_whole)
{
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "big", .create = true, .write = true,
                     .object_size = 1, .capacity = PROTOCOL_BATCH_MAX));
    uint32_t big = answer.reply.pool_open.pool;
    check_reply(
        CALL(&bob, ALLOCATE, allocate, .pool = big, .request = 1, .count = PROTOCOL_BATCH_MAX));
    struct bytes handles = answer.reply.allocate.handles;
    ck_assert_uint_eq(handles.size, PROTOCOL_HANDLES_MAX);
    check_reply(CALL(&bob, FREE, free, .pool = big, .handles = handles));
    ck_assert_uint_eq(answer.reply.free.freed, PROTOCOL_BATCH_MAX);
}
END_TEST

START_TEST(test_allocate_is_answered_later_when_it_waits)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    struct bytes handles = answer.reply.allocate.handles;
    ck_assert_int_eq(
        CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 2, .timeout = 50),
        ANSWER_LATER);
    ck_assert_int_eq(broker_next_deadline(&broker), 1050); /* counted from the request's time */
    ck_assert_uint_eq(later.count, 0);
    check_reply(CALL(&alice, FREE, free, .pool = pool, .handles = handles));

    ck_assert_uint_eq(later.count, 1);
    ck_assert_ptr_eq(later.connection, &bob);
    ck_assert_uint_eq(later.msgid, MSGID);
    ck_assert_int_eq(later.code, ERROR_NONE);
    ck_assert_uint_eq(later.size, 2 * (size_t)HANDLE_WIRE_SIZE);
}
END_TEST

START_TEST(test_pool_destroy_answers_who_waits_there)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    ck_assert_int_eq(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .timeout = -1),
                     ANSWER_LATER);
    check_reply(CALL(&alice, POOL_DESTROY, pool_destroy, .name = "frames", .force = true));
    ck_assert_uint_eq(answer.reply.pool_destroy.freed, CAPACITY);
    ck_assert_int_eq(later.code, ERROR_POOL_DESTROYED);
    ck_assert_ptr_eq(later.connection, &bob);
}
END_TEST

/* ---- Changes that are asked for again -------------------------------------------------------- */

/* All that can be done to one object, one after the other, as changes 1 to 5 of bob's. */
static void change_one_object(const struct bytes *handle)
{
    struct retain_request request = {.pool = pool, .handles = *handle};
    static const enum method methods[] = {METHOD_RETAIN, METHOD_RELEASE, METHOD_DETACH,
                                          METHOD_ADOPT, METHOD_FREE};
    for (uint32_t i = 0; i < 5; i++) {
        request.change = i + 1;
        check_reply(call(&bob, methods[i], &request));
        ck_assert_uint_eq(answer.reply.retain.retained, 1);
    }
}

START_TEST(test_changes_are_answered_again_whatever_became_of_the_pool)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    const struct bytes handle = {wire, sizeof(wire)};
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1));
    memcpy(wire, answer.reply.allocate.handles.data, sizeof(wire));
    change_one_object(&handle);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = handle, .change = 6),
                ERROR_STALE_HANDLE);
    change_one_object(&handle);
    check_reply(CALL(&bob, POOL_CLOSE, pool_close, .pool = pool));
    change_one_object(&handle);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {wire, 3}, .change = 5),
                ERROR_INVALID_ARGUMENT);
    check_reply(CALL(&bob, POOL_DESTROY, pool_destroy, .name = "frames", .change = 7));
    change_one_object(&handle);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = handle, .change = 6),
                ERROR_NOT_A_MEMBER);
}
END_TEST

START_TEST(test_pools_are_made_and_destroyed_once_by_a_change)
{
    const struct pool_create_request made = {
        .name = "made", .object_size = 8, .capacity = 1, .change = 1};
    const struct pool_destroy_request gone = {.name = "made", .change = 2, .force = true};
    check_reply(call(&bob, METHOD_POOL_CREATE, &made));
    uint32_t number = answer.reply.pool_create.pool;
    check_reply(call(&bob, METHOD_POOL_CREATE, &made));
    ck_assert_uint_eq(answer.reply.pool_create.pool, number);
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "made", .write = true));
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = number, .request = 1));
    check_reply(call(&bob, METHOD_POOL_DESTROY, &gone));
    ck_assert_uint_eq(answer.reply.pool_destroy.freed, 1);
    check_reply(call(&bob, METHOD_POOL_CREATE, &made));
    ck_assert_uint_eq(answer.reply.pool_create.pool, 0);
    number = create(&alice, "made");
    check_reply(call(&bob, METHOD_POOL_DESTROY, &gone));
    ck_assert_uint_eq(answer.reply.pool_destroy.freed, 0);
    check_reply(call(&bob, METHOD_POOL_CREATE, &made));
    ck_assert_uint_eq(answer.reply.pool_create.pool, number);
    ck_assert_ptr_nonnull(broker_find_pool(&broker, "made"));
}
END_TEST

/* ---- Handles --------------------------------------------------------------------------------- */

START_TEST(test_free_wants_whole_handles)
{
    static const uint8_t bytes[2 * HANDLE_WIRE_SIZE];
    static const size_t wrong[] = {0, 1, HANDLE_WIRE_SIZE - 1, HANDLE_WIRE_SIZE + 1};
    open_to_write(&bob);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {bytes, wrong[i]}),
                    ERROR_INVALID_ARGUMENT);
        ck_assert_str_eq(error->field, "handles");
    }
}
END_TEST

START_TEST(test_free_limits_the_handles)
{
    static const uint8_t bytes[PROTOCOL_HANDLES_MAX + 1];
    open_to_write(&bob);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {bytes, PROTOCOL_HANDLES_MAX}),
                ERROR_WRONG_POOL);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {bytes, PROTOCOL_HANDLES_MAX + 1}),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "handles");
}
END_TEST

START_TEST(test_free_says_which_handle_is_wrong)
{
    uint8_t wire[2 * HANDLE_WIRE_SIZE];
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 2));
    memcpy(wire, answer.reply.allocate.handles.data, sizeof(wire));
    check_reply(CALL(&bob, FREE, free, .pool = pool, .handles = {wire + HANDLE_WIRE_SIZE, 16}));
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {wire, sizeof(wire)}),
                ERROR_STALE_HANDLE);
    ck_assert_uint_eq(error->position, 1);
    ck_assert_str_eq(error->pool, "frames");
    memcpy(wire + HANDLE_WIRE_SIZE, wire, HANDLE_WIRE_SIZE);
    check_error(CALL(&bob, FREE, free, .pool = pool, .handles = {wire, sizeof(wire)}),
                ERROR_DUPLICATE_HANDLE);
    check_reply(CALL(&bob, FREE, free, .pool = pool, .handles = {wire, HANDLE_WIRE_SIZE}));
    ck_assert_uint_eq(answer.reply.free.freed, 1);
}
END_TEST

SUITE_MAIN_WITH(
    "dispatch_pools", dispatch_set_up, dispatch_tear_down,
    test_pool_create_gives_the_pool_to_the_caller, test_pool_create_refuses_what_is_no_name,
    test_pool_create_refuses_impossible_numbers, test_pool_create_refuses_a_taken_name,
    test_pool_open_says_what_the_pool_is, test_pool_open_gives_descriptors_to_map,
    test_pool_open_of_a_leased_pool_gives_words_and_a_bell,
    test_pool_open_maps_only_for_sessions_with_a_witness,
    test_pool_open_without_descriptors_joins_nothing, test_pool_open_makes_the_pool_if_asked,
    test_pool_open_gives_its_maker_more_than_the_mode,
    test_pool_open_that_fails_leaves_no_pool_that_it_made, test_pool_open_compares_what_is_given,
    test_pool_open_compares_when_it_could_create_too, test_pool_open_obeys_the_mode,
    test_pool_open_counts_all_groups_of_the_caller, test_pool_open_has_a_limit_of_members,
    test_pool_create_obeys_the_rule_of_the_instance, test_pool_create_can_be_a_groups,
    test_pool_open_of_one_that_is_there_needs_no_right_to_create,
    test_pool_close_frees_what_the_session_held, test_pool_destroy_is_for_its_owner_and_the_daemons,
    test_pool_destroy_is_for_whom_the_x_bit_lets_too,
    test_pool_destroy_refuses_while_others_have_it_open,
    test_pool_destroy_refuses_while_slots_are_allocated,
    test_allocate_needs_a_pool_that_is_open_to_write, test_allocate_limits_count_and_request,
    test_allocate_gives_the_biggest_batch_whole, test_allocate_is_answered_later_when_it_waits,
    test_pool_destroy_answers_who_waits_there,
    test_changes_are_answered_again_whatever_became_of_the_pool,
    test_pools_are_made_and_destroyed_once_by_a_change, test_free_wants_whole_handles,
    test_free_limits_the_handles, test_free_says_which_handle_is_wrong)
