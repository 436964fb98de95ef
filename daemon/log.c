/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct {
    enum log_level level;
    const char *name;
} levels[] = {
    {LOG_LEVEL_ERROR, "error"},
    {LOG_LEVEL_WARNING, "warning"},
    {LOG_LEVEL_INFO, "info"},
    {LOG_LEVEL_DEBUG, "debug"},
};

#define LEVEL_COUNT (sizeof(levels) / sizeof(levels[0]))

static enum log_level least = LOG_LEVEL_INFO;
static unsigned lost; /* lines that stderr took not */

/* A second that has begun with a line about a peer. What matters less doesn't crowd out warnings. */
static struct second {
    int64_t begin; /* ms */
    unsigned lines;
    unsigned dropped;
} of_warnings, of_others;

int log_level_parse(const char *name)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++)
        if (strcmp(name, levels[i].name) == 0)
            return levels[i].level;
    return -EINVAL;
}

static const char *level_name(enum log_level level)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++)
        if (levels[i].level == level)
            return levels[i].name;
    return "?";
}

void log_set_level(enum log_level level)
{
    least = level;
}

/* $JOURNAL_STREAM outlives a redirection of stderr, so the file itself is compared with it. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat file;
    char text[64];

    if (!stream || fstat(STDERR_FILENO, &file) < 0)
        return false;
    snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)file.st_dev, (uintmax_t)file.st_ino);
    return strcmp(stream, text) == 0;
}

static size_t begin_line(char *line, enum log_level level)
{
    if (stderr_is_journal())
        return (size_t)snprintf(line, LOG_LINE_SIZE, "<%d>", (int)level);
    return (size_t)snprintf(line, LOG_LINE_SIZE, "fastallocd: %s: ", level_name(level));
}

/* Appends the text escaped, and "..." if it was cut, here or before. Returns the new length. */
static size_t append_escaped(char *line, size_t used, const char *text, bool cut)
{
    const size_t end = LOG_LINE_SIZE - strlen("...\n");

    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        const bool plain = byte >= 0x20 && byte < 0x7f;

        if (used + (plain ? 1 : strlen("\\xNN")) > end) {
            cut = true;
            break;
        }
        if (plain)
            line[used++] = *text;
        else
            used += (size_t)snprintf(line + used, LOG_LINE_SIZE - used, "\\x%02x", byte);
    }
    if (cut) {
        memset(line + used, '.', 3);
        used += 3;
    }
    return used;
}

/*
 * Whether a line can be written without waiting: nobody may read the pipe. O_NONBLOCK is not for us
 * to set, others may have the same stderr.
 */
static bool has_room(void)
{
    struct pollfd poller = {STDERR_FILENO, POLLOUT, 0};
    return poll(&poller, 1, 0) > 0;
}

static void write_line(enum log_level level, const char *text, bool cut)
{
    char line[LOG_LINE_SIZE];
    size_t used = append_escaped(line, begin_line(line, level), text, cut);
    ssize_t written;

    if (!has_room()) {
        lost++;
        return;
    }
    line[used++] = '\n';
    do
        written = write(STDERR_FILENO, line, used);
    while (written < 0 && errno == EINTR);
}

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool is_over(const struct second *second)
{
    return second->lines == 0 || now_ms() - second->begin >= 1000;
}

/* At the end, too, though the second isn't over. */
static void tell_dropped_in(struct second *second, const char *what, bool end)
{
    char text[64];

    if (second->dropped == 0 || (!end && !is_over(second)))
        return;
    snprintf(text, sizeof(text), "%u more %s about clients were not logged", second->dropped, what);
    second->dropped = 0;
    write_line(LOG_LEVEL_WARNING, text, false);
}

/* What was dropped before is told before anything else. */
static void tell_dropped(bool end)
{
    char text[64];

    tell_dropped_in(&of_warnings, "warnings", end);
    tell_dropped_in(&of_others, "lines", end);
    if (lost > 0 && has_room()) {
        snprintf(text, sizeof(text), "%u lines were lost: nobody read them", lost);
        lost = 0;
        write_line(LOG_LEVEL_WARNING, text, false);
    }
}

static void log_formatted(enum log_level level, const char *format, va_list args)
{
    const int saved = errno;
    char text[LOG_LINE_SIZE];
    int length = vsnprintf(text, sizeof(text), format, args);

    if (length < 0)
        snprintf(text, sizeof(text), "a message that can't be formatted: %s", format);
    tell_dropped(false);
    write_line(level, text, length >= (int)sizeof(text));
    errno = saved;
}

void log_message(enum log_level level, const char *format, ...)
{
    va_list args;

    if (level > least)
        return;
    va_start(args, format);
    log_formatted(level, format, args);
    va_end(args);
}

void log_peer(enum log_level level, const char *format, ...)
{
    struct second *second = level <= LOG_LEVEL_WARNING ? &of_warnings : &of_others;
    va_list args;

    if (level > least)
        return;
    if (second->lines >= LOG_PEER_LINES && !is_over(second)) {
        second->dropped++;
        return;
    }
    va_start(args, format);
    log_formatted(level, format, args);
    va_end(args);
    if (is_over(second)) {
        second->begin = now_ms();
        second->lines = 0;
    }
    second->lines++;
}

void log_finish(void)
{
    tell_dropped(true);
}

const char *log_quote(const char *text, char quoted[LOG_QUOTED_SIZE])
{
    size_t used = 0;

    quoted[used++] = '"';
    for (; *text && used + strlen("\\xNN\"") < LOG_QUOTED_SIZE; text++) {
        if (*text == '"' || *text == '\\')
            used += (size_t)snprintf(quoted + used, LOG_QUOTED_SIZE - used, "\\x%02x", *text);
        else
            quoted[used++] = *text;
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    return quoted;
}
