/* SPDX-License-Identifier: MIT */
#include "client/guard.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define GUARD_SIZE 4096u /* the kernel rounds it up to its pages */

int guard_new(size_t size, void **memory)
{
    assert(size <= GUARD_SIZE);
    void *page = mmap(NULL, GUARD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    if (madvise(page, GUARD_SIZE, MADV_WIPEONFORK) < 0) {
        int result = -errno;
        munmap(page, GUARD_SIZE);
        return result;
    }
    *memory = page;
    return 0;
}

void guard_free(void *memory)
{
    if (memory)
        munmap(memory, GUARD_SIZE);
}
