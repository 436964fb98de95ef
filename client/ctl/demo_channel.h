/* SPDX-License-Identifier: MIT */
/*
 * What the demo's processes say to each other, over socket pairs that keep packets whole. No line
 * of the text is ever in a packet: only handles are.
 *
 *   writer to reader   a packet of handles, up to PACKET_HANDLES
 *   reader to writer   struct acknowledgement
 *   parent to worker   MESSAGE_START, MESSAGE_GO_ON; the channel's end means: leave
 *   worker to parent   the other messages
 */
#ifndef CTL_DEMO_CHANNEL_H
#define CTL_DEMO_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <fastalloc/fastalloc.h>

#include "demo_lines.h"

#define PACKET_HANDLES 128
/* How long the daemon may take to reply, or to be there again: who waits for it heeds no signal. */
#define DEMO_REPLY_LIMIT (2 * FASTALLOC_SECOND)

#define CHANNEL_SOCKET_SIZE 108 /* of a Unix socket's path */

/* What a reader has counted; also a slot of the pool, which holds it for the parent. */
struct totals {
    struct counts counts;
    uint64_t pieces;
};

/* The reader is done with the oldest `pieces` it was sent; its totals are as of then. */
struct acknowledgement {
    uint64_t pieces;
    struct totals totals;
};

enum message_kind {
    MESSAGE_START = 1, /* socket, pool */
    MESSAGE_READY,     /* slot: where the reader's totals are */
    MESSAGE_PAUSED,    /* amount: pieces done before the one that the reader is in the middle of */
    MESSAGE_GO_ON,     /* nobody else is left to read the line */
    MESSAGE_PROGRESS,  /* amount: bytes of the file acknowledged */
    MESSAGE_LOST,      /* reader, slot: its last acknowledged totals, amount: pieces handed on */
    MESSAGE_DONE,      /* amount: pieces, all acknowledged */
    MESSAGE_FAILED,    /* error */
};

struct message {
    uint32_t kind;
    uint32_t reader;
    fastalloc_handle_t slot;
    uint64_t amount;
    fastalloc_error_t error;
    char socket[CHANNEL_SOCKET_SIZE]; /* "": the library's default */
    char pool[FASTALLOC_NAME_MAX + 1];
};

/* A connected pair; 0 or a negated errno. */
int channel_pair(int fds[2]);

/* Sends a packet; 0, -EPIPE when nobody is at the other end any more, or another negated errno. */
int channel_send(int fd, const void *packet, size_t size);

/* Receives a packet of at most `size`: its size, 0 at the end, -EAGAIN if none is there. */
ssize_t channel_receive(int fd, void *packet, size_t size);

/* Waits until a packet, or the end, can be received. 0 or a negated errno. */
int channel_wait(int fd);

/* Tells the parent that the worker failed; returns the worker's exit status. */
int channel_fail(int fd, const fastalloc_error_t *error);
int channel_fail_text(int fd, int result, const char *text);

#endif
