/* SPDX-License-Identifier: MIT */
/*
 * What a worker of the demo, reader or writer, is given when it is forked, and how it begins: it
 * waits for the parent's word and then makes a connection of its own.
 */
#ifndef CTL_DEMO_WORKER_H
#define CTL_DEMO_WORKER_H

#include "demo_channel.h"
#include "demo_lines.h"

#define DEMO_READERS 3

struct worker_job {
    const char *name;
    int control;         /* to the parent */
    enum word_rule rule; /* how words are counted */
    int file;            /* writer: the text */
    int *lines;          /* writer: to each of the readers; reader: to the writer */
    uint64_t pause_at;   /* reader: stop in the middle of this piece, from 1; 0: never */
};

/*
 * Waits for MESSAGE_START and opens the pool. 0; 1 when the worker is to leave: the parent is gone,
 * or has been told what failed.
 */
int worker_begin(const struct worker_job *job, fastalloc_connection_t **connection,
                 fastalloc_pool_t **pool);

/* The processes. Each returns its exit status. */
int reader_run(const struct worker_job *job);
int writer_run(const struct worker_job *job);

#endif
