/* SPDX-License-Identifier: MIT */
/*
 * Mapped memory that somebody else can cut short: a member of a leased pool has its words' object
 * open for writing and may truncate it, after which touching the lost pages is a SIGBUS. A range
 * that is protected here becomes zero memory of this process' own instead, and the access goes on.
 */
#ifndef DAEMON_SIGBUS_H
#define DAEMON_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>

#define SIGBUS_RANGES 1024u

/* Installs the handler; what isn't protected still ends the process. 0 or a negated errno. */
int sigbus_install(void);

/* Whole pages. False when there are SIGBUS_RANGES already. To be called by the loop's thread alone. */
bool sigbus_protect(void *start, size_t size);
/* Before the range is unmapped. Nothing happens if it isn't protected. */
void sigbus_forget(const void *start);

#endif
