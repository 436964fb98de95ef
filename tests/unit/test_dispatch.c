/* SPDX-License-Identifier: MIT */
#include "daemon/dispatch.h"

#include <endian.h>

#include "proto/scan.h"
#include "tests/unit/dispatch_case.h"

/* ---- Methods --------------------------------------------------------------------------------- */

/* A request [0, MSGID, name, {field: 1}]. */
static enum answer_kind call_by_name(struct caller *caller, const char *name, const char *field)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 4);
    msgpack_pack_uint32(&packer, 0);
    msgpack_pack_uint32(&packer, MSGID);
    msgpack_pack_str_with_body(&packer, name, strlen(name));
    msgpack_pack_map(&packer, field ? 1 : 0);
    if (field) {
        msgpack_pack_str_with_body(&packer, field, strlen(field));
        msgpack_pack_uint32(&packer, 1);
    }
    dispatch_bytes(caller, &buffer);
    msgpack_sbuffer_destroy(&buffer);
    return answer.kind;
}

START_TEST(test_dispatch_refuses_an_unknown_method)
{
    check_error(call_by_name(&alice, "pool.open2", NULL), ERROR_UNKNOWN_METHOD);
    check_error(call_by_name(&alice, "", NULL), ERROR_UNKNOWN_METHOD);
    check_error(call_by_name(&alice, "PING", NULL), ERROR_UNKNOWN_METHOD);
}
END_TEST

START_TEST(test_dispatch_refuses_an_unknown_field)
{
    check_error(call_by_name(&alice, "ping", "verbose"), ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "verbose");
}
END_TEST

START_TEST(test_dispatch_refuses_a_missing_field)
{
    check_error(call_by_name(&alice, "stats", NULL), ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "name");
}
END_TEST

START_TEST(test_dispatch_wants_hello_or_resume_before_every_other_method)
{
    struct caller newcomer = {.connection = &newcomer};
    for (enum method method = 0; method < METHOD_COUNT; method++)
        if (method != METHOD_HELLO && method != METHOD_RESUME)
            check_error(call_by_name(&newcomer, method_table[method].name, NULL),
                        ERROR_HELLO_REQUIRED);
    ck_assert_ptr_null(newcomer.session);
}
END_TEST

/* ---- Hello ----------------------------------------------------------------------------------- */

START_TEST(test_hello_begins_a_session_and_says_the_limits)
{
    struct caller caller = {.who.peer = {1, 2, 3}, .connection = &caller};
    check_reply(CALL(&caller, HELLO, hello, .version = PROTOCOL_VERSION, .name = "worker"));
    const struct hello_reply *reply = &answer.reply.hello;

    ck_assert_int_eq(answer.method, METHOD_HELLO);
    ck_assert_uint_eq(reply->version, PROTOCOL_VERSION);
    ck_assert_str_eq(reply->release, FASTALLOC_VERSION);
    ck_assert_uint_eq(reply->session, caller.session->id);
    ck_assert_uint_eq(reply->token.size, PROTOCOL_TOKEN_SIZE);
    ck_assert_uint_eq(reply->message_max, SCAN_MESSAGE_MAX);
    ck_assert_uint_eq(reply->batch_max, PROTOCOL_BATCH_MAX);
    ck_assert_uint_eq(reply->descriptors, 0);
    ck_assert_str_eq(caller.session->name, "worker");
    ck_assert_ptr_eq(caller.session->connection, &caller);
    ck_assert_uint_eq(caller.session->entry->uid, 2);
    hang_up(&caller);
}
END_TEST

START_TEST(test_hello_gives_the_witness_if_asked)
{
    struct caller caller = {.connection = &caller};
    check_reply(CALL(&caller, HELLO, hello, .version = PROTOCOL_VERSION, .witness = true));
    ck_assert_uint_eq(answer.reply.hello.descriptors, 1);
    ck_assert_uint_eq(answer.descriptor_count, 1);
    ck_assert_int_eq(fcntl(answer.descriptors[0], F_GETFL) & O_ACCMODE, O_RDONLY);
    close_descriptors();
    hang_up(&caller);
}
END_TEST

