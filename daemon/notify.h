/* SPDX-License-Identifier: MIT */
/*
 * What the daemon tells the service manager that started it: systemd's notify protocol, one
 * datagram to the socket that $NOTIFY_SOCKET names. Without that variable nothing is sent, and
 * nothing is wrong.
 *
 * Each function returns 1 when the message was sent, 0 when nobody wants it, or a negated errno,
 * which a caller logs and otherwise ignores: a daemon that can't tell of itself still serves.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* A status that is longer than this is cut. */
#define NOTIFY_STATUS_SIZE 256

/*
 * Sends assignments, one a line, as "READY=1\nSTATUS=...". Waits up to five seconds for room in the
 * manager's queue (-EAGAIN after that). -EAFNOSUPPORT when the variable is neither a path nor an
 * '@' with an abstract name, -ENAMETOOLONG, or what socket(2) and sendto(2) say.
 */
int notify_send(const char *state);

/* Clients are served from now on: the manager's start job ends. */
int notify_ready(void);

/* The daemon is about to exit. */
int notify_stopping(void);

/* One line for `systemctl status`. Never waits. Control characters become blanks. */
int notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
