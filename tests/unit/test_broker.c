/* SPDX-License-Identifier: MIT */
#include "daemon/broker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/lib/aborts.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define PAGE 4096u
#define CAPACITY 4u
#define ANSWERS_MAX 1100u
#define FOREVER INT64_C(-1)

static const struct peer peer = {12, 34, 56};
static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static char path[64];
static struct broker broker;
static struct session *alice, *bob; /* with connections of these names */
static struct membership *alices, *bobs;
static struct pool *pool;
static struct error error;
static struct allocate_reply reply;
static uint64_t requests;

/* ---- Answers that came later ----------------------------------------------------------------- */

static struct answered {
    const char *connection;
    uint32_t msgid;
    enum error_code code;
    struct error error;
    uint32_t count;
    uint8_t handles[CAPACITY * HANDLE_WIRE_SIZE];
} answers[ANSWERS_MAX];
static size_t answer_count;

static void take_answer(void *connection, uint32_t msgid, const struct allocate_reply *given,
                        const struct error *refusal)
{
    ck_assert_uint_lt(answer_count, ANSWERS_MAX);
    struct answered *answer = &answers[answer_count++];
    *answer = (struct answered){.connection = connection, .msgid = msgid};
    ck_assert((given == NULL) != (refusal == NULL));
    if (refusal) {
        answer->error = *refusal;
        answer->code = refusal->code;
        return;
    }
    answer->count = (uint32_t)(given->handles.size / HANDLE_WIRE_SIZE);
    memcpy(answer->handles, given->handles.data, given->handles.size);
}

static void check_answer(size_t number, const char *connection, uint32_t msgid,
                         enum error_code code)
{
    ck_assert_uint_gt(answer_count, number);
    ck_assert_str_eq(answers[number].connection, connection);
    ck_assert_uint_eq(answers[number].msgid, msgid);
    ck_assert_int_eq(answers[number].code, code);
}

/* ---- A broker with one pool and two sessions in it ------------------------------------------- */

static char alice_name[] = "alice", bob_name[] = "bob";

static struct session *begin(char *name, bool witnessed)
{
    struct session *session;
    ck_assert_msg(broker_begin_session(&broker, &peer, name, witnessed, name, &session, &error),
                  "%s", error.message);
    broker_check(&broker);
    return session;
}

static struct pool *create_pool(const char *name, uint64_t capacity)
{
    struct pool *made;
    struct pool_config config = {.name = name, .type = "", .object_size = 8, .capacity = capacity};
    ck_assert_msg(broker_create_pool(&broker, &config, &made, &error), "%s", error.message);
    broker_check(&broker);
    return made;
}

static void set_up(void)
{
    test_private_shm(16 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, take_answer), 0);
    log_set_level(LOG_LEVEL_ERROR);
    pool = create_pool("frames", CAPACITY);
    alice = begin(alice_name, true);
    bob = begin(bob_name, false);
    alices = session_join(alice, pool, true);
    bobs = session_join(bob, pool, true);
    broker_check(&broker);
}

static void end(struct session **session)
{
    if (!*session)
        return;
    broker_disconnect(&broker, *session);
    broker_check(&broker);
    ck_assert(broker_end_session(&broker, *session));
    *session = NULL;
    broker_check(&broker);
}

