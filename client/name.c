/* SPDX-License-Identifier: MIT */
#include "client/name.h"

#include <errno.h>
#include <string.h>

#include "client/error.h"

#define SHOWN_MAX 63 /* bytes of what is too long that the error repeats */

int text_copy(char *to, size_t size, const char *text, const char *field, fastalloc_error_t *error)
{
    size_t length = text ? strlen(text) : 0;
    if (length >= size)
        return error_raise_argument(error, field, "%s '%.*s...' is too long: it can have %zu bytes",
                                    field, SHOWN_MAX, text, size - 1);
    memcpy(to, text ? text : "", length + 1);
    return 0;
}

int name_copy(char to[FASTALLOC_NAME_MAX + 1], const char *name, const char *field,
              fastalloc_error_t *error)
{
    return text_copy(to, FASTALLOC_NAME_MAX + 1, name, field, error);
}

void name_of_program(char to[FASTALLOC_NAME_MAX + 1])
{
    const char *name = program_invocation_short_name;
    size_t length = 0;
    for (; name[length] != '\0' && length < FASTALLOC_NAME_MAX; length++)
        to[length] = name[length] > ' ' && name[length] < 0x7f ? name[length] : '?';
    to[length] = '\0';
}
