/* SPDX-License-Identifier: MIT */
#include "daemon/sigbus.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

/* The handler, of any thread, reads what the loop's thread writes: `start` last, and cleared first. */
static struct range {
    char *start; /* NULL = free */
    size_t size;
} ranges[SIGBUS_RANGES];

static const struct range *find(const char *address)
{
    for (unsigned i = 0; i < SIGBUS_RANGES; i++) {
        const char *start = __atomic_load_n(&ranges[i].start, __ATOMIC_ACQUIRE);
        if (start && address >= start && address < start + ranges[i].size)
            return &ranges[i];
    }
    return NULL;
}

/* The instruction that failed is tried again when this returns. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    const struct range *range = find(info->si_addr);
    int saved = errno;
    (void)context;
    if (!range ||
        mmap(range->start, range->size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        signal(number, SIG_DFL);
    errno = saved;
}

int sigbus_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

bool sigbus_protect(void *start, size_t size)
{
    unsigned i = 0;
    while (i < SIGBUS_RANGES && ranges[i].start)
        i++;
    if (i == SIGBUS_RANGES)
        return false;
    ranges[i].size = size;
    __atomic_store_n(&ranges[i].start, start, __ATOMIC_RELEASE);
    return true;
}

void sigbus_forget(const void *start)
{
    for (unsigned i = 0; i < SIGBUS_RANGES; i++)
        if (ranges[i].start == start)
            __atomic_store_n(&ranges[i].start, NULL, __ATOMIC_RELEASE);
}
