/* SPDX-License-Identifier: MIT */
#include "daemon/pool_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"

#define ALIGNMENT_ABOVE UINT32_C(8192)
#define CAPACITY 100u
#define MAX 1000u

static uint8_t content[PROTOCOL_TEMPLATE_MAX + 1];
static struct pool_config config;
static struct pool_plan plan;
static struct error error;

static void set_up(void)
{
    config = (struct pool_config){
        .name = "frames", .type = "frame", .object_size = 40, .capacity = CAPACITY};
}

static bool accepts(void)
{
    memset(&error, 0, sizeof(error));
    memset(&plan, 0xa5, sizeof(plan));
    return pool_config_check(&config, &plan, &error);
}

static void check_accepted(void)
{
    ck_assert_msg(accepts(), "%s", error.message);
}

/* Refused with this code; the line names the pool and says each of these. */
static void check_refused(enum error_code code, const char *value, const char *allowed)
{
    ck_assert(!accepts());
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, "'frames'") && strstr(error.message, value) &&
                      strstr(error.message, allowed),
                  "%s", error.message);
}

static void check_field(const char *field, const char *value, const char *allowed)
{
    check_refused(ERROR_INVALID_ARGUMENT, value, allowed);
    ck_assert_str_eq(error.field, field);
    ck_assert_ptr_nonnull(strstr(error.message, field));
}

/* ---- Geometry -------------------------------------------------------------------------------- */

START_TEST(test_config_limits_the_object_size)
{
    config.capacity = 1;
    config.object_size = 1;
    check_accepted();
    config.object_size = GEOMETRY_OBJECT_MAX;
    check_accepted();
    config.object_size = 0;
    check_refused(ERROR_INVALID_OBJECT_SIZE, " 0 bytes", "1 to 4294967296");
    config.object_size = GEOMETRY_OBJECT_MAX + 1;
    check_refused(ERROR_INVALID_OBJECT_SIZE, "4294967297", "1 to 4294967296");
    ck_assert_uint_eq(error.requested, GEOMETRY_OBJECT_MAX + 1);
    ck_assert_uint_eq(error.max, GEOMETRY_OBJECT_MAX);
    config.object_size = UINT64_MAX;
    check_refused(ERROR_INVALID_OBJECT_SIZE, "18446744073709551615", "1 to 4294967296");
}
END_TEST

START_TEST(test_config_limits_the_alignment)
{
    config.alignment = 1;
    check_accepted();
    ck_assert_uint_eq(GEOMETRY_ALIGNMENT_MAX, ALIGNMENT_ABOVE / 2);
    config.alignment = GEOMETRY_ALIGNMENT_MAX;
    check_accepted();
    config.alignment = ALIGNMENT_ABOVE;
    check_refused(ERROR_INVALID_ALIGNMENT, "8192", "up to 4096");
    ck_assert_uint_eq(error.alignment, ALIGNMENT_ABOVE);
    ck_assert_uint_eq(error.max, GEOMETRY_ALIGNMENT_MAX);
    config.alignment = 24;
    check_refused(ERROR_INVALID_ALIGNMENT, "24", "power of two");
    ck_assert_uint_eq(error.alignment, 24);
}
END_TEST

START_TEST(test_config_limits_the_capacity)
{
    config.object_size = 1;
    config.capacity = 1;
    check_accepted();
    config.capacity = GEOMETRY_CAPACITY_MAX;
    check_accepted();
    ck_assert_uint_eq(plan.capacity, GEOMETRY_CAPACITY_MAX);
    config.capacity = GEOMETRY_CAPACITY_MAX + 1;
    check_refused(ERROR_INVALID_CAPACITY, "1073741825", "1 to 1073741824");
    ck_assert_uint_eq(error.capacity, GEOMETRY_CAPACITY_MAX + 1);
    ck_assert_uint_eq(error.max, GEOMETRY_CAPACITY_MAX);
    config.capacity = 0;
    check_refused(ERROR_INVALID_CAPACITY, " 0 slots", "1 to 1073741824");
}
END_TEST

START_TEST(test_config_never_cuts_a_capacity_short)
{
    static const uint64_t wrong[] = {(UINT64_C(1) << 32) + 1, UINT64_MAX};
    config.object_size = 1;
    for (int i = 0; i < 2; i++) {
        config.capacity = wrong[i];
        check_refused(ERROR_INVALID_CAPACITY, "slots of 1 byte is", "1073741824");
        ck_assert_uint_eq(error.capacity, wrong[i]);
        config.capacity = 1;
        config.capacity_max = wrong[i];
        check_refused(ERROR_INVALID_CAPACITY, "maximum capacity", "1073741824");
        ck_assert_uint_eq(error.capacity, wrong[i]);
        config.capacity_max = 0;
    }
}
END_TEST

