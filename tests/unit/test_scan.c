/* SPDX-License-Identifier: MIT */
#include "proto/scan.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/suite.h"

/* ---- Messages that end where readable memory ends -------------------------------------------- */

#define PAGE 4096u
#define ROOM (SCAN_MESSAGE_MAX + 2 * PAGE)

static uint8_t *guard; /* the first byte that must not be read */

static void map_guard(void)
{
    uint8_t *room =
        mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(room, MAP_FAILED);
    guard = room + ROOM;
    ck_assert_int_eq(mprotect(guard, PAGE, PROT_NONE), 0);
}

/* A copy of the message, ending at the guard. */
static uint8_t *place(const void *message, size_t size)
{
    return memmove(guard - size, message, size);
}

static enum scan_result scan_whole(const void *message, size_t size, size_t *length)
{
    struct scan scan;

    scan_init(&scan);
    enum scan_result result = scan_continue(&scan, place(message, size), size);
    if (length)
        *length = scan.position;
    return result;
}

/* First the bytes up to `split`, then all of them. The second call sees them at another place. */
static enum scan_result scan_in_two(const void *message, size_t size, size_t split, size_t *length)
{
    struct scan scan;

    scan_init(&scan);
    enum scan_result result = scan_continue(&scan, place(message, split), split);
    if (result == SCAN_MORE)
        result = scan_continue(&scan, place(message, size), size);
    *length = scan.position;
    return result;
}

static enum scan_result scan_byte_by_byte(const uint8_t *message, size_t size, size_t *length)
{
    enum scan_result result = SCAN_MORE;
    struct scan scan;

    scan_init(&scan);
    for (size_t i = 1; i <= size && result == SCAN_MORE; i++)
        result = scan_continue(&scan, place(message, i), i);
    *length = scan.position;
    return result;
}

#define SCAN(bytes) scan_whole(bytes, sizeof(bytes) - 1, NULL)

/* `count` bytes behind a head. */
static uint8_t filled[ROOM];

static void put(size_t at, const void *bytes, size_t size)
{
    memcpy(filled + at, bytes, size);
}

static enum scan_result scan_filled(const char *head, size_t head_size, uint8_t byte, size_t count)
{
    put(0, head, head_size);
    memset(filled + head_size, byte, count);
    return scan_whole(filled, head_size + count, NULL);
}

/* ---- What it lets through -------------------------------------------------------------------- */

struct sample {
    const char *bytes;
    size_t size;
    enum scan_result result;
};

#define SAMPLE(bytes, result)                                                                      \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, result                                                           \
    }

static const struct sample samples[] = {
    SAMPLE("\xc0", SCAN_DONE),
    SAMPLE("\x94\x00\x01\xa5hello\x81\xa7version\x01", SCAN_DONE),
    SAMPLE("\x94\x01\xce\xff\xff\xff\xff\xc0\x82\xa1"
           "a\xc4\x02xy\xa1"
           "b\xc3",
           SCAN_DONE),
    SAMPLE(
        "\x93\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18\xca\x3f\x80\x00\x00\xd3\xff\xff\xff\xff\xff\xff"
        "\xff\xff",
        SCAN_DONE),
    SAMPLE("\xd9\x03"
           "abc",
           SCAN_DONE),
    SAMPLE("\xda\x00\x03"
           "abc",
           SCAN_DONE),
    SAMPLE("\xdb\x00\x00\x00\x03"
           "abc",
           SCAN_DONE),
    SAMPLE("\xc5\x00\x03"
           "abc",
           SCAN_DONE),
    SAMPLE("\xc6\x00\x00\x00\x03"
           "abc",
           SCAN_DONE),
    SAMPLE("\xdc\x00\x02\x01\x02", SCAN_DONE),
    SAMPLE("\xdd\x00\x00\x00\x02\x01\x02", SCAN_DONE),
    SAMPLE("\xde\x00\x01\xa1z\x02", SCAN_DONE),
    SAMPLE("\xdf\x00\x00\x00\x01\xa1z\x02", SCAN_DONE),
    SAMPLE("\x92\x90\x80", SCAN_DONE),
    SAMPLE("\x82\xa1"
           "a\x81\xa1"
           "a\x01\xa1"
           "b\x81\xa1"
           "a\x02",
           SCAN_DONE),
    SAMPLE("\x91\x91\x91\x91\x91\x91\x91\x91\xc0", SCAN_DONE),
    SAMPLE("\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", SCAN_TOO_DEEP),
    SAMPLE("\x82\xa1"
           "a\x01\xa1"
           "a\x02",
           SCAN_DUPLICATE_KEY),
    SAMPLE("\x82\xa1"
           "a\x01\xd9\x01"
           "a\x02",
           SCAN_DUPLICATE_KEY),
    SAMPLE("\x81\x01\x02", SCAN_BAD_KEY),
    SAMPLE("\x92\xc0\xc1", SCAN_BAD_BYTE),
    SAMPLE("\x92\xc0\xd4\x01\x02", SCAN_BAD_BYTE),
    SAMPLE("\x92\xc0\xdd\x10\x00\x00\x00", SCAN_TOO_LARGE),
    SAMPLE("\x92\xc0\xc6\x00\x01\x00\x00", SCAN_TOO_LARGE),
    SAMPLE("\x93\xc0\xde\x00\x21", SCAN_TOO_MANY_KEYS),
};

