/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations in shared memory: one counter a bucket, four buckets a power of two, so
 * that a percentile below 2^47 ns (39 hours) is at most a quarter too high. One process writes, any
 * may read; the numbers of a moment belong together only under the sequence that guards them.
 */
#ifndef SHM_HISTOGRAM_H
#define SHM_HISTOGRAM_H

#include <stdint.h>

/*
 * Buckets 0 to 3 hold 0 to 3 ns, one each; then come four for each power of two from 4 ns on, of
 * equal width. The last one, which begins at 7/8 of 2^47 ns, holds everything above as well.
 */
#define HISTOGRAM_BUCKETS 184u

struct histogram {
    uint64_t count;
    uint64_t max; /* ns, exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

_Static_assert(sizeof(struct histogram) == 1488, "layout");

/* By the writer alone, between counters_begin() and counters_end(). */
void histogram_add(struct histogram *histogram, uint64_t duration);

/* The bucket of a duration, and the highest duration that it holds (UINT64_MAX for the last). */
uint32_t histogram_bucket(uint64_t duration);
uint64_t histogram_bucket_max(uint32_t bucket);

/*
 * The duration that `share` (0 to 1) of all don't exceed, at least one of them: the top of its
 * bucket, at most the maximum; 0 when there are none. Of a copy, or by the writer.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
