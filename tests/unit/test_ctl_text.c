/* SPDX-License-Identifier: MIT */
#include "client/ctl/must.c"  // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/table.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/text.c"  // NOLINT(bugprone-suspicious-include): part of a program

#include "tests/unit/suite.h"

static void check_clean(const char *text, const char *expected)
{
    char *clean = text_clean(text);

    ck_assert_str_eq(clean, expected);
    free(clean);
}

static void check_size(uint64_t bytes, const char *expected)
{
    char buffer[TEXT_NUMBER_SIZE];

    ck_assert_str_eq(text_size(bytes, buffer), expected);
}

static void check_number(uint64_t number, const char *expected)
{
    char buffer[TEXT_NUMBER_SIZE];

    ck_assert_str_eq(text_number(number, buffer), expected);
}

static void check_duration(uint64_t nanoseconds, const char *expected)
{
    char buffer[TEXT_NUMBER_SIZE];

    ck_assert_str_eq(text_duration(nanoseconds, buffer), expected);
}

START_TEST(test_text_leaves_what_is_harmless)
{
    check_clean("", "");
    check_clean("plain text", "plain text");
    check_clean("M\xc3\xbcnchen \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\x98",
                "M\xc3\xbcnchen \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\x98");
}
END_TEST

START_TEST(test_text_shows_control_characters)
{
    check_clean("\x1b[31mred", "\\x1b[31mred");
    check_clean("a\nb\tc\r\x7f", "a\\x0ab\\x09c\\x0d\\x7f");
    check_clean("\xc2\x9b"
                "31m",
                "\\xc2\\x9b31m");
    check_clean("\xe2\x80\xae", "\\xe2\\x80\\xae");
}
END_TEST

START_TEST(test_text_shows_what_is_no_utf8)
{
    check_clean("\xff\xfe", "\\xff\\xfe");
    check_clean("\xc0\x80", "\\xc0\\x80");                   /* overlong */
    check_clean("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
    check_clean("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
    check_clean("cut \xe2\x82", "cut \\xe2\\x82");
    check_clean("\xf0\x9f", "\\xf0\\x9f");
}
END_TEST

START_TEST(test_text_makes_sizes_readable)
{
    check_size(0, "0 B");
    check_size(1023, "1023 B");
    check_size(1024, "1 KiB");
    check_size(1536, "1.5 KiB");
    check_size(1025, "1.0 KiB");
    check_size(1024 * 1024 - 1, "1.0 MiB");
    check_size(UINT64_C(5) << 30, "5 GiB");
    check_size(UINT64_MAX, "16.0 EiB");
}
END_TEST

START_TEST(test_text_groups_digits)
{
    check_number(0, "0");
    check_number(999, "999");
    check_number(1000, "1,000");
    check_number(UINT64_MAX, "18,446,744,073,709,551,615");
}
END_TEST

START_TEST(test_text_makes_durations_readable)
{
    check_duration(0, "0 ns");
    check_duration(999, "999 ns");
    check_duration(850000, "850 us");
    check_duration(12345678, "12.3 ms");
    check_duration(UINT64_C(4560000000), "4.56 s");
    check_duration(UINT64_C(61000000000), "1 min 1 s");
    check_duration(UINT64_C(3600000000000), "1 h 0 min");
    check_duration(UINT64_C(90000000000000), "1 d 1 h");
    check_duration(UINT64_MAX, "213503 d 23 h");
}
END_TEST

START_TEST(test_table_aligns_its_columns)
{
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT}, {"N", TABLE_RIGHT}};
    struct table table;
    char *output = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&output, &size);

    table_init(&table, columns, 2);
    table_add(&table, "%s", "\x1b");
    table_add_number(&table, 1);
    table_add(&table, "%s", "longer name");
    table_add_number(&table, 1000);
    table_write(&table, file, 1);
    fclose(file);
    ck_assert_str_eq(output, " NAME             N\n"
                             " \\x1b             1\n"
                             " longer name  1,000\n");
    table_deinit(&table);
    free(output);
}
END_TEST

SUITE_MAIN("ctl_text", test_text_leaves_what_is_harmless, test_text_shows_control_characters,
           test_text_shows_what_is_no_utf8, test_text_makes_sizes_readable, test_text_groups_digits,
           test_text_makes_durations_readable, test_table_aligns_its_columns)
