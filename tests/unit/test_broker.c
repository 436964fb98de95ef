/* SPDX-License-Identifier: MIT */
#include "daemon/broker.h"

#include <sys/resource.h>

#include "daemon/recovery.h"
#include "tests/unit/broker_case.h"

#define PAGE 4096u

/* ---- Sessions -------------------------------------------------------------------------------- */

START_TEST(test_broker_sessions_have_ids_in_order)
{
    ck_assert_uint_eq(alice->id, 1);
    ck_assert_uint_eq(bob->id, 2);
    end(&alice);
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
    take(bob, pool, 3);
    end(&bob);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 3);
    ck_assert_uint_eq(pool->ctl->counters.total_deallocations, 3);
    ck_assert(!give_back(pool, 0, 1));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_broker_does_not_end_a_session_that_is_alive)
{
    int fd = session_witness(alice);
    take(alice, pool, 2);
    broker_disconnect(&broker, alice);

    ck_assert(!broker_end_session(&broker, alice));
    broker_check(&broker);
    ck_assert_uint_eq(pool_usage(pool), 2);
    close(fd); /* the last that the client had of it */
    end(&alice);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

START_TEST(test_broker_disconnect_drops_waiting_requests_without_an_answer)
{
    take(bob, pool, CAPACITY);
    WAITS(alice, pool, 1, .count = 1, .timeout = FOREVER);
    WAITS(alice, pool, 2, .count = 1, .timeout = 100);
    broker_disconnect(&broker, alice);
    broker_check(&broker);
    ck_assert_uint_eq(broker.waiter_count, 0);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    ck_assert_uint_eq(answer_count, 0);
}
END_TEST

START_TEST(test_broker_disconnect_of_the_first_in_the_queue_lets_the_next_through)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(alice, pool, 1, .count = 2, .timeout = FOREVER);
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
    WAITS(bob, pool, 3, .count = 1, .timeout = FOREVER);
    broker_disconnect(&broker, alice);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 3, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_end_serves_who_waited_in_order)
{
    take(bob, pool, CAPACITY);
    WAITS(alice, pool, 1, .count = 2, .timeout = FOREVER);
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
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
    struct pool *other = MAKE(.name = "other", .capacity = 1);
    join(bob, other);
    take(bob, pool, CAPACITY);
    GETS(bob, other, 0, .count = 1, .timeout = 0);
    WAITS(bob, other, 9, .count = 1, .timeout = FOREVER);
    WAITS(bob, pool, 1, .count = 1, .timeout = FOREVER);
    WAITS(alice, pool, 2, .count = 4, .timeout = FOREVER);

    ck_assert_uint_eq(broker_close_pool(&broker, bob, session_membership(bob, pool->id)), CAPACITY);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 2); /* that in the other pool still waits */
    check_answer(0, "bob", 1, ERROR_NOT_A_MEMBER);
    ck_assert_str_eq(whole[0].error.pool, "frames");
    check_answer(1, "alice", 2, ERROR_NONE);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 0);
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_broker_finds_pools_by_name)
{
    struct pool *other = MAKE(.name = "other", .capacity = 1);
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
    take(bob, pool, 3);
    WAITS(alice, pool, 1, .count = 2, .timeout = 100);
    WAITS(bob, pool, 2, .count = 1, .timeout = FOREVER);
    ck_assert_uint_eq(broker_destroy_pool(&broker, pool), 3);
    broker_check(&broker);

    check_answer(0, "alice", 1, ERROR_POOL_DESTROYED);
    check_answer(1, "bob", 2, ERROR_POOL_DESTROYED);
    ck_assert_str_eq(whole[1].error.pool, "frames");
    ck_assert_ptr_null(session_membership(alice, 1));
    ck_assert_uint_eq(bob->membership_count, 0);
    ck_assert_ptr_null(broker_find_pool(&broker, "frames"));
    ck_assert_uint_eq(registered_pools(), 0);
    ck_assert_uint_eq(test_shm_files(), 1); /* alice's witness */
}
END_TEST

