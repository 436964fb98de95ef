/* SPDX-License-Identifier: MIT */
/*
 * The events of an instance: what happened to its pools that somebody may want to know. The last
 * EVENTS_KEPT stand in a ring, numbered from 1; who asks for those after a number gets them in
 * order, and learns from the numbers how many it came too late for. So nobody who listens, or
 * doesn't, costs the daemon anything. The next daemon counts on: those of the one before are gone,
 * which their numbers tell.
 *
 * It knows no pool, no session and no clock.
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include <stdint.h>

#include "proto/messages.h"

#define EVENTS_KEPT 1024u

/* E(name, number, text): those given up are never used again. */
#define EVENT_KINDS(E)                                                                             \
    /* usage came to the pool's watermark; and is below it again */                                \
    E(WATERMARK_REACHED, 1, "watermark-reached")                                                   \
    E(WATERMARK_FALLEN, 2, "watermark-fallen")                                                     \
    /* a request was refused for want of slots; once until one fits */                             \
    E(EXHAUSTED, 3, "exhausted")                                                                   \
    E(GROWN, 4, "grown")                                                                           \
    E(GROWTH_FAILED, 5, "growth-failed")                                                           \
    /* objects were freed for a critical request */                                                \
    E(EVICTED, 6, "evicted")                                                                       \
    /* an object is held for longer than the pool allows for */                                    \
    E(HELD_LONG, 7, "held-long")                                                                   \
    /* slots of a session that ended are free again */                                             \
    E(RECLAIMED, 8, "reclaimed")                                                                   \
    /* a member changed the size of the pool's data, or a word to what can't be */                 \
    E(DAMAGED, 9, "damaged")                                                                       \
    /* the pool is gone */                                                                         \
    E(DESTROYED, 10, "destroyed")

#define EVENT_ENUMERATOR(NAME, number, text) EVENT_##NAME = number,
enum event_kind { EVENT_KINDS(EVENT_ENUMERATOR) };
#undef EVENT_ENUMERATOR

struct event {
    uint64_t number; /* set by events_add() */
    uint32_t kind;   /* enum event_kind */
    uint32_t pool;
    char name[PROTOCOL_NAME_MAX + 1]; /* the pool's */
    uint32_t uid;                     /* the pool's owner, its group and mode */
    uint32_t gid;
    uint32_t mode;
    int64_t time;      /* ns of the monotonic clock */
    uint64_t capacity; /* slots, at that moment */
    uint64_t allocated;
    uint64_t count;   /* what the kind counts: slots grown, evicted, reclaimed, asked for */
    uint64_t session; /* whom it concerns; 0 = nobody */
};

struct events {
    struct event ring[EVENTS_KEPT];
    uint64_t *last;  /* number of the newest, which outlives the daemon; 0 = none yet */
    uint64_t before; /* the newest one's when this daemon began: up to it none is kept */
};

/* `last` is stored to with each event. */
void events_init(struct events *events, uint64_t *last);

/* Keeps a copy, with the next number; the oldest one goes if there are EVENTS_KEPT. */
void events_add(struct events *events, const struct event *event);

/*
 * The oldest one kept whose number is above `after`; NULL if there is none. A number above the
 * newest one's (of another instance's life) counts as 0. It points into the ring, to be read before
 * the next events_add().
 */
const struct event *events_after(const struct events *events, uint64_t after);

/* "watermark-reached", ...; NULL for what is no kind. */
const char *event_name(uint32_t kind);

#endif
