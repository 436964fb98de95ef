/* SPDX-License-Identifier: MIT */
/*
 * The memory orders of everything that processes share, all of them here (and in the two loads of
 * <fastalloc/view.h>, which applications inline). Each says what it pairs with.
 *
 * Shared fields are plain integers of fixed width, touched only through these. 64 bits at most: a
 * 16-byte atomic load faults on a read-only mapping.
 */
#ifndef SHM_ORDER_H
#define SHM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

_Static_assert(__atomic_always_lock_free(sizeof(uint64_t), 0), "64-bit atomics must be lock-free");
_Static_assert(__atomic_always_lock_free(sizeof(uint32_t), 0), "32-bit atomics must be lock-free");

/* Slot words. The load pairs with the exchange: who sees LIVE sees what was done before it. */
static inline uint64_t word_load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/*
 * The way in which a slot word changes. Sequentially consistent, since a free is ordered against hint
 * bits and the waiters' epoch.
 */
static inline bool word_exchange(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/*
 * For words that the daemon alone may change, where a member did: what it made of it is lost.
 */
static inline void word_replace(uint64_t *word, uint64_t desired)
{
    __atomic_store_n(word, desired, __ATOMIC_SEQ_CST);
}

/*
 * The epoch of a leased pool, which the daemon stores and members load, and hint bits, which members
 * set and the daemon clears. Sequentially consistent, as the exchange of words: what stands before
 * one of these in a program is seen by whoever saw it, and what follows, follows. The fences are for
 * the loads of words that the daemon makes afterwards.
 */
static inline void order_fence(void)
{
#ifndef __SANITIZE_THREAD__ /* which knows no fences */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline uint64_t epoch_load(const uint64_t *epoch)
{
    return __atomic_load_n(epoch, __ATOMIC_SEQ_CST);
}

static inline void epoch_store(uint64_t *epoch, uint64_t value)
{
    __atomic_store_n(epoch, value, __ATOMIC_SEQ_CST);
    order_fence();
}

/* Looks first, since a line that many set would travel for nothing. */
static inline void bits_set(uint64_t *bits, uint64_t set)
{
    if ((__atomic_load_n(bits, __ATOMIC_SEQ_CST) & set) != set)
        __atomic_fetch_or(bits, set, __ATOMIC_SEQ_CST);
}

/* A hint, for who doesn't rely on it. */
static inline uint64_t bits_load(const uint64_t *bits)
{
    return __atomic_load_n(bits, __ATOMIC_RELAXED);
}

/* Clears all of them; returns which were set. */
static inline uint64_t bits_take(uint64_t *bits)
{
    uint64_t taken = __atomic_load_n(bits, __ATOMIC_RELAXED);
    if (taken != 0)
        taken = __atomic_exchange_n(bits, 0, __ATOMIC_SEQ_CST);
    order_fence();
    return taken;
}

/*
 * Fields that one writer stores and others load: ledger, member table, capacity, layout version.
 * The release pairs with field_load's acquire, in clients, and in a daemon that starts again:
 * program order is all that a killed writer needs.
 */
static inline uint64_t field_load(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

static inline void field_store(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELEASE);
}

static inline uint32_t field32_load(const uint32_t *field)
{
    return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

static inline void field32_store(uint32_t *field, uint32_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELEASE);
}

/* Statistics: each number is whole, no order between them. */
static inline uint64_t counter_load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void counter_store(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/*
 * Around a change of several counters by their one writer: the sequence is odd meanwhile, and who
 * read the same even one before and after has a consistent set. The fence of the begin keeps the
 * counters' stores behind its own (an acquire wouldn't: it concerns loads), the release of the end
 * keeps them before it.
 */
static inline void counters_begin(uint64_t *sequence)
{
    __atomic_store_n(sequence, counter_load(sequence) + 1, __ATOMIC_RELAXED);
#ifndef __SANITIZE_THREAD__ /* which knows no fences */
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

static inline void counters_end(uint64_t *sequence)
{
    __atomic_store_n(sequence, counter_load(sequence) + 1, __ATOMIC_RELEASE);
}

/* The reader's end: the loads before stay before this one. Whether nothing was changed meanwhile. */
static inline bool counters_unchanged(const uint64_t *sequence, uint64_t before)
{
#ifndef __SANITIZE_THREAD__
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
    return counter_load(sequence) == before;
}

#endif
