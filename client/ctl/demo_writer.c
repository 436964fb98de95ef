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

/* `text` NULL: it is read from the file once more. */
static int put_line(struct writer *writer, const struct parcel *parcel, const unsigned char *text)
{
    struct line *line = writer_get(writer, parcel->handle);
    int result = 0;

    if (!line)
        return writer->error.code;
    line->length = parcel->length;
    line->inside_word = parcel->inside_word;
    if (text)
        memcpy(line->text, text, parcel->length);
    else
        result = source_read_again(&writer->source, parcel->offset, line->text, parcel->length);
    return result < 0 ? failure_set(&writer->error, result, "the file can't be read once more") : 0;
}

/* Gives each parcel a slot, and puts its line there. `pieces` NULL: as above. */
static int put_lines(struct writer *writer, struct parcel *parcels, size_t count,
                     const struct piece *pieces)
{
    fastalloc_handle_t handles[SOURCE_BATCH];
    int result =
        fastalloc_allocate_many(writer->pool, count, FASTALLOC_NOWAIT, handles, &writer->error);

    for (size_t i = 0; i < count && result == 0; i++) {
        parcels[i].handle = handles[i];
        result = put_line(writer, &parcels[i], pieces ? pieces[i].text : NULL);
    }
    if (result == 0)
        queue_push(&writer->ready, parcels, count);
    return result;
}

int writer_stage(struct writer *writer)
{
    struct piece pieces[SOURCE_BATCH];
    struct parcel parcels[SOURCE_BATCH];
    size_t lost = queue_pop(&writer->again, parcels, SOURCE_BATCH);

    if (lost > 0)
        return put_lines(writer, parcels, lost, NULL);
    ssize_t count = source_take(&writer->source, pieces);
    if (count < 0)
        return failure_set(&writer->error, (int)count, "the file can't be read any further");
    writer->end = count == 0;
    if (writer->end)
        return 0;
    for (ssize_t i = 0; i < count; i++)
        parcels[i] = (struct parcel){
            .offset = pieces[i].offset,
            .length = (uint32_t)pieces[i].length,
            .inside_word = pieces[i].inside_word,
        };
    writer->pieces += (uint64_t)count;
    return put_lines(writer, parcels, (size_t)count, pieces);
}

/*
 * The daemon may find out that the reader is gone before this asks, after it, or in between: what
 * is stale was freed by then, and what isn't is freed here.
 */
int writer_free_left(struct writer *writer, fastalloc_handle_t *handles, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        if (fastalloc_get(writer->pool, handles[i]))
            handles[left++] = handles[i];
    }
    while (left > 0) {
        fastalloc_error_t error = FASTALLOC_ERROR_INIT;
        int result = fastalloc_free_many(writer->pool, handles, left, &error);
        if (result == 0)
            break;
        if (result != FASTALLOC_ERR_STALE_HANDLE || error.position >= left) {
            writer->error = error;
            return result;
        }
        handles[error.position] = handles[--left];
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
    size_t open = writer->ready.count + writer->again.count;

    for (unsigned i = 0; i < DEMO_READERS; i++)
        open += writer->deliveries[i].sent.count;
    return writer->end && open == 0;
}

static int finish(struct writer *writer)
{
    struct message message = {.kind = MESSAGE_DONE, .amount = writer->pieces};

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

    if (result == 0 && writer->kept_count > 0)
        result =
            fastalloc_free_many(writer->pool, writer->kept, writer->kept_count, &writer->error);
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
