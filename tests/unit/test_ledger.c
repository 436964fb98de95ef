/* SPDX-License-Identifier: MIT */
#include "daemon/ledger.h"

#include <errno.h>

#include "tests/lib/aborts.h"
#include "tests/unit/suite.h"

#define CAPACITY 8u

#define MORE 20u

static uint64_t entries[MORE];
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
    uint32_t index = ledger_grant(&ledger, layout_ledger_entry(request, member));
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

START_TEST(test_ledger_after_goes_through_what_the_member_holds)
{
    uint32_t first = grant(1, 1), other = grant(2, 1), second = grant(1, 2), third = grant(1, 3);
    ck_assert_uint_eq(ledger_after(&ledger, first), second);
    ck_assert_uint_eq(ledger_after(&ledger, second), third);
    ck_assert_uint_eq(ledger_after(&ledger, third), LEDGER_NONE);
    ck_assert_uint_eq(ledger_after(&ledger, other), LEDGER_NONE);
    release(second);
    ck_assert_uint_eq(ledger_after(&ledger, first), third);
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
        ck_assert_uint_eq(ledger_grant(&small, layout_ledger_entry(1, 1)), 0);
        ledger_check(&small);
        ck_assert_uint_eq(ledger_grant(&small, layout_ledger_entry(1, 1)), LEDGER_NONE);
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
    ck_assert_int_eq(ledger_add_member(&ledger, SLOT_MEMBER_POOL), 0);
    uint32_t index = grant(SLOT_MEMBER_POOL, LAYOUT_REQUEST_MAX);
    ck_assert_uint_eq(ledger_holder(&ledger, index), SLOT_MEMBER_POOL);
    ck_assert_uint_eq(ledger_oldest(&ledger, SLOT_MEMBER_POOL), index);
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

/* ---- What comes next ------------------------------------------------------------------------- */

/* The slots from ledger_next() are those that are granted then. */
static void check_next(uint32_t count)
{
    uint32_t expected[MORE], index = LEDGER_NONE;
    for (uint32_t i = 0; i < count; i++)
        index = expected[i] = ledger_next(&ledger, index);
    ck_assert_uint_eq(ledger_next(&ledger, index), LEDGER_NONE);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(grant(2, i), expected[i]);
    ck_assert_uint_eq(ledger_next(&ledger, LEDGER_NONE), LEDGER_NONE);
}

START_TEST(test_ledger_next_says_what_is_granted_of_a_new_ledger)
{
    ck_assert_uint_eq(ledger_next(&ledger, LEDGER_NONE), 0);
    check_next(CAPACITY);
}
END_TEST

START_TEST(test_ledger_next_goes_from_what_was_freed_to_what_is_fresh)
{
    for (uint32_t i = 0; i < 5; i++)
        grant(1, i);
    release(1);
    release(4);
    release(0);
    check_next(6);
}
END_TEST

START_TEST(test_ledger_next_ends_with_what_was_freed_if_nothing_is_fresh)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        grant(1, i);
    ck_assert_uint_eq(ledger_next(&ledger, LEDGER_NONE), LEDGER_NONE);
    release(7);
    retire(2);
    release(3);
    check_next(2);
}
END_TEST

/* ---- Other hands ----------------------------------------------------------------------------- */

START_TEST(test_ledger_move_names_the_other_member_and_puts_the_slot_last)
{
    uint32_t first = grant(1, 1), second = grant(1, 2), own = grant(2, 1);
    ledger_move(&ledger, first, layout_ledger_entry(9, 2) | LAYOUT_EVICTABLE);
    ledger_check(&ledger);

    ck_assert_uint_eq(ledger_entry(&ledger, first), layout_ledger_entry(9, 2) | LAYOUT_EVICTABLE);
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), second);
    ck_assert_uint_eq(ledger_oldest(&ledger, 2), own);
    ck_assert_uint_eq(ledger_count(&ledger, 1), 1);
    ck_assert_uint_eq(ledger_count(&ledger, 2), 2);
    release(own);
    ck_assert_uint_eq(ledger_oldest(&ledger, 2), first);
}
END_TEST

START_TEST(test_ledger_move_to_the_holder_himself_is_fine)
{
    uint32_t first = grant(1, 1), second = grant(1, 2);
    ledger_move(&ledger, first, layout_ledger_entry(0, 1));
    ledger_check(&ledger);
    ck_assert_uint_eq(ledger_oldest(&ledger, 1), second);
    ck_assert_uint_eq(ledger_count(&ledger, 1), 2);
}
END_TEST

