/* SPDX-License-Identifier: MIT */
#include "proto/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "tests/unit/wire.h"

/* ---- Every message of the list, by its table ------------------------------------------------- */

#define TYPE_OF(name, fields) &name##_type,
static const struct message_type *const types[] = {PROTOCOL_MESSAGES(TYPE_OF)};
#define TYPES (sizeof(types) / sizeof(types[0]))

union any_message {
#define ANY_MEMBER(name, fields) struct name name;
    PROTOCOL_MESSAGES(ANY_MEMBER)
};

static uint8_t blob[PROTOCOL_HANDLES_MAX + 1];
static char text[PROTOCOL_TEXT_MAX + 2];
static union any_message elements[PROTOCOL_LIST_MAX]; /* of a list that is being encoded */

/* What a field is filled with: zero, one, or all that it can hold. */
enum filling { EMPTY, SMALL, FULL };

static void fill_message(const struct message_type *type, void *message, enum filling filling);

static struct list fill_list(const struct message_type *element, enum filling filling)
{
    size_t count = filling == EMPTY ? 0 : filling == SMALL ? 1 : PROTOCOL_LIST_MAX;

    for (size_t i = 0; i < count; i++)
        fill_message(element, (char *)elements + i * element->size, filling);
    return (struct list){elements, count};
}

static void fill_field(const struct message_field *field, void *place, enum filling filling)
{
    uint64_t number = filling == EMPTY ? 0 : filling == SMALL ? 1 : field->limit;

    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        *(uint32_t *)place = (uint32_t)number;
        break;
    case FIELD_U64:
        *(uint64_t *)place = number;
        break;
    case FIELD_I64:
        *(int64_t *)place = filling == FULL ? INT64_MIN : (int64_t)number;
        break;
    case FIELD_BOOL:
        *(bool *)place = filling != EMPTY;
        break;
    case FIELD_STR:
        memset(place, 'x', number);
        ((char *)place)[number] = '\0';
        break;
    case FIELD_BIN:
        *(struct bytes *)place = (struct bytes){blob, number};
        break;
    case FIELD_LIST:
        *(struct list *)place = fill_list(field->element, filling);
        break;
    }
}

static void fill_message(const struct message_type *type, void *message, enum filling filling)
{
    memset(message, 0, type->size);
    for (size_t i = 0; i < type->field_count; i++)
        fill_field(&type->fields[i], (char *)message + type->fields[i].offset, filling);
}

static void check_equal(const struct message_type *type, const void *sent, const void *got);

static void check_list_equal(const struct message_type *element, const struct list *sent,
                             const struct list *got)
{
    union any_message decoded;
    struct error error;

    ck_assert_uint_eq(got->count, sent->count);
    for (size_t i = 0; i < got->count; i++) {
        ck_assert(message_decode(element, (const msgpack_object *)got->items + i, true, &decoded,
                                 &error));
        check_equal(element, (const char *)sent->items + i * element->size, &decoded);
    }
}

static void check_field_equal(const struct message_field *field, const void *sent, const void *got)
{
    const struct bytes *sent_bytes = sent, *got_bytes = got;

    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        ck_assert_uint_eq(*(const uint32_t *)got, *(const uint32_t *)sent);
        break;
    case FIELD_U64:
        ck_assert_uint_eq(*(const uint64_t *)got, *(const uint64_t *)sent);
        break;
    case FIELD_I64:
        ck_assert_int_eq(*(const int64_t *)got, *(const int64_t *)sent);
        break;
    case FIELD_BOOL:
        ck_assert_int_eq(*(const bool *)got, *(const bool *)sent);
        break;
    case FIELD_STR:
        ck_assert_str_eq(got, sent);
        break;
    case FIELD_BIN:
        ck_assert_uint_eq(got_bytes->size, sent_bytes->size);
        ck_assert(sent_bytes->size == 0 ||
                  memcmp(got_bytes->data, sent_bytes->data, sent_bytes->size) == 0);
        break;
    case FIELD_LIST:
        check_list_equal(field->element, sent, got);
        break;
    }
}

static void check_equal(const struct message_type *type, const void *sent, const void *got)
{
    for (size_t i = 0; i < type->field_count; i++) {
        size_t offset = type->fields[i].offset;
        check_field_equal(&type->fields[i], (const char *)sent + offset,
                          (const char *)got + offset);
    }
}

static void check_round_trip(const struct message_type *type, enum filling filling)
{
    union any_message sent, got;
    struct error error;
    struct wire wire;

    fill_message(type, &sent, filling);
    wire_init(&wire);
    message_encode(type, &sent, &wire.packer);
    memset(&got, 0x5a, sizeof(got));
    ck_assert_msg(message_decode(type, wire_unpack(&wire), true, &got, &error), "%s: %s",
                  type->name, error.message);
    check_equal(type, &sent, &got);
    wire_deinit(&wire);
}

