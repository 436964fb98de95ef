/* SPDX-License-Identifier: MIT */
#include "shm/histogram.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/suite.h"

#define LAST (HISTOGRAM_BUCKETS - 1)
#define SORTED_MAX 300u

static struct histogram histogram;

/* splitmix64: the same numbers everywhere. */
static uint64_t random_state;

static uint64_t random_number(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void begin_random(void)
{
    printf("seed 1\n");
    random_state = 1;
}

/* Of any magnitude below 2^bits. */
static uint64_t random_duration(unsigned bits)
{
    return random_number() >> (64 - bits + random_number() % bits);
}

/* ---- Buckets --------------------------------------------------------------------------------- */

START_TEST(test_histogram_has_a_bucket_for_each_of_the_first_durations)
{
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_uint_eq(histogram_bucket(i), i);
        ck_assert_uint_eq(histogram_bucket_max(i), i);
    }
    ck_assert_uint_eq(histogram_bucket(8), 8);
    ck_assert_uint_eq(histogram_bucket(9), 8);
    ck_assert_uint_eq(histogram_bucket(10), 9);
}
END_TEST

START_TEST(test_histogram_has_four_buckets_for_each_power_of_two)
{
    for (uint32_t power = 2; power < 47; power++)
        for (uint64_t quarter = 0; quarter < 4; quarter++) {
            uint64_t first = (4 + quarter) << (power - 2);
            uint64_t last = ((5 + quarter) << (power - 2)) - 1;
            uint32_t bucket = 4 + 4 * (power - 2) + (uint32_t)quarter;
            ck_assert_uint_eq(histogram_bucket(first), bucket);
            ck_assert_uint_eq(histogram_bucket(last), bucket);
            ck_assert_uint_eq(histogram_bucket(first - 1), bucket - 1);
            if (bucket < LAST)
                ck_assert_uint_eq(histogram_bucket_max(bucket), last);
        }
}
END_TEST

START_TEST(test_histogram_last_bucket_holds_all_above)
{
    uint64_t first = UINT64_C(7) << 44; /* 7/8 of 2^47 */

    ck_assert_uint_eq(histogram_bucket(first - 1), LAST - 1);
    ck_assert_uint_eq(histogram_bucket_max(LAST - 1), first - 1);
    ck_assert_uint_eq(histogram_bucket(first), LAST);
    ck_assert_uint_eq(histogram_bucket((UINT64_C(1) << 47) - 1), LAST);
    ck_assert_uint_eq(histogram_bucket(UINT64_C(1) << 47), LAST);
    ck_assert_uint_eq(histogram_bucket(UINT64_MAX), LAST);
    ck_assert_uint_eq(histogram_bucket_max(LAST), UINT64_MAX);
}
END_TEST

/* The bucket found by laying them out one after the other. */
static uint32_t bucket_by_walking(uint64_t duration)
{
    uint64_t end = 1, width = 1;
    uint32_t bucket = 0;
    while (duration >= end && bucket < LAST) {
        bucket++;
        if (bucket > 4 && bucket % 4 == 0)
            width *= 2;
        end += width;
    }
    return bucket;
}

START_TEST(test_histogram_bucket_is_where_walking_leads)
{
    begin_random();
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t duration = random_duration(i % 10 ? 48 : 64);
        uint32_t bucket = histogram_bucket(duration);
        if (bucket != bucket_by_walking(duration))
            ck_abort_msg("%" PRIu64 " in %u", duration, bucket);
        if (duration > histogram_bucket_max(bucket) ||
            (bucket > 0 && duration <= histogram_bucket_max(bucket - 1)))
            ck_abort_msg("%" PRIu64 " is outside of %u", duration, bucket);
    }
}
END_TEST

/* ---- Counting -------------------------------------------------------------------------------- */

START_TEST(test_histogram_counts_each_duration_in_its_bucket)
{
    histogram_add(&histogram, 9);
    histogram_add(&histogram, 0);
    histogram_add(&histogram, 8);
    ck_assert_uint_eq(histogram.count, 3);
    ck_assert_uint_eq(histogram.buckets[0], 1);
    ck_assert_uint_eq(histogram.buckets[8], 2);
    histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(histogram.count, 4);
    ck_assert_uint_eq(histogram.buckets[LAST], 1);
}
END_TEST

START_TEST(test_histogram_max_is_exact_and_never_sinks)
{
    histogram_add(&histogram, 1000001);
    ck_assert_uint_eq(histogram.max, 1000001);
    histogram_add(&histogram, 1000000);
    ck_assert_uint_eq(histogram.max, 1000001);
    histogram_add(&histogram, 1000002);
    ck_assert_uint_eq(histogram.max, 1000002);
}
END_TEST

/* ---- Percentiles ----------------------------------------------------------------------------- */

