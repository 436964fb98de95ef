/* SPDX-License-Identifier: MIT */
#include "proto/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"

#define PLAIN(text) text_is_plain(text, sizeof(text) - 1)

/* The bytes of a code point, by the textbook, well-formed or not. */
static size_t encode(uint32_t point, char bytes[4])
{
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    bytes[0] = (char)(0xf0 | point >> 18);
    bytes[1] = (char)(0x80 | (point >> 12 & 0x3f));
    bytes[2] = (char)(0x80 | (point >> 6 & 0x3f));
    bytes[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

START_TEST(test_text_takes_every_character_but_controls)
{
    for (uint32_t point = 0; point < 0x1fffff; point++) {
        char bytes[4];
        size_t size = encode(point, bytes);
        bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        bool expected = !control && !surrogate && point <= 0x10ffff;
        if (text_is_plain(bytes, size) != expected)
            ck_abort_msg("U+%04X", point);
    }
}
END_TEST

START_TEST(test_text_takes_mixed_text_and_nothing)
{
    ck_assert(PLAIN(""));
    ck_assert(PLAIN("f\xc3\xbcr 5 \xe2\x82\xac \xf0\x9f\x99\x82"));
}
END_TEST

START_TEST(test_text_refuses_control_characters_anywhere)
{
    ck_assert(!PLAIN("a\nb"));
    ck_assert(!PLAIN("\x1b[31m"));
    ck_assert(!PLAIN("a\0b"));
    ck_assert(!PLAIN("ab\x7f"));
    ck_assert(!PLAIN("\xc2\x9b"
                     "31m")); /* the same escape, in one character */
}
END_TEST

START_TEST(test_text_refuses_overlong_forms)
{
    ck_assert(!PLAIN("\xc0\xaf"));
    ck_assert(!PLAIN("\xc1\xbf"));
    ck_assert(!PLAIN("\xe0\x9f\xbf"));
    ck_assert(!PLAIN("\xf0\x8f\xbf\xbf"));
    ck_assert(!PLAIN("\xc0\x8a"));
}
END_TEST

START_TEST(test_text_refuses_incomplete_and_stray_bytes)
{
    ck_assert(!PLAIN("\xc3"));
    ck_assert(!PLAIN("\xe2\x82"));
    ck_assert(!PLAIN("\xf0\x9f\x99"));
    ck_assert(!PLAIN("\x80"));
    ck_assert(!PLAIN("a\xbf"));
    ck_assert(!PLAIN("\xe2\x28\xa1"));
    ck_assert(!PLAIN("\xe2\x82\x28"));
    ck_assert(!PLAIN("\xf5\x80\x80\x80"));
    ck_assert(!PLAIN("\xff"));
}
END_TEST

SUITE_MAIN("text", test_text_takes_every_character_but_controls,
           test_text_takes_mixed_text_and_nothing, test_text_refuses_control_characters_anywhere,
           test_text_refuses_overlong_forms, test_text_refuses_incomplete_and_stray_bytes)
