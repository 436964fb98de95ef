/* SPDX-License-Identifier: MIT */
/*
 * Names of instances and pools: they stand in paths, logs and shells, so few characters are
 * allowed.
 */
#ifndef DAEMON_NAME_H
#define DAEMON_NAME_H

#include <stdbool.h>

#include "shm/layout.h"

/* For messages: "a name has ...". */
#define NAME_RULE                                                                                  \
    "a name has 1 to 63 letters, digits, '.', '_' or '-', and begins with a letter or digit"

bool name_is_valid(const char *name);

/* Copies as much of the name as there is room for. Any name here fits. */
void name_copy(char to[LAYOUT_NAME_SIZE], const char *from);

#endif
