/* SPDX-License-Identifier: MIT */
#include "proto/error.h"

#include <fastalloc/fastalloc.h>
#include <stdio.h>
#include <string.h>

#include "proto/envelope.h"
#include "tests/unit/suite.h"
#include "tests/unit/wire.h"

#define CODE_OF(NAME, number, fields) ERROR_##NAME,
static const enum error_code codes[] = {PROTOCOL_ERRORS(CODE_OF)};
#define CODES (sizeof(codes) / sizeof(codes[0]))

#define NAME_OF(NAME, number, fields) #NAME,
static const char *const names[] = {PROTOCOL_ERRORS(NAME_OF)};

/* Every field that struct error has, by the list of them. */
static const struct message_field all_fields[] = {
    PROTOCOL_ERROR_FIELDS(MESSAGE_FIELD, error){NULL}};
static const struct message_type all_type = MESSAGE_TYPE("error", struct error, all_fields);

static const struct message_field *find_field(const struct message_type *type, const char *name)
{
    for (size_t i = 0; i < type->field_count; i++)
        if (strcmp(type->fields[i].name, name) == 0)
            return &type->fields[i];
    return NULL;
}

/* Fills a field with its limit, or leaves it empty. */
static void fill_field(const struct message_field *field, struct error *error)
{
    char *place = (char *)error + field->offset;

    if (field->kind == FIELD_U32)
        memcpy(place, &(uint32_t){(uint32_t)field->limit}, sizeof(uint32_t));
    else if (field->kind == FIELD_U64)
        memcpy(place, &field->limit, sizeof(uint64_t));
    else
        memset(place, 'p', field->limit);
}

START_TEST(test_error_numbers_are_unique_and_not_zero)
{
    for (size_t i = 0; i < CODES; i++) {
        ck_assert_int_gt(codes[i], ERROR_NONE);
        for (size_t j = i + 1; j < CODES; j++)
            ck_assert_int_ne(codes[i], codes[j]);
    }
}
END_TEST

START_TEST(test_error_names_are_those_of_the_list)
{
    for (size_t i = 0; i < CODES; i++) {
        ck_assert_str_eq(error_name(codes[i]), names[i]);
        ck_assert_uint_le(strlen(names[i]), PROTOCOL_NAME_MAX);
    }
}
END_TEST

START_TEST(test_error_of_another_number_has_no_name_and_no_fields)
{
    static const int others[] = {0, -1, 12, 19, 27, 37, 49, 1000, 0x7fffffff};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_ptr_null(error_name((enum error_code)others[i]));
        ck_assert_ptr_null(error_detail_type((enum error_code)others[i]));
    }
}
END_TEST

