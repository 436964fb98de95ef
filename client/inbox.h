/* SPDX-License-Identifier: MIT */
/*
 * The inbox: bytes and descriptors as they come from the socket, cut into whole messages that the
 * scanner has accepted. Its memory is fixed; whatever the peer sends, it doesn't grow.
 *
 * It is used by one thread at a time.
 */
#ifndef CLIENT_INBOX_H
#define CLIENT_INBOX_H

#include <stdint.h>
#include <sys/types.h>

#include "client/descriptors.h"
#include "proto/envelope.h"
#include "proto/scan.h"

struct inbox {
    uint8_t *data; /* SCAN_MESSAGE_MAX bytes, of which begin to end are waiting */
    size_t begin;
    size_t end;
    struct scan scan;
    struct decoder decoder;
    struct descriptors descriptors;
};

/* 0 or -ENOMEM. */
int inbox_init(struct inbox *inbox);
void inbox_deinit(struct inbox *inbox);

/* Forgets what it has: from now on it is another peer's. */
void inbox_reset(struct inbox *inbox);

/* One recvmsg() with these flags. Bytes, 0 at the end of the stream, or a negated errno. */
ssize_t inbox_receive(struct inbox *inbox, int fd, int flags);

/*
 * SCAN_DONE and the next message, good until the next inbox_receive; SCAN_MORE when there is no
 * whole one; or what is wrong with it.
 */
enum scan_result inbox_next(struct inbox *inbox, struct bytes *message);

/* Whether there are descriptors of which no message told or can still tell. */
bool inbox_has_surplus(const struct inbox *inbox);

#endif