#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

START_TEST(test_scan_judges_whole_messages)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t length;
        ck_assert_msg(scan_whole(samples[i].bytes, samples[i].size, &length) == samples[i].result,
                      "sample %zu", i);
        if (samples[i].result == SCAN_DONE)
            ck_assert_uint_eq(length, samples[i].size);
    }
}
END_TEST

START_TEST(test_scan_wants_more_until_the_last_byte)
{
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t size = 0; samples[i].result == SCAN_DONE && size < samples[i].size; size++)
            ck_assert_int_eq(scan_whole(samples[i].bytes, size, NULL), SCAN_MORE);
}
END_TEST

START_TEST(test_scan_judges_alike_however_the_bytes_are_split)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t whole, split;
        scan_whole(samples[i].bytes, samples[i].size, &whole);
        for (size_t at = 0; at <= samples[i].size; at++) {
            ck_assert_int_eq(scan_in_two(samples[i].bytes, samples[i].size, at, &split),
                             samples[i].result);
            ck_assert_uint_eq(split, whole);
        }
        ck_assert_int_eq(
            scan_byte_by_byte((const uint8_t *)samples[i].bytes, samples[i].size, &split),
            samples[i].result);
        ck_assert_uint_eq(split, whole);
    }
}
END_TEST

START_TEST(test_scan_stops_at_the_end_of_the_first_of_several_messages)
{
    static const char two[] = "\x93\x02\xa1x\x80\x93\x02\xa1y\xc1";
    size_t length;

    ck_assert_int_eq(scan_whole(two, sizeof(two) - 1, &length), SCAN_DONE);
    ck_assert_uint_eq(length, 5);
}
END_TEST

START_TEST(test_scan_looks_at_each_byte_once)
{
    enum { COUNT = 60000 };
    static const char head[] = "\xdc\xea\x60"; /* an array of 60000 */
    struct scan scan;

    /* What lies behind the position is spoilt: a scanner that began anew would see it. */
    put(0, head, 3);
    memset(filled + 3, 0x07, COUNT);
    scan_init(&scan);
    for (size_t size = 1; size < COUNT + 3; size++) {
        ck_assert_int_eq(scan_continue(&scan, filled, size), SCAN_MORE);
        ck_assert_uint_ge(scan.position + 3, size);
        memset(filled, 0xc1, scan.position);
    }
    ck_assert_int_eq(scan_continue(&scan, filled, COUNT + 3), SCAN_DONE);
}
END_TEST

