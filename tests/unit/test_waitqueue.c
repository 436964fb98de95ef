/* SPDX-License-Identifier: MIT */
#include "daemon/waitqueue.h"

#include "tests/unit/suite.h"

#define COUNT 9u

static struct waitqueue queue;
static struct waiter waiters[COUNT];

static void set_up(void)
{
    waitqueue_init(&queue);
}

static void tear_down(void)
{
    ck_assert_uint_eq(queue.count, 0);
    ck_assert_ptr_null(waitqueue_first(&queue));
}

static void add(uint32_t number, enum priority priority)
{
    uint32_t before = queue.count;
    waiters[number].priority = priority;
    waitqueue_add(&queue, &waiters[number]);
    ck_assert_uint_eq(queue.count, before + 1);
}

static void drop(uint32_t number)
{
    uint32_t before = queue.count;
    waitqueue_remove(&queue, &waiters[number]);
    ck_assert_uint_eq(queue.count, before - 1);
}

/* It is that one's turn, who goes. */
static void expect(uint32_t number)
{
    ck_assert_ptr_eq(waitqueue_first(&queue), &waiters[number]);
    drop(number);
}

START_TEST(test_waitqueue_is_empty_at_first)
{
    ck_assert_ptr_null(waitqueue_first(&queue));
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        ck_assert(!waitqueue_is_ahead(&queue, priority));
}
END_TEST

START_TEST(test_waitqueue_of_one_priority_is_served_by_age)
{
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, PRIORITY_NORMAL);
    for (uint32_t i = 0; i < COUNT; i++)
        expect(i);
}
END_TEST

START_TEST(test_waitqueue_is_served_by_priority_then_age)
{
    static const enum priority order[COUNT] = {
        PRIORITY_BEST_EFFORT, PRIORITY_NORMAL,      PRIORITY_CRITICAL,
        PRIORITY_NORMAL,      PRIORITY_BEST_EFFORT, PRIORITY_CRITICAL,
        PRIORITY_CRITICAL,    PRIORITY_BEST_EFFORT, PRIORITY_NORMAL};
    static const uint32_t expected[COUNT] = {2, 5, 6, 1, 3, 8, 0, 4, 7};
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, order[i]);
    for (uint32_t i = 0; i < COUNT; i++)
        expect(expected[i]);
}
END_TEST

START_TEST(test_waitqueue_who_comes_again_is_the_last_of_his_priority)
{
    add(0, PRIORITY_NORMAL);
    add(1, PRIORITY_NORMAL);
    add(2, PRIORITY_BEST_EFFORT);
    drop(0);
    add(0, PRIORITY_NORMAL);
    expect(1);
    expect(0);
    expect(2);
}
END_TEST

START_TEST(test_waitqueue_lets_anyone_go)
{
    for (uint32_t i = 0; i < 5; i++)
        add(i, PRIORITY_CRITICAL);
    drop(2);
    drop(0);
    drop(4);
    expect(1);
    expect(3);
}
END_TEST

/* Of the same priority or a higher one, but not of a lower one. */
START_TEST(test_waitqueue_is_ahead_says_who_would_be_overtaken)
{
    for (enum priority waiting = 0; waiting < PRIORITIES; waiting++) {
        add(0, waiting);
        for (enum priority asking = 0; asking < PRIORITIES; asking++)
            ck_assert_msg(waitqueue_is_ahead(&queue, asking) == (waiting <= asking),
                          "%d waits, %d asks", (int)waiting, (int)asking);
        drop(0);
    }
}
END_TEST

START_TEST(test_waitqueue_slots_charge_gives_back_both)
{
    struct quota session, user;
    struct slots_charge charge = {.session = CHARGE_NONE};
    quota_init(&session, 10);
    quota_init(&user, 10);
    slots_charge_deinit(&charge); /* nothing */
    ck_assert(charge_take(&charge.session, &session, 3));
    ck_assert(charge_take(&charge.user, &user, 4));
    slots_charge_deinit(&charge);
    ck_assert_ptr_null(charge.session.quota);
    ck_assert_ptr_null(charge.user.quota);
    quota_deinit(&session);
    quota_deinit(&user);
}
END_TEST

SUITE_MAIN_WITH("waitqueue", set_up, tear_down, test_waitqueue_is_empty_at_first,
                test_waitqueue_of_one_priority_is_served_by_age,
                test_waitqueue_is_served_by_priority_then_age,
                test_waitqueue_who_comes_again_is_the_last_of_his_priority,
                test_waitqueue_lets_anyone_go, test_waitqueue_is_ahead_says_who_would_be_overtaken,
                test_waitqueue_slots_charge_gives_back_both)
