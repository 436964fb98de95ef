/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait for slots. Each stands in its pool's queue, in order of arrival, and, if it
 * has a deadline, in one heap of the whole instance, so that the next one to time out is found at
 * once.
 *
 * The queue is strictly first come, first served: nobody overtakes a request for many slots, so it
 * can't be starved by small ones.
 */
#ifndef DAEMON_WAITQUEUE_H
#define DAEMON_WAITQUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define WAITER_FOREVER INT64_MAX

struct pool;
struct session;

struct waiter {
    TAILQ_ENTRY(waiter) in_pool;
    LIST_ENTRY(waiter) in_session;
    size_t heap_index; /* in the deadlines, unless it waits for ever */
    int64_t deadline;  /* ns of the monotonic clock, or WAITER_FOREVER */
    struct pool *pool;
    struct session *session;
    uint32_t member;
    uint32_t count; /* slots */
    uint64_t request;
    uint32_t msgid;
};

TAILQ_HEAD(waitqueue, waiter);
LIST_HEAD(waiter_list, waiter);

/* A binary heap of waiters, the earliest deadline on top. */
struct deadlines {
    struct waiter **heap;
    size_t count;
    size_t room;
};

void deadlines_deinit(struct deadlines *deadlines);

/* 0 or -ENOMEM. A waiter without a deadline isn't taken in. */
int deadlines_add(struct deadlines *deadlines, struct waiter *waiter);
void deadlines_remove(struct deadlines *deadlines, struct waiter *waiter);

/* The waiter that times out first; NULL when none does. */
struct waiter *deadlines_first(const struct deadlines *deadlines);

#endif