START_TEST(test_scan_does_not_walk_a_long_string_that_drips_in)
{
    static const char head[] = "\xdb\x00\x00\xea\x60"; /* 60000 bytes */
    struct scan scan;

    put(0, head, 5);
    scan_init(&scan);
    for (size_t size = 1; size < 60005; size++) {
        ck_assert_int_eq(scan_continue(&scan, filled, size), SCAN_MORE);
        ck_assert_uint_eq(scan.position, 0);
    }
    ck_assert_int_eq(scan_continue(&scan, filled, 60005), SCAN_DONE);
}
END_TEST

/* ---- Every first byte ------------------------------------------------------------------------ */

/* By the MessagePack specification: what one byte alone is. */
static enum scan_result expected_of_byte(unsigned byte)
{
    if (byte <= 0x80 || byte == 0x90 || byte == 0xa0 || byte >= 0xe0)
        return SCAN_DONE;
    if (byte == 0xc0 || byte == 0xc2 || byte == 0xc3)
        return SCAN_DONE;
    if (byte == 0xc1 || (byte >= 0xc7 && byte <= 0xc9) || (byte >= 0xd4 && byte <= 0xd8))
        return SCAN_BAD_BYTE;
    return SCAN_MORE;
}

START_TEST(test_scan_judges_every_first_byte)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t message = (uint8_t)byte;
        ck_assert_msg(scan_whole(&message, 1, NULL) == expected_of_byte(byte), "0x%02x", byte);
    }
}
END_TEST

/* msgpack-c's own idea of where the value ends; 0 if it has none. */
static size_t msgpack_length(const uint8_t *message, size_t size)
{
    msgpack_zone zone;
    msgpack_object object;
    size_t offset = 0;

    ck_assert(msgpack_zone_init(&zone, 8192));
    msgpack_unpack_return result =
        msgpack_unpack((const char *)message, size, &offset, &zone, &object);
    msgpack_zone_destroy(&zone);
    return result == MSGPACK_UNPACK_SUCCESS || result == MSGPACK_UNPACK_EXTRA_BYTES ? offset : 0;
}

START_TEST(test_scan_and_msgpack_agree_on_the_length_behind_every_first_byte)
{
    int accepted = 0;

    /* Zeros behind it: lengths of 0, and enough elements for whatever fits in one byte. */
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t message[64] = {(uint8_t)byte};
        size_t length;
        if (scan_whole(message, sizeof(message), &length) != SCAN_DONE)
            continue;
        ck_assert_msg(msgpack_length(message, sizeof(message)) == length, "0x%02x", byte);
        accepted++;
    }
    /* All but 0xc1, the eight ext types, and the fifteen maps whose keys would be 0. */
    ck_assert_int_eq(accepted, 256 - 1 - 8 - 15);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------- */

START_TEST(test_scan_takes_a_message_of_the_largest_size_and_no_larger)
{
    ck_assert_int_eq(scan_filled("\xc6\x00\x00\xff\xfb", 5, 'x', 65531), SCAN_DONE);
    ck_assert_int_eq(scan_filled("\xc6\x00\x00\xff\xfc", 5, 'x', 65532), SCAN_TOO_LARGE);
    ck_assert_int_eq(scan_filled("\xdc\xff\xfd", 3, 0xc0, 65533), SCAN_DONE);
    ck_assert_int_eq(scan_filled("\xdc\xff\xfe", 3, 0xc0, 65534), SCAN_TOO_LARGE);
}
END_TEST

START_TEST(test_scan_refuses_a_message_that_outgrows_its_declaration)
{
    /* 65533 elements may follow, but the first of them takes two bytes. */
    put(0, "\xdc\xff\xfd\xcc\x01", 5);
    memset(filled + 5, 0xc0, ROOM - 5);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX - 1, NULL), SCAN_MORE);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX, NULL), SCAN_TOO_LARGE);
}
END_TEST

