/* SPDX-License-Identifier: MIT */
/*
 * The tally: how the daemon writes a pool's counters. Each function is one change, which a reader
 * sees whole or not at all. Times are ns of the monotonic clock.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/layout.h"

/* Begins anew: all numbers but what is so now (usage, waiters, held_long). */
void tally_reset(struct layout_counters *counters, int64_t now);

void tally_allocated(struct layout_counters *counters, uint32_t slots, int64_t now);
/* One slot, which was held for that long. */
void tally_freed(struct layout_counters *counters, int64_t held, int64_t now);

/* Slots of a leased pool, as the daemon saw them. */
void tally_swept(struct layout_counters *counters, uint64_t allocated, uint64_t freed, int64_t now);

/*
 * After a daemon died, perhaps in the middle of a change: the usage is so, and `freed` objects have
 * ended that it didn't see; of a leased pool the words tell of `seen` in all, else 0. Totals follow,
 * and never go back.
 */
void tally_recover(struct layout_counters *counters, uint32_t usage, uint64_t freed, uint64_t seen,
                   int64_t now);

/* A slot was handed on, by somebody who had held it for that long. */
void tally_handed_on(struct layout_counters *counters, int64_t held);

/* Adds to one of the numbers. */
void tally_add(struct layout_counters *counters, uint64_t *number, uint64_t amount);
/* Sets one of those that say how it is now. */
void tally_set(struct layout_counters *counters, uint64_t *number, uint64_t value);

/* A request that had waited was granted, or timed out. */
void tally_waited(struct layout_counters *counters, int64_t duration);

#endif
