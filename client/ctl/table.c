/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdarg.h>
#include <stdlib.h>

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
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = text_width(table->cells[i]);
        size_t column = i % table->column_count;
        if (width > widths[column])
            widths[column] = width;
    }
}

/* One cell with the gap before it; nothing is padded at the end of a line. */
static void write_cell(const struct table *table, size_t column, const char *text, size_t width,
                       FILE *file)
{
    int padding = (int)(width - text_width(text));
    int last = column == table->column_count - 1;

    fprintf(file, "%*s", column > 0 ? TABLE_GAP : 0, "");
    if (table->columns[column].align == TABLE_RIGHT)
        fprintf(file, "%*s%s", padding, "", text);
    else
        fprintf(file, "%s%*s", text, last ? 0 : padding, "");
    if (last)
        fputc('\n', file);
}

void table_write(const struct table *table, FILE *file, unsigned indent)
{
    size_t widths[TABLE_COLUMNS_MAX];
    size_t columns = table->column_count;

    measure(table, widths);
    for (size_t i = 0; i < columns && table->columns[0].title; i++) {
        fprintf(file, "%*s", i == 0 ? (int)indent : 0, "");
        write_cell(table, i, table->columns[i].title, widths[i], file);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        fprintf(file, "%*s", i % columns == 0 ? (int)indent : 0, "");
        write_cell(table, i % columns, table->cells[i], widths[i % columns], file);
    }
}
