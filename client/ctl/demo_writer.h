/* SPDX-License-Identifier: MIT */
/*
 * The writer: puts each line into a slot and sends the readers nothing but handles. The reader
 * adopts the line, which is its own from then on, and frees it. What a lost reader hadn't
 * acknowledged the writer puts into slots once more, for the others; its last acknowledged totals
 * go into a slot of the writer's.
 */
#ifndef CTL_DEMO_WRITER_H
#define CTL_DEMO_WRITER_H

#include "demo_queue.h"
#include "demo_source.h"
#include "demo_worker.h"

#define WRITER_WINDOW 512 /* the most handles that a reader has and hasn't acknowledged */

/* The writer's end of a reader. */
struct delivery {
    int fd; /* -1: the reader is lost */
    struct queue sent;
    struct totals totals; /* as last acknowledged */
};

struct writer {
    const struct worker_job *job;
    fastalloc_pool_t *pool;
    struct source source;
    bool end; /* of the file */
    bool done;
    struct queue ready; /* lines in slots, to be sent */
    struct queue again; /* lines of lost readers, to be put into slots once more */
    fastalloc_handle_t kept[DEMO_READERS]; /* totals of lost readers */
    size_t kept_count;
    struct delivery deliveries[DEMO_READERS];
    unsigned next;  /* reader in turn */
    unsigned round; /* how often each had its turn */
    uint64_t pieces;
    uint64_t reported; /* bytes, in the last MESSAGE_PROGRESS */
    fastalloc_error_t error;
};

/* Each returns 0, or a negative code with writer->error filled in. */

/* Puts the next lines of the file, or of lost readers, into slots. */
int writer_stage(struct writer *writer);

/*
 * Frees these slots, of a lost reader, as far as they weren't freed before, by that itself or with
 * it.
 */
int writer_free_left(struct writer *writer, fastalloc_handle_t *handles, size_t count);

/* Sends what the readers have room for. */
int writer_send(struct writer *writer);

/* Takes in a reader's acknowledgements, or its end. */
int writer_receive(struct writer *writer, unsigned reader);

/* What a handle of the writer's own names; NULL, with writer->error filled in, if it is gone. */
void *writer_get(struct writer *writer, fastalloc_handle_t handle);

#endif
