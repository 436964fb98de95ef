/* SPDX-License-Identifier: MIT */
/*
 * The listening socket that a service manager made and handed over: systemd's socket activation, by
 * $LISTEN_PID and $LISTEN_FDS. Such a socket and its name in the file system belong to the manager:
 * the daemon never unlinks, binds or chmods it.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

/*
 * The descriptor that was handed to this process, or 0 if there is none. It is then a listening
 * stream socket of the family AF_UNIX, now non-blocking and closed on exec. What was handed over
 * but isn't just that is refused, as one of the errors that listen_describe() knows; the descriptor
 * is then as it was.
 *
 * The variables are unset in every case, so call this once, before there are threads, and before
 * anything else is opened: it could become the descriptor that was promised. Variables meant for
 * another process ($LISTEN_PID) count as none.
 */
int listen_inherited(void);

/* A sentence for a negated errno of listen_inherited(), without full stop. Never NULL. */
const char *listen_describe(int error);

#endif
