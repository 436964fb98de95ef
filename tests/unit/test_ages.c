/* SPDX-License-Identifier: MIT */
/*
 * FASTALLOC_SEED chooses the run of the random test; the seed is printed.
 */
#include "daemon/ages.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/lib/aborts.h"
#include "tests/unit/suite.h"

#define CAPACITY 16u
#define LIMIT INT64_C(100)
#define STEPS 200000u
#define FREE INT64_C(-1)

static struct ages ages;

static void begin_with(int64_t limit)
{
    ages_init(&ages, limit);
    ck_assert_int_eq(ages_reserve(&ages, CAPACITY), 0);
}

static void set_up(void)
{
    begin_with(LIMIT);
}

static void tear_down(void)
{
    ages_check(&ages, CAPACITY);
    ages_deinit(&ages);
}

/* Each change is followed by a check of the laws. */
static void begin(uint32_t index, int64_t now)
{
    ages_begin(&ages, index, now);
    ages_check(&ages, CAPACITY);
}

static int64_t end(uint32_t index, int64_t now)
{
    int64_t held = ages_end(&ages, index, now);
    ages_check(&ages, CAPACITY);
    return held;
}

/* So many have become held for too long, the longest held of them first. */
static void count(int64_t now, uint32_t expected, uint32_t expected_first)
{
    uint32_t first = CHAIN_END;
    uint32_t before = ages.too_long;
    ck_assert_uint_eq(ages_count(&ages, now, &first), expected);
    ck_assert_uint_eq(ages.too_long, before + expected);
    ck_assert_uint_eq(first, expected_first);
    ages_check(&ages, CAPACITY);
}

START_TEST(test_ages_begin_with_nothing_held)
{
    ages_check(&ages, 0);
    ck_assert_uint_eq(ages.held.count, 0);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER);
    count(1000, 0, CHAIN_END);
}
END_TEST

START_TEST(test_ages_end_says_for_how_long)
{
    begin(3, 10);
    ck_assert_int_eq(end(3, 10), 0);
    begin(3, 10);
    ck_assert_int_eq(end(3, 57), 47);
    begin(3, 60);
    ck_assert_int_eq(end(3, INT64_MAX), INT64_MAX - 60);
}
END_TEST

START_TEST(test_ages_keep_the_order_oldest_first)
{
    begin(5, 1);
    begin(0, 2);
    begin(CAPACITY - 1, 2);
    begin(1, 3);
    ck_assert_uint_eq(ages.held.first, 5);
    end(5, 4);
    ck_assert_uint_eq(ages.held.first, 0);
    begin(5, 4);
    end(0, 5);
    ck_assert_uint_eq(ages.held.first, CAPACITY - 1);
    ck_assert_uint_eq(ages.held.last, 5);
    ck_assert_uint_eq(ages.held.count, 3);
}
END_TEST

START_TEST(test_ages_count_at_the_limit_and_not_before)
{
    begin(2, 10);
    ck_assert_int_eq(ages_next(&ages), 10 + LIMIT);
    count(10 + LIMIT - 1, 0, CHAIN_END);
    count(10 + LIMIT, 1, 2);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER);
    count(10 + LIMIT, 0, CHAIN_END);
    count(1000, 0, CHAIN_END); /* once */
    end(2, 1000);
    ck_assert_uint_eq(ages.too_long, 0);
}
END_TEST

START_TEST(test_ages_count_all_that_are_by_now)
{
    begin(4, 10);
    begin(1, 20);
    begin(7, 20);
    begin(0, 21);
    count(20 + LIMIT, 3, 4);
    ck_assert_int_eq(ages_next(&ages), 21 + LIMIT);
    count(21 + LIMIT, 1, 0);
}
END_TEST

START_TEST(test_ages_next_passes_over_what_is_given_up)
{
    begin(4, 10);
    begin(1, 20);
    begin(7, 30);
    end(4, 31);
    ck_assert_int_eq(ages_next(&ages), 20 + LIMIT);
    end(7, 31); /* not the next one */
    ck_assert_int_eq(ages_next(&ages), 20 + LIMIT);
    end(1, 31);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER);
    begin(1, 40);
    ck_assert_int_eq(ages_next(&ages), 40 + LIMIT);
}
END_TEST

START_TEST(test_ages_given_up_past_the_limit_but_never_counted_is_not_missed)
{
    begin(4, 10);
    begin(5, 11);
    end(4, 500);
    ck_assert_uint_eq(ages.too_long, 0);
    count(500, 1, 5);
    begin(4, 500);
    ck_assert_uint_eq(ages.too_long, 1);
    end(5, 500);
    ck_assert_uint_eq(ages.too_long, 0);
    ck_assert_int_eq(ages_next(&ages), 500 + LIMIT);
}
END_TEST

START_TEST(test_ages_without_a_limit_are_never_too_long)
{
    ages_deinit(&ages);
    begin_with(0);
    begin(1, 0);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER);
    count(AGES_NEVER - 1, 0, CHAIN_END);
    ck_assert_int_eq(end(1, 7), 7);
}
END_TEST

