/* SPDX-License-Identifier: MIT */
#include "daemon/journal.h"

#include <string.h>

#include "tests/unit/suite.h"

static struct registry_file file;
static struct registry registry = {&file};
static struct registry_session session;
static struct journal journal;

static void set_up(void)
{
    memset(&file, 0, sizeof(file));
    session = (struct registry_session){.id = 7};
    journal_init(&journal, &registry);
}

static void carry_out(uint32_t number, bool done)
{
    journal_announce(&journal, &session, number);
    journal_begin(&journal, JOURNAL_CREATE, 1, 0, NULL, 0);
    ck_assert_uint_eq(file.change.kind, JOURNAL_CREATE);
    journal_end(&journal, done);
    ck_assert_uint_eq(file.change.kind, JOURNAL_NONE);
}

START_TEST(test_journal_knows_what_was_carried_out)
{
    ck_assert(!journal_is_done(&session, 1));
    carry_out(1, true);
    carry_out(2, false);
    carry_out(3, true);
    ck_assert(journal_is_done(&session, 1));
    ck_assert(!journal_is_done(&session, 2));
    ck_assert(journal_is_done(&session, 3));
    ck_assert(!journal_is_done(&session, 4));
    carry_out(2, true); /* repeated, since it had been refused */
    ck_assert(journal_is_done(&session, 2));
    ck_assert(journal_is_done(&session, 3));
}
END_TEST

START_TEST(test_journal_remembers_as_many_as_it_says)
{
    for (uint32_t number = 1; number <= 100; number++)
        carry_out(number, number % 3 != 0);
    for (uint32_t number = 1; number <= 100; number++)
        ck_assert_int_eq(journal_is_done(&session, number),
                         number > 100 - PROTOCOL_CHANGES_MAX && number % 3 != 0);
    carry_out(1000, true);
    ck_assert(journal_is_done(&session, 1000));
    ck_assert(!journal_is_done(&session, 100));
    ck_assert(!journal_is_done(&session, 999));
}
END_TEST

START_TEST(test_journal_numbers_wrap)
{
    static const uint32_t numbers[] = {UINT32_MAX - 2, UINT32_MAX - 1, UINT32_MAX, 1, 2, 3};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        carry_out(numbers[i], true);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        ck_assert(journal_is_done(&session, numbers[i]));
    ck_assert(!journal_is_done(&session, 0));
    ck_assert(!journal_is_done(&session, 4));
}
END_TEST

START_TEST(test_journal_of_nobody_marks_nothing)
{
    carry_out(0, true);
    ck_assert_uint_eq(session.changes, 0);
    journal_announce(&journal, NULL, 5);
    journal_begin(&journal, JOURNAL_DESTROY, 1, 0, NULL, 0);
    ck_assert_uint_eq(file.change.session, 0);
    journal_end(&journal, true);
    ck_assert_uint_eq(session.changes, 0);
}
END_TEST

START_TEST(test_journal_says_what_is_under_way)
{
    uint8_t handles[3 * HANDLE_WIRE_SIZE];
    memset(handles, 0x42, sizeof(handles));
    journal_announce(&journal, &session, 9);
    journal_begin(&journal, JOURNAL_OPERATE, 4, 5, handles, 3);
    ck_assert_uint_eq(file.change.session, 7);
    ck_assert_uint_eq(file.change.number, 9);
    ck_assert_uint_eq(file.change.pool, 4);
    ck_assert_uint_eq(file.change.member, 5);
    ck_assert_mem_eq(file.change.handles, handles, sizeof(handles));
    ck_assert_uint_eq(journal_next(&journal), 0);
    ck_assert_uint_eq(journal_holds(&journal), JOURNAL_HOLDS_NONE);
    journal_step(&journal, 2, 6);
    ck_assert_uint_eq(journal_next(&journal), 2);
    ck_assert_uint_eq(journal_holds(&journal), 6);
}
END_TEST

SUITE_MAIN_WITH("journal", set_up, NULL, test_journal_knows_what_was_carried_out,
                test_journal_remembers_as_many_as_it_says, test_journal_numbers_wrap,
                test_journal_of_nobody_marks_nothing, test_journal_says_what_is_under_way)
