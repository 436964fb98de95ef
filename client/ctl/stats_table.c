/* SPDX-License-Identifier: MIT */
#include "stats_table.h"

#include "text.h"

static const struct table_column columns[] = {
    {"POOL", TABLE_LEFT},       {"CAPACITY", TABLE_RIGHT},  {"IN USE", TABLE_RIGHT},
    {"%", TABLE_RIGHT},         {"CACHED", TABLE_RIGHT},    {"PEAK", TABLE_RIGHT},
    {"ALLOCATED", TABLE_RIGHT}, {"FREED", TABLE_RIGHT},     {"FAILED", TABLE_RIGHT},
    {"HIT %", TABLE_RIGHT},     {"RECLAIMED", TABLE_RIGHT}, {"WAITING", TABLE_RIGHT},
};

static const struct table_column page_columns[] = {
    {NULL, TABLE_LEFT},
    {NULL, TABLE_RIGHT},
    {NULL, TABLE_LEFT},
};

void stats_table_init(struct table *table)
{
    table_init(table, columns, sizeof(columns) / sizeof(columns[0]));
}

void stats_table_add(struct table *table, const fastalloc_pool_info_t *info,
                     const fastalloc_stats_t *stats)
{
    table_add(table, "%s", info->name);
    table_add_number(table, stats->capacity);
    table_add_number(table, stats->current_usage);
    table_add(table, "%.0f", fastalloc_stats_utilization_rate(stats) * 100);
    if (info->kind == FASTALLOC_LEASED)
        table_add_number(table, stats->cached);
    else
        table_add(table, "-");
    table_add_number(table, stats->peak_usage);
    table_add_number(table, stats->total_allocations);
    table_add_number(table, stats->total_deallocations);
    table_add_number(table, stats->allocation_failures);
    table_add(table, "%.0f", fastalloc_stats_hit_rate(stats) * 100);
    table_add_number(table, stats->reclaimed);
    table_add_number(table, stats->waiters);
}

static void add_line(struct table *table, const char *label, uint64_t number, const char *note)
{
    table_add(table, "%s", label);
    table_add_number(table, number);
    table_add(table, "%s", note);
}

/* How long something took: the longest, and below it how long half and nearly all took. */
static void add_times(struct table *table, const char *label, uint64_t most, uint64_t half,
                      uint64_t nearly)
{
    char buffer[TEXT_NUMBER_SIZE];
    char other[TEXT_NUMBER_SIZE];

    table_add(table, "%s", label);
    table_add(table, "%s", text_duration(most, buffer));
    table_add(table, "at most; p50 %s, p99 %s", text_duration(half, buffer),
              text_duration(nearly, other));
}

static void add_usage(struct table *table, uint64_t capacity_max, const fastalloc_stats_t *stats)
{
    char note[64];

    add_line(table, "capacity", stats->capacity, stats->capacity == 1 ? "slot" : "slots");
    add_line(table, "grows up to", capacity_max, "");
    snprintf(note, sizeof(note), "%.1f %%", fastalloc_stats_utilization_rate(stats) * 100);
    add_line(table, "in use", stats->current_usage, note);
    add_line(table, "available", stats->available, "");
    add_line(table, "cached", stats->cached, "of these, granted to members of a leased pool");
    snprintf(note, sizeof(note), "in use at once; %.1f on average", stats->average_usage);
    add_line(table, "peak", stats->peak_usage, note);
    snprintf(note, sizeof(note), "and usage came to the watermark: %llu",
             (unsigned long long)stats->watermarks);
    add_line(table, "growths", stats->growth_count, note);
}

static void add_requests(struct table *table, const fastalloc_stats_t *stats)
{
    char note[64];

    snprintf(note, sizeof(note), "hit rate %.1f %%", fastalloc_stats_hit_rate(stats) * 100);
    add_line(table, "allocated", stats->total_allocations, note);
    add_line(table, "freed", stats->total_deallocations, "");
    add_line(table, "failed", stats->allocation_failures, "refused: exhausted or timed out");
    add_line(table, "timeouts", stats->timeouts, "");
    add_line(table, "reclaimed", stats->reclaimed, "left by processes that ended");
    add_line(table, "evicted", stats->evictions, "for critical requests");
    snprintf(note, sizeof(note), "now; %llu ever had to", (unsigned long long)stats->total_waits);
    add_line(table, "waiting", stats->waiters, note);
    add_times(table, "waited", stats->wait_max, stats->wait_p50, stats->wait_p99);
    add_times(table, "held", stats->hold_max, stats->hold_p50, stats->hold_p99);
    snprintf(note, sizeof(note), "beyond the limit now; %llu ever were",
             (unsigned long long)stats->total_held_long);
    add_line(table, "held long", stats->held_long, note);
}

void stats_write(const char *pool, uint64_t capacity_max, const fastalloc_stats_t *stats,
                 FILE *file, unsigned indent)
{
    struct table table;
    char age[TEXT_NUMBER_SIZE];

    fprintf(file, "%*sstatistics of pool ", (int)indent, "");
    text_write(file, pool);
    fprintf(file, ", of the last %s\n", text_duration(stats->age, age));
    table_init(&table, page_columns, 3);
    add_usage(&table, capacity_max, stats);
    add_requests(&table, stats);
    table_write(&table, file, indent + 2);
    table_deinit(&table);
}
