/* SPDX-License-Identifier: MIT */
/*
 * The mapping of a pool: its three shared-memory objects in this process, after they have been
 * found to be what they should be. From then on the daemon is trusted not to shrink them.
 */
#ifndef CLIENT_MAPPING_H
#define CLIENT_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "client/region.h"
#include "proto/message.h"
#include "shm/geometry.h"
#include "shm/layout.h"

enum mapping_part { MAPPING_CTL, MAPPING_SLOTS, MAPPING_DATA, MAPPING_PARTS };

struct mapping {
    struct region parts[MAPPING_PARTS];
    struct geometry geometry;
    uint64_t identity; /* pool : 32 | nonce : 16 */
    uint32_t flags;    /* enum layout_flag */
};

/*
 * Maps the pool of which the reply tells, at the most it can grow to, so that it never has to be
 * mapped again; the data for writing only if asked, and prepared as client/memory.h says; the slots
 * too, for writing, if that is asked of a leased pool. The descriptors stay the caller's. FASTALLOC_ERR_MALFORMED if the objects aren't that pool's,
 * FASTALLOC_ERR_POOL_DESTROYED, or a negated errno.
 */
int mapping_init(struct mapping *mapping, const int fds[MAPPING_PARTS], const char *name,
                 const struct pool_open_reply *reply, bool write, fastalloc_error_t *error);

/* Not in a forked child, which has no mapping. */
void mapping_deinit(struct mapping *mapping);

/* What to follow handles with; good until mapping_deinit. */
fastalloc_view_t mapping_view(const struct mapping *mapping);

#endif
