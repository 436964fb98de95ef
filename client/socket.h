/* SPDX-License-Identifier: MIT */
/*
 * Finding the daemon's socket and connecting to it.
 */
#ifndef CLIENT_SOCKET_H
#define CLIENT_SOCKET_H

#include <stdint.h>
#include <sys/un.h>

#include <fastalloc/fastalloc.h>

/*
 * Connects to `path`, or, if that is NULL, to the default socket, and tries again for as long as
 * `limit` says while nobody answers there. A blocking descriptor, and the address that it was; or
 * FASTALLOC_ERR_SOCKET_PATH, FASTALLOC_ERR_UNREACHABLE, or a negated errno.
 */
int socket_connect(const char *path, int64_t limit, struct sockaddr_un *address,
                   fastalloc_error_t *error);

/* The same, once, for a path that it was. A blocking descriptor, or a negated errno. */
int socket_try(const char *path);

/* How long to wait for the next try to connect, after one that came this long after another; 0 = first. */
int64_t socket_next_wait(int64_t wait);

#endif
