/* SPDX-License-Identifier: MIT */
#include "demo_source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void source_init(struct source *source, int fd, enum word_rule rule)
{
    source->fd = fd;
    source->rule = rule;
    source->offset = 0;
    source->end = false;
    source->inside_word = false;
    source->start = 0;
    source->stop = 0;
}

/* Fills the buffer behind what is left in it. */
static int fill(struct source *source)
{
    memmove(source->buffer, source->buffer + source->start, source->stop - source->start);
    source->stop -= source->start;
    source->start = 0;

    while (!source->end && source->stop < SOURCE_BUFFER_SIZE) {
        ssize_t got = pread(source->fd, source->buffer + source->stop,
                            SOURCE_BUFFER_SIZE - source->stop, source->offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        source->end = got == 0;
        source->stop += (size_t)got;
        source->offset += got;
    }
    return 0;
}

static struct piece cut(struct source *source)
{
    const unsigned char *text = source->buffer + source->start;
    size_t length = piece_length(text, source->stop - source->start, LINE_TEXT_SIZE);
    uint64_t offset = (uint64_t)source->offset - (source->stop - source->start);
    struct piece piece = {text, length, source->inside_word, offset};

    source->inside_word = word_goes_on(text, length, source->inside_word, source->rule);
    source->start += length;
    return piece;
}

ssize_t source_take(struct source *source, struct piece pieces[SOURCE_BATCH])
{
    size_t count = 0;

    /* With this much in the buffer no piece is cut short by the buffer's end. */
    if (!source->end && source->stop - source->start < SOURCE_BATCH * LINE_TEXT_SIZE) {
        int result = fill(source);
        if (result < 0)
            return result;
    }
    while (count < SOURCE_BATCH && source->start < source->stop)
        pieces[count++] = cut(source);
    return (ssize_t)count;
}

int source_read_again(const struct source *source, uint64_t offset, void *text, size_t length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = pread(source->fd, (char *)text + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        done += (size_t)got;
    }
    return 0;
}
