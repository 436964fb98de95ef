/* SPDX-License-Identifier: MIT */
/*
 * A client without the library: a socket, and messages made by the protocol's own encoder, whole or
 * in pieces. It does what it is told, right or wrong.
 *
 * No libcheck here: it is used in tests and in their child processes. What can't be so ends the
 * process with a line on stderr.
 */
#ifndef TESTS_LIB_BARE_H
#define TESTS_LIB_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fastalloc/handle.h>

#include "proto/envelope.h"
#include "proto/scan.h"

struct bare {
    int fd;
    uint32_t msgid; /* of the last request */
    uint64_t request;
    uint64_t session;
    uint32_t pool; /* of the last open */
    struct decoder decoder;
    struct scan scan;
    int fds[4]; /* that came with the last reply */
    unsigned fd_count;
    size_t taken; /* bytes of the last reply, at the beginning of those that have come */
    size_t size;
    uint8_t data[SCAN_MESSAGE_MAX];
};

/* Connects; nothing is said yet. */
void bare_connect(struct bare *bare, const char *path);

/* Closes the socket and the descriptors. */
void bare_close(struct bare *bare);

/* One request, encoded; its size. `room` bytes must be enough. */
size_t bare_encode(struct bare *bare, enum method method, const void *request, uint8_t *data,
                   size_t room);

void bare_write(struct bare *bare, const uint8_t *data, size_t size);
void bare_send(struct bare *bare, enum method method, const void *request);

/*
 * The next reply, to whatever request; good until the one after it. If none is there yet it is waited for,
 * or there is none: false, as at the connection's end.
 */
bool bare_next(struct bare *bare, bool wait, struct envelope *envelope);

/*
 * Waits for one reply to this method and decodes it; it must be no error. Bytes and lists are good
 * until the next.
 */
void bare_receive(struct bare *bare, enum method method, void *reply);

void bare_call(struct bare *bare, enum method method, const void *request, void *reply);

/* The usual beginnings. */
void bare_hello(struct bare *bare, bool witness);
void bare_open(struct bare *bare, const char *pool, bool map);

/* A request for `count` slots, to send. */
struct allocate_request bare_allocation(struct bare *bare, uint32_t count, int64_t timeout);

/* Allocates, and waits for the reply. */
void bare_allocate(struct bare *bare, uint32_t count);

#endif
