/* SPDX-License-Identifier: MIT */
/*
 * The text file as a stream of pieces. It reads with pread(), so the descriptor's own position
 * stays where it is. It owns its buffer, not the descriptor.
 */
#ifndef CTL_DEMO_SOURCE_H
#define CTL_DEMO_SOURCE_H

#include <sys/types.h>

#include "demo_lines.h"

#define SOURCE_BATCH ((size_t)512) /* the most pieces that one call takes */
#define SOURCE_BUFFER_SIZE (2 * SOURCE_BATCH * LINE_TEXT_SIZE)

struct piece {
    const unsigned char *text;
    size_t length;
    bool inside_word;
    uint64_t offset; /* in the file */
};

struct source {
    int fd;
    enum word_rule rule;
    off_t offset; /* behind what was read */
    bool end;     /* the file has no more */
    bool inside_word;
    size_t start; /* of what isn't taken yet */
    size_t stop;
    unsigned char buffer[SOURCE_BUFFER_SIZE];
};

void source_init(struct source *source, int fd, enum word_rule rule);

/*
 * The next pieces, SOURCE_BATCH of them unless the file ends before. They stay good until the next
 * call. Returns how many, 0 at the end of the file, or a negated errno.
 */
ssize_t source_take(struct source *source, struct piece pieces[SOURCE_BATCH]);

/* Reads a piece's text once more, from the file. 0, or a negated errno, -EIO if it isn't there. */
int source_read_again(const struct source *source, uint64_t offset, void *text, size_t length);

#endif
