/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "json.h"
#include "text.h"

/* The fields that a code has; those of another code would be zero. */
static const struct {
    int code;
    const char *fields;
} code_fields[] = {
    {FASTALLOC_ERR_PROTOCOL_MISMATCH, "requested actual"},
    {FASTALLOC_ERR_INVALID_ARGUMENT, "field"},
    {FASTALLOC_ERR_NOT_PERMITTED, "pool"},
    {FASTALLOC_ERR_LIMIT_EXCEEDED, "max"},
    {FASTALLOC_ERR_SYSTEM, "system_error"},
    {FASTALLOC_ERR_NO_SUCH_POOL, "pool"},
    {FASTALLOC_ERR_POOL_EXISTS, "pool"},
    {FASTALLOC_ERR_POOL_IN_USE, "pool allocated members"},
    {FASTALLOC_ERR_POOL_DESTROYED, "pool"},
    {FASTALLOC_ERR_NOT_A_MEMBER, "pool"},
    {FASTALLOC_ERR_CONFIG_MISMATCH, "pool field"},
    {FASTALLOC_ERR_CANCELLED, "pool"},
    {FASTALLOC_ERR_INVALID_CAPACITY, "capacity max"},
    {FASTALLOC_ERR_INVALID_ALIGNMENT, "alignment max"},
    {FASTALLOC_ERR_INVALID_OBJECT_SIZE, "requested max"},
    {FASTALLOC_ERR_OBJECT_SIZE_MISMATCH, "pool requested actual"},
    {FASTALLOC_ERR_ALIGNMENT_MISMATCH, "pool requested actual"},
    {FASTALLOC_ERR_TYPE_MISMATCH, "pool requested_type actual_type"},
    {FASTALLOC_ERR_SHARED_MEMORY_FULL, "needed available"},
    {FASTALLOC_ERR_POOL_EXHAUSTED, "pool capacity allocated requested waiters reserved holders"},
    {FASTALLOC_ERR_TIMEOUT, "pool capacity allocated requested waiters reserved holders"},
    {FASTALLOC_ERR_STALE_HANDLE, "pool position"},
    {FASTALLOC_ERR_WRONG_POOL, "pool position"},
    {FASTALLOC_ERR_DUPLICATE_HANDLE, "pool position"},
    {FASTALLOC_ERR_OBJECT_SHARED, "pool position"},
    {FASTALLOC_ERR_NOT_HOLDER, "pool position"},
    {FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED,
     "pool current requested max allocated waiters reserved holders"},
    {FASTALLOC_ERR_QUOTA_EXCEEDED, "pool field requested allocated max"},
    {FASTALLOC_ERR_UNREACHABLE, "system_error"},
    {FASTALLOC_ERR_SOCKET_PATH, "max"},
};

int status_of(const fastalloc_error_t *error)
{
    switch (error->code) {
    case FASTALLOC_ERR_NO_SUCH_POOL:
        return STATUS_NO_SUCH_POOL;
    case FASTALLOC_ERR_NOT_PERMITTED:
        return STATUS_NOT_PERMITTED;
    case FASTALLOC_ERR_UNREACHABLE:
        return error->system_error == EACCES || error->system_error == EPERM ? STATUS_NOT_PERMITTED
                                                                             : STATUS_UNREACHABLE;
    case FASTALLOC_ERR_DISCONNECTED:
    case FASTALLOC_ERR_NO_REPLY:
    case FASTALLOC_ERR_NO_SUCH_SESSION:
    case FASTALLOC_ERR_SHUTTING_DOWN:
        return STATUS_UNREACHABLE;
    case FASTALLOC_ERR_PROTOCOL_MISMATCH:
    case FASTALLOC_ERR_MALFORMED:
    case FASTALLOC_ERR_UNKNOWN_METHOD:
    case FASTALLOC_ERR_HELLO_REQUIRED:
        return STATUS_PROTOCOL;
    case FASTALLOC_ERR_SOCKET_PATH:
        return STATUS_USAGE;
    default:
        return STATUS_FAILED;
    }
}

static bool code_has(int code, const char *field)
{
    size_t length = strlen(field);
    const char *fields = "";

    for (size_t i = 0; i < sizeof(code_fields) / sizeof(code_fields[0]); i++) {
        if (code_fields[i].code == code)
            fields = code_fields[i].fields;
    }
    for (const char *at = strstr(fields, field); at; at = strstr(at + 1, field)) {
        if ((at == fields || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

static void add_numbers(json_t *object, const fastalloc_error_t *error)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"system_error", (uint64_t)error->system_error},
        {"capacity", error->capacity},
        {"current", error->current},
        {"allocated", error->allocated},
        {"reserved", error->reserved},
        {"requested", error->requested},
        {"actual", error->actual},
        {"max", error->max},
        {"alignment", error->alignment},
        {"needed", error->needed},
        {"available", error->available},
        {"members", error->members},
        {"waiters", error->waiters},
        {"position", error->position},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (code_has(error->code, numbers[i].name))
            json_set_number(object, numbers[i].name, numbers[i].value);
    }
}

json_t *error_to_json(const fastalloc_error_t *error)
{
    const struct {
        const char *name;
        const char *value;
    } strings[] = {
        {"field", error->field},
        {"pool", error->pool},
        {"requested_type", error->requested_type},
        {"actual_type", error->actual_type},
        {"holders", error->holders},
    };
    json_t *object = json_new();

    json_set(object, "code", json_integer(error->code));
    json_set_string(object, "name", fastalloc_result_name(error->code));
    json_set_string(object, "message", error->message);
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        if (code_has(error->code, strings[i].name))
            json_set_string(object, strings[i].name, strings[i].value);
    }
    add_numbers(object, error);
    return object;
}

static void write_line(const char *before, const char *text)
{
    char *clean = text_clean(text); /* or this ends with a line of its own */
    fprintf(stderr, "fastallocctl: %s%s\n", before, clean);
    free(clean);
}

static int report(const struct call *call, const fastalloc_error_t *error, int status)
{
    const char *message = error->message[0] ? error->message : fastalloc_result_name(error->code);

    write_line("", message);
    if (error->holders[0])
        write_line("held by: ", error->holders);
    if (call->json) {
        json_t *object = json_new();
        json_t *inner = error_to_json(error);
        json_set(inner, "status", json_integer(status));
        json_set(object, "error", inner);
        json_write(object);
    }
    return status;
}

int report_error(const struct call *call, const fastalloc_error_t *error)
{
    return report(call, error, status_of(error));
}

int report_usage(const struct call *call, const char *format, ...)
{
    fastalloc_error_t error;
    va_list arguments;

    va_start(arguments, format);
    failure_set_list(&error, -EINVAL, format, arguments);
    va_end(arguments);
    return report(call, &error, STATUS_USAGE);
}

int report_failure(const struct call *call, int result, const char *format, ...)
{
    fastalloc_error_t error;
    va_list arguments;

    va_start(arguments, format);
    failure_set_list(&error, result ? result : -ECANCELED, format, arguments);
    va_end(arguments);
    return report(call, &error, STATUS_FAILED);
}
