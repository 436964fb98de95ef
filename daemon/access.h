/* SPDX-License-Identifier: MIT */
/* Who may do what with a pool, by the credentials that the kernel gave for the peer. */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>

#include "daemon/session.h"
#include "shm/layout.h"

#define ACCESS_MODE_DEFAULT 0600u

/*
 * Whether the mode lets the peer look, and, with `write`, allocate and free as well: the owner's
 * bits if it is the owner, else the group's if that is its group, else the others', as with files.
 * root and the daemon's own user may everything. Of the peer's groups only the primary one counts,
 * which is the one that a socket's credentials carry.
 */
bool access_may_open(const struct layout_ctl *ctl, const struct peer *peer, uid_t daemon,
                     bool write);

/* Whether the peer may destroy the pool: its owner, root, the daemon's own user. */
bool access_may_destroy(const struct layout_ctl *ctl, const struct peer *peer, uid_t daemon);

#endif
