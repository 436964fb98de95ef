/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static atomic_int least = LOG_LEVEL_INFO;

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
    atomic_store_explicit(&least, (int)level, memory_order_relaxed);
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

void log_message(enum log_level level, const char *format, ...)
{
    const int saved = errno;
    char text[LOG_LINE_SIZE];
    char line[LOG_LINE_SIZE];
    va_list args;
    size_t used;
    ssize_t written;
    int length;

    if ((int)level > atomic_load_explicit(&least, memory_order_relaxed))
        return;

    va_start(args, format);
    length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0)
        snprintf(text, sizeof(text), "a message that can't be formatted: %s", format);

    used = begin_line(line, level);
    used = append_escaped(line, used, text, length >= (int)sizeof(text));
    line[used++] = '\n';
    do {
        written = write(STDERR_FILENO, line, used);
    } while (written < 0 && errno == EINTR);
    errno = saved;
}
