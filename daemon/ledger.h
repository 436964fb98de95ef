/* SPDX-License-Identifier: MIT */
/*
 * The ledger says, for each slot of a pool, which member holds it and by which request: one 64-bit
 * entry a slot in the pool's ctl, stored at once, the authority on ownership. Beside it, in the
 * daemon's own memory and derivable from it: a list of the slots that each member holds, oldest
 * first, and, as that of member 0, of the free ones.
 *
 * It knows nothing of slot words. Who grants stores here first and changes the word after; who
 * takes back changes the word first.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/layout.h"

#define LEDGER_NONE UINT32_MAX

struct ledger_link {
    uint32_t previous;
    uint32_t next;
};

struct ledger_list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

struct ledger {
    uint64_t *entries; /* in ctl, not owned */
    uint32_t capacity;
    uint32_t list_count;
    struct ledger_link *links; /* one for each slot */
    struct ledger_list *lists; /* one for each member number that was ever used */
};

/* Begins with `capacity` entries that are all 0. 0 or -ENOMEM. */
int ledger_init(struct ledger *ledger, uint64_t *entries, uint32_t capacity);
void ledger_deinit(struct ledger *ledger);

/* Makes room for the member's list, before it is granted anything. 0 or -ENOMEM. */
int ledger_add_member(struct ledger *ledger, uint32_t member);

/* Slots that the member holds; with SLOT_MEMBER_NONE the free ones. */
uint32_t ledger_count(const struct ledger *ledger, uint32_t member);

/* The one it has held longest; LEDGER_NONE if none. */
uint32_t ledger_oldest(const struct ledger *ledger, uint32_t member);

/* Gives a free slot to the member: the one freed last. LEDGER_NONE when nothing is free. */
uint32_t ledger_grant(struct ledger *ledger, uint32_t member, uint64_t request);

/* The slot is free again. */
void ledger_release(struct ledger *ledger, uint32_t index);

/* The slot is nobody's and never granted again. */
void ledger_retire(struct ledger *ledger, uint32_t index);

/* Who holds the slot, or SLOT_MEMBER_NONE. */
uint32_t ledger_holder(const struct ledger *ledger, uint32_t index);

/*
 * Asserts the ledger's laws: each slot stands in the one list that its entry names, or is retired.
 */
void ledger_check(const struct ledger *ledger);

#endif