START_TEST(test_hello_refuses_another_version_of_the_protocol)
{
    struct caller caller = {.connection = &caller};
    check_error(CALL(&caller, HELLO, hello, .version = PROTOCOL_VERSION + 1),
                ERROR_PROTOCOL_MISMATCH);
    ck_assert_uint_eq(error->requested, PROTOCOL_VERSION + 1);
    ck_assert_uint_eq(error->actual, PROTOCOL_VERSION);
    check_error(CALL(&caller, HELLO, hello, .version = 0), ERROR_PROTOCOL_MISMATCH);
    ck_assert_ptr_null(caller.session);
}
END_TEST

START_TEST(test_hello_is_said_once)
{
    struct session *before = alice.session;
    check_error(CALL(&alice, HELLO, hello, .version = PROTOCOL_VERSION), ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_eq(alice.session, before);
}
END_TEST

START_TEST(test_hello_without_room_for_the_witness_leaves_no_session)
{
    struct caller caller = {.connection = &caller};
    uint32_t before = broker.session_count;
    test_shm_fill(0);
    check_error(CALL(&caller, HELLO, hello, .version = PROTOCOL_VERSION, .witness = true),
                ERROR_SHARED_MEMORY_FULL);
    ck_assert_ptr_null(caller.session);
    ck_assert_uint_eq(broker.session_count, before);
    test_shm_unfill();
}
END_TEST

START_TEST(test_hello_without_descriptors_leaves_no_session)
{
    struct caller caller = {.connection = &caller};
    uint32_t before = broker.session_count;
    limit_descriptors(0);
    enum answer_kind kind =
        CALL(&caller, HELLO, hello, .version = PROTOCOL_VERSION, .witness = true);
    limit_descriptors(-1);
    check_error(kind, ERROR_SYSTEM);
    ck_assert_uint_eq(error->system_error, EMFILE);
    ck_assert_uint_eq(broker.session_count, before);
}
END_TEST

/* ---- Resume ---------------------------------------------------------------------------------- */

/* Of alice's session, with that pool. */
static enum answer_kind resume(struct caller *caller, uint32_t number)
{
    const struct session *session = alice.session;
    uint32_t wire = htole32(number);
    return CALL(caller, RESUME, resume, .version = PROTOCOL_VERSION, .session = session->id,
                .token = {session->entry->token, PROTOCOL_TOKEN_SIZE},
                .pools = {(const uint8_t *)&wire, sizeof(wire)});
}

START_TEST(test_resume_takes_the_session_over)
{
    struct caller caller = {.who.peer = {99, OWNER, 7}, .connection = &caller, .bell = -1};
    struct session *session = alice.session;
    open_to_write(&alice);
    for (unsigned connected = 0; connected < 2; connected++) {
        if (!connected)
            broker_disconnect(&broker, session);
        check_reply(resume(&caller, pool));
        ck_assert_str_eq(answer.reply.resume.release, FASTALLOC_VERSION);
        ck_assert_uint_eq(answer.reply.resume.descriptors, caller.bell >= 0);
        close_descriptors();
        ck_assert_ptr_eq(let_go, &alice);
        ck_assert_ptr_null(alice.session);
        ck_assert_ptr_eq(caller.session, session);
        ck_assert_ptr_eq(session->connection, &caller);
        ck_assert_int_eq(session->peer.pid, 99);
        ck_assert_uint_eq(session->peer.gid, 7);
        ck_assert_uint_eq(session->entry->pid, 99);
        ck_assert_ptr_nonnull(session_membership(session, pool));
        broker_resume(&broker, session, &alice.who.peer, &alice);
        ck_assert_ptr_eq(let_go, &caller);
        alice.session = session;
    }
    if (caller.bell >= 0)
        close(caller.bell);
}
END_TEST

START_TEST(test_resume_without_descriptors_changes_nothing)
{
    struct caller caller = {.who.peer = {99, OWNER, 7}, .connection = &caller, .bell = -1};
    struct session *session = alice.session;
    check_reply(CALL(&alice, POOL_OPEN, pool_open, .name = "leased", .write = true, .create = true,
                     .kind = LAYOUT_LEASED, .object_size = 8, .capacity = 8));
    uint32_t leased = answer.reply.pool_open.pool;
    for (int count = 0; count < 2; count++) {
        limit_descriptors(count);
        enum answer_kind kind = resume(&caller, leased);
        limit_descriptors(-1);
        check_error(kind, ERROR_SYSTEM);
        ck_assert_uint_eq(error->system_error, EMFILE);
        ck_assert_ptr_null(let_go);
        ck_assert_ptr_null(caller.session);
        ck_assert_ptr_eq(session->connection, &alice);
        ck_assert_int_eq(session->peer.pid, alice.who.peer.pid);
    }
    close(caller.bell);
}
END_TEST

/* ---- Looking --------------------------------------------------------------------------------- */

START_TEST(test_ping_says_who_answers)
{
    check_reply(CALL(&alice, PING, ping, .none = {}));
    ck_assert_uint_eq(answer.reply.ping.pid, (uint32_t)getpid());
    ck_assert_str_eq(answer.reply.ping.release, FASTALLOC_VERSION);
    ck_assert_str_eq(answer.reply.ping.instance, "test");
}
END_TEST

START_TEST(test_sessions_are_listed_with_what_they_hold)
{
    open_to_write(&alice);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 3));
    check_reply(CALL(&bob, SESSIONS, sessions, .after = 0));
    const struct session_info *infos = answer.reply.sessions.sessions.items;

    ck_assert_uint_eq(answer.reply.sessions.sessions.count, 3);
    ck_assert(!answer.reply.sessions.more);
    ck_assert_uint_eq(infos[0].session, alice.session->id);
    ck_assert_uint_eq(infos[0].pid, 11);
    ck_assert_uint_eq(infos[0].uid, OWNER);
    ck_assert_uint_eq(infos[0].pools, 1);
    ck_assert_uint_eq(infos[0].allocated, 3);
    ck_assert(infos[0].connected);
    ck_assert_str_eq(infos[0].name, "x");
    ck_assert_uint_eq(infos[2].session, stranger.session->id);
}
END_TEST

