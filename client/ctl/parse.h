/* SPDX-License-Identifier: MIT */
/*
 * Reading the command line: global options anywhere, those of the command after its name,
 * `--option value` or `--option=value`, and nothing but operands after `--`. Options are never
 * abbreviated.
 */
#ifndef CTL_PARSE_H
#define CTL_PARSE_H

#include "call.h"

/* Fills in `call`. Reports what is wrong; STATUS_OK or STATUS_USAGE. */
int parse_arguments(int argc, char **argv, struct call *call);

#endif
