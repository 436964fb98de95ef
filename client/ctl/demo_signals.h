/* SPDX-License-Identifier: MIT */
/*
 * Ctrl-C and its like, as a descriptor: the demo looks at it wherever it waits, and cleans up
 * before it ends.
 */
#ifndef CTL_DEMO_SIGNALS_H
#define CTL_DEMO_SIGNALS_H

#include <poll.h>
#include <signal.h>

struct signals {
    int fd;
    int caught;   /* the signal, or 0 */
    sigset_t old; /* the mask before, for child processes */
};

/* Holds SIGINT, SIGTERM and SIGHUP back from now on. 0 or a negated errno. */
int signals_init(struct signals *signals);

/* Puts the mask back. If a signal was caught, the process ends by it here. */
void signals_deinit(struct signals *signals);

/*
 * poll() on the entries, the last of which is the function's own. 0 when one of them is ready,
 * -EINTR when a signal was caught, -ETIMEDOUT, or another negated errno. `limit` in milliseconds,
 * negative: for ever.
 */
int signals_poll(struct signals *signals, struct pollfd *entries, unsigned count, int limit);

#endif
