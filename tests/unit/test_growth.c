/* SPDX-License-Identifier: MIT */
#include "daemon/growth.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"

#define ROUNDS 100000u

static struct growth parsed(const char *text)
{
    struct growth growth;
    const char *complaint = growth_parse(&growth, text);
    ck_assert_msg(!complaint, "'%s' %s", text, complaint);
    return growth;
}

/* It is refused with a complaint that has this part, and nothing is written. */
static void check_refused(const char *text, const char *part)
{
    struct growth growth, before;
    memset(&growth, 0x5a, sizeof(growth));
    memcpy(&before, &growth, sizeof(growth));
    const char *complaint = growth_parse(&growth, text);
    ck_assert_msg(complaint != NULL, "'%s' is taken", text);
    ck_assert_msg(strstr(complaint, part) != NULL, "'%s' %s", text, complaint);
    ck_assert_mem_eq(&growth, &before, sizeof(growth));
}

static uint32_t next(const char *text, uint32_t capacity, uint64_t needed, uint32_t max)
{
    struct growth growth = parsed(text);
    return growth_next(&growth, capacity, needed, max);
}

/* "custom:1,2,3..." */
static char *custom_of(uint32_t count)
{
    static char text[GROWTH_TEXT_MAX + 1];
    size_t length = (size_t)sprintf(text, "custom:1");
    for (uint32_t i = 2; i <= count; i++)
        length += (size_t)sprintf(text + length, ",%u", i);
    return text;
}

/* ---- Text ------------------------------------------------------------------------------------ */

START_TEST(test_growth_none_is_also_the_empty_text)
{
    ck_assert_int_eq(parsed("none").kind, GROWTH_NONE);
    ck_assert_int_eq(parsed("").kind, GROWTH_NONE);
}
END_TEST

START_TEST(test_growth_parses_linear_from_1_to_the_greatest_number)
{
    ck_assert_int_eq(parsed("linear:100").kind, GROWTH_LINEAR);
    ck_assert_uint_eq(parsed("linear:100").step, 100);
    ck_assert_uint_eq(parsed("linear:1").step, 1);
    ck_assert_uint_eq(parsed("linear:4294967295").step, UINT32_MAX);
    check_refused("linear:0", "1 to 4294967295");
    check_refused("linear:4294967296", "1 to 4294967295");
    check_refused("linear:42949672950", "1 to 4294967295");
    check_refused("linear:18446744073709551617", "1 to 4294967295");
}
END_TEST

START_TEST(test_growth_parses_factors_of_up_to_three_decimals)
{
    ck_assert_int_eq(parsed("exponential:2").kind, GROWTH_EXPONENTIAL);
    ck_assert_uint_eq(parsed("exponential:2").factor, 2000);
    ck_assert_uint_eq(parsed("exponential:1.5").factor, 1500);
    ck_assert_uint_eq(parsed("exponential:1.25").factor, 1250);
    ck_assert_uint_eq(parsed("exponential:10.125").factor, 10125);
    ck_assert_uint_eq(parsed("exponential:1.050").factor, 1050);
    check_refused("exponential:1.5000", "up to three decimals");
    check_refused("exponential:1.0009", "up to three decimals");
}
END_TEST

START_TEST(test_growth_parses_factors_above_1_up_to_16)
{
    ck_assert_uint_eq(parsed("exponential:1.001").factor, 1001);
    ck_assert_uint_eq(parsed("exponential:16").factor, 16000);
    ck_assert_uint_eq(parsed("exponential:16.000").factor, 16000);
    check_refused("exponential:1", "above 1");
    check_refused("exponential:1.000", "above 1");
    check_refused("exponential:0.999", "above 1");
    check_refused("exponential:16.001", "at most 16");
    check_refused("exponential:17", "at most 16");
    check_refused("exponential:4294967297.5", "at most 16");
    check_refused("exponential:4294969", "at most 16"); /* 1.704 with 32 bits of thousandths */
}
END_TEST