START_TEST(test_scan_refuses_a_large_declaration_by_its_head)
{
    ck_assert_int_eq(SCAN("\xdd\x10\x00\x00\x00"), SCAN_TOO_LARGE); /* 8 GB in msgpack-c */
    ck_assert_int_eq(SCAN("\xdd\xff\xff\xff\xff"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xdf\x10\x00\x00\x00"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xdf\x80\x00\x00\x00"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xdf\xff\xff\xff\xff"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xc6\xff\xff\xff\xff"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xdb\xff\xff\xff\xff"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xdb\x00\x01\x00\x00"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\xde\xff\xff"), SCAN_TOO_LARGE);
    ck_assert_int_eq(SCAN("\x91\x91\x91\xdd\x00\x01\x00\x00"), SCAN_TOO_LARGE);
}
END_TEST

START_TEST(test_scan_waits_for_no_byte_that_can_come_no_more)
{
    /* A string's head is the last that fits: one more byte would be too many. */
    put(0, "\x92\xc5\xff\xf8", 4);
    memset(filled + 4, 'x', 0xfff8);
    put(4 + 0xfff8, "\xda\x00\x01x", 4);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX - 2, NULL), SCAN_MORE);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX, NULL), SCAN_DONE);
    put(4 + 0xfff8, "\xda\x00\x02xx", 5);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX - 1, NULL), SCAN_TOO_LARGE);
    put(4 + 0xfff8, "\xdb\x00\x00\x00", 4);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX - 1, NULL), SCAN_MORE);
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX, NULL), SCAN_TOO_LARGE);
}
END_TEST

START_TEST(test_scan_counts_what_can_follow_from_where_it_is)
{
    /* A string of 60000 bytes, then an array of what is left: 65536 - 1 - 60003 - 3 = 5529. */
    put(0, "\x92\xda\xea\x60", 4);
    memset(filled + 4, 'x', 60000);
    put(60004, "\xdc\x15\x99", 3);
    ck_assert_int_eq(scan_whole(filled, 60007, NULL), SCAN_MORE);
    put(60004, "\xdc\x15\x9a", 3);
    ck_assert_int_eq(scan_whole(filled, 60007, NULL), SCAN_TOO_LARGE);
}
END_TEST

/* `depth` containers inside each other, all arrays, or all maps. */
static enum scan_result scan_nest(size_t depth, const char *opening, size_t size)
{
    for (size_t i = 0; i < depth; i++)
        put(i * size, opening, size);
    filled[depth * size] = 0xc0;
    return scan_whole(filled, depth * size + 1, NULL);
}

START_TEST(test_scan_takes_eight_levels_and_no_more)
{
    ck_assert_int_eq(scan_nest(SCAN_DEPTH_MAX, "\x91", 1), SCAN_DONE);
    ck_assert_int_eq(scan_nest(SCAN_DEPTH_MAX + 1, "\x91", 1), SCAN_TOO_DEEP);
    ck_assert_int_eq(scan_nest(SCAN_DEPTH_MAX, "\x81\xa1k", 3), SCAN_DONE);
    ck_assert_int_eq(scan_nest(SCAN_DEPTH_MAX + 1, "\x81\xa1k", 3), SCAN_TOO_DEEP);
    ck_assert_int_eq(scan_nest(60000, "\x91", 1), SCAN_TOO_DEEP);
    ck_assert_int_eq(scan_nest(20000, "\x81\xa1k", 3), SCAN_TOO_DEEP);
}
END_TEST

START_TEST(test_scan_counts_an_empty_container_as_a_level)
{
    ck_assert_int_eq(SCAN("\x91\x91\x91\x91\x91\x91\x91\x90"), SCAN_DONE);
    ck_assert_int_eq(SCAN("\x91\x91\x91\x91\x91\x91\x91\x91\x90"), SCAN_TOO_DEEP);
    ck_assert_int_eq(SCAN("\x91\x91\x91\x91\x91\x91\x91\x91\x80"), SCAN_TOO_DEEP);
}
END_TEST

START_TEST(test_scan_takes_neighbours_of_a_deep_nest)
{
    /* Levels that were left are free again. */
    ck_assert_int_eq(SCAN("\x93\x91\x91\x91\x91\x91\x91\xc0\x91\x91\x91\x91\x91\x91\xc0\x91\x91\x91"
                          "\x91\x91\x91\xc0"),
                     SCAN_DONE);
}
END_TEST

