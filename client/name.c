/* SPDX-License-Identifier: MIT */
#include "client/name.h"

#include <errno.h>
#include <string.h>

#include "client/error.h"

int name_copy(char to[FASTALLOC_NAME_MAX + 1], const char *name, const char *field,
              fastalloc_error_t *error)
{
    size_t length = name ? strlen(name) : 0;
    if (length > FASTALLOC_NAME_MAX)
        return error_raise_argument(error, field, "%s '%.*s...' is too long: it can have %d bytes",
                                    field, FASTALLOC_NAME_MAX, name, FASTALLOC_NAME_MAX);
    memcpy(to, name ? name : "", length + 1);
    return 0;
}

void name_of_program(char to[FASTALLOC_NAME_MAX + 1])
{
    const char *name = program_invocation_short_name;
    size_t length = 0;
    for (; name[length] != '\0' && length < FASTALLOC_NAME_MAX; length++)
        to[length] = name[length] > ' ' && name[length] < 0x7f ? name[length] : '?';
    to[length] = '\0';
}
