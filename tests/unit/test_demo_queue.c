/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_queue.c" // NOLINT(bugprone-suspicious-include): part of a program

#include "tests/unit/suite.h"

static void push(struct queue *queue, uint32_t number)
{
    struct parcel parcel = {
        .handle = {.pool = 1, .index = number, .tag = 1},
        .offset = number * UINT64_C(10),
    };

    queue_push(queue, &parcel, 1);
}

static uint32_t pop(struct queue *queue)
{
    struct parcel parcel;

    ck_assert_uint_eq(queue_pop(queue, &parcel, 1), 1);
    ck_assert_uint_eq(parcel.offset, parcel.handle.index * UINT64_C(10));
    return parcel.handle.index;
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
    struct parcel parcels[4];

    ck_assert_uint_eq(queue_pop(&queue, parcels, 4), 0);
    push(&queue, 7);
    ck_assert_uint_eq(queue_pop(&queue, parcels, 4), 1);
    ck_assert_uint_eq(parcels[0].handle.index, 7);
}
END_TEST

START_TEST(test_queue_drops_the_oldest_first)
{
    static struct queue queue;

    for (uint32_t i = 0; i < 5; i++)
        push(&queue, i);
    ck_assert_uint_eq(queue_drop(&queue, 2), 2);
    ck_assert_uint_eq(pop(&queue), 2);
    ck_assert_uint_eq(queue_drop(&queue, 100), 2);
    ck_assert_uint_eq(queue.count, 0);
}
END_TEST

SUITE_MAIN("demo_queue", test_queue_gives_back_in_order_round_the_end,
           test_queue_pops_no_more_than_there_is, test_queue_drops_the_oldest_first)
