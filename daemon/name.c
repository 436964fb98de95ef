/* SPDX-License-Identifier: MIT */
#include "daemon/name.h"

#include <string.h>

#include "shm/layout.h"

bool name_is_valid(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    return length > 0 && length < LAYOUT_NAME_SIZE && !strchr("._-", name[0]) &&
           strspn(name, allowed) == length;
}
