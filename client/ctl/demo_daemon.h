/* SPDX-License-Identifier: MIT */
/*
 * A daemon of the demo's own: it is there when no other can be reached, and leaves nothing behind.
 * When the demo is killed it ends by itself and removes its files; the demo makes none for it.
 */
#ifndef CTL_DEMO_DAEMON_H
#define CTL_DEMO_DAEMON_H

#include <limits.h>

#include <fastalloc/fastalloc.h>

#include "demo_channel.h"
#include "demo_signals.h"

struct private_daemon {
    pid_t pid; /* 0: none was started */
    int log;   /* what it writes, in memory */
    char socket[CHANNEL_SOCKET_SIZE];
    char program[PATH_MAX];
};

/*
 * Starts fastallocd, from beside this program or from PATH, and waits until it answers. 0, or a
 * negative code with `error` filled in. It is to be stopped in either case.
 */
int private_daemon_start(struct private_daemon *daemon, struct signals *signals,
                         fastalloc_error_t *error);

/*
 * Ends it. If somebody else killed it, another one takes away what it left. Whether nothing is
 * left; also when none was started.
 */
bool private_daemon_stop(struct private_daemon *daemon, const struct signals *signals);

#endif
