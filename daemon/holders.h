/* SPDX-License-Identifier: MIT */
/*
 * The holders of a pool's SHARED slots: a table in shared memory, one 64-bit entry for each hold
 * (layout_holder_entry), which only the daemon has mapped, and, derived from it, in the daemon's
 * own memory: for each slot the list of its holds, for each member the list of its own, oldest
 * first both, and that of the free entries.
 *
 * A member may hold a slot several times: each hold is an entry of its own and is given up by
 * itself. All holds on a slot are of one generation. It knows nothing of slot words; who calls
 * orders the entry against the word.
 *
 * The table is an object of its own, made with the first hold and doubled when it is full, so that
 * pools which never share pay nothing.
 */
#ifndef DAEMON_HOLDERS_H
#define DAEMON_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/chain.h"
#include "shm/layout.h"
#include "shm/segment.h"

#define HOLDERS_NONE CHAIN_END
/* Entries that the object begins with: a page. */
#define HOLDERS_FIRST 512u
/* Holds for each slot of the pool's capacity, on average, but at least and at most in all. */
#define HOLDERS_PER_SLOT 16u
#define HOLDERS_LEAST 1024u
#define HOLDERS_MOST (UINT32_C(1) << 31)

struct holders {
    char name[SEGMENT_NAME_SIZE]; /* of the object, which is there when `room` isn't 0 */
    uint64_t *entries;
    uint32_t room;                   /* entries that the object has */
    struct chain_link *slot_links;   /* one for each entry: in its slot's list, or in `free` */
    struct chain_link *member_links; /* and in its member's */
    struct chain free;
    struct chain *slots; /* by slot index */
    uint32_t slot_count;
    uint32_t shared;       /* slots on which there are holds */
    struct chain *members; /* by member number */
    uint32_t member_count;
};

/* Makes nothing yet. `name` is the object's name when it is made. */
void holders_init(struct holders *holders, const char name[SEGMENT_NAME_SIZE]);
/*
 * Takes over the table that is there, of a pool of `capacity` slots and members up to `member`;
 * nothing happens if there is none. Entries for which `keep` says no are freed. 0 or a negated
 * errno.
 */
typedef bool (*holders_keep)(void *context, uint64_t generation, uint32_t index, uint32_t member);
int holders_load(struct holders *holders, uint32_t capacity, uint32_t member, holders_keep keep,
                 void *context);
/* Unmaps the table; the object stays. */
void holders_deinit(struct holders *holders);

/* Bytes of shared memory that the object has. */
uint64_t holders_size(const struct holders *holders);

/* The most holds that a pool of `capacity` slots can have. */
uint32_t holders_limit(uint32_t capacity);

/*
 * Makes room for `more` holds on top of those there are, in a pool of `capacity` slots, by a member
 * up to `member`. 0; -ENOSPC when /dev/shm is full; -EDQUOT when there would be more than
 * holders_limit(capacity); or another negated errno. On failure the object and all holds are what
 * they were.
 */
int holders_reserve(struct holders *holders, uint32_t more, uint32_t capacity, uint32_t member);

/* One more hold; there is room for it. */
void holders_add(struct holders *holders, uint32_t index, uint64_t generation, uint32_t member);

/* Gives up one hold of the member on the slot. False if it has none. */
bool holders_remove(struct holders *holders, uint32_t index, uint32_t member);

/* Gives up the hold that the member has had longest; its slot, or HOLDERS_NONE if it has none. */
uint32_t holders_remove_oldest(struct holders *holders, uint32_t member);

/* One hold of a member on the slot is the other's now. False if it has none. */
bool holders_move(struct holders *holders, uint32_t index, uint32_t from, uint32_t to);

/* Gives up all holds on the slot. Returns how many there were. */
uint32_t holders_clear(struct holders *holders, uint32_t index);

/* Slots on which there are holds. */
uint32_t holders_shared(const struct holders *holders);

/* How many holds there are; on the slot; by the member, in all. */
uint32_t holders_total(const struct holders *holders);
uint32_t holders_count(const struct holders *holders, uint32_t index);
uint32_t holders_member_count(const struct holders *holders, uint32_t member);

/* Those of the member on the slot. */
uint32_t holders_count_of(const struct holders *holders, uint32_t index, uint32_t member);

/* The slot on which the member has had a hold longest; HOLDERS_NONE. */
uint32_t holders_oldest(const struct holders *holders, uint32_t member);

/* Whether the member has a hold on the slot; and all that there are. */
bool holders_has(const struct holders *holders, uint32_t index, uint32_t member);
bool holders_has_all(const struct holders *holders, uint32_t index, uint32_t member);

/*
 * Asserts the table's laws: each entry stands in the two lists that it names, or is free, and all
 * of a slot's are of one generation.
 */
void holders_check(const struct holders *holders);

#endif
