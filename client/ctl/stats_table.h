/* SPDX-License-Identifier: MIT */
/*
 * Statistics for people: one line a pool, or one pool on a page of its own.
 */
#ifndef CTL_STATS_TABLE_H
#define CTL_STATS_TABLE_H

#include <fastalloc/admin.h>

#include "table.h"

/* For as many pools as are added; to be written with table_write(). */
void stats_table_init(struct table *table);
void stats_table_add(struct table *table, const fastalloc_pool_info_t *info,
                     const fastalloc_stats_t *stats);

/* For one pool, a line for each number; capacity_max is what it may grow to. */
void stats_write(const char *pool, uint64_t capacity_max, const fastalloc_stats_t *stats,
                 FILE *file, unsigned indent);

#endif
