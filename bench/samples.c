/* SPDX-License-Identifier: MIT */
#include "bench/samples.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double samples_percentile(struct samples *samples, unsigned percent)
{
    qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
    size_t place = (samples->count - 1) * percent / 100;
    return (double)samples->ns[place];
}
