/* SPDX-License-Identifier: MIT */
#include "demo_report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "must.h"
#include "stats_table.h"
#include "table.h"
#include "text.h"

#define LABEL_WIDTH 11
#define LINE_WIDTH 78
#define BAR_WIDTH 40
#define PROGRESS_WIDTH (LABEL_WIDTH + BAR_WIDTH + 8) /* "[", "]" and " 100 %" too */

/* ---- Lines ----------------------------------------------------------------------------------- */

/* Emphasis, on terminals that can show it. */
static const char *style(const char *code)
{
    const char *terminal = getenv("TERM");

    if (!isatty(1) || getenv("NO_COLOR") || !terminal || strcmp(terminal, "dumb") == 0)
        return "";
    return code;
}

static const char *bold(void)
{
    return style("\033[1m");
}

static const char *plain(void)
{
    return style("\033[0m");
}

/* Writes words up to the end of the line and indents those that don't fit. */
static void write_wrapped(const char *text)
{
    size_t column = LABEL_WIDTH;

    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > LABEL_WIDTH && column + 1 + length > LINE_WIDTH) {
            printf("\n%*s", LABEL_WIDTH, "");
            column = LABEL_WIDTH;
        } else if (column > LABEL_WIDTH) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, length, stdout);
        column += length;
        text += length + strspn(text + length, " ");
    }
    putchar('\n');
}

/* A step of the demo: its label ("" to go on with the last one) and what there is to say. */
static __attribute__((format(printf, 3, 4))) void
write_step(const struct demo *demo, const char *label, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    if (demo->call->json)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    char *clean = text_clean(text);
    printf("%s%-*s%s", *label ? bold() : "", LABEL_WIDTH, label, *label ? plain() : "");
    write_wrapped(clean);
    free(clean);
    fflush(stdout);
}

