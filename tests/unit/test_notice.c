/* SPDX-License-Identifier: MIT */
#include "daemon/notice.h"

#include "tests/unit/broker_case.h"

static struct pool *make(uint64_t capacity, const char *watermark)
{
    struct pool *made = MAKE(.name = "watched", .capacity = capacity, .watermark = watermark);
    join(alice, made);
    join(bob, made);
    return made;
}

/* ---- The watermark --------------------------------------------------------------------------- */

START_TEST(test_notice_says_once_that_the_watermark_is_reached_and_once_that_it_has_fallen)
{
    struct pool *watched = make(32, "75%"); /* reached at 24, fallen at 22 */
    take(alice, watched, 23);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 0);
    for (unsigned i = 0; i < 3; i++)
        GETS(bob, watched, 0, .count = 1);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    const struct event *event = last_event(EVENT_WATERMARK_REACHED);
    ck_assert_uint_eq(event->count, 24);
    ck_assert_uint_eq(event->allocated, 24);
    ck_assert_uint_eq(event->capacity, 32);
    ck_assert_str_eq(event->name, "watched");
    ck_assert_uint_eq(event->pool, watched->id);
    ck_assert_uint_eq(event->uid, peer.uid);

    ck_assert(give_back(watched, 0, 3)); /* 23 */
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 0);
    GETS(bob, watched, 0, .count = 2); /* about the level it says nothing */
    ck_assert(give_back(watched, 3, 2));
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    ck_assert(give_back(watched, 5, 1));
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
    ck_assert_uint_eq(last_event(EVENT_WATERMARK_FALLEN)->allocated, 22);
    GETS(bob, watched, 0, .count = 2);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 2);
    ck_assert_uint_eq(watched->ctl->counters.watermarks, 2);
}
END_TEST

START_TEST(test_notice_says_at_once_that_a_pool_is_made_above_its_watermark)
{
    struct pool *watched =
        MAKE(.name = "watched", .capacity = 4, .capacity_max = 8, .watermark = "5");
    join(alice, watched);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    take(alice, watched, 1);
    ck_assert(give_back(watched, 0, 1));
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
}
END_TEST

START_TEST(test_notice_says_nothing_without_a_watermark)
{
    struct pool *watched = make(4, "off");
    take(alice, watched, 4);
    ck_assert(give_back(watched, 0, 4));
    ck_assert_uint_eq(*broker.events.last, 0);
}
END_TEST

START_TEST(test_notice_follows_sessions_that_end)
{
    struct pool *watched = make(10, "5");
    GETS(bob, watched, 0, .count = 10);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    broker_set_time(&broker, 70);
    uint64_t id = bob->id;
    end(&bob);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 1);
    const struct event *event = last_event(EVENT_RECLAIMED);
    ck_assert_uint_eq(event->count, 10);
    ck_assert_uint_eq(event->session, id);
    ck_assert_int_eq(event->time, 70);
    ck_assert_uint_eq(event->allocated, 0);
}
END_TEST

/* Slots that are freed and given to the next one at once never were fewer. */
START_TEST(test_notice_does_not_say_that_usage_fell_when_others_waited)
{
    struct pool *watched = make(4, "100%");
    take(alice, watched, 4);
    WAITS(bob, watched, 1, .count = 4, .timeout = FOREVER);
    ck_assert(give_back(watched, 0, 4));
    check_answer(0, "bob", 1, ERROR_NONE);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_REACHED), 1);
    ck_assert_uint_eq(count_events(EVENT_WATERMARK_FALLEN), 0);
}
END_TEST

START_TEST(test_notice_check_notices_what_was_not_said)
{
    struct pool *watched = make(4, "100%");
    NOTICES(watched->watermark.above, true);
    take(alice, watched, 4);
    NOTICES(watched->watermark.above, false);
}
END_TEST

/* ---- Exhausted ------------------------------------------------------------------------------- */

