/* SPDX-License-Identifier: MIT */
#include "client/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "client/error.h"
#include "shm/layout.h"

/* Of kernels newer than the headers that this may be built with. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static int refuse(const char *pool, size_t size, const char *what, int system_error,
                  const char *advice, fastalloc_error_t *error)
{
    return error_raise(error, -system_error,
                       "cannot open pool '%s', which is made with `%s`: the machine refuses that "
                       "for its %zu bytes: %s; %s",
                       pool, what, size, error_text(system_error), advice);
}

/* Collapsing what is there already is the kernel's to do, if it can (Linux 6.1). */
static int advise_huge(void *address, size_t size, const char *pool, fastalloc_error_t *error)
{
    if (madvise(address, size, MADV_HUGEPAGE) < 0)
        return refuse(pool, size, "huge", errno,
                      errno == EINVAL ? "its kernel has no transparent huge pages: use a pool made "
                                        "without `huge`"
                                      : "use a pool made without `huge`",
                      error);
    (void)madvise(address, size, MADV_COLLAPSE);
    return 0;
}

static int prefault(void *address, size_t size, bool write, const char *pool,
                    fastalloc_error_t *error)
{
    int result;
    do
        result = madvise(address, size, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    while (result < 0 && errno == EINTR);
    if (result == 0)
        return 0;
    return refuse(pool, size, "prefault", errno,
                  errno == EINVAL ? "that takes Linux 5.14: use a pool made without `prefault`"
                                  : "make room in memory and /dev/shm, or use a pool made without "
                                    "`prefault`",
                  error);
}

static int lock(void *address, size_t size, const char *pool, fastalloc_error_t *error)
{
    struct rlimit limit = {0, 0};
    if (mlock(address, size) == 0)
        return 0;
    int system_error = errno;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    return error_raise(error, -system_error,
                       "cannot open pool '%s', which is made with `lock`: the machine refuses that "
                       "for its %zu bytes: %s; this process may lock %" PRIu64 " bytes in all "
                       "(RLIMIT_MEMLOCK): raise that (ulimit -l), or use a pool made without "
                       "`lock`",
                       pool, size, error_text(system_error), (uint64_t)limit.rlim_cur);
}

int memory_prepare(void *address, size_t size, uint32_t flags, bool write, const char *pool,
                   fastalloc_error_t *error)
{
    int result = 0;
    if (flags & LAYOUT_HUGE)
        result = advise_huge(address, size, pool, error);
    if (result == 0 && flags & LAYOUT_PREFAULT)
        result = prefault(address, size, write, pool, error);
    if (result == 0 && flags & LAYOUT_LOCK)
        result = lock(address, size, pool, error);
    return result;
}
