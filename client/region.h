/* SPDX-License-Identifier: MIT */
/*
 * A region is a mapping of a descriptor that came from the daemon, in this process alone: a forked
 * child has a hole there. Hence it is never unmapped in a child, where something else may have
 * moved in.
 */
#ifndef CLIENT_REGION_H
#define CLIENT_REGION_H

#include <stddef.h>

struct region {
    void *address;
    size_t size; /* 0 = nothing is mapped */
};

/*
 * Maps the first `size` bytes of a regular file that has at least `least` bytes (it may grow into
 * the rest), for the protection PROT_READ or more. 0, -ENODATA if it is no such file, or another
 * negated errno.
 */
int region_map(struct region *region, int fd, size_t least, size_t size, int protection);

/* Nothing happens if nothing is mapped. */
void region_unmap(struct region *region);

#endif
