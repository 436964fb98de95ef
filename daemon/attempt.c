/* SPDX-License-Identifier: MIT */
#include "daemon/attempt.h"

#include <signal.h>
#include <stddef.h>

#include "shm/order.h"

#define FAULTS 4

static const int faults[FAULTS] = {SIGSEGV, SIGABRT, SIGFPE, SIGILL};
static struct sigaction before[FAULTS], before_bus_error;
static uint32_t *counted; /* NULL: nothing is attempted */

static void count_failure(void)
{
    field32_store(counted, field32_load(counted) + 1);
}

/* What the signal does without us, be it to say a last line, it does as soon as this returns. */
static void on_fault(int number)
{
    count_failure();
    for (size_t i = 0; i < FAULTS; i++)
        if (faults[i] == number)
            sigaction(number, &before[i], NULL);
    raise(number);
}

/* Memory that a member cut short is a matter of its pool (daemon/sigbus.h); all else is a fault. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    struct sigaction now;
    if (before_bus_error.sa_flags & SA_SIGINFO)
        before_bus_error.sa_sigaction(number, info, context);
    else
        signal(number, SIG_DFL);
    sigaction(number, NULL, &now);
    if (now.sa_handler == SIG_DFL)
        count_failure();
}

void attempt_begin(uint32_t *failures)
{
    struct sigaction action = {.sa_handler = on_fault};
    struct sigaction bus_error = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    counted = failures;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FAULTS; i++)
        sigaction(faults[i], &action, &before[i]);
    sigemptyset(&bus_error.sa_mask);
    sigaction(SIGBUS, &bus_error, &before_bus_error);
}

void attempt_end(bool succeeded)
{
    for (size_t i = 0; i < FAULTS; i++)
        sigaction(faults[i], &before[i], NULL);
    sigaction(SIGBUS, &before_bus_error, NULL);
    if (succeeded)
        field32_store(counted, 0);
    else
        count_failure();
    counted = NULL;
}
