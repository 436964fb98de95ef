/* SPDX-License-Identifier: MIT */
/*
 * A pool's counters: what a process that has the pool mapped reads of them, and what follows from
 * them. The daemon alone writes (daemon/tally.h).
 */
#ifndef SHM_COUNTERS_H
#define SHM_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

/*
 * A copy in which all numbers belong together. False if there was none to be had: the writer died
 * in the middle of a change, or never stops changing them.
 */
bool counters_read(const struct layout_counters *shared, struct layout_counters *copy);

/* The time-weighted mean of current_usage since the reset; `now` in ns of the monotonic clock. */
double counters_average_usage(const struct layout_counters *counters, int64_t now);

#endif
