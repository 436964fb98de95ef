/* SPDX-License-Identifier: MIT */
/*
 * What of /dev/shm is an instance's by its name, whether its registry lists it or not. Objects that
 * are of nothing that it lists are strays: they are left where one couldn't be removed.
 */
#ifndef DAEMON_STRAYS_H
#define DAEMON_STRAYS_H

#include <stdbool.h>

#include "daemon/registry.h"

/* Removes them. 0; or a negated errno, then some may be left, for the next daemon to try again. */
int strays_remove(const struct registry_file *file);

/*
 * Whether all that the registry lists is gone, with a machine that was started since: then nothing
 * is there that is the instance's. False as well if that can't be told.
 */
bool strays_went_with_machine(const struct registry_file *file);

#endif
