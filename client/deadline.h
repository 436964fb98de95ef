/* SPDX-License-Identifier: MIT */
/*
 * A deadline is a point of CLOCK_MONOTONIC, in nanoseconds. Waiting until one, on a descriptor or a
 * condition. Never early.
 */
#ifndef CLIENT_DEADLINE_H
#define CLIENT_DEADLINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

/* From now; negative means never. */
int64_t deadline_in(int64_t duration);

/* Later by so much; negative means never. */
int64_t deadline_extend(int64_t deadline, int64_t duration);

/* Nanoseconds until then, 0 when it has passed. */
int64_t deadline_left(int64_t deadline);

static inline bool deadline_has_passed(int64_t deadline)
{
    return deadline != DEADLINE_NEVER && deadline_left(deadline) == 0;
}

/*
 * Waits until the descriptor is ready for the poll events, the deadline has passed, or a signal
 * came. With -1 it just waits.
 */
void deadline_poll(int fd, short events, int64_t deadline);

/* Waits for the condition; the mutex is held. It may also return for no reason. */
void deadline_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline);

#endif