START_TEST(test_notice_says_once_that_a_pool_is_exhausted_until_one_fits)
{
    take(alice, pool, CAPACITY - 1);
    for (unsigned i = 0; i < 3; i++)
        REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .count = 2);
    ck_assert_uint_eq(count_events(EVENT_EXHAUSTED), 1);
    ck_assert_uint_eq(last_event(EVENT_EXHAUSTED)->count, 2);
    ck_assert_uint_eq(last_event(EVENT_EXHAUSTED)->allocated, CAPACITY - 1);
    ck_assert(give_back(pool, 0, 1)); /* which isn't one that fits */
    REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .count = 3);
    ck_assert_uint_eq(count_events(EVENT_EXHAUSTED), 1);
    GETS(bob, pool, 0, .count = 2);
    REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .count = 1);
    ck_assert_uint_eq(count_events(EVENT_EXHAUSTED), 2);
    ck_assert_uint_eq(pool->ctl->counters.allocation_failures, 5);
}
END_TEST

START_TEST(test_notice_says_that_a_pool_was_destroyed)
{
    take(alice, pool, 3);
    broker_set_time(&broker, 9);
    broker_destroy_pool(&broker, pool);
    const struct event *event = last_event(EVENT_DESTROYED);
    ck_assert_uint_eq(event->count, 3);
    ck_assert_str_eq(event->name, "frames");
    ck_assert_uint_eq(event->uid, peer.uid);
    ck_assert_int_eq(event->time, 9);
}
END_TEST

/* ---- Damaged --------------------------------------------------------------------------------- */

/* As a member can, who may write. */
static void resize_data(struct pool *damaged, off_t size)
{
    int fd = store_descriptor(&damaged->store, STORE_DATA, true);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

static off_t size_of_data(struct pool *of)
{
    return (off_t)geometry_data_size(&of->store.geometry, pool_capacity(of));
}

START_TEST(test_notice_says_once_that_a_pool_is_damaged)
{
    resize_data(pool, size_of_data(pool) - 1);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 0);
    broker_set_time(&broker, 5);
    end(&bob);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 1);
    ck_assert_str_eq(last_event(EVENT_DAMAGED)->name, "frames");
    ck_assert_uint_eq(last_event(EVENT_DAMAGED)->capacity, CAPACITY);
    ck_assert_int_eq(last_event(EVENT_DAMAGED)->time, 5);
    broker_trim(&broker, pool);
    end(&alice);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 1);
}
END_TEST

START_TEST(test_notice_sees_damage_when_a_pool_is_left_trimmed_or_grows)
{
    struct pool_grow_request request = {.capacity = 5, .capacity_max = 5};
    struct pool_grow_reply grown;
    struct pool *closed = MAKE(.name = "closed", .capacity = 4, .watermark = "off");
    struct pool *trimmed = MAKE(.name = "trimmed", .capacity = 4, .watermark = "off");
    resize_data(closed, size_of_data(closed) + 1);
    broker_close_pool(&broker, alice, join(alice, closed));
    ck_assert_uint_eq(last_event(EVENT_DAMAGED)->pool, closed->id);
    resize_data(trimmed, 0);
    broker_trim(&broker, trimmed);
    ck_assert_uint_eq(last_event(EVENT_DAMAGED)->pool, trimmed->id);
    resize_data(pool, 0);
    ck_assert_int_eq(growing_request(&broker, alice, pool, &request, 1, &grown, &error),
                     BROKER_DONE);
    ck_assert_uint_eq(last_event(EVENT_DAMAGED)->pool, pool->id);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 3);
}
END_TEST

