/* SPDX-License-Identifier: MIT */
/*
 * A member of a leased pool, as docs/protocol.md wants it to be: what it does with words, hint bits and
 * the epoch, without a request.
 */
#ifndef TESTS_UNIT_MEMBER_H
#define TESTS_UNIT_MEMBER_H

#include "daemon/pool.h"
#include "shm/bias.h"
#include "shm/lease.h"

static inline uint64_t member_word(const struct pool *of, uint32_t index)
{
    return word_load(&of->words[index]);
}

/* From its cache. False if the slot isn't there. */
static inline bool member_allocate(struct pool *of, uint32_t member, uint32_t index)
{
    uint64_t live;
    return lease_allocate(&of->words[index], lease_state(member, SLOT_CACHED), &live);
}

static inline void member_hint(struct pool *of, uint32_t index)
{
    lease_hint(of->store.slots, index);
}

static inline bool member_hinted(const struct pool *of, uint32_t index)
{
    const uint64_t *hints = of->store.slots;
    return hints[index / LEASE_HINT_SLOTS] >> index / LEASE_BLOCK % 64 & 1;
}

/* Only the word, as if the thread had died after that. The slot's object is freed, whoever's it is. */
static inline bool member_free_word(struct pool *of, uint32_t member, uint32_t index)
{
    uint64_t live = member_word(of, index);
    bool own = slot_member(live) == member;
    return slot_state(live) == SLOT_LIVE &&
           word_exchange(&of->words[index], live,
                         lease_freed(live, own ? SLOT_CACHED : SLOT_RETURNED));
}

/* What follows a free: in a tight pool nothing stays cached, and what is nobody's has a hint. */
static inline void member_after_free(struct pool *of, uint32_t index)
{
    uint64_t word = member_word(of, index);
    if (slot_state(word) == SLOT_CACHED && epoch_load(&of->ctl->waiters) != 0 &&
        lease_stand_aside(&of->words[index], word))
        word = member_word(of, index);
    if (slot_state(word) == SLOT_RETURNED || slot_state(word) == SLOT_RETIRED)
        member_hint(of, index);
}

static inline bool member_free(struct pool *of, uint32_t member, uint32_t index)
{
    if (!member_free_word(of, member, index))
        return false;
    member_after_free(of, index);
    return true;
}

/* One of its cache is given back. False if it isn't there. */
static inline bool member_give_back(struct pool *of, uint32_t member, uint32_t index)
{
    uint64_t word = member_word(of, index);
    if ((word & LEASE_STATE_MASK) != lease_state(member, SLOT_CACHED) ||
        !lease_stand_aside(&of->words[index], word))
        return false;
    member_hint(of, index);
    return true;
}

/* Whether it has to ring, after a free; *told is the epoch of which it has told already, 0 at first. */
static inline bool member_rings(const struct pool *of, uint64_t *told)
{
    uint64_t epoch = epoch_load(&of->ctl->waiters);
    if (!lease_somebody_waits(epoch) || epoch == *told)
        return false;
    *told = epoch;
    return true;
}

/* ---- A biased thread ------------------------------------------------------------------------- */

static inline struct layout_thread *member_line(const struct pool *of, uint32_t thread)
{
    char *lines = (char *)of->store.slots + of->store.geometry.threads_offset;
    return (struct layout_thread *)lines + (thread - LAYOUT_THREAD_FIRST);
}

/*
 * Says that the thread allocates the slot, or frees it (enum of shm/bias.h). False if the word isn't such, or the
 * thread was revoked; then it says nothing.
 */
static inline bool member_announce(const struct pool *of, uint32_t thread, uint32_t index,
                                   unsigned what)
{
    struct layout_thread *line = member_line(of, thread);
    uint64_t word = member_word(of, index);
    if ((word & LEASE_STATE_MASK) !=
        lease_state(thread, what == BIAS_ALLOCATES ? SLOT_CACHED : SLOT_LIVE))
        return false;
    bias_announce(line, bias_announcement(slot_generation(word), index, what));
    if (!bias_is_revoked(line))
        return true;
    bias_announce(line, BIAS_NOTHING);
    return false;
}

/* What it has announced. */
static inline void member_store(struct pool *of, uint32_t index, unsigned what)
{
    uint64_t word = member_word(of, index);
    bias_store(&of->words[index], what == BIAS_ALLOCATES ? word + (SLOT_LIVE - SLOT_CACHED)
                                                         : lease_freed(word, SLOT_CACHED));
}

/* Both. */
static inline bool member_change(struct pool *of, uint32_t thread, uint32_t index, unsigned what)
{
    if (!member_announce(of, thread, index, what))
        return false;
    member_store(of, index, what);
    return true;
}

#endif
