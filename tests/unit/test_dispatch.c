/* SPDX-License-Identifier: MIT */
#include "daemon/dispatch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "proto/scan.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define MSGID 42u
#define OWNER 1000u
#define STRANGER 2000u
#define CAPACITY 4u

static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static struct broker broker;
static struct dispatch served = {.broker = &broker, .instance = "test"};
static struct decoder decoder;
static struct answer answer;
static const struct error *error = &answer.error;

/* Two callers of the pool's owner, and one of nobody that it knows. */
static struct caller alice = {.peer = {11, OWNER, OWNER}, .connection = &alice};
static struct caller bob = {.peer = {12, OWNER, OWNER}, .connection = &bob};
static struct caller stranger = {.peer = {13, STRANGER, STRANGER}, .connection = &stranger};

static struct {
    unsigned count;
    void *connection;
    uint32_t msgid;
    enum error_code code;
    size_t size;
} later;

static void take_later(void *connection, uint32_t msgid, const struct allocate_reply *reply,
                       const struct error *refusal)
{
    later.count++;
    later.connection = connection;
    later.msgid = msgid;
    later.code = refusal ? refusal->code : ERROR_NONE;
    later.size = reply ? reply->handles.size : 0;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void dispatch_bytes(struct caller *caller, const msgpack_sbuffer *buffer)
{
    struct envelope envelope;
    struct error malformed;
    const uint8_t *data = (const uint8_t *)buffer->data;
    ck_assert_msg(envelope_decode(&decoder, data, buffer->size, &envelope, &malformed), "%s",
                  malformed.message);
    memset(&answer, 0x5a, sizeof(answer));
    dispatch(&served, caller, &envelope, 1000, &answer);
    broker_check(&broker);
}

/* As it comes from the wire: encoded and decoded. */
static enum answer_kind call(struct caller *caller, enum method method, const void *request)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    ck_assert_int_eq(envelope_encode_request(&buffer, MSGID, method, request), 0);
    dispatch_bytes(caller, &buffer);
    msgpack_sbuffer_destroy(&buffer);
    return answer.kind;
}

#define CALL(caller, NAME, name, ...)                                                              \
    call(caller, METHOD_##NAME, &(struct name##_request){__VA_ARGS__})

static void check_error(enum answer_kind kind, enum error_code code)
{
    ck_assert_int_eq(kind, ANSWER_ERROR);
    ck_assert_msg(error->code == code, "%s: %s", error_name(error->code), error->message);
    ck_assert_uint_eq(answer.descriptor_count, 0);
    ck_assert_str_ne(error->message, "");
}

static void check_reply(enum answer_kind kind)
{
    ck_assert_msg(kind == ANSWER_REPLY, "%s", error->message);
}

static void close_descriptors(void)
{
    while (answer.descriptor_count > 0)
        ck_assert_int_eq(close(answer.descriptors[--answer.descriptor_count]), 0);
}

static void greet(struct caller *caller, bool witness)
{
    check_reply(CALL(caller, HELLO, hello, .version = 1, .name = "x", .witness = witness));
    close_descriptors();
}

static uint32_t create(struct caller *caller, const char *name)
{
    struct pool_create_request request = {
        .object_size = 40, .capacity = CAPACITY, .type = "frame", .mode = 0640};
    name_copy(request.name, name);
    check_reply(call(caller, METHOD_POOL_CREATE, &request));
    return answer.reply.pool_create.pool;
}

static uint32_t open_to_write(struct caller *caller)
{
    check_reply(CALL(caller, POOL_OPEN, pool_open, .name = "frames", .write = true));
    return answer.reply.pool_open.pool;
}

static uint32_t pool;

static void set_up(void)
{
    char path[64];
    test_private_shm(16 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, take_later), 0);
    ck_assert_int_eq(decoder_init(&decoder), 0);
    log_set_level(LOG_LEVEL_ERROR);
    broker.uid = 300; /* not root, which some callers below are */
    greet(&alice, true);
    greet(&bob, false);
    greet(&stranger, false);
    pool = create(&alice, "frames");
}

static void hang_up(struct caller *caller)
{
    if (!caller->session)
        return;
    broker_disconnect(&broker, caller->session);
    ck_assert(broker_end_session(&broker, caller->session));
}

