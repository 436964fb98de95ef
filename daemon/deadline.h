/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: moments at which something is to be done, in one heap, so that the next one is found
 * at once. A deadline is embedded in what it belongs to, which says what to do then.
 */
#ifndef DAEMON_DEADLINE_H
#define DAEMON_DEADLINE_H

#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

struct deadline;

/* The deadline has passed, and is out of the heap. */
typedef void (*deadline_passed)(void *context, struct deadline *deadline);

struct deadline {
    int64_t at;   /* ns of the monotonic clock; DEADLINE_NEVER: it isn't in the heap */
    size_t index; /* in the heap */
    deadline_passed passed;
};

/* A binary heap, the earliest deadline on top. All zero is an empty one. */
struct deadlines {
    struct deadline **heap;
    size_t count;
    size_t room;
};

void deadlines_deinit(struct deadlines *deadlines);

void deadline_init(struct deadline *deadline, deadline_passed passed);

/* Sets it anew, to another moment or to never. 0 or -ENOMEM, then it is never. */
int deadline_set(struct deadlines *deadlines, struct deadline *deadline, int64_t at);

/* When the next one passes. */
int64_t deadlines_next(const struct deadlines *deadlines);

/* Calls those that have passed by now, the earliest first, and any that are set meanwhile. */
void deadlines_pass(struct deadlines *deadlines, int64_t now, void *context);

#endif
