/* SPDX-License-Identifier: MIT */
#include "proto/message.h"

#include <inttypes.h>
#include <string.h>

#include "proto/text.h"

/* ---- Tables ---------------------------------------------------------------------------------- */

#define MESSAGE_FIELDS_DEFINE(name, fields)                                                        \
    static const struct message_field name##_fields[] = {fields(MESSAGE_FIELD, name){NULL}};
PROTOCOL_MESSAGES(MESSAGE_FIELDS_DEFINE)

#define MESSAGE_TYPE_DEFINE(name, fields)                                                          \
    const struct message_type name##_type = MESSAGE_TYPE(#name, struct name, name##_fields);
PROTOCOL_MESSAGES(MESSAGE_TYPE_DEFINE)

#define MESSAGE_METHOD_DEFINE(NAME, name, wire)                                                    \
    {wire, sizeof(wire) - 1, &name##_request_type, &name##_reply_type},
const struct method_info method_table[METHOD_COUNT] = {PROTOCOL_METHODS(MESSAGE_METHOD_DEFINE)};

enum method method_find(const char *name, size_t length)
{
    enum method method = 0;
    while (method < METHOD_COUNT && (method_table[method].name_length != length ||
                                     memcmp(method_table[method].name, name, length) != 0))
        method++;
    return method;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

static bool refuse(const struct message_field *field, struct error *error, const char *allowed)
{
    error_set(error, ERROR_INVALID_ARGUMENT, "field '%s' must be %s", field->name, allowed);
    memcpy(error->field, field->name, field->name_length);
    return false;
}

/* `got` is said if it is above the limit; else it is of another kind. */
static bool refuse_above(const struct message_field *field, const char *what, uint64_t got,
                         struct error *error)
{
    char allowed[128];
    int length = snprintf(allowed, sizeof(allowed), "%s%" PRIu64, what, field->limit);
    if (got > field->limit)
        snprintf(allowed + length, sizeof(allowed) - (size_t)length, ", not %" PRIu64, got);
    return refuse(field, error, allowed);
}

static bool refuse_number(const struct message_field *field, const msgpack_object *value,
                          struct error *error)
{
    char allowed[128];
    if (value->type != MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return refuse_above(field, "an integer from 0 to ",
                            value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? value->via.u64 : 0,
                            error);
    snprintf(allowed, sizeof(allowed), "an integer from 0 to %" PRIu64 ", not %" PRId64,
             field->limit, value->via.i64);
    return refuse(field, error, allowed);
}

static bool decode_unsigned(const struct message_field *field, const msgpack_object *value,
                            void *place, struct error *error)
{
    if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 > field->limit)
        return refuse_number(field, value, error);
    if (field->kind == FIELD_U32)
        *(uint32_t *)place = (uint32_t)value->via.u64;
    else
        *(uint64_t *)place = value->via.u64;
    return true;
}

static bool decode_signed(const struct message_field *field, const msgpack_object *value,
                          int64_t *place, struct error *error)
{
    if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *place = value->via.i64;
    else if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && value->via.u64 <= INT64_MAX)
        *place = (int64_t)value->via.u64;
    else
        return refuse(field, error, "an integer of 64 bits, with its sign");
    return true;
}

static bool decode_string(const struct message_field *field, const msgpack_object *value,
                          char *place, struct error *error)
{
    if (value->type != MSGPACK_OBJECT_STR || value->via.str.size > field->limit ||
        !text_is_plain(value->via.str.ptr, value->via.str.size))
        return refuse_above(field, "UTF-8 text without control characters, of bytes at most ",
                            value->type == MSGPACK_OBJECT_STR ? value->via.str.size : 0, error);
    if (value->via.str.size > 0) /* an empty string may have no address */
        memcpy(place, value->via.str.ptr, value->via.str.size);
    place[value->via.str.size] = '\0';
    return true;
}

static bool decode_field(const struct message_field *field, const msgpack_object *value,
                         void *place, struct error *error)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
    case FIELD_U64:
        return decode_unsigned(field, value, place, error);
    case FIELD_I64:
        return decode_signed(field, value, place, error);
    case FIELD_BOOL:
        if (value->type != MSGPACK_OBJECT_BOOLEAN)
            return refuse(field, error, "true or false");
        *(bool *)place = value->via.boolean;
        return true;
    case FIELD_STR:
        return decode_string(field, value, place, error);
    case FIELD_BIN:
        if (value->type != MSGPACK_OBJECT_BIN || value->via.bin.size > field->limit)
            return refuse_above(field, "binary, of bytes at most ",
                                value->type == MSGPACK_OBJECT_BIN ? value->via.bin.size : 0, error);
        *(struct bytes *)place =
            (struct bytes){(const uint8_t *)value->via.bin.ptr, value->via.bin.size};
        return true;
    case FIELD_LIST:
        if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size > field->limit)
            return refuse_above(field, "an array, of elements at most ",
                                value->type == MSGPACK_OBJECT_ARRAY ? value->via.array.size : 0,
                                error);
        *(struct list *)place = (struct list){value->via.array.ptr, value->via.array.size};
        return true;
    }
    return false;
}

