/* SPDX-License-Identifier: MIT */
#include "demo_lines.h"

#include <string.h>

static bool is_space(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/*
 * Whether the byte, which is no space, begins a word. In the C locale, whatever the process' own
 * is.
 */
static bool begins_word(unsigned char byte, enum word_rule rule)
{
    return rule == WORD_ANY || (byte > ' ' && byte < 0x7f);
}

size_t piece_length(const unsigned char *text, size_t length, size_t limit)
{
    size_t most = length < limit ? length : limit;
    const unsigned char *newline = memchr(text, '\n', most);

    return newline ? (size_t)(newline - text) + 1 : most;
}

size_t piece_count(const unsigned char *text, size_t length, size_t limit, size_t most)
{
    size_t count = 0;

    for (size_t at = 0; at < length && count < most; count++)
        at += piece_length(text + at, length - at, limit);
    return count;
}

bool word_goes_on(const unsigned char *text, size_t length, bool before, enum word_rule rule)
{
    while (length-- > 0) {
        if (is_space(text[length]))
            return false;
        if (begins_word(text[length], rule))
            return true;
    }
    return before;
}

void counts_add_text(struct counts *counts, const unsigned char *text, size_t length,
                     bool inside_word, enum word_rule rule)
{
    uint64_t lines = 0;
    uint64_t words = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = text[i];
        if (is_space(byte)) {
            inside_word = false;
            lines += byte == '\n';
        } else if (!inside_word && begins_word(byte, rule)) {
            inside_word = true;
            words++;
        }
    }
    counts->lines += lines;
    counts->words += words;
    counts->bytes += length;
}

void counts_add(struct counts *counts, const struct counts *more)
{
    counts->lines += more->lines;
    counts->words += more->words;
    counts->bytes += more->bytes;
}

bool counts_equal(const struct counts *a, const struct counts *b)
{
    return a->lines == b->lines && a->words == b->words && a->bytes == b->bytes;
}
