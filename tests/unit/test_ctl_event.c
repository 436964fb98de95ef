/* SPDX-License-Identifier: MIT */
#include "client/ctl/event_text.c" // NOLINT(bugprone-suspicious-include): part of a program

#include <stdlib.h>

#include "tests/unit/suite.h"

/* JSON isn't looked at here. */
json_t *json_new(void)
{
    return NULL;
}

void json_set_number(json_t *object, const char *key, uint64_t number)
{
    (void)object;
    (void)key;
    (void)number;
}

void json_set_string(json_t *object, const char *key, const char *string)
{
    (void)object;
    (void)key;
    (void)string;
}

static void check_text(const char *kind, uint64_t count, uint64_t session, const char *expected)
{
    fastalloc_event_t event = FASTALLOC_SIZED(fastalloc_event_t);
    char buffer[EVENT_TEXT_SIZE];

    snprintf(event.kind, sizeof(event.kind), "%s", kind);
    event.count = count;
    event.session = session;
    event.allocated = 7;
    event.capacity = 10;
    ck_assert_str_eq(event_text(&event, buffer), expected);
}

START_TEST(test_event_is_told_in_words)
{
    check_text("watermark-reached", 7, 0, "7 of 10 in use");
    check_text("exhausted", 4, 0, "asked for 4 slots; 7 of 10 in use");
    check_text("grown", 1, 0, "by 1 slot; 7 of 10 in use");
    check_text("reclaimed", 2, 33, "freed 2 slots; 7 of 10 in use; session 33");
    check_text("a kind to come", 2, 0, "count 2; 7 of 10 in use");
}
END_TEST

START_TEST(test_event_of_the_largest_numbers_fits)
{
    fastalloc_event_t event = FASTALLOC_SIZED(fastalloc_event_t);
    char buffer[EVENT_TEXT_SIZE];

    snprintf(event.kind, sizeof(event.kind), "exhausted");
    event.count = event.session = event.allocated = event.capacity = UINT64_MAX;
    ck_assert_str_eq(event_text(&event, buffer),
                     "asked for 18446744073709551615 slots; 18446744073709551615 of "
                     "18446744073709551615 in use; session 18446744073709551615");
}
END_TEST

START_TEST(test_event_has_a_date)
{
    fastalloc_event_t event = FASTALLOC_SIZED(fastalloc_event_t);
    char buffer[EVENT_DATE_SIZE];

    setenv("TZ", "UTC-2", 1);
    tzset();
    event.time = 5000000000; /* 1.5 s before the clock's 6.5 s */
    ck_assert_str_eq(event_date_utc(&event, 6500000000, 86402000000000, buffer),
                     "1970-01-02T00:00:00.500000Z");
    ck_assert_str_eq(event_date(&event, 6500000000, 86402000000000, buffer),
                     "1970-01-02 02:00:00.500");
}
END_TEST

SUITE_MAIN("ctl_event", test_event_is_told_in_words, test_event_of_the_largest_numbers_fits,
           test_event_has_a_date)