static void tear_down(void)
{
    uint32_t pools, sessions;
    end(&alice);
    end(&bob);
    broker_check(&broker);
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    ck_assert_uint_eq(pools + sessions, 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

static enum broker_outcome ask_at(struct session *session, const struct membership *membership,
                                  uint32_t count, int64_t timeout, uint32_t msgid, int64_t now)
{
    struct allocate_request request = {
        .pool = membership->pool->id, .request = ++requests, .count = count, .timeout = timeout};
    memset(&error, 0, sizeof(error));
    enum broker_outcome outcome =
        broker_allocate(&broker, session, membership, &request, msgid, now, &reply, &error);
    broker_check(&broker);
    return outcome;
}

static enum broker_outcome ask(struct session *session, uint32_t count, int64_t timeout,
                               uint32_t msgid)
{
    return ask_at(session, session == alice ? alices : bobs, count, timeout, msgid, 0);
}

/* The handles of the last reply that was done at once. */
static uint8_t held[64 * HANDLE_WIRE_SIZE];

static void allocate(struct session *session, uint32_t count)
{
    ck_assert_int_eq(ask(session, count, 0, 0), BROKER_DONE);
    ck_assert_uint_eq(reply.handles.size, (size_t)count * HANDLE_WIRE_SIZE);
    memcpy(held, reply.handles.data, reply.handles.size);
}

static bool free_from(uint32_t first, uint32_t count)
{
    struct bytes handles = {held + (size_t)first * HANDLE_WIRE_SIZE,
                            (size_t)count * HANDLE_WIRE_SIZE};
    memset(&error, 0, sizeof(error));
    bool freed = broker_free(&broker, alices ? alices : bobs, &handles, &error);
    broker_check(&broker);
    return freed;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

START_TEST(test_broker_sessions_have_ids_in_order)
{
    ck_assert_uint_eq(alice->id, 1);
    ck_assert_uint_eq(bob->id, 2);
    end(&alice);
    alices = NULL;
    alice = begin(alice_name, false);
    ck_assert_uint_eq(alice->id, 3);
    ck_assert_uint_eq(broker.session_count, 2);
}
END_TEST

START_TEST(test_broker_has_a_limit_of_sessions)
{
    static struct session *more[REGISTRY_SESSIONS];
    struct session *none;
    for (uint32_t i = 2; i < REGISTRY_SESSIONS; i++)
        ck_assert(broker_begin_session(&broker, &peer, "", false, alice_name, &more[i], &error));

    ck_assert(!broker_begin_session(&broker, &peer, "", false, alice_name, &none, &error));
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, REGISTRY_SESSIONS);
    for (uint32_t i = 2; i < REGISTRY_SESSIONS; i++) {
        broker_disconnect(&broker, more[i]);
        ck_assert(broker_end_session(&broker, more[i]));
    }
}
END_TEST

START_TEST(test_broker_session_without_room_for_its_witness_is_refused)
{
    struct session *session;
    test_shm_fill(0);
    ck_assert(!broker_begin_session(&broker, &peer, "", true, alice_name, &session, &error));
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_eq(error.needed, PAGE);
    ck_assert_uint_eq(error.available, 0);
    ck_assert_uint_eq(broker.session_count, 2);
    broker_check(&broker);
    test_shm_unfill();
}
END_TEST

START_TEST(test_broker_session_without_a_file_for_its_witness_is_told_so)
{
    struct session *session;
    test_private_shm_resize(16 << 20, test_shm_files());
    ck_assert(!broker_begin_session(&broker, &peer, "", true, alice_name, &session, &error));
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_ptr_nonnull(strstr(error.message, "nr_inodes"));
    ck_assert_uint_ge(error.available, error.needed);
    test_private_shm_resize(16 << 20, 0);
}
END_TEST

START_TEST(test_broker_end_frees_what_the_session_held)
{
    allocate(bob, 3);
    end(&bob);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 3);
    ck_assert_uint_eq(pool->ctl->counters.total_deallocations, 3);
    ck_assert(!free_from(0, 1));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_broker_does_not_end_a_session_that_is_alive)
{
    int fd = session_witness(alice);
    allocate(alice, 2);
    broker_disconnect(&broker, alice);

    ck_assert(!broker_end_session(&broker, alice));
    broker_check(&broker);
    ck_assert_uint_eq(pool_usage(pool), 2);
    close(fd); /* the last that the client had of it */
    end(&alice);
    alices = NULL;
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

START_TEST(test_broker_disconnect_drops_waiting_requests_without_an_answer)
{
    allocate(bob, CAPACITY);
    ck_assert_int_eq(ask(alice, 1, FOREVER, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, 100, 2), BROKER_WAITS);
    broker_disconnect(&broker, alice);
    broker_check(&broker);
    ck_assert_uint_eq(broker.waiter_count, 0);
    ck_assert_int_eq(broker_next_deadline(&broker), WAITER_FOREVER);
    ck_assert_uint_eq(answer_count, 0);
}
END_TEST

START_TEST(test_broker_disconnect_of_the_first_in_the_queue_lets_the_next_through)
{
    allocate(alice, CAPACITY - 1);
    ck_assert_int_eq(ask(alice, 2, FOREVER, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, FOREVER, 2), BROKER_WAITS);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 3), BROKER_WAITS);
    broker_disconnect(&broker, alice);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 3, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_end_serves_who_waited_in_order)
{
    allocate(bob, CAPACITY);
    ck_assert_int_eq(ask(alice, 2, FOREVER, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, FOREVER, 2), BROKER_WAITS);
    end(&bob);
    ck_assert_uint_eq(answer_count, 2);
    check_answer(0, "alice", 1, ERROR_NONE);
    check_answer(1, "alice", 2, ERROR_NONE);
    ck_assert_uint_eq(answers[0].count, 2);
    ck_assert_uint_eq(pool_usage(pool), 3);
}
END_TEST