START_TEST(test_broker_refuses_all_that_wait_when_it_ends)
{
    struct pool *other = MAKE(.name = "other", .capacity = 1);
    join(bob, other);
    take(alice, pool, CAPACITY);
    WAITS(alice, pool, 1, .count = 1, .timeout = -1);
    GETS(bob, other, 2, .count = 1, .timeout = 0);
    WAITS(bob, other, 3, .count = 1, .timeout = 10);

    broker_refuse_all(&broker);
    broker_check(&broker);
    check_answer(0, "alice", 1, ERROR_SHUTTING_DOWN);
    check_answer(1, "bob", 3, ERROR_SHUTTING_DOWN);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_broker_pool_of_a_name_that_was_destroyed_is_another)
{
    take(bob, pool, 1);
    broker_destroy_pool(&broker, pool);
    pool = MAKE(.name = "frames", .capacity = CAPACITY);
    ck_assert_uint_eq(pool->id, 2);
    join(alice, pool);
    ck_assert(!give_back(pool, 0, 1));
    ck_assert_int_eq(error.code, ERROR_WRONG_POOL);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

START_TEST(test_broker_allocates_one_when_no_count_is_given)
{
    GETS(alice, pool, 0, .count = 0, .timeout = 0);
    ck_assert_uint_eq(reply.handles.size, HANDLE_WIRE_SIZE);
}
END_TEST

START_TEST(test_broker_allocates_the_last_slot_and_no_more)
{
    take(alice, pool, CAPACITY - 1);
    take(bob, pool, 1);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1, .timeout = 0);
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
    take(alice, pool, 2);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 3);
    ck_assert_uint_eq(error.requested, 3);
    ck_assert_uint_eq(pool_usage(pool), 2);
    take(alice, pool, 2);
}
END_TEST

START_TEST(test_broker_refuses_more_than_the_pool_has_however_long_it_could_wait)
{
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = CAPACITY + 1, .timeout = FOREVER);
    ck_assert_uint_eq(error.requested, CAPACITY + 1);
    ck_assert_ptr_nonnull(strstr(error.message, "never has that many"));
    GETS(alice, pool, 0, .count = CAPACITY, .timeout = FOREVER);
}
END_TEST

START_TEST(test_broker_lets_nobody_overtake_a_request_that_waits)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    REFUSES(ERROR_POOL_EXHAUSTED, alice, pool, 0, .count = 1);
    ck_assert_uint_eq(error.waiters, 1);
    ck_assert_ptr_nonnull(strstr(error.message, "others wait"));
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
    ck_assert(give_back(pool, 0, 1));
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_free_serves_as_many_as_fit_in_order)
{
    take(alice, pool, CAPACITY);
    for (uint32_t i = 0; i < 3; i++)
        WAITS(i % 2 ? bob : alice, pool, i, .count = 1, .timeout = FOREVER);
    WAITS(bob, pool, 3, .count = 2, .timeout = FOREVER);
    ck_assert(give_back(pool, 0, CAPACITY));

    ck_assert_uint_eq(answer_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        check_answer(i, i % 2 ? "bob" : "alice", i, ERROR_NONE);
    ck_assert_uint_eq(pool->waiters.count, 1);
}
END_TEST

START_TEST(test_broker_serves_with_handles_that_are_good)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    ck_assert(give_back(pool, 0, 2));
    ck_assert_uint_eq(answers[0].count, 2);
    memcpy(held, whole[0].handles, sizeof(whole[0].handles));
    ck_assert(give_back(pool, 0, 2));
}
END_TEST

START_TEST(test_broker_free_refused_serves_nobody)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 1, .timeout = FOREVER);
    memcpy(held + HANDLE_WIRE_SIZE, held, HANDLE_WIRE_SIZE);
    ck_assert(!give_back(pool, 0, 2));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_uint_eq(answer_count, 0);
}
END_TEST

START_TEST(test_broker_lets_a_writer_free_what_another_holds)
{
    take(bob, pool, 1);
    ck_assert(give_back(pool, 0, 1)); /* alice */
    ck_assert_uint_eq(session_usage(bob), 0);
}
END_TEST

/* ---- Time ------------------------------------------------------------------------------------ */

