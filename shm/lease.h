/* SPDX-License-Identifier: MIT */
/*
 * What happens to slot words, hint bits and the epoch of a leased pool (docs/decisions/0015), on
 * both sides. It knows no ledger and no cache: words in, words out. Every change of a word is one
 * compare-and-swap from the very word that was seen; who loses it changed nothing.
 *
 * Two orders carry it, both sequentially consistent. A free changes the word, then looks at the
 * hint bit, then at the epoch; the daemon changes the epoch, then clears the bit, then looks at the
 * word. So of any two, one sees the other.
 */
#ifndef SHM_LEASE_H
#define SHM_LEASE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shm/order.h"
#include "shm/slot.h"

/* Slots of one hint bit, and of one 64-bit word of them. */
#define LEASE_BLOCK 64u
#define LEASE_HINT_SLOTS (64u * LEASE_BLOCK)

/* The most slots that are granted ahead at once, and that one thread's cache takes. */
#define LEASE_MAX 4096u

/* A slot's number as it travels: 32 bits, little-endian. */
#define LEASE_WIRE_SIZE 4

static inline void lease_to_wire(uint32_t index, uint8_t wire[LEASE_WIRE_SIZE])
{
    uint32_t number = htole32(index);
    memcpy(wire, &number, sizeof(number));
}

static inline uint32_t lease_from_wire(const uint8_t wire[LEASE_WIRE_SIZE])
{
    uint32_t number;
    memcpy(&number, wire, sizeof(number));
    return le32toh(number);
}

/* Everything of a word but its generation. */
#define LEASE_STATE_MASK UINT64_C(0xffff)

static inline uint64_t lease_state(uint32_t member, enum slot_state state)
{
    return slot_word(0, member, state);
}

/* ---- Members --------------------------------------------------------------------------------- */

/*
 * CACHED of the member -> LIVE. `cached` is lease_state(member, SLOT_CACHED). False if the slot
 * isn't in the member's cache any more; else *live is the word.
 */
static inline bool lease_allocate(uint64_t *word, uint64_t cached, uint64_t *live)
{
    uint64_t old = word_load(word);
    *live = old + (SLOT_LIVE - SLOT_CACHED);
    return (old & LEASE_STATE_MASK) == cached && word_exchange(word, old, *live);
}

/* What is left of a slot whose object, LIVE in this very word, is freed. */
static inline uint64_t lease_freed(uint64_t live, enum slot_state state)
{
    return slot_generation(live) == SLOT_GENERATION_LAST
               ? slot_word(SLOT_GENERATION_LAST, slot_member(live), SLOT_RETIRED)
               : slot_word(slot_generation(live) + 1, slot_member(live), state);
}

/* The word at the same generation, but as lease_state() says. */
static inline uint64_t lease_with_state(uint64_t word, uint64_t state)
{
    return (word & ~LEASE_STATE_MASK) | state;
}

/* RETURNED, this very word, -> CACHED, as lease_state() says: what others freed of our own. */
static inline bool lease_recover(uint64_t *word, uint64_t returned, uint64_t cached)
{
    return word_exchange(word, returned, lease_with_state(returned, cached));
}

/* CACHED -> RETURNED at the same generation: it stands aside. False: it isn't that any more. */
static inline bool lease_stand_aside(uint64_t *word, uint64_t cached)
{
    return word_exchange(word, cached, cached + (SLOT_RETURNED - SLOT_CACHED));
}

/* Says that the slot may be RETURNED (or RETIRED), once it is. */
static inline void lease_hint(uint64_t *hints, uint32_t index)
{
    uint64_t bit = UINT64_C(1) << index / LEASE_BLOCK % 64;
    bits_set(&hints[index / LEASE_HINT_SLOTS], bit);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

/* IDLE at the generation -> CACHED of the member. The ledger has it already. */
static inline bool lease_grant(uint64_t *word, uint64_t generation, uint32_t member)
{
    return word_exchange(word, slot_word(generation, SLOT_MEMBER_NONE, SLOT_IDLE),
                         slot_word(generation, member, SLOT_CACHED));
}

/* CACHED or RETURNED, this very word, -> IDLE. The ledger follows. */
static inline bool lease_take_back(uint64_t *word, uint64_t old)
{
    return word_exchange(word, old, slot_word(slot_generation(old), SLOT_MEMBER_NONE, SLOT_IDLE));
}

/* ---- The epoch ------------------------------------------------------------------------------- */

/* 0: the pool is roomy. Else it is tight: `number << 1 | somebody waits`. */
static inline uint64_t lease_epoch(uint64_t number, bool waiting)
{
    return number << 1 | (waiting ? 1 : 0);
}

static inline bool lease_somebody_waits(uint64_t epoch)
{
    return epoch & 1;
}

#endif
