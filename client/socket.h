/* SPDX-License-Identifier: MIT */
/*
 * Finding the daemon's socket and connecting to it.
 */
#ifndef CLIENT_SOCKET_H
#define CLIENT_SOCKET_H

#include <stdint.h>
#include <sys/un.h>

#include <fastalloc/fastalloc.h>

/* The address of `path`, or, if that is NULL, of the default socket. FASTALLOC_ERR_SOCKET_PATH. */
int socket_resolve(const char *path, struct sockaddr_un *address, fastalloc_error_t *error);

/*
 * Connects, and tries again for as long as `limit` says while nobody answers there. A blocking
 * descriptor, or FASTALLOC_ERR_UNREACHABLE, or a negated errno.
 */
int socket_connect(const struct sockaddr_un *address, int64_t limit, fastalloc_error_t *error);

#endif
