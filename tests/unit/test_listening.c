/* SPDX-License-Identifier: MIT */
#include "daemon/listening.h"

#include "tests/unit/broker_case.h"

static const struct credentials owner = {.peer = {12, 34, 34}};
static const struct credentials root = {.peer = {1, 0, 0}};
static const struct credentials daemon_user = {.peer = {1, DAEMON_UID, 1}};
static const struct credentials stranger = {.peer = {13, 99, 99}};
static struct events_reply heard;

static enum broker_outcome listen_as(struct session *session, const struct credentials *who,
                                     uint32_t msgid, struct events_request request)
{
    memset(&error, 0, sizeof(error));
    enum broker_outcome outcome =
        listening_request(&broker, session, who, &request, msgid, &heard, &error);
    ck_assert((outcome == BROKER_REFUSED) == (error.code != ERROR_NONE));
    broker_check(&broker);
    return outcome;
}

#define LISTEN(session, who, msgid, ...)                                                           \
    listen_as(session, who, msgid, (struct events_request){__VA_ARGS__})
#define LISTENS(...) ck_assert_int_eq(LISTEN(__VA_ARGS__), BROKER_WAITS)
#define HEARS(expected, ...)                                                                       \
    do {                                                                                           \
        ck_assert_int_eq(LISTEN(__VA_ARGS__), BROKER_DONE);                                        \
        ck_assert_uint_eq(heard.events.count, expected);                                           \
    } while (0)

static const struct event_info *info(uint32_t number)
{
    return &((const struct event_info *)heard.events.items)[number];
}

static void happen(struct pool *where, uint64_t count)
{
    notice_event(&broker, where, EVENT_EVICTED, count, 7);
    broker_check(&broker);
}

/* ---- What there is --------------------------------------------------------------------------- */

START_TEST(test_listening_gives_what_there_is_after_a_number)
{
    HEARS(0, bob, &owner, 0, .after = 0);
    ck_assert_uint_eq(heard.next, 0);
    ck_assert_uint_eq(heard.lost, 0);
    take(alice, pool, 3);
    for (uint64_t i = 1; i <= 5; i++) {
        broker_set_time(&broker, (int64_t)i * 10);
        happen(pool, i);
    }
    HEARS(5, bob, &owner, 0, .after = 0, .timeout = FOREVER);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(info(i)->number, i + 1);
        ck_assert_uint_eq(info(i)->count, i + 1);
        ck_assert_uint_eq(info(i)->time, UINT64_C(10) * (i + 1));
    }
    ck_assert_str_eq(info(0)->kind, "evicted");
    ck_assert_str_eq(info(0)->name, "frames");
    ck_assert_uint_eq(info(0)->pool, pool->id);
    ck_assert_uint_eq(info(0)->capacity, CAPACITY);
    ck_assert_uint_eq(info(0)->allocated, 3);
    ck_assert_uint_eq(info(0)->session, 7);
    ck_assert_uint_eq(heard.next, 5);
    HEARS(2, bob, &owner, 0, .after = 3);
    ck_assert_uint_eq(info(0)->number, 4);
    ck_assert_uint_eq(heard.lost, 0);
    HEARS(0, bob, &owner, 0, .after = 5);
    ck_assert_uint_eq(heard.next, 5);
    HEARS(5, bob, &owner, 0, .after = 6); /* of another life of the instance */
    HEARS(5, bob, &owner, 0, .after = UINT64_MAX);
    ck_assert_uint_eq(heard.lost, 0);
}
END_TEST

START_TEST(test_listening_gives_a_page_at_a_time)
{
    for (uint32_t i = 0; i < PROTOCOL_LIST_MAX + 1; i++)
        happen(pool, i);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 0);
    ck_assert_uint_eq(heard.next, PROTOCOL_LIST_MAX);
    HEARS(1, bob, &owner, 0, .after = heard.next);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 1);
    ck_assert_uint_eq(heard.next, PROTOCOL_LIST_MAX + 1);
}
END_TEST