START_TEST(test_broker_close_frees_and_refuses_what_waits_there)
{
    struct pool *other = create_pool("other", 1);
    struct membership *others = session_join(bob, other, true);
    allocate(bob, CAPACITY);
    ck_assert_int_eq(ask_at(bob, others, 1, 0, 0, 0), BROKER_DONE);
    ck_assert_int_eq(ask_at(bob, others, 1, FOREVER, 9, 0), BROKER_WAITS);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 4, FOREVER, 2), BROKER_WAITS);

    ck_assert_uint_eq(broker_close_pool(&broker, bob, bobs), CAPACITY);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 2); /* that in the other pool still waits */
    check_answer(0, "bob", 1, ERROR_NOT_A_MEMBER);
    ck_assert_str_eq(answers[0].error.pool, "frames");
    check_answer(1, "alice", 2, ERROR_NONE);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 0);
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_broker_finds_pools_by_name)
{
    struct pool *other = create_pool("other", 1);
    ck_assert_ptr_eq(broker_find_pool(&broker, "frames"), pool);
    ck_assert_ptr_eq(broker_find_pool(&broker, "other"), other);
    ck_assert_ptr_null(broker_find_pool(&broker, "frame"));
    ck_assert_ptr_null(broker_find_pool(&broker, ""));
}
END_TEST

START_TEST(test_broker_refuses_a_name_that_is_taken)
{
    struct pool *made;
    struct pool_config config = {.name = "frames", .type = "", .object_size = 8, .capacity = 1};
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    ck_assert_int_eq(error.code, ERROR_POOL_EXISTS);
    ck_assert_str_eq(error.pool, "frames");
    broker_check(&broker);
}
END_TEST

static unsigned registered_pools(void)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        count += broker.registry.file->pools[i].state != REGISTRY_FREE;
    return count;
}

START_TEST(test_broker_pool_that_fails_leaves_no_entry)
{
    struct pool *made;
    struct pool_config config = {.name = "big", .type = "", .object_size = 8, .capacity = 1};
    test_shm_fill(0);
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    test_shm_unfill();
    config.capacity = 0;
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID_CAPACITY);
    ck_assert_uint_eq(registered_pools(), 1);
    broker_check(&broker);
}
END_TEST

START_TEST(test_broker_has_a_limit_of_pools)
{
    char name[16];
    struct pool *made;
    struct pool_config config = {.name = name, .type = "", .object_size = 1, .capacity = 1};
    test_private_shm_resize(256 << 20, 0);
    for (unsigned i = 1; i < REGISTRY_POOLS; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        ck_assert_msg(broker_create_pool(&broker, &config, &made, &error), "%s", error.message);
    }
    strcpy(name, "last");
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, REGISTRY_POOLS);
    broker_destroy_pool(&broker, broker_find_pool(&broker, "p7"));
    ck_assert(broker_create_pool(&broker, &config, &made, &error));
    ck_assert_uint_eq(made->id, REGISTRY_POOLS + 1); /* ids are never used again */
}
END_TEST

