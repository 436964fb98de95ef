/* SPDX-License-Identifier: MIT */
#include "demo_queue.h"

#include <assert.h>

void queue_push(struct queue *queue, const fastalloc_handle_t *handles, size_t count)
{
    assert(count <= QUEUE_CAPACITY - queue->count);
    for (size_t i = 0; i < count; i++)
        queue->handles[(queue->head + queue->count++) % QUEUE_CAPACITY] = handles[i];
}

size_t queue_pop(struct queue *queue, fastalloc_handle_t *handles, size_t most)
{
    size_t count = queue->count < most ? queue->count : most;

    for (size_t i = 0; i < count; i++)
        handles[i] = queue->handles[(queue->head + i) % QUEUE_CAPACITY];
    queue->head = (queue->head + count) % QUEUE_CAPACITY;
    queue->count -= count;
    return count;
}

size_t queue_move(struct queue *from, struct queue *to, size_t most)
{
    fastalloc_handle_t handle;
    size_t count = 0;

    while (count < most && queue_pop(from, &handle, 1) == 1) {
        queue_push(to, &handle, 1);
        count++;
    }
    return count;
}
