/* SPDX-License-Identifier: MIT */
/*
 * Messages as structs, and their typed encoding and decoding, driven by tables made from the list
 * in proto/messages.h. Pure: bytes in, struct out, and back. Nothing here takes memory that
 * outlives a call but the decoder's zone, which is reused.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "proto/messages.h"

struct bytes {
    const uint8_t *data; /* into the message that was decoded, or the caller's when encoding */
    size_t size;
};

/* When encoding, `items` is an array of the element's struct; when decoded, of msgpack_object. */
struct list {
    const void *items;
    size_t count;
};

#define MESSAGE_MEMBER(message, kind, name, limit, presence) MESSAGE_MEMBER_##kind(name, limit)
#define MESSAGE_MEMBER_U32(name, limit) uint32_t name;
#define MESSAGE_MEMBER_U64(name, limit) uint64_t name;
#define MESSAGE_MEMBER_I64(name, limit) int64_t name;
#define MESSAGE_MEMBER_BOOL(name, limit) bool name;
#define MESSAGE_MEMBER_STR(name, limit) char name[(limit) + 1];
#define MESSAGE_MEMBER_BIN(name, limit) struct bytes name;
#define MESSAGE_MEMBER_LIST(name, limit) struct list name;

/* struct hello_request, struct hello_reply, ... An empty message has no fields, hence `none`. */
#define MESSAGE_STRUCT(name, fields)                                                               \
    struct name {                                                                                  \
        fields(MESSAGE_MEMBER, name) char none[0];                                                 \
    };
PROTOCOL_MESSAGES(MESSAGE_STRUCT) /* NOLINT(*-optin.performance.Padding): the list's order */

enum field_kind { FIELD_U32, FIELD_U64, FIELD_I64, FIELD_BOOL, FIELD_STR, FIELD_BIN, FIELD_LIST };

struct message_type;

struct message_field {
    const char *name;
    size_t offset; /* in the struct */
    uint64_t limit;
    const struct message_type *element; /* of a LIST */
    uint8_t kind;                       /* enum field_kind */
    uint8_t name_length;
    bool required;
};

struct message_type {
    const char *name;
    size_t size; /* of the struct */
    const struct message_field *fields;
    size_t field_count;
};

/*
 * One entry of a table of fields; the tables end with an entry that isn't counted, as none may be
 * empty.
 */
#define MESSAGE_FIELD(message, kind, name, limit, presence)                                        \
    {#name,                                                                                        \
     offsetof(struct message, name),                                                               \
     MESSAGE_LIMIT_##kind(limit),                                                                  \
     FIELD_##kind,                                                                                 \
     sizeof(#name) - 1,                                                                            \
     MESSAGE_##presence},
#define MESSAGE_LIMIT_U32(limit) (limit), NULL
#define MESSAGE_LIMIT_U64(limit) (limit), NULL
#define MESSAGE_LIMIT_I64(limit) (limit), NULL
#define MESSAGE_LIMIT_BOOL(limit) (limit), NULL
#define MESSAGE_LIMIT_STR(limit) (limit), NULL
#define MESSAGE_LIMIT_BIN(limit) (limit), NULL
#define MESSAGE_LIMIT_LIST(element) PROTOCOL_LIST_MAX, &element##_type
#define MESSAGE_REQUIRED true
#define MESSAGE_OPTIONAL false
#define MESSAGE_TYPE(name, type, fields)                                                           \
    {                                                                                              \
        name, sizeof(type), fields, sizeof(fields) / sizeof((fields)[0]) - 1                       \
    }

/* The tables: hello_request_type, hello_reply_type, ... */
#define MESSAGE_TYPE_DECLARE(name, fields) extern const struct message_type name##_type;
PROTOCOL_MESSAGES(MESSAGE_TYPE_DECLARE)

#define MESSAGE_METHOD_ENUM(NAME, name, wire) METHOD_##NAME,
enum method { PROTOCOL_METHODS(MESSAGE_METHOD_ENUM) METHOD_COUNT };

struct method_info {
    const char *name;
    size_t name_length;
    const struct message_type *request;
    const struct message_type *reply;
};

extern const struct method_info method_table[METHOD_COUNT];

/* METHOD_COUNT when there is no such method. */
enum method method_find(const char *name, size_t length);

/*
 * Fills the struct of that type from a map. Strings are copied, bytes and lists point into the
 * message. Unknown keys are refused if `strict` (a request: somebody misspelt a field), else passed
 * over (a reply: the daemon is newer). False with INVALID_ARGUMENT, naming the field, what it was
 * and what is allowed, else.
 */
bool message_decode(const struct message_type *type, const msgpack_object *map, bool strict,
                    void *message, struct error *error);

/* Packs the struct as a map of all its fields but optional ones that are 0, false or empty. */
void message_encode(const struct message_type *type, const void *message, msgpack_packer *packer);

#endif