START_TEST(test_broker_destroy_answers_waiters_and_ends_memberships)
{
    allocate(bob, 3);
    ck_assert_int_eq(ask(alice, 2, 100, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 2), BROKER_WAITS);
    ck_assert_uint_eq(broker_destroy_pool(&broker, pool), 3);
    broker_check(&broker);

    check_answer(0, "alice", 1, ERROR_POOL_DESTROYED);
    check_answer(1, "bob", 2, ERROR_POOL_DESTROYED);
    ck_assert_str_eq(answers[1].error.pool, "frames");
    ck_assert_ptr_null(session_membership(alice, 1));
    ck_assert_uint_eq(bob->membership_count, 0);
    ck_assert_ptr_null(broker_find_pool(&broker, "frames"));
    ck_assert_uint_eq(registered_pools(), 0);
    ck_assert_uint_eq(test_shm_files(), 1); /* alice's witness */
}
END_TEST

START_TEST(test_broker_refuses_all_that_wait_when_it_ends)
{
    struct pool *other = create_pool("other", 1);
    struct membership *others = session_join(bob, other, true);
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(alice, 1, -1, 1), BROKER_WAITS);
    ck_assert_int_eq(ask_at(bob, others, 1, 0, 2, 0), BROKER_DONE);
    ck_assert_int_eq(ask_at(bob, others, 1, 10, 3, 0), BROKER_WAITS);

    broker_refuse_all(&broker);
    broker_check(&broker);
    check_answer(0, "alice", 1, ERROR_SHUTTING_DOWN);
    check_answer(1, "bob", 3, ERROR_SHUTTING_DOWN);
    ck_assert_int_eq(broker_next_deadline(&broker), WAITER_FOREVER);
}
END_TEST

START_TEST(test_broker_pool_of_a_name_that_was_destroyed_is_another)
{
    allocate(bob, 1);
    broker_destroy_pool(&broker, pool);
    pool = create_pool("frames", CAPACITY);
    ck_assert_uint_eq(pool->id, 2);
    alices = session_join(alice, pool, true);
    ck_assert(!free_from(0, 1));
    ck_assert_int_eq(error.code, ERROR_WRONG_POOL);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

START_TEST(test_broker_allocates_one_when_no_count_is_given)
{
    ck_assert_int_eq(ask(alice, 0, 0, 0), BROKER_DONE);
    ck_assert_uint_eq(reply.handles.size, HANDLE_WIRE_SIZE);
}
END_TEST

START_TEST(test_broker_allocates_the_last_slot_and_no_more)
{
    allocate(alice, CAPACITY - 1);
    allocate(bob, 1);
    ck_assert_int_eq(ask(alice, 1, 0, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_POOL_EXHAUSTED);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_uint_eq(error.capacity, CAPACITY);
    ck_assert_uint_eq(error.allocated, CAPACITY);
    ck_assert_uint_eq(error.requested, 1);
    ck_assert_uint_eq(error.waiters, 0);
    ck_assert_uint_eq(pool->ctl->counters.allocation_failures, 1);
}
END_TEST

START_TEST(test_broker_allocates_all_or_nothing)
{
    allocate(alice, 2);
    ck_assert_int_eq(ask(alice, 3, 0, 0), BROKER_REFUSED);
    ck_assert_uint_eq(error.requested, 3);
    ck_assert_uint_eq(pool_usage(pool), 2);
    allocate(alice, 2);
}
END_TEST

START_TEST(test_broker_refuses_more_than_the_pool_has_however_long_it_could_wait)
{
    ck_assert_int_eq(ask(alice, CAPACITY + 1, FOREVER, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.requested, CAPACITY + 1);
    ck_assert_ptr_nonnull(strstr(error.message, "never has that many"));
    ck_assert_int_eq(ask(alice, CAPACITY, FOREVER, 0), BROKER_DONE);
}
END_TEST

START_TEST(test_broker_lets_nobody_overtake_a_request_that_waits)
{
    allocate(alice, CAPACITY - 1);
    ck_assert_int_eq(ask(bob, 2, FOREVER, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, 0, 0), BROKER_REFUSED);
    ck_assert_uint_eq(error.waiters, 1);
    ck_assert_ptr_nonnull(strstr(error.message, "others wait"));
    ck_assert_int_eq(ask(alice, 1, FOREVER, 2), BROKER_WAITS);
    ck_assert(free_from(0, 1));
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_free_serves_as_many_as_fit_in_order)
{
    allocate(alice, CAPACITY);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(ask(i % 2 ? bob : alice, 1, FOREVER, i), BROKER_WAITS);
    ck_assert_int_eq(ask(bob, 2, FOREVER, 3), BROKER_WAITS);
    ck_assert(free_from(0, CAPACITY));

    ck_assert_uint_eq(answer_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        check_answer(i, i % 2 ? "bob" : "alice", i, ERROR_NONE);
    ck_assert_uint_eq(pool->waiter_count, 1);
}
END_TEST

START_TEST(test_broker_serves_with_handles_that_are_good)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(bob, 2, FOREVER, 1), BROKER_WAITS);
    ck_assert(free_from(0, 2));
    ck_assert_uint_eq(answers[0].count, 2);
    memcpy(held, answers[0].handles, sizeof(answers[0].handles));
    ck_assert(free_from(0, 2));
}
END_TEST

START_TEST(test_broker_free_refused_serves_nobody)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 1), BROKER_WAITS);
    memcpy(held + HANDLE_WIRE_SIZE, held, HANDLE_WIRE_SIZE);
    ck_assert(!free_from(0, 2));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_uint_eq(answer_count, 0);
}
END_TEST