START_TEST(test_config_limits_the_address_space)
{
    uint64_t most = GEOMETRY_DATA_MAX / GEOMETRY_OBJECT_MAX;
    config.object_size = GEOMETRY_OBJECT_MAX;
    config.capacity = most;
    check_accepted();
    config.capacity = most + 1;
    check_refused(ERROR_INVALID_CAPACITY, "257", "1 to 256");
    ck_assert_uint_eq(error.max, most);
    config.capacity = 1;
    config.capacity_max = most + 1;
    check_refused(ERROR_INVALID_CAPACITY, "257", "1 to 256");
}
END_TEST

START_TEST(test_config_maximum_is_the_capacity_if_none_is_given)
{
    check_accepted();
    ck_assert_uint_eq(plan.capacity, CAPACITY);
    ck_assert_uint_eq(plan.capacity_max, CAPACITY);
    ck_assert_uint_eq(plan.geometry.reserve, UINT64_C(4) * CAPACITY);
    ck_assert_int_eq(plan.growth.kind, GROWTH_NONE);
    ck_assert_int_eq(plan.watermark.kind, WATERMARK_SHARE);
    ck_assert_uint_eq(plan.watermark.level, 90);
}
END_TEST

START_TEST(test_config_maximum_is_no_less_than_the_capacity)
{
    config.capacity_max = CAPACITY;
    check_accepted();
    config.capacity_max = CAPACITY - 1;
    check_refused(ERROR_INVALID_CAPACITY, "maximum capacity of 99 slots", "100 to ");
    ck_assert_uint_eq(error.capacity, CAPACITY - 1);
    config.capacity_max = MAX;
    check_accepted();
    ck_assert_uint_eq(plan.capacity, CAPACITY);
    ck_assert_uint_eq(plan.capacity_max, MAX);
    ck_assert_uint_eq(plan.geometry.reserve, UINT64_C(4) * MAX);
}
END_TEST

/* ---- Policies -------------------------------------------------------------------------------- */

START_TEST(test_config_takes_growth_with_a_maximum)
{
    config.capacity_max = MAX;
    config.growth = "linear:10";
    check_accepted();
    ck_assert_int_eq(plan.growth.kind, GROWTH_LINEAR);
    ck_assert_uint_eq(plan.growth.step, 10);

    config.capacity_max = 0;
    check_field("growth", "linear:10", "capacity_max");
    config.growth = "none";
    check_accepted();
    config.growth = "";
    check_accepted();
}
END_TEST

START_TEST(test_config_names_what_is_wrong_with_growth_and_watermark)
{
    config.capacity_max = MAX;
    config.growth = "fast";
    check_field("growth", "'fast'", "linear:SLOTS");
    config.growth = NULL;
    config.watermark = "101%";
    check_field("watermark", "'101%'", "1% to 100%");
    config.watermark = "9999999";
    check_field("watermark", "'9999999'", "more slots than the pool ever has");
    config.watermark = "off";
    check_accepted();
    ck_assert_int_eq(plan.watermark.kind, WATERMARK_OFF);
}
END_TEST

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Accepted up to the limit; above it the field, the value and what is allowed are named. */
static void check_limit(uint64_t *number, const char *field, uint64_t max)
{
    char value[32], allowed[48];
    *number = max;
    check_accepted();
    if (max == UINT64_MAX)
        return;
    *number = max + 1;
    snprintf(value, sizeof(value), "= %" PRIu64 " ", max + 1);
    snprintf(allowed, sizeof(allowed), "choose 0 to %" PRIu64 ",", max);
    check_field(field, value, allowed);
    *number = UINT64_MAX;
    check_field(field, "= 18446744073709551615 ", allowed);
    *number = 0;
    check_accepted();
}

START_TEST(test_config_limits_what_is_reserved_together)
{
    config.capacity_max = MAX;
    check_limit(&config.reserve_critical, "reserve_critical", MAX);
    check_limit(&config.reserve_normal, "reserve_normal", MAX);
    config.reserve_critical = 300;
    check_limit(&config.reserve_normal, "reserve_normal", MAX - 300);
    config.reserve_critical = MAX;
    check_limit(&config.reserve_normal, "reserve_normal", 0);
    config.reserve_critical = UINT64_MAX; /* of which the other leaves nothing */
    config.reserve_normal = 1;
    check_field("reserve_critical", "18446744073709551615", "choose 0 to 1000,");
}
END_TEST

START_TEST(test_config_limits_every_number)
{
    config.capacity_max = MAX;
    check_limit(&config.grow_ahead, "grow_ahead", MAX);
    check_limit(&config.session_slots, "session_slots", UINT32_MAX);
    check_limit(&config.user_slots, "user_slots", UINT32_MAX);
    check_limit(&config.hold_limit, "hold_limit", INT64_MAX);
    check_limit(&config.trim_after, "trim_after", INT64_MAX);
}
END_TEST

