/* SPDX-License-Identifier: MIT */
/*
 * The log: lines on stderr, for a person at a terminal or for the journal. The only place of the
 * daemon that prints, once it runs.
 *
 * A message is one line and one write(2), so that lines of several processes never mix. Whatever
 * isn't printable ASCII is written as \xNN: no name that a peer chose can forge a line or steer a
 * terminal. What doesn't fit in LOG_LINE_SIZE ends in "...". Nothing here allocates, fails, waits
 * or changes errno: a line that stderr has no room for is lost, and the next one says so.
 *
 * For the daemon's one thread, and not for signal handlers.
 *
 * A caller puts who and what into the text, as fields: "quota reached pid=12 uid=1000 pool=frames".
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

/* A whole line at most, with prefix and line feed. A pipe takes so little in one piece. */
#define LOG_LINE_SIZE 1024

/* A name of 63 bytes, quoted; more is cut. */
#define LOG_QUOTED_SIZE 256

/* Lines about peers in a second. */
#define LOG_PEER_LINES 10

/* The values are syslog's. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* The level called "error", "warning", "info" or "debug"; -EINVAL for any other name. */
int log_level_parse(const char *name);

/* Messages less important than this are dropped. LOG_LEVEL_INFO until it is called. */
void log_set_level(enum log_level level);

/*
 * Logs one message, without line feed. In the journal ($JOURNAL_STREAM names what stderr is) the
 * line begins with "<N>", anywhere else with "fastallocd: LEVEL: ". The time is left to the
 * journal.
 */
void log_message(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The same for what a peer can cause at will: of more than LOG_PEER_LINES such lines in a second
 * the rest is only counted, and the next line of any kind after that second is preceded by the
 * number. Warnings and errors have lines of their own, apart from those that matter less.
 */
void log_peer(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells what was dropped, before the program ends. */
void log_finish(void);

/* Any text as a field's value: between double quotes, those in it and backslashes as \xNN. */
const char *log_quote(const char *text, char quoted[LOG_QUOTED_SIZE]);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
