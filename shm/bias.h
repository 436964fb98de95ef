/* SPDX-License-Identifier: MIT */
/*
 * Biased threads of leased pools (docs/decisions/0016): a thread changes the words of its own slots by
 * plain stores for as long as nobody else comes near, since a locked instruction takes as long as all
 * the rest of an allocation.
 *
 * Its words carry its own number, so nobody else's code ever takes them for theirs. The thread
 * announces which word it is about to change and how, then looks whether it was revoked, then looks at
 * the word, then stores. Whoever else is to change a word of the thread first revokes it, then makes
 * all processors pass a barrier (membarrier(2), which the thread doesn't notice), then reads what is
 * announced: so either the thread has seen that it is revoked, or its announcement is seen here. What
 * is announced and not done yet is the thread's to do: a free by it is under way, or an allocation.
 * A thread that is revoked changes words by compare-and-swap, as everybody.
 *
 * An announcement names the generation, so it never has to be withdrawn once it is done: the word
 * tells that. Who was revoked in the middle withdraws it: an allocation before it looks at the word
 * again, a free after it was done by compare-and-swap. (Of a generation it has 32 bits: a free by a handle
 * that is stale by a multiple of 2^32 generations looks, while it is found to be that, like one of the object.)
 *
 * The idea is that of biased locking (Kawachiya, Koseki, Onodera: Lock Reservation, OOPSLA 2002),
 * with an asymmetric barrier instead of a stopped thread (Dice, Huang, Yang: Asymmetric Dekker
 * Synchronization, 2001).
 */
#ifndef SHM_BIAS_H
#define SHM_BIAS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"
#include "shm/order.h"
#include "shm/slot.h"

/* Why a thread may not store plainly any more; with that, above, how often its number was given out. */
enum bias_revoked {
    BIAS_BY_DAEMON = 1 << 0, /* until the daemon grants it slots again */
    BIAS_BY_MEMBER = 1 << 1, /* for ever: others free what it allocates */
    BIAS_SETTLED = 1 << 2,   /* the barrier after BIAS_BY_MEMBER was passed */
    BIAS_REVOKED = BIAS_BY_DAEMON | BIAS_BY_MEMBER | BIAS_SETTLED,
};

/* ---- Numbers --------------------------------------------------------------------------------- */

static inline bool bias_is_thread(uint32_t member)
{
    return member >= LAYOUT_THREAD_FIRST && member < SLOT_MEMBER_POOL;
}

/* ---- Announcements --------------------------------------------------------------------------- */

/* `generation's low 32 bits : 32 | index : 30 | 2 = free, 1 = allocate`. */
#define BIAS_NOTHING UINT64_C(0)
#define BIAS_ALLOCATES 1u
#define BIAS_FREES 2u

static inline uint64_t bias_announcement(uint64_t generation, uint32_t index, unsigned what)
{
    return (generation << 32) + (uint64_t)index * 4 +
           what; /* one instruction, on most processors */
}

/* ---- The thread itself ----------------------------------------------------------------------- */

static inline bool bias_is_revoked(const struct layout_thread *thread)
{
    return __atomic_load_n(&thread->revoked, __ATOMIC_ACQUIRE) & BIAS_REVOKED;
}

/*
 * Whether it is revoked; if it isn't, the announcement holds. In this order, for the compiler; and after
 * the word that was announced before, since this tells that it is done.
 */
static inline bool bias_announce(struct layout_thread *thread, uint64_t announcement)
{
    __atomic_store_n(&thread->announced, announcement, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return bias_is_revoked(thread);
}

/* What follows in the program follows. */
static inline void bias_withdraw(struct layout_thread *thread)
{
    if (__atomic_load_n(&thread->announced, __ATOMIC_RELAXED) == BIAS_NOTHING)
        return;
    __atomic_store_n(&thread->announced, BIAS_NOTHING, __ATOMIC_RELEASE);
    order_fence();
}

/*
 * One of its words, after it was announced and found to be the right one. Before what follows, for the
 * compiler: a look at whether it was revoked meanwhile, and whoever did that didn't find it done.
 */
static inline void bias_store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* ---- Others ---------------------------------------------------------------------------------- */

/* Whether a member revoked it so that nobody needs a barrier any more. */
static inline bool bias_is_settled(const struct layout_thread *thread)
{
    return __atomic_load_n(&thread->revoked, __ATOMIC_SEQ_CST) & BIAS_SETTLED;
}

/* Adds to what the thread is revoked by; returns all of it. The barrier is the caller's to issue. */
static inline uint32_t bias_revoke(struct layout_thread *thread, uint32_t by)
{
    return __atomic_or_fetch(&thread->revoked, by, __ATOMIC_SEQ_CST);
}

/* After BIAS_BY_MEMBER and a barrier; not if the number is another thread's by now. */
static inline void bias_settle(struct layout_thread *thread, uint32_t revoked)
{
    uint32_t now = __atomic_load_n(&thread->revoked, __ATOMIC_SEQ_CST);
    while ((now & ~BIAS_REVOKED) == (revoked & ~BIAS_REVOKED) &&
           !__atomic_compare_exchange_n(&thread->revoked, &now, now | BIAS_SETTLED, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

/* The daemon gives the number to a thread, which is biased once it is granted slots. */
static inline void bias_begin(struct layout_thread *thread)
{
    uint32_t before = __atomic_load_n(&thread->revoked, __ATOMIC_SEQ_CST);
    uint32_t next = (before & ~(uint32_t)BIAS_REVOKED) + (BIAS_REVOKED + 1);
    __atomic_store_n(&thread->announced, BIAS_NOTHING, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->revoked, next | BIAS_BY_DAEMON, __ATOMIC_SEQ_CST);
}

/* The daemon, which takes back its own only. */
static inline void bias_restore(struct layout_thread *thread)
{
    __atomic_fetch_and(&thread->revoked, ~(uint32_t)BIAS_BY_DAEMON, __ATOMIC_SEQ_CST);
}

/*
 * After the barrier: whether the thread is in the middle of changing this very word, CACHED or LIVE,
 * of the slot.
 */
static inline bool bias_is_amid(const struct layout_thread *thread, uint32_t index, uint64_t word)
{
    unsigned what = slot_state(word) == SLOT_CACHED ? BIAS_ALLOCATES : BIAS_FREES;
    return __atomic_load_n(&thread->announced, __ATOMIC_ACQUIRE) ==
           bias_announcement(slot_generation(word), index, what);
}

/* ---- The barrier ----------------------------------------------------------------------------- */

/* This process's threads may be biased from now on. False: the system doesn't let them. */
bool bias_register(void);

/*
 * All threads of all processes that are registered, on whatever processor, have passed a full
 * barrier since the call began. False: the system doesn't let us.
 */
bool bias_barrier(void);

#endif
