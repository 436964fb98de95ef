/* SPDX-License-Identifier: MIT */
#include "daemon/chain.h"

#include <string.h>

#include "tests/lib/aborts.h"
#include "tests/unit/suite.h"

#define ROOM 8u

static struct chain_link links[ROOM];
static struct chain chain;

static void set_up(void)
{
    memset(links, 0x5a, sizeof(links)); /* as memory comes */
    chain = CHAIN_EMPTY;
}

static void tear_down(void)
{
    chain_check(&chain, links, ROOM);
}

/* Each change is followed by a check of the laws. */
static void append(uint32_t index)
{
    chain_append(&chain, links, index);
    chain_check(&chain, links, ROOM);
}

static void take(uint32_t index)
{
    chain_remove(&chain, links, index);
    chain_check(&chain, links, ROOM);
}

/* The chain is these, in this order, CHAIN_END after the last, from either end. */
static void check_order(const uint32_t *expected)
{
    uint32_t count = 0, last = CHAIN_END;
    for (uint32_t i = chain.first; i != CHAIN_END; i = links[i].next) {
        ck_assert_uint_eq(i, expected[count++]);
        last = i;
    }
    ck_assert_uint_eq(expected[count], CHAIN_END);
    ck_assert_uint_eq(chain.count, count);
    ck_assert_uint_eq(chain.last, last);
    for (uint32_t i = chain.last; i != CHAIN_END; i = links[i].previous)
        ck_assert_uint_eq(i, expected[--count]);
    ck_assert_uint_eq(count, 0);
}

#define CHECK_ORDER(...) check_order((const uint32_t[ROOM + 1]){__VA_ARGS__ CHAIN_END})

START_TEST(test_chain_begins_empty)
{
    chain_check(&chain, links, 0);
    CHECK_ORDER();
}
END_TEST

START_TEST(test_chain_keeps_the_order_in_which_they_came)
{
    append(3);
    CHECK_ORDER(3, );
    append(0);
    append(ROOM - 1);
    CHECK_ORDER(3, 0, ROOM - 1, );
}
END_TEST

START_TEST(test_chain_takes_out_the_first_the_last_and_those_between)
{
    for (uint32_t i = 0; i < 5; i++)
        append(i);
    take(2);
    CHECK_ORDER(0, 1, 3, 4, );
    take(0);
    CHECK_ORDER(1, 3, 4, );
    take(4);
    CHECK_ORDER(1, 3, );
    take(3);
    CHECK_ORDER(1, );
    take(1);
    CHECK_ORDER();
}
END_TEST

START_TEST(test_chain_takes_one_again_at_its_end)
{
    append(1);
    append(2);
    take(1);
    append(1);
    CHECK_ORDER(2, 1, );
    take(2);
    take(1);
    append(2);
    CHECK_ORDER(2, );
}
END_TEST

START_TEST(test_chain_shares_its_links_with_others)
{
    struct chain other = CHAIN_EMPTY;
    for (uint32_t i = 0; i < ROOM; i++)
        chain_append(i % 2 ? &other : &chain, links, i);
    chain_check(&other, links, ROOM);
    CHECK_ORDER(0, 2, 4, 6, );
    take(4);
    chain_append(&other, links, 4);
    chain_check(&other, links, ROOM);
    CHECK_ORDER(0, 2, 6, );
    ck_assert_uint_eq(other.count, 5);
    ck_assert_uint_eq(other.last, 4);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static uint32_t room = ROOM;

static void check(const void *object)
{
    chain_check(object, links, room);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &chain, place, value)

START_TEST(test_chain_check_notices_a_wrong_head)
{
    NOTICES(chain.count, 1);
    NOTICES(chain.last, 0);
    NOTICES(chain.first, ROOM);
    for (uint32_t i = 0; i < 3; i++)
        append(i);
    NOTICES(chain.count, 2);
    NOTICES(chain.count, 4);
    NOTICES(chain.first, 1);
    NOTICES(chain.first, CHAIN_END);
    NOTICES(chain.last, 1);
    NOTICES(chain.last, CHAIN_END);
}
END_TEST

START_TEST(test_chain_check_notices_broken_links)
{
    for (uint32_t i = 0; i < 3; i++)
        append(i);
    NOTICES(links[0].previous, 2);
    NOTICES(links[1].previous, CHAIN_END);
    NOTICES(links[1].next, CHAIN_END);
    NOTICES(links[1].next, 0); /* a ring */
    NOTICES(links[2].next, 2);
    NOTICES(links[1].next, ROOM);
}
END_TEST

START_TEST(test_chain_check_notices_a_link_beyond_the_room)
{
    append(ROOM - 1);
    NOTICES(room, ROOM - 1);
}
END_TEST

SUITE_MAIN_WITH("chain", set_up, tear_down, test_chain_begins_empty,
                test_chain_keeps_the_order_in_which_they_came,
                test_chain_takes_out_the_first_the_last_and_those_between,
                test_chain_takes_one_again_at_its_end, test_chain_shares_its_links_with_others,
                test_chain_check_notices_a_wrong_head, test_chain_check_notices_broken_links,
                test_chain_check_notices_a_link_beyond_the_room)
