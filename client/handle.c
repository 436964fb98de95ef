/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <fastalloc/fastalloc.h>

#include "shm/handle.h"

void fastalloc_handle_format(fastalloc_handle_t handle, char text[FASTALLOC_HANDLE_TEXT_SIZE])
{
    handle_format(handle, text);
}

int fastalloc_handle_parse(const char *text, fastalloc_handle_t *handle)
{
    return handle_parse(text, handle) ? 0 : -EINVAL;
}
