/* SPDX-License-Identifier: MIT */
#include "client/sized.h"

#include <string.h>

static size_t size_of(const void *sized)
{
    size_t size;
    memcpy(&size, sized, sizeof(size));
    return size;
}

bool sized_read(void *own, size_t own_size, const void *theirs)
{
    size_t size = size_of(theirs);
    if (size <= sizeof(size))
        return false;
    memcpy(own, theirs, size < own_size ? size : own_size);
    return true;
}

void sized_write(void *theirs, const void *own, size_t own_size)
{
    size_t size = size_of(theirs);
    size_t head = sizeof(size);
    size_t both = size < own_size ? size : own_size;

    if (size <= head)
        return;
    memcpy((char *)theirs + head, (const char *)own + head, both - head);
    memset((char *)theirs + both, 0, size - both);
}
