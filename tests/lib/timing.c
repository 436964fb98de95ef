/* SPDX-License-Identifier: MIT */
#include "tests/lib/timing.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLACK 10
#define SLACK_SANITIZED 50

int64_t timing_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void timing_add(struct timing *timing, int64_t ns)
{
    if (timing->count < TIMING_SAMPLES) /* a soak goes on without */
        timing->ns[timing->count++] = ns;
}

int64_t timing_limit(int64_t promised)
{
    const char *sanitize = getenv("FASTALLOC_SANITIZE");
    return promised * (sanitize && sanitize[0] != '\0' ? SLACK_SANITIZED : SLACK);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void timing_report(struct timing *timing, const char *what)
{
    ck_assert_uint_gt(timing->count, 0);
    qsort(timing->ns, timing->count, sizeof(timing->ns[0]), compare);
    unsigned middle = timing->count / 2;
    int64_t late = timing->ns[timing->count * 99 / 100];
    printf("%-48s %4u times, ms: min %.3f, median %.3f, p99 %.3f, max %.3f\n", what, timing->count,
           (double)timing->ns[0] / 1e6, (double)timing->ns[middle] / 1e6, (double)late / 1e6,
           (double)timing->ns[timing->count - 1] / 1e6);
    fflush(stdout);
    ck_assert_int_lt(late, timing_limit(TIMING_RECLAIM_NS));
}
