/* SPDX-License-Identifier: MIT */
/*
 * Advice on a pool's capacity, from what was observed: the most that was in use at once and a
 * margin, but not less than its reserves and what was asked for when it was refused. Pure.
 */
#ifndef CTL_ADVICE_H
#define CTL_ADVICE_H

#include <fastalloc/admin.h>

#define ADVICE_MARGIN_MAX 1000 /* percent */

enum advice_verdict {
    ADVICE_UNKNOWN, /* nothing was observed, or in a leased pool not enough */
    ADVICE_TOO_SMALL,
    ADVICE_RIGHT,
    ADVICE_TOO_LARGE, /* more than twice what is advised */
};

/* What to do about it. */
enum advice_action {
    ADVICE_NOTHING,
    ADVICE_GROW,       /* up to the maximum that it has */
    ADVICE_GROW_RAISE, /* and raise that first */
    ADVICE_REPLACE,    /* by another pool */
};

struct advice {
    uint64_t capacity; /* advised; 0: unknown */
    enum advice_verdict verdict;
    enum advice_action action;
};

/*
 * Slots of the pool, when it had `capacity` of them, that were kept from a request: `slots` are what
 * was in use and what it asked for. Its priority isn't known: it is taken to be the highest at
 * which it was refused.
 */
uint64_t advice_reserve(const fastalloc_pool_info_t *info, uint64_t capacity, uint64_t slots);

/*
 * `needed` is the most slots that would have been in use if no request had been refused, as far as
 * is known, and what was kept in reserve then; 0: none was. `margin` in percent. The peak of a
 * leased pool is the most that looks at it saw: the pool may be too small by that, never too large.
 */
struct advice advice_on(const fastalloc_pool_info_t *info, const fastalloc_stats_t *stats,
                        uint64_t needed, uint64_t margin);

/* "too-small", ... */
const char *advice_verdict_name(enum advice_verdict verdict);

#endif
