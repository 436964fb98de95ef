/* SPDX-License-Identifier: MIT */
#include "daemon/tally.h"

#include <string.h>

#include "shm/counters.h"
#include "tests/unit/suite.h"

static struct layout_counters counters;

static void set_up(void)
{
    memset(&counters, 0, sizeof(counters));
    tally_reset(&counters, 1000);
}

/* Nothing is being changed. */
static void tear_down(void)
{
    ck_assert_uint_eq(counters.sequence % 2, 0);
}

static unsigned __int128 area(void)
{
    return (unsigned __int128)counters.area_high << 64 | counters.area_low;
}

START_TEST(test_tally_begins_with_nothing_at_its_moment)
{
    struct layout_counters expected = {.sequence = 2, .reset_at = 1000, .changed_at = 1000};
    ck_assert_mem_eq(&counters, &expected, sizeof(expected));
}
END_TEST

START_TEST(test_tally_changes_are_seen_once_each)
{
    uint64_t sequence = counters.sequence;
    tally_allocated(&counters, 1, 1001);
    ck_assert_uint_eq(counters.sequence, sequence + 2);
    tally_freed(&counters, 1, 1002);
    ck_assert_uint_eq(counters.sequence, sequence + 4);
    tally_handed_on(&counters, 1);
    tally_add(&counters, &counters.evictions, 1);
    tally_set(&counters, &counters.waiters, 1);
    tally_waited(&counters, 1);
    tally_reset(&counters, 1003);
    ck_assert_uint_eq(counters.sequence, sequence + 14);
}
END_TEST

START_TEST(test_tally_counts_slots_and_keeps_the_peak)
{
    tally_allocated(&counters, 5, 1001);
    tally_freed(&counters, 1, 1002);
    tally_freed(&counters, 1, 1003);
    tally_allocated(&counters, 1, 1004);
    ck_assert_uint_eq(counters.total_allocations, 6);
    ck_assert_uint_eq(counters.total_deallocations, 2);
    ck_assert_uint_eq(counters.current_usage, 4);
    ck_assert_uint_eq(counters.peak_usage, 5);
    tally_allocated(&counters, 1, 1005);
    ck_assert_uint_eq(counters.peak_usage, 5);
    tally_allocated(&counters, 1, 1006);
    ck_assert_uint_eq(counters.peak_usage, 6);
}
END_TEST

START_TEST(test_tally_sums_the_area_under_the_usage)
{
    tally_allocated(&counters, 3, 1010); /* 0 for 10 */
    ck_assert_uint_eq(counters.area_low, 0);
    tally_allocated(&counters, 2, 1014); /* 3 for 4 */
    ck_assert_uint_eq(counters.area_low, 12);
    tally_freed(&counters, 4, 1014); /* 5 for 0 */
    ck_assert_uint_eq(counters.area_low, 12);
    tally_freed(&counters, 9, 1019); /* 4 for 5 */
    ck_assert_uint_eq(counters.area_low, 32);
    ck_assert_uint_eq(counters.area_high, 0);
    ck_assert_uint_eq(counters.changed_at, 1019);
    ck_assert_double_eq(counters_average_usage(&counters, 1019), 32.0 / 19);
    ck_assert_double_eq(counters_average_usage(&counters, 1020), 35.0 / 20); /* 3 for 1 */
}
END_TEST

START_TEST(test_tally_area_does_not_go_back_with_the_time)
{
    tally_allocated(&counters, 3, 1010);
    tally_allocated(&counters, 1, 1005);
    ck_assert_uint_eq(counters.area_low, 0);
    ck_assert_uint_eq(counters.changed_at, 1010);
}
END_TEST

/* A full pool of the greatest capacity passes 64 bits in 17 seconds. */
START_TEST(test_tally_area_carries_beyond_64_bits)
{
    const uint32_t usage = UINT32_C(1) << 30;
    const int64_t year = INT64_C(31536000) * 1000000000;
    unsigned __int128 expected = 0;

    tally_allocated(&counters, usage, 1000);
    for (int64_t i = 1; i <= 20; i++) {
        int64_t now = 1000 + i * (INT64_C(1) << 30);
        tally_allocated(&counters, 1, now);
        expected += (unsigned __int128)(usage + i - 1) << 30;
        ck_assert(area() == expected);
    }
    ck_assert_uint_eq(counters.area_high, 1);

    int64_t last = (int64_t)counters.changed_at;
    tally_freed(&counters, 1, last + year);
    expected += (unsigned __int128)(usage + 20) * (uint64_t)year;
    ck_assert(area() == expected);
    ck_assert_double_eq_tol(counters_average_usage(&counters, last + year), usage + 20, 1);
}
END_TEST