static const struct message_field *find_field(const struct message_type *type,
                                              const msgpack_object_str *key)
{
    for (size_t i = 0; i < type->field_count; i++)
        if (type->fields[i].name_length == key->size &&
            memcmp(type->fields[i].name, key->ptr, key->size) == 0)
            return &type->fields[i];
    return NULL;
}

static bool refuse_unknown(const struct message_type *type, const msgpack_object_str *key,
                           struct error *error)
{
    int length = key->size < PROTOCOL_NAME_MAX ? (int)key->size : (int)PROTOCOL_NAME_MAX;
    bool plain = text_is_plain(key->ptr, (size_t)length);
    error_set(error, ERROR_INVALID_ARGUMENT, "%s has no field '%.*s'", type->name,
              plain ? length : 1, plain ? key->ptr : "?");
    if (plain && length > 0) /* an empty key may have no address */
        memcpy(error->field, key->ptr, (size_t)length);
    return false;
}

static bool require_fields(const struct message_type *type, uint32_t seen, struct error *error)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct message_field *field = &type->fields[i];
        if (!field->required || seen & UINT32_C(1) << i)
            continue;
        error_set(error, ERROR_INVALID_ARGUMENT, "%s needs the field '%s'", type->name,
                  field->name);
        memcpy(error->field, field->name, field->name_length);
        return false;
    }
    return true;
}

bool message_decode(const struct message_type *type, const msgpack_object *map, bool strict,
                    void *message, struct error *error)
{
    uint32_t seen = 0;

    if (map->type != MSGPACK_OBJECT_MAP) {
        error_set(error, ERROR_INVALID_ARGUMENT, "%s must be a map", type->name);
        return false;
    }
    memset(message, 0, type->size);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *entry = &map->via.map.ptr[i];
        const struct message_field *field = find_field(type, &entry->key.via.str);
        if (!field && strict)
            return refuse_unknown(type, &entry->key.via.str, error);
        if (!field)
            continue;
        if (!decode_field(field, &entry->val, (char *)message + field->offset, error))
            return false;
        seen |= UINT32_C(1) << (field - type->fields);
    }
    return require_fields(type, seen, error);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static bool is_empty(const struct message_field *field, const void *place)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        return *(const uint32_t *)place == 0;
    case FIELD_U64:
        return *(const uint64_t *)place == 0;
    case FIELD_I64:
        return *(const int64_t *)place == 0;
    case FIELD_BOOL:
        return !*(const bool *)place;
    case FIELD_STR:
        return *(const char *)place == '\0';
    case FIELD_BIN:
        return ((const struct bytes *)place)->size == 0;
    case FIELD_LIST:
        return ((const struct list *)place)->count == 0;
    }
    return true;
}

static bool is_sent(const struct message_field *field, const void *message)
{
    return field->required || !is_empty(field, (const char *)message + field->offset);
}

static void encode_list(const struct message_field *field, const struct list *list,
                        msgpack_packer *packer)
{
    msgpack_pack_array(packer, list->count);
    for (size_t i = 0; i < list->count; i++)
        message_encode(field->element, (const char *)list->items + i * field->element->size,
                       packer);
}

static void encode_field(const struct message_field *field, const void *place,
                         msgpack_packer *packer)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        msgpack_pack_uint32(packer, *(const uint32_t *)place);
        break;
    case FIELD_U64:
        msgpack_pack_uint64(packer, *(const uint64_t *)place);
        break;
    case FIELD_I64:
        msgpack_pack_int64(packer, *(const int64_t *)place);
        break;
    case FIELD_BOOL:
        *(const bool *)place ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
        break;
    case FIELD_STR:
        msgpack_pack_str_with_body(packer, place, strlen(place));
        break;
    case FIELD_BIN:
        msgpack_pack_bin_with_body(packer, ((const struct bytes *)place)->data,
                                   ((const struct bytes *)place)->size);
        break;
    case FIELD_LIST:
        encode_list(field, place, packer);
        break;
    }
}

void message_encode(const struct message_type *type, const void *message, msgpack_packer *packer)
{
    size_t count = 0;
    for (size_t i = 0; i < type->field_count; i++)
        count += is_sent(&type->fields[i], message);

    msgpack_pack_map(packer, count);
    for (size_t i = 0; i < type->field_count; i++) {
        const struct message_field *field = &type->fields[i];
        if (!is_sent(field, message))
            continue;
        msgpack_pack_str_with_body(packer, field->name, field->name_length);
        encode_field(field, (const char *)message + field->offset, packer);
    }
}
