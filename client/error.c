/* SPDX-License-Identifier: MIT */
#include "client/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/sized.h"

#define WIRE_OFFSET 10000

#define CHECK_CODE(NAME, number, fields)                                                           \
    _Static_assert(FASTALLOC_ERR_##NAME == -(WIRE_OFFSET + (number)), #NAME);
PROTOCOL_ERRORS(CHECK_CODE)

_Static_assert(PROTOCOL_NAME_MAX == FASTALLOC_NAME_MAX, "names fit");
_Static_assert(PROTOCOL_TEXT_MAX < sizeof(((fastalloc_error_t *)0)->message), "lines fit");

/* ---- Codes ----------------------------------------------------------------------------------- */

int error_public_code(enum error_code code)
{
    return error_name(code) ? -(WIRE_OFFSET + (int)code) : FASTALLOC_ERR_SYSTEM;
}

const char *fastalloc_result_name(int result)
{
    const char *name = NULL;
    switch (result) {
    case 0:
        return "OK";
#define NAME_CASE(NAME, number, fields)                                                            \
    case FASTALLOC_ERR_##NAME:                                                                     \
        return "FASTALLOC_ERR_" #NAME;
        PROTOCOL_ERRORS(NAME_CASE)
        NAME_CASE(UNREACHABLE, , )
        NAME_CASE(DISCONNECTED, , )
        NAME_CASE(NO_REPLY, , )
        NAME_CASE(FORKED, , )
        NAME_CASE(SOCKET_PATH, , )
    default:
        if (result >= -4095 && result < 0)
            name = strerrorname_np(-result);
        return name ? name : "unknown";
    }
}

const char *error_text(int system_error)
{
    const char *text = strerrordesc_np(system_error);
    return text ? text : "unknown error";
}

/* ---- Raising --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static int raise_fields(fastalloc_error_t *error,
                                                              fastalloc_error_t *fields,
                                                              const char *format, va_list arguments)
{
    vsnprintf(fields->message, sizeof(fields->message), format, arguments);
    sized_write(error, fields, sizeof(*fields));
    return fields->code;
}

int error_raise(fastalloc_error_t *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    fastalloc_error_t fields = {.code = code, .system_error = code >= -4095 ? -code : 0};
    va_list arguments;
    va_start(arguments, format);
    raise_fields(error, &fields, format, arguments);
    va_end(arguments);
    return code;
}

int error_raise_with(fastalloc_error_t *error, const fastalloc_error_t *fields, const char *format,
                     ...)
{
    if (!error)
        return fields->code;
    fastalloc_error_t copy = *fields;
    va_list arguments;
    va_start(arguments, format);
    raise_fields(error, &copy, format, arguments);
    va_end(arguments);
    return copy.code;
}

int error_raise_argument(fastalloc_error_t *error, const char *field, const char *format, ...)
{
    if (!error)
        return FASTALLOC_ERR_INVALID_ARGUMENT;
    fastalloc_error_t fields = {.code = FASTALLOC_ERR_INVALID_ARGUMENT};
    memcpy(fields.field, field, strlen(field));
    va_list arguments;
    va_start(arguments, format);
    raise_fields(error, &fields, format, arguments);
    va_end(arguments);
    return fields.code;
}

#define COPY_FIELD(message, kind, name, limit, presence) COPY_##kind(name)
#define COPY_U32(name) fields.name = (int)wire->name;
#define COPY_U64(name) fields.name = wire->name;
#define COPY_STR(name) memcpy(fields.name, wire->name, sizeof(fields.name));

int error_raise_wire(fastalloc_error_t *error, const struct error *wire)
{
    int code = error_public_code(wire->code);
    if (!error)
        return code;
    fastalloc_error_t fields = {.code = code};
    PROTOCOL_ERROR_FIELDS(COPY_FIELD, error)
    return error_raise_with(error, &fields, "%s", wire->message);
}
