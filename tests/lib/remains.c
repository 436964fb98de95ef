/* SPDX-License-Identifier: MIT */
#include "tests/lib/remains.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/registry.h"

#define FACTOR UINT64_C(0x9e3779b97f4a7c15)

static uint64_t sum;

/* FNV's way, by eight bytes. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *next = bytes;
    uint64_t word = 0;
    for (; size >= sizeof(word); size -= sizeof(word), next += sizeof(word)) {
        memcpy(&word, next, sizeof(word));
        hash = (hash ^ word) * FACTOR;
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, next, size);
    return (hash ^ word) * FACTOR;
}

/* A file that is about to be gone has no bytes any more. */
static uint64_t mix_content(uint64_t hash, const char *path, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes = fd >= 0 && size > 0 ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (bytes != MAP_FAILED) {
        hash = mix(hash, bytes, size);
        munmap(bytes, size);
    }
    if (fd >= 0)
        close(fd);
    return hash;
}

/* Which has nothing in it; to open it would be to use it. */
static bool is_witness(const char *path)
{
    const char *part = strrchr(path, '.');
    return part && strcmp(part + 1, REGISTRY_WITNESS) == 0;
}

/* The order in which they are found means nothing. */
static int add_file(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    const uint64_t facts[] = {status->st_mode, kind == FTW_F ? (uint64_t)status->st_size : 0,
                              kind == FTW_F ? (uint64_t)status->st_blocks : 0};
    (void)where;
    uint64_t hash = mix(mix(FACTOR, path, strlen(path)), facts, sizeof(facts));
    if (S_ISREG(status->st_mode) && !is_witness(path))
        hash = mix_content(hash, path, (size_t)status->st_size);
    sum += hash;
    return 0;
}

uint64_t remains(const char *folder)
{
    sum = 0;
    ck_assert_int_eq(nftw("/dev/shm", add_file, 8, FTW_PHYS), 0);
    ck_assert_int_eq(nftw(folder, add_file, 8, FTW_PHYS), 0);
    return sum;
}
