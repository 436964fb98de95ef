/* SPDX-License-Identifier: MIT */
#include "daemon/name.h"

#include <ctype.h>
#include <string.h>

#include "tests/unit/suite.h"

START_TEST(test_name_takes_one_character_and_sixty_three)
{
    char name[65];
    memset(name, 'a', sizeof(name));
    name[64] = '\0';

    ck_assert(!name_is_valid(name));
    name[63] = '\0';
    ck_assert(name_is_valid(name));
    name[1] = '\0';
    ck_assert(name_is_valid(name));
    name[0] = '\0';
    ck_assert(!name_is_valid(name));
}
END_TEST

START_TEST(test_name_begins_with_a_letter_or_digit)
{
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {(char)byte, 'x', '\0'};
        ck_assert_msg(name_is_valid(name) == (isascii(byte) && isalnum(byte)), "byte %d", byte);
    }
}
END_TEST

START_TEST(test_name_goes_on_with_dots_dashes_and_underscores_too)
{
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'x', (char)byte, '\0'};
        bool expected = (isascii(byte) && isalnum(byte)) || strchr("._-", byte);
        ck_assert_msg(name_is_valid(name) == expected, "byte %d", byte);
    }
}
END_TEST

START_TEST(test_name_rejects_a_wrong_character_anywhere)
{
    char name[] = "abcdefgh";
    for (size_t i = 0; i < strlen("abcdefgh"); i++) {
        name[i] = '/';
        ck_assert(!name_is_valid(name));
        name[i] = 'a';
    }
}
END_TEST

SUITE_MAIN("name", test_name_takes_one_character_and_sixty_three,
           test_name_begins_with_a_letter_or_digit,
           test_name_goes_on_with_dots_dashes_and_underscores_too,
           test_name_rejects_a_wrong_character_anywhere)
