/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* prlimit */
#include "daemon/deadline.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/unit/suite.h"

#define COUNT 200u
#define MANY 65536u

static struct deadlines deadlines;
static struct deadline set[COUNT];
static struct deadline *order[COUNT + 8]; /* in which they passed */
static size_t passed_count;

static void passed(void *context, struct deadline *deadline)
{
    ck_assert_ptr_eq(context, order);
    ck_assert_int_eq(deadline->at, DEADLINE_NEVER);
    order[passed_count++] = deadline;
}

static void set_up(void)
{
    for (uint32_t i = 0; i < COUNT; i++)
        deadline_init(&set[i], passed);
}

static void tear_down(void)
{
    deadlines_deinit(&deadlines);
}

/* Every parent comes first, and every deadline knows its place. */
static void check(void)
{
    for (size_t i = 0; i < deadlines.count; i++) {
        ck_assert_uint_eq(deadlines.heap[i]->index, i);
        ck_assert_int_ne(deadlines.heap[i]->at, DEADLINE_NEVER);
        if (i > 0)
            ck_assert_int_le(deadlines.heap[(i - 1) / 2]->at, deadlines.heap[i]->at);
    }
}

static void put(uint32_t number, int64_t at)
{
    ck_assert_int_eq(deadline_set(&deadlines, &set[number], at), 0);
    ck_assert_int_eq(set[number].at, at);
    check();
}

/* How many pass by then. */
static size_t pass(int64_t now)
{
    passed_count = 0;
    deadlines_pass(&deadlines, now, order);
    check();
    return passed_count;
}

/* All from 0 to COUNT-1 in an order without order: 71 has no factor in common with 200. */
static void put_all(void)
{
    for (uint32_t i = 0; i < COUNT; i++)
        put(i, i * 71 % COUNT);
}

START_TEST(test_deadlines_are_none_at_first)
{
    ck_assert_int_eq(deadlines_next(&deadlines), DEADLINE_NEVER);
    ck_assert_uint_eq(pass(1000), 0);
    ck_assert_uint_eq(pass(INT64_MAX), 0);
    put(0, DEADLINE_NEVER);
    ck_assert_uint_eq(deadlines.count, 0);
}
END_TEST

START_TEST(test_deadlines_next_is_the_earliest)
{
    put(0, 30);
    ck_assert_int_eq(deadlines_next(&deadlines), 30);
    put(1, 10);
    ck_assert_int_eq(deadlines_next(&deadlines), 10);
    put(2, 20);
    ck_assert_int_eq(deadlines_next(&deadlines), 10);
    put(1, DEADLINE_NEVER);
    ck_assert_int_eq(deadlines_next(&deadlines), 20);
}
END_TEST

START_TEST(test_deadlines_pass_at_their_moment_and_not_before)
{
    put(0, 30);
    ck_assert_uint_eq(pass(29), 0);
    ck_assert_uint_eq(pass(30), 1);
    ck_assert_uint_eq(pass(31), 0);
    ck_assert_int_eq(deadlines_next(&deadlines), DEADLINE_NEVER);
}
END_TEST

START_TEST(test_deadlines_pass_in_order_however_they_were_set)
{
    put_all();
    ck_assert_uint_eq(pass(COUNT / 2 - 1), COUNT / 2);
    for (uint32_t i = 0; i < COUNT; i++)
        if (i * 71 % COUNT < COUNT / 2)
            ck_assert_ptr_eq(order[i * 71 % COUNT], &set[i]);
    ck_assert_int_eq(deadlines_next(&deadlines), COUNT / 2);
    ck_assert_uint_eq(pass(COUNT), COUNT / 2);
    for (uint32_t i = 0; i < COUNT; i++)
        if (i * 71 % COUNT >= COUNT / 2)
            ck_assert_ptr_eq(order[i * 71 % COUNT - COUNT / 2], &set[i]);
}
END_TEST

START_TEST(test_deadlines_may_be_equal)
{
    for (uint32_t i = 0; i < COUNT; i++)
        put(i, 5);
    ck_assert_uint_eq(pass(4), 0);
    ck_assert_uint_eq(pass(5), COUNT);
}
END_TEST

START_TEST(test_deadline_set_anew_moves_either_way)
{
    put_all();
    for (uint32_t i = 0; i < COUNT; i++) /* the other way round */
        put(i, (int64_t)COUNT - set[i].at);
    for (int64_t now = 1; now <= COUNT; now++) {
        ck_assert_int_eq(deadlines_next(&deadlines), now);
        ck_assert_uint_eq(pass(now), 1);
    }
    put(3, 7);
    put(3, 7); /* the same is nothing new */
    ck_assert_uint_eq(deadlines.count, 1);
}
END_TEST