START_TEST(test_message_round_trips_empty_small_and_full)
{
    for (size_t i = 0; i < sizeof(blob); i++)
        blob[i] = (uint8_t)(i * 31);
    for (size_t i = 0; i < TYPES; i++)
        for (enum filling filling = EMPTY; filling <= FULL; filling++)
            check_round_trip(types[i], filling);
}
END_TEST

START_TEST(test_message_and_its_frame_fit_the_largest_message)
{
    for (size_t i = 0; i < TYPES; i++) {
        union any_message message;
        struct wire wire;
        fill_message(types[i], &message, FULL);
        wire_init(&wire);
        message_encode(types[i], &message, &wire.packer);
        /* [0, msgid, method, ...] */
        ck_assert_msg(wire.buffer.size + 8 + PROTOCOL_METHOD_MAX <= SCAN_MESSAGE_MAX, "%s: %zu",
                      types[i]->name, wire.buffer.size);
        wire_deinit(&wire);
    }
}
END_TEST

START_TEST(test_message_tables_keep_to_the_scanner)
{
    for (size_t i = 0; i < TYPES; i++) {
        ck_assert_uint_le(types[i]->field_count, SCAN_MAP_MAX);
        ck_assert_uint_le(types[i]->size, sizeof(union any_message));
        for (size_t j = 0; j < types[i]->field_count; j++) {
            const struct message_field *field = &types[i]->fields[j];
            ck_assert_uint_eq(strlen(field->name), field->name_length);
            ck_assert_uint_le(field->name_length, PROTOCOL_NAME_MAX);
            ck_assert(field->kind != FIELD_U32 || field->limit <= UINT32_MAX);
            ck_assert_uint_lt(field->offset, types[i]->size);
        }
    }
}
END_TEST

START_TEST(test_message_encode_leaves_out_optional_fields_that_are_empty)
{
    for (size_t i = 0; i < TYPES; i++) {
        union any_message message;
        struct wire wire;
        size_t required = 0;
        for (size_t j = 0; j < types[i]->field_count; j++)
            required += types[i]->fields[j].required;
        fill_message(types[i], &message, EMPTY);
        wire_init(&wire);
        message_encode(types[i], &message, &wire.packer);
        ck_assert_uint_eq(wire_unpack(&wire)->via.map.size, required);
        wire_deinit(&wire);
    }
}
END_TEST

/* ---- Refusals, field by field ---------------------------------------------------------------- */

/* A value for a field, that it may take or not. */
static void pack_nil(struct wire *wire, uint64_t number)
{
    msgpack_pack_nil(&wire->packer);
}

static void pack_unsigned(struct wire *wire, uint64_t number)
{
    msgpack_pack_uint64(&wire->packer, number);
}

static void pack_negative(struct wire *wire, uint64_t number)
{
    msgpack_pack_int64(&wire->packer, (int64_t)(0 - number));
}

static void pack_float(struct wire *wire, uint64_t number)
{
    msgpack_pack_double(&wire->packer, (double)number);
}

static void pack_bool(struct wire *wire, uint64_t number)
{
    msgpack_pack_true(&wire->packer);
}

static void pack_string(struct wire *wire, uint64_t length)
{
    memset(text, 'y', sizeof(text));
    msgpack_pack_str_with_body(&wire->packer, text, length);
}

static void pack_control(struct wire *wire, uint64_t length)
{
    wire_pack_text(wire, "a\x1b");
}

static void pack_not_utf8(struct wire *wire, uint64_t length)
{
    wire_pack_text(wire, "a\xff");
}

static void pack_bytes(struct wire *wire, uint64_t size)
{
    msgpack_pack_bin_with_body(&wire->packer, blob, size);
}

static void pack_array(struct wire *wire, uint64_t count)
{
    msgpack_pack_array(&wire->packer, count);
    for (uint64_t i = 0; i < count; i++)
        msgpack_pack_nil(&wire->packer);
}

static void pack_map(struct wire *wire, uint64_t count)
{
    msgpack_pack_map(&wire->packer, 0);
}

struct attempt {
    void (*pack)(struct wire *wire, uint64_t number);
    uint64_t number;
};

/*
 * Decodes the message with every field as it should be, but the one at `position`, which is as the
 * attempt says, or is left out if that is NULL.
 */
