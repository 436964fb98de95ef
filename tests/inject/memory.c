/* SPDX-License-Identifier: MIT */
/*
 * Preloaded: makes allocations of memory fail as the file that FASTALLOC_INJECT_MEMORY names says
 * (injection.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/inject/injection.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);

static struct injection *injection;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FASTALLOC_INJECT_MEMORY");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapping = mmap(NULL, sizeof(*injection), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (mapping != MAP_FAILED)
        injection = mapping;
}

static bool fails(void)
{
    if (!injection || !__atomic_load_n(&injection->armed, __ATOMIC_SEQ_CST) || !injection->memory)
        return false;
    uint64_t calls = __atomic_add_fetch(&injection->calls, 1, __ATOMIC_SEQ_CST);
    if (calls < injection->at || (calls > injection->at && !injection->lasting))
        return false;
    __atomic_add_fetch(&injection->failed, 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
    return true;
}

/* What was taken and not given back, whether armed or not. */
static void note(int64_t more)
{
    if (injection)
        __atomic_add_fetch(&injection->kept, more, __ATOMIC_SEQ_CST);
}

#define INSTEAD __attribute__((visibility("default")))

INSTEAD void *malloc(size_t size)
{
    void *memory = fails() ? NULL : __libc_malloc(size);
    note(memory != NULL);
    return memory;
}

INSTEAD void *calloc(size_t nmemb, size_t size)
{
    void *memory = fails() ? NULL : __libc_calloc(nmemb, size);
    note(memory != NULL);
    return memory;
}

INSTEAD void *realloc(void *ptr, size_t size)
{
    void *memory = fails() ? NULL : __libc_realloc(ptr, size);
    note(memory != NULL && ptr == NULL);
    return memory;
}

INSTEAD void free(void *ptr)
{
    note(-(ptr != NULL));
    __libc_free(ptr);
}
