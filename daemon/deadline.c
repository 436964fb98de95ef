/* SPDX-License-Identifier: MIT */
#include "daemon/deadline.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_FIRST 64

void deadlines_deinit(struct deadlines *deadlines)
{
    free(deadlines->heap);
    *deadlines = (struct deadlines){0};
}

void deadline_init(struct deadline *deadline, deadline_passed passed)
{
    *deadline = (struct deadline){.at = DEADLINE_NEVER, .passed = passed};
}

/* ---- Heap ------------------------------------------------------------------------------------ */

static void place(struct deadlines *deadlines, size_t index, struct deadline *deadline)
{
    deadlines->heap[index] = deadline;
    deadline->index = index;
}

static void sift_up(struct deadlines *deadlines, size_t index, struct deadline *deadline)
{
    for (; index > 0; index = (index - 1) / 2) {
        struct deadline *parent = deadlines->heap[(index - 1) / 2];
        if (parent->at <= deadline->at)
            break;
        place(deadlines, index, parent);
    }
    place(deadlines, index, deadline);
}

static void sift_down(struct deadlines *deadlines, size_t index, struct deadline *deadline)
{
    for (size_t child; (child = 2 * index + 1) < deadlines->count; index = child) {
        struct deadline **heap = deadlines->heap;
        if (child + 1 < deadlines->count && heap[child + 1]->at < heap[child]->at)
            child++;
        if (deadline->at <= heap[child]->at)
            break;
        place(deadlines, index, heap[child]);
    }
    place(deadlines, index, deadline);
}

static int make_room(struct deadlines *deadlines)
{
    if (deadlines->count < deadlines->room)
        return 0;
    size_t room = deadlines->room ? 2 * deadlines->room : ROOM_FIRST;
    struct deadline **heap = realloc(deadlines->heap, room * sizeof(struct deadline *));
    if (!heap)
        return -ENOMEM;
    deadlines->heap = heap;
    deadlines->room = room;
    return 0;
}

static void take_out(struct deadlines *deadlines, struct deadline *deadline)
{
    struct deadline *last = deadlines->heap[--deadlines->count];
    if (last == deadline)
        return;
    if (last->at < deadline->at)
        sift_up(deadlines, deadline->index, last);
    else
        sift_down(deadlines, deadline->index, last);
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

int deadline_set(struct deadlines *deadlines, struct deadline *deadline, int64_t at)
{
    if (deadline->at == at)
        return 0;
    if (deadline->at != DEADLINE_NEVER)
        take_out(deadlines, deadline);
    deadline->at = DEADLINE_NEVER;
    if (at == DEADLINE_NEVER)
        return 0;
    if (make_room(deadlines) < 0)
        return -ENOMEM;
    deadline->at = at;
    sift_up(deadlines, deadlines->count++, deadline);
    return 0;
}

int64_t deadlines_next(const struct deadlines *deadlines)
{
    return deadlines->count ? deadlines->heap[0]->at : DEADLINE_NEVER;
}

void deadlines_pass(struct deadlines *deadlines, int64_t now, void *context)
{
    while (deadlines->count > 0 && deadlines->heap[0]->at <= now) {
        struct deadline *deadline = deadlines->heap[0];
        deadline_set(deadlines, deadline, DEADLINE_NEVER);
        deadline->passed(context, deadline);
    }
}
