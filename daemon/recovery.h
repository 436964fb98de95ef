/* SPDX-License-Identifier: MIT */
/*
 * Recovery: the broker takes over what a dead daemon left, or one that ended and kept it. All of it
 * may be interrupted, by whatever, and begun anew.
 *
 * First everything is looked at; what isn't understood is refused then, untouched. Then pools whose
 * making or destruction was under way are removed, the others brought into order, the change that
 * was under way is carried out, and sessions whose process is gone are ended. The others have no
 * connection until they are resumed. In the end objects are removed that are the instance's and
 * that nothing stands for any more.
 *
 * If the machine was started since, and nothing of it is there, the registry is emptied first.
 */
#ifndef DAEMON_RECOVERY_H
#define DAEMON_RECOVERY_H

#include "daemon/broker.h"

/* What was found, and is there now. */
struct recovery {
    uint32_t pools;
    uint32_t sessions;
    uint32_t ended;   /* sessions that weren't alive any more */
    uint32_t removed; /* pools whose making or destruction was under way */
    bool rebooted;    /* the machine, since: what was listed had gone with its shared memory */
    int strays;       /* 0, or why some objects that are nobody's couldn't be removed */
};

/* After so many that failed, one after the other, none is tried any more unless it is asked for. */
#define RECOVERY_FAILURES_MAX 3u

/*
 * To be done before anything else of a broker's. False with one line why not: then nothing may be
 * done with the broker but broker_forget(). Being killed isn't a failure.
 */
bool recovery_run(struct broker *broker, bool retry, struct recovery *recovery,
                  struct error *error);

/*
 * Removes all that the registry lists, of which nothing was taken over yet: every handle is stale,
 * in running members too, as far as the objects are understood. The registry stays, with nothing in
 * it.
 */
void recovery_purge(struct broker *broker, struct recovery *recovery);

#endif