/* It is longer already than it is said to be, or not yet. */
START_TEST(test_notice_takes_no_growth_for_damage)
{
    struct pool *big = MAKE(.name = "big", .object_size = MIB, .capacity = 1, .capacity_max = 20,
                            .growth = "linear:10", .watermark = "off");
    join(alice, big);
    join(bob, big);
    take(alice, big, 1);
    WAITS(alice, big, 1, .count = 1, .timeout = FOREVER);
    ck_assert_uint_eq(job_count, 1);
    jobs[0]->run(jobs[0]);
    resize_data(big, size_of_data(big) + 5);
    end(&bob);
    resize_data(big, (off_t)geometry_data_size(&big->store.geometry, 11));
    finish_job();
    check_answer(0, "alice", 1, ERROR_NONE);
    broker_trim(&broker, big);
    end(&alice);
    ck_assert_uint_eq(count_events(EVENT_DAMAGED), 0);
}
END_TEST

/* ---- Held for too long ----------------------------------------------------------------------- */

static struct pool *make_held(void)
{
    struct pool *watched =
        MAKE(.name = "watched", .capacity = 8, .watermark = "off", .hold_limit = 100);
    join(alice, watched);
    join(bob, watched);
    return watched;
}

START_TEST(test_notice_says_what_is_held_for_too_long_at_its_time)
{
    struct pool *watched = make_held();
    const struct layout_counters *counters = &watched->ctl->counters;
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    take(alice, watched, 2);
    ck_assert_int_eq(broker_next_deadline(&broker), 100);
    pass_to(30);
    GETS(bob, watched, 0, .count = 1);
    pass_to(99);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 0);
    pass_to(100);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 1);
    ck_assert_uint_eq(last_event(EVENT_HELD_LONG)->count, 2);
    ck_assert_uint_eq(last_event(EVENT_HELD_LONG)->session, alice->id);
    ck_assert_uint_eq(counters->held_long, 2);
    ck_assert_int_eq(broker_next_deadline(&broker), 130);
    pass_to(129);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 1);
    pass_to(130);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 2);
    ck_assert_uint_eq(last_event(EVENT_HELD_LONG)->session, bob->id);
    ck_assert_uint_eq(counters->held_long, 3);
    ck_assert_uint_eq(counters->total_held_long, 3);
    ck_assert(give_back(watched, 0, 1));
    ck_assert_uint_eq(counters->held_long, 2);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    pass_to(1000);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 2); /* once each */
}
END_TEST

START_TEST(test_notice_says_nothing_of_what_was_freed_in_time)
{
    struct pool *watched = make_held();
    take(alice, watched, 2);
    pass_to(50);
    ck_assert(give_back(watched, 0, 1));
    GETS(bob, watched, 0, .count = 1);
    pass_to(99);
    ck_assert(give_back(watched, 1, 1));
    pass_to(149);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 0);
    pass_to(150);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 1);
    ck_assert_uint_eq(last_event(EVENT_HELD_LONG)->count, 1);
}
END_TEST

START_TEST(test_notice_says_what_the_pool_itself_holds_for_too_long)
{
    struct pool *watched = make_held();
    take(alice, watched, 1);
    pass_to(40);
    ck_assert(operate(watched, POOL_DETACH, 0, 1)); /* held anew */
    pass_to(139);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 0);
    pass_to(140);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 1);
    ck_assert_uint_eq(last_event(EVENT_HELD_LONG)->session, 0);
}
END_TEST

/* Nothing is allocated meanwhile, which would have set the deadline. */
START_TEST(test_notice_looks_at_what_changes_hands)
{
    struct pool *watched = make_held();
    take(alice, watched, 1);
    pass_to(100);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 1);
    pass_to(150);
    ck_assert(operate(watched, POOL_DETACH, 0, 1));
    ck_assert_uint_eq(watched->ctl->counters.held_long, 0);
    ck_assert_int_eq(broker_next_deadline(&broker), 250);
    pass_to(250);
    ck_assert_uint_eq(count_events(EVENT_HELD_LONG), 2);
}
END_TEST

START_TEST(test_notice_leaves_no_deadline_of_a_destroyed_pool)
{
    struct pool *watched = make_held();
    take(alice, watched, 1);
    WAITS(bob, watched, 1, .count = 8, .timeout = 50);
    ck_assert_int_eq(broker_next_deadline(&broker), 50);
    broker_destroy_pool(&broker, watched);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    pass_to(1000);
}
END_TEST

