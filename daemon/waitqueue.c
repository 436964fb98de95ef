/* SPDX-License-Identifier: MIT */
#include "daemon/waitqueue.h"

#include <stddef.h>

void slots_charge_deinit(struct slots_charge *charge)
{
    charge_deinit(&charge->session);
    charge_deinit(&charge->user);
}

void waitqueue_init(struct waitqueue *queue)
{
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        TAILQ_INIT(&queue->waiting[priority]);
    queue->count = 0;
}

void waitqueue_add(struct waitqueue *queue, struct waiter *waiter)
{
    TAILQ_INSERT_TAIL(&queue->waiting[waiter->priority], waiter, in_pool);
    queue->count++;
}

void waitqueue_remove(struct waitqueue *queue, struct waiter *waiter)
{
    TAILQ_REMOVE(&queue->waiting[waiter->priority], waiter, in_pool);
    queue->count--;
}

bool waitqueue_has(const struct waitqueue *queue, const struct waiter *waiter)
{
    const struct waiter *other = NULL;
    for (enum priority priority = 0; !other && priority < PRIORITIES; priority++)
        TAILQ_FOREACH (other, &queue->waiting[priority], in_pool)
            if (other == waiter)
                break;
    return other;
}

struct waiter *waitqueue_first(const struct waitqueue *queue)
{
    struct waiter *first = NULL;
    for (enum priority priority = 0; priority < PRIORITIES && !first; priority++)
        first = TAILQ_FIRST(&queue->waiting[priority]);
    return first;
}

bool waitqueue_is_ahead(const struct waitqueue *queue, enum priority priority)
{
    for (enum priority ahead = 0; ahead <= priority; ahead++)
        if (!TAILQ_EMPTY(&queue->waiting[ahead]))
            return true;
    return false;
}
