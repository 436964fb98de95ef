/* SPDX-License-Identifier: MIT */
#include "daemon/ledger.h"

#include <errno.h>

#include "tests/lib/aborts.h"
#include "tests/unit/suite.h"

#define CAPACITY 8u

static uint64_t entries[CAPACITY];
static struct ledger ledger;

static void set_up(void)
{
    ck_assert_int_eq(ledger_init(&ledger, entries, CAPACITY), 0);
    ck_assert_int_eq(ledger_add_member(&ledger, 1), 0);
    ck_assert_int_eq(ledger_add_member(&ledger, 2), 0);
}

static void tear_down(void)
{
    ledger_check(&ledger);
    ledger_deinit(&ledger);
}

/* Each change is followed by a check of the laws. */
static uint32_t grant(uint32_t member, uint64_t request)
{
    uint32_t index = ledger_grant(&ledger, member, request);
    ledger_check(&ledger);
    return index;
}

static void release(uint32_t index)
{
    ledger_release(&ledger, index);
    ledger_check(&ledger);
}

static void retire(uint32_t index)
{
    ledger_retire(&ledger, index);
    ledger_check(&ledger);
}

START_TEST(test_ledger_begins_with_all_slots_free)
{
    ledger_check(&ledger);
    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), CAPACITY);
    ck_assert_uint_eq(ledger_count(&ledger, 1), 0);
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(ledger_holder(&ledger, i), SLOT_MEMBER_NONE);
}
END_TEST

START_TEST(test_ledger_grants_from_the_first_slot_on)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(grant(1, i), i);
}
END_TEST

START_TEST(test_ledger_grant_writes_member_and_request)
{
    uint32_t index = grant(2, LAYOUT_REQUEST_MAX);

    ck_assert_uint_eq(entries[index], layout_ledger_entry(LAYOUT_REQUEST_MAX, 2));
    ck_assert_uint_eq(layout_ledger_request(entries[index]), LAYOUT_REQUEST_MAX);
    ck_assert_uint_eq(ledger_holder(&ledger, index), 2);
    ck_assert_uint_eq(ledger_count(&ledger, 2), 1);
    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), CAPACITY - 1);
}
END_TEST

START_TEST(test_ledger_grant_says_none_when_nothing_is_free)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        grant(1 + i % 2, i);
    ck_assert_uint_eq(grant(1, 9), LEDGER_NONE);
    ck_assert_uint_eq(ledger_count(&ledger, 1), CAPACITY / 2);
    ck_assert_uint_eq(ledger_count(&ledger, 2), CAPACITY / 2);
}
END_TEST

START_TEST(test_ledger_grants_the_slot_that_was_freed_last)
{
    for (uint32_t i = 0; i < 4; i++)
        grant(1, i);
    release(2);
    release(0);
    ck_assert_uint_eq(grant(2, 5), 0);
    ck_assert_uint_eq(grant(2, 6), 2);
    ck_assert_uint_eq(grant(2, 7), 4);
}
END_TEST

START_TEST(test_ledger_release_clears_the_entry)
{
    uint32_t index = grant(1, 77);
    release(index);
    ck_assert_uint_eq(entries[index], 0);
    ck_assert_uint_eq(ledger_count(&ledger, 1), 0);
    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), CAPACITY);
}
END_TEST

START_TEST(test_ledger_oldest_is_what_the_member_has_held_longest)
{
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), LEDGER_NONE);
    uint32_t first = grant(1, 1), other = grant(2, 1), second = grant(1, 2);

    ck_assert_uint_eq(ledger_oldest(&ledger, 1), first);
    ck_assert_uint_eq(ledger_oldest(&ledger, 2), other);
    release(first);
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), second);
    release(second);
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), LEDGER_NONE);
}
END_TEST

START_TEST(test_ledger_releases_in_any_order)
{
    static const uint32_t order[CAPACITY] = {3, 0, 7, 5, 1, 6, 2, 4};
    for (uint32_t i = 0; i < CAPACITY; i++)
        grant(1, i);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        release(order[i]);
        ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), i + 1);
    }
}
END_TEST

START_TEST(test_ledger_never_grants_a_retired_slot_again)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        grant(1, i);
    retire(3);
    ck_assert_uint_eq(ledger_holder(&ledger, 3), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(ledger_count(&ledger, 1), CAPACITY - 1);
    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), 0);
    ck_assert_uint_eq(grant(2, 1), LEDGER_NONE);

    release(4);
    ck_assert_uint_eq(grant(2, 1), 4);
    ck_assert_uint_eq(grant(2, 1), LEDGER_NONE);
}
END_TEST

