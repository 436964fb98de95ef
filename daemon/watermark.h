/* SPDX-License-Identifier: MIT */
/*
 * A watermark: the level of usage that a pool warns of, once when it is reached and once when usage
 * has fallen back. Its text form:
 *
 *     90%      that share of the capacity is in use, 1% to 100%; also the default
 *     10       fewer than 10 slots are left, 1 to UINT32_MAX
 *     off      never
 *
 * Numbers are decimal, without sign, space or leading zero.
 *
 * Usage has fallen back when it is below the level by a sixteenth of the capacity (rounded down,
 * one slot at least), so that a pool which hovers about the level doesn't warn each time. Where a
 * level is too low for that, usage must fall to 0. If even an empty pool is at the level, since it
 * doesn't have so many slots as are to be left, it is reached from the start, and until it grows.
 *
 * Pure numbers; it knows no pool.
 */
#ifndef DAEMON_WATERMARK_H
#define DAEMON_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

#define WATERMARK_DEFAULT "90%"
/* Length of the longest text. */
#define WATERMARK_TEXT_MAX (sizeof("4294967295") - 1)

enum watermark_kind { WATERMARK_OFF, WATERMARK_SHARE, WATERMARK_LEFT };

struct watermark {
    enum watermark_kind kind;
    uint32_t level; /* SHARE: percent; LEFT: slots */
    bool above;     /* it was reached, and usage hasn't fallen back since */
};

enum watermark_change { WATERMARK_SAME, WATERMARK_REACHED, WATERMARK_FALLEN };

/*
 * Begins anew, as not reached. Empty is WATERMARK_DEFAULT. NULL, or what is wrong with the text, to
 * be put after "watermark '...' "; then *watermark is untouched.
 */
const char *watermark_parse(struct watermark *watermark, const char *text);

/* The usage or the capacity changed. */
enum watermark_change watermark_update(struct watermark *watermark, uint32_t usage,
                                       uint32_t capacity);

#endif