START_TEST(test_sessions_are_listed_in_pages)
{
    static struct caller more[PROTOCOL_LIST_MAX];
    for (unsigned i = 0; i < PROTOCOL_LIST_MAX - 3; i++)
        greet(&more[i], false);
    check_reply(CALL(&bob, SESSIONS, sessions, .after = 0));
    ck_assert_uint_eq(answer.reply.sessions.sessions.count, PROTOCOL_LIST_MAX);
    ck_assert(!answer.reply.sessions.more);
    greet(&more[PROTOCOL_LIST_MAX - 3], false);

    check_reply(CALL(&bob, SESSIONS, sessions, .after = 0));
    ck_assert_uint_eq(answer.reply.sessions.sessions.count, PROTOCOL_LIST_MAX);
    ck_assert(answer.reply.sessions.more);
    check_reply(CALL(&bob, SESSIONS, sessions, .after = PROTOCOL_LIST_MAX));
    ck_assert_uint_eq(answer.reply.sessions.sessions.count, 1);
    ck_assert(!answer.reply.sessions.more);
    check_reply(CALL(&bob, SESSIONS, sessions, .after = UINT64_MAX));
    ck_assert_uint_eq(answer.reply.sessions.sessions.count, 0);
    for (unsigned i = 0; i < PROTOCOL_LIST_MAX - 2; i++)
        hang_up(&more[i]);
}
END_TEST

START_TEST(test_pool_list_shows_what_a_pool_is)
{
    check_reply(CALL(&stranger, POOL_LIST, pool_list, .name = "frames"));
    const struct pool_info *info = answer.reply.pool_list.pools.items;

    ck_assert_uint_eq(answer.reply.pool_list.pools.count, 1);
    ck_assert_uint_eq(info->pool, pool);
    ck_assert_str_eq(info->name, "frames");
    ck_assert_str_eq(info->type, "frame");
    ck_assert_uint_eq(info->object_size, 40);
    ck_assert_uint_eq(info->stride, 48);
    ck_assert_uint_eq(info->alignment, GEOMETRY_ALIGNMENT_DEFAULT);
    ck_assert_uint_eq(info->capacity, CAPACITY);
    ck_assert_uint_eq(info->uid, OWNER);
    ck_assert_uint_eq(info->gid, OWNER);
    ck_assert_uint_eq(info->mode, 0640);
    ck_assert_uint_eq(info->memory, pool_memory(broker_find_pool(&broker, "frames")));
}
END_TEST

