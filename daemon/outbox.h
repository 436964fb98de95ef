/* SPDX-License-Identifier: MIT */
/*
 * The outbox: replies on their way to a client, and the descriptors that one of them may carry,
 * which it owns until they are sent.
 */
#ifndef DAEMON_OUTBOX_H
#define DAEMON_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/dispatch.h"

struct outbox {
    msgpack_sbuffer bytes; /* encoders append to it */
    size_t sent;
    int descriptors[DISPATCH_DESCRIPTORS];
    unsigned descriptor_count;
    size_t carrier; /* where in the bytes the reply begins that carries them */
};

void outbox_init(struct outbox *outbox);
/* Also closes descriptors that weren't sent. */
void outbox_deinit(struct outbox *outbox);

/* Bytes that wait to be sent. */
size_t outbox_pending(const struct outbox *outbox);

/*
 * The reply that is encoded next carries these descriptors, which are the outbox' from now on.
 * There must be none in it.
 */
void outbox_attach(struct outbox *outbox, const int *descriptors, unsigned count);

/* Sends what the socket takes, not waiting. 0, also if something is left, or a negated errno. */
int outbox_flush(struct outbox *outbox, int fd);

#endif