static bool decode_with(const struct message_type *type, size_t position,
                        const struct attempt *attempt, struct error *error)
{
    union any_message message, decoded;
    struct wire wire;

    fill_message(type, &message, SMALL);
    wire_init(&wire);
    msgpack_pack_map(&wire.packer, type->field_count - (attempt == NULL));
    for (size_t i = 0; i < type->field_count; i++) {
        if (i == position && !attempt)
            continue;
        wire_pack_text(&wire, type->fields[i].name);
        if (i == position) {
            attempt->pack(&wire, attempt->number);
            continue;
        }
        /* One field of the message alone, without the head of its map and its name. */
        struct message_type single = {type->name, type->size, &type->fields[i], 1};
        struct wire part;
        wire_init(&part);
        message_encode(&single, &message, &part.packer);
        size_t head = 2 + (size_t)type->fields[i].name_length;
        msgpack_sbuffer_write(&wire.buffer, part.buffer.data + head, part.buffer.size - head);
        wire_deinit(&part);
    }
    bool taken = message_decode(type, wire_unpack(&wire), true, &decoded, error);
    wire_deinit(&wire);
    return taken;
}

static void check_taken(const struct message_type *type, size_t position, struct attempt attempt)
{
    struct error error;
    bool taken = decode_with(type, position, &attempt, &error);
    ck_assert_msg(taken, "%s.%s: %s", type->name, type->fields[position].name, error.message);
}

static void check_refused(const struct message_type *type, size_t position,
                          const struct attempt *attempt)
{
    const char *name = type->fields[position].name;
    struct error error;

    ck_assert_msg(!decode_with(type, position, attempt, &error), "%s.%s", type->name, name);
    ck_assert_int_eq(error.code, ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, name);
    ck_assert_msg(strstr(error.message, name) != NULL, "'%s' in '%s'", name, error.message);
}

/* Each type of value once; which of them a field takes is `taken`, a bit for each. */
static void check_types(const struct message_type *type, size_t position, unsigned taken)
{
    static const struct attempt attempts[] = {
        {pack_nil, 0},    {pack_unsigned, 1}, {pack_negative, 1}, {pack_float, 1}, {pack_bool, 1},
        {pack_string, 1}, {pack_bytes, 1},    {pack_array, 0},    {pack_map, 0},
    };

    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
        if (taken >> i & 1)
            check_taken(type, position, attempts[i]);
        else
            check_refused(type, position, &attempts[i]);
}

static void check_limit(const struct message_type *type, size_t position, struct attempt attempt)
{
    attempt.number = type->fields[position].limit;
    check_taken(type, position, attempt);
    if (attempt.number == UINT64_MAX)
        return;
    attempt.number++;
    check_refused(type, position, &attempt);
}

static void check_text(const struct message_type *type, size_t position)
{
    check_limit(type, position, (struct attempt){pack_string, 0});
    check_taken(type, position, (struct attempt){pack_string, 0});
    check_refused(type, position, &(struct attempt){pack_control, 0});
    check_refused(type, position, &(struct attempt){pack_not_utf8, 0});
}

static void check_signed(const struct message_type *type, size_t position)
{
    check_taken(type, position, (struct attempt){pack_negative, UINT64_C(1) << 63});
    check_taken(type, position, (struct attempt){pack_unsigned, INT64_MAX});
    check_refused(type, position, &(struct attempt){pack_unsigned, (uint64_t)INT64_MAX + 1});
}

static void check_field(const struct message_type *type, size_t position)
{
    switch ((enum field_kind)type->fields[position].kind) {
    case FIELD_U32:
    case FIELD_U64:
        check_types(type, position, 1u << 1);
        check_limit(type, position, (struct attempt){pack_unsigned, 0});
        break;
    case FIELD_I64:
        check_types(type, position, 1u << 1 | 1u << 2);
        check_signed(type, position);
        break;
    case FIELD_BOOL:
        check_types(type, position, 1u << 4);
        break;
    case FIELD_STR:
        check_types(type, position, 1u << 5);
        check_text(type, position);
        break;
    case FIELD_BIN:
        check_types(type, position, 1u << 6);
        check_limit(type, position, (struct attempt){pack_bytes, 0});
        break;
    case FIELD_LIST:
        check_types(type, position, 1u << 7);
        check_limit(type, position, (struct attempt){pack_array, 0});
        break;
    }
}

START_TEST(test_message_fields_take_their_type_up_to_the_limit_and_nothing_else)
{
    for (size_t i = 0; i < TYPES; i++)
        for (size_t j = 0; j < types[i]->field_count; j++)
            check_field(types[i], j);
}
END_TEST

START_TEST(test_message_needs_its_required_fields_and_no_others)
{
    struct error error;

    for (size_t i = 0; i < TYPES; i++)
        for (size_t j = 0; j < types[i]->field_count; j++)
            if (types[i]->fields[j].required)
                check_refused(types[i], j, NULL);
            else
                ck_assert(decode_with(types[i], j, NULL, &error));
}
END_TEST

/* ---- Unknown fields, other shapes ------------------------------------------------------------ */

