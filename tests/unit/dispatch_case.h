/* SPDX-License-Identifier: MIT */
/*
 * The stage for tests of dispatch: a broker with one pool, "frames", which alice made; three callers; and
 * calls that go through the protocol's own encoder and decoder.
 */
#ifndef TESTS_UNIT_DISPATCH_CASE_H
#define TESTS_UNIT_DISPATCH_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/dispatch.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "tests/lib/kind.h"
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
static int64_t now = 1000;

/* Two callers of the pool's owner, and one of nobody that it knows. */
static struct caller alice = {.who.peer = {11, OWNER, OWNER}, .connection = &alice, .bell = -1};
static struct caller bob = {.who.peer = {12, OWNER, OWNER}, .connection = &bob, .bell = -1};
static struct caller stranger = {
    .who.peer = {13, STRANGER, STRANGER}, .connection = &stranger, .bell = -1};

static struct {
    unsigned count;
    void *connection;
    uint32_t msgid;
    enum method method;
    enum error_code code;
    size_t size; /* of handles */
    uint32_t events;
    uint64_t capacity;
} later;

static inline void take_later(void *connection, uint32_t msgid, enum method method,
                              const void *reply, const struct error *refusal)
{
    const struct allocate_reply *allocated = method == METHOD_ALLOCATE ? reply : NULL;
    const struct events_reply *events = method == METHOD_EVENTS ? reply : NULL;
    later.count++;
    later.connection = connection;
    later.msgid = msgid;
    later.method = method;
    later.code = refusal ? refusal->code : ERROR_NONE;
    later.size = allocated ? allocated->handles.size : 0;
    later.events = events ? events->events.count : 0;
    later.capacity =
        method == METHOD_POOL_GROW && reply ? ((const struct pool_grow_reply *)reply)->capacity : 0;
}

static void *let_go; /* the connection that has lost its session */

static inline void take_let_go(void *connection)
{
    struct caller *caller = connection;
    caller->session = NULL;
    let_go = connection;
}

/* One job beside the loop: the test has it done. */
static struct job *job;

static inline int take_job(void *context, struct job *taken)
{
    (void)context;
    ck_assert_ptr_null(job);
    job = taken;
    return 0;
}

static inline void do_job(void)
{
    struct job *taken = job;
    ck_assert_ptr_nonnull(taken);
    job = NULL;
    taken->run(taken);
    taken->done(&broker, taken);
    broker_check(&broker);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static inline void dispatch_bytes(struct caller *caller, const msgpack_sbuffer *buffer)
{
    struct envelope envelope;
    struct error malformed;
    const uint8_t *data = (const uint8_t *)buffer->data;
    ck_assert_msg(envelope_decode(&decoder, data, buffer->size, &envelope, &malformed), "%s",
                  malformed.message);
    memset(&answer, 0x5a, sizeof(answer));
    dispatch(&served, caller, &envelope, now, &answer);
    broker_check(&broker);
}

/* As it comes from the wire: encoded and decoded. */
static inline enum answer_kind call(struct caller *caller, enum method method, const void *request)
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

static inline void check_error(enum answer_kind kind, enum error_code code)
{
    ck_assert_int_eq(kind, ANSWER_ERROR);
    ck_assert_msg(error->code == code, "%s: %s", error_name(error->code), error->message);
    ck_assert_uint_eq(answer.descriptor_count, 0);
    ck_assert_str_ne(error->message, "");
}

static inline void check_reply(enum answer_kind kind)
{
    ck_assert_msg(kind == ANSWER_REPLY, "%s", error->message);
}

static inline void close_descriptors(void)
{
    while (answer.descriptor_count > 0)
        ck_assert_int_eq(close(answer.descriptors[--answer.descriptor_count]), 0);
}

static inline void greet(struct caller *caller, bool witness)
{
    check_reply(
        CALL(caller, HELLO, hello, .version = PROTOCOL_VERSION, .name = "x", .witness = witness));
    close_descriptors();
}

static inline uint32_t create(struct caller *caller, const char *name)
{
    struct pool_create_request request = {.kind = test_kind(),
                                          .object_size = 40,
                                          .capacity = CAPACITY,
                                          .type = "frame",
                                          .mode = 0640};
    name_copy(request.name, name);
    check_reply(call(caller, METHOD_POOL_CREATE, &request));
    return answer.reply.pool_create.pool;
}

static inline uint32_t open_to_write(struct caller *caller)
{
    check_reply(CALL(caller, POOL_OPEN, pool_open, .name = "frames", .write = true));
    return answer.reply.pool_open.pool;
}

static uint32_t pool;

static inline void dispatch_set_up(void)
{
    char path[64];
    test_private_shm(16 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    const struct broker_rim rim = {
        .answer = take_later, .let_go = take_let_go, .offload = take_job};
    ck_assert_int_eq(broker_init(&broker, path, &rim, now), 0);
    ck_assert_int_eq(decoder_init(&decoder), 0);
    log_set_level(LOG_LEVEL_ERROR);
    broker.uid = 300; /* not root, which some callers below are */
    greet(&alice, true);
    greet(&bob, false);
    greet(&stranger, false);
    pool = create(&alice, "frames");
}

static inline void hang_up(struct caller *caller)
{
    if (!caller->session)
        return;
    broker_disconnect(&broker, caller->session);
    ck_assert(broker_end_session(&broker, caller->session));
}

static inline void dispatch_tear_down(void)
{
    uint32_t pools, sessions;
    if (job)
        do_job();
    hang_up(&alice);
    hang_up(&bob);
    hang_up(&stranger);
    while (!TAILQ_EMPTY(&broker.pools)) /* some hold what is detached */
        broker_destroy_pool(&broker, TAILQ_FIRST(&broker.pools));
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    decoder_deinit(&decoder);
    if (alice.bell >= 0)
        close(alice.bell);
    alice.bell = -1;
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

/* Leaves the process `count` descriptors to open. */
static inline void limit_descriptors(int count)
{
    struct rlimit limit;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count < 0 ? limit.rlim_max : (rlim_t)(next + count);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

#endif
