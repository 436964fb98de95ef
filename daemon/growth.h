/* SPDX-License-Identifier: MIT */
/*
 * A growth policy: by how much a pool grows when it has no room. Its text form is what clients and
 * administrators write, what travels, and what stands in the pool's ctl:
 *
 *     none                     never; also the empty text
 *     linear:100               by 100 slots
 *     exponential:1.5          to 1.5 times its capacity, rounded down, by one slot at least; above 1,
 *                              at most 16, up to three decimals
 *     custom:100,500,2000      to the next of these capacities, at most 16, each above the last
 *
 * Slots are 1 to UINT32_MAX. Numbers are decimal, without sign, space or leading zero. Beyond a
 * custom list's end the next capacity is the maximum.
 *
 * Pure numbers; it knows no pool.
 */
#ifndef DAEMON_GROWTH_H
#define DAEMON_GROWTH_H

#include <stdint.h>

#define GROWTH_CAPACITIES_MAX 16u
#define GROWTH_FACTOR_MAX 16u
/* Length of the longest text: custom, with all its capacities of ten digits. */
#define GROWTH_TEXT_MAX (sizeof("custom:") - 1 + GROWTH_CAPACITIES_MAX * sizeof("4294967295") - 1)

enum growth_kind { GROWTH_NONE, GROWTH_LINEAR, GROWTH_EXPONENTIAL, GROWTH_CUSTOM };

struct growth {
    enum growth_kind kind;
    uint32_t step;                              /* LINEAR: slots */
    uint32_t factor;                            /* EXPONENTIAL: thousandths */
    uint32_t capacities[GROWTH_CAPACITIES_MAX]; /* CUSTOM: ascending */
    uint32_t count;
};

/* NULL, or what is wrong with the text, to be put after "growth '...' "; then *growth is untouched. */
const char *growth_parse(struct growth *growth, const char *text);

/*
 * The capacity to grow to from `capacity`, so that there are at least `needed` slots if that can
 * be: as many steps of the policy as it takes, the last of them cut off at `max`. So it is `max`
 * when more are needed than that; and `capacity` itself if it is enough, has come to `max`, or
 * never grows.
 */
uint32_t growth_next(const struct growth *growth, uint32_t capacity, uint64_t needed, uint32_t max);

#endif