START_TEST(test_config_limits_the_template_to_an_object)
{
    config.content = (struct bytes){content, 40};
    check_accepted();
    config.content.size = 41;
    check_field("template", "= 41 ", "choose 0 to 40,");
    config.object_size = PROTOCOL_TEMPLATE_MAX + 1;
    config.content.size = PROTOCOL_TEMPLATE_MAX;
    check_accepted();
    config.content.size = PROTOCOL_TEMPLATE_MAX + 1;
    check_field("template", "= 32769 ", "choose 0 to 32768,");
}
END_TEST

/* ---- Comparison ------------------------------------------------------------------------------ */

static const uint8_t bytes[] = {1, 2, 3, 4};
static struct layout_ctl ctl;

static void fill_ctl(void)
{
    ctl = (struct layout_ctl){
        .object_size = 40,
        .alignment = 16,
        .capacity = 150, /* it grew */
        .capacity_max = MAX,
        .mode = 0640,
        .flags = LAYOUT_OWNER_FREES | LAYOUT_ZERO_FREE | LAYOUT_LOCK,
        .name = "frames",
        .type = "frame",
        .policy = {.growth = "exponential:1.5",
                   .watermark = "10",
                   .capacity_first = CAPACITY,
                   .reserve_critical = 1,
                   .reserve_normal = 2,
                   .grow_ahead = 3,
                   .session_slots = 4,
                   .user_slots = 5,
                   .template_size = sizeof(bytes),
                   .hold_limit = 6,
                   .trim_after = 7},
    };
}

static bool matches(void)
{
    memset(&error, 0, sizeof(error));
    return pool_config_matches(&config, &ctl, bytes, &error);
}

static void ask_for_nothing(void)
{
    fill_ctl();
    config = (struct pool_config){.name = "frames", .type = ""};
}

static void ask_for_what_it_is(void)
{
    ask_for_nothing();
    config = (struct pool_config){
        .name = "frames",
        .type = "frame",
        .object_size = 40,
        .alignment = 16,
        .capacity = CAPACITY,
        .capacity_max = MAX,
        .mode = 0640,
        .flags = LAYOUT_OWNER_FREES | LAYOUT_ZERO_FREE | LAYOUT_LOCK,
        .growth = "exponential:1.5",
        .watermark = "10",
        .reserve_critical = 1,
        .reserve_normal = 2,
        .grow_ahead = 3,
        .session_slots = 4,
        .user_slots = 5,
        .hold_limit = 6,
        .trim_after = 7,
        .content = {bytes, sizeof(bytes)},
    };
}

static void check_differs(const char *field)
{
    ck_assert_msg(!matches(), "%s", field);
    ck_assert_int_eq(error.code, ERROR_CONFIG_MISMATCH);
    ck_assert_str_eq(error.field, field);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_msg(strstr(error.message, field) && strstr(error.message, "'frames'"), "%s",
                  error.message);
}

START_TEST(test_config_matches_what_it_is_and_whatever_is_not_asked)
{
    ask_for_nothing();
    ck_assert(matches());
    ask_for_what_it_is();
    ck_assert_msg(matches(), "%s", error.message);
    config.growth = config.watermark = "";
    config.flags = LAYOUT_LOCK; /* some of them */
    ck_assert_msg(matches(), "%s", error.message);
}
END_TEST

START_TEST(test_config_names_a_size_alignment_or_type_that_differs)
{
    ask_for_nothing();
    config.object_size = 41;
    ck_assert(!matches());
    ck_assert_int_eq(error.code, ERROR_OBJECT_SIZE_MISMATCH);
    ck_assert_uint_eq(error.requested, 41);
    ck_assert_uint_eq(error.actual, 40);
    ck_assert_str_eq(error.pool, "frames");
    config.object_size = 0;
    config.alignment = 32;
    ck_assert(!matches());
    ck_assert_int_eq(error.code, ERROR_ALIGNMENT_MISMATCH);
    ck_assert_uint_eq(error.requested, 32);
    ck_assert_uint_eq(error.actual, 16);
    config.alignment = 0;
    config.type = "image";
    ck_assert(!matches());
    ck_assert_int_eq(error.code, ERROR_TYPE_MISMATCH);
    ck_assert_str_eq(error.requested_type, "image");
    ck_assert_str_eq(error.actual_type, "frame");
}
END_TEST