START_TEST(test_ledger_of_one_slot_works)
{
    struct ledger small;
    uint64_t entry = 0;

    ck_assert_int_eq(ledger_init(&small, &entry, 1), 0);
    ck_assert_int_eq(ledger_add_member(&small, 1), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(ledger_grant(&small, 1, 1), 0);
        ledger_check(&small);
        ck_assert_uint_eq(ledger_grant(&small, 1, 1), LEDGER_NONE);
        ledger_release(&small, 0);
        ledger_check(&small);
    }
    ledger_retire(&small, 0);
    ledger_check(&small);
    ledger_deinit(&small);
}
END_TEST

START_TEST(test_ledger_takes_the_highest_member)
{
    ck_assert_int_eq(ledger_add_member(&ledger, SLOT_MEMBER_POOL - 1), 0);
    uint32_t index = grant(SLOT_MEMBER_POOL - 1, LAYOUT_REQUEST_MAX);
    ck_assert_uint_eq(ledger_holder(&ledger, index), SLOT_MEMBER_POOL - 1);
    ck_assert_uint_eq(ledger_oldest(&ledger, SLOT_MEMBER_POOL - 1), index);
}
END_TEST

START_TEST(test_ledger_keeps_what_a_member_holds_when_it_is_added_again)
{
    uint32_t index = grant(1, 1);
    ck_assert_int_eq(ledger_add_member(&ledger, 1), 0);
    ck_assert_int_eq(ledger_add_member(&ledger, 100), 0);
    ledger_check(&ledger);
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), index);
}
END_TEST

START_TEST(test_ledger_knows_nothing_of_a_member_that_was_never_added)
{
    ck_assert_uint_eq(ledger_count(&ledger, 3), 0);
    ck_assert_uint_eq(ledger_oldest(&ledger, 3), LEDGER_NONE);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    ledger_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &ledger, place, value)

START_TEST(test_ledger_check_notices_an_entry_that_the_lists_contradict)
{
    uint32_t index = grant(1, 1);
    NOTICES(entries[index], 0);
    NOTICES(entries[index], layout_ledger_entry(1, 2));
    NOTICES(entries[CAPACITY - 1], layout_ledger_entry(1, 1));
}
END_TEST

START_TEST(test_ledger_check_notices_wrong_counts)
{
    grant(1, 1);
    NOTICES(ledger.lists[1].count, 0);
    NOTICES(ledger.lists[1].count, 2);
    NOTICES(ledger.lists[SLOT_MEMBER_NONE].count, CAPACITY);
}
END_TEST

START_TEST(test_ledger_check_notices_broken_links)
{
    for (uint32_t i = 0; i < 3; i++)
        grant(1, i);
    NOTICES(ledger.links[1].previous, 2);
    NOTICES(ledger.links[1].next, LEDGER_NONE);
    NOTICES(ledger.links[1].next, 0); /* a ring */
    NOTICES(ledger.links[1].next, CAPACITY);
    NOTICES(ledger.lists[1].first, 1);
    NOTICES(ledger.lists[1].last, 1);
    NOTICES(ledger.lists[1].last, LEDGER_NONE);
}
END_TEST

START_TEST(test_ledger_check_notices_a_slot_in_no_list)
{
    struct ledger_list before = ledger.lists[1];
    grant(1, 1);
    NOTICES(ledger.lists[1], before);
}
END_TEST

START_TEST(test_ledger_check_notices_a_slot_that_is_listed_and_retired)
{
    uint32_t index = grant(1, 1);
    NOTICES(ledger.links[index].next, index);
}
END_TEST

SUITE_MAIN_WITH("ledger", set_up, tear_down, test_ledger_begins_with_all_slots_free,
                test_ledger_grants_from_the_first_slot_on,
                test_ledger_grant_writes_member_and_request,
                test_ledger_grant_says_none_when_nothing_is_free,
                test_ledger_grants_the_slot_that_was_freed_last,
                test_ledger_release_clears_the_entry,
                test_ledger_oldest_is_what_the_member_has_held_longest,
                test_ledger_releases_in_any_order, test_ledger_never_grants_a_retired_slot_again,
                test_ledger_of_one_slot_works, test_ledger_takes_the_highest_member,
                test_ledger_keeps_what_a_member_holds_when_it_is_added_again,
                test_ledger_knows_nothing_of_a_member_that_was_never_added,
                test_ledger_check_notices_an_entry_that_the_lists_contradict,
                test_ledger_check_notices_wrong_counts, test_ledger_check_notices_broken_links,
                test_ledger_check_notices_a_slot_in_no_list,
                test_ledger_check_notices_a_slot_that_is_listed_and_retired)
