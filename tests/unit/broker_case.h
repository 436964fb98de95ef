/* SPDX-License-Identifier: MIT */
/*
 * The stage for tests of the broker and its parts: a broker with one pool, "frames", and two sessions in
 * it, alice and bob; a rim that keeps the answers, and the jobs until the test has them done; time as the
 * test says it. The laws are checked after each step.
 */
#ifndef TESTS_UNIT_BROKER_CASE_H
#define TESTS_UNIT_BROKER_CASE_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/demand.h"
#include "daemon/growing.h"
#include "daemon/leasing.h"
#include "daemon/listening.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "daemon/notice.h"
#include "shm/order.h"
#include "tests/lib/aborts.h"
#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define CAPACITY 4u
#define FOREVER INT64_C(-1)
#define ANSWERS_MAX 20000u
#define ANSWERS_WHOLE 64u /* of the first so many all is kept */
#define JOBS_MAX 8u
#define MIB (UINT64_C(1) << 20)
#define SHM_SIZE (64 * MIB)
#define DAEMON_UID 300u /* not root, which some sessions are */

static const struct peer peer = {12, 34, 56};
static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static char path[64];
static struct broker broker;
static struct pool *pool;           /* "frames" */
static struct session *alice, *bob; /* whose connections are these names */
static struct error error;
static struct allocate_reply reply;
static uint64_t requests; /* that were numbered */

/* ---- The rim --------------------------------------------------------------------------------- */

static struct answered {
    const char *connection;
    uint32_t msgid;
    enum method method;
    enum error_code code;
    uint32_t count; /* handles, or events */
} answers[ANSWERS_MAX];
static size_t answer_count;

static struct {
    struct error error;
    uint8_t handles[64 * HANDLE_WIRE_SIZE];
    struct pool_grow_reply grow;
    struct events_reply events;
    struct event_info infos[PROTOCOL_LIST_MAX];
} whole[ANSWERS_WHOLE];

static inline void keep_whole(size_t number, const void *given, const struct error *refusal)
{
    struct answered *answer = &answers[number];
    if (refusal) {
        whole[number].error = *refusal;
    } else if (answer->method == METHOD_POOL_GROW) {
        whole[number].grow = *(const struct pool_grow_reply *)given;
    } else if (answer->method == METHOD_EVENTS) {
        whole[number].events = *(const struct events_reply *)given;
        memcpy(whole[number].infos, whole[number].events.events.items,
               answer->count * sizeof(struct event_info));
    } else {
        const struct bytes *handles = &((const struct allocate_reply *)given)->handles;
        memcpy(whole[number].handles, handles->data,
               handles->size < sizeof(whole[0].handles) ? handles->size : sizeof(whole[0].handles));
    }
}

static inline void take_answer(void *connection, uint32_t msgid, enum method method,
                               const void *given, const struct error *refusal)
{
    ck_assert_ptr_nonnull(connection); /* never to one that is gone */
    ck_assert_uint_lt(answer_count, ANSWERS_MAX);
    ck_assert((given == NULL) != (refusal == NULL));
    struct answered *answer = &answers[answer_count];
    *answer = (struct answered){.connection = connection, .msgid = msgid, .method = method};
    if (refusal)
        answer->code = refusal->code;
    else if (method == METHOD_ALLOCATE)
        answer->count =
            (uint32_t)(((const struct allocate_reply *)given)->handles.size / HANDLE_WIRE_SIZE);
    else if (method == METHOD_EVENTS)
        answer->count = ((const struct events_reply *)given)->events.count;
    if (answer_count < ANSWERS_WHOLE)
        keep_whole(answer_count, given, refusal);
    answer_count++;
}

static struct job *jobs[JOBS_MAX]; /* oldest first */
static unsigned job_count;
static int offload_status; /* not 0: none is taken */

