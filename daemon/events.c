/* SPDX-License-Identifier: MIT */
#include "daemon/events.h"

#include <stddef.h>

#include "shm/order.h"

void events_init(struct events *events, uint64_t *last)
{
    events->last = last; /* no place is read before it was written */
    events->before = field_load(last);
}

void events_add(struct events *events, const struct event *event)
{
    uint64_t number = field_load(events->last) + 1;
    struct event *place = &events->ring[number % EVENTS_KEPT];
    *place = *event;
    place->number = number;
    field_store(events->last, number);
}

const struct event *events_after(const struct events *events, uint64_t after)
{
    uint64_t last = field_load(events->last), gone = events->before;
    if (last - gone > EVENTS_KEPT)
        gone = last - EVENTS_KEPT;
    if (after > last)
        after = 0;
    if (after < gone)
        after = gone;
    return after < last ? &events->ring[(after + 1) % EVENTS_KEPT] : NULL;
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
