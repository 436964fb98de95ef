/* SPDX-License-Identifier: MIT */
/*
 * The demo's processes, as the parent has them: one writer and the readers, each forked before any
 * connection is made and tied to the parent by a channel. None outlives the parent.
 */
#ifndef CTL_DEMO_TEAM_H
#define CTL_DEMO_TEAM_H

#include "demo_signals.h"
#include "demo_worker.h"

#define TEAM_WRITER DEMO_READERS /* its place among the workers */
#define TEAM_SIZE (DEMO_READERS + 1)

struct worker {
    pid_t pid;   /* 0: not there (any more) */
    int control; /* -1: closed */
    int status;  /* as of waitpid(), once it is gone */
};

struct team {
    struct worker workers[TEAM_SIZE];
};

struct team_plan {
    int file;
    enum word_rule rule;
    unsigned victim;   /* this reader pauses */
    uint64_t pause_at; /* in the middle of this piece, from 1 */
    const struct signals *signals;
};

/* Starts them all, or none. 0 or a negated errno. */
int team_start(struct team *team, const struct team_plan *plan);

/* Kills a worker and waits for it. */
void team_kill(struct team *team, unsigned worker);

/*
 * Closes the channel, upon which a worker that still lives leaves, and waits for it (2 s; then it
 * is killed).
 */
void team_reap(struct team *team, unsigned worker);

/* Lets them leave by themselves, and waits. */
void team_dismiss(struct team *team);

/* Kills all that are left. */
void team_kill_all(struct team *team);

#endif
