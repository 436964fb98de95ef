/* SPDX-License-Identifier: MIT */
#include "tests/lib/effort.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/timing.h"

unsigned test_effort(void)
{
    const char *text = getenv("FASTALLOC_EFFORT");
    unsigned long effort = text ? strtoul(text, NULL, 10) : 1;
    return effort >= 1 && effort <= 100000 ? (unsigned)effort : 1;
}

void test_seed(void)
{
    const char *text = getenv("FASTALLOC_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)timing_now();
    printf("FASTALLOC_SEED=%u\n", seed);
    fflush(stdout);
    srandom(seed);
}
