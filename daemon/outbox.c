/* SPDX-License-Identifier: MIT */
#include "daemon/outbox.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/socket.h"

/* An empty outbox keeps no more than this. */
#define KEEP 16384u

/*
 * Bytes of one send. The kernel tells of nothing that was read until all of one send was; so with
 * larger ones a client that reads slowly would look for long as if it didn't read. With smaller
 * ones a reply with 256 handles would take two sends, and the client two receives.
 */
#define SEND_MAX 8192u

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){.sent = 0};
    msgpack_sbuffer_init(&outbox->bytes);
}

static void close_descriptors(struct outbox *outbox)
{
    while (outbox->descriptor_count > 0)
        close(outbox->descriptors[--outbox->descriptor_count]);
}

void outbox_deinit(struct outbox *outbox)
{
    close_descriptors(outbox);
    msgpack_sbuffer_destroy(&outbox->bytes);
    outbox_init(outbox);
}

size_t outbox_pending(const struct outbox *outbox)
{
    return outbox->bytes.size - outbox->sent;
}

void outbox_attach(struct outbox *outbox, const int *descriptors, unsigned count)
{
    assert(outbox->descriptor_count == 0);
    memcpy(outbox->descriptors, descriptors, count * sizeof(descriptors[0]));
    outbox->descriptor_count = count;
    outbox->carrier = outbox->bytes.size;
}

static size_t at_most(size_t size, size_t most)
{
    return size < most ? size : most;
}

/* One send: up to the reply that carries descriptors, or from its first byte on with them. */
static ssize_t send_some(struct outbox *outbox, int fd)
{
    char *data = outbox->bytes.data + outbox->sent;
    size_t size = at_most(outbox_pending(outbox), SEND_MAX);
    if (outbox->descriptor_count == 0)
        return socket_send(fd, data, size, NULL, 0);
    if (outbox->sent < outbox->carrier)
        return socket_send(fd, data, at_most(size, outbox->carrier - outbox->sent), NULL, 0);

    ssize_t sent = socket_send(fd, data, size, outbox->descriptors, outbox->descriptor_count);
    if (sent > 0)
        close_descriptors(outbox);
    return sent;
}

/* Forgets what was sent, so that a client that always reads a little can't make it grow. */
static void compact(struct outbox *outbox)
{
    size_t left = outbox_pending(outbox);
    if (left == 0 && outbox->bytes.alloc > KEEP) {
        msgpack_sbuffer_destroy(&outbox->bytes);
        msgpack_sbuffer_init(&outbox->bytes);
    } else if (left == 0 || outbox->sent > KEEP) {
        memmove(outbox->bytes.data, outbox->bytes.data + outbox->sent, left);
        outbox->bytes.size = left;
    } else {
        return;
    }
    outbox->carrier -= outbox->descriptor_count > 0 ? outbox->sent : 0;
    outbox->sent = 0;
}

int outbox_flush(struct outbox *outbox, int fd)
{
    ssize_t sent = 0;
    while (sent >= 0 && outbox_pending(outbox) > 0) {
        sent = send_some(outbox, fd);
        outbox->sent += sent > 0 ? (size_t)sent : 0;
    }
    if (outbox->sent > 0)
        compact(outbox);
    return sent < 0 && sent != -EAGAIN ? (int)sent : 0;
}
