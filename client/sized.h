/* SPDX-License-Identifier: MIT */
/*
 * Public structs that begin with their size, so that programs and libraries of different ages
 * agree: each side uses what both know, what only one knows is zero.
 */
#ifndef CLIENT_SIZED_H
#define CLIENT_SIZED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Copies the caller's struct over `own`, as much of it as both know; the rest of `own` stays as it
 * is. False, and nothing copied, if the caller never set the size.
 */
bool sized_read(void *own, size_t own_size, const void *theirs);

/*
 * Copies `own` to the caller's struct, as far as that reaches, and zeroes what lies beyond. Its
 * size stays.
 */
void sized_write(void *theirs, const void *own, size_t own_size);

#endif
