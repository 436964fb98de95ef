/* SPDX-License-Identifier: MIT */
#include "bench/report.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static double load_now(void)
{
    double load = 0;
    getloadavg(&load, 1);
    return load;
}

void report_init(struct report *report, const char *title, int argc, char *argv[])
{
    *report = (struct report){.title = title, .load = load_now()};
    if (argc == 3 && strcmp(argv[1], "--json") == 0)
        report->json = argv[2];
    else if (argc != 1)
        errx(2, "usage: %s [--json FILE]", argv[0]);
}

struct report_row *report_row(struct report *report, const char *name, const char *text,
                              const char *unit, double target)
{
    if (report->count == REPORT_ROWS)
        errx(1, "the report has too many rows");
    struct report_row *row = &report->rows[report->count++];
    *row = (struct report_row){.name = name, .text = text, .unit = unit, .target = target};
    return row;
}

void report_add(struct report_row *row, double value)
{
    if (row->count < REPORT_ROUNDS)
        row->values[row->count++] = value;
}

/* ---- Output ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double row_min(const struct report_row *row)
{
    return row->values[0];
}

static double row_median(const struct report_row *row)
{
    size_t middle = row->count / 2;
    return row->values[middle];
}

static double row_max(const struct report_row *row)
{
    return row->values[row->count - 1];
}

static void print_row(const struct report_row *row)
{
    printf("  %-52s %9.3f %9.3f %9.3f  %-5s", row->text, row_min(row), row_median(row),
           row_max(row), row->unit);
    if (row->target > 0)
        printf("  at most %.2f: %s", row->target,
               row_median(row) <= row->target ? "met" : "MISSED");
    printf("\n");
}

static void print_table(const struct report *report, const struct utsname *machine)
{
    printf("%s\n", report->title);
    printf("  Linux %s, %ld cores, load %.2f before and %.2f after\n", machine->release,
           sysconf(_SC_NPROCESSORS_ONLN), report->load, load_now());
    printf("  %-52s %9s %9s %9s\n", "", "min", "median", "max");
    for (size_t i = 0; i < report->count; i++)
        print_row(&report->rows[i]);
    printf("\n");
}

static void write_row(FILE *file, const struct report_row *row)
{
    fprintf(file, "\n    \"%s\": {\"unit\": \"%s\", \"rounds\": %zu, \"min\": %.4f, ", row->name,
            row->unit, row->count, row_min(row));
    fprintf(file, "\"median\": %.4f, \"max\": %.4f", row_median(row), row_max(row));
    if (row->target > 0)
        fprintf(file, ", \"target\": %.4f", row->target);
    fprintf(file, "}");
}

static void write_json(const struct report *report, const struct utsname *machine)
{
    FILE *file = fopen(report->json, "w");
    if (!file)
        err(1, "%s", report->json);
    fprintf(file, "{\n  \"time\": %lld,\n  \"kernel\": \"%s\",\n  \"cores\": %ld,\n",
            (long long)time(NULL), machine->release, sysconf(_SC_NPROCESSORS_ONLN));
    fprintf(file, "  \"load_before\": %.2f,\n  \"load_after\": %.2f,\n  \"rows\": {", report->load,
            load_now());
    for (size_t i = 0; i < report->count; i++) {
        write_row(file, &report->rows[i]);
        if (i + 1 < report->count)
            fputc(',', file);
    }
    fprintf(file, "\n  }\n}\n");
    if (ferror(file) || fclose(file) != 0)
        err(1, "%s", report->json);
}

void report_finish(struct report *report)
{
    struct utsname machine;
    uname(&machine);
    for (size_t i = 0; i < report->count; i++)
        qsort(report->rows[i].values, report->rows[i].count, sizeof(double), compare);
    print_table(report, &machine);
    if (report->json)
        write_json(report, &machine);
}
