/* SPDX-License-Identifier: MIT */
/*
 * The writer's side towards its readers: handles out in turn, acknowledgements in, and what
 * happens when a reader is lost.
 */
#include <errno.h>
#include <unistd.h>

#include "demo_writer.h"
#include "failure.h"

static size_t room_of(const struct delivery *delivery)
{
    return delivery->fd < 0 ? 0 : WRITER_WINDOW - delivery->sent.count;
}

/*
 * Packets begin with one handle and double each round, so that every reader gets some of a short
 * file.
 */
static size_t packet_size(const struct writer *writer)
{
    return writer->round < 7 ? (size_t)1 << writer->round : PACKET_HANDLES;
}

/* The next reader in turn that has room, or DEMO_READERS if none has. */
static unsigned pick_reader(struct writer *writer)
{
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        unsigned reader = writer->next;
        writer->next = (reader + 1) % DEMO_READERS;
        writer->round += writer->next == 0;
        if (room_of(&writer->deliveries[reader]) > 0)
            return reader;
    }
    return DEMO_READERS;
}

/*
 * What can't be sent any more, because the reader is gone, is found when its end of stream comes.
 */
static int send_packet(struct writer *writer, struct delivery *delivery)
{
    struct parcel parcels[PACKET_HANDLES];
    fastalloc_handle_t handles[PACKET_HANDLES] = {FASTALLOC_HANDLE_NONE};
    size_t most = packet_size(writer);
    size_t room = room_of(delivery);
    size_t count = queue_pop(&writer->ready, parcels, most < room ? most : room);

    for (size_t i = 0; i < count; i++)
        handles[i] = parcels[i].handle;
    int result = channel_send(delivery->fd, handles, count * sizeof(handles[0]));
    queue_push(&delivery->sent, parcels, count);
    if (result < 0 && result != -EPIPE)
        return failure_set(&writer->error, result, "handles can't be sent to a reader");
    return 0;
}

static unsigned living_readers(const struct writer *writer)
{
    unsigned living = 0;

    for (unsigned i = 0; i < DEMO_READERS; i++)
        living += writer->deliveries[i].fd >= 0;
    return living;
}

int writer_send(struct writer *writer)
{
    int result = 0;

    while (result == 0) {
        if (writer->ready.count == 0 && (writer->again.count > 0 || !writer->end))
            result = writer_stage(writer);
        if (result < 0 || writer->ready.count == 0)
            break;
        if (living_readers(writer) == 0)
            return failure_set(&writer->error, -ECHILD, "every reader is gone, and lines are left");
        unsigned reader = pick_reader(writer);
        if (reader == DEMO_READERS)
            break;
        result = send_packet(writer, &writer->deliveries[reader]);
    }
    return result;
}

/* Keeps the totals of a lost reader where the parent can read them. */
static int keep_totals(struct writer *writer, const struct totals *totals, fastalloc_handle_t *slot)
{
    int result = fastalloc_allocate(writer->pool, FASTALLOC_NOWAIT, slot, &writer->error);

    if (result < 0)
        return result;
    struct totals *kept = writer_get(writer, *slot);
    if (!kept)
        return writer->error.code;
    *kept = *totals;
    writer->kept[writer->kept_count++] = *slot;
    return 0;
}

/*
 * Takes back what the lost reader hadn't acknowledged, whether it had adopted it or not, and even
 * if it had read it: its totals are as of its last acknowledgement.
 */
static int take_back(struct writer *writer, struct delivery *delivery)
{
    fastalloc_handle_t handles[WRITER_WINDOW];
    struct parcel parcel;
    size_t count = 0;

    while (queue_pop(&delivery->sent, &parcel, 1) == 1) {
        handles[count++] = parcel.handle;
        queue_push(&writer->again, &parcel, 1);
    }
    return writer_free_left(writer, handles, count);
}

static int lose(struct writer *writer, unsigned reader)
{
    struct delivery *delivery = &writer->deliveries[reader];
    struct message message = {.kind = MESSAGE_LOST, .reader = reader};

    close(delivery->fd);
    delivery->fd = -1;
    message.amount = delivery->sent.count;
    int result = take_back(writer, delivery);
    if (result == 0)
        result = keep_totals(writer, &delivery->totals, &message.slot);
    if (result < 0)
        return result;
    (void)channel_send(writer->job->control, &message, sizeof(message));
    return 0;
}

/* The end of stream comes behind every acknowledgement that the reader had still sent. */
int writer_receive(struct writer *writer, unsigned reader)
{
    struct delivery *delivery = &writer->deliveries[reader];
    struct acknowledgement packet;

    for (;;) {
        ssize_t got = channel_receive(delivery->fd, &packet, sizeof(packet));
        if (got == -EAGAIN)
            return 0;
        if (got == 0)
            return lose(writer, reader);
        if (got != sizeof(packet))
            return failure_set(&writer->error, got < 0 ? (int)got : -EPROTO,
                               "a reader's acknowledgement can't be understood");
        delivery->totals = packet.totals;
        queue_drop(&delivery->sent, (size_t)packet.pieces);
    }
}
