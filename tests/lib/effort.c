/* SPDX-License-Identifier: MIT */
#include "tests/lib/effort.h"

#include <stdlib.h>

unsigned test_effort(void)
{
    const char *text = getenv("FASTALLOC_EFFORT");
    unsigned long effort = text ? strtoul(text, NULL, 10) : 1;
    return effort >= 1 && effort <= 100000 ? (unsigned)effort : 1;
}
