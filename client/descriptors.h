/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that arrived on the socket, until the reply that tells of them takes them.
 * It owns them: whatever isn't taken is closed.
 */
#ifndef CLIENT_DESCRIPTORS_H
#define CLIENT_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/*
 * One more than the most that may be under way (those of one pool.open), to see that it is too
 * many.
 */
#define DESCRIPTORS_MAX 5u

/* Control bytes to receive them with. */
#define DESCRIPTORS_SPACE CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))

struct descriptors {
    int fds[DESCRIPTORS_MAX];
    unsigned count;
    bool lost;     /* this process had no room for one in its table */
    bool too_many; /* were sent */
};

/* Appends those that came with a message. */
void descriptors_collect(struct descriptors *descriptors, struct msghdr *message);

/*
 * Moves all of them, which must be n, to an empty one. FASTALLOC_ERR_MALFORMED if as many didn't
 * come; -EMFILE if they came but found no room: then nothing is left.
 */
int descriptors_take(struct descriptors *descriptors, unsigned n, struct descriptors *taken);

/* The one at that place becomes the caller's; those before it stay. */
int descriptors_detach(struct descriptors *descriptors, unsigned place);

/*
 * Whether the one at that place can be a bell: a write to it raises no signal, and from now on doesn't
 * block. 0, FASTALLOC_ERR_MALFORMED or a negated errno.
 */
int descriptors_check_bell(const struct descriptors *descriptors, unsigned place);

void descriptors_close(struct descriptors *descriptors);

#endif
