/* SPDX-License-Identifier: MIT */
/*
 * An attempt at something that may end this process by a fault of its own: then it counts as failed,
 * as it does when it says so; not when somebody else kills the process.
 */
#ifndef DAEMON_ATTEMPT_H
#define DAEMON_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

/* `failures` outlives the process, and counts those that failed one after the other. */
void attempt_begin(uint32_t *failures);
void attempt_end(bool succeeded);

#endif