static inline int take_job(void *context, struct job *job)
{
    ck_assert_ptr_eq(context, jobs);
    if (offload_status < 0)
        return offload_status;
    ck_assert_uint_lt(job_count, JOBS_MAX);
    jobs[job_count++] = job;
    return 0;
}

static const struct broker_rim rim = {.answer = take_answer, .offload = take_job, .context = jobs};

/* What a loop does when the thread with the oldest job is through. */
static inline void finish_job(void)
{
    struct job *job = jobs[0];
    memmove(jobs, jobs + 1, --job_count * sizeof(struct job *));
    job->done(&broker, job);
    broker_check(&broker);
}

static inline void do_job(void)
{
    ck_assert_uint_gt(job_count, 0);
    jobs[0]->run(jobs[0]);
    finish_job();
}

static inline void check_answer(size_t number, const char *connection, uint32_t msgid,
                                enum error_code code)
{
    ck_assert_uint_gt(answer_count, number);
    ck_assert_str_eq(answers[number].connection, connection);
    ck_assert_uint_eq(answers[number].msgid, msgid);
    ck_assert_msg(answers[number].code == code, "%s", error_name(answers[number].code));
}

/* ---- Sessions and pools ---------------------------------------------------------------------- */

static char alice_name[] = "alice", bob_name[] = "bob";

static inline struct session *begin_as(char *name, bool witnessed, uid_t uid)
{
    struct session *session;
    const struct peer who = {12, uid, uid};
    ck_assert_msg(broker_begin_session(&broker, &who, name, witnessed, name, &session, &error),
                  "%s", error.message);
    broker_check(&broker);
    return session;
}

static inline struct session *begin(char *name, bool witnessed)
{
    return begin_as(name, witnessed, peer.uid);
}

/* MAKE(.name = "x", .capacity = 7): of objects of 8 bytes if nothing else is said. */
#define MAKE(...) make_pool((struct pool_config){__VA_ARGS__})

static inline struct pool *make_pool(struct pool_config config)
{
    struct pool *made;
    if (!config.type)
        config.type = "";
    if (config.object_size == 0)
        config.object_size = 8;
    if (config.kind == 0)
        config.kind = test_kind();
    if (config.mode == 0)
        config.mode = 0600;
    if (config.uid == 0)
        config.uid = peer.uid;
    ck_assert_msg(broker_create_pool(&broker, &config, &made, &error), "%s", error.message);
    broker_check(&broker);
    return made;
}

static inline struct membership *join(struct session *session, struct pool *joined)
{
    struct membership *membership = session_join(session, joined, true);
    ck_assert_ptr_nonnull(membership);
    broker_check(&broker);
    return membership;
}

static inline uint32_t member_of(const struct session *session, const struct pool *joined)
{
    return session_membership(session, joined->id)->member;
}

static inline void end(struct session **session)
{
    if (!*session)
        return;
    broker_disconnect(&broker, *session);
    broker_check(&broker);
    ck_assert(broker_end_session(&broker, *session));
    *session = NULL;
    broker_check(&broker);
}

static inline void broker_set_up(void)
{
    test_private_shm(SHM_SIZE);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    broker.uid = DAEMON_UID;
    log_set_level(LOG_LEVEL_ERROR);
    pool = MAKE(.name = "frames", .capacity = CAPACITY, .watermark = "off");
    alice = begin(alice_name, true);
    bob = begin(bob_name, false);
    join(alice, pool);
    join(bob, pool);
}

