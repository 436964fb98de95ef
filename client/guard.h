/* SPDX-License-Identifier: MIT */
/*
 * Guarded memory: whole pages that a forked child finds zeroed. It tells parent from child by one
 * load, with no call to getpid().
 */
#ifndef CLIENT_GUARD_H
#define CLIENT_GUARD_H

#include <stddef.h>

/* Zeroed memory. 0, -ENOMEM, or -EINVAL from a kernel older than 4.14. */
int guard_new(size_t size, void **memory);

/* In parent or child; of the size that it was made with. Nothing happens on NULL. */
void guard_free(void *memory, size_t size);

#endif
