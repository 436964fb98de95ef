/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a child process, but not for ever.
 */
#ifndef CTL_DEMO_PROCESS_H
#define CTL_DEMO_PROCESS_H

#include <sys/types.h>

/*
 * Waits until the child has ended, killing it after `limit` milliseconds. Its status, as of
 * waitpid().
 */
int process_await(pid_t pid, int limit);

#endif
