/* SPDX-License-Identifier: MIT */
/*
 * What does following a handle cost, next to following a pointer? A thousand objects in the
 * processor's caches, visited in random order, by loops that differ in nothing else.
 */
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench/process.h"
#include "bench/report.h"
#include "bench/samples.h"

#define ROUNDS 41
#define OBJECTS 1000
#define FIELDS 8
#define PASSES 1000 /* over all objects in a round */

struct object {
    uint64_t fields[FIELDS];
};

struct subject {
    fastalloc_pool_t *pool;
    const fastalloc_view_t *view;
    fastalloc_handle_t handles[OBJECTS];
    const struct object *pointers[OBJECTS]; /* the same, in the same order */
};

/* ---- The loops ------------------------------------------------------------------------------- */

enum way { POINTER, VIEW_GET, GET };

static inline const struct object *find(const struct subject *subject, enum way way, size_t i)
{
    switch (way) {
    case VIEW_GET:
        return fastalloc_view_get(subject->view, subject->handles[i]);
    case GET:
        return fastalloc_get(subject->pool, subject->handles[i]);
    default:
        return subject->pointers[i];
    }
}

/* Made into one loop for each way and number of fields. */
static inline __attribute__((always_inline)) uint64_t sum(const struct subject *subject,
                                                          enum way way, size_t fields)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *object = find(subject, way, i);
        if (way != POINTER && !object)
            continue;
        for (size_t j = 0; j < fields; j++)
            sum += object->fields[j];
    }
    return sum;
}

#define LOOP(name, way, fields)                                                                    \
    static __attribute__((noinline)) uint64_t name(const struct subject *subject)                  \
    {                                                                                              \
        return sum(subject, way, fields);                                                          \
    }
LOOP(pointer_field, POINTER, 1)
LOOP(view_get_field, VIEW_GET, 1)
LOOP(get_field, GET, 1)
LOOP(pointer_object, POINTER, FIELDS)
LOOP(view_get_object, VIEW_GET, FIELDS)
LOOP(get_object, GET, FIELDS)

/* ---- Measuring ------------------------------------------------------------------------------- */

struct loops {
    uint64_t (*pointer)(const struct subject *subject);
    uint64_t (*view_get)(const struct subject *subject);
    uint64_t (*get)(const struct subject *subject);
    uint64_t sum; /* that each must come to */
};

/* Nanoseconds for each object. */
static double measure(uint64_t (*loop)(const struct subject *subject),
                      const struct subject *subject, uint64_t expected)
{
    uint64_t sum = 0;
    int64_t begin = clock_ns();
    for (int i = 0; i < PASSES; i++)
        sum += loop(subject);
    int64_t time = clock_ns() - begin;
    if (sum != PASSES * expected)
        errx(1, "the objects aren't what they were");
    return (double)time / PASSES / OBJECTS;
}

static void shuffle(fastalloc_handle_t *handles)
{
    srandom(1);
    for (size_t i = OBJECTS - 1; i > 0; i--) {
        size_t j = (size_t)random() % (i + 1);
        fastalloc_handle_t handle = handles[i];
        handles[i] = handles[j];
        handles[j] = handle;
    }
}

static void prepare(struct subject *subject)
{
    if (fastalloc_allocate_many(subject->pool, OBJECTS, 0, subject->handles, NULL) < 0)
        errx(1, "cannot allocate the objects");
    shuffle(subject->handles);
    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *object = fastalloc_get(subject->pool, subject->handles[i]);
        for (size_t j = 0; j < FIELDS; j++)
            object->fields[j] = i;
        subject->pointers[i] = object;
    }
    subject->view = fastalloc_pool_view(subject->pool);
}

struct rows {
    struct report_row *pointer, *view_get, *get, *view_get_ratio, *get_ratio;
};

#define ROWS(report, key, words)                                                                   \
    {                                                                                              \
        report_row(report, key ".pointer", words ": a pointer", "ns", 0),                          \
            report_row(report, key ".view_get", words ": fastalloc_view_get()", "ns", 0),          \
            report_row(report, key ".get", words ": fastalloc_get()", "ns", 0),                    \
            report_row(report, key ".view_get.ratio", words ": view_get / pointer", "", 1.6),      \
            report_row(report, key ".get.ratio", words ": get / pointer", "", 0),                  \
    }

static void run_round(const struct subject *subject, const struct loops *loops,
                      const struct rows *rows)
{
    double pointer = measure(loops->pointer, subject, loops->sum);
    double view_get = measure(loops->view_get, subject, loops->sum);
    double get = measure(loops->get, subject, loops->sum);
    report_add(rows->pointer, pointer);
    report_add(rows->view_get, view_get);
    report_add(rows->get, get);
    report_add(rows->view_get_ratio, view_get / pointer);
    report_add(rows->get_ratio, get / pointer);
}

static void run(struct report *report, const struct subject *subject)
{
    const uint64_t sum = (uint64_t)OBJECTS * (OBJECTS - 1) / 2;
    const struct loops field = {pointer_field, view_get_field, get_field, sum};
    const struct loops object = {pointer_object, view_get_object, get_object, FIELDS * sum};
    const struct rows object_rows = ROWS(report, "object", "all 64 bytes read");
    const struct rows field_rows = ROWS(report, "field", "8 bytes read");
    for (int round = 0; round < ROUNDS; round++) {
        run_round(subject, &object, &object_rows);
        run_round(subject, &field, &field_rows);
    }
}

int main(int argc, char *argv[])
{
    static struct report report;
    static struct subject subject;
    struct daemon_process daemon;

    report_init(&report, "Following a handle, and following a pointer", argc, argv);
    daemon_start(&daemon);
    fastalloc_connection_t *connection = daemon_connect(&daemon);
    subject.pool =
        daemon_pool(connection, "bench", FASTALLOC_BROKERED, sizeof(struct object), OBJECTS);
    process_pin(0, process_core(0));
    prepare(&subject);
    run(&report, &subject);

    fastalloc_disconnect(connection);
    daemon_stop(&daemon);
    report_finish(&report);
    return 0;
}
