/* SPDX-License-Identifier: MIT */
#include "shm/counters.h"

#include <stddef.h>
#include <string.h>

#include "shm/order.h"

#define ATTEMPTS 10000
#define WORDS (sizeof(struct layout_counters) / sizeof(uint64_t))

/* As words: histograms too. */
union words {
    struct layout_counters counters;
    uint64_t words[WORDS];
};

bool counters_read(const struct layout_counters *shared, struct layout_counters *copy)
{
    const uint64_t *from = &shared->sequence;
    union words to;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t before = field_load(&shared->sequence);
        for (size_t i = 1; i < WORDS; i++)
            to.words[i] = counter_load(&from[i]);
        if (before % 2 == 0 && counters_unchanged(&shared->sequence, before)) {
            to.counters.sequence = before;
            *copy = to.counters;
            return true;
        }
    }
    return false;
}

double counters_average_usage(const struct layout_counters *counters, int64_t now)
{
    double area = (double)counters->area_high * 0x1p64 + (double)counters->area_low;
    double time = (double)(now - (int64_t)counters->reset_at);
    double since = (double)(now - (int64_t)counters->changed_at);
    if (time <= 0)
        return (double)counters->current_usage;
    return (area + (double)counters->current_usage * (since > 0 ? since : 0)) / time;
}
