/* SPDX-License-Identifier: MIT */
#include "demo_queue.h"

#include <assert.h>

void queue_push(struct queue *queue, const struct parcel *parcels, size_t count)
{
    assert(count <= QUEUE_CAPACITY - queue->count);
    for (size_t i = 0; i < count; i++)
        queue->parcels[(queue->head + queue->count++) % QUEUE_CAPACITY] = parcels[i];
}

size_t queue_drop(struct queue *queue, size_t most)
{
    size_t count = queue->count < most ? queue->count : most;

    queue->head = (queue->head + count) % QUEUE_CAPACITY;
    queue->count -= count;
    return count;
}

size_t queue_pop(struct queue *queue, struct parcel *parcels, size_t most)
{
    size_t count = queue->count < most ? queue->count : most;

    for (size_t i = 0; i < count; i++)
        parcels[i] = queue->parcels[(queue->head + i) % QUEUE_CAPACITY];
    return queue_drop(queue, count);
}
