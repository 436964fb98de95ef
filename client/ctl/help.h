/* SPDX-License-Identifier: MIT */
/*
 * The help, made from the table of commands, and the version.
 */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include "command.h"

/* Writes the help of a command, or of the tool if it is NULL; STATUS_OK. */
int help_write(const struct call *call, const struct command *command);

int help_version(const struct call *call);

#endif
