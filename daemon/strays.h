/* SPDX-License-Identifier: MIT */
/*
 * Strays: objects in /dev/shm that are an instance's by their name, and of nothing that its
 * registry lists any more. There are some where an object couldn't be removed.
 */
#ifndef DAEMON_STRAYS_H
#define DAEMON_STRAYS_H

#include "daemon/registry.h"

/* Removes them. 0; or a negated errno, then some may be left, for the next daemon to try again. */
int strays_remove(const struct registry_file *file);

#endif