START_TEST(test_broker_expires_at_the_deadline_and_not_before)
{
    take(alice, pool, CAPACITY);
    broker_set_time(&broker, 1000);
    WAITS(bob, pool, 1, .count = 2, .timeout = 100);
    WAITS(bob, pool, 2, .count = 1, .timeout = FOREVER);
    ck_assert_int_eq(broker_next_deadline(&broker), 1100);
    pass_to(1099);
    ck_assert_uint_eq(answer_count, 0);
    pass_to(1100);

    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    ck_assert_str_eq(whole[0].error.pool, "frames");
    ck_assert_uint_eq(whole[0].error.capacity, CAPACITY);
    ck_assert_uint_eq(whole[0].error.allocated, CAPACITY);
    ck_assert_uint_eq(whole[0].error.requested, 2);
    ck_assert_uint_eq(whole[0].error.waiters, 1); /* others than this one */
    ck_assert_uint_eq(pool->ctl->counters.timeouts, 1);
    ck_assert_uint_eq(pool->ctl->counters.allocation_failures, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_broker_expires_in_order_of_deadlines)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 1, .timeout = 30);
    WAITS(alice, pool, 2, .count = 1, .timeout = 10);
    WAITS(bob, pool, 3, .count = 1, .timeout = 20);
    pass_to(30);
    check_answer(0, "alice", 2, ERROR_TIMEOUT);
    check_answer(1, "bob", 3, ERROR_TIMEOUT);
    check_answer(2, "bob", 1, ERROR_TIMEOUT);
}
END_TEST

START_TEST(test_broker_expiry_of_the_first_in_the_queue_lets_the_next_through)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = 10);
    WAITS(alice, pool, 2, .count = 1, .timeout = FOREVER);
    pass_to(10);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    check_answer(1, "alice", 2, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_timeout_beyond_all_time_is_for_ever)
{
    take(alice, pool, CAPACITY);
    broker_set_time(&broker, 1000);
    WAITS(bob, pool, 1, .count = 1, .timeout = INT64_MAX);
    WAITS(bob, pool, 2, .count = 1, .timeout = INT64_MIN);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    WAITS(bob, pool, 3, .count = 1, .timeout = INT64_MAX - 1001);
    ck_assert_int_eq(broker_next_deadline(&broker), INT64_MAX - 1);
    pass_to(INT64_MAX);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 3, ERROR_TIMEOUT);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------- */

START_TEST(test_broker_has_a_limit_of_waiting_requests_a_session)
{
    take(alice, pool, CAPACITY);
    for (uint32_t i = 0; i < BROKER_SESSION_WAITERS; i++)
        ck_assert_int_eq(ASK_UNCHECKED(bob, pool, i, .timeout = 1 + i % 7), BROKER_WAITS);
    REFUSES(ERROR_LIMIT_EXCEEDED, bob, pool, 0, .timeout = FOREVER);
    ck_assert_uint_eq(error.max, BROKER_SESSION_WAITERS);
    WAITS(alice, pool, 0, .timeout = FOREVER);
    pass_to(1);
    WAITS(bob, pool, 0, .timeout = FOREVER);
}
END_TEST

START_TEST(test_broker_has_a_limit_of_waiting_requests)
{
    enum { SESSIONS = BROKER_WAITERS / BROKER_SESSION_WAITERS };
    static struct session *more[SESSIONS];
    take(alice, pool, CAPACITY);
    for (unsigned i = 0; i < SESSIONS; i++) {
        more[i] = begin(bob_name, false);
        join(more[i], pool);
        for (unsigned j = 0; j < BROKER_SESSION_WAITERS; j++)
            ck_assert_int_eq(ASK_UNCHECKED(more[i], pool, j, .timeout = FOREVER), BROKER_WAITS);
    }
    REFUSES(ERROR_LIMIT_EXCEEDED, bob, pool, 0, .timeout = FOREVER);
    ck_assert_uint_eq(error.max, BROKER_WAITERS);
    end(&more[0]);
    WAITS(bob, pool, 0, .timeout = FOREVER);
}
END_TEST

static void check_quota(const char *field, uint64_t requested, uint64_t used, uint64_t max)
{
    ck_assert_msg(error.code == ERROR_QUOTA_EXCEEDED, "%s", error.message);
    ck_assert_str_eq(error.field, field);
    ck_assert_uint_eq(error.requested, requested);
    ck_assert_uint_eq(error.allocated, used);
    ck_assert_uint_eq(error.max, max);
    broker_check(&broker);
}