START_TEST(test_error_numbers_are_those_of_the_library)
{
    /* The public header says them in its own words. */
#define CHECK_PUBLIC(NAME, number, fields)                                                         \
    ck_assert_int_eq(FASTALLOC_ERR_##NAME, -10000 - (number));
    PROTOCOL_ERRORS(CHECK_PUBLIC)
}
END_TEST

START_TEST(test_error_fields_are_all_in_the_list_of_fields)
{
    for (size_t i = 0; i < CODES; i++) {
        const struct message_type *type = error_detail_type(codes[i]);
        for (size_t j = 0; j < type->field_count; j++) {
            const struct message_field *field = find_field(&all_type, type->fields[j].name);
            ck_assert_msg(field != NULL, "%s.%s", names[i], type->fields[j].name);
            ck_assert_uint_eq(field->offset, type->fields[j].offset);
            ck_assert_int_eq(field->kind, type->fields[j].kind);
            ck_assert_uint_eq(field->limit, type->fields[j].limit);
        }
    }
}
END_TEST

START_TEST(test_error_fields_are_each_used_by_some_error)
{
    for (size_t j = 0; j < all_type.field_count; j++) {
        bool used = false;
        for (size_t i = 0; i < CODES; i++)
            used |= find_field(error_detail_type(codes[i]), all_fields[j].name) != NULL;
        ck_assert_msg(used, "%s", all_fields[j].name);
    }
}
END_TEST

START_TEST(test_error_set_clears_what_was_there)
{
    struct error error, empty;

    memset(&error, 0xff, sizeof(error));
    memset(&empty, 0, sizeof(empty));
    ck_assert_ptr_eq(error_set(&error, ERROR_TIMEOUT, "%s %d", "after", 5), &error);
    ck_assert_int_eq(error.code, ERROR_TIMEOUT);
    ck_assert_str_eq(error.message, "after 5");
    for (size_t j = 0; j < all_type.field_count; j++) {
        size_t size = all_fields[j].kind == FIELD_U32   ? sizeof(uint32_t)
                      : all_fields[j].kind == FIELD_U64 ? sizeof(uint64_t)
                                                        : all_fields[j].limit + 1;
        ck_assert_mem_eq((char *)&error + all_fields[j].offset, (char *)&empty, size);
    }
}
END_TEST

START_TEST(test_error_set_cuts_a_long_message)
{
    struct error error;

    error_set(&error, ERROR_SYSTEM, "%0*d", (int)PROTOCOL_TEXT_MAX, 0);
    ck_assert_uint_eq(strlen(error.message), PROTOCOL_TEXT_MAX);
    error_set(&error, ERROR_SYSTEM, "%0*d", (int)PROTOCOL_TEXT_MAX + 1, 0);
    ck_assert_uint_eq(strlen(error.message), PROTOCOL_TEXT_MAX);
}
END_TEST

/* The error as a client gets it, by way of its bytes. */
static bool send_error(const struct error *error, struct error *got)
{
    struct wire wire;

    wire_init(&wire);
    ck_assert_int_eq(envelope_encode_error(&wire.buffer, 7, error), 0);
    bool taken = envelope_decode_error(&wire_unpack(&wire)->via.array.ptr[2], got);
    wire_deinit(&wire);
    return taken;
}

START_TEST(test_error_set_cuts_between_characters)
{
    struct error error, got;

    /* The cut would go through a character of two, three and four bytes. */
    for (int before = 0; before < 4; before++) {
        error_set(&error, ERROR_SYSTEM, "%0*d\xf0\x9f\x99\x82", (int)PROTOCOL_TEXT_MAX - before, 0);
        ck_assert(send_error(&error, &got));
        ck_assert_str_eq(got.message, error.message);
        ck_assert_uint_eq(strlen(error.message), PROTOCOL_TEXT_MAX - (unsigned)before);
    }
    error_set(&error, ERROR_SYSTEM, "%0*d\xf0\x9f\x99\x82", (int)PROTOCOL_TEXT_MAX - 4, 0);
    ck_assert_uint_eq(strlen(error.message), PROTOCOL_TEXT_MAX);
}
END_TEST

START_TEST(test_error_round_trips_with_all_its_fields)
{
    for (size_t i = 0; i < CODES; i++) {
        const struct message_type *type = error_detail_type(codes[i]);
        struct error error, got;
        error_set(&error, codes[i], "what went wrong with %s", names[i]);
        for (size_t j = 0; j < type->field_count; j++)
            fill_field(&type->fields[j], &error);
        memset(&got, 0x5a, sizeof(got));
        ck_assert(send_error(&error, &got));
        ck_assert_int_eq(got.code, codes[i]);
        ck_assert_str_eq(got.message, error.message);
        for (size_t j = 0; j < all_type.field_count; j++) {
            size_t size = all_fields[j].kind == FIELD_U32   ? sizeof(uint32_t)
                          : all_fields[j].kind == FIELD_U64 ? sizeof(uint64_t)
                                                            : all_fields[j].limit + 1;
            ck_assert_mem_eq((char *)&got + all_fields[j].offset,
                             (char *)&error + all_fields[j].offset, size);
        }
    }
}
END_TEST

START_TEST(test_error_sends_no_field_that_is_not_its_own)
{
    struct error error, got;

    error_set(&error, ERROR_SYSTEM, "a call failed");
    error.system_error = 5;
    error.capacity = 99;
    ck_assert(send_error(&error, &got));
    ck_assert_uint_eq(got.system_error, 5);
    ck_assert_uint_eq(got.capacity, 0);
}
END_TEST

START_TEST(test_error_of_a_handle_says_where_it_stands_unless_it_is_first)
{
    const fastalloc_handle_t handle = {7, 3, 0x2c1e000000000001};
    struct error error;

    error_set_handle(&error, ERROR_WRONG_POOL, "frames", 0, handle);
    ck_assert_str_eq(error.message, "pool 'frames': handle 7:3:2c1e000000000001 belongs to another "
                                    "pool; use it there");
    error_set_handle(&error, ERROR_WRONG_POOL, "frames", 2, handle);
    ck_assert_str_eq(error.message, "pool 'frames': handle 7:3:2c1e000000000001 (number 2 of the "
                                    "request) belongs to another pool; use it there");
    ck_assert_uint_eq(error.position, 2);
}
END_TEST

SUITE_MAIN("error", test_error_numbers_are_unique_and_not_zero,
           test_error_names_are_those_of_the_list,
           test_error_of_another_number_has_no_name_and_no_fields,
           test_error_numbers_are_those_of_the_library,
           test_error_fields_are_all_in_the_list_of_fields,
           test_error_fields_are_each_used_by_some_error, test_error_set_clears_what_was_there,
           test_error_set_cuts_a_long_message, test_error_set_cuts_between_characters,
           test_error_round_trips_with_all_its_fields,
           test_error_sends_no_field_that_is_not_its_own,
           test_error_of_a_handle_says_where_it_stands_unless_it_is_first)
