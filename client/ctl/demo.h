/* SPDX-License-Identifier: MIT */
/*
 * The demo: what it works with, and what it finds out on its way for the report.
 */
#ifndef CTL_DEMO_H
#define CTL_DEMO_H

#include "call.h"
#include "demo_daemon.h"
#include "demo_lines.h"
#include "demo_signals.h"
#include "demo_team.h"

#define DEMO_CAPACITY 4096 /* slots */
#define DEMO_VICTIM 1      /* the reader that is killed */

/* A reader, as the report shows it. */
struct demo_reader {
    pid_t pid;
    bool ready;
    bool gone;
    bool recorded;           /* gone, and the writer has published its totals */
    fastalloc_handle_t slot; /* of its totals: its own or the writer's */
    uint64_t handed_on;      /* gone: pieces that went to others */
    struct totals totals;    /* at the end */
};

/* How the victim was killed. */
struct demo_kill {
    bool done;
    uint64_t piece;            /* in whose middle it was, from 1; 0: it had none */
    uint64_t reclaim_duration; /* ns until its slot was free again */
    uint64_t reclaimed;        /* as the statistics say, after it */
};

struct demo {
    const struct call *call;
    struct signals signals;
    struct private_daemon daemon;
    struct team team;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    char pool_name[FASTALLOC_NAME_MAX + 1];
    fastalloc_error_t error; /* what made the demo fail */
    char left[160];          /* what couldn't be taken away, for the user; "": nothing is left */

    const char *file;
    int fd;
    enum word_rule rule;
    uint64_t file_size;
    uint64_t pause_at;

    fastalloc_error_t exhausted;
    struct demo_reader readers[DEMO_READERS];
    struct demo_kill kill;
    uint64_t start;
    uint64_t duration; /* ns of the passing */
    uint64_t pieces;
    struct counts total;
    struct counts wc;
    fastalloc_stats_t stats;

    bool daemon_is_private;
    bool pool_made;
    bool writer_started;
    bool writer_done;
    bool progress; /* the bar is on the screen */
    bool agree;
};

/* Runs it; the exit status. */
int demo_run(const struct call *call);

/* Each step returns 0, or a negative code with demo->error filled in. */
int demo_fail(struct demo *demo, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* demo_input.c: opens the file, or the default one; looks at its beginning. */
int demo_open_input(struct demo *demo);

/* demo_steps.c */
int demo_connect(struct demo *demo);
int demo_make_pool(struct demo *demo);
int demo_exhaust(struct demo *demo);
int demo_count(struct demo *demo); /* with wc */
int demo_leave(struct demo *demo);

/* demo_pass.c: from the first line to the last acknowledgement, with the kill on the way. */
int demo_pass(struct demo *demo);

#endif
