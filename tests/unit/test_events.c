/* SPDX-License-Identifier: MIT */
#include "daemon/events.h"

#include <string.h>

#include "tests/unit/suite.h"

static struct events events;
static uint64_t last;

/* A daemon begins that counts on from there. */
static void begin(uint64_t number)
{
    memset(&events, 0xa5, sizeof(events)); /* nothing may depend on what stood there */
    last = number;
    events_init(&events, &last);
}

static void set_up(void)
{
    begin(0);
}

/* Each has another pool, so that it is known again. */
static void add(uint32_t pool)
{
    struct event event = {.kind = EVENT_GROWN, .pool = pool};
    events_add(&events, &event);
}

static void add_many(uint32_t count)
{
    for (uint32_t pool = 1; pool <= count; pool++)
        add(pool);
}

/* Number of the oldest one after it, which must be whole; 0 if there is none. */
static uint64_t number_after(uint64_t after)
{
    const struct event *event = events_after(&events, after);
    if (!event)
        return 0;
    ck_assert_uint_eq(event->number, event->pool);
    return event->number;
}

/* ---- The ring -------------------------------------------------------------------------------- */

START_TEST(test_events_begin_with_none)
{
    ck_assert_uint_eq(last, 0);
    ck_assert_ptr_null(events_after(&events, 0));
    ck_assert_ptr_null(events_after(&events, 1));
    ck_assert_ptr_null(events_after(&events, EVENTS_KEPT));
    ck_assert_ptr_null(events_after(&events, UINT64_MAX));
}
END_TEST

START_TEST(test_events_are_numbered_from_1)
{
    add_many(3);
    ck_assert_uint_eq(last, 3);
    ck_assert_uint_eq(number_after(0), 1);
    ck_assert_uint_eq(number_after(1), 2);
    ck_assert_uint_eq(number_after(2), 3);
    ck_assert_uint_eq(number_after(3), 0);
}
END_TEST

START_TEST(test_events_keep_a_copy_of_everything)
{
    struct event event = {.number = 77, .kind = EVENT_EVICTED, .pool = UINT32_MAX, .time = -1};
    memset(event.name, 'n', PROTOCOL_NAME_MAX);
    event.capacity = event.allocated = event.count = event.session = UINT64_MAX;
    struct event expected = event;
    expected.number = 1;

    events_add(&events, &event);
    ck_assert_uint_eq(event.number, 77);
    memset(&event, 0, sizeof(event));
    const struct event *kept = events_after(&events, 0);
    ck_assert_ptr_nonnull(kept);
    ck_assert_mem_eq(kept, &expected, sizeof(expected));
}
END_TEST

START_TEST(test_events_take_one_of_their_own_again)
{
    add(1);
    events_add(&events, events_after(&events, 0));
    ck_assert_uint_eq(events_after(&events, 0)->number, 1);
    ck_assert_uint_eq(events_after(&events, 1)->number, 2);
    ck_assert_uint_eq(events_after(&events, 1)->pool, 1);
}
END_TEST

START_TEST(test_events_keep_the_first_while_there_is_a_place)
{
    add_many(EVENTS_KEPT);
    ck_assert_uint_eq(number_after(0), 1);
    ck_assert_uint_eq(number_after(EVENTS_KEPT - 1), EVENTS_KEPT);
    ck_assert_uint_eq(number_after(EVENTS_KEPT), 0);
}
END_TEST

START_TEST(test_events_lose_the_oldest_to_one_too_many)
{
    add_many(EVENTS_KEPT + 1);
    ck_assert_uint_eq(number_after(0), 2);
    ck_assert_uint_eq(number_after(1), 2);
    ck_assert_uint_eq(number_after(2), 3);
    ck_assert_uint_eq(number_after(EVENTS_KEPT), EVENTS_KEPT + 1);
    ck_assert_uint_eq(number_after(EVENTS_KEPT + 1), 0);
}
END_TEST

