/* SPDX-License-Identifier: MIT */
#include "daemon/watermark.h"

#include <string.h>

#include "tests/unit/suite.h"

#define SMALL 40u /* capacities gone through one by one: with margins of 1 and 2 */

static struct watermark watermark;

/* Begins anew. */
static void set(const char *text)
{
    const char *complaint = watermark_parse(&watermark, text);
    ck_assert_msg(!complaint, "'%s' %s", text, complaint);
}

static void check_refused(const char *text)
{
    struct watermark before;
    memset(&watermark, 0x5a, sizeof(watermark));
    memcpy(&before, &watermark, sizeof(watermark));
    const char *complaint = watermark_parse(&watermark, text);
    ck_assert_msg(complaint != NULL, "'%s' is taken", text);
    ck_assert_str_eq(complaint,
                     "is no level; choose 1% to 100% in use, 1 to 4294967295 slots left, or off");
    ck_assert_mem_eq(&watermark, &before, sizeof(watermark));
}

static void check(uint32_t usage, uint32_t capacity, enum watermark_change change)
{
    enum watermark_change actual = watermark_update(&watermark, usage, capacity);
    ck_assert_msg(actual == change, "%u of %u: %d, not %d", usage, capacity, actual, change);
}

/* ---- Text ------------------------------------------------------------------------------------ */

START_TEST(test_watermark_parses_a_share_from_1_to_100_percent)
{
    set("1%");
    ck_assert_int_eq(watermark.kind, WATERMARK_SHARE);
    ck_assert_uint_eq(watermark.level, 1);
    set("100%");
    ck_assert_int_eq(watermark.kind, WATERMARK_SHARE);
    ck_assert_uint_eq(watermark.level, 100);
    check_refused("0%");
    check_refused("101%");
    check_refused("4294967297%");
}
END_TEST

START_TEST(test_watermark_parses_slots_left_from_1_to_the_greatest_number)
{
    set("1");
    ck_assert_int_eq(watermark.kind, WATERMARK_LEFT);
    ck_assert_uint_eq(watermark.level, 1);
    set("4294967295");
    ck_assert_int_eq(watermark.kind, WATERMARK_LEFT);
    ck_assert_uint_eq(watermark.level, UINT32_MAX);
    check_refused("0");
    check_refused("4294967296");
    check_refused("42949672950");
    check_refused("18446744073709551617");
}
END_TEST

START_TEST(test_watermark_empty_is_the_default)
{
    set("");
    ck_assert_int_eq(watermark.kind, WATERMARK_SHARE);
    ck_assert_uint_eq(watermark.level, 90);
    ck_assert_str_eq(WATERMARK_DEFAULT, "90%");
}
END_TEST

