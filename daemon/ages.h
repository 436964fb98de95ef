/* SPDX-License-Identifier: MIT */
/*
 * The ages of a pool's objects: since when each slot is held by whom it is held by, and those in
 * order, so that the longest held is known, and how many are held for longer than a limit.
 *
 * In the daemon's own memory; after a restart ages begin anew. It knows no clock: times are
 * nanoseconds that never go back.
 */
#ifndef DAEMON_AGES_H
#define DAEMON_AGES_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/chain.h"

#define AGES_NEVER INT64_MAX

struct ages {
    int64_t *since; /* of each slot that is held */
    struct chain_link *links;
    struct chain held; /* oldest first */
    int64_t limit;     /* ns; 0 = none */
    int64_t bound;     /* those held since then or longer are counted as held for too long */
    uint32_t next;     /* the first that isn't counted so */
    uint32_t too_long; /* how many are */
};

void ages_init(struct ages *ages, int64_t limit);
void ages_deinit(struct ages *ages);

/* Takes the memory for that many slots. 0 or -ENOMEM. */
int ages_reserve(struct ages *ages, uint32_t capacity);

/* The slot is held from now on. */
void ages_begin(struct ages *ages, uint32_t index, int64_t now);
/* It isn't any more. Returns for how long it was. */
int64_t ages_end(struct ages *ages, uint32_t index, int64_t now);

/* When the next object will have been held for too long; AGES_NEVER. */
int64_t ages_next(const struct ages *ages);
/* Whether the slot, which is held, is for too long by now. */
bool ages_is_due(const struct ages *ages, uint32_t index, int64_t now);
/* Counts those that are by now. Returns how many became so; *first is the longest held of them. */
uint32_t ages_count(struct ages *ages, int64_t now, uint32_t *first);

/* Asserts that the order is right and the count too. */
void ages_check(const struct ages *ages, uint32_t capacity);

#endif
