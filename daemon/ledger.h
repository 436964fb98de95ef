/* SPDX-License-Identifier: MIT */
/*
 * The ledger says, for each slot of a pool, which member holds it and by which request: one 64-bit
 * entry a slot in the pool's ctl, stored at once, the authority on ownership. Beside it, in the
 * daemon's own memory and derivable from it: a chain of the slots that each member holds, in the
 * order in which it got them, and, as that of member 0, of the free ones. Slots that were never
 * granted stand in no chain but above all others, so that a pool grows in no time.
 *
 * It knows nothing of slot words. Who grants stores here first and changes the word after; who
 * takes back changes the word first.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/chain.h"
#include "shm/layout.h"

#define LEDGER_NONE CHAIN_END

struct ledger {
    uint64_t *entries; /* in ctl, not owned */
    uint32_t capacity;
    uint32_t fresh; /* from here on none was ever granted */
    uint32_t held;  /* by whomever */
    uint32_t chain_count;
    struct chain_link *links; /* one for each slot */
    struct chain *chains;     /* one for each member number that was ever used */
};

/* Begins with `capacity` entries that are all 0. 0 or -ENOMEM. */
int ledger_init(struct ledger *ledger, uint64_t *entries, uint32_t capacity);
void ledger_deinit(struct ledger *ledger);

/*
 * Of entries that are there already: each slot into the chain of its member, which was added, in
 * the order of their numbers; up to `fresh`, below which some were granted once.
 */
void ledger_load(struct ledger *ledger, uint32_t fresh);

/* Takes the memory for that many slots. 0 or -ENOMEM. */
int ledger_reserve(struct ledger *ledger, uint32_t capacity);
/* There are that many slots now, for which memory was taken. */
void ledger_grow(struct ledger *ledger, uint32_t capacity);

/* Makes room for the member's chain, before it is granted anything. 0 or -ENOMEM. */
int ledger_add_member(struct ledger *ledger, uint32_t member);

/* Slots that the member holds; with SLOT_MEMBER_NONE the free ones. */
uint32_t ledger_count(const struct ledger *ledger, uint32_t member);

/* The one it has held longest; LEDGER_NONE if none. */
uint32_t ledger_oldest(const struct ledger *ledger, uint32_t member);

/* The slot that is granted after that one; the first of all after LEDGER_NONE. */
uint32_t ledger_next(const struct ledger *ledger, uint32_t index);

/* That which the same member got after this one; LEDGER_NONE. */
uint32_t ledger_after(const struct ledger *ledger, uint32_t index);

/*
 * Gives a free slot to the member of the entry (layout.h): the one freed last. LEDGER_NONE when
 * nothing is free.
 */
uint32_t ledger_grant(struct ledger *ledger, uint64_t entry);

/* The slot, which somebody holds, is the other member's, whom the entry names. */
void ledger_move(struct ledger *ledger, uint32_t index, uint64_t entry);

/* The slot is free again. */
void ledger_release(struct ledger *ledger, uint32_t index);

/* The slot is nobody's and never granted again. */
void ledger_retire(struct ledger *ledger, uint32_t index);

uint64_t ledger_entry(const struct ledger *ledger, uint32_t index);

/* Who holds the slot, or SLOT_MEMBER_NONE. */
uint32_t ledger_holder(const struct ledger *ledger, uint32_t index);

/*
 * Asserts the ledger's laws: each slot stands in the one chain that its entry names, or is retired,
 * or fresh.
 */
void ledger_check(const struct ledger *ledger);

#endif