START_TEST(test_growth_parses_custom_capacities_that_ascend)
{
    struct growth growth = parsed("custom:1,500,4294967295");

    ck_assert_int_eq(growth.kind, GROWTH_CUSTOM);
    ck_assert_uint_eq(growth.count, 3);
    ck_assert_uint_eq(growth.capacities[0], 1);
    ck_assert_uint_eq(growth.capacities[1], 500);
    ck_assert_uint_eq(growth.capacities[2], UINT32_MAX);
    check_refused("custom:0,1", "1 to 4294967295");
    check_refused("custom:1,4294967296", "1 to 4294967295");
    check_refused("custom:5,5", "each above the last");
    check_refused("custom:5,6,4", "each above the last");
}
END_TEST

START_TEST(test_growth_parses_16_custom_capacities_and_no_more)
{
    ck_assert_uint_eq(parsed(custom_of(1)).count, 1);
    ck_assert_uint_eq(parsed(custom_of(GROWTH_CAPACITIES_MAX)).count, GROWTH_CAPACITIES_MAX);
    check_refused(custom_of(GROWTH_CAPACITIES_MAX + 1), "1 to 16 capacities");
}
END_TEST

START_TEST(test_growth_refuses_what_is_no_policy_and_names_the_choice)
{
    static const char choice[] =
        "choose none, linear:SLOTS, exponential:FACTOR or custom:SLOTS,SLOTS,...";
    static const char *const texts[] = {
        "None", "none ", " none",   "none:",       "linear", "Linear:1",
        "100",  "1.5",   "linear=", "exponential", "custom", "\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused(texts[i], choice);
}
END_TEST

START_TEST(test_growth_refuses_numbers_with_anything_about_them)
{
    static const char *const numbers[] = {
        "",     " 2", "2 ", "+2",   "-2",  "2x",   "0x2",  "02",   "2e0",  "2,",  ",2",  "2;3",
        "2,,3", "2.", ".2", "1..5", "1,5", "1. 5", "1.5 ", "1.-5", "1.+5", "nan", "inf", "2\n"};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[32];
        snprintf(text, sizeof(text), "linear:%s", numbers[i]);
        check_refused(text, "linear:100");
        snprintf(text, sizeof(text), "exponential:%s", numbers[i]);
        check_refused(text, "exponential:1.5");
        snprintf(text, sizeof(text), "custom:%s", numbers[i]);
        if (strcmp(numbers[i], "1,5") != 0)
            check_refused(text, "custom:100,500,2000");
    }
}
END_TEST

START_TEST(test_growth_text_is_as_long_as_is_said_at_most)
{
    char text[GROWTH_TEXT_MAX + 2];
    size_t length = (size_t)sprintf(text, "custom:");
    for (uint32_t i = 0; i < GROWTH_CAPACITIES_MAX; i++)
        length += (size_t)sprintf(text + length, "%s%" PRIu32, i > 0 ? "," : "",
                                  UINT32_MAX - GROWTH_CAPACITIES_MAX + i);
    ck_assert_uint_eq(length, GROWTH_TEXT_MAX);
    ck_assert_uint_eq(parsed(text).count, GROWTH_CAPACITIES_MAX);
}
END_TEST

/* ---- Growing --------------------------------------------------------------------------------- */

START_TEST(test_growth_takes_one_step_if_that_is_enough)
{
    ck_assert_uint_eq(next("none", 100, 101, 1000), 100);
    ck_assert_uint_eq(next("linear:50", 100, 101, 1000), 150);
    ck_assert_uint_eq(next("linear:50", 100, 150, 1000), 150);
    ck_assert_uint_eq(next("exponential:1.5", 100, 101, 1000), 150);
    ck_assert_uint_eq(next("exponential:1.5", 100, 150, 1000), 150);
    ck_assert_uint_eq(next("custom:50,100,300,600", 100, 101, 1000), 300);
    ck_assert_uint_eq(next("custom:50,100,300,600", 100, 300, 1000), 300);
    ck_assert_uint_eq(next("custom:50,100,300,600", 99, 100, 1000), 100);
}
END_TEST