/* A map of so many keys, all of three letters, and different. */
static enum scan_result scan_map(unsigned entries)
{
    size_t size = 3;

    put(0, (uint8_t[]){0xde, (uint8_t)(entries >> 8), (uint8_t)entries}, 3);
    for (unsigned i = 0; i < entries; i++) {
        snprintf((char *)filled + size, 5, "\xa3%03u", i % 1000);
        filled[size + 4] = 0xc0;
        size += 5;
    }
    return scan_whole(filled, size, NULL);
}

START_TEST(test_scan_takes_maps_of_thirtytwo_entries_and_no_more)
{
    ck_assert_int_eq(scan_map(SCAN_MAP_MAX), SCAN_DONE);
    ck_assert_int_eq(scan_map(SCAN_MAP_MAX + 1), SCAN_TOO_MANY_KEYS);
    ck_assert_int_eq(scan_map(1000), SCAN_TOO_MANY_KEYS);
}
END_TEST

START_TEST(test_scan_takes_keys_of_255_bytes_and_no_longer)
{
    ck_assert_int_eq(scan_filled("\x81\xd9\xff", 3, 'k', 256),
                     SCAN_DONE); /* the last is the value */
    ck_assert_int_eq(scan_filled("\x81\xda\x01\x00", 4, 'k', 257), SCAN_BAD_KEY);
}
END_TEST

/* ---- Keys ------------------------------------------------------------------------------------ */

START_TEST(test_scan_refuses_keys_that_are_no_strings)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t message[300] = {0x81, (uint8_t)byte};
        bool is_string = (byte >= 0xa0 && byte <= 0xbf) || (byte >= 0xd9 && byte <= 0xdb);
        bool is_bad = expected_of_byte(byte) == SCAN_BAD_BYTE;
        enum scan_result expected = is_string ? SCAN_DONE : is_bad ? SCAN_BAD_BYTE : SCAN_BAD_KEY;
        ck_assert_msg(scan_whole(message, sizeof(message), NULL) == expected, "0x%02x", byte);
    }
}
END_TEST

START_TEST(test_scan_refuses_a_duplicate_key)
{
    ck_assert_int_eq(SCAN("\x82\xa0\xc0\xa0\xc0"), SCAN_DUPLICATE_KEY); /* the empty one */
    ck_assert_int_eq(SCAN("\x83\xa1x\xc0\xa1y\xc0\xa1x\xc0"), SCAN_DUPLICATE_KEY);
    ck_assert_int_eq(SCAN("\x83\xa1x\xc0\xa1y\xc0\xa1y\xc0"), SCAN_DUPLICATE_KEY);
    ck_assert_int_eq(SCAN("\x82\xa1x\x91\x81\xa1x\xc0\xa1x\xc0"), SCAN_DUPLICATE_KEY);
}
END_TEST

START_TEST(test_scan_refuses_a_duplicate_key_wherever_it_stands)
{
    static const char map[] = "\x82\xa1k\xc0\xa1k\xc0";
    static const char other[] = "\x82\xa1k\xc0\xa1l\xc0";

    for (size_t before = 0; before <= SCAN_MESSAGE_MAX - 13; before += before < 1000 ? 1 : 997) {
        put(0, (uint8_t[]){0x92, 0xc5, (uint8_t)(before >> 8), (uint8_t)before}, 4);
        put(4 + before, map, 7);
        ck_assert_int_eq(scan_whole(filled, before + 11, NULL), SCAN_DUPLICATE_KEY);
        put(4 + before, other, 7);
        ck_assert_int_eq(scan_whole(filled, before + 11, NULL), SCAN_DONE);
        memset(filled + 4 + before, 0, 7);
    }
}
END_TEST

