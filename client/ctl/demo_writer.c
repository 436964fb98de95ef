/* SPDX-License-Identifier: MIT */
#include "demo_writer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

#define PROGRESS_STEP (UINT64_C(1) << 20) /* bytes */

void *writer_get(struct writer *writer, fastalloc_handle_t handle)
{
    void *object = fastalloc_get(writer->pool, handle);

    if (!object)
        failure_set(&writer->error, -ESTALE,
                    "a slot just allocated is gone: is the pool destroyed?");
    return object;
}

static int put_line(struct writer *writer, fastalloc_handle_t handle, const struct piece *piece)
{
    struct line *line = writer_get(writer, handle);

    if (!line)
        return writer->error.code;
    line->length = (uint32_t)piece->length;
    line->inside_word = piece->inside_word;
    memcpy(line->text, piece->text, piece->length);
    return 0;
}

int writer_stage(struct writer *writer)
{
    struct piece pieces[SOURCE_BATCH];
    fastalloc_handle_t handles[SOURCE_BATCH];
    ssize_t count = source_take(&writer->source, pieces);

    if (count < 0)
        return failure_set(&writer->error, (int)count, "the file can't be read any further");
    writer->end = count == 0;
    if (writer->end)
        return 0;
    int result = fastalloc_allocate_many(writer->pool, (size_t)count, FASTALLOC_NOWAIT, handles,
                                         &writer->error);
    if (result < 0)
        return result;
    for (ssize_t i = 0; i < count && result == 0; i++)
        result = put_line(writer, handles[i], &pieces[i]);
    if (result < 0)
        return result;
    queue_push(&writer->ready, handles, (size_t)count);
    writer->pieces += (uint64_t)count;
    return 0;
}

int writer_free(struct writer *writer, bool all)
{
    fastalloc_handle_t handles[SOURCE_BATCH];

    while (writer->finished.count >= (all ? 1 : SOURCE_BATCH)) {
        size_t count = queue_pop(&writer->finished, handles, SOURCE_BATCH);
        int result = fastalloc_free_many(writer->pool, handles, count, &writer->error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Tells the parent how far it is, now and then. A bar that misses a step is no reason to wait. */
static void report_progress(struct writer *writer)
{
    struct message message = {.kind = MESSAGE_PROGRESS};

    for (unsigned i = 0; i < DEMO_READERS; i++)
        message.amount += writer->deliveries[i].totals.counts.bytes;
    if (message.amount < writer->reported + PROGRESS_STEP)
        return;
    writer->reported = message.amount;
    (void)channel_send(writer->job->control, &message, sizeof(message));
}

/* Whether each line has been acknowledged. */
static bool is_finished(const struct writer *writer)
{
    size_t open = writer->ready.count;

    for (unsigned i = 0; i < DEMO_READERS; i++)
        open += writer->deliveries[i].sent.count;
    return writer->end && open == 0;
}

static int finish(struct writer *writer)
{
    struct message message = {.kind = MESSAGE_DONE, .amount = writer->pieces};
    int result = writer_free(writer, true);

    if (result < 0)
        return result;
    writer->done = true;
    return channel_send(writer->job->control, &message, sizeof(message));
}

/* One turn: waits for a reader, or for the parent's end of the channel. 1: it is over. */
static int turn(struct writer *writer)
{
    struct pollfd entries[DEMO_READERS + 1];

    for (unsigned i = 0; i < DEMO_READERS; i++)
        entries[i] = (struct pollfd){.fd = writer->deliveries[i].fd, .events = POLLIN};
    entries[DEMO_READERS] = (struct pollfd){.fd = writer->job->control, .events = POLLIN};
    if (poll(entries, DEMO_READERS + 1, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        int result = entries[i].revents ? writer_receive(writer, i) : 0;
        if (result < 0)
            return result;
    }
    report_progress(writer);
    return entries[DEMO_READERS].revents ? 1 : 0;
}

/* Until the parent says that it is over. */
static int pass(struct writer *writer)
{
    int result = 0;

    while (result == 0) {
        result = writer_send(writer);
        if (result == 0)
            result = writer_free(writer, false);
        if (result == 0 && is_finished(writer) && !writer->done)
            result = finish(writer);
        if (result == 0)
            result = turn(writer);
    }
    return result < 0 ? result : 0;
}

static int run(struct writer *writer)
{
    int result = pass(writer);

    if (result == 0) {
        queue_move(&writer->kept, &writer->finished, QUEUE_CAPACITY);
        result = writer_free(writer, true);
    }
    return result;
}

int writer_run(const struct worker_job *job)
{
    struct writer *writer = calloc(1, sizeof(*writer));
    fastalloc_connection_t *connection = NULL;
    int status = 1;

    if (!writer)
        return channel_fail_text(job->control, -ENOMEM, "out of memory");
    writer->job = job;
    writer->error = FASTALLOC_ERROR_INIT;
    source_init(&writer->source, job->file, job->rule);
    for (unsigned i = 0; i < DEMO_READERS; i++)
        writer->deliveries[i].fd = job->lines[i];
    if (worker_begin(job, &connection, &writer->pool) == 0) {
        status = run(writer) < 0 ? channel_fail(job->control, &writer->error) : 0;
        fastalloc_disconnect(connection);
    }
    free(writer);
    return status;
}