START_TEST(test_growth_takes_as_many_steps_as_are_needed)
{
    ck_assert_uint_eq(next("linear:50", 100, 151, 1000), 200);
    ck_assert_uint_eq(next("linear:50", 100, 901, 1000), 950);
    ck_assert_uint_eq(next("exponential:1.5", 100, 151, 1000), 225);
    ck_assert_uint_eq(next("exponential:1.5", 100, 226, 1000), 337);
    ck_assert_uint_eq(next("custom:50,100,300,600", 100, 301, 1000), 600);
    ck_assert_uint_eq(next("custom:50,100,300,600", 10, 301, 1000), 600);
}
END_TEST

START_TEST(test_growth_ends_at_the_maximum)
{
    static const char *const texts[] = {"linear:50", "exponential:1.5", "custom:60,130"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_uint_eq(next(texts[i], 100, 101, 120), 120);
        ck_assert_uint_eq(next(texts[i], 100, 120, 120), 120);
        ck_assert_uint_eq(next(texts[i], 100, 121, 120), 120);
        ck_assert_uint_eq(next(texts[i], 100, UINT64_MAX, 120), 120);
        ck_assert_uint_eq(next(texts[i], 120, 121, 120), 120);
        ck_assert_uint_eq(next(texts[i], 130, 131, 120), 130);
    }
}
END_TEST

START_TEST(test_growth_leaves_alone_what_is_enough)
{
    static const char *const texts[] = {"none", "linear:5", "exponential:2", "custom:200"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_uint_eq(next(texts[i], 100, 100, 1000), 100);
        ck_assert_uint_eq(next(texts[i], 100, 0, 1000), 100);
    }
}
END_TEST

START_TEST(test_growth_exponential_grows_by_one_slot_at_least)
{
    ck_assert_uint_eq(next("exponential:1.001", 1, 2, 1000), 2);
    ck_assert_uint_eq(next("exponential:1.001", 1, 7, 1000), 7);
    ck_assert_uint_eq(next("exponential:1.5", 1, 2, 1000), 2);
    ck_assert_uint_eq(next("exponential:16", 0, 1, 1000), 1);
    ck_assert_uint_eq(next("exponential:1.001", 999, 1000, 9999), 1000);
    ck_assert_uint_eq(next("exponential:1.001", 2000, 2001, 9999), 2002);
}
END_TEST

START_TEST(test_growth_custom_goes_to_the_maximum_beyond_its_list)
{
    ck_assert_uint_eq(next("custom:100,500", 500, 501, 1000), 1000);
    ck_assert_uint_eq(next("custom:100,500", 10, 501, 1000), 1000);
    ck_assert_uint_eq(next("custom:100,500", 700, 701, 1000), 1000);
}
END_TEST

START_TEST(test_growth_goes_to_the_end_of_the_numbers)
{
    static const char *const texts[] = {"linear:1", "linear:4294967295", "exponential:1.001",
                                        "exponential:16", "custom:4294967295"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_uint_eq(next(texts[i], 1, UINT32_MAX, UINT32_MAX), UINT32_MAX);
        ck_assert_uint_eq(next(texts[i], UINT32_MAX - 1, UINT32_MAX, UINT32_MAX), UINT32_MAX);
        ck_assert_uint_eq(next(texts[i], 1, UINT64_MAX, UINT32_MAX), UINT32_MAX);
        ck_assert_uint_eq(next(texts[i], UINT32_MAX, UINT64_MAX, UINT32_MAX), UINT32_MAX);
    }
}
END_TEST

/* ---- Against a growth step by step ----------------------------------------------------------- */

