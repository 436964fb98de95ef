/* SPDX-License-Identifier: MIT */
/*
 * The processes of a benchmark: a real daemon of its own, and a bare server that answers each message
 * with another. Both end with the benchmark. What fails ends the program with a line on stderr.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

#include <fastalloc/fastalloc.h>

/* Lets the process, 0 = this one, run on that core alone. */
void process_pin(pid_t pid, int core);

/* The core that is the n-th of those that this process may use; -1 if there are fewer. */
int process_core(int n);

/* ---- The daemon ------------------------------------------------------------------------------ */

struct daemon_process {
    pid_t pid;
    char directory[64];
    char socket[96];
};

/* The one that the environment's FASTALLOCD names, or ../bin/fastallocd as seen from this program. */
void daemon_start(struct daemon_process *daemon);
void daemon_stop(struct daemon_process *daemon);

fastalloc_connection_t *daemon_connect(const struct daemon_process *daemon);
fastalloc_pool_t *daemon_pool(fastalloc_connection_t *connection, const char *name,
                              enum fastalloc_kind kind, uint64_t object_size, uint64_t capacity);

/* ---- The bare server ------------------------------------------------------------------------- */

/*
 * As little as a server on a Unix socket can do for an answer: epoll_wait(), recv(), send(). No
 * message is looked at.
 */
struct echo_process {
    pid_t pid;
    int fd; /* connected to it; blocking */
    size_t request;
    size_t reply;
};

#define ECHO_SIZE_MAX 4096

/* Sizes of the messages, in bytes. */
void echo_start(struct echo_process *echo, size_t request, size_t reply);
void echo_stop(struct echo_process *echo);

/* One round trip: a send() and a recv(). */
void echo_call(const struct echo_process *echo);

#endif