START_TEST(test_broker_limits_the_sessions_of_a_user)
{
    const struct peer who = {1, 4000, 4000};
    struct session *sessions[2], *none;
    broker.users.max[USER_SESSIONS] = 2;
    for (unsigned i = 0; i < 2; i++)
        sessions[i] = begin_as(bob_name, false, 4000);
    ck_assert(!broker_begin_session(&broker, &who, "", true, bob_name, &none, &error));
    check_quota("sessions", 1, 2, 2);
    ck_assert_ptr_nonnull(strstr(error.message, "--user-sessions"));
    begin_as(bob_name, false, 4001); /* another user */
    end(&sessions[0]);
    begin_as(bob_name, true, 4000);
}
END_TEST

/* So that they can see who has how many; of all else they have what each user has. */
START_TEST(test_broker_lets_root_and_its_own_user_have_any_number_of_sessions)
{
    static const uid_t uids[] = {0, DAEMON_UID};
    struct pool *made;
    broker.users.max[USER_SESSIONS] = 2;
    broker.users.max[USER_POOLS] = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct pool_config config = {
            .name = "c", .type = "", .object_size = 8, .capacity = 1, .uid = uids[i]};
        for (unsigned j = 0; j < 4; j++)
            begin_as(bob_name, j % 2, uids[i]);
        ck_assert(!broker_create_pool(&broker, &config, &made, &error));
        check_quota("pools", 1, 0, 0);
    }
}
END_TEST

START_TEST(test_broker_limits_the_pools_of_a_user)
{
    struct pool *made;
    struct pool_config config = {
        .name = "c", .type = "", .object_size = 8, .capacity = 1, .uid = 4000};
    broker.users.max[USER_POOLS] = 2;
    struct pool *first = MAKE(.name = "a", .capacity = 1, .uid = 4000);
    MAKE(.name = "b", .capacity = 1, .uid = 4000);
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    check_quota("pools", 1, 2, 2);
    MAKE(.name = "theirs", .capacity = 1, .uid = 4001);
    broker_destroy_pool(&broker, first);
    ck_assert(broker_create_pool(&broker, &config, &made, &error));
}
END_TEST

START_TEST(test_broker_limits_the_bytes_of_a_user)
{
    struct pool *made;
    struct pool_config config = {
        .name = "c", .type = "", .kind = test_kind(), .object_size = 8, .capacity = 1, .uid = 4000};
    struct pool *first = MAKE(.name = "a", .capacity = 1, .uid = 4000);
    uint64_t bytes = first->bytes.amount;
    first->user->quotas[USER_BYTES].max = 2 * bytes - 1;
    ck_assert(!broker_create_pool(&broker, &config, &made, &error));
    check_quota("bytes", bytes, bytes, 2 * bytes - 1);
    ck_assert_uint_eq(first->user->quotas[USER_POOLS].used, 1);
    first->user->quotas[USER_BYTES].max = 2 * bytes;
    ck_assert(broker_create_pool(&broker, &config, &made, &error));
    broker_check(&broker);
}
END_TEST

START_TEST(test_broker_charges_the_template_to_the_user)
{
    static const uint8_t content[4097] = {1};
    struct pool *plain = MAKE(.name = "plain", .object_size = 5000, .capacity = 1);
    struct pool *full = MAKE(.name = "full", .object_size = 5000, .capacity = 1,
                             .content = {content, sizeof(content)});
    ck_assert_uint_eq(full->bytes.amount, plain->bytes.amount + 8192);
    ck_assert_uint_eq(pool_memory(full), full->bytes.amount);
}
END_TEST