/* splitmix64: the same numbers everywhere. */
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % limit;
}

/* Of any magnitude, at least 1. */
static uint32_t random_slots(void)
{
    return 1 + random_below(UINT32_MAX >> random_below(32));
}

static uint64_t one_step(const struct growth *growth, uint64_t capacity, uint32_t max)
{
    uint64_t more, next = capacity;

    if (growth->kind == GROWTH_LINEAR)
        next = capacity + growth->step;
    if (growth->kind == GROWTH_EXPONENTIAL) {
        more = capacity * (growth->factor - 1000) / 1000;
        next = capacity + (more > 0 ? more : 1);
    }
    if (growth->kind == GROWTH_CUSTOM) {
        next = max;
        for (uint32_t i = growth->count; i-- > 0;)
            if (growth->capacities[i] > capacity)
                next = growth->capacities[i];
    }
    return next < max ? next : max;
}

static uint32_t step_by_step(const struct growth *growth, uint32_t capacity, uint64_t needed,
                             uint32_t max)
{
    uint64_t next = capacity;
    while (growth->kind != GROWTH_NONE && next < needed && next < max)
        next = one_step(growth, next, max);
    return (uint32_t)next;
}

static int compare_slots(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static struct growth random_growth(uint32_t max)
{
    struct growth growth = {.kind = (enum growth_kind)random_below(4)};
    growth.step = max / 1024 + random_slots() % 1024 + 1; /* not too many of them */
    growth.factor = 1001 + random_below(random_below(2) ? 15000 : 50);
    for (uint32_t i = 0; i < GROWTH_CAPACITIES_MAX; i++)
        growth.capacities[i] = random_slots();
    qsort(growth.capacities, GROWTH_CAPACITIES_MAX, sizeof(uint32_t), compare_slots);
    growth.count = 1;
    for (uint32_t i = 1, most = random_below(GROWTH_CAPACITIES_MAX); i <= most; i++)
        if (growth.capacities[i] > growth.capacities[growth.count - 1])
            growth.capacities[growth.count++] = growth.capacities[i];
    return growth;
}

START_TEST(test_growth_comes_where_single_steps_come)
{
    unsigned between = 0;

    printf("seed 1\n");
    random_state = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t capacity = random_slots(), max = random_slots();
        uint64_t needed = random_below(10) ? capacity / 2 + (uint64_t)random_slots() : UINT64_MAX;
        struct growth growth = random_growth(max);
        uint32_t grown = growth_next(&growth, capacity, needed, max);
        if (grown != step_by_step(&growth, capacity, needed, max))
            ck_abort_msg("round %u: kind %d from %u for %" PRIu64 " of %u to %u", i, growth.kind,
                         capacity, needed, max, grown);
        between += grown > capacity && grown < max;
    }
    ck_assert_uint_gt(between, ROUNDS / 20); /* not at one of the ends only */
}
END_TEST

SUITE_MAIN("growth", test_growth_none_is_also_the_empty_text,
           test_growth_parses_linear_from_1_to_the_greatest_number,
           test_growth_parses_factors_of_up_to_three_decimals,
           test_growth_parses_factors_above_1_up_to_16,
           test_growth_parses_custom_capacities_that_ascend,
           test_growth_parses_16_custom_capacities_and_no_more,
           test_growth_refuses_what_is_no_policy_and_names_the_choice,
           test_growth_refuses_numbers_with_anything_about_them,
           test_growth_text_is_as_long_as_is_said_at_most,
           test_growth_takes_one_step_if_that_is_enough,
           test_growth_takes_as_many_steps_as_are_needed, test_growth_ends_at_the_maximum,
           test_growth_leaves_alone_what_is_enough,
           test_growth_exponential_grows_by_one_slot_at_least,
           test_growth_custom_goes_to_the_maximum_beyond_its_list,
           test_growth_goes_to_the_end_of_the_numbers, test_growth_comes_where_single_steps_come)
