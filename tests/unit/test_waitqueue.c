/* SPDX-License-Identifier: MIT */
#include "daemon/waitqueue.h"

#include "tests/unit/suite.h"

#define COUNT 200u

static struct deadlines deadlines;
static struct waiter waiters[COUNT];

static void tear_down(void)
{
    deadlines_deinit(&deadlines);
}

/* Every parent comes first, and every waiter knows its place. */
static void check(void)
{
    for (size_t i = 0; i < deadlines.count; i++) {
        ck_assert_uint_eq(deadlines.heap[i]->heap_index, i);
        if (i > 0)
            ck_assert_int_le(deadlines.heap[(i - 1) / 2]->deadline, deadlines.heap[i]->deadline);
    }
}

static void add(uint32_t number, int64_t deadline)
{
    waiters[number].deadline = deadline;
    ck_assert_int_eq(deadlines_add(&deadlines, &waiters[number]), 0);
    check();
}

static void drop(uint32_t number)
{
    deadlines_remove(&deadlines, &waiters[number]);
    check();
}

/* All deadlines 0..COUNT-1 in an order without order: 71 has no factor in common with 200. */
static void add_all(void)
{
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, i * 71 % COUNT);
}

START_TEST(test_deadlines_are_empty_at_first)
{
    ck_assert_ptr_null(deadlines_first(&deadlines));
}
END_TEST

START_TEST(test_deadlines_first_is_the_earliest)
{
    add(0, 30);
    ck_assert_ptr_eq(deadlines_first(&deadlines), &waiters[0]);
    add(1, 10);
    ck_assert_ptr_eq(deadlines_first(&deadlines), &waiters[1]);
    add(2, 20);
    ck_assert_ptr_eq(deadlines_first(&deadlines), &waiters[1]);
    drop(1);
    ck_assert_ptr_eq(deadlines_first(&deadlines), &waiters[2]);
}
END_TEST

START_TEST(test_deadlines_come_in_order_however_they_went_in)
{
    add_all();
    for (int64_t deadline = 0; deadline < COUNT; deadline++) {
        struct waiter *first = deadlines_first(&deadlines);
        ck_assert_int_eq(first->deadline, deadline);
        deadlines_remove(&deadlines, first);
        check();
    }
    ck_assert_ptr_null(deadlines_first(&deadlines));
}
END_TEST

START_TEST(test_deadlines_remove_takes_any_of_them)
{
    add_all();
    for (uint32_t i = 0; i < COUNT; i++)
        if (waiters[i].deadline % 3 != 0)
            drop(i);
    for (int64_t deadline = 0; deadline < COUNT; deadline += 3) {
        struct waiter *first = deadlines_first(&deadlines);
        ck_assert_int_eq(first->deadline, deadline);
        deadlines_remove(&deadlines, first);
    }
    ck_assert_uint_eq(deadlines.count, 0);
}
END_TEST

START_TEST(test_deadlines_may_be_equal)
{
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, 5);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(deadlines_first(&deadlines)->deadline, 5);
        drop(i);
    }
    ck_assert_ptr_null(deadlines_first(&deadlines));
}
END_TEST

START_TEST(test_deadlines_pass_over_who_waits_for_ever)
{
    add(0, WAITER_FOREVER);
    ck_assert_ptr_null(deadlines_first(&deadlines));
    add(1, WAITER_FOREVER - 1);
    drop(0);
    ck_assert_ptr_eq(deadlines_first(&deadlines), &waiters[1]);
}
END_TEST

SUITE_MAIN_WITH("waitqueue", NULL, tear_down, test_deadlines_are_empty_at_first,
                test_deadlines_first_is_the_earliest,
                test_deadlines_come_in_order_however_they_went_in,
                test_deadlines_remove_takes_any_of_them, test_deadlines_may_be_equal,
                test_deadlines_pass_over_who_waits_for_ever)