/* ---- Quiet pools ----------------------------------------------------------------------------- */

START_TEST(test_notice_trims_a_pool_that_was_quiet_for_so_long)
{
    struct pool *quiet = MAKE(.name = "quiet", .object_size = MIB, .capacity = 3,
                              .watermark = "off", .trim_after = 100);
    join(alice, quiet);
    uint64_t whole_memory = pool_memory(quiet);
    ck_assert_int_eq(broker_next_deadline(&broker), 100);
    pass_to(60);
    take(alice, quiet, 1);
    pass_to(100); /* the deadline passes, but it wasn't quiet */
    ck_assert_uint_eq(pool_memory(quiet), whole_memory);
    ck_assert_int_eq(broker_next_deadline(&broker), 160);
    pass_to(159);
    ck_assert_uint_eq(pool_memory(quiet), whole_memory);
    pass_to(160);
    ck_assert_uint_eq(pool_memory(quiet), whole_memory - 2 * MIB);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    pass_to(1000);
    GETS(alice, quiet, 0, .count = 1); /* it takes its memory again */
    ck_assert_uint_eq(pool_memory(quiet), whole_memory - MIB);
    ck_assert_int_eq(broker_next_deadline(&broker), 1100);
    pass_to(1100);
    ck_assert_uint_eq(pool_memory(quiet), whole_memory - MIB);
}
END_TEST

/* Whoever comes and goes, waits or reads statistics doesn't disturb it. */
START_TEST(test_notice_takes_nothing_but_allocating_and_freeing_for_noise)
{
    struct pool *quiet = MAKE(.name = "quiet", .object_size = MIB, .capacity = 3,
                              .watermark = "off", .trim_after = 100);
    uint64_t whole_memory = pool_memory(quiet);
    join(alice, quiet);
    join(bob, quiet);
    take(alice, quiet, 2);
    pass_to(60);
    WAITS(bob, quiet, 1, .count = 2, .timeout = 20);
    pass_to(80);
    check_answer(0, "bob", 1, ERROR_TIMEOUT);
    ck_assert(operate(quiet, POOL_RETAIN, 0, 1));
    whole_memory += holders_size(&quiet->holders);
    end(&bob);
    pass_to(100);
    ck_assert_uint_eq(pool_memory(quiet), whole_memory - MIB);
    pass_to(150);
    ck_assert(give_back(quiet, 1, 1));
    pass_to(250);
    ck_assert_uint_eq(pool_memory(quiet), whole_memory - 2 * MIB);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
}
END_TEST

/* ---- Holders --------------------------------------------------------------------------------- */

START_TEST(test_notice_lists_who_holds_most_first)
{
    enum { SESSIONS = PROTOCOL_LIST_MAX + 5 };
    static struct session *others[SESSIONS];
    static char names[SESSIONS][8];
    struct pool *big = MAKE(.name = "big", .capacity = 8000, .watermark = "off");
    struct holder_info infos[PROTOCOL_LIST_MAX];
    ck_assert_uint_eq(notice_holders(&broker, big, infos, PROTOCOL_LIST_MAX), 0);
    for (unsigned i = 0; i < SESSIONS; i++) {
        snprintf(names[i], sizeof(names[i]), "s%u", i);
        others[i] = begin(names[i], false);
        join(others[i], big);
        broker_set_time(&broker, i);
        GETS(others[i], big, 0, .count = 1 + i * 37 % SESSIONS); /* each another count */
    }
    broker_set_time(&broker, 1000);
    ck_assert_uint_eq(notice_holders(&broker, big, infos, PROTOCOL_LIST_MAX), PROTOCOL_LIST_MAX);
    for (unsigned i = 0; i < PROTOCOL_LIST_MAX; i++) {
        ck_assert_uint_eq(infos[i].slots, SESSIONS - i);
        const struct session *session = others[infos[i].session - others[0]->id];
        ck_assert_uint_eq(session_usage(session), infos[i].slots);
        ck_assert_str_eq(infos[i].name, session->name);
        ck_assert_uint_eq(infos[i].pid, 12);
        ck_assert_uint_eq(infos[i].uid, peer.uid);
        ck_assert_uint_eq(infos[i].oldest, 1000 - (session->id - others[0]->id));
        ck_assert(infos[i].connected);
    }
    for (uint32_t max = 1; max < 5; max++)
        ck_assert_uint_eq(notice_holders(&broker, big, infos, max), max);
    ck_assert_uint_eq(infos[0].slots, SESSIONS);
}
END_TEST

