/* SPDX-License-Identifier: MIT */
#include "daemon/name.h"

#include <string.h>

bool name_is_valid(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    return length > 0 && length < LAYOUT_NAME_SIZE && !strchr("._-", name[0]) &&
           strspn(name, allowed) == length;
}

void name_copy(char to[LAYOUT_NAME_SIZE], const char *from)
{
    size_t length = strnlen(from, LAYOUT_NAME_SIZE - 1);
    memcpy(to, from, length);
    to[length] = '\0';
}
