/* SPDX-License-Identifier: MIT */
/*
 * Text for people: strings of others made harmless, numbers and sizes made readable. JSON has
 * nothing to do with it.
 */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stdint.h>
#include <stdio.h>

#define TEXT_NUMBER_SIZE 32 /* room for any number or size */

/*
 * A copy in which control characters, what turns the direction of writing, and bytes that are no
 * UTF-8 stand as \xNN. To be freed.
 */
char *text_clean(const char *text);

/* Writes text_clean(text). */
void text_write(FILE *file, const char *text);

/* Columns that it takes on a terminal: its characters. */
size_t text_width(const char *text);

/* "1,234,567". */
const char *text_number(uint64_t number, char buffer[TEXT_NUMBER_SIZE]);

/* "512 B", "62.5 KiB", "1 MiB". */
const char *text_size(uint64_t bytes, char buffer[TEXT_NUMBER_SIZE]);

/* "90 ns", "850 us", "12.3 ms", "4.56 s", "3 min 20 s", "5 h 2 min", "4 d 3 h". */
const char *text_duration(uint64_t nanoseconds, char buffer[TEXT_NUMBER_SIZE]);

#endif
