/* SPDX-License-Identifier: MIT */
/*
 * A daemon of the demo's own, in a directory of its own: it is there when no other can be reached, and leaves
 * nothing behind.
 */
#ifndef CTL_DEMO_DAEMON_H
#define CTL_DEMO_DAEMON_H

#include <limits.h>

#include <fastalloc/fastalloc.h>

#include "demo_channel.h"
#include "demo_signals.h"

struct private_daemon {
    pid_t pid; /* 0: none was started */
    char directory[CHANNEL_SOCKET_SIZE - 16];
    char socket[CHANNEL_SOCKET_SIZE];
    char log[CHANNEL_SOCKET_SIZE]; /* file that it writes to */
    char program[PATH_MAX];
};

/*
 * Starts fastallocd, from beside this program or from PATH, and waits until it answers. 0, or a negative
 * code with `error` filled in; nothing is left then.
 */
int private_daemon_start(struct private_daemon *daemon, struct signals *signals,
                         fastalloc_error_t *error);

/*
 * Ends it and removes its directory. If somebody else killed it, another one takes away what it left in shared
 * memory. Nothing happens if none was started.
 */
void private_daemon_stop(struct private_daemon *daemon, const struct signals *signals);

#endif
