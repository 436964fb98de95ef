/* SPDX-License-Identifier: MIT */
/*
 * A pool's queue of requests that wait for slots: the highest priority first, then the oldest.
 *
 * Nobody of the same or a lower priority overtakes the one in front, however little he asks for: so
 * a request for many slots can't be starved by small ones, but only by more important ones.
 */
#ifndef DAEMON_WAITQUEUE_H
#define DAEMON_WAITQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/deadline.h"
#include "daemon/quota.h"

/* The most important one first. */
enum priority { PRIORITY_CRITICAL, PRIORITY_NORMAL, PRIORITY_BEST_EFFORT, PRIORITIES };

struct pool;
struct session;

/* What slots are charged to. All zero is nothing. */
struct slots_charge {
    struct charge session;
    struct charge user;
};

/* Gives all of it back. */
void slots_charge_deinit(struct slots_charge *charge);

struct waiter {
    TAILQ_ENTRY(waiter) in_pool;
    LIST_ENTRY(waiter) in_session;
    struct deadline deadline;
    int64_t since;
    struct pool *pool;
    struct session *session;
    uint32_t member;
    enum priority priority;
    uint32_t count; /* slots */
    bool evictable;
    bool growth_only; /* it waits for the growth that is under way, no longer */
    uint64_t request;
    uint32_t msgid;
    struct slots_charge slots;
    struct charge waiting; /* the user's, in the instance */
};

TAILQ_HEAD(waiters, waiter);
LIST_HEAD(waiter_list, waiter);

struct waitqueue {
    struct waiters waiting[PRIORITIES];
    uint32_t count;
};

void waitqueue_init(struct waitqueue *queue);
void waitqueue_add(struct waitqueue *queue, struct waiter *waiter);
void waitqueue_remove(struct waitqueue *queue, struct waiter *waiter);

/* Whether it still waits, of one that may be gone. */
bool waitqueue_has(const struct waitqueue *queue, const struct waiter *waiter);

/* The one whose turn it is; NULL if nobody waits. */
struct waiter *waitqueue_first(const struct waitqueue *queue);

/* Whether a new request of that priority would have somebody in front of it. */
bool waitqueue_is_ahead(const struct waitqueue *queue, enum priority priority);

#endif
