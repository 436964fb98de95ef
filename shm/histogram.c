/* SPDX-License-Identifier: MIT */
#include "shm/histogram.h"

#include "shm/order.h"

#define LAST (HISTOGRAM_BUCKETS - 1)

_Static_assert(HISTOGRAM_BUCKETS == 4 + 4 * (47 - 2), "4 below 2^2, 4 a power from there to 2^47");

static void count_one(uint64_t *counter)
{
    counter_store(counter, counter_load(counter) + 1);
}

void histogram_add(struct histogram *histogram, uint64_t duration)
{
    count_one(&histogram->count);
    count_one(&histogram->buckets[histogram_bucket(duration)]);
    if (duration > counter_load(&histogram->max))
        counter_store(&histogram->max, duration);
}

/* The power of two is the highest bit, the bucket within it the two bits that follow. */
uint32_t histogram_bucket(uint64_t duration)
{
    if (duration < 4)
        return (uint32_t)duration;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(duration);
    uint32_t quarter = duration >> (power - 2) & 3;
    uint32_t bucket = 4 * (power - 1) + quarter;
    return bucket < LAST ? bucket : LAST;
}

uint64_t histogram_bucket_max(uint32_t bucket)
{
    if (bucket < 4)
        return bucket;
    if (bucket >= LAST)
        return UINT64_MAX;
    return (UINT64_C(5) + bucket % 4) * (UINT64_C(1) << (bucket / 4 - 1)) - 1;
}

/* How many of `count` are `share` of them, rounded up. */
static uint64_t rank_of(double share, uint64_t count)
{
    if (share >= 1)
        return count;
    if (!(share > 0)) /* nor a number, perhaps */
        return 1;
    double exact = share * (double)count;
    uint64_t rank = (uint64_t)exact;
    return (double)rank < exact ? rank + 1 : rank;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    uint64_t rank, sum = 0;

    if (histogram->count == 0)
        return 0;
    rank = rank_of(share, histogram->count);
    for (uint32_t i = 0; i < LAST; i++) {
        sum += histogram->buckets[i];
        if (sum >= rank) {
            uint64_t top = histogram_bucket_max(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