START_TEST(test_listening_says_how_many_were_lost)
{
    for (uint32_t i = 0; i < EVENTS_KEPT; i++)
        notice_event(&broker, pool, EVENT_EVICTED, i, 0);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 0);
    ck_assert_uint_eq(heard.lost, 0);
    for (uint32_t i = 0; i < 10; i++)
        happen(pool, i);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 0);
    ck_assert_uint_eq(heard.lost, 10);
    ck_assert_uint_eq(info(0)->number, 11);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 4);
    ck_assert_uint_eq(heard.lost, 6);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = 10);
    ck_assert_uint_eq(heard.lost, 0);
    HEARS(PROTOCOL_LIST_MAX, bob, &owner, 0, .after = UINT64_MAX);
    ck_assert_uint_eq(heard.lost, 10);
    ck_assert_uint_eq(info(0)->number, 11);
}
END_TEST

/* Else it would never be said: the listener has gone on when it is answered. */
START_TEST(test_listening_says_what_was_lost_instead_of_waiting)
{
    for (uint32_t i = 0; i < EVENTS_KEPT + 3; i++)
        notice_event(&broker, pool, EVENT_EVICTED, i, 0);
    HEARS(0, bob, &stranger, 0, .after = 0, .timeout = FOREVER);
    ck_assert_uint_eq(heard.lost, 3);
    ck_assert_uint_eq(heard.next, EVENTS_KEPT + 3);
    LISTENS(bob, &stranger, 1, .after = heard.next, .timeout = FOREVER);
}
END_TEST

/* ---- Of what --------------------------------------------------------------------------------- */

START_TEST(test_listening_to_one_pool)
{
    struct pool *other = MAKE(.name = "other", .capacity = 1);
    happen(pool, 1);
    happen(other, 2);
    happen(pool, 3);
    HEARS(3, bob, &owner, 0, .after = 0);
    HEARS(1, bob, &owner, 0, .name = "other");
    ck_assert_uint_eq(info(0)->count, 2);
    ck_assert_uint_eq(heard.next, 3); /* the others needn't be looked at again */
    LISTENS(bob, &owner, 1, .name = "other", .after = 3, .timeout = FOREVER);
    happen(pool, 4);
    ck_assert_uint_eq(answer_count, 0);
    happen(other, 5);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_int_eq(answers[0].method, METHOD_EVENTS);
    ck_assert_uint_eq(answers[0].count, 1);
    ck_assert_uint_eq(whole[0].infos[0].count, 5);
    ck_assert_uint_eq(whole[0].events.next, 5);
}
END_TEST

START_TEST(test_listening_is_for_who_may_read_the_pool)
{
    static gid_t groups[] = {5000, 56};
    const struct credentials member = {.peer = {1, 98, 98}, .groups = groups, .group_count = 2};
    const struct credentials no_member = {.peer = {1, 98, 98}, .groups = groups, .group_count = 1};
    struct layout_ctl *ctl = pool->ctl;
    ctl->gid = 56;
    ctl->mode = 0640;
    happen(pool, 1);
    HEARS(1, bob, &owner, 0, .after = 0);
    HEARS(1, bob, &root, 0, .after = 0);
    HEARS(1, bob, &daemon_user, 0, .after = 0);
    HEARS(1, bob, &member, 0, .after = 0);
    HEARS(0, bob, &no_member, 0, .after = 0);
    HEARS(0, bob, &stranger, 0, .after = 0);
    ck_assert_uint_eq(heard.next, 1);
    ctl->mode = 0604;
    happen(pool, 2);
    HEARS(1, bob, &stranger, 0, .after = 1);
    HEARS(0, bob, &member, 0, .after = 1);
    ctl->mode = 0602;
    happen(pool, 3);
    HEARS(0, bob, &stranger, 0, .after = 2);
}
END_TEST