START_TEST(test_scan_refuses_a_duplicate_key_in_any_encoding)
{
    static const char *const forms[] = {"\xa1k", "\xd9\x01k", "\xda\x00\x01k",
                                        "\xdb\x00\x00\x00\x01k"};
    static const size_t sizes[] = {2, 3, 4, 6};

    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            uint8_t message[16] = {0x82};
            memcpy(message + 1, forms[i], sizes[i]);
            memcpy(message + 2 + sizes[i], forms[j], sizes[j]);
            ck_assert_int_eq(scan_whole(message, 3 + sizes[i] + sizes[j], NULL),
                             SCAN_DUPLICATE_KEY);
        }
}
END_TEST

START_TEST(test_scan_takes_keys_that_only_begin_alike)
{
    ck_assert_int_eq(SCAN("\x83\xa1k\xc0\xa2kk\xc0\xa3kkk\xc0"), SCAN_DONE);
    ck_assert_int_eq(SCAN("\x82\xa2k\0\xc0\xa1k\xc0"), SCAN_DONE);
}
END_TEST

START_TEST(test_scan_takes_the_same_key_in_another_map)
{
    ck_assert_int_eq(SCAN("\x92\x81\xa1k\xc0\x81\xa1k\xc0"), SCAN_DONE);
    ck_assert_int_eq(SCAN("\x81\xa1k\x81\xa1k\x81\xa1k\xc0"), SCAN_DONE);
}
END_TEST

/* ---- Against msgpack-c ----------------------------------------------------------------------- */

/* splitmix64: the same numbers everywhere. */
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % limit;
}

/* A scalar, or a container with a few elements, in one of the shorter forms. Returns the end. */
static uint8_t *random_value(uint8_t *to, int depth)
{
    static const uint8_t scalars[] = {0x00, 0x7f, 0xa0, 0xc0, 0xc2, 0xcc, 0xcd, 0xce, 0xcf,
                                      0xca, 0xcb, 0xd0, 0xd1, 0xd2, 0xd3, 0xe0, 0xff, 0xc7};
    uint32_t kind = random_below(5), count = random_below(4);

    if (depth == 0 || kind < 2) {
        uint8_t scalar = scalars[random_below(sizeof(scalars) - (random_below(20) > 0))];
        *to++ = scalar;
        memset(to, 0x11, 8);
        return to + (scalar < 0xca || scalar >= 0xe0 ? 0 : 1 << scalar % 4);
    }
    if (kind == 2) { /* bytes or text, the length in one byte */
        *to++ = random_below(2) ? 0xc4 : 0xd9;
        *to++ = (uint8_t)count;
        return to + count;
    }
    *to++ = (uint8_t)((kind == 3 ? 0x90 : 0x80) + count);
    for (uint32_t i = 0; i < count; i++) {
        if (kind == 4) { /* keys: now and then the same */
            *to++ = 0xa1;
            *to++ = (uint8_t)('a' + random_below(16));
        }
        to = random_value(to, depth - 1);
    }
    return to;
}

/* Any bytes, or a value, or a value with a byte changed; and perhaps something behind it. */
static size_t random_message(uint8_t *message)
{
    uint32_t kind = random_below(3);
    size_t size = 1 + random_below(24);

    if (kind > 0) {
        memset(message, 0, 8);
        size = (size_t)(random_value(message, 4) - message) + random_below(2);
    }
    if (kind == 2)
        message[random_below((uint32_t)size)] = (uint8_t)random_below(256);
    for (size_t i = 0; kind == 0 && i < size; i++)
        message[i] = (uint8_t)random_below(256);
    return size;
}

START_TEST(test_scan_and_msgpack_agree_on_random_bytes)
{
    const char *chosen = getenv("FASTALLOC_SEED");
    uint64_t seed = chosen ? strtoull(chosen, NULL, 0) : 1;
    unsigned accepted = 0, containers = 0;

    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
    for (int i = 0; i < 200000; i++) {
        static uint8_t message[4096];
        size_t size = random_message(message), length, split;
        enum scan_result result = scan_whole(message, size, &length);
        ck_assert_int_eq(scan_in_two(message, size, random_below((uint32_t)size + 1), &split),
                         result);
        ck_assert_int_eq(scan_byte_by_byte(message, size, &split), result);
        if (result != SCAN_DONE)
            continue;
        ck_assert_msg(msgpack_length(message, size) == length, "message %d", i);
        ck_assert_uint_eq(split, length);
        accepted++;
        containers += length >= 10;
    }
    /* The generator is good for something. */
    ck_assert_uint_gt(accepted, 50000);
    ck_assert_uint_gt(containers, 15000);
}
END_TEST