static const char *ordinal(uint64_t number, char buffer[TEXT_NUMBER_SIZE])
{
    static const char *const endings[] = {"th", "st", "nd", "rd"};
    uint64_t last = number % 10;
    bool teen = number % 100 >= 11 && number % 100 <= 13;

    snprintf(buffer, TEXT_NUMBER_SIZE, "%" PRIu64 "%s", number,
             endings[last <= 3 && !teen ? last : 0]);
    return buffer;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

void report_opening(const struct demo *demo)
{
    char capacity[TEXT_NUMBER_SIZE];
    char size[TEXT_NUMBER_SIZE];
    char memory[TEXT_NUMBER_SIZE];

    if (demo->daemon_is_private)
        write_step(demo, "daemon", "none answered: started one for this demo, pid %d",
                   (int)demo->daemon.pid);
    else
        write_step(demo, "daemon", "the one that runs here");
    write_step(demo, "pool", "%s: %s slots of %s, %s of shared memory", demo->pool_name,
               text_number(DEMO_CAPACITY, capacity), text_size(LINE_SLOT_SIZE, size),
               text_size((uint64_t)DEMO_CAPACITY * LINE_SLOT_SIZE, memory));
}

void report_exhausted(const struct demo *demo)
{
    char capacity[TEXT_NUMBER_SIZE];

    write_step(demo, "exhausted", "all %s slots allocated, and one more asked for:",
               text_number(DEMO_CAPACITY, capacity));
    write_step(demo, "", "%s", demo->exhausted.message);
    if (demo->exhausted.holders[0])
        write_step(demo, "", "Held by: %s.", demo->exhausted.holders);
    write_step(demo, "", "All freed again.");
}

void report_passing(const struct demo *demo)
{
    char size[TEXT_NUMBER_SIZE];

    write_step(demo, "passing",
               "%s (%s), line by line, from a writer to %d readers, each a "
               "process; only handles travel",
               demo->file, text_size(demo->file_size, size), DEMO_READERS);
}

static void report_kill(const struct demo *demo)
{
    const struct demo_kill *kill = &demo->kill;
    const struct demo_reader *victim = &demo->readers[DEMO_VICTIM];
    char buffer[TEXT_NUMBER_SIZE];
    char where[64] = "while it had no line";

    if (kill->piece)
        snprintf(where, sizeof(where), "in the middle of its %s line",
                 ordinal(kill->piece, buffer));
    write_step(demo, "killed", "reader %d (pid %d) with SIGKILL, %s", DEMO_VICTIM + 1,
               (int)victim->pid, where);
    write_step(demo, "",
               "What it held, its own slot and lines that it had adopted, was free again after %s: "
               "%" PRIu64 " reclaimed.",
               text_duration(kill->reclaim_duration, buffer), kill->reclaimed);
}

void report_lost(struct demo *demo, unsigned reader)
{
    const struct demo_reader *lost = &demo->readers[reader];
    bool by_us = reader == DEMO_VICTIM && demo->kill.done;
    char number[TEXT_NUMBER_SIZE];

    report_clear(demo);
    if (by_us)
        report_kill(demo);
    else
        write_step(demo, "lost", "reader %u (pid %d), by somebody else's hand", reader + 1,
                   (int)lost->pid);
    if (lost->handed_on)
        write_step(demo, "",
                   "Its %s unacknowledged line%s, put into slots once more, went to the others.",
                   text_number(lost->handed_on, number), lost->handed_on == 1 ? "" : "s");
    else
        write_step(demo, "", "It had acknowledged every line.");
}

void report_passed(const struct demo *demo)
{
    char lines[TEXT_NUMBER_SIZE];
    char pieces[TEXT_NUMBER_SIZE];
    char duration[TEXT_NUMBER_SIZE];
    char rate[TEXT_NUMBER_SIZE];
    double seconds = (double)demo->duration / 1e9;

    text_number(demo->total.lines, lines);
    text_number(demo->pieces, pieces);
    text_duration(demo->duration, duration);
    text_size((uint64_t)((double)demo->total.bytes / seconds), rate);
    if (demo->pieces <= demo->total.lines + 1)
        write_step(demo, "passed", "%s line%s%s in %s, %s a second", lines,
                   demo->total.lines == 1 ? "" : "s",
                   demo->pieces > demo->total.lines ? " and an unfinished one" : "", duration,
                   rate);
    else
        write_step(demo, "passed", "%s line%s, long ones in pieces: %s slots in %s, %s a second",
                   lines, demo->total.lines == 1 ? "" : "s", pieces, duration, rate);
}

/* ---- Totals ---------------------------------------------------------------------------------- */

static void add_counts(struct table *table, const struct counts *counts, const char *note)
{
    table_add_number(table, counts->lines);
    table_add_number(table, counts->words);
    table_add_number(table, counts->bytes);
    table_add(table, "%s", note);
}

static void add_reader(struct table *table, const struct demo *demo, unsigned place)
{
    const struct demo_reader *reader = &demo->readers[place];
    const char *note = "read in place, from its slot";

    if (reader->recorded)
        note = place == DEMO_VICTIM && demo->kill.done ? "killed: what it had acknowledged"
                                                       : "lost: what it had acknowledged";
    table_add(table, "reader %u", place + 1);
    add_counts(table, &reader->totals.counts, note);
}

void report_totals(const struct demo *demo)
{
    static const struct table_column columns[] = {
        {"", TABLE_LEFT},       {"lines", TABLE_RIGHT}, {"words", TABLE_RIGHT},
        {"bytes", TABLE_RIGHT}, {"", TABLE_LEFT},
    };
    struct table table;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (unsigned i = 0; i < DEMO_READERS; i++)
        add_reader(&table, demo, i);
    table_add(&table, "fastalloc");
    add_counts(&table, &demo->total, "");
    table_add(&table, "wc");
    add_counts(&table, &demo->wc, "");
    putchar('\n');
    table_write(&table, stdout, 0);
    table_deinit(&table);
    printf("%sagree: %s%s\n", bold(), demo->agree ? "yes" : "NO", plain());
}

/* The daemon's program, as the user would call it: from where this one was called. */
static void write_daemon_program(const struct call *call)
{
    const char *slash = strrchr(call->program, '/');

    if (slash) {
        char *directory = must(strndup(call->program, (size_t)(slash - call->program)));
        text_write(stdout, directory);
        putchar('/');
        free(directory);
    }
    fputs("fastallocd", stdout);
}

/* What this user would type for a daemon that stays, and that is then found. */
static void write_next_daemon(const struct call *call)
{
    const char *socket = getenv("FASTALLOC_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *place = " --socket \"$FASTALLOC_SOCKET\"";

    if (!socket || !*socket) {
        if (runtime && *runtime)
            place = " --user";
        else if (geteuid() == 0)
            place = "";
        else
            printf("  export FASTALLOC_SOCKET=/tmp/fastalloc.sock\n");
    }
    printf("  ");
    write_daemon_program(call);
    printf("%s &\n", place);
}

void report_end(const struct demo *demo)
{
    putchar('\n');
    stats_write(demo->pool_name, DEMO_CAPACITY, &demo->stats, stdout, 0);
    putchar('\n');
    if (!*demo->left)
        printf("Nothing is left of it: no process, no shared memory, no file. ");
    printf("To go on:\n\n");
    if (demo->daemon_is_private)
        write_next_daemon(demo->call);
    printf("  ");
    text_write(stdout, demo->call->program);
    printf(" pool create things --size 64 --capacity 1000\n");
}

/* ---- Progress -------------------------------------------------------------------------------- */

/* Whether standard error is a terminal, of a width that is unknown or enough. */
static bool has_room(void)
{
    struct winsize size = {.ws_col = 0};

    return isatty(2) &&
           (ioctl(2, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_col > PROGRESS_WIDTH);
}

void report_progress(struct demo *demo, uint64_t bytes)
{
    static const char full[BAR_WIDTH + 1] = "########################################";

    if (!has_room() || demo->file_size == 0 || bytes > demo->file_size)
        return;
    int done = (int)((double)bytes / (double)demo->file_size * BAR_WIDTH);
    fprintf(stderr, "\r%*s[%.*s%*s] %3.0f %%", LABEL_WIDTH, "", done, full, BAR_WIDTH - done, "",
            (double)bytes / (double)demo->file_size * 100);
    demo->progress = true;
}

void report_clear(struct demo *demo)
{
    if (demo->progress)
        fprintf(stderr, "\r%*s\r", PROGRESS_WIDTH, "");
    demo->progress = false;
}
