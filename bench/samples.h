/* SPDX-License-Identifier: MIT */
/*
 * The times of many single operations of one round, for their percentiles.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SAMPLES_MAX 4096

struct samples {
    size_t count;
    int64_t ns[SAMPLES_MAX];
};

static inline int64_t clock_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline void samples_add(struct samples *samples, int64_t ns)
{
    if (samples->count < SAMPLES_MAX)
        samples->ns[samples->count++] = ns;
}

/* In nanoseconds; `percent` of the samples took no longer. Sorts the samples, of which there must be some. */
double samples_percentile(struct samples *samples, unsigned percent);

#endif
