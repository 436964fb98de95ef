/* SPDX-License-Identifier: MIT */
/*
 * The journal: which change a session has asked for while it is being carried out, and which of its
 * last changes were; both in the registry. So a daemon that starts carries out the rest of what the
 * one before had begun, and a client that repeats a request whose reply was lost has it carried out
 * once.
 *
 * Order: what the change is, its kind; each step before it is taken; that it was carried out, that
 * nothing is under way.
 */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/registry.h"

enum journal_kind {
    JOURNAL_NONE = 0,
    JOURNAL_OPERATE = 1, /* and an enum pool_operation above it */
    JOURNAL_CREATE = 16, /* the pool */
    JOURNAL_DESTROY = 17,
};

struct journal {
    struct registry_change *record;
    struct registry_session *session; /* whose change comes next; NULL: nobody's */
    uint32_t number;
};

/* Of a registry that is open. Nothing of it is changed. */
void journal_init(struct journal *journal, struct registry *registry);

/* Whether the session's change of that number was carried out. */
bool journal_is_done(const struct registry_session *session, uint32_t number);

/* The changes that follow are the session's, under that number; 0 = they won't be repeated. */
void journal_announce(struct journal *journal, struct registry_session *session, uint32_t number);

/* Nothing of it was done yet. The handles are in wire form. */
void journal_begin(struct journal *journal, enum journal_kind kind, uint32_t pool, uint32_t member,
                   const uint8_t *handles, uint32_t count);
/* The next handle comes, on whose slot the member has so many holds. */
void journal_step(struct journal *journal, uint32_t position, uint32_t holds);
/* All of it is done; or it is refused, having changed nothing that isn't done anyway. */
void journal_end(struct journal *journal, bool done);

/* Of a record that a dead daemon left: which handle was next, and the holds on its slot then. */
uint32_t journal_next(const struct journal *journal);
/* Or JOURNAL_HOLDS_NONE, if no step was begun. */
#define JOURNAL_HOLDS_NONE UINT32_MAX
uint32_t journal_holds(const struct journal *journal);

#endif
