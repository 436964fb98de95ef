/* SPDX-License-Identifier: MIT */
#include "shm/counters.h"

#include <pthread.h>
#include <string.h>

#include "shm/order.h"
#include "tests/unit/suite.h"

#define WORDS (sizeof(struct layout_counters) / sizeof(uint64_t))

static struct layout_counters shared;
static struct layout_counters copy;

static uint64_t *words(struct layout_counters *counters)
{
    return &counters->sequence;
}

/* ---- Reading --------------------------------------------------------------------------------- */

START_TEST(test_counters_read_copies_all_of_them)
{
    for (size_t i = 0; i < WORDS; i++)
        words(&shared)[i] = 2 * i + 2;
    ck_assert(counters_read(&shared, &copy));
    ck_assert_mem_eq(&copy, &shared, sizeof(shared));
}
END_TEST

/* The writer died between begin and end. */
START_TEST(test_counters_read_of_a_torn_set_is_false_and_leaves_the_copy)
{
    struct layout_counters before;
    memset(&copy, 0x77, sizeof(copy));
    before = copy;
    counters_begin(&shared.sequence);
    counter_store(&shared.total_allocations, 5);
    ck_assert(!counters_read(&shared, &copy));
    ck_assert_mem_eq(&copy, &before, sizeof(copy));

    counters_end(&shared.sequence);
    ck_assert(counters_read(&shared, &copy));
    ck_assert_uint_eq(copy.total_allocations, 5);
    ck_assert_uint_eq(copy.sequence, 2);
}
END_TEST

static uint32_t stop;

/* Never stops, and dies in the middle. */
static void *change_for_ever(void *unused)
{
    uint64_t value = 0;
    while (field32_load(&stop) == 0) {
        counters_begin(&shared.sequence);
        value++;
        for (size_t i = 1; i < WORDS; i++)
            counter_store(&words(&shared)[i], value);
        counters_end(&shared.sequence);
    }
    counters_begin(&shared.sequence);
    return unused;
}

START_TEST(test_counters_read_never_mixes_two_moments)
{
    pthread_t writer;
    unsigned got = 0;
    ck_assert_int_eq(pthread_create(&writer, NULL, change_for_ever, NULL), 0);
    for (unsigned round = 0; round < 200; round++) {
        if (!counters_read(&shared, &copy))
            continue;
        got++;
        ck_assert_uint_eq(copy.sequence, 2 * copy.total_allocations);
        for (size_t i = 2; i < WORDS; i++)
            ck_assert_uint_eq(words(&copy)[i], words(&copy)[1]);
    }
    field32_store(&stop, 1);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert(!counters_read(&shared, &copy));
    ck_assert_uint_le(got, 200);
}
END_TEST

/* ---- The average ----------------------------------------------------------------------------- */

START_TEST(test_counters_average_is_weighted_by_time)
{
    struct layout_counters counters = {
        .reset_at = 100, .changed_at = 200, .current_usage = 10, .area_low = 400};
    ck_assert_double_eq(counters_average_usage(&counters, 200), 4.0);
    ck_assert_double_eq(counters_average_usage(&counters, 300), 7.0);
    ck_assert_double_eq(counters_average_usage(&counters, 500), 8.5);
}
END_TEST

/* A reader's clock may be a little behind what the writer stored. */
START_TEST(test_counters_average_of_no_time_is_the_usage)
{
    struct layout_counters counters = {.reset_at = 100, .changed_at = 100, .current_usage = 10};
    ck_assert_double_eq(counters_average_usage(&counters, 100), 10);
    ck_assert_double_eq(counters_average_usage(&counters, 99), 10);
    counters.changed_at = 200;
    counters.area_low = 500;
    ck_assert_double_eq(counters_average_usage(&counters, 150), 10);
}
END_TEST

START_TEST(test_counters_average_takes_an_area_beyond_64_bits)
{
    struct layout_counters counters = {
        .reset_at = 0, .changed_at = UINT64_C(1) << 40, .current_usage = 7};
    counters.area_high = UINT64_C(1) << 10; /* 2^74 over 2^40 */
    ck_assert_double_eq(counters_average_usage(&counters, INT64_C(1) << 40), 0x1p34);
    counters.area_low = UINT64_C(1) << 63;
    ck_assert_double_eq(counters_average_usage(&counters, INT64_C(1) << 40), 0x1p34 + 0x1p23);
}
END_TEST

SUITE_MAIN("counters", test_counters_read_copies_all_of_them,
           test_counters_read_of_a_torn_set_is_false_and_leaves_the_copy,
           test_counters_read_never_mixes_two_moments, test_counters_average_is_weighted_by_time,
           test_counters_average_of_no_time_is_the_usage,
           test_counters_average_takes_an_area_beyond_64_bits)
