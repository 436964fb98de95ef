/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fastalloc/admin.h>

#include "advice.h"
#include "clock.h"
#include "command.h"
#include "json.h"
#include "must.h"
#include "number.h"
#include "pool_options.h"
#include "report.h"
#include "table.h"
#include "text.h"

#define MARGIN_DEFAULT 20

static const struct option options[] = {
    {"--margin", "PERCENT", "how much more than the peak to advise (default: 20)", false},
    {NULL, NULL, NULL, false},
};

static const struct table_column columns[] = {
    {NULL, TABLE_LEFT},
    {NULL, TABLE_RIGHT},
    {NULL, TABLE_LEFT},
};

/* What is known of a pool, and what follows from it. */
struct study {
    const struct call *call;
    fastalloc_connection_t *connection;
    fastalloc_pool_info_t info;
    fastalloc_stats_t stats;
    fastalloc_error_t error;
    uint64_t margin;
    uint64_t since;  /* ns of CLOCK_MONOTONIC: when the statistics begin */
    uint64_t needed; /* slots, had what was refused been granted; 0: nothing is known */
    uint64_t used;   /* of these, in use then */
    uint64_t asked;  /* and asked for; the rest was kept in reserve */
    struct advice advice;
    char *command; /* to run next, or NULL */
};

/* ---- Observation ----------------------------------------------------------------------------- */

static void note_refusal(struct study *study, const fastalloc_event_t *event)
{
    uint64_t slots = event->allocated + event->count;
    uint64_t needed = slots + advice_reserve(&study->info, event->capacity, slots);

    if (needed <= study->needed)
        return;
    study->needed = needed;
    study->used = event->allocated;
    study->asked = event->count;
}

/* Events of a pool of the same name that was there before are another pool's. */
static int visit(const fastalloc_event_t *event, void *context)
{
    struct study *study = context;
    bool refused = strcmp(event->kind, "exhausted") == 0;

    if (refused && event->pool == study->info.id && event->time >= study->since)
        note_refusal(study, event);
    return 0;
}

static int look_at_events(struct study *study)
{
    const char *name = study->call->operands[0];
    uint64_t after = 0;
    int result;

    do
        result = fastalloc_events(study->connection, name, FASTALLOC_NOWAIT, &after, NULL, visit,
                                  study, &study->error);
    while (call_is_to_be_repeated(study->connection, result));
    return result;
}

static int observe(struct study *study)
{
    const char *name = study->call->operands[0];
    int result = fastalloc_pool_show(study->connection, name, &study->info, &study->error);

    if (result == 0)
        result = fastalloc_pool_stats(study->connection, name, &study->stats, &study->error);
    uint64_t now = clock_now();
    study->since = now > study->stats.age ? now - study->stats.age : 0;
    if (result == 0)
        result = look_at_events(study);
    return result;
}

/* ---- The command to run next ----------------------------------------------------------------- */

/* For a shell, whatever stands in it. */
static void write_quoted(FILE *file, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:,";

    if (*text && strspn(text, plain) == strlen(text)) {
        fputs(text, file);
        return;
    }
    fputc('\'', file);
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", file);
        else
            fputc(*text, file);
    }
    fputc('\'', file);
}

static void write_number(FILE *file, const char *option, uint64_t number, const char *unit)
{
    if (number)
        fprintf(file, " %s %llu%s", option, (unsigned long long)number, unit);
}

static void write_text_option(FILE *file, const char *option, const char *text)
{
    if (!*text)
        return;
    fprintf(file, " %s ", option);
    write_quoted(file, text);
}

/* What differs from the defaults. A template is nowhere to be read: its file is for the user. */
static void write_policies(FILE *file, const fastalloc_pool_info_t *info)
{
    if (strcmp(growth_text(info), "none") != 0)
        write_text_option(file, "--growth", growth_text(info));
    write_number(file, "--grow-ahead", info->grow_ahead, "");
    write_number(file, "--reserve-critical", info->reserve_critical, "");
    write_number(file, "--reserve-normal", info->reserve_normal, "");
    write_number(file, "--session-slots", info->session_slots, "");
    write_number(file, "--user-slots", info->user_slots, "");
    write_number(file, "--hold-limit", info->hold_limit, "ns");
    write_number(file, "--trim-after", info->trim_after, "ns");
    write_text_option(file, "--watermark", info->watermark);
    if (info->zero != FASTALLOC_ZERO_NEVER)
        write_text_option(file, "--zero", zero_name(info->zero));
    if (info->template_size)
        fputs(" --template FILE", file);
    fprintf(file, "%s%s%s%s", info->owner_frees ? " --owner-frees" : "",
            info->prefault ? " --prefault" : "", info->lock ? " --lock" : "",
            info->huge ? " --huge" : "");
}

