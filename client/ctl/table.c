/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdarg.h>
#include <stdlib.h>

#include "must.h"
#include "text.h"

#define TABLE_COLUMNS_MAX 16
#define TABLE_GAP 2

void table_init(struct table *table, const struct table_column *columns, size_t count)
{
    *table = (struct table){.columns = columns, .column_count = count};
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
}

void table_add(struct table *table, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    char **cells = realloc(table->cells, (table->cell_count + 1) * sizeof(*cells));
    table->cells = must(cells);
    table->cells[table->cell_count++] = text_clean(must(text));
    free(text);
}

void table_add_number(struct table *table, uint64_t number)
{
    char buffer[TEXT_NUMBER_SIZE];

    table_add(table, "%s", text_number(number, buffer));
}

void table_add_size(struct table *table, uint64_t bytes)
{
    char buffer[TEXT_NUMBER_SIZE];

    table_add(table, "%s", text_size(bytes, buffer));
}

static void measure(const struct table *table, size_t widths[TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = table->columns[i].title ? text_width(table->columns[i].title) : 0;
    for (size_t i = 0, column = 0; i < table->cell_count; i++) {
        size_t width = text_width(table->cells[i]);
        if (width > widths[column])
            widths[column] = width;
        column = column + 1 < table->column_count ? column + 1 : 0;
    }
}

static void write_spaces(FILE *file, size_t count)
{
    fprintf(file, "%*s", (int)count, "");
}

/* One line. Nothing is padded at its end: spaces are written when something follows them. */
static void write_row(const struct table *table, const size_t widths[TABLE_COLUMNS_MAX],
                      const char *const *cells, FILE *file, size_t indent)
{
    size_t spaces = indent;

    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = text_width(cells[i]);
        size_t padding = widths[i] - width;
        int right = table->columns[i].align == TABLE_RIGHT;
        if (width > 0) {
            write_spaces(file, spaces + (right ? padding : 0));
            fputs(cells[i], file);
            spaces = 0;
        }
        spaces += (width > 0 ? (right ? 0 : padding) : widths[i]) + TABLE_GAP;
    }
    fputc('\n', file);
}

void table_write(const struct table *table, FILE *file, unsigned indent)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    const char *titles[TABLE_COLUMNS_MAX] = {NULL};

    measure(table, widths);
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = table->columns[i].title;
    if (titles[0])
        write_row(table, widths, titles, file, indent);
    for (size_t i = 0; i < table->cell_count; i += table->column_count)
        write_row(table, widths, (const char *const *)(table->cells + i), file, indent);
}
