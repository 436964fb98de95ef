/* SPDX-License-Identifier: MIT */
/*
 * A first-in, first-out queue of handles, of fixed room. Pure.
 */
#ifndef CTL_DEMO_QUEUE_H
#define CTL_DEMO_QUEUE_H

#include <stddef.h>

#include <fastalloc/handle.h>

#define QUEUE_CAPACITY 4096

struct queue {
    size_t head;
    size_t count;
    fastalloc_handle_t handles[QUEUE_CAPACITY];
};

/* There must be room for them. */
void queue_push(struct queue *queue, const fastalloc_handle_t *handles, size_t count);

/* Takes the first ones, at most `most`, to `handles`; returns how many. */
size_t queue_pop(struct queue *queue, fastalloc_handle_t *handles, size_t most);

/* Moves up to `most` handles to the end of another queue; returns how many. */
size_t queue_move(struct queue *from, struct queue *to, size_t most);

#endif
