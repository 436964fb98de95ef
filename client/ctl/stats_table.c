/* SPDX-License-Identifier: MIT */
#include "stats_table.h"

#include "text.h"

static const struct table_column columns[] = {
    {"POOL", TABLE_LEFT},       {"CAPACITY", TABLE_RIGHT}, {"IN USE", TABLE_RIGHT},
    {"%", TABLE_RIGHT},         {"PEAK", TABLE_RIGHT},     {"ALLOCATED", TABLE_RIGHT},
    {"FREED", TABLE_RIGHT},     {"FAILED", TABLE_RIGHT},   {"TIMEOUTS", TABLE_RIGHT},
    {"RECLAIMED", TABLE_RIGHT}, {"WAITING", TABLE_RIGHT},
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

void stats_table_add(struct table *table, const char *pool, const fastalloc_stats_t *stats)
{
    table_add(table, "%s", pool);
    table_add_number(table, stats->capacity);
    table_add_number(table, stats->current_usage);
    table_add(table, "%.0f", fastalloc_stats_utilization_rate(stats) * 100);
    table_add_number(table, stats->peak_usage);
    table_add_number(table, stats->total_allocations);
    table_add_number(table, stats->total_deallocations);
    table_add_number(table, stats->allocation_failures);
    table_add_number(table, stats->timeouts);
    table_add_number(table, stats->reclaimed);
    table_add_number(table, stats->waiters);
}

static void add_line(struct table *table, const char *label, uint64_t number, const char *note)
{
    table_add(table, "%s", label);
    table_add_number(table, number);
    table_add(table, "%s", note);
}

static void add_lines(struct table *table, const fastalloc_stats_t *stats, const char *percent)
{
    add_line(table, "capacity", stats->capacity, "slots");
    add_line(table, "in use", stats->current_usage, percent);
    add_line(table, "available", stats->available, "");
    add_line(table, "peak", stats->peak_usage, "in use at once");
    add_line(table, "allocated", stats->total_allocations, "since the pool was made");
    add_line(table, "freed", stats->total_deallocations, "");
    add_line(table, "failed", stats->allocation_failures, "refused: exhausted or timed out");
    add_line(table, "timeouts", stats->timeouts, "");
    add_line(table, "reclaimed", stats->reclaimed, "left by processes that ended");
    add_line(table, "waiting", stats->waiters, "now");
}

void stats_write(const char *pool, const fastalloc_stats_t *stats, FILE *file, unsigned indent)
{
    struct table table;
    char percent[TEXT_NUMBER_SIZE];

    snprintf(percent, sizeof(percent), "%.1f %%", fastalloc_stats_utilization_rate(stats) * 100);
    fprintf(file, "%*sstatistics of pool ", (int)indent, "");
    text_write(file, pool);
    fputc('\n', file);
    table_init(&table, page_columns, 3);
    add_lines(&table, stats, percent);
    table_write(&table, file, indent + 2);
    table_deinit(&table);
}