static void tear_down(void)
{
    uint32_t pools, sessions;
    hang_up(&alice);
    hang_up(&bob);
    hang_up(&stranger);
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    decoder_deinit(&decoder);
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

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

START_TEST(test_dispatch_wants_hello_before_every_other_method)
{
    struct caller newcomer = {.connection = &newcomer};
    for (enum method method = 0; method < METHOD_COUNT; method++)
        if (method != METHOD_HELLO)
            check_error(call_by_name(&newcomer, method_table[method].name, NULL),
                        ERROR_HELLO_REQUIRED);
    ck_assert_ptr_null(newcomer.session);
}
END_TEST

/* ---- Hello ----------------------------------------------------------------------------------- */

START_TEST(test_hello_begins_a_session_and_says_the_limits)
{
    struct caller caller = {.peer = {1, 2, 3}, .connection = &caller};
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
    check_reply(CALL(&caller, HELLO, hello, .version = 1, .witness = true));
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
    check_error(CALL(&alice, HELLO, hello, .version = 1), ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_eq(alice.session, before);
}
END_TEST

START_TEST(test_hello_without_room_for_the_witness_leaves_no_session)
{
    struct caller caller = {.connection = &caller};
    uint32_t before = broker.session_count;
    test_shm_fill(0);
    check_error(CALL(&caller, HELLO, hello, .version = 1, .witness = true),
                ERROR_SHARED_MEMORY_FULL);
    ck_assert_ptr_null(caller.session);
    ck_assert_uint_eq(broker.session_count, before);
    test_shm_unfill();
}
END_TEST

/* Leaves the process `count` descriptors to open. */
static void limit_descriptors(int count)
{
    struct rlimit limit;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count < 0 ? limit.rlim_max : (rlim_t)(next + count);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(test_hello_without_descriptors_leaves_no_session)
{
    struct caller caller = {.connection = &caller};
    uint32_t before = broker.session_count;
    limit_descriptors(0);
    enum answer_kind kind = CALL(&caller, HELLO, hello, .version = 1, .witness = true);
    limit_descriptors(-1);
    check_error(kind, ERROR_SYSTEM);
    ck_assert_uint_eq(error->system_error, EMFILE);
    ck_assert_uint_eq(broker.session_count, before);
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

START_TEST(test_pool_open_gives_three_descriptors_to_map)
{
    for (int write = 0; write <= 1; write++) {
        check_reply(
            CALL(&alice, POOL_OPEN, pool_open, .name = "frames", .map = true, .write = write));
        ck_assert_uint_eq(answer.reply.pool_open.descriptors, 3);
        ck_assert_uint_eq(answer.descriptor_count, 3);
        for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++)
            ck_assert_int_eq(fcntl(answer.descriptors[object], F_GETFL) & O_ACCMODE,
                             write && object == POOL_DATA ? O_RDWR : O_RDONLY);
        close_descriptors();
    }
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
    for (int count = 0; count < DISPATCH_DESCRIPTORS; count++) {
        limit_descriptors(count);
        enum answer_kind kind =
            CALL(&alice, POOL_OPEN, pool_open, .name = "frames", .map = true, .create = true);
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

START_TEST(test_pool_open_that_fails_leaves_no_pool_that_it_made)
{
    check_error(CALL(&alice, POOL_OPEN, pool_open, .name = "new", .create = true, .write = true,
                     .object_size = 1, .capacity = 1, .mode = 0400),
                ERROR_NOT_PERMITTED);
    ck_assert_ptr_null(broker_find_pool(&broker, "new"));
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
    stranger.peer.gid = OWNER;
    check_reply(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames"));
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames", .write = true),
                ERROR_NOT_PERMITTED);
    stranger.peer.uid = broker.uid;
    check_reply(CALL(&stranger, POOL_OPEN, pool_open, .name = "frames", .write = true));
}
END_TEST

START_TEST(test_pool_open_has_a_limit_of_members)
{
    struct pool *full = broker_find_pool(&broker, "frames");
    for (uint32_t i = 1; i <= POOL_MEMBER_MAX; i++)
        full->members[i] = UINT64_MAX;
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
        full->members[i] = 0;
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

START_TEST(test_pool_destroy_refuses_while_others_have_it_open)
{
    open_to_write(&bob);
    open_to_write(&alice);
    check_error(CALL(&alice, POOL_DESTROY, pool_destroy, .name = "frames"), ERROR_POOL_IN_USE);
    ck_assert_uint_eq(error->members, 1);
    ck_assert_uint_eq(error->allocated, 0);
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
    "dispatch", set_up, tear_down, test_dispatch_refuses_an_unknown_method,
    test_dispatch_refuses_an_unknown_field, test_dispatch_refuses_a_missing_field,
    test_dispatch_wants_hello_before_every_other_method,
    test_hello_begins_a_session_and_says_the_limits, test_hello_gives_the_witness_if_asked,
    test_hello_refuses_another_version_of_the_protocol, test_hello_is_said_once,
    test_hello_without_room_for_the_witness_leaves_no_session,
    test_hello_without_descriptors_leaves_no_session, test_ping_says_who_answers,
    test_sessions_are_listed_with_what_they_hold, test_sessions_are_listed_in_pages,
    test_pool_list_shows_what_a_pool_is, test_pool_list_comes_in_pages, test_stats_follow_the_pool,
    test_pool_that_is_not_there_is_named, test_pool_create_gives_the_pool_to_the_caller,
    test_pool_create_refuses_what_is_no_name, test_pool_create_refuses_impossible_numbers,
    test_pool_create_refuses_a_taken_name, test_pool_open_says_what_the_pool_is,
    test_pool_open_gives_three_descriptors_to_map,
    test_pool_open_maps_only_for_sessions_with_a_witness,
    test_pool_open_without_descriptors_joins_nothing, test_pool_open_makes_the_pool_if_asked,
    test_pool_open_that_fails_leaves_no_pool_that_it_made, test_pool_open_compares_what_is_given,
    test_pool_open_compares_when_it_could_create_too, test_pool_open_obeys_the_mode,
    test_pool_open_has_a_limit_of_members, test_pool_close_frees_what_the_session_held,
    test_pool_destroy_is_for_its_owner_and_the_daemons,
    test_pool_destroy_refuses_while_others_have_it_open,
    test_pool_destroy_refuses_while_slots_are_allocated,
    test_allocate_needs_a_pool_that_is_open_to_write, test_allocate_limits_count_and_request,
    test_allocate_gives_the_biggest_batch_whole, test_allocate_is_answered_later_when_it_waits,
    test_pool_destroy_answers_who_waits_there, test_free_wants_whole_handles,
    test_free_limits_the_handles, test_free_says_which_handle_is_wrong)
