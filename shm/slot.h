/* SPDX-License-Identifier: MIT */
/*
 * The slot word: `generation : 48 | member : 13 | state : 3`, and its transitions, each of them one
 * compare-and-swap. The word owns liveness; who owns the slot stands in the ledger.
 *
 * It knows no pool and no ledger: words in, words out.
 */
#ifndef SHM_SLOT_H
#define SHM_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/view.h>

enum slot_state {
    SLOT_IDLE = 0,                        /* the daemon's */
    SLOT_CACHED = 1,                      /* granted, free, in its member's cache */
    SLOT_LIVE = FASTALLOC_STATE_LIVE,     /* allocated by one member */
    SLOT_SHARED = FASTALLOC_STATE_SHARED, /* allocated, several holders */
    SLOT_RETURNED = 4,                    /* freed by somebody who doesn't own it */
    SLOT_RETIRED = 5,                     /* its generations are used up */
};

#define SLOT_GENERATION_FIRST UINT64_C(1)
#define SLOT_GENERATION_LAST ((UINT64_C(1) << 48) - 1)

/* Member numbers. 0 is nobody; the last one is the pool itself, which owns what was detached. */
#define SLOT_MEMBER_NONE 0u
#define SLOT_MEMBER_POOL ((1u << FASTALLOC_WORD_MEMBER_BITS) - 1)

static inline uint64_t slot_word(uint64_t generation, uint32_t member, enum slot_state state)
{
    return generation << FASTALLOC_WORD_GENERATION_SHIFT |
           (uint64_t)member << FASTALLOC_WORD_MEMBER_SHIFT | (uint64_t)state;
}

static inline uint64_t slot_generation(uint64_t word)
{
    return word >> FASTALLOC_WORD_GENERATION_SHIFT;
}

static inline uint32_t slot_member(uint64_t word)
{
    return (uint32_t)(word >> FASTALLOC_WORD_MEMBER_SHIFT) & SLOT_MEMBER_POOL;
}

static inline enum slot_state slot_state(uint64_t word)
{
    return (enum slot_state)(word & 7);
}

/* Whether the slot holds an object: LIVE or SHARED. */
static inline bool slot_is_allocated(uint64_t word)
{
    return (word & 6) == FASTALLOC_STATE_LIVE;
}

/* IDLE -> LIVE for the member. False if the word isn't IDLE; then nothing changed. */
bool slot_make_live(uint64_t *word, uint32_t member);

/*
 * LIVE or SHARED at this generation -> LIVE of that member, or SHARED. False if the word is
 * anything else; then nothing changed.
 */
bool slot_change_hands(uint64_t *word, uint64_t generation, uint32_t member, enum slot_state state);

/* The word of a slot whose object of that generation was freed: IDLE, or RETIRED after the last. */
static inline uint64_t slot_idle_after(uint64_t generation)
{
    return generation == SLOT_GENERATION_LAST
               ? slot_word(generation, SLOT_MEMBER_NONE, SLOT_RETIRED)
               : slot_word(generation + 1, SLOT_MEMBER_NONE, SLOT_IDLE);
}

/*
 * LIVE or SHARED at this generation -> IDLE with the next one, or RETIRED after the last. False if
 * the word is anything else, a freed slot's among them; then nothing changed.
 */
bool slot_make_idle(uint64_t *word, uint64_t generation);

#endif