START_TEST(test_notice_says_whether_a_holder_is_connected)
{
    struct holder_info info;
    int fd = session_witness(alice);
    take(alice, pool, 2);
    broker_disconnect(&broker, alice);
    ck_assert(!broker_end_session(&broker, alice));
    ck_assert_uint_eq(notice_holders(&broker, pool, &info, 1), 1);
    ck_assert(!info.connected);
    ck_assert_uint_eq(info.session, alice->id);
    close(fd);
}
END_TEST

START_TEST(test_notice_describes_the_first_holders)
{
    char text[PROTOCOL_HOLDERS_MAX + 1];
    notice_describe_holders(&broker, pool, text);
    ck_assert_str_eq(text, "");
    take(alice, pool, 1);
    GETS(bob, pool, 0, .count = 2);
    broker_set_time(&broker, INT64_C(2500000000));
    notice_describe_holders(&broker, pool, text);
    ck_assert_str_eq(text, "session 2 'bob' (pid 12, uid 34): 2 slots, for up to 2.5 s; "
                           "session 1 'alice' (pid 12, uid 34): 1 slot, for up to 2.5 s");
    REFUSES(ERROR_POOL_EXHAUSTED, bob, pool, 0, .count = 2);
    ck_assert_str_eq(error.holders, text);
}
END_TEST

START_TEST(test_notice_describes_durations_as_people_write_them)
{
    static const struct {
        int64_t now;
        const char *text;
    } cases[] = {
        {999, " 999 ns"},
        {1000, " 1.0 us"},
        {34259, " 34.2 us"},
        {999999, " 999.9 us"},
        {INT64_C(12300000), " 12.3 ms"},
        {INT64_C(59999999999), " 59.9 s"},
        {INT64_C(180000000000), " 3.0 min"},
        {INT64_C(5400000000000), " 1.5 h"},
        {INT64_C(129600000000000), " 1.5 d"},
        {INT64_MAX, " 106751.9 d"},
    };
    char text[PROTOCOL_HOLDERS_MAX + 1];
    take(alice, pool, 1);
    notice_describe_holders(&broker, pool, text);
    ck_assert_str_eq(text, "session 1 'alice' (pid 12, uid 34): 1 slot");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        broker_set_time(&broker, cases[i].now);
        notice_describe_holders(&broker, pool, text);
        ck_assert_str_eq(strrchr(text, ',') + strlen(", for up to"), cases[i].text);
    }
}
END_TEST

START_TEST(test_notice_names_what_is_detached)
{
    char text[PROTOCOL_HOLDERS_MAX + 1];
    struct holder_info infos[2];
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_DETACH, 0, 2));
    ck_assert_uint_eq(notice_holders(&broker, pool, infos, 2), 2);
    ck_assert_uint_eq(infos[0].session, 0);
    ck_assert_uint_eq(infos[0].slots, 2);
    ck_assert_str_eq(infos[0].name, "");
    ck_assert_uint_eq(infos[1].slots, 1);
    notice_describe_holders(&broker, pool, text);
    ck_assert_ptr_eq(strstr(text, "the pool itself (detached): 2 slots; session 1 'alice'"), text);
}
END_TEST

