/* SPDX-License-Identifier: MIT */
/* fastallocd --check: judges what an instance left that nobody serves (daemon/audit.h). */
#ifndef DAEMON_CHECKING_H
#define DAEMON_CHECKING_H

#include "daemon/instance.h"

enum checking_status {
    CHECKING_SOUND = 0,
    CHECKING_VIOLATED = 1,
    CHECKING_IMPOSSIBLE = 3, /* there is nothing, or a daemon has it, or it can't be read */
};

/*
 * Prints a line for each finding and one of all, on stdout; and on stderr why there is nothing to
 * judge. Makes, changes and removes nothing. Takes the lock meanwhile.
 */
enum checking_status checking_run(struct instance *instance);

#endif
