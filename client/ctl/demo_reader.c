/* SPDX-License-Identifier: MIT */
/*
 * A reader: adopts the lines whose handles come, follows each to where it lies and counts it there,
 * frees them, keeps its totals in a slot of its own, and acknowledges. It leaves when the parent's
 * channel ends.
 */
#include <errno.h>
#include <poll.h>

#include "demo_worker.h"
#include "failure.h"

/* The most lines that it adopts at once. */
#define READER_LINES 512

struct reader {
    const struct worker_job *job;
    fastalloc_pool_t *pool;
    const fastalloc_view_t *view;
    struct totals *published; /* its slot, which the parent reads */
    struct totals totals;
    uint64_t acknowledged;                  /* of totals.pieces */
    fastalloc_handle_t lines[READER_LINES]; /* that it has adopted */
    size_t freed;                           /* of these, */
    size_t read;
    fastalloc_error_t error;
};

/*
 * Frees what it has read, shows the totals to the parent, and tells the writer which lines are done
 * with. Should it be killed before that, the writer sends them to another reader, which counts them
 * instead.
 */
static int settle(struct reader *reader)
{
    struct acknowledgement packet = {
        .pieces = reader->totals.pieces - reader->acknowledged,
        .totals = reader->totals,
    };

    if (packet.pieces == 0)
        return 0;
    int result = fastalloc_free_many(reader->pool, reader->lines + reader->freed,
                                     reader->read - reader->freed, &reader->error);
    if (result < 0)
        return result;
    reader->freed = reader->read;
    *reader->published = reader->totals;
    reader->acknowledged = reader->totals.pieces;
    result = channel_send(reader->job->lines[0], &packet, sizeof(packet));
    if (result == 0 ||
        result == -EPIPE) /* the parent knows what it means that the writer is gone */
        return 0;
    return failure_set(&reader->error, result, "a line can't be acknowledged");
}

/* Reads half of the line, says so, and waits: to be killed, or to be told to go on after all. */
static int pause_in(struct reader *reader, const struct line *line)
{
    struct message message = {.kind = MESSAGE_PAUSED, .amount = reader->totals.pieces};
    struct counts half = {0, 0, 0};
    int result = settle(reader);

    if (result < 0)
        return result;
    counts_add_text(&half, line->text, line->length / 2, line->inside_word, reader->job->rule);
    if (channel_send(reader->job->control, &message, sizeof(message)) == 0 &&
        channel_wait(reader->job->control) == 0)
        (void)channel_receive(reader->job->control, &message, sizeof(message));
    return 0;
}

/* Counts a line in place. It is the reader's own: whatever becomes of the writer, it stays. */
static int read_line(struct reader *reader, fastalloc_handle_t handle)
{
    const struct line *line = fastalloc_view_get(reader->view, handle);
    int result = 0;

    if (!line || line->length > LINE_TEXT_SIZE)
        return failure_set(&reader->error, -ESTALE, "a line was gone before it was read");
    if (reader->totals.pieces + 1 == reader->job->pause_at)
        result = pause_in(reader, line);
    if (result < 0)
        return result;
    counts_add_text(&reader->totals.counts, line->text, line->length, line->inside_word,
                    reader->job->rule);
    reader->totals.pieces++;
    reader->read++;
    return 0;
}

/* One request to adopt them all, and one to free them. */
static int read_lines(struct reader *reader, size_t count)
{
    int result = fastalloc_adopt(reader->pool, reader->lines, count, &reader->error);

    reader->freed = 0;
    reader->read = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = read_line(reader, reader->lines[i]);
    return result == 0 ? settle(reader) : result;
}

/*
 * Takes the handles of all packets that are there, as far as there is room. How many; `end` is
 * whether the writer is gone.
 */
static size_t receive_lines(struct reader *reader, bool *end)
{
    size_t count = 0;

    while (count + PACKET_HANDLES <= READER_LINES) {
        ssize_t got = channel_receive(reader->job->lines[0], reader->lines + count,
                                      PACKET_HANDLES * sizeof(reader->lines[0]));
        *end = got == 0;
        if (got <= 0)
            break;
        count += (size_t)got / sizeof(reader->lines[0]);
    }
    return count;
}

/* Reads what the writer sends until the parent says that it is over. 0, or reader->error. */
static int read_all(struct reader *reader)
{
    struct pollfd entries[] = {
        {.fd = reader->job->lines[0], .events = POLLIN},
        {.fd = reader->job->control, .events = POLLIN},
    };

    for (;;) {
        bool end = false;
        if (poll(entries, 2, -1) < 0 && errno != EINTR)
            return failure_set(&reader->error, -errno, "a reader can't wait");
        size_t count = entries[0].fd < 0 ? 0 : receive_lines(reader, &end);
        int result = count > 0 ? read_lines(reader, count) : 0;
        if (result < 0)
            return result;
        if (count == 0 && entries[1].revents)
            return 0;
        if (end)
            entries[0].fd = -1; /* the parent knows what that means */
    }
}

static int serve(struct reader *reader)
{
    const struct worker_job *job = reader->job;
    struct message ready = {.kind = MESSAGE_READY};
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;

    if (fastalloc_allocate(reader->pool, FASTALLOC_NOWAIT, &ready.slot, &error) < 0)
        return channel_fail(job->control, &error);
    reader->view = fastalloc_pool_view(reader->pool);
    reader->published = fastalloc_get(reader->pool, ready.slot);
    if (!reader->published)
        return channel_fail_text(job->control, -ESTALE,
                                 "a slot just allocated is gone: is the pool destroyed?");
    *reader->published = reader->totals;
    if (channel_send(job->control, &ready, sizeof(ready)) < 0)
        return 1;
    if (read_all(reader) < 0)
        return channel_fail(job->control, &reader->error);
    return fastalloc_free(reader->pool, ready.slot, &error) < 0 ? channel_fail(job->control, &error)
                                                                : 0;
}

int reader_run(const struct worker_job *job)
{
    struct reader reader = {.job = job, .error = FASTALLOC_ERROR_INIT};
    fastalloc_connection_t *connection = NULL;

    if (worker_begin(job, &connection, &reader.pool) != 0)
        return 1;
    int status = serve(&reader);
    fastalloc_disconnect(connection);
    return status;
}