START_TEST(test_events_come_in_order_and_none_twice)
{
    const uint64_t count = 3 * EVENTS_KEPT + 7;
    uint64_t expected = count - EVENTS_KEPT + 1, number = 0;
    add_many((uint32_t)count);
    while ((number = number_after(number)) != 0)
        ck_assert_uint_eq(number, expected++);
    ck_assert_uint_eq(expected, count + 1);
}
END_TEST

START_TEST(test_events_reach_who_asks_after_each)
{
    uint64_t seen = 0;
    for (uint32_t pool = 1; pool <= 2 * EVENTS_KEPT + 1; pool++) {
        add(pool);
        seen = number_after(seen);
        ck_assert_uint_eq(seen, pool);
        ck_assert_uint_eq(number_after(seen), 0);
    }
}
END_TEST

START_TEST(test_events_after_a_number_of_another_life_begin_with_the_oldest)
{
    add_many(3);
    ck_assert_uint_eq(number_after(4), 1);
    ck_assert_uint_eq(number_after(UINT64_MAX), 1);
    for (uint32_t pool = 4; pool <= EVENTS_KEPT + 5; pool++)
        add(pool);
    ck_assert_uint_eq(number_after(EVENTS_KEPT + 6), 6);
    ck_assert_uint_eq(number_after(UINT64_MAX), 6);
}
END_TEST

START_TEST(test_events_of_the_daemon_before_are_gone_and_counted)
{
    begin(7);
    ck_assert_ptr_null(events_after(&events, 0));
    ck_assert_ptr_null(events_after(&events, 7));
    for (uint32_t pool = 8; pool <= 10; pool++)
        add(pool);
    ck_assert_uint_eq(last, 10);
    ck_assert_uint_eq(number_after(0), 8);
    ck_assert_uint_eq(number_after(6), 8);
    ck_assert_uint_eq(number_after(8), 9);
    ck_assert_uint_eq(number_after(10), 0);
    ck_assert_uint_eq(number_after(11), 8);
}
END_TEST

/* ---- Names ----------------------------------------------------------------------------------- */

/* They travel, and are never changed. */
static const struct {
    enum event_kind kind;
    uint32_t number;
    const char *name;
} names[] = {
    {EVENT_WATERMARK_REACHED, 1, "watermark-reached"},
    {EVENT_WATERMARK_FALLEN, 2, "watermark-fallen"},
    {EVENT_EXHAUSTED, 3, "exhausted"},
    {EVENT_GROWN, 4, "grown"},
    {EVENT_GROWTH_FAILED, 5, "growth-failed"},
    {EVENT_EVICTED, 6, "evicted"},
    {EVENT_HELD_LONG, 7, "held-long"},
    {EVENT_RECLAIMED, 8, "reclaimed"},
    {EVENT_DAMAGED, 9, "damaged"},
    {EVENT_DESTROYED, 10, "destroyed"},
};

#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

START_TEST(test_event_kinds_have_their_numbers_and_names)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        ck_assert_uint_eq(names[i].kind, names[i].number);
        ck_assert_str_eq(event_name(names[i].kind), names[i].name);
    }
}
END_TEST

START_TEST(test_event_kinds_are_those_and_no_others)
{
#define COUNT_ONE(NAME, number, text) +1
    ck_assert_uint_eq(0 EVENT_KINDS(COUNT_ONE), NAME_COUNT);
#undef COUNT_ONE
    ck_assert_ptr_null(event_name(0));
    ck_assert_ptr_null(event_name(names[NAME_COUNT - 1].number + 1));
    ck_assert_ptr_null(event_name(UINT32_MAX));
}
END_TEST

SUITE_MAIN_WITH("events", set_up, NULL, test_events_begin_with_none,
                test_events_are_numbered_from_1, test_events_keep_a_copy_of_everything,
                test_events_take_one_of_their_own_again,
                test_events_keep_the_first_while_there_is_a_place,
                test_events_lose_the_oldest_to_one_too_many,
                test_events_come_in_order_and_none_twice, test_events_reach_who_asks_after_each,
                test_events_of_the_daemon_before_are_gone_and_counted,
                test_events_after_a_number_of_another_life_begin_with_the_oldest,
                test_event_kinds_have_their_numbers_and_names,
                test_event_kinds_are_those_and_no_others)
