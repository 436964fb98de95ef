/* SPDX-License-Identifier: MIT */
#include "daemon/decimal.h"

#include "tests/unit/suite.h"

static uint32_t taken;

/* What is left of the text; NULL if no number was taken. */
static const char *rest(const char *text)
{
    const char *at = text;
    taken = 77;
    if (decimal_take(&at, &taken))
        return at;
    ck_assert_ptr_eq(at, text);
    ck_assert_uint_eq(taken, 77);
    return NULL;
}

START_TEST(test_decimal_takes_digits_and_leaves_the_rest)
{
    ck_assert_str_eq(rest("90%"), "%");
    ck_assert_uint_eq(taken, 90);
    ck_assert_str_eq(rest("0"), "");
    ck_assert_uint_eq(taken, 0);
    ck_assert_str_eq(rest("0.5"), ".5");
    ck_assert_str_eq(rest("4294967295,1"), ",1");
    ck_assert_uint_eq(taken, UINT32_MAX);
}
END_TEST

START_TEST(test_decimal_takes_nothing_else)
{
    static const char *const texts[] = {
        "", "x", "+1", "-1", " 1", "01", "00", "4294967296", "42949672950", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(!rest(texts[i]), "'%s'", texts[i]);
}
END_TEST

SUITE_MAIN("decimal", test_decimal_takes_digits_and_leaves_the_rest,
           test_decimal_takes_nothing_else)
