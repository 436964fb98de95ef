/* SPDX-License-Identifier: MIT */
/*
 * The report of one benchmark: rows of figures, each measured once a round, as minimum, median and
 * maximum over the rounds. A table on stdout, and one JSON object in the file that --json names.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stddef.h>
#include <stdint.h>

#define REPORT_ROWS 48
#define REPORT_ROUNDS 64

struct report_row {
    const char *name; /* for programs: "same_core.allocate.p50" */
    const char *text; /* for people */
    const char *unit;
    double target; /* the median should be no more; 0 = none */
    size_t count;
    double values[REPORT_ROUNDS];
};

struct report {
    const char *title;
    const char *json; /* NULL: no file */
    double load;      /* at the beginning */
    size_t count;
    struct report_row rows[REPORT_ROWS];
};

/* Takes `--json FILE` from the command line. Ends the program if there is anything else. */
void report_init(struct report *report, const char *title, int argc, char *argv[]);

/* A new row, which stays where it is. */
struct report_row *report_row(struct report *report, const char *name, const char *text,
                              const char *unit, double target);

/* One round's figure. */
void report_add(struct report_row *row, double value);

/* Prints the table, writes the file. Ends the program if that can't be written. */
void report_finish(struct report *report);

#endif
