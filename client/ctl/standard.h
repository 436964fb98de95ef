/* SPDX-License-Identifier: MIT */
/*
 * The standard streams: open when the program begins, whoever started it, and written for certain
 * when it ends.
 */
#ifndef CTL_STANDARD_H
#define CTL_STANDARD_H

/*
 * Fills closed descriptors 0 to 2, so that no other file gets their numbers, and ignores SIGPIPE.
 */
void standard_init(void);

/*
 * The exit status: `status`, or STATUS_FAILED (with a message) if standard output couldn't be
 * written.
 */
int standard_finish(int status);

#endif
