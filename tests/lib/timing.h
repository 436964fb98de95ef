/* SPDX-License-Identifier: MIT */
/*
 * Times that a test measured, and the line that says what they were.
 */
#ifndef TESTS_LIB_TIMING_H
#define TESTS_LIB_TIMING_H

#include <stdint.h>

#define TIMING_SAMPLES 16384

/* What the documentation promises. */
#define TIMING_RECLAIM_NS INT64_C(100000000)

struct timing {
    unsigned count;
    int64_t ns[TIMING_SAMPLES];
};

/* Nanoseconds of the monotonic clock. */
int64_t timing_now(void);

void timing_add(struct timing *timing, int64_t ns);

/*
 * Above what a test fails, of what is promised: ten times as much, since other programs run on this
 * machine as well; more with a sanitizer, which makes all of it slow.
 */
int64_t timing_limit(int64_t promised);

/*
 * Prints minimum, median, the 99th of 100 and maximum, and fails the test if the 99th took longer
 * than TIMING_RECLAIM_NS lets it.
 */
void timing_report(struct timing *timing, const char *what);

#endif