START_TEST(test_tally_area_takes_all_of_time_at_once)
{
    tally_reset(&counters, 0);
    tally_allocated(&counters, UINT32_MAX, 0);
    tally_freed(&counters, 1, INT64_MAX);
    ck_assert(area() == (unsigned __int128)UINT32_MAX * INT64_MAX);
    ck_assert_double_eq_tol(counters_average_usage(&counters, INT64_MAX), UINT32_MAX, 1);
}
END_TEST

START_TEST(test_tally_histograms_get_their_durations)
{
    tally_allocated(&counters, 3, 1000);
    tally_freed(&counters, 7, 1001);
    tally_freed(&counters, -1, 1001); /* as 0 */
    tally_handed_on(&counters, 9);
    tally_handed_on(&counters, INT64_MAX);
    tally_waited(&counters, 5);
    tally_waited(&counters, -5);
    ck_assert_uint_eq(counters.holds.count, 4);
    ck_assert_uint_eq(counters.holds.max, INT64_MAX);
    ck_assert_uint_eq(counters.holds.buckets[0], 1);
    ck_assert_uint_eq(counters.holds.buckets[histogram_bucket(7)], 1);
    ck_assert_uint_eq(counters.waits.count, 2);
    ck_assert_uint_eq(counters.waits.max, 5);
    ck_assert_uint_eq(counters.total_deallocations, 2); /* what is handed on stays */
    ck_assert_uint_eq(counters.current_usage, 1);
}
END_TEST

START_TEST(test_tally_adds_to_and_sets_any_number)
{
    tally_add(&counters, &counters.timeouts, 2);
    tally_add(&counters, &counters.timeouts, 3);
    tally_set(&counters, &counters.waiters, 9);
    tally_set(&counters, &counters.waiters, 4);
    ck_assert_uint_eq(counters.timeouts, 5);
    ck_assert_uint_eq(counters.waiters, 4);
}
END_TEST

/* Every number is set: the words between the sequence and the end, whatever there is added. */
START_TEST(test_tally_reset_keeps_what_is_now_and_nothing_else)
{
    memset(&counters, 0x11, sizeof(counters));
    uint64_t sequence = counters.sequence = 8, now = UINT64_C(0x1111111111111111);
    tally_reset(&counters, 5000);

    struct layout_counters expected = {.sequence = sequence + 2,
                                       .current_usage = now,
                                       .peak_usage = now,
                                       .reset_usage = now,
                                       .waiters = now,
                                       .held_long = now,
                                       .freed = now,
                                       .reset_at = 5000,
                                       .changed_at = 5000};
    ck_assert_mem_eq(&counters, &expected, sizeof(expected));
}
END_TEST

START_TEST(test_tally_average_begins_anew_with_a_reset)
{
    tally_allocated(&counters, 100, 1000);
    tally_reset(&counters, 2000);
    ck_assert_double_eq(counters_average_usage(&counters, 2000), 100);
    ck_assert_double_eq(counters_average_usage(&counters, 2010), 100);
    tally_freed(&counters, 1, 2010);
    ck_assert_double_eq(counters_average_usage(&counters, 2020), 99.5);
    ck_assert_uint_eq(counters.current_usage - counters.reset_usage,
                      counters.total_allocations - counters.total_deallocations);
}
END_TEST

SUITE_MAIN_WITH("tally", set_up, tear_down, test_tally_begins_with_nothing_at_its_moment,
                test_tally_changes_are_seen_once_each, test_tally_counts_slots_and_keeps_the_peak,
                test_tally_sums_the_area_under_the_usage,
                test_tally_area_does_not_go_back_with_the_time,
                test_tally_area_carries_beyond_64_bits, test_tally_area_takes_all_of_time_at_once,
                test_tally_histograms_get_their_durations, test_tally_adds_to_and_sets_any_number,
                test_tally_reset_keeps_what_is_now_and_nothing_else,
                test_tally_average_begins_anew_with_a_reset)
