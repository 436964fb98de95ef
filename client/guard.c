/* SPDX-License-Identifier: MIT */
#include "client/guard.h"

#include <errno.h>
#include <sys/mman.h>

int guard_new(size_t size, void **memory)
{
    /* The kernel rounds the size up to its pages. */
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return -errno;
    if (madvise(pages, size, MADV_WIPEONFORK) < 0) {
        int result = -errno;
        munmap(pages, size);
        return result;
    }
    *memory = pages;
    return 0;
}

void guard_free(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}