START_TEST(test_pool_list_comes_in_pages)
{
    char name[16];
    test_private_shm_resize(64 << 20, 0);
    for (unsigned i = 1; i < PROTOCOL_LIST_MAX; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        create(&alice, name);
    }
    check_reply(CALL(&bob, POOL_LIST, pool_list, .after = 0));
    ck_assert_uint_eq(answer.reply.pool_list.pools.count, PROTOCOL_LIST_MAX);
    ck_assert(!answer.reply.pool_list.more);
    create(&alice, "one-more");

    check_reply(CALL(&bob, POOL_LIST, pool_list, .after = 0));
    ck_assert_uint_eq(answer.reply.pool_list.pools.count, PROTOCOL_LIST_MAX);
    ck_assert(answer.reply.pool_list.more);
    check_reply(CALL(&bob, POOL_LIST, pool_list, .after = PROTOCOL_LIST_MAX));
    ck_assert_uint_eq(answer.reply.pool_list.pools.count, 1);
    ck_assert(!answer.reply.pool_list.more);
}
END_TEST

START_TEST(test_stats_follow_the_pool)
{
    open_to_write(&alice);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 3));
    struct bytes handles = answer.reply.allocate.handles;
    check_reply(CALL(&alice, FREE, free, .pool = pool, .handles = {handles.data, 16}));
    check_error(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 2, .count = 3),
                ERROR_POOL_EXHAUSTED);
    check_reply(CALL(&stranger, STATS, stats, .name = "frames"));
    const struct stats_reply *stats = &answer.reply.stats;

    ck_assert_uint_eq(stats->pool, pool);
    ck_assert_uint_eq(stats->capacity, CAPACITY);
    ck_assert_uint_eq(stats->current_usage, 2);
    ck_assert_uint_eq(stats->available, CAPACITY - 2);
    ck_assert_uint_eq(stats->peak_usage, 3);
    ck_assert_uint_eq(stats->total_allocations, 3);
    ck_assert_uint_eq(stats->total_deallocations, 1);
    ck_assert_uint_eq(stats->allocation_failures, 1);
    ck_assert_uint_eq(stats->timeouts + stats->reclaimed + stats->waiters, 0);
}
END_TEST

START_TEST(test_pool_that_is_not_there_is_named)
{
    check_error(CALL(&alice, STATS, stats, .name = "nothing"), ERROR_NO_SUCH_POOL);
    ck_assert_str_eq(error->pool, "nothing");
    check_error(CALL(&alice, POOL_LIST, pool_list, .name = "nothing"), ERROR_NO_SUCH_POOL);
    check_error(CALL(&alice, POOL_OPEN, pool_open, .name = "nothing"), ERROR_NO_SUCH_POOL);
    check_error(CALL(&alice, POOL_DESTROY, pool_destroy, .name = "nothing"), ERROR_NO_SUCH_POOL);
}
END_TEST

SUITE_MAIN_WITH("dispatch", dispatch_set_up, dispatch_tear_down,
                test_dispatch_refuses_an_unknown_method, test_dispatch_refuses_an_unknown_field,
                test_dispatch_refuses_a_missing_field,
                test_dispatch_wants_hello_or_resume_before_every_other_method,
                test_hello_begins_a_session_and_says_the_limits,
                test_hello_gives_the_witness_if_asked,
                test_hello_refuses_another_version_of_the_protocol, test_hello_is_said_once,
                test_hello_without_room_for_the_witness_leaves_no_session,
                test_hello_without_descriptors_leaves_no_session,
                test_resume_takes_the_session_over, test_resume_without_descriptors_changes_nothing,
                test_ping_says_who_answers, test_sessions_are_listed_with_what_they_hold,
                test_sessions_are_listed_in_pages, test_pool_list_shows_what_a_pool_is,
                test_pool_list_comes_in_pages, test_stats_follow_the_pool,
                test_pool_that_is_not_there_is_named)
