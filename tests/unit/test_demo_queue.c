/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_queue.c" // NOLINT(bugprone-suspicious-include): part of a program

#include "tests/unit/suite.h"

static fastalloc_handle_t handle(uint32_t number)
{
    return (fastalloc_handle_t){.pool = 1, .index = number, .tag = 1};
}

static void push(struct queue *queue, uint32_t number)
{
    fastalloc_handle_t pushed = handle(number);

    queue_push(queue, &pushed, 1);
}

static uint32_t pop(struct queue *queue)
{
    fastalloc_handle_t popped;

    ck_assert_uint_eq(queue_pop(queue, &popped, 1), 1);
    return popped.index;
}

START_TEST(test_queue_gives_back_in_order_round_the_end)
{
    static struct queue queue;
    uint32_t in = 0;
    uint32_t out = 0;

    for (int round = 0; round < 5; round++) {
        while (queue.count < QUEUE_CAPACITY)
            push(&queue, in++);
        while (queue.count > 3)
            ck_assert_uint_eq(pop(&queue), out++);
    }
}
END_TEST

START_TEST(test_queue_pops_no_more_than_there_is)
{
    static struct queue queue;
    fastalloc_handle_t handles[4];

    ck_assert_uint_eq(queue_pop(&queue, handles, 4), 0);
    push(&queue, 7);
    ck_assert_uint_eq(queue_pop(&queue, handles, 4), 1);
    ck_assert_uint_eq(handles[0].index, 7);
}
END_TEST

START_TEST(test_queue_moves_the_oldest_first)
{
    static struct queue from;
    static struct queue to;

    push(&to, 100);
    for (uint32_t i = 0; i < 5; i++)
        push(&from, i);
    ck_assert_uint_eq(queue_move(&from, &to, 2), 2);
    ck_assert_uint_eq(queue_move(&from, &to, 100), 3);
    ck_assert_uint_eq(pop(&to), 100);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_uint_eq(pop(&to), i);
    ck_assert_uint_eq(from.count + to.count, 0);
}
END_TEST

SUITE_MAIN("demo_queue", test_queue_gives_back_in_order_round_the_end,
           test_queue_pops_no_more_than_there_is, test_queue_moves_the_oldest_first)
