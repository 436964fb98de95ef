/* SPDX-License-Identifier: MIT */
/*
 * The wc that is installed here, in the C locale: what it takes for a word, and what it counts.
 */
#ifndef CTL_DEMO_WC_H
#define CTL_DEMO_WC_H

#include "demo_lines.h"
#include "demo_signals.h"

/* Asks it what begins a word. 0 or a negated errno. */
int wc_probe(struct signals *signals, enum word_rule *rule);

/* Lets it count the file, from its beginning. 0 or a negated errno. */
int wc_count(struct signals *signals, int file, struct counts *counts);

#endif