static bool decode_ping_with(const char *key, size_t length, bool strict, struct error *error)
{
    struct ping_request decoded;
    struct wire wire;

    wire_init(&wire);
    msgpack_pack_map(&wire.packer, 1);
    msgpack_pack_str_with_body(&wire.packer, key, length);
    msgpack_pack_nil(&wire.packer);
    bool taken = message_decode(&ping_request_type, wire_unpack(&wire), strict, &decoded, error);
    wire_deinit(&wire);
    return taken;
}

START_TEST(test_message_refuses_an_unknown_field_of_a_request)
{
    struct error error;

    ck_assert(!decode_ping_with("timeuot", 7, true, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "timeuot");
    ck_assert_str_eq(error.message, "ping_request has no field 'timeuot'");
}
END_TEST

START_TEST(test_message_passes_over_an_unknown_field_of_a_reply)
{
    struct error error;
    ck_assert(decode_ping_with("from_the_future", 15, false, &error));
}
END_TEST

START_TEST(test_message_names_no_unknown_field_that_is_no_text)
{
    struct error error;

    ck_assert(!decode_ping_with("\x1b[31m", 5, true, &error));
    ck_assert_str_eq(error.field, "");
    ck_assert_str_eq(error.message, "ping_request has no field '?'");
    ck_assert(!decode_ping_with("", 0, true, &error));
    ck_assert_str_eq(error.field, "");
}
END_TEST

START_TEST(test_message_cuts_the_name_of_an_unknown_field)
{
    char key[255];
    struct error error;

    memset(key, 'k', sizeof(key));
    ck_assert(!decode_ping_with(key, sizeof(key), true, &error));
    ck_assert_uint_eq(strlen(error.field), PROTOCOL_NAME_MAX);
}
END_TEST

START_TEST(test_message_that_is_no_map_is_refused)
{
    static const struct attempt attempts[] = {
        {pack_nil, 0}, {pack_unsigned, 1}, {pack_string, 0}, {pack_bytes, 0}, {pack_array, 0}};

    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        struct ping_request decoded;
        struct error error;
        struct wire wire;
        wire_init(&wire);
        attempts[i].pack(&wire, attempts[i].number);
        ck_assert(!message_decode(&ping_request_type, wire_unpack(&wire), false, &decoded, &error));
        ck_assert_int_eq(error.code, ERROR_INVALID_ARGUMENT);
        wire_deinit(&wire);
    }
}
END_TEST

START_TEST(test_message_decode_clears_what_is_not_sent)
{
    struct allocate_request decoded;
    struct error error;
    struct wire wire;

    wire_init(&wire);
    message_encode(&allocate_request_type, &(struct allocate_request){.pool = 3, .request = 4},
                   &wire.packer);
    memset(&decoded, 0xff, sizeof(decoded));
    ck_assert(message_decode(&allocate_request_type, wire_unpack(&wire), true, &decoded, &error));
    ck_assert_uint_eq(decoded.pool, 3);
    ck_assert_uint_eq(decoded.request, 4);
    ck_assert_uint_eq(decoded.count, 0);
    ck_assert_int_eq(decoded.timeout, 0);
    wire_deinit(&wire);
}
END_TEST

/* ---- Methods --------------------------------------------------------------------------------- */

START_TEST(test_method_is_found_by_its_name)
{
    for (enum method method = 0; method < METHOD_COUNT; method++) {
        const char *name = method_table[method].name;
        ck_assert_int_eq(method_find(name, strlen(name)), method);
        ck_assert_uint_le(strlen(name), PROTOCOL_METHOD_MAX);
    }
}
END_TEST

START_TEST(test_method_of_another_name_is_not_found)
{
    static const char *const names[] = {"",      "hell",       "hello ",      "Hello", "pool",
                                        "pool.", "pool.creat", "pool_create", "error", "frees"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ck_assert_int_eq(method_find(names[i], strlen(names[i])), METHOD_COUNT);
    ck_assert_int_eq(method_find("hello", 6), METHOD_COUNT); /* with its NUL */
}
END_TEST

SUITE_MAIN("message", test_message_round_trips_empty_small_and_full,
           test_message_and_its_frame_fit_the_largest_message,
           test_message_tables_keep_to_the_scanner,
           test_message_encode_leaves_out_optional_fields_that_are_empty,
           test_message_fields_take_their_type_up_to_the_limit_and_nothing_else,
           test_message_needs_its_required_fields_and_no_others,
           test_message_refuses_an_unknown_field_of_a_request,
           test_message_passes_over_an_unknown_field_of_a_reply,
           test_message_names_no_unknown_field_that_is_no_text,
           test_message_cuts_the_name_of_an_unknown_field, test_message_that_is_no_map_is_refused,
           test_message_decode_clears_what_is_not_sent, test_method_is_found_by_its_name,
           test_method_of_another_name_is_not_found)
