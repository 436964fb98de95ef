/* SPDX-License-Identifier: MIT */
/*
 * What the demo shows: step by step for people, nothing until the end with --json.
 */
#ifndef CTL_DEMO_REPORT_H
#define CTL_DEMO_REPORT_H

#include "demo.h"

void report_opening(const struct demo *demo);
void report_exhausted(const struct demo *demo);
void report_passing(const struct demo *demo);
void report_lost(struct demo *demo, unsigned reader);
void report_passed(const struct demo *demo);
void report_totals(const struct demo *demo);
void report_end(const struct demo *demo);

/* A bar on a terminal, while it takes long; gone before the next line is written. */
void report_progress(struct demo *demo, uint64_t bytes);
void report_clear(struct demo *demo);

/* The whole demo as one object. */
void report_json(const struct demo *demo);

#endif
