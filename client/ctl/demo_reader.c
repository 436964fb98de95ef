/* SPDX-License-Identifier: MIT */
/*
 * A reader: follows each handle to its line, counts it where it lies, keeps its totals in a slot
 * of its own, and acknowledges. It leaves when the parent's channel ends.
 */
#include <errno.h>
#include <poll.h>

#include "demo_worker.h"

struct reader {
    const struct worker_job *job;
    fastalloc_pool_t *pool;
    const fastalloc_view_t *view;
    struct totals *published; /* its slot, which the parent reads */
    struct totals totals;
    uint64_t acknowledged; /* of totals.pieces */
};

/* Shows the totals to the parent, and tells the writer which lines are done with. */
static int acknowledge(struct reader *reader)
{
    struct acknowledgement packet = {
        .pieces = reader->totals.pieces - reader->acknowledged,
        .totals = reader->totals,
    };

    if (packet.pieces == 0)
        return 0;
    *reader->published = reader->totals;
    reader->acknowledged = reader->totals.pieces;
    return channel_send(reader->job->lines[0], &packet, sizeof(packet));
}

/* Reads half of the line, says so, and waits: to be killed, or to be told to go on after all. */
static void pause_in(struct reader *reader, const struct line *line)
{
    struct message message = {.kind = MESSAGE_PAUSED, .amount = reader->totals.pieces};
    struct counts half = {0, 0, 0};

    if (acknowledge(reader) < 0)
        return;
    counts_add_text(&half, line->text, line->length / 2, line->inside_word, reader->job->rule);
    if (channel_send(reader->job->control, &message, sizeof(message)) == 0 &&
        channel_wait(reader->job->control) == 0)
        (void)channel_receive(reader->job->control, &message, sizeof(message));
}

/*
 * Counts a line in place. It is the writer's: that it was still there after reading is what makes
 * the count good.
 */
static int read_line(struct reader *reader, fastalloc_handle_t handle)
{
    const struct line *line = fastalloc_view_get(reader->view, handle);
    struct counts counts = {0, 0, 0};

    if (!line || line->length > LINE_TEXT_SIZE)
        return -ESTALE;
    if (reader->totals.pieces + 1 == reader->job->pause_at)
        pause_in(reader, line);
    counts_add_text(&counts, line->text, line->length, line->inside_word, reader->job->rule);
    if (!fastalloc_view_still_valid(reader->view, handle))
        return -ESTALE;
    counts_add(&reader->totals.counts, &counts);
    reader->totals.pieces++;
    return 0;
}

static int read_packet(struct reader *reader, const fastalloc_handle_t *handles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = read_line(reader, handles[i]);
        if (result < 0)
            return result;
    }
    return acknowledge(reader);
}

/* Reads what the writer sends until the parent says that it is over. 0 or a negated errno. */
static int read_all(struct reader *reader)
{
    fastalloc_handle_t handles[PACKET_HANDLES];
    struct pollfd entries[] = {
        {.fd = reader->job->lines[0], .events = POLLIN},
        {.fd = reader->job->control, .events = POLLIN},
    };

    for (;;) {
        if (poll(entries, 2, -1) < 0 && errno != EINTR)
            return -errno;
        ssize_t got = channel_receive(entries[0].fd, handles, sizeof(handles));
        int result = 0;
        if (got > 0)
            result = read_packet(reader, handles, (size_t)got / sizeof(handles[0]));
        else if (entries[1].revents)
            return 0;
        else if (got == 0)
            entries[0].fd = -1; /* the writer is gone: the parent knows what that means */
        if (result < 0 && result != -EPIPE)
            return result;
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
    int result = read_all(reader);
    if (result < 0)
        return channel_fail_text(job->control, result, "a line was gone before it was read");
    return fastalloc_free(reader->pool, ready.slot, &error) < 0 ? channel_fail(job->control, &error)
                                                                : 0;
}

int reader_run(const struct worker_job *job)
{
    struct reader reader = {.job = job};
    fastalloc_connection_t *connection = NULL;

    if (worker_begin(job, &connection, &reader.pool) != 0)
        return 1;
    int status = serve(&reader);
    fastalloc_disconnect(connection);
    return status;
}