START_TEST(test_watermark_refuses_anything_else)
{
    static const char *const texts[] = {"Off",  "off ", "none", "%",    "90 %", " 90%",  "90% ",
                                        "90%%", "+90%", "-90%", "090%", "010",  "90.5%", "0x9",
                                        "9e1",  "10 ",  " 10",  "+10",  "-10",  "10,",   "10\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused(texts[i]);
}
END_TEST

START_TEST(test_watermark_text_is_as_long_as_is_said_at_most)
{
    ck_assert_uint_eq(strlen("4294967295"), WATERMARK_TEXT_MAX);
    ck_assert_uint_lt(strlen("100%"), WATERMARK_TEXT_MAX);
}
END_TEST

/* ---- Levels ---------------------------------------------------------------------------------- */

START_TEST(test_watermark_share_is_reached_once_and_falls_once)
{
    set("90%"); /* of 160: 144, and a sixteenth is 10 */
    check(0, 160, WATERMARK_SAME);
    check(143, 160, WATERMARK_SAME);
    check(144, 160, WATERMARK_REACHED);
    check(160, 160, WATERMARK_SAME);
    check(143, 160, WATERMARK_SAME);
    check(135, 160, WATERMARK_SAME);
    check(134, 160, WATERMARK_FALLEN);
    check(143, 160, WATERMARK_SAME);
    check(144, 160, WATERMARK_REACHED);
}
END_TEST

START_TEST(test_watermark_slots_left_are_reached_once_and_fall_once)
{
    set("10"); /* of 160: from 151 on fewer are left, and a sixteenth is 10 */
    check(0, 160, WATERMARK_SAME);
    check(150, 160, WATERMARK_SAME);
    check(151, 160, WATERMARK_REACHED);
    check(160, 160, WATERMARK_SAME);
    check(142, 160, WATERMARK_SAME);
    check(141, 160, WATERMARK_FALLEN);
    check(150, 160, WATERMARK_SAME);
    check(151, 160, WATERMARK_REACHED);
}
END_TEST

START_TEST(test_watermark_off_is_never_reached)
{
    set("off");
    ck_assert_int_eq(watermark.kind, WATERMARK_OFF);
    check(100, 100, WATERMARK_SAME);
    check(0, 100, WATERMARK_SAME);
    check(UINT32_MAX, UINT32_MAX, WATERMARK_SAME);
}
END_TEST

START_TEST(test_watermark_falls_when_the_pool_grows)
{
    set("90%");
    check(90, 100, WATERMARK_REACHED);
    check(90, 105, WATERMARK_SAME); /* from 95 on, and a sixteenth is 6 */
    check(90, 106, WATERMARK_FALLEN);
    set("10");
    check(95, 100, WATERMARK_REACHED);
    check(95, 109, WATERMARK_SAME); /* from 100 on, and a sixteenth is 6 */
    check(95, 110, WATERMARK_FALLEN);
}
END_TEST

START_TEST(test_watermark_is_reached_when_the_pool_shrinks_to_its_usage)
{
    set("90%");
    check(50, 100, WATERMARK_SAME);
    check(50, 50, WATERMARK_REACHED);
    set("10");
    check(50, 100, WATERMARK_SAME);
    check(50, 59, WATERMARK_REACHED);
}
END_TEST

START_TEST(test_watermark_of_a_low_level_falls_at_no_usage)
{
    set("1%"); /* of 100: 1, where a sixteenth is 6 */
    check(0, 100, WATERMARK_SAME);
    check(1, 100, WATERMARK_REACHED);
    check(0, 100, WATERMARK_FALLEN);
    set("5%");
    check(5, 100, WATERMARK_REACHED);
    check(1, 100, WATERMARK_SAME);
    check(0, 100, WATERMARK_FALLEN);
    set("100"); /* all of them must be left */
    check(0, 100, WATERMARK_SAME);
    check(1, 100, WATERMARK_REACHED);
    check(0, 100, WATERMARK_FALLEN);
}
END_TEST

START_TEST(test_watermark_of_more_slots_than_there_are_falls_by_growth_only)
{
    set("101");
    check(0, 100, WATERMARK_REACHED);
    check(50, 100, WATERMARK_SAME);
    check(0, 100, WATERMARK_SAME);
    check(0, 101, WATERMARK_FALLEN);
    set("4294967295");
    check(0, 1, WATERMARK_REACHED);
    check(0, UINT32_MAX - 1, WATERMARK_SAME);
    check(0, UINT32_MAX, WATERMARK_FALLEN);
}
END_TEST

START_TEST(test_watermark_of_one_slot_is_reached_by_it)
{
    static const char *const texts[] = {"1%", "50%", "100%", "1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        set(texts[i]);
        check(0, 1, WATERMARK_SAME);
        check(1, 1, WATERMARK_REACHED);
        check(1, 1, WATERMARK_SAME);
        check(0, 1, WATERMARK_FALLEN);
    }
}
END_TEST

START_TEST(test_watermark_counts_to_the_end_of_the_numbers)
{
    set("100%");
    check(UINT32_MAX - 1, UINT32_MAX, WATERMARK_SAME);
    check(UINT32_MAX, UINT32_MAX, WATERMARK_REACHED);
    check(UINT32_MAX - UINT32_MAX / 16 + 1, UINT32_MAX, WATERMARK_SAME);
    check(UINT32_MAX - UINT32_MAX / 16, UINT32_MAX, WATERMARK_FALLEN);
    set("90%"); /* 3865470565.5 */
    check(UINT32_C(3865470565), UINT32_MAX, WATERMARK_SAME);
    check(UINT32_C(3865470566), UINT32_MAX, WATERMARK_REACHED);
    set("1");
    check(UINT32_MAX - 1, UINT32_MAX, WATERMARK_SAME);
    check(UINT32_MAX, UINT32_MAX, WATERMARK_REACHED);
}
END_TEST

/* ---- All small pools ------------------------------------------------------------------------- */

/* As the header has it, without a threshold. */
static bool is_reached(uint32_t usage, uint32_t capacity)
{
    if (watermark.kind == WATERMARK_SHARE)
        return usage * 100 >= watermark.level * capacity;
    return capacity - usage < watermark.level;
}

/* The level is no longer reached even with the margin on top, or the pool is empty. */
static bool is_fallen(uint32_t usage, uint32_t capacity)
{
    uint32_t margin = capacity < 16 ? 1 : capacity / 16;
    for (uint32_t more = 0; usage > 0 && more < margin; more++)
        if (usage + more > capacity || is_reached(usage + more, capacity))
            return false;
    return !is_reached(usage, capacity);
}

/* From either state to any usage. */
static void check_all_usages(void)
{
    for (uint32_t capacity = 1; capacity <= SMALL; capacity++)
        for (uint32_t usage = 0; usage <= capacity; usage++) {
            enum watermark_change to_above = WATERMARK_SAME, to_below = WATERMARK_SAME;
            if (is_reached(usage, capacity))
                to_above = WATERMARK_REACHED;
            if (is_fallen(usage, capacity))
                to_below = WATERMARK_FALLEN;
            watermark.above = false;
            if (watermark_update(&watermark, usage, capacity) != to_above ||
                watermark.above != (to_above == WATERMARK_REACHED))
                ck_abort_msg("from below, %u, %u of %u", watermark.level, usage, capacity);
            watermark.above = true;
            if (watermark_update(&watermark, usage, capacity) != to_below ||
                watermark.above != (to_below == WATERMARK_SAME))
                ck_abort_msg("from above, %u, %u of %u", watermark.level, usage, capacity);
        }
}

START_TEST(test_watermark_share_is_right_for_all_small_pools)
{
    for (uint32_t level = 1; level <= 100; level++) {
        watermark = (struct watermark){.kind = WATERMARK_SHARE, .level = level};
        check_all_usages();
    }
}
END_TEST

START_TEST(test_watermark_slots_left_are_right_for_all_small_pools)
{
    for (uint32_t level = 1; level <= SMALL + 1; level++) {
        watermark = (struct watermark){.kind = WATERMARK_LEFT, .level = level};
        check_all_usages();
    }
}
END_TEST

START_TEST(test_watermark_doesnt_warn_again_of_a_pool_that_hovers)
{
    set("90%"); /* of 32: 29, and a sixteenth is 2 */
    check(29, 32, WATERMARK_REACHED);
    for (unsigned i = 0; i < 10; i++) {
        check(28, 32, WATERMARK_SAME);
        check(29, 32, WATERMARK_SAME);
    }
    check(27, 32, WATERMARK_FALLEN);
    for (unsigned i = 0; i < 10; i++) {
        check(28, 32, WATERMARK_SAME);
        check(27, 32, WATERMARK_SAME);
    }
}
END_TEST

SUITE_MAIN("watermark", test_watermark_parses_a_share_from_1_to_100_percent,
           test_watermark_parses_slots_left_from_1_to_the_greatest_number,
           test_watermark_empty_is_the_default, test_watermark_refuses_anything_else,
           test_watermark_text_is_as_long_as_is_said_at_most,
           test_watermark_share_is_reached_once_and_falls_once,
           test_watermark_slots_left_are_reached_once_and_fall_once,
           test_watermark_off_is_never_reached, test_watermark_falls_when_the_pool_grows,
           test_watermark_is_reached_when_the_pool_shrinks_to_its_usage,
           test_watermark_of_a_low_level_falls_at_no_usage,
           test_watermark_of_more_slots_than_there_are_falls_by_growth_only,
           test_watermark_of_one_slot_is_reached_by_it,
           test_watermark_counts_to_the_end_of_the_numbers,
           test_watermark_share_is_right_for_all_small_pools,
           test_watermark_slots_left_are_right_for_all_small_pools,
           test_watermark_doesnt_warn_again_of_a_pool_that_hovers)