START_TEST(test_config_names_each_number_that_differs)
{
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {
        {"capacity", offsetof(struct pool_config, capacity)},
        {"capacity_max", offsetof(struct pool_config, capacity_max)},
        {"reserve_critical", offsetof(struct pool_config, reserve_critical)},
        {"reserve_normal", offsetof(struct pool_config, reserve_normal)},
        {"grow_ahead", offsetof(struct pool_config, grow_ahead)},
        {"session_slots", offsetof(struct pool_config, session_slots)},
        {"user_slots", offsetof(struct pool_config, user_slots)},
        {"hold_limit", offsetof(struct pool_config, hold_limit)},
        {"trim_after", offsetof(struct pool_config, trim_after)},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char value[32];
        ask_for_what_it_is();
        uint64_t *number = (uint64_t *)(void *)((char *)&config + numbers[i].offset);
        snprintf(value, sizeof(value), "= %" PRIu64 ", not %" PRIu64 ";", *number, *number + 1);
        ++*number;
        check_differs(numbers[i].name);
        ck_assert_msg(strstr(error.message, value) != NULL, "%s", error.message);
        *number = UINT64_MAX;
        check_differs(numbers[i].name);
    }
    ask_for_what_it_is();
    config.mode = 0600;
    check_differs("mode");
}
END_TEST

/* It may have been raised since. */
START_TEST(test_config_matches_a_higher_maximum_capacity)
{
    ask_for_what_it_is();
    config.capacity_max = MAX - 1;
    ck_assert(matches());
    config.capacity = 150; /* what it has now, not what it was made with */
    check_differs("capacity");
}
END_TEST

START_TEST(test_config_names_each_text_that_differs)
{
    ask_for_what_it_is();
    config.growth = "exponential:1.6";
    check_differs("growth");
    ck_assert_ptr_nonnull(strstr(error.message, "'exponential:1.5', not 'exponential:1.6'"));
    config.growth = "none";
    check_differs("growth");
    config.growth = "nonsense";
    check_differs("growth");
    config.growth = NULL;
    config.watermark = "11";
    check_differs("watermark");
    config.watermark = "10%";
    check_differs("watermark");
    config.watermark = "nonsense";
    check_differs("watermark");
}
END_TEST

START_TEST(test_config_compares_texts_by_what_they_mean)
{
    ask_for_nothing();
    config.growth = "exponential:1.50";
    ck_assert(matches());
    ctl.policy.growth[0] = ctl.policy.watermark[0] = '\0';
    config.growth = "none";
    config.watermark = "90%";
    ck_assert_msg(matches(), "%s", error.message);
    config.growth = "linear:1";
    check_differs("growth");
    ck_assert_ptr_nonnull(strstr(error.message, "'none', not 'linear:1'"));
    config.growth = NULL;
    config.watermark = "off";
    check_differs("watermark");
    ck_assert_ptr_nonnull(strstr(error.message, "'90%', not 'off'"));
}
END_TEST

START_TEST(test_config_names_each_flag_that_is_missing)
{
    static const char *const names[] = {"owner_frees", "zero", "zero", "prefault", "lock", "huge"};
    static const char *const said[] = {
        "owner_frees", "zero on allocate", "zero on free", "prefault", "lock", "huge"};
    ask_for_nothing();
    for (uint32_t bit = 0; bit < 6; bit++) {
        ctl.flags = ~(1u << bit);
        config.flags = 1u << bit;
        check_differs(names[bit]);
        ck_assert_msg(strstr(error.message, said[bit]) != NULL, "%s", error.message);
        ctl.flags = 1u << bit;
        ck_assert(matches());
    }
    ck_assert_uint_eq(LAYOUT_HUGE, 1 << 5);
}
END_TEST

START_TEST(test_config_names_a_template_that_differs)
{
    static const uint8_t other[] = {1, 2, 3, 5};
    ask_for_nothing();
    config.content = (struct bytes){other, sizeof(other)};
    check_differs("template");
    config.content.size = 3;
    check_differs("template");
    ctl.policy.template_size = 3;
    ck_assert(matches());
    ctl.policy.template_size = 0;
    check_differs("template");
}
END_TEST

SUITE_MAIN_WITH(
    "pool_config", set_up, NULL, test_config_limits_the_object_size,
    test_config_limits_the_alignment, test_config_limits_the_capacity,
    test_config_never_cuts_a_capacity_short, test_config_limits_the_address_space,
    test_config_maximum_is_the_capacity_if_none_is_given,
    test_config_maximum_is_no_less_than_the_capacity, test_config_takes_growth_with_a_maximum,
    test_config_names_what_is_wrong_with_growth_and_watermark,
    test_config_limits_what_is_reserved_together, test_config_limits_every_number,
    test_config_limits_the_template_to_an_object,
    test_config_matches_what_it_is_and_whatever_is_not_asked,
    test_config_names_a_size_alignment_or_type_that_differs,
    test_config_names_each_number_that_differs, test_config_matches_a_higher_maximum_capacity,
    test_config_names_each_text_that_differs, test_config_compares_texts_by_what_they_mean,
    test_config_names_each_flag_that_is_missing, test_config_names_a_template_that_differs)