/* Of the same kind, with room to grow if it had some. */
static void write_create(FILE *file, const struct study *study)
{
    const fastalloc_pool_info_t *info = &study->info;
    uint64_t capacity = study->advice.capacity;

    fprintf(file, " pool create %.*s-2", FASTALLOC_NAME_MAX - 2, info->name);
    write_number(file, "--size", info->object_size, "");
    write_number(file, "--align", info->alignment, "");
    write_number(file, "--capacity", capacity, "");
    if (info->capacity_max > info->capacity)
        write_number(file, "--max", capacity > info->capacity_max ? capacity : info->capacity_max,
                     "");
    if (info->kind == FASTALLOC_LEASED)
        fputs(" --leased", file);
    write_text_option(file, "--type", info->type);
    fprintf(file, " --mode %04o", info->mode & 0777);
    if (info->mode & 070)
        write_number(file, "--group", info->gid, "");
    write_policies(file, info);
}

static char *next_command(const struct study *study)
{
    unsigned long long capacity = study->advice.capacity;
    const char *name = study->info.name;
    char *text = NULL;
    size_t size = 0;

    if (study->advice.action == ADVICE_NOTHING)
        return NULL;
    FILE *file = must(open_memstream(&text, &size));
    fputs("fastallocctl", file);
    if (study->call->socket) {
        fputs(" --socket ", file);
        write_quoted(file, study->call->socket);
    }
    if (study->advice.action == ADVICE_GROW)
        fprintf(file, " pool grow %s %llu", name, capacity);
    else if (study->advice.action == ADVICE_GROW_RAISE)
        fprintf(file, " pool grow %s %llu --max %llu", name, capacity, capacity);
    else
        write_create(file, study);
    if (fclose(file) != 0)
        must(NULL);
    return must(text);
}

/* ---- Report ---------------------------------------------------------------------------------- */

static void write_json(const struct study *study)
{
    const fastalloc_stats_t *stats = &study->stats;
    json_t *object = json_new();

    json_set_string(object, "pool", study->info.name);
    json_set_string(object, "verdict", advice_verdict_name(study->advice.verdict));
    json_set_number(object, "advised", study->advice.capacity);
    json_set_number(object, "capacity", study->info.capacity);
    json_set_number(object, "capacity_max", study->info.capacity_max);
    json_set_string(object, "kind", kind_name(study->info.kind));
    json_set_string(object, "growth", growth_text(&study->info));
    json_set_number(object, "margin", study->margin);
    json_set_number(object, "age", stats->age);
    json_set_number(object, "peak_usage", stats->peak_usage);
    json_set(object, "average_usage", json_real(stats->average_usage));
    json_set_number(object, "total_allocations", stats->total_allocations);
    json_set_number(object, "cached", stats->cached);
    json_set_number(object, "needed", study->needed);
    json_set_number(object, "allocation_failures", stats->allocation_failures);
    json_set_number(object, "total_waits", stats->total_waits);
    json_set_number(object, "wait_p99", stats->wait_p99);
    json_set_number(object, "growth_count", stats->growth_count);
    if (study->command)
        json_set_string(object, "command", study->command);
    else
        json_set(object, "command", json_null());
    json_write(object);
}

static void add_line(struct table *table, const char *label, uint64_t number, const char *note)
{
    table_add(table, "%s", label);
    table_add_number(table, number);
    table_add(table, "%s", note);
}

/* Members of a leased pool may have had what they have cached in use, between two looks. */
static void add_usage(struct table *table, const struct study *study)
{
    const fastalloc_stats_t *stats = &study->stats;
    bool leased = study->info.kind == FASTALLOC_LEASED;
    char note[96];

    snprintf(note, sizeof(note), "in use at once%s; %.1f on average",
             leased ? ", of what was seen now and then" : "", stats->average_usage);
    add_line(table, "peak", stats->peak_usage, note);
    if (!leased)
        return;
    add_line(table, "granted", stats->current_usage + stats->cached,
             "now: in use, or cached by members");
    add_line(table, "allocated", stats->total_allocations, "in all");
}

