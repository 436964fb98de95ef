/* SPDX-License-Identifier: MIT */
#include "daemon/events.h"

#include <stddef.h>

void events_init(struct events *events)
{
    events->last = 0; /* no place is read before it was written */
}

void events_add(struct events *events, const struct event *event)
{
    uint64_t number = ++events->last;
    struct event *place = &events->ring[number % EVENTS_KEPT];
    *place = *event;
    place->number = number;
}

const struct event *events_after(const struct events *events, uint64_t after)
{
    uint64_t gone = events->last > EVENTS_KEPT ? events->last - EVENTS_KEPT : 0;
    if (after > events->last)
        after = 0;
    if (after < gone)
        after = gone;
    return after < events->last ? &events->ring[(after + 1) % EVENTS_KEPT] : NULL;
}

const char *event_name(uint32_t kind)
{
#define EVENT_NAME_CASE(NAME, number, text)                                                        \
    case EVENT_##NAME:                                                                             \
        return text;

    switch (kind) {
        EVENT_KINDS(EVENT_NAME_CASE)
    default:
        return NULL;
    }
#undef EVENT_NAME_CASE
}
