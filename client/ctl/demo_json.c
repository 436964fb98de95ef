/* SPDX-License-Identifier: MIT */
#include "demo_report.h"
#include "json.h"
#include "report.h"

static void set_counts(json_t *object, const struct counts *counts)
{
    json_set_number(object, "lines", counts->lines);
    json_set_number(object, "words", counts->words);
    json_set_number(object, "bytes", counts->bytes);
}

static json_t *counts_to_json(const struct counts *counts)
{
    json_t *object = json_new();

    set_counts(object, counts);
    return object;
}

static json_t *reader_to_json(const struct demo *demo, unsigned place)
{
    const struct demo_reader *reader = &demo->readers[place];
    json_t *object = json_new();

    json_set_number(object, "reader", place + 1);
    json_set_number(object, "pid", (uint64_t)reader->pid);
    json_set(object, "lost", json_boolean(reader->recorded));
    json_set_number(object, "handed_on", reader->handed_on);
    json_set_number(object, "slots", reader->totals.pieces);
    set_counts(object, &reader->totals.counts);
    return object;
}

static json_t *kill_to_json(const struct demo *demo)
{
    json_t *object = json_new();

    json_set_number(object, "reader", DEMO_VICTIM + 1);
    json_set_number(object, "line", demo->kill.piece);
    json_set_number(object, "reclaimed", demo->kill.reclaimed);
    json_set_number(object, "reclaim_ns", demo->kill.reclaim_duration);
    return object;
}

static void set_run(json_t *document, const struct demo *demo)
{
    json_set_string(document, "file", demo->file);
    json_set(document, "private_daemon", json_boolean(demo->daemon_is_private));
    json_set_string(document, "pool", demo->pool_name);
    json_set(document, "exhausted", error_to_json(&demo->exhausted));
    json_set(document, "killed", demo->kill.done ? kill_to_json(demo) : json_null());
    json_set_number(document, "slots", demo->pieces);
    json_set_number(document, "duration_ns", demo->duration);
}

void report_json(const struct demo *demo)
{
    json_t *document = json_new();
    json_t *readers = json_new_list();

    set_run(document, demo);
    for (unsigned i = 0; i < DEMO_READERS; i++)
        json_append(readers, reader_to_json(demo, i));
    json_set(document, "readers", readers);
    json_set(document, "totals", counts_to_json(&demo->total));
    json_set(document, "wc", counts_to_json(&demo->wc));
    json_set(document, "agree", json_boolean(demo->agree));
    json_set(document, "stats", stats_to_json(demo->pool_name, DEMO_CAPACITY, &demo->stats));
    json_write(document);
}
