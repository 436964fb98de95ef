/* SPDX-License-Identifier: MIT */
#include "shm/handle.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"

static const fastalloc_handle_t largest = {UINT32_MAX, UINT32_MAX, UINT64_MAX};
static const fastalloc_handle_t sample = {7, 42, UINT64_C(0xbeef000000000003)};

static void check_round_trip(fastalloc_handle_t handle, const char *expected)
{
    char text[FASTALLOC_HANDLE_TEXT_SIZE];
    fastalloc_handle_t parsed = FASTALLOC_HANDLE_NONE;

    handle_format(handle, text);
    ck_assert_str_eq(text, expected);
    ck_assert(handle_parse(text, &parsed));
    ck_assert(fastalloc_handle_equal(parsed, handle));
}

START_TEST(test_handle_is_16_bytes)
{
    ck_assert_uint_eq(sizeof(fastalloc_handle_t), 16);
    ck_assert_uint_eq(HANDLE_WIRE_SIZE, 16);
}
END_TEST

START_TEST(test_handle_make_puts_nonce_above_generation)
{
    const uint64_t last = (UINT64_C(1) << 48) - 1;
    fastalloc_handle_t handle = handle_make(1, 2, UINT16_MAX, last);

    ck_assert_uint_eq(handle.tag, UINT64_MAX);
    ck_assert_uint_eq(handle_nonce(handle), UINT16_MAX);
    ck_assert_uint_eq(handle_generation(handle), last);
    handle = handle_make(1, 2, 1, 0);
    ck_assert_uint_eq(handle.tag, UINT64_C(1) << 48);
    ck_assert_uint_eq(handle_generation(handle), 0);
}
END_TEST

START_TEST(test_handle_of_zeros_is_none)
{
    ck_assert(fastalloc_handle_is_none(FASTALLOC_HANDLE_NONE));
    ck_assert(!fastalloc_handle_is_none((fastalloc_handle_t){1, 0, 0}));
    ck_assert(!fastalloc_handle_is_none((fastalloc_handle_t){0, 1, 0}));
    ck_assert(!fastalloc_handle_is_none((fastalloc_handle_t){0, 0, 1}));
}
END_TEST

START_TEST(test_handle_equality_looks_at_every_field)
{
    ck_assert(fastalloc_handle_equal(sample, sample));
    ck_assert(!fastalloc_handle_equal(sample, (fastalloc_handle_t){8, 42, sample.tag}));
    ck_assert(!fastalloc_handle_equal(sample, (fastalloc_handle_t){7, 43, sample.tag}));
    ck_assert(!fastalloc_handle_equal(sample, (fastalloc_handle_t){7, 42, sample.tag ^ 1}));
}
END_TEST

START_TEST(test_handle_text_form_round_trips)
{
    check_round_trip(FASTALLOC_HANDLE_NONE, "0:0:0000000000000000");
    check_round_trip(sample, "7:42:beef000000000003");
    check_round_trip(largest, "4294967295:4294967295:ffffffffffffffff");
}
END_TEST

START_TEST(test_handle_text_form_fits_its_size)
{
    char text[FASTALLOC_HANDLE_TEXT_SIZE];

    handle_format(largest, text);
    ck_assert_uint_eq(strlen(text), 38);
}
END_TEST

START_TEST(test_handle_parse_refuses_anything_else)
{
    static const char *const texts[] = {
        "",
        ":",
        "::",
        "7:42",
        "7:42:",
        ":42:beef000000000003",
        "7::beef000000000003",
        "7:42:beef00000000003",
        "7:42:beef0000000000033",
        "7:42:BEEF000000000003",
        "7:42:beef00000000000g",
        "7:42:beef000000000003 ",
        " 7:42:beef000000000003",
        "+7:42:beef000000000003",
        "-7:42:beef000000000003",
        "7:4a:beef000000000003",
        "07:42:beef000000000003",
        "7:00:beef000000000003",
        "4294967296:42:beef000000000003",
        "7:4294967296:beef000000000003",
        "99999999999999999999999:42:beef000000000003",
        "7:42:0xef000000000003",
        "7:42:beef:00000000003",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fastalloc_handle_t handle = sample;
        ck_assert_msg(!handle_parse(texts[i], &handle), "accepted '%s'", texts[i]);
        ck_assert(fastalloc_handle_equal(handle, sample));
    }
}
END_TEST

START_TEST(test_handle_wire_form_is_little_endian)
{
    static const uint8_t expected[HANDLE_WIRE_SIZE] = {0x04, 0x03, 0x02, 0x01, 0x08, 0x07,
                                                       0x06, 0x05, 0x10, 0x0f, 0x0e, 0x0d,
                                                       0x0c, 0x0b, 0x0a, 0x09};
    uint8_t wire[HANDLE_WIRE_SIZE];
    fastalloc_handle_t handle = {0x01020304, 0x05060708, UINT64_C(0x090a0b0c0d0e0f10)};

    handle_to_wire(handle, wire);
    ck_assert_mem_eq(wire, expected, sizeof(wire));
    ck_assert(fastalloc_handle_equal(handle_from_wire(wire), handle));
}
END_TEST

START_TEST(test_handle_wire_form_needs_no_alignment)
{
    uint8_t wire[HANDLE_WIRE_SIZE + 1];

    handle_to_wire(largest, wire + 1);
    ck_assert(fastalloc_handle_equal(handle_from_wire(wire + 1), largest));
}
END_TEST

SUITE_MAIN("handle", test_handle_is_16_bytes, test_handle_make_puts_nonce_above_generation,
           test_handle_of_zeros_is_none, test_handle_equality_looks_at_every_field,
           test_handle_text_form_round_trips, test_handle_text_form_fits_its_size,
           test_handle_parse_refuses_anything_else, test_handle_wire_form_is_little_endian,
           test_handle_wire_form_needs_no_alignment)
