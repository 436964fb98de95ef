/* SPDX-License-Identifier: MIT */
#include "client/ctl/advice.c" // NOLINT(bugprone-suspicious-include): part of a program

#include <stdio.h>

#include "tests/unit/suite.h"

static fastalloc_pool_info_t info;
static fastalloc_stats_t stats;

/* A pool of fixed capacity, of which so many slots were in use at once. */
static void set(uint64_t capacity, uint64_t peak)
{
    info = FASTALLOC_POOL_INFO_INIT;
    stats = FASTALLOC_STATS_INIT;
    info.capacity = capacity;
    info.capacity_max = capacity;
    info.reserve = 4 * capacity;
    snprintf(info.growth, sizeof(info.growth), "none");
    stats.peak_usage = peak;
}

static void check(uint64_t needed, uint64_t margin, uint64_t capacity, enum advice_verdict verdict,
                  enum advice_action action)
{
    struct advice advice = advice_on(&info, &stats, needed, margin);

    ck_assert_uint_eq(advice.capacity, capacity);
    ck_assert_str_eq(advice_verdict_name(advice.verdict), advice_verdict_name(verdict));
    ck_assert_int_eq(advice.action, action);
}

START_TEST(test_nothing_observed_is_no_advice)
{
    set(100, 0);
    check(0, 20, 0, ADVICE_UNKNOWN, ADVICE_NOTHING);
}
END_TEST

START_TEST(test_margin_is_rounded_up)
{
    set(100, 81);
    check(0, 20, 98, ADVICE_RIGHT, ADVICE_NOTHING);
    set(100, 1);
    check(0, 0, 1, ADVICE_TOO_LARGE, ADVICE_REPLACE);
    check(0, 1, 2, ADVICE_TOO_LARGE, ADVICE_REPLACE);
    set(100, 50);
    check(0, 100, 100, ADVICE_RIGHT, ADVICE_NOTHING);
}
END_TEST

START_TEST(test_no_less_is_advised_than_was_refused_for)
{
    set(100, 60);
    check(101, 20, 101, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
    check(72, 20, 72, ADVICE_RIGHT, ADVICE_NOTHING);
    set(100, 0);
    check(150, 20, 150, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
}
END_TEST

START_TEST(test_no_less_is_advised_than_is_reserved)
{
    set(100, 10);
    info.reserve_critical = 20;
    info.reserve_normal = 15;
    check(0, 20, 36, ADVICE_TOO_LARGE, ADVICE_REPLACE);
    check(90, 20, 90, ADVICE_RIGHT, ADVICE_NOTHING);
}
END_TEST

START_TEST(test_reserves_are_needed_as_far_as_they_were_kept)
{
    set(100, 90);
    info.reserve_critical = 10;
    info.reserve_normal = 20;
    ck_assert_uint_eq(advice_reserve(&info, 100, 71), 30);
    ck_assert_uint_eq(advice_reserve(&info, 100, 90), 30);
    ck_assert_uint_eq(advice_reserve(&info, 100, 91), 10);
    ck_assert_uint_eq(advice_reserve(&info, 100, 100), 10);
    ck_assert_uint_eq(advice_reserve(&info, 100, 101), 0);
}
END_TEST

START_TEST(test_too_small_is_what_lacks_the_margin)
{
    set(100, 83);
    check(0, 20, 100, ADVICE_RIGHT, ADVICE_NOTHING);
    set(100, 84);
    check(0, 20, 101, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
    info.reserve = 100;
    check(0, 20, 101, ADVICE_TOO_SMALL, ADVICE_REPLACE);
    info.capacity_max = 101;
    check(0, 20, 101, ADVICE_TOO_SMALL, ADVICE_GROW);
}
END_TEST

START_TEST(test_pool_that_grows_by_itself_is_right)
{
    set(100, 100);
    info.capacity_max = 120;
    snprintf(info.growth, sizeof(info.growth), "linear:10");
    check(0, 20, 120, ADVICE_RIGHT, ADVICE_NOTHING);
    check(121, 20, 121, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
}
END_TEST

START_TEST(test_too_large_is_more_than_twice)
{
    set(100, 50);
    check(0, 0, 50, ADVICE_RIGHT, ADVICE_NOTHING);
    set(102, 50);
    check(0, 0, 50, ADVICE_TOO_LARGE, ADVICE_REPLACE);
}
END_TEST

START_TEST(test_leased_pool_is_never_too_large)
{
    set(100, 6);
    info.kind = FASTALLOC_LEASED;
    check(0, 20, 0, ADVICE_UNKNOWN, ADVICE_NOTHING);
    check(40, 20, 0, ADVICE_UNKNOWN, ADVICE_NOTHING);
    check(50, 20, 50, ADVICE_RIGHT, ADVICE_NOTHING);
    check(101, 20, 101, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
    set(100, 84);
    info.kind = FASTALLOC_LEASED;
    check(0, 20, 101, ADVICE_TOO_SMALL, ADVICE_GROW_RAISE);
}
END_TEST

START_TEST(test_no_advice_is_beyond_any_pool)
{
    set(UINT32_MAX, UINT32_MAX);
    check(0, ADVICE_MARGIN_MAX, UINT32_MAX, ADVICE_RIGHT, ADVICE_NOTHING);
    check(UINT64_MAX, 0, UINT32_MAX, ADVICE_RIGHT, ADVICE_NOTHING);
    set(1, UINT64_MAX);
    check(0, 20, UINT32_MAX, ADVICE_TOO_SMALL, ADVICE_REPLACE);
}
END_TEST

SUITE_MAIN("ctl_advice", test_nothing_observed_is_no_advice, test_margin_is_rounded_up,
           test_no_less_is_advised_than_was_refused_for, test_no_less_is_advised_than_is_reserved,
           test_reserves_are_needed_as_far_as_they_were_kept,
           test_too_small_is_what_lacks_the_margin, test_pool_that_grows_by_itself_is_right,
           test_too_large_is_more_than_twice, test_leased_pool_is_never_too_large,
           test_no_advice_is_beyond_any_pool)
