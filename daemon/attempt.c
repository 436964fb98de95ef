/* SPDX-License-Identifier: MIT */
#include "daemon/attempt.h"

#include <signal.h>
#include <stddef.h>

#include "shm/order.h"

#define FAULTS 4

static const int faults[FAULTS] = {SIGSEGV, SIGABRT, SIGFPE, SIGILL};
static struct sigaction before[FAULTS];
static uint32_t *counted; /* NULL: nothing is attempted */

static void count_failure(void)
{
    field32_store(counted, field32_load(counted) + 1);
}

/* What the signal does without us, it does as soon as this returns. */
static void on_fault(int number)
{
    count_failure();
    signal(number, SIG_DFL);
    raise(number);
}

void attempt_begin(uint32_t *failures)
{
    struct sigaction action = {.sa_handler = on_fault};
    counted = failures;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FAULTS; i++)
        sigaction(faults[i], &action, &before[i]);
}

void attempt_end(bool succeeded)
{
    for (size_t i = 0; i < FAULTS; i++)
        sigaction(faults[i], &before[i], NULL);
    if (succeeded)
        field32_store(counted, 0);
    else
        count_failure();
    counted = NULL;
}
