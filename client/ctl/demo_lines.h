/* SPDX-License-Identifier: MIT */
/*
 * Lines as the demo passes them: cut into pieces that fit into a slot, and counted as wc counts.
 * Each piece carries what is needed to count it alone, so that any reader may take any piece.
 * Pure.
 */
#ifndef CTL_DEMO_LINES_H
#define CTL_DEMO_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What begins a word: that differs between the versions of wc. A space ends it in all of them. */
enum word_rule {
    WORD_PRINTABLE, /* a printable byte; others neither begin nor end one */
    WORD_ANY,       /* whatever is no space */
};

struct counts {
    uint64_t lines; /* newlines */
    uint64_t words;
    uint64_t bytes;
};

#define LINE_SLOT_SIZE 256
#define LINE_TEXT_SIZE (LINE_SLOT_SIZE - 8)

/* A slot of the pool: a line with its newline, or a piece of a longer one. */
struct line {
    uint32_t length;
    uint32_t inside_word; /* 1: the piece before ended inside a word, which goes on here */
    unsigned char text[LINE_TEXT_SIZE];
};

_Static_assert(sizeof(struct line) == LINE_SLOT_SIZE, "a line fills a slot");

/*
 * The length of the piece that the text begins with: up to and with the newline, at most `limit`.
 */
size_t piece_length(const unsigned char *text, size_t length, size_t limit);

/* How many pieces the text makes, but no more than `most`. */
size_t piece_count(const unsigned char *text, size_t length, size_t limit, size_t most);

/* Whether a word goes on behind the text, when `before` says whether one went on into it. */
bool word_goes_on(const unsigned char *text, size_t length, bool before, enum word_rule rule);

/* Adds what the text holds; a word that goes on into it was counted where it began. */
void counts_add_text(struct counts *counts, const unsigned char *text, size_t length,
                     bool inside_word, enum word_rule rule);

void counts_add(struct counts *counts, const struct counts *more);
bool counts_equal(const struct counts *a, const struct counts *b);

#endif