static inline void broker_tear_down(void)
{
    uint32_t pools, sessions;
    while (job_count > 0)
        do_job();
    while (!TAILQ_EMPTY(&broker.sessions)) {
        struct session *session = TAILQ_FIRST(&broker.sessions);
        end(&session);
    }
    ck_assert_uint_eq(broker.waiter_count, 0);
    while (!TAILQ_EMPTY(&broker.pools))
        broker_destroy_pool(&broker, TAILQ_FIRST(&broker.pools)); /* some hold what is detached */
    while (job_count > 0)
        do_job();
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    ck_assert_uint_eq(pools + sessions, 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* Where there are so many that the laws can't be checked each time. */
static inline enum broker_outcome ask_unchecked(struct session *session, const struct pool *of,
                                                uint32_t msgid, struct allocate_request request)
{
    request.pool = of->id;
    if (request.request == 0)
        request.request = ++requests;
    error.code = ERROR_NONE;
    enum broker_outcome outcome = demand_request(
        &broker, session, session_membership(session, of->id), &request, msgid, &reply, &error);
    ck_assert((outcome == BROKER_REFUSED) == (error.code != ERROR_NONE));
    return outcome;
}

static inline enum broker_outcome ask(struct session *session, const struct pool *of,
                                      uint32_t msgid, struct allocate_request request)
{
    memset(&error, 0, sizeof(error));
    enum broker_outcome outcome = ask_unchecked(session, of, msgid, request);
    broker_check(&broker);
    return outcome;
}

/* ASK(alice, pool, 7, .count = 2, .timeout = FOREVER) */
#define ASK(session, of, msgid, ...) ask(session, of, msgid, (struct allocate_request){__VA_ARGS__})
#define ASK_UNCHECKED(session, of, msgid, ...)                                                     \
    ask_unchecked(session, of, msgid, (struct allocate_request){__VA_ARGS__})
#define WAITS(...) ck_assert_int_eq(ASK(__VA_ARGS__), BROKER_WAITS)
#define GETS(...) ck_assert_int_eq(ASK(__VA_ARGS__), BROKER_DONE)
#define REFUSES(code_, ...)                                                                        \
    do {                                                                                           \
        ck_assert_int_eq(ASK(__VA_ARGS__), BROKER_REFUSED);                                        \
        ck_assert_msg(error.code == (code_), "%s", error.message);                                 \
    } while (0)

#define NORMAL 0u
#define CRITICAL 1u
#define BEST_EFFORT 2u

/* The handles of those that take() got. */
static uint8_t held[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE];

static inline void take(struct session *session, const struct pool *of, uint32_t count)
{
    GETS(session, of, 0, .count = count);
    ck_assert_uint_eq(reply.handles.size, (size_t)count * HANDLE_WIRE_SIZE);
    memcpy(held, reply.handles.data, reply.handles.size);
}

/* Those from there on, by alice. */
static inline bool operate(struct pool *of, enum pool_operation operation, uint32_t first,
                           uint32_t count)
{
    memset(&error, 0, sizeof(error));
    bool done = pool_operate(of, operation, member_of(alice ? alice : bob, of),
                             held + (size_t)first * HANDLE_WIRE_SIZE, count, broker.now, &error);
    if (done)
        demand_serve(&broker, of);
    else
        leasing_settle(&broker, of);
    broker_check(&broker);
    return done;
}

static inline bool give_back(struct pool *of, uint32_t first, uint32_t count)
{
    return operate(of, POOL_FREE, first, count);
}

/* It is then. */
static inline void pass_to(int64_t now)
{
    broker_set_time(&broker, now);
    broker_pass_time(&broker);
    broker_check(&broker);
}

/* ---- What happened --------------------------------------------------------------------------- */

/* The newest event of the kind; NULL. */
static inline const struct event *last_event(enum event_kind kind)
{
    const struct event *found = NULL, *event = events_after(&broker.events, 0);
    for (; event; event = events_after(&broker.events, event->number)) {
        if (event->kind == kind)
            found = event;
        if (event->number == *broker.events.last)
            break;
    }
    return found;
}

static inline unsigned count_events(enum event_kind kind)
{
    unsigned count = 0;
    const struct event *event = events_after(&broker.events, 0);
    for (; event; event = events_after(&broker.events, event->number)) {
        count += event->kind == kind;
        if (event->number == *broker.events.last)
            break;
    }
    return count;
}

/* For TEST_ABORTS_WITH. */
static inline void check_laws(const void *object)
{
    broker_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check_laws, &broker, place, value)

#endif
