/* SPDX-License-Identifier: MIT */
/*
 * A document that a test compares with the code: its lines, and the rows of its tables. What is
 * wrong is written to a report, one line each, so that a test can also show that a fault would be
 * noticed.
 */
#ifndef TESTS_UNIT_DOCUMENT_H
#define TESTS_UNIT_DOCUMENT_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_CELLS 6
#define DOCUMENT_CELL_SIZE 256

struct document_row {
    unsigned count;
    char cell[DOCUMENT_CELLS][DOCUMENT_CELL_SIZE];
};

/* The file docs/<name>, whole. To be freed. */
static inline char *document_read(const char *name)
{
    const char *source = getenv("SOURCE_DIR");
    char path[4096];
    char *text = NULL;
    size_t room = 0;

    snprintf(path, sizeof(path), "%s/docs/%s", source ? source : ".", name);
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    ck_assert_int_gt(getdelim(&text, &room, '\0', file), 0);
    fclose(file);
    return text;
}

/* A copy in which `part`, wherever it stands first, is `other`. To be freed. */
static inline char *document_replace(const char *text, const char *part, const char *other)
{
    const char *place = strstr(text, part);
    ck_assert_msg(place != NULL, "the document has no '%s'", part);
    size_t before = (size_t)(place - text), size = strlen(text) + strlen(other) + 1;
    char *copy = malloc(size);
    snprintf(copy, size, "%.*s%s%s", (int)before, text, other, place + strlen(part));
    return copy;
}

/* Takes the next line, without its end. False when there is none. */
static inline bool document_line(const char **text, char *line, size_t size)
{
    if (**text == '\0')
        return false;
    size_t length = strcspn(*text, "\n");
    ck_assert_uint_lt(length, size);
    memcpy(line, *text, length);
    line[length] = '\0';
    *text += length + ((*text)[length] == '\n');
    return true;
}

/* Splits "| a | b |" into its cells. False if the line is no row of a table. */
static inline bool document_split(const char *line, struct document_row *row)
{
    memset(row, 0, sizeof(*row));
    if (line[0] != '|')
        return false;
    for (const char *p = line + 1; *p != '\0' && row->count < DOCUMENT_CELLS; row->count++) {
        size_t length = strcspn(p, "|");
        const char *next = p[length] == '|' ? p + length + 1 : p + length;
        while (length > 0 && *p == ' ')
            p++, length--;
        while (length > 0 && p[length - 1] == ' ')
            length--;
        ck_assert_uint_lt(length, DOCUMENT_CELL_SIZE);
        memcpy(row->cell[row->count], p, length);
        p = next;
    }
    return true;
}

/* Takes the next row of the table that the text is in, and passes over the line below its head. */
static inline bool document_row(const char **text, struct document_row *row)
{
    const char *start = *text;
    char line[2048];

    if (!document_line(text, line, sizeof(line)) || !document_split(line, row)) {
        *text = start;
        return false;
    }
    return strncmp(row->cell[0], "---", 3) != 0 || document_row(text, row);
}

#endif
