/* SPDX-License-Identifier: MIT */
#include "daemon/waitqueue.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_FIRST 64

void deadlines_deinit(struct deadlines *deadlines)
{
    free(deadlines->heap);
    *deadlines = (struct deadlines){0};
}

static void place(struct deadlines *deadlines, size_t index, struct waiter *waiter)
{
    deadlines->heap[index] = waiter;
    waiter->heap_index = index;
}

static void sift_up(struct deadlines *deadlines, size_t index, struct waiter *waiter)
{
    for (; index > 0; index = (index - 1) / 2) {
        struct waiter *parent = deadlines->heap[(index - 1) / 2];
        if (parent->deadline <= waiter->deadline)
            break;
        place(deadlines, index, parent);
    }
    place(deadlines, index, waiter);
}

static void sift_down(struct deadlines *deadlines, size_t index, struct waiter *waiter)
{
    for (size_t child; (child = 2 * index + 1) < deadlines->count; index = child) {
        struct waiter **heap = deadlines->heap;
        if (child + 1 < deadlines->count && heap[child + 1]->deadline < heap[child]->deadline)
            child++;
        if (waiter->deadline <= heap[child]->deadline)
            break;
        place(deadlines, index, heap[child]);
    }
    place(deadlines, index, waiter);
}

int deadlines_add(struct deadlines *deadlines, struct waiter *waiter)
{
    if (waiter->deadline == WAITER_FOREVER)
        return 0;
    if (deadlines->count == deadlines->room) {
        size_t room = deadlines->room ? 2 * deadlines->room : ROOM_FIRST;
        struct waiter **heap = realloc(deadlines->heap, room * sizeof(struct waiter *));
        if (!heap)
            return -ENOMEM;
        deadlines->heap = heap;
        deadlines->room = room;
    }
    sift_up(deadlines, deadlines->count++, waiter);
    return 0;
}

void deadlines_remove(struct deadlines *deadlines, struct waiter *waiter)
{
    if (waiter->deadline == WAITER_FOREVER)
        return;
    struct waiter *last = deadlines->heap[--deadlines->count];
    size_t index = waiter->heap_index;
    if (last == waiter)
        return;
    if (last->deadline < waiter->deadline)
        sift_up(deadlines, index, last);
    else
        sift_down(deadlines, index, last);
}

struct waiter *deadlines_first(const struct deadlines *deadlines)
{
    return deadlines->count ? deadlines->heap[0] : NULL;
}