/* Room for more holds than a page has is two pages. */
START_TEST(test_broker_charges_the_table_of_holders_to_the_user)
{
    struct quota *bytes = &pool->user->quotas[USER_BYTES];
    uint64_t used = bytes->used;
    take(alice, pool, 1);
    bytes->max = used + 4095;
    ck_assert(!operate(pool, POOL_RETAIN, 0, 1));
    check_quota("bytes", 4096, used, used + 4095);
    ck_assert_uint_eq(bytes->used, used);
    bytes->max = used + 4096;
    for (unsigned holds = 1; holds < HOLDERS_FIRST; holds++)
        ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert_uint_eq(bytes->used, used + 4096);
    ck_assert(!operate(pool, POOL_RETAIN, 0, 1));
    check_quota("bytes", 4096, used + 4096, used + 4096);
    bytes->max = used + 8192;
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert(give_back(pool, 0, 1));
    ck_assert_uint_eq(bytes->used, used + 8192); /* it stays, for the next ones */
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

    alice = NULL; /* a broker for the teardown */
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    struct recovery recovery;
    recovery_purge(&broker, &recovery);
    ck_assert_uint_eq(recovery.pools, 1);
    ck_assert_uint_eq(recovery.sessions, 1);
    ck_assert_uint_eq(test_shm_files(), 0);
}
END_TEST

/* For the next start, which knows by it which objects are its own. */
START_TEST(test_broker_deinit_keeps_its_registry_where_it_can_not_tell_that_nothing_is_left)
{
    uint32_t pools, sessions;
    struct rlimit limit, none;
    end(&alice);
    end(&bob);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert(!broker_deinit(&broker, &pools, &sessions));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(pools + sessions, 0);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0); /* for the teardown */
}
END_TEST

START_TEST(test_broker_init_needs_its_registry)
{
    struct broker other;
    broker.registry.file->version++;
    ck_assert_int_eq(broker_init(&other, path, &rim, 0), -EPROTO);
    broker.registry.file->version--;
    ck_assert_int_eq(broker_init(&other, "/nowhere/registry", &rim, 0), -ENOENT);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

START_TEST(test_broker_check_notices_wrong_counts)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 1, .timeout = FOREVER);
    NOTICES(broker.session_count, 1);
    NOTICES(broker.waiter_count, 0);
    NOTICES(bob->waiter_count, 0);
    NOTICES(bob->membership_count, 0);
    NOTICES(pool->waiters.count, 0);
    NOTICES(pool->member_count, 3);
}
END_TEST

START_TEST(test_broker_check_notices_a_waiter_that_could_be_served)
{
    take(alice, pool, CAPACITY - 1);
    WAITS(bob, pool, 1, .count = 2, .timeout = FOREVER);
    NOTICES(waitqueue_first(&pool->waiters)->count, 1);
}
END_TEST

START_TEST(test_broker_check_notices_a_waiter_of_nobody)
{
    take(alice, pool, CAPACITY);
    WAITS(bob, pool, 1, .count = 1, .timeout = FOREVER);
    NOTICES(waitqueue_first(&pool->waiters)->session, alice);
    NOTICES(bob->connection, NULL);
}
END_TEST

START_TEST(test_broker_check_notices_a_wrong_membership)
{
    struct membership *bobs = session_membership(bob, pool->id);
    NOTICES(bobs->member, member_of(alice, pool));
    NOTICES(pool->store.members[bobs->member], 77);
}
END_TEST

START_TEST(test_broker_check_looks_at_every_pool)
{
    struct pool *other = MAKE(.name = "other", .capacity = 1);
    NOTICES(other->words[0], slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
    NOTICES(pool->words[0], slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
}
END_TEST

SUITE_MAIN_WITH(
    "broker", broker_set_up, broker_tear_down, test_broker_sessions_have_ids_in_order,
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
    test_broker_deinit_keeps_its_registry_where_it_can_not_tell_that_nothing_is_left,
    test_broker_init_needs_its_registry, test_broker_check_notices_wrong_counts,
    test_broker_check_notices_a_waiter_that_could_be_served,
    test_broker_check_notices_a_waiter_of_nobody, test_broker_check_notices_a_wrong_membership,
    test_broker_check_looks_at_every_pool, test_broker_limits_the_sessions_of_a_user,
    test_broker_lets_root_and_its_own_user_have_any_number_of_sessions,
    test_broker_limits_the_pools_of_a_user, test_broker_limits_the_bytes_of_a_user,
    test_broker_charges_the_template_to_the_user,
    test_broker_charges_the_table_of_holders_to_the_user)
