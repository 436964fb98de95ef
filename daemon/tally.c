/* SPDX-License-Identifier: MIT */
#include "daemon/tally.h"

#include <string.h>

#include "shm/order.h"

static void add(uint64_t *number, uint64_t amount)
{
    counter_store(number, *number + amount);
}

/* Brings the area under the usage up to now, before the usage changes. */
static void sum_up(struct layout_counters *counters, int64_t now)
{
    unsigned __int128 area = (unsigned __int128)counters->area_high << 64 | counters->area_low;
    int64_t since = now - (int64_t)counters->changed_at;
    if (since <= 0)
        return;
    area += (unsigned __int128)counters->current_usage * (uint64_t)since;
    counter_store(&counters->area_low, (uint64_t)area);
    counter_store(&counters->area_high, (uint64_t)(area >> 64));
    counter_store(&counters->changed_at, (uint64_t)now);
}

void tally_reset(struct layout_counters *counters, int64_t now)
{
    static const struct layout_counters zero;
    const uint64_t kept[] = {counters->current_usage, counters->waiters, counters->held_long,
                             counters->freed};
    uint64_t *words = &counters->sequence;

    counters_begin(&counters->sequence);
    for (size_t i = 1; i < sizeof(zero) / sizeof(words[0]); i++)
        counter_store(&words[i], 0);
    counter_store(&counters->current_usage, kept[0]);
    counter_store(&counters->peak_usage, kept[0]);
    counter_store(&counters->reset_usage, kept[0]);
    counter_store(&counters->waiters, kept[1]);
    counter_store(&counters->held_long, kept[2]);
    counter_store(&counters->freed, kept[3]);
    counter_store(&counters->reset_at, (uint64_t)now);
    counter_store(&counters->changed_at, (uint64_t)now);
    counters_end(&counters->sequence);
}

void tally_allocated(struct layout_counters *counters, uint32_t slots, int64_t now)
{
    counters_begin(&counters->sequence);
    sum_up(counters, now);
    add(&counters->total_allocations, slots);
    add(&counters->current_usage, slots);
    if (counters->current_usage > counters->peak_usage)
        counter_store(&counters->peak_usage, counters->current_usage);
    counters_end(&counters->sequence);
}

void tally_freed(struct layout_counters *counters, int64_t held, int64_t now)
{
    counters_begin(&counters->sequence);
    sum_up(counters, now);
    add(&counters->total_deallocations, 1);
    counter_store(&counters->current_usage, counters->current_usage - 1);
    histogram_add(&counters->holds, held > 0 ? (uint64_t)held : 0);
    counters_end(&counters->sequence);
}

void tally_swept(struct layout_counters *counters, uint64_t allocated, uint64_t freed, int64_t now)
{
    counters_begin(&counters->sequence);
    sum_up(counters, now);
    add(&counters->total_allocations, allocated);
    add(&counters->total_deallocations, freed);
    add(&counters->freed, freed);
    counter_store(&counters->current_usage, counters->current_usage + allocated - freed);
    if (counters->current_usage > counters->peak_usage)
        counter_store(&counters->peak_usage, counters->current_usage);
    counters_end(&counters->sequence);
}

void tally_recover(struct layout_counters *counters, uint32_t usage, uint64_t freed, uint64_t seen,
                   int64_t now)
{
    if (counters->sequence % 2 == 0)
        counters_begin(&counters->sequence);
    sum_up(counters, now);
    add(&counters->total_deallocations, freed);
    counter_store(&counters->freed, seen);
    uint64_t grown = usage - counters->reset_usage; /* it may have shrunk: modulo 2^64 */
    uint64_t allocations = counters->total_deallocations + grown;
    if ((int64_t)(allocations - counters->total_allocations) >= 0)
        counter_store(&counters->total_allocations, allocations);
    else
        counter_store(&counters->total_deallocations, counters->total_allocations - grown);
    counter_store(&counters->current_usage, usage);
    if (usage > counters->peak_usage)
        counter_store(&counters->peak_usage, usage);
    counter_store(&counters->waiters, 0);
    counter_store(&counters->held_long, 0);
    counters_end(&counters->sequence);
}

void tally_handed_on(struct layout_counters *counters, int64_t held)
{
    counters_begin(&counters->sequence);
    histogram_add(&counters->holds, held > 0 ? (uint64_t)held : 0);
    counters_end(&counters->sequence);
}

void tally_add(struct layout_counters *counters, uint64_t *number, uint64_t amount)
{
    counters_begin(&counters->sequence);
    add(number, amount);
    counters_end(&counters->sequence);
}

void tally_set(struct layout_counters *counters, uint64_t *number, uint64_t value)
{
    counters_begin(&counters->sequence);
    counter_store(number, value);
    counters_end(&counters->sequence);
}

void tally_waited(struct layout_counters *counters, int64_t duration)
{
    counters_begin(&counters->sequence);
    histogram_add(&counters->waits, duration > 0 ? (uint64_t)duration : 0);
    counters_end(&counters->sequence);
}
