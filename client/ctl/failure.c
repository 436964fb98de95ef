/* SPDX-License-Identifier: MIT */
#include "failure.h"

#include <stdio.h>

int failure_set_list(fastalloc_error_t *error, int result, const char *format, va_list arguments)
{
    *error = FASTALLOC_ERROR_INIT;
    error->code = result;
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    return result;
}

int failure_set(fastalloc_error_t *error, int result, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    failure_set_list(error, result, format, arguments);
    va_end(arguments);
    return result;
}
