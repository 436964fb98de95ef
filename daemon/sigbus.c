/* SPDX-License-Identifier: MIT */
#include "daemon/sigbus.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "shm/order.h"

struct range {
    char *start; /* NULL: none */
    size_t size;
};

/* The handler, of any thread, reads what the loop's thread writes. */
static struct place {
    uint64_t sequence; /* odd while the range changes */
    uint64_t start;    /* 0 = free */
    uint64_t size;
} places[SIGBUS_RANGES];

static void write_place(struct place *place, const void *start, size_t size)
{
    counters_begin(&place->sequence);
    counter_store(&place->start, (uintptr_t)start);
    counter_store(&place->size, size);
    counters_end(&place->sequence);
}

/* None if it changes meanwhile: what somebody touches stays protected for as long. */
static struct range read_place(const struct place *place)
{
    uint64_t sequence = field_load(&place->sequence);
    uintptr_t start = counter_load(&place->start);
    struct range range = {
        .start = (char *)start, // NOLINT(performance-no-int-to-ptr): it was one
        .size = counter_load(&place->size),
    };
    bool whole = sequence % 2 == 0 && counters_unchanged(&place->sequence, sequence);
    return whole ? range : (struct range){NULL, 0};
}

static struct range find(const char *address)
{
    for (unsigned i = 0; i < SIGBUS_RANGES; i++) {
        struct range range = read_place(&places[i]);
        if (range.start && address >= range.start && address < range.start + range.size)
            return range;
    }
    return (struct range){NULL, 0};
}

/* The instruction that failed is tried again when this returns. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    const struct range range = find(info->si_addr);
    int saved = errno;
    (void)context;
    if (!range.start ||
        mmap(range.start, range.size, PROT_READ | PROT_WRITE,
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
    while (i < SIGBUS_RANGES && places[i].start != 0)
        i++;
    if (i == SIGBUS_RANGES)
        return false;
    write_place(&places[i], start, size);
    return true;
}

void sigbus_forget(const void *start)
{
    for (unsigned i = 0; i < SIGBUS_RANGES; i++)
        if (places[i].start == (uintptr_t)start)
            write_place(&places[i], NULL, 0);
}
