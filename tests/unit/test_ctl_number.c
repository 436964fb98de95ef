/* SPDX-License-Identifier: MIT */
#include "client/ctl/number.c" // NOLINT(bugprone-suspicious-include): part of a program

#include "tests/unit/suite.h"

#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

static void check_number(const char *text, uint64_t max, uint64_t expected)
{
    uint64_t number = UNTOUCHED;

    ck_assert_msg(number_parse(text, max, &number) == 0, "\"%s\"", text);
    ck_assert_uint_eq(number, expected);
}

static void check_size(const char *text, uint64_t expected)
{
    uint64_t bytes = UNTOUCHED;

    ck_assert_msg(number_parse_size(text, UINT64_MAX, &bytes) == 0, "\"%s\"", text);
    ck_assert_uint_eq(bytes, expected);
}

static void check_no_size(const char *text, int expected)
{
    uint64_t bytes = UNTOUCHED;

    ck_assert_msg(number_parse_size(text, UINT64_MAX, &bytes) == expected, "\"%s\"", text);
    ck_assert_uint_eq(bytes, UNTOUCHED);
}

START_TEST(test_number_takes_what_is_one)
{
    check_number("0", 0, 0);
    check_number("007", 100, 7);
    check_number("100", 100, 100);
    check_number("18446744073709551615", UINT64_MAX, UINT64_MAX);
}
END_TEST

START_TEST(test_number_refuses_what_is_none)
{
    static const char *const texts[] = {"",    "-1",  "+1",  " 1",  "1 ", "12x",
                                        "0x1", "1.5", "1e3", "1,0", "x",  "1\n"};
    uint64_t number = UNTOUCHED;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(number_parse(texts[i], UINT64_MAX, &number) == -EINVAL, "%s", texts[i]);
    ck_assert_uint_eq(number, UNTOUCHED);
}
END_TEST

START_TEST(test_number_refuses_what_is_too_large)
{
    uint64_t number = UNTOUCHED;

    ck_assert_int_eq(number_parse("101", 100, &number), -ERANGE);
    ck_assert_int_eq(number_parse("18446744073709551616", UINT64_MAX, &number), -ERANGE);
    ck_assert_int_eq(number_parse("99999999999999999999999", UINT64_MAX, &number), -ERANGE);
    ck_assert_uint_eq(number, UNTOUCHED);
}
END_TEST

START_TEST(test_size_takes_suffixes)
{
    check_size("64", 64);
    check_size("4K", 4096);
    check_size("4k", 4096);
    check_size("1M", 1048576);
    check_size("3g", UINT64_C(3221225472));
    check_size("0K", 0);
    check_size("17179869183G", UINT64_C(17179869183) << 30);
}
END_TEST

START_TEST(test_size_refuses_what_is_none)
{
    static const char *const texts[] = {"", "K", "-1K", "4KB", "4KiB", "4T", "4 K", "1.5M", "KK"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_no_size(texts[i], -EINVAL);
    check_no_size("17179869184G", -ERANGE);
    check_no_size("99999999999999999999", -ERANGE);
    check_no_size("99999999999999999999K", -ERANGE);
}
END_TEST

static void check_duration(const char *text, uint64_t expected)
{
    uint64_t nanoseconds = UNTOUCHED;

    ck_assert_msg(number_parse_duration(text, UINT64_MAX, &nanoseconds) == 0, "\"%s\"", text);
    ck_assert_uint_eq(nanoseconds, expected);
}

START_TEST(test_duration_takes_units)
{
    check_duration("0", 0);
    check_duration("0s", 0);
    check_duration("7ns", 7);
    check_duration("20us", 20000);
    check_duration("500ms", 500000000);
    check_duration("10s", UINT64_C(10000000000));
    check_duration("5m", UINT64_C(300000000000));
    check_duration("2h", UINT64_C(7200000000000));
}
END_TEST

START_TEST(test_duration_refuses_what_is_none)
{
    static const char *const texts[] = {"", "10", "s", "-1s", "1 s", "1.5s", "1S", "1d", "1min"};
    uint64_t nanoseconds = UNTOUCHED;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(number_parse_duration(texts[i], UINT64_MAX, &nanoseconds) == -EINVAL, "%s",
                      texts[i]);
    ck_assert_int_eq(number_parse_duration("9223372037s", INT64_MAX, &nanoseconds), -ERANGE);
    ck_assert_int_eq(number_parse_duration("99999999999999999999h", UINT64_MAX, &nanoseconds),
                     -ERANGE);
    ck_assert_int_eq(number_parse_duration("5124096h", UINT64_MAX, &nanoseconds), -ERANGE);
    ck_assert_uint_eq(nanoseconds, UNTOUCHED);
}
END_TEST

START_TEST(test_mode_is_octal)
{
    uint32_t mode = 1;

    ck_assert_int_eq(number_parse_mode("0640", &mode), 0);
    ck_assert_uint_eq(mode, 0640);
    ck_assert_int_eq(number_parse_mode("777", &mode), 0);
    ck_assert_uint_eq(mode, 0777);
    ck_assert_int_eq(number_parse_mode("1000", &mode), -ERANGE);
    ck_assert_int_eq(number_parse_mode("0000", &mode), -ERANGE);
    ck_assert_int_eq(number_parse_mode("0688", &mode), -EINVAL);
    ck_assert_int_eq(number_parse_mode("u=rw", &mode), -EINVAL);
    ck_assert_uint_eq(mode, 0777);
}
END_TEST

SUITE_MAIN("ctl_number", test_number_takes_what_is_one, test_number_refuses_what_is_none,
           test_number_refuses_what_is_too_large, test_size_takes_suffixes,
           test_size_refuses_what_is_none, test_duration_takes_units,
           test_duration_refuses_what_is_none, test_mode_is_octal)
