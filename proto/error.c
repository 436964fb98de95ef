/* SPDX-License-Identifier: MIT */
#include "proto/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/message.h"
#include "proto/text.h"

#define DETAIL_TABLE(NAME, number, fields)                                                         \
    static const struct message_field NAME##_fields[] = {fields(MESSAGE_FIELD, error){NULL}};
PROTOCOL_ERRORS(DETAIL_TABLE)

/* Takes away the beginning of a last character whose end didn't fit. */
static void cut_last_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && (text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (text[start - 1] & 0x80) != 0)
        start--;
    if (!text_is_plain(text + start, length - start))
        text[start] = '\0';
}

struct error *error_set(struct error *error, enum error_code code, const char *format, ...)
{
    memset(error, 0, sizeof(*error));
    error->code = code;

    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    if (length > (int)PROTOCOL_TEXT_MAX)
        cut_last_character(error->message, PROTOCOL_TEXT_MAX);
    return error;
}

struct error *error_set_handle(struct error *error, enum error_code code, const char *pool,
                               uint32_t position, fastalloc_handle_t handle)
{
    static const char *const reasons[] = {
        [ERROR_OUT_OF_MEMORY] = "can't be taken from its thread for want of memory; try again",
        [ERROR_WRONG_POOL] = "belongs to another pool; use it there",
        [ERROR_STALE_HANDLE] = "is stale: its object is freed already, or never was",
        [ERROR_DUPLICATE_HANDLE] = "stands in the request before; name each handle once",
        [ERROR_OBJECT_SHARED] = "is held by others, who rely on it; it goes with their last hold",
        [ERROR_NOT_HOLDER] =
            "isn't held by this session; adopt it if it is detached, or leave it to its holder",
    };
    const char *reason = fastalloc_handle_is_none(handle)
                             ? "is none (all zero): nothing was allocated"
                             : reasons[code];
    char text[FASTALLOC_HANDLE_TEXT_SIZE];
    char place[48] = ""; /* the first one may be the only one */
    handle_format(handle, text);
    if (position > 0)
        snprintf(place, sizeof(place), " (number %" PRIu32 " of the request)", position);
    error_set(error, code, "pool '%s': handle %s%s %s", pool, text, place, reason);
    snprintf(error->pool, sizeof(error->pool), "%s", pool);
    error->position = position;
    return error;
}

const char *error_name(enum error_code code)
{
    switch (code) {
#define ERROR_NAME_CASE(NAME, number, fields)                                                      \
    case ERROR_##NAME:                                                                             \
        return #NAME;
        PROTOCOL_ERRORS(ERROR_NAME_CASE)
    case ERROR_NONE:
        break;
    }
    return NULL;
}

const struct message_type *error_detail_type(enum error_code code)
{
    switch (code) {
#define ERROR_DETAIL_CASE(NAME, number, fields)                                                    \
    case ERROR_##NAME: {                                                                           \
        static const struct message_type type = MESSAGE_TYPE(#NAME, struct error, NAME##_fields);  \
        return &type;                                                                              \
    }
        PROTOCOL_ERRORS(ERROR_DETAIL_CASE)
    case ERROR_NONE:
        break;
    }
    return NULL;
}