START_TEST(test_broker_lets_a_writer_free_what_another_holds)
{
    allocate(bob, 1);
    ck_assert(free_from(0, 1)); /* alice */
    ck_assert_uint_eq(session_usage(bob), 0);
}
END_TEST

/* ---- Time ------------------------------------------------------------------------------------ */

START_TEST(test_broker_expires_at_the_deadline_and_not_before)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask_at(bob, bobs, 2, 100, 1, 1000), BROKER_WAITS);
    ck_assert_int_eq(ask_at(bob, bobs, 1, FOREVER, 2, 1000), BROKER_WAITS);
    ck_assert_int_eq(broker_next_deadline(&broker), 1100);
    broker_expire(&broker, 1099);
    ck_assert_uint_eq(answer_count, 0);
    broker_expire(&broker, 1100);
    broker_check(&broker);

    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    ck_assert_str_eq(answers[0].error.pool, "frames");
    ck_assert_uint_eq(answers[0].error.capacity, CAPACITY);
    ck_assert_uint_eq(answers[0].error.allocated, CAPACITY);
    ck_assert_uint_eq(answers[0].error.requested, 2);
    ck_assert_uint_eq(answers[0].error.waiters, 1); /* others than this one */
    ck_assert_uint_eq(pool->ctl->counters.timeouts, 1);
    ck_assert_uint_eq(pool->ctl->counters.allocation_failures, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), WAITER_FOREVER);
}
END_TEST

START_TEST(test_broker_expires_in_order_of_deadlines)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(bob, 1, 30, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, 10, 2), BROKER_WAITS);
    ck_assert_int_eq(ask(bob, 1, 20, 3), BROKER_WAITS);
    broker_expire(&broker, 30);
    check_answer(0, "alice", 2, ERROR_TIMEOUT);
    check_answer(1, "bob", 3, ERROR_TIMEOUT);
    check_answer(2, "bob", 1, ERROR_TIMEOUT);
}
END_TEST