START_TEST(test_listening_waits_for_what_may_be_read)
{
    struct pool *open = MAKE(.name = "open", .capacity = 1, .mode = 0644);
    LISTENS(bob, &stranger, 1, .timeout = FOREVER);
    LISTENS(alice, &owner, 2, .timeout = FOREVER);
    happen(pool, 1);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 2, ERROR_NONE);
    happen(open, 2);
    ck_assert_uint_eq(answer_count, 2);
    check_answer(1, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(answers[1].count, 1);
    ck_assert_uint_eq(whole[1].infos[0].number, 2);
}
END_TEST

START_TEST(test_listening_to_what_is_destroyed_is_for_who_might_read_it)
{
    struct pool *closed = MAKE(.name = "closed", .capacity = 1, .mode = 0600);
    pool->ctl->mode = 0644;
    happen(closed, 1);
    happen(pool, 2);
    LISTENS(alice, &owner, 1, .after = 2, .timeout = FOREVER);
    LISTENS(bob, &stranger, 2, .after = 2, .timeout = FOREVER);
    broker_destroy_pool(&broker, closed);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 1, ERROR_NONE);
    ck_assert_str_eq(whole[0].infos[0].kind, "destroyed");
    broker_destroy_pool(&broker, pool);
    broker_check(&broker);
    ck_assert_uint_eq(answer_count, 2);
    check_answer(1, "bob", 2, ERROR_NONE);
    ck_assert_str_eq(whole[1].infos[0].kind, "destroyed");
    HEARS(2, bob, &stranger, 0, .after = 0);
    HEARS(4, bob, &owner, 0, .after = 0);
    HEARS(4, bob, &root, 0, .after = 0);
    HEARS(4, bob, &daemon_user, 0, .after = 0);

    /* Another pool of that name is another pool. */
    pool = MAKE(.name = "frames", .capacity = 1, .mode = 0600, .uid = 77);
    happen(pool, 3);
    HEARS(2, bob, &stranger, 0, .after = 0);
    HEARS(4, bob, &owner, 0, .after = 0);
}
END_TEST

/* ---- Waiting --------------------------------------------------------------------------------- */

START_TEST(test_listening_is_over_at_its_time_without_an_event)
{
    broker_set_time(&broker, 1000);
    LISTENS(bob, &owner, 1, .timeout = 100);
    LISTENS(bob, &owner, 2, .timeout = FOREVER);
    LISTENS(bob, &owner, 3, .timeout = INT64_MAX);
    ck_assert_uint_eq(bob->waiter_count, 3);
    ck_assert_int_eq(broker_next_deadline(&broker), 1100);
    pass_to(1099);
    ck_assert_uint_eq(answer_count, 0);
    pass_to(1100);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(answers[0].count, 0);
    ck_assert_uint_eq(whole[0].events.next, 0);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    happen(pool, 1);
    check_answer(1, "bob", 2, ERROR_NONE); /* the oldest first */
    check_answer(2, "bob", 3, ERROR_NONE);
    ck_assert_uint_eq(broker.waiter_count, 0);
}
END_TEST

START_TEST(test_listening_goes_on_where_it_was_when_its_time_is_over)
{
    LISTENS(bob, &stranger, 1, .timeout = 10);
    happen(pool, 1);
    happen(pool, 2);
    pass_to(10);
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(whole[0].events.next, 2);
    ck_assert_uint_eq(whole[0].events.lost, 0);
}
END_TEST

START_TEST(test_listening_counts_among_the_waiting_requests)
{
    take(alice, pool, CAPACITY);
    for (uint32_t i = 0; i < BROKER_SESSION_WAITERS / 2; i++) {
        struct events_request request = {.timeout = 5 + i % 3};
        ck_assert_int_eq(listening_request(&broker, bob, &owner, &request, i, &heard, &error),
                         BROKER_WAITS);
        ck_assert_int_eq(ASK_UNCHECKED(bob, pool, i, .timeout = FOREVER), BROKER_WAITS);
    }
    ck_assert_int_eq(LISTEN(bob, &owner, 9, .timeout = FOREVER), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, BROKER_SESSION_WAITERS);
    REFUSES(ERROR_LIMIT_EXCEEDED, bob, pool, 0, .timeout = FOREVER);
    HEARS(0, bob, &owner, 9, .after = 0); /* without waiting */
    LISTENS(alice, &owner, 9, .timeout = FOREVER);
    pass_to(5);
    LISTENS(bob, &owner, 9, .timeout = FOREVER);
}
END_TEST

