/* SPDX-License-Identifier: MIT */
/*
 * A first-in, first-out queue of parcels, of fixed room. Pure.
 */
#ifndef CTL_DEMO_QUEUE_H
#define CTL_DEMO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fastalloc/handle.h>

#define QUEUE_CAPACITY 4096

/* A slot with a line, and where in the file that stands, should it have to be put into another. */
struct parcel {
    fastalloc_handle_t handle;
    uint64_t offset;
    uint32_t length;
    bool inside_word;
};

struct queue {
    size_t head;
    size_t count;
    struct parcel parcels[QUEUE_CAPACITY];
};

/* There must be room for them. */
void queue_push(struct queue *queue, const struct parcel *parcels, size_t count);

/* Takes the first ones, at most `most`, to `parcels`; returns how many. */
size_t queue_pop(struct queue *queue, struct parcel *parcels, size_t most);

/* Drops the first ones, at most `most`; returns how many. */
size_t queue_drop(struct queue *queue, size_t most);

#endif