START_TEST(test_broker_expiry_of_the_first_in_the_queue_lets_the_next_through)
{
    allocate(alice, CAPACITY - 1);
    ck_assert_int_eq(ask(bob, 2, 10, 1), BROKER_WAITS);
    ck_assert_int_eq(ask(alice, 1, FOREVER, 2), BROKER_WAITS);
    broker_expire(&broker, 10);
    broker_check(&broker);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    check_answer(1, "alice", 2, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_timeout_beyond_all_time_is_for_ever)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask_at(bob, bobs, 1, INT64_MAX, 1, 1000), BROKER_WAITS);
    ck_assert_int_eq(ask_at(bob, bobs, 1, INT64_MIN, 2, 1000), BROKER_WAITS);
    ck_assert_int_eq(broker_next_deadline(&broker), WAITER_FOREVER);
    broker_expire(&broker, INT64_MAX);
    ck_assert_uint_eq(answer_count, 0);
    ck_assert_int_eq(ask_at(bob, bobs, 1, INT64_MAX - 1001, 3, 1000), BROKER_WAITS);
    ck_assert_int_eq(broker_next_deadline(&broker), INT64_MAX - 1);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------- */

START_TEST(test_broker_has_a_limit_of_waiting_requests_a_session)
{
    allocate(alice, CAPACITY);
    for (uint32_t i = 0; i < BROKER_SESSION_WAITERS; i++) {
        struct allocate_request request = {.pool = 1, .count = 1, .timeout = 1 + i % 7};
        ck_assert_int_eq(broker_allocate(&broker, bob, bobs, &request, i, 0, &reply, &error),
                         BROKER_WAITS);
    }
    ck_assert_int_eq(ask(bob, 1, FOREVER, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, BROKER_SESSION_WAITERS);
    ck_assert_int_eq(ask(alice, 1, FOREVER, 0), BROKER_WAITS);
    broker_expire(&broker, 1);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 0), BROKER_WAITS);
}
END_TEST

START_TEST(test_broker_has_a_limit_of_waiting_requests)
{
    enum { SESSIONS = BROKER_WAITERS / BROKER_SESSION_WAITERS };
    static struct session *more[SESSIONS];
    struct allocate_request request = {.pool = 1, .count = 1, .timeout = FOREVER};
    allocate(alice, CAPACITY);
    for (unsigned i = 0; i < SESSIONS; i++) {
        more[i] = begin(bob_name, false);
        struct membership *membership = session_join(more[i], pool, true);
        for (unsigned j = 0; j < BROKER_SESSION_WAITERS; j++)
            ck_assert_int_eq(
                broker_allocate(&broker, more[i], membership, &request, j, 0, &reply, &error),
                BROKER_WAITS);
    }
    ck_assert_int_eq(ask(bob, 1, FOREVER, 0), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, BROKER_WAITERS);
    end(&more[0]);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 0), BROKER_WAITS);
    for (unsigned i = 1; i < SESSIONS; i++)
        end(&more[i]);
}
END_TEST

/* ---- The end --------------------------------------------------------------------------------- */

START_TEST(test_broker_deinit_keeps_everything_for_a_session_that_is_alive)
{
    uint32_t pools, sessions;
    int fd = session_witness(alice); /* it holds no slot, and yet has all mapped */
    end(&bob);
    broker_disconnect(&broker, alice);
    ck_assert(!broker_deinit(&broker, &pools, &sessions));
    ck_assert_uint_eq(pools, 1);
    ck_assert_uint_eq(sessions, 1);
    ck_assert_uint_eq(test_shm_files(), 4);
    close(fd);

    struct registry_remains remains = {0};
    ck_assert_int_eq(registry_purge(path, &remains), 0);
    ck_assert_uint_eq(remains.pools, 1);
    ck_assert_uint_eq(remains.sessions, 1);
    ck_assert_uint_eq(remains.objects, 4);
    alice = NULL; /* a broker for the teardown */
    ck_assert_int_eq(broker_init(&broker, path, take_answer), 0);
}
END_TEST

START_TEST(test_broker_init_needs_its_registry)
{
    struct broker other;
    ck_assert_int_eq(broker_init(&other, path, take_answer), -EEXIST);
    ck_assert_int_eq(broker_init(&other, "/nowhere/registry", take_answer), -ENOENT);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    broker_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &broker, place, value)

