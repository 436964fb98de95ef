/* SPDX-License-Identifier: MIT */
/*
 * Memory that must be had: the tool has nothing better to do without than to end.
 */
#ifndef CTL_MUST_H
#define CTL_MUST_H

/* `pointer`, or the end of the program with a message if it is NULL. */
void *must(void *pointer);

#endif
