/* SPDX-License-Identifier: MIT */
/*
 * Errors as they travel: a stable number, a name, one line for a person, and the fields that belong
 * to that number. The list stands in proto/messages.h.
 */
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/messages.h"

#define ERROR_ENUM(NAME, number, fields) ERROR_##NAME = (number),
enum error_code { ERROR_NONE = 0, PROTOCOL_ERRORS(ERROR_ENUM) };

#define ERROR_MEMBER(message, kind, name, limit, presence) ERROR_MEMBER_##kind(name, limit)
#define ERROR_MEMBER_U32(name, limit) uint32_t name;
#define ERROR_MEMBER_U64(name, limit) uint64_t name;
#define ERROR_MEMBER_STR(name, limit) char name[(limit) + 1];

/* Fields that don't belong to the code are zero. */
struct error {
    enum error_code code;
    char message[PROTOCOL_TEXT_MAX + 1];
    PROTOCOL_ERROR_FIELDS(ERROR_MEMBER, error)
};

/* Begins an error anew: the code and its line, all fields zero. Returns it, for setting fields. */
struct error *error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * What is wrong with a handle that stands at that place of a request, in the same words whoever
 * finds it. The code is one of those with the fields `pool` and `position`.
 */
struct error *error_set_handle(struct error *error, enum error_code code, const char *pool,
                               uint32_t position, fastalloc_handle_t handle);

/* "POOL_EXHAUSTED"; NULL for a number that is in no list. */
const char *error_name(enum error_code code);

struct message_type;

/* The fields of the code's detail, as a table over struct error; NULL for an unknown number. */
const struct message_type *error_detail_type(enum error_code code);

#endif
