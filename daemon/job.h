/* SPDX-License-Identifier: MIT */
/*
 * A job: work that takes too long for the loop, and what follows from it there. Embedded in what it
 * works on, which must stay until it is done.
 */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

struct job {
    void (*run)(struct job *job);                 /* in a thread of its own */
    void (*done)(void *context, struct job *job); /* on the loop again */
};

/*
 * Takes the job on: run(), then done(), whose context is whoever gave it. 0 or a negated errno, and
 * nothing happens.
 */
typedef int (*job_offload)(void *context, struct job *job);

#endif