START_TEST(test_ages_with_a_limit_beyond_the_end_of_time_are_never_too_long)
{
    ages_deinit(&ages);
    begin_with(INT64_MAX);
    begin(1, 1);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER);
    count(AGES_NEVER - 1, 0, CHAIN_END);
    end(1, 2);

    ages_deinit(&ages);
    begin_with(INT64_MAX - 2);
    begin(1, 1);
    ck_assert_int_eq(ages_next(&ages), AGES_NEVER - 1);
    count(AGES_NEVER - 1, 1, 1);
}
END_TEST

START_TEST(test_ages_keep_what_they_have_with_more_memory)
{
    begin(0, 1);
    begin(CAPACITY - 1, 2);
    ck_assert_int_eq(ages_reserve(&ages, 100000), 0);
    ages_check(&ages, 100000);
    ages_begin(&ages, 99999, 3);
    ages_check(&ages, 100000);
    ck_assert_int_eq(ages_end(&ages, 99999, 5), 2);
    ck_assert_int_eq(end(CAPACITY - 1, 5), 3);
}
END_TEST

/* ---- Against a model ------------------------------------------------------------------------- */

static int64_t model[CAPACITY]; /* since when, FREE */
static bool counted[CAPACITY];
static uint64_t state;

/* Of xorshift64*. */
static uint32_t random_below(uint32_t bound)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % bound;
}

static void compare(uint64_t seed, uint32_t step)
{
    int64_t next = AGES_NEVER;
    uint32_t held = 0, too_long = 0;
    for (uint32_t i = 0; i < CAPACITY; i++) {
        if (model[i] == FREE)
            continue;
        held++;
        too_long += counted[i];
        if (!counted[i] && model[i] + LIMIT < next)
            next = model[i] + LIMIT;
    }
    ck_assert_msg(ages.held.count == held && ages.too_long == too_long && ages_next(&ages) == next,
                  "seed %" PRIu64 ", step %" PRIu32, seed, step);
}

static void count_in_model(int64_t now)
{
    uint32_t expected = 0, first = CHAIN_END;
    int64_t oldest = INT64_MAX;
    for (uint32_t i = 0; i < CAPACITY; i++)
        if (model[i] != FREE && !counted[i] && model[i] + LIMIT <= now) {
            counted[i] = true;
            expected++;
            if (model[i] < oldest)
                oldest = model[i];
        }
    ck_assert_uint_eq(ages_count(&ages, now, &first), expected);
    ck_assert(expected == 0 || (first < CAPACITY && model[first] == oldest));
}

START_TEST(test_ages_are_what_their_model_is)
{
    const char *chosen = getenv("FASTALLOC_SEED");
    uint64_t seed = chosen ? strtoull(chosen, NULL, 0) : 1;
    int64_t now = 0;
    uint32_t most = 0;
    state = seed * 2 + 1;
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    for (uint32_t i = 0; i < CAPACITY; i++)
        model[i] = FREE;

    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t i = random_below(CAPACITY);
        now += random_below(20);
        if (random_below(4) == 0) {
            count_in_model(now);
        } else if (model[i] == FREE) {
            ages_begin(&ages, i, now);
            model[i] = now;
            counted[i] = false;
        } else if (random_below(3) == 0) {
            ck_assert_int_eq(ages_end(&ages, i, now), now - model[i]);
            model[i] = FREE;
        }
        most = ages.too_long > most ? ages.too_long : most;
        ages_check(&ages, CAPACITY);
        compare(seed, step);
    }
    ck_assert_uint_gt(most, CAPACITY / 2); /* the operations came so far */
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    ages_check(object, CAPACITY);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &ages, place, value)

START_TEST(test_ages_check_notices_a_wrong_order)
{
    begin(1, 10);
    begin(2, 20);
    begin(3, 30);
    NOTICES(ages.since[2], 9);
    NOTICES(ages.since[2], 31);
    NOTICES(ages.links[2].next, 1);
    NOTICES(ages.held.count, 2);
}
END_TEST

START_TEST(test_ages_check_notices_a_wrong_count)
{
    begin(1, 10);
    begin(2, 20);
    count(10 + LIMIT, 1, 1);
    NOTICES(ages.too_long, 0);
    NOTICES(ages.too_long, 2);
    NOTICES(ages.next, 1);
    NOTICES(ages.next, CHAIN_END);
    NOTICES(ages.bound, 9);
    NOTICES(ages.bound, 20);
}
END_TEST

SUITE_MAIN_WITH("ages", set_up, tear_down, test_ages_begin_with_nothing_held,
                test_ages_end_says_for_how_long, test_ages_keep_the_order_oldest_first,
                test_ages_count_at_the_limit_and_not_before, test_ages_count_all_that_are_by_now,
                test_ages_next_passes_over_what_is_given_up,
                test_ages_given_up_past_the_limit_but_never_counted_is_not_missed,
                test_ages_without_a_limit_are_never_too_long,
                test_ages_with_a_limit_beyond_the_end_of_time_are_never_too_long,
                test_ages_keep_what_they_have_with_more_memory, test_ages_are_what_their_model_is,
                test_ages_check_notices_a_wrong_order, test_ages_check_notices_a_wrong_count)
