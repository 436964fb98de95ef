/* SPDX-License-Identifier: MIT */
/*
 * The inbox: what a client has sent and the daemon hasn't dealt with yet, cut into messages by the
 * scanner. It grows to one message, and no further, and is small again between messages.
 */
#ifndef DAEMON_INBOX_H
#define DAEMON_INBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/message.h"
#include "proto/scan.h"

#define INBOX_MIN 4096u /* bytes */

struct inbox {
    uint8_t *data;
    size_t begin; /* of the first message that wasn't taken */
    size_t end;
    size_t room;
    bool found; /* the first message is whole */
    struct scan scan;
};

void inbox_init(struct inbox *inbox);
void inbox_deinit(struct inbox *inbox);

/* Receives once, without waiting. The bytes, 0 at the end of the stream, or a negated errno. */
ssize_t inbox_receive(struct inbox *inbox, int fd);

/*
 * Looks at the next message: SCAN_DONE, and it lies there until inbox_take(); SCAN_MORE; or what is
 * wrong with it.
 */
enum scan_result inbox_next(struct inbox *inbox, struct bytes *message);

/* The message that inbox_next() found is dealt with. */
void inbox_take(struct inbox *inbox);

#endif