START_TEST(test_deadline_set_to_never_does_not_pass)
{
    put_all();
    for (uint32_t i = 0; i < COUNT; i++)
        if (set[i].at % 3 != 0)
            put(i, DEADLINE_NEVER);
    ck_assert_uint_eq(pass(COUNT), (COUNT + 2) / 3);
    for (uint32_t i = 0; i < COUNT; i++)
        put(i, DEADLINE_NEVER); /* once more does no harm */
    ck_assert_uint_eq(deadlines.count, 0);
}
END_TEST

START_TEST(test_deadline_takes_the_first_and_last_moments)
{
    put(0, INT64_MAX - 1);
    put(1, INT64_MIN);
    put(2, DEADLINE_NEVER);
    ck_assert_int_eq(deadlines_next(&deadlines), INT64_MIN);
    ck_assert_uint_eq(pass(INT64_MIN), 1);
    ck_assert_uint_eq(pass(INT64_MAX - 2), 0);
    ck_assert_uint_eq(pass(INT64_MAX), 1);
}
END_TEST

/* ---- While one passes ------------------------------------------------------------------------ */

/* Sets itself for later, another one for now, and another to never. */
static void set_others(void *context, struct deadline *deadline)
{
    passed(context, deadline);
    ck_assert_int_eq(deadline_set(&deadlines, &set[0], 100), 0);
    ck_assert_int_eq(deadline_set(&deadlines, &set[1], 10), 0);
    ck_assert_int_eq(deadline_set(&deadlines, &set[2], DEADLINE_NEVER), 0);
    ck_assert_int_eq(deadline_set(&deadlines, &set[3], 5), 0);
}

START_TEST(test_deadline_sets_others_while_it_passes)
{
    deadline_init(&set[0], set_others);
    put(0, 1);
    put(1, 50);
    put(2, 2);
    put(3, 3);
    put(4, 7);
    ck_assert_uint_eq(pass(10), 4);
    ck_assert_ptr_eq(order[0], &set[0]);
    ck_assert_ptr_eq(order[1], &set[3]);
    ck_assert_ptr_eq(order[2], &set[4]);
    ck_assert_ptr_eq(order[3], &set[1]);
    ck_assert_int_eq(deadlines_next(&deadlines), 100);
    ck_assert_int_eq(set[2].at, DEADLINE_NEVER);
}
END_TEST

static void set_again(void *context, struct deadline *deadline)
{
    passed(context, deadline);
    ck_assert_int_eq(deadline_set(&deadlines, deadline, (int64_t)passed_count * 10), 0);
}

START_TEST(test_deadline_that_is_set_for_what_has_passed_passes_again)
{
    deadline_init(&set[0], set_again);
    put(0, 0);
    ck_assert_uint_eq(pass(30), 4);
    ck_assert_int_eq(set[0].at, 40);
}
END_TEST

/* ---- Without memory -------------------------------------------------------------------------- */

static void limit_memory(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* A heap of half a megabyte can't be doubled in an address space that is full already. */
START_TEST(test_deadline_set_without_memory_is_never)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* its allocator ends the process, and its shadow has any limit exceeded */
#endif
    static struct deadline many[MANY + 1];
    for (uint32_t i = 0; i <= MANY; i++)
        deadline_init(&many[i], passed);
    for (uint32_t i = 0; i < MANY; i++)
        ck_assert_int_eq(deadline_set(&deadlines, &many[i], i), 0);
    ck_assert_uint_eq(deadlines.room, MANY);

    limit_memory(4096);
    int full = deadline_set(&deadlines, &many[MANY], 3);
    int moved = deadline_set(&deadlines, &many[9], MANY); /* which needs none */
    limit_memory(0);
    ck_assert_int_eq(full, -ENOMEM);
    ck_assert_int_eq(moved, 0);
    ck_assert_int_eq(many[MANY].at, DEADLINE_NEVER);
    ck_assert_uint_eq(deadlines.count, MANY);
    check();
    ck_assert_int_eq(deadline_set(&deadlines, &many[MANY], 3), 0);
    check();
}
END_TEST

SUITE_MAIN_WITH("deadline", set_up, tear_down, test_deadlines_are_none_at_first,
                test_deadlines_next_is_the_earliest,
                test_deadlines_pass_at_their_moment_and_not_before,
                test_deadlines_pass_in_order_however_they_were_set, test_deadlines_may_be_equal,
                test_deadline_set_anew_moves_either_way, test_deadline_set_to_never_does_not_pass,
                test_deadline_takes_the_first_and_last_moments,
                test_deadline_sets_others_while_it_passes,
                test_deadline_that_is_set_for_what_has_passed_passes_again,
                test_deadline_set_without_memory_is_never)
