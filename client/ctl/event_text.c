/* SPDX-License-Identifier: MIT */
#include "event_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "json.h"

#define SECOND UINT64_C(1000000000)

/*
 * What each kind's count counts, and what stands before it; nothing where it says no more than the
 * usage, which is always told. A kind of a later daemon has a plain count.
 */
static const struct {
    const char *kind;
    const char *before;
    const char *one;
    const char *many;
} kinds[] = {
    {"watermark-reached", NULL, NULL, NULL},
    {"watermark-fallen", NULL, NULL, NULL},
    {"exhausted", "asked for ", "slot", "slots"},
    {"grown", "by ", "slot", "slots"},
    {"growth-failed", "asked for ", "slot", "slots"},
    {"evicted", "freed ", "object", "objects"},
    {"held-long", "", "object", "objects"},
    {"reclaimed", "freed ", "slot", "slots"},
    {"damaged", NULL, NULL, NULL},
    {"destroyed", NULL, NULL, NULL},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static void describe(const fastalloc_event_t *event, char *buffer, size_t size)
{
    size_t i = 0;

    while (i < KIND_COUNT && strcmp(event->kind, kinds[i].kind) != 0)
        i++;
    if (i == KIND_COUNT)
        snprintf(buffer, size, "count %" PRIu64 "; ", event->count);
    else if (!kinds[i].before)
        buffer[0] = '\0';
    else
        snprintf(buffer, size, "%s%" PRIu64 " %s; ", kinds[i].before, event->count,
                 event->count == 1 ? kinds[i].one : kinds[i].many);
}

const char *event_text(const fastalloc_event_t *event, char buffer[EVENT_TEXT_SIZE])
{
    char what[EVENT_TEXT_SIZE / 2];
    char whose[EVENT_TEXT_SIZE / 4] = "";

    describe(event, what, sizeof(what));
    if (event->session != 0)
        snprintf(whose, sizeof(whose), "; session %" PRIu64, event->session);
    snprintf(buffer, EVENT_TEXT_SIZE, "%s%" PRIu64 " of %" PRIu64 " in use%s", what,
             event->allocated, event->capacity, whose);
    return buffer;
}

static const char *format_date(const fastalloc_event_t *event, uint64_t monotonic, uint64_t real,
                               bool utc, char buffer[EVENT_DATE_SIZE])
{
    uint64_t moment = real - monotonic + event->time;
    time_t seconds = (time_t)(moment / SECOND);
    unsigned micros = (unsigned)(moment % SECOND / 1000);
    struct tm fields;
    const struct tm *found = utc ? gmtime_r(&seconds, &fields) : localtime_r(&seconds, &fields);

    buffer[0] = '\0';
    if (!found)
        return buffer;
    size_t length =
        strftime(buffer, EVENT_DATE_SIZE, utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", found);
    if (utc)
        snprintf(buffer + length, EVENT_DATE_SIZE - length, ".%06uZ", micros);
    else
        snprintf(buffer + length, EVENT_DATE_SIZE - length, ".%03u", micros / 1000);
    return buffer;
}

const char *event_date(const fastalloc_event_t *event, uint64_t monotonic, uint64_t real,
                       char buffer[EVENT_DATE_SIZE])
{
    return format_date(event, monotonic, real, false, buffer);
}

const char *event_date_utc(const fastalloc_event_t *event, uint64_t monotonic, uint64_t real,
                           char buffer[EVENT_DATE_SIZE])
{
    return format_date(event, monotonic, real, true, buffer);
}

json_t *event_to_json(const fastalloc_event_t *event, const char *date)
{
    json_t *object = json_new();

    json_set_number(object, "number", event->number);
    json_set_number(object, "time", event->time);
    json_set_string(object, "date", date);
    json_set_string(object, "kind", event->kind);
    json_set_string(object, "pool", event->name);
    json_set_number(object, "id", event->pool);
    json_set_number(object, "capacity", event->capacity);
    json_set_number(object, "allocated", event->allocated);
    json_set_number(object, "count", event->count);
    json_set_number(object, "session", event->session);
    return object;
}