START_TEST(test_broker_check_notices_wrong_counts)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 1), BROKER_WAITS);
    NOTICES(broker.session_count, 1);
    NOTICES(broker.waiter_count, 0);
    NOTICES(bob->waiter_count, 0);
    NOTICES(bob->membership_count, 0);
    NOTICES(pool->waiter_count, 0);
    NOTICES(pool->member_count, 3);
}
END_TEST

START_TEST(test_broker_check_notices_a_waiter_that_could_be_served)
{
    allocate(alice, CAPACITY - 1);
    ck_assert_int_eq(ask(bob, 2, FOREVER, 1), BROKER_WAITS);
    NOTICES(TAILQ_FIRST(&pool->waiters)->count, 1);
}
END_TEST

START_TEST(test_broker_check_notices_a_waiter_of_nobody)
{
    allocate(alice, CAPACITY);
    ck_assert_int_eq(ask(bob, 1, FOREVER, 1), BROKER_WAITS);
    NOTICES(TAILQ_FIRST(&pool->waiters)->session, alice);
    NOTICES(bob->connection, NULL);
}
END_TEST

START_TEST(test_broker_check_notices_a_wrong_membership)
{
    NOTICES(bobs->member, alices->member);
    NOTICES(pool->members[bobs->member], 77);
}
END_TEST

START_TEST(test_broker_check_looks_at_every_pool)
{
    struct pool *other = create_pool("other", 1);
    NOTICES(other->words[0], slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
    NOTICES(pool->words[0], slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
}
END_TEST

SUITE_MAIN_WITH(
    "broker", set_up, tear_down, test_broker_sessions_have_ids_in_order,
    test_broker_has_a_limit_of_sessions,
    test_broker_session_without_room_for_its_witness_is_refused,
    test_broker_session_without_a_file_for_its_witness_is_told_so,
    test_broker_end_frees_what_the_session_held, test_broker_does_not_end_a_session_that_is_alive,
    test_broker_disconnect_drops_waiting_requests_without_an_answer,
    test_broker_disconnect_of_the_first_in_the_queue_lets_the_next_through,
    test_broker_end_serves_who_waited_in_order,
    test_broker_close_frees_and_refuses_what_waits_there, test_broker_finds_pools_by_name,
    test_broker_refuses_a_name_that_is_taken, test_broker_pool_that_fails_leaves_no_entry,
    test_broker_has_a_limit_of_pools, test_broker_destroy_answers_waiters_and_ends_memberships,
    test_broker_refuses_all_that_wait_when_it_ends,
    test_broker_pool_of_a_name_that_was_destroyed_is_another,
    test_broker_allocates_one_when_no_count_is_given,
    test_broker_allocates_the_last_slot_and_no_more, test_broker_allocates_all_or_nothing,
    test_broker_refuses_more_than_the_pool_has_however_long_it_could_wait,
    test_broker_lets_nobody_overtake_a_request_that_waits,
    test_broker_free_serves_as_many_as_fit_in_order, test_broker_serves_with_handles_that_are_good,
    test_broker_free_refused_serves_nobody, test_broker_lets_a_writer_free_what_another_holds,
    test_broker_expires_at_the_deadline_and_not_before, test_broker_expires_in_order_of_deadlines,
    test_broker_expiry_of_the_first_in_the_queue_lets_the_next_through,
    test_broker_timeout_beyond_all_time_is_for_ever,
    test_broker_has_a_limit_of_waiting_requests_a_session,
    test_broker_has_a_limit_of_waiting_requests,
    test_broker_deinit_keeps_everything_for_a_session_that_is_alive,
    test_broker_init_needs_its_registry, test_broker_check_notices_wrong_counts,
    test_broker_check_notices_a_waiter_that_could_be_served,
    test_broker_check_notices_a_waiter_of_nobody, test_broker_check_notices_a_wrong_membership,
    test_broker_check_looks_at_every_pool)
