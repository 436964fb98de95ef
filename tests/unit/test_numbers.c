/* SPDX-License-Identifier: MIT */
#include "daemon/numbers.h"

#include "tests/unit/suite.h"

static uint64_t room[8];

START_TEST(test_numbers_have_those_that_were_given)
{
    static const uint8_t wire[] = {9, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 9, 0, 0, 0};
    const struct numbers numbers = numbers_from_wire(wire, sizeof(wire), 4, room);
    ck_assert_uint_eq(numbers.count, 4);
    ck_assert(numbers_have(&numbers, 9));
    ck_assert(numbers_have(&numbers, 0x04030201));
    ck_assert(numbers_have(&numbers, 0));
    ck_assert(!numbers_have(&numbers, 1));
    ck_assert(!numbers_have(&numbers, UINT64_C(0x900000009)));
}
END_TEST

START_TEST(test_numbers_have_eight_bytes_at_most)
{
    static const uint8_t wire[] = {1,    0,    0,    0,    0,    0,    0,    0x80,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct numbers numbers = numbers_from_wire(wire, sizeof(wire), 8, room);
    ck_assert(numbers_have(&numbers, UINT64_C(0x8000000000000001)));
    ck_assert(numbers_have(&numbers, UINT64_MAX));
    ck_assert(!numbers_have(&numbers, 1));
}
END_TEST

START_TEST(test_numbers_may_be_none)
{
    const struct numbers numbers = numbers_from_wire(NULL, 0, 8, room);
    ck_assert_uint_eq(numbers.count, 0);
    ck_assert(!numbers_have(&numbers, 0));
}
END_TEST

START_TEST(test_numbers_leave_out_what_is_no_whole_one)
{
    static const uint8_t wire[] = {5, 0, 0, 0, 7, 0, 0};
    const struct numbers numbers = numbers_from_wire(wire, sizeof(wire), 4, room);
    ck_assert_uint_eq(numbers.count, 1);
    ck_assert(numbers_have(&numbers, 5));
    ck_assert(!numbers_have(&numbers, 7));
}
END_TEST

SUITE_MAIN("numbers", test_numbers_have_those_that_were_given,
           test_numbers_have_eight_bytes_at_most, test_numbers_may_be_none,
           test_numbers_leave_out_what_is_no_whole_one)
