/* SPDX-License-Identifier: MIT */
/*
 * A table for people: cells come in row by row, and are made harmless; columns are aligned when it
 * is printed.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_column {
    const char *title; /* NULL in all columns: no head */
    enum table_align align;
};

struct table {
    const struct table_column *columns; /* the caller's */
    size_t column_count;
    char **cells;
    size_t cell_count;
};

void table_init(struct table *table, const struct table_column *columns, size_t count);
void table_deinit(struct table *table);

/* The next cell of the row, or the first of a new one. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_add_number(struct table *table, uint64_t number);
void table_add_size(struct table *table, uint64_t bytes);

/* Writes the table, `indent` spaces before each line. */
void table_write(const struct table *table, FILE *file, unsigned indent);

#endif