START_TEST(test_histogram_percentile_of_nothing_is_0)
{
    ck_assert_uint_eq(histogram_percentile(&histogram, 0), 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 0);
}
END_TEST

START_TEST(test_histogram_percentile_of_one_duration_is_it)
{
    histogram_add(&histogram, 1000001);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0), 1000001);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 1000001);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 1000001);
}
END_TEST

START_TEST(test_histogram_percentile_counts_up_to_the_share)
{
    for (uint64_t i = 0; i < 4; i++)
        histogram_add(&histogram, i);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0), 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.25), 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.26), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.75), 2);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.76), 3);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 3);
}
END_TEST

START_TEST(test_histogram_percentile_is_the_top_of_a_bucket_but_at_most_the_maximum)
{
    histogram_add(&histogram, 1024);
    histogram_add(&histogram, 5000);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 1279);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 5000);
    histogram_add(&histogram, UINT64_MAX - 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), UINT64_MAX - 1);
}
END_TEST

START_TEST(test_histogram_percentile_takes_a_share_out_of_range_for_the_nearest)
{
    histogram_add(&histogram, 1);
    histogram_add(&histogram, 3);
    ck_assert_uint_eq(histogram_percentile(&histogram, -1), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, -INFINITY), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, NAN), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1.5), 3);
    ck_assert_uint_eq(histogram_percentile(&histogram, INFINITY), 3);
}
END_TEST

START_TEST(test_histogram_percentile_counts_to_the_end_of_the_numbers)
{
    histogram.count = UINT64_MAX;
    histogram.max = 2;
    histogram.buckets[1] = UINT64_MAX - 1;
    histogram.buckets[2] = 1;
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1 - 0x1p-53), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 2);
}
END_TEST

START_TEST(test_histogram_percentile_of_numbers_that_dont_match_is_the_maximum)
{
    histogram.count = 2;
    histogram.max = 77;
    histogram.buckets[3] = 1;
    ck_assert_uint_eq(histogram_percentile(&histogram, 0.5), 3);
    ck_assert_uint_eq(histogram_percentile(&histogram, 1), 77);
}
END_TEST

static int compare_durations(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* The first of all in order that isn't exceeded by too many. */
static uint64_t exact_percentile(const uint64_t *sorted, uint32_t count, double share)
{
    uint32_t rank = 1;
    while (rank < count && (double)rank < share * count)
        rank++;
    return sorted[rank - 1];
}

START_TEST(test_histogram_percentile_is_the_exact_one_or_up_to_a_quarter_above)
{
    static uint64_t sorted[SORTED_MAX];

    begin_random();
    for (unsigned round = 0; round < 2000; round++) {
        uint32_t count = 1 + (uint32_t)(random_number() % SORTED_MAX);
        histogram = (struct histogram){.count = 0};
        for (uint32_t i = 0; i < count; i++) {
            sorted[i] = random_duration(47);
            histogram_add(&histogram, sorted[i]);
        }
        qsort(sorted, count, sizeof(sorted[0]), compare_durations);
        for (unsigned i = 0; i < 20; i++) {
            double share = (double)(random_number() % 1001) / 1000;
            uint64_t exact = exact_percentile(sorted, count, share);
            uint64_t top = histogram_bucket_max(histogram_bucket(exact));
            uint64_t percentile = histogram_percentile(&histogram, share);
            if (percentile != (top < sorted[count - 1] ? top : sorted[count - 1]))
                ck_abort_msg("round %u, %f: %" PRIu64 ", not %" PRIu64, round, share, percentile,
                             top);
            if (percentile < exact || percentile > exact + exact / 4)
                ck_abort_msg("round %u, %f: %" PRIu64 " is far from %" PRIu64, round, share,
                             percentile, exact);
        }
    }
}
END_TEST

SUITE_MAIN("histogram", test_histogram_has_a_bucket_for_each_of_the_first_durations,
           test_histogram_has_four_buckets_for_each_power_of_two,
           test_histogram_last_bucket_holds_all_above, test_histogram_bucket_is_where_walking_leads,
           test_histogram_counts_each_duration_in_its_bucket,
           test_histogram_max_is_exact_and_never_sinks, test_histogram_percentile_of_nothing_is_0,
           test_histogram_percentile_of_one_duration_is_it,
           test_histogram_percentile_counts_up_to_the_share,
           test_histogram_percentile_is_the_top_of_a_bucket_but_at_most_the_maximum,
           test_histogram_percentile_takes_a_share_out_of_range_for_the_nearest,
           test_histogram_percentile_counts_to_the_end_of_the_numbers,
           test_histogram_percentile_of_numbers_that_dont_match_is_the_maximum,
           test_histogram_percentile_is_the_exact_one_or_up_to_a_quarter_above)