START_TEST(test_scan_lets_the_largest_arrays_reach_msgpack)
{
    scan_filled("\xdc\xff\xfd", 3, 0xc0, 65533);
    ck_assert_uint_eq(msgpack_length(filled, 65536), 65536);
    /* Eight levels of arrays, each with as much as it may declare. */
    memset(filled, 0xc0, SCAN_MESSAGE_MAX);
    for (size_t i = 0; i < 8; i++)
        put(3 * i, "\xdc\x1f\xfc", 3);
    size_t length;
    ck_assert_int_eq(scan_whole(filled, SCAN_MESSAGE_MAX, &length), SCAN_DONE);
    ck_assert_uint_eq(msgpack_length(filled, SCAN_MESSAGE_MAX), length);
}
END_TEST

/* ---- Texts ----------------------------------------------------------------------------------- */

static void check_text(enum scan_result result, unsigned limit)
{
    char number[16];

    snprintf(number, sizeof(number), " %u ", limit);
    ck_assert_msg(strstr(scan_result_text(result), number) != NULL, "%s", scan_result_text(result));
}

START_TEST(test_scan_texts_name_the_limits)
{
    check_text(SCAN_TOO_LARGE, SCAN_MESSAGE_MAX);
    check_text(SCAN_TOO_DEEP, SCAN_DEPTH_MAX);
    check_text(SCAN_TOO_MANY_KEYS, SCAN_MAP_MAX);
    check_text(SCAN_BAD_KEY, UINT8_MAX);
}
END_TEST

START_TEST(test_scan_has_another_text_for_each_result)
{
    for (int i = SCAN_MORE; i <= SCAN_DUPLICATE_KEY; i++)
        for (int j = i + 1; j <= SCAN_DUPLICATE_KEY + 1; j++)
            ck_assert_str_ne(scan_result_text((enum scan_result)i),
                             scan_result_text((enum scan_result)j));
}
END_TEST

SUITE_MAIN_WITH(
    "scan", map_guard, NULL, test_scan_judges_whole_messages,
    test_scan_wants_more_until_the_last_byte, test_scan_judges_alike_however_the_bytes_are_split,
    test_scan_stops_at_the_end_of_the_first_of_several_messages, test_scan_looks_at_each_byte_once,
    test_scan_does_not_walk_a_long_string_that_drips_in, test_scan_judges_every_first_byte,
    test_scan_and_msgpack_agree_on_the_length_behind_every_first_byte,
    test_scan_takes_a_message_of_the_largest_size_and_no_larger,
    test_scan_refuses_a_message_that_outgrows_its_declaration,
    test_scan_refuses_a_large_declaration_by_its_head,
    test_scan_waits_for_no_byte_that_can_come_no_more,
    test_scan_counts_what_can_follow_from_where_it_is, test_scan_takes_eight_levels_and_no_more,
    test_scan_counts_an_empty_container_as_a_level, test_scan_takes_neighbours_of_a_deep_nest,
    test_scan_takes_maps_of_thirtytwo_entries_and_no_more,
    test_scan_takes_keys_of_255_bytes_and_no_longer, test_scan_refuses_keys_that_are_no_strings,
    test_scan_refuses_a_duplicate_key, test_scan_refuses_a_duplicate_key_wherever_it_stands,
    test_scan_refuses_a_duplicate_key_in_any_encoding, test_scan_takes_keys_that_only_begin_alike,
    test_scan_takes_the_same_key_in_another_map, test_scan_and_msgpack_agree_on_random_bytes,
    test_scan_lets_the_largest_arrays_reach_msgpack, test_scan_texts_name_the_limits,
    test_scan_has_another_text_for_each_result)
