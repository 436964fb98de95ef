/* SPDX-License-Identifier: MIT */
/*
 * The wc that is installed here, in the C locale: what it takes for a word, and what it counts.
 */
#ifndef CTL_DEMO_WC_H
#define CTL_DEMO_WC_H

#include <fastalloc/fastalloc.h>

#include "demo_lines.h"
#include "demo_signals.h"

/* Each returns 0, or a negated errno with `error` filled in. */

/* Asks it what begins a word. */
int wc_probe(struct signals *signals, enum word_rule *rule, fastalloc_error_t *error);

/* Lets it count the file, from its beginning. */
int wc_count(struct signals *signals, int file, struct counts *counts, fastalloc_error_t *error);

#endif