START_TEST(test_listening_obeys_the_users_quota)
{
    static char carol_name[] = "carol";
    broker.users.max[USER_WAITERS] = 1;
    struct session *carol = begin_as(carol_name, false, 4000);
    LISTENS(carol, &owner, 1, .timeout = 10);
    ck_assert_int_eq(LISTEN(carol, &owner, 2, .timeout = FOREVER), BROKER_REFUSED);
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    happen(pool, 1);
    LISTENS(carol, &owner, 3, .after = 1, .timeout = FOREVER);
}
END_TEST

START_TEST(test_listening_ends_with_its_connection)
{
    LISTENS(bob, &owner, 1, .timeout = 10);
    LISTENS(alice, &owner, 2, .timeout = FOREVER);
    LISTENS(bob, &owner, 3, .timeout = FOREVER);
    end(&bob);
    ck_assert_uint_eq(answer_count, 0);
    ck_assert_uint_eq(broker.waiter_count, 1);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    happen(pool, 1);
    ck_assert_uint_eq(answer_count, 1);
}
END_TEST

START_TEST(test_listening_is_refused_when_the_instance_ends)
{
    LISTENS(bob, &owner, 1, .timeout = 10);
    LISTENS(alice, &owner, 2, .timeout = FOREVER);
    broker_refuse_all(&broker);
    broker_check(&broker);
    check_answer(0, "bob", 1, ERROR_SHUTTING_DOWN);
    check_answer(1, "alice", 2, ERROR_SHUTTING_DOWN);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

/* Its own session's end is an event too, of which it doesn't hear. */
START_TEST(test_listening_hears_of_sessions_that_end)
{
    GETS(bob, pool, 0, .count = 2);
    LISTENS(bob, &owner, 1, .timeout = FOREVER);
    LISTENS(alice, &owner, 2, .timeout = FOREVER);
    uint64_t id = bob->id;
    end(&bob);
    ck_assert_uint_eq(answer_count, 1);
    check_answer(0, "alice", 2, ERROR_NONE);
    ck_assert_str_eq(whole[0].infos[0].kind, "reclaimed");
    ck_assert_uint_eq(whole[0].infos[0].session, id);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

START_TEST(test_listening_check_notices_listeners_that_are_not_counted)
{
    LISTENS(bob, &owner, 1, .timeout = FOREVER);
    NOTICES(bob->waiter_count, 0);
    NOTICES(broker.waiter_count, 0);
    NOTICES(TAILQ_FIRST(&broker.listeners)->session, alice);
    NOTICES(bob->connection, NULL);
    NOTICES(TAILQ_FIRST(&broker.listeners)->waiting.quota, NULL);
}
END_TEST

SUITE_MAIN_WITH("listening", broker_set_up, broker_tear_down,
                test_listening_gives_what_there_is_after_a_number,
                test_listening_gives_a_page_at_a_time, test_listening_says_how_many_were_lost,
                test_listening_says_what_was_lost_instead_of_waiting, test_listening_to_one_pool,
                test_listening_is_for_who_may_read_the_pool,
                test_listening_waits_for_what_may_be_read,
                test_listening_to_what_is_destroyed_is_for_who_might_read_it,
                test_listening_is_over_at_its_time_without_an_event,
                test_listening_goes_on_where_it_was_when_its_time_is_over,
                test_listening_counts_among_the_waiting_requests,
                test_listening_obeys_the_users_quota, test_listening_ends_with_its_connection,
                test_listening_is_refused_when_the_instance_ends,
                test_listening_hears_of_sessions_that_end,
                test_listening_check_notices_listeners_that_are_not_counted)