/* Several hold it: each is named with it, and it isn't detached besides. */
START_TEST(test_notice_counts_what_is_shared_where_it_is_held)
{
    struct holder_info infos[3];
    broker_set_time(&broker, 100);
    GETS(bob, pool, 0, .count = 3);
    memcpy(held, reply.handles.data, reply.handles.size);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2)); /* by alice */
    broker_set_time(&broker, 150);
    ck_assert_uint_eq(notice_holders(&broker, pool, infos, 3), 2);
    ck_assert_uint_eq(infos[0].session, bob->id);
    ck_assert_uint_eq(infos[0].slots, 3);
    ck_assert_uint_eq(infos[0].oldest, 50);
    ck_assert_uint_eq(infos[1].session, alice->id);
    ck_assert_uint_eq(infos[1].slots, 2);
    ck_assert_uint_eq(infos[1].oldest, 50);
    ck_assert(operate(pool, POOL_DETACH, 0, 1)); /* alice's hold of one */
    ck_assert_uint_eq(notice_holders(&broker, pool, infos, 3), 3);
    ck_assert_uint_eq(infos[1].slots, 1);
    ck_assert_uint_eq(infos[2].slots, 1);
    ck_assert_uint_eq(infos[1].session + infos[2].session, alice->id); /* 0 is the pool */
}
END_TEST

/* The longest names and numbers there are, three times. */
START_TEST(test_notice_describes_within_its_room)
{
    static char name[PROTOCOL_NAME_MAX + 1];
    char text[PROTOCOL_HOLDERS_MAX + 1];
    struct session *others[3];
    memset(name, 'n', PROTOCOL_NAME_MAX);
    for (unsigned i = 0; i < 3; i++) {
        others[i] = begin_as(name, false, UINT32_MAX - 1);
        others[i]->peer.pid = INT32_MAX;
        others[i]->id = INT64_MAX - i;
        session_join(others[i], pool, true);
        struct allocate_request request = {.pool = pool->id, .request = 1, .count = 1};
        ck_assert_int_eq(demand_request(&broker, others[i], session_membership(others[i], pool->id),
                                        &request, 0, &reply, &error),
                         BROKER_DONE);
    }
    broker_set_time(&broker, INT64_MAX);
    memset(text, 'x', sizeof(text));
    notice_describe_holders(&broker, pool, text);
    ck_assert_uint_le(strlen(text), PROTOCOL_HOLDERS_MAX);
    ck_assert_uint_gt(strlen(text), (size_t)3 * PROTOCOL_NAME_MAX);
}
END_TEST

SUITE_MAIN_WITH(
    "notice", broker_set_up, broker_tear_down,
    test_notice_says_once_that_the_watermark_is_reached_and_once_that_it_has_fallen,
    test_notice_says_at_once_that_a_pool_is_made_above_its_watermark,
    test_notice_says_nothing_without_a_watermark, test_notice_follows_sessions_that_end,
    test_notice_does_not_say_that_usage_fell_when_others_waited,
    test_notice_check_notices_what_was_not_said,
    test_notice_says_once_that_a_pool_is_exhausted_until_one_fits,
    test_notice_says_that_a_pool_was_destroyed, test_notice_says_once_that_a_pool_is_damaged,
    test_notice_sees_damage_when_a_pool_is_left_trimmed_or_grows,
    test_notice_takes_no_growth_for_damage, test_notice_says_what_is_held_for_too_long_at_its_time,
    test_notice_says_nothing_of_what_was_freed_in_time,
    test_notice_says_what_the_pool_itself_holds_for_too_long,
    test_notice_looks_at_what_changes_hands, test_notice_leaves_no_deadline_of_a_destroyed_pool,
    test_notice_trims_a_pool_that_was_quiet_for_so_long,
    test_notice_takes_nothing_but_allocating_and_freeing_for_noise,
    test_notice_lists_who_holds_most_first, test_notice_says_whether_a_holder_is_connected,
    test_notice_describes_the_first_holders, test_notice_describes_durations_as_people_write_them,
    test_notice_names_what_is_detached, test_notice_describes_within_its_room,
    test_notice_counts_what_is_shared_where_it_is_held)
