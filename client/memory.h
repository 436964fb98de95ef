/* SPDX-License-Identifier: MIT */
/*
 * How this process has a pool's memory: in huge pages, mapped before the first access, locked; as
 * the pool says, and as far as the machine allows.
 */
#ifndef CLIENT_MEMORY_H
#define CLIENT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

/*
 * Does what the flags (LAYOUT_HUGE, LAYOUT_PREFAULT, LAYOUT_LOCK) say with the first `size` bytes
 * of a mapping. 0, or a negated errno, with what the machine refused, why, and what to do.
 */
int memory_prepare(void *address, size_t size, uint32_t flags, bool write, const char *pool,
                   fastalloc_error_t *error);

#endif
