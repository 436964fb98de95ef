/* SPDX-License-Identifier: MIT */
/*
 * What the daemon asks of Unix sockets that no loop library offers: who is at the other end,
 * descriptors that travel with a reply, and how much of it was read.
 */
#ifndef DAEMON_SOCKET_H
#define DAEMON_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/session.h"

#define SOCKET_TEXT_SIZE 512

/*
 * Listens at the path, which takes the place of a socket that nobody listens at any more. Only this
 * user may connect, or, if `shared`, everybody. A descriptor, non-blocking; or -1 with one line why
 * not.
 */
int socket_listen(const char *path, bool shared, char text[SOCKET_TEXT_SIZE]);

/* 0 or a negated errno. */
int socket_peer(int fd, struct peer *peer);

/*
 * The groups that the peer was in when it connected, beside the primary one, which may be among
 * them: how many, in memory that the caller frees (NULL for none), or a negated errno. A kernel that
 * doesn't tell (before Linux 4.13) knows of none.
 */
int socket_groups(int fd, gid_t **groups);

/*
 * A descriptor that becomes readable when the peer's process exits, or a negated errno: -ESRCH when it
 * has, or is none of this pid namespace.
 */
int socket_pidfd(int fd, const struct peer *peer);

/* Bytes sent, with the descriptors, or a negated errno. Never blocks, never raises SIGPIPE. */
ssize_t socket_send(int fd, void *data, size_t size, const int *descriptors,
                    unsigned descriptor_count);

/*
 * What the peer hasn't read of all that was sent to it, descriptors included: 0 only when it has
 * read everything, -1 if that can't be told. The kernel counts its own memory here, and frees what
 * one send took only when that was read whole.
 */
int socket_unread(int fd);

#endif