static void add_refusals(struct table *table, const struct study *study)
{
    uint64_t failures = study->stats.allocation_failures;
    char used[TEXT_NUMBER_SIZE];
    char asked[TEXT_NUMBER_SIZE];
    char kept[TEXT_NUMBER_SIZE];
    char note[160];

    add_line(table, "refused", failures,
             failures == 1 ? "request: exhausted or timed out"
                           : "requests: exhausted or timed out");
    if (study->needed == 0)
        return;
    snprintf(note, sizeof(note),
             "slots, for one of these not to be refused: %s in use, %s asked for, %s in reserve",
             text_number(study->used, used), text_number(study->asked, asked),
             text_number(study->needed - study->used - study->asked, kept));
    add_line(table, "needed", study->needed, note);
}

static void write_basis(const struct study *study)
{
    const fastalloc_stats_t *stats = &study->stats;
    char number[TEXT_NUMBER_SIZE];
    char note[96];
    struct table table;

    printf("\nBased on the last %s:\n", text_duration(stats->age, number));
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    add_usage(&table, study);
    add_refusals(&table, study);
    snprintf(note, sizeof(note), "request%s; p99 %s", stats->total_waits == 1 ? "" : "s",
             text_duration(stats->wait_p99, number));
    add_line(&table, "waited", stats->total_waits, note);
    add_line(&table, "growths", stats->growth_count, "");
    table_write(&table, stdout, 2);
    table_deinit(&table);
}

static const char *verdict_text(const struct study *study)
{
    switch (study->advice.verdict) {
    case ADVICE_TOO_SMALL:
        return "too small";
    case ADVICE_RIGHT:
        return "right";
    case ADVICE_TOO_LARGE:
        return "too large: more than twice what is advised";
    default:
        return study->stats.total_allocations == 0
                   ? "of a right size as far as is known: nothing was allocated yet"
                   : "not too small as far as is known: the usage of leased pools is seen only now "
                     "and then";
    }
}

static void write_next(const struct study *study)
{
    if (study->advice.action == ADVICE_REPLACE)
        printf("\nNext, a pool to use instead:\n");
    else
        printf("\nNext:\n");
    printf("  ");
    text_write(stdout, study->command);
    putchar('\n');
}

static void write_text(const struct study *study)
{
    const fastalloc_pool_info_t *info = &study->info;
    char number[TEXT_NUMBER_SIZE];

    printf("Pool ");
    text_write(stdout, info->name);
    printf(" is %s.\n  capacity  %s", verdict_text(study), text_number(info->capacity, number));
    if (info->capacity_max > info->capacity)
        printf(", up to %s; growth %s", text_number(info->capacity_max, number), growth_text(info));
    putchar('\n');
    if (study->advice.capacity)
        printf("  advised   %s: the peak and %llu %%, or what was refused\n",
               text_number(study->advice.capacity, number), (unsigned long long)study->margin);
    write_basis(study);
    if (study->command)
        write_next(study);
}

static void report_study(struct study *study)
{
    study->advice = advice_on(&study->info, &study->stats, study->needed, study->margin);
    study->command = next_command(study);
    if (study->call->json)
        write_json(study);
    else
        write_text(study);
    free(study->command);
}

static int run(const struct call *call)
{
    struct study study = {
        .call = call,
        .info = FASTALLOC_POOL_INFO_INIT,
        .stats = FASTALLOC_STATS_INIT,
        .error = FASTALLOC_ERROR_INIT,
        .margin = MARGIN_DEFAULT,
    };
    const char *margin = command_option(call, "--margin");

    if (margin && number_parse(margin, ADVICE_MARGIN_MAX, &study.margin) < 0)
        return report_usage(call, "--margin %s: must be a percentage, 0 to %d", margin,
                            ADVICE_MARGIN_MAX);
    int status = call_connect(call, &study.connection);
    if (status != STATUS_OK)
        return status;
    if (observe(&study) < 0)
        status = report_error(call, &study.error);
    else
        report_study(&study);
    fastalloc_disconnect(study.connection);
    return status;
}

const struct command command_advise = {
    .name = "advise",
    .operands = "POOL",
    .summary = "Say whether a pool has the right size, from what was observed",
    .description =
        "Advises the peak of usage and 20 % more, and no less than what was refused for. A pool\n"
        "is too small if it has less and won't grow to it by itself, and too large if it has more\n"
        "than twice as much. Have it observed under its usual load; `stats --reset` begins anew.\n"
        "The usage of leased pools is seen only now and then: it may have been more than its peak,\n"
        "so they are never called too large.\n",
    .options = options,
    .run = run,
};
