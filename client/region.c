/* SPDX-License-Identifier: MIT */
#include "client/region.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int check_file(int fd, size_t least)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size < least)
        return -ENODATA;
    return 0;
}

int region_map(struct region *region, int fd, size_t least, size_t size, int protection)
{
    int result = check_file(fd, least);
    if (result < 0)
        return result;

    void *address = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return -errno;
    if (madvise(address, size, MADV_DONTFORK) < 0) {
        result = -errno;
        munmap(address, size);
        return result;
    }
    *region = (struct region){address, size};
    return 0;
}

void region_unmap(struct region *region)
{
    if (region->size > 0)
        munmap(region->address, region->size);
    *region = (struct region){NULL, 0};
}
