/* SPDX-License-Identifier: MIT */
/* What the parts of the audit of a pool share: audit_pool.c, audit_slots.c. */
#ifndef DAEMON_AUDIT_PART_H
#define DAEMON_AUDIT_PART_H

#include "daemon/audit.h"

/* A pool whose head is as it must be, so that the places in its objects are known to be there. */
struct audit_view {
    struct audit *audit;
    const struct audit_subject *subject;
    char who[LAYOUT_NAME_SIZE + 32]; /* "pool 1 'frames'" */
    struct layout_ctl head;          /* as it was when it was looked at */
    struct geometry geometry;
    uint32_t capacity;
    const uint64_t *members;
    const uint64_t *ledger;
    uint64_t ledger_room; /* entries that ctl has */
    const uint64_t *words;
    const uint64_t *holds; /* NULL: nothing was shared yet */
    uint64_t hold_room;
    uint64_t *shared;                      /* a bit for each slot on which there are holds */
    uint32_t member_of[REGISTRY_SESSIONS]; /* by where the session stands; 0 = it is none */
    uint64_t allocated;                    /* slots in which there is an object */
};

void audit_violation(struct audit_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void audit_note(struct audit_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* As audit_under_way(). */
void audit_unfinished(struct audit_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool audit_is_leased(const struct audit_view *view);
/* The session of a member's number, or of a thread's; 0 = nobody's. */
uint64_t audit_session(const struct audit_view *view, uint32_t number);
/* Whether it may stand in the ledger: a member, or the pool itself. */
bool audit_is_holder(const struct audit_view *view, uint32_t number);

/* The intent, the holders, and the slots with their words and ledger entries. False without memory. */
bool audit_slots(struct audit_view *view);

#endif