START_TEST(test_ledger_entry_keeps_request_and_member_beside_the_evictable_bit)
{
    uint64_t entry = layout_ledger_entry(LAYOUT_REQUEST_MAX, SLOT_MEMBER_POOL);
    ck_assert_uint_eq(entry & LAYOUT_EVICTABLE, 0);
    entry |= LAYOUT_EVICTABLE;
    ck_assert_uint_eq(entry, UINT64_MAX);
    ck_assert_uint_eq(layout_ledger_member(entry), SLOT_MEMBER_POOL);
    ck_assert_uint_eq(layout_ledger_request(entry), LAYOUT_REQUEST_MAX);
    ck_assert_uint_eq(layout_ledger_entry(0, SLOT_MEMBER_POOL) & LAYOUT_EVICTABLE, 0);
}
END_TEST

/* ---- Growth ---------------------------------------------------------------------------------- */

START_TEST(test_ledger_grows_by_slots_that_are_free)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        grant(1, i);
    release(3);
    ck_assert_int_eq(ledger_reserve(&ledger, MORE), 0);
    ledger_check(&ledger);
    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), 1); /* not yet */
    ledger_grow(&ledger, MORE);
    ledger_check(&ledger);

    ck_assert_uint_eq(ledger_count(&ledger, SLOT_MEMBER_NONE), MORE - CAPACITY + 1);
    ck_assert_uint_eq(ledger_count(&ledger, 1), CAPACITY - 1);
    ck_assert_uint_eq(ledger_next(&ledger, LEDGER_NONE), 3);
    ck_assert_uint_eq(ledger_next(&ledger, 3), CAPACITY);
    check_next(MORE - CAPACITY + 1);
}
END_TEST

START_TEST(test_ledger_reserved_for_more_than_it_grows_to_is_fine)
{
    ck_assert_int_eq(ledger_reserve(&ledger, MORE), 0);
    ck_assert_int_eq(ledger_reserve(&ledger, CAPACITY + 1), 0);
    ledger_grow(&ledger, CAPACITY + 1);
    ledger_check(&ledger);
    check_next(CAPACITY + 1);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    ledger_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &ledger, place, value)

START_TEST(test_ledger_check_notices_an_entry_that_the_chains_contradict)
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
    NOTICES(ledger.chains[1].count, 0);
    NOTICES(ledger.chains[1].count, 2);
    NOTICES(ledger.chains[SLOT_MEMBER_NONE].count, 1);
    NOTICES(ledger.fresh, 0);
    NOTICES(ledger.fresh, 2);
    NOTICES(ledger.fresh, CAPACITY + 1);
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
    NOTICES(ledger.chains[1].first, 1);
    NOTICES(ledger.chains[1].last, 1);
    NOTICES(ledger.chains[1].last, LEDGER_NONE);
}
END_TEST

START_TEST(test_ledger_check_notices_a_slot_in_no_chain)
{
    struct chain before = ledger.chains[1];
    grant(1, 1);
    NOTICES(ledger.chains[1], before);
}
END_TEST

START_TEST(test_ledger_check_notices_a_slot_that_is_chained_and_retired)
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
                test_ledger_after_goes_through_what_the_member_holds,
                test_ledger_releases_in_any_order, test_ledger_never_grants_a_retired_slot_again,
                test_ledger_of_one_slot_works, test_ledger_takes_the_highest_member,
                test_ledger_keeps_what_a_member_holds_when_it_is_added_again,
                test_ledger_knows_nothing_of_a_member_that_was_never_added,
                test_ledger_next_says_what_is_granted_of_a_new_ledger,
                test_ledger_next_goes_from_what_was_freed_to_what_is_fresh,
                test_ledger_next_ends_with_what_was_freed_if_nothing_is_fresh,
                test_ledger_move_names_the_other_member_and_puts_the_slot_last,
                test_ledger_move_to_the_holder_himself_is_fine,
                test_ledger_entry_keeps_request_and_member_beside_the_evictable_bit,
                test_ledger_grows_by_slots_that_are_free,
                test_ledger_reserved_for_more_than_it_grows_to_is_fine,
                test_ledger_check_notices_an_entry_that_the_chains_contradict,
                test_ledger_check_notices_wrong_counts, test_ledger_check_notices_broken_links,
                test_ledger_check_notices_a_slot_in_no_chain,
                test_ledger_check_notices_a_slot_that_is_chained_and_retired)
