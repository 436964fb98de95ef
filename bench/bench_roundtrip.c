/* SPDX-License-Identifier: MIT */
/*
 * What does a request to the daemon cost, next to the least that a request over a Unix socket can
 * cost? Both are measured in the same rounds, on the same cores, with messages of the same sizes.
 */
#include <err.h>
#include <stdio.h>

#include "bench/process.h"
#include "bench/report.h"
#include "bench/samples.h"
#include "proto/envelope.h"

#define ROUNDS 21
#define CALLS 2000 /* of each kind in a round */
#define BATCHES 200
#define BATCH 256
#define CAPACITY 1024
#define US 1e3

/* ---- Messages -------------------------------------------------------------------------------- */

static size_t size_and_clear(msgpack_sbuffer *buffer)
{
    size_t size = buffer->size;
    msgpack_sbuffer_destroy(buffer);
    return size;
}

/* Of an allocate in the middle of a run. */
static size_t request_size(void)
{
    struct allocate_request request = {.pool = 1, .request = CALLS};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    envelope_encode_request(&buffer, CALLS, METHOD_ALLOCATE, &request);
    return size_and_clear(&buffer);
}

static size_t reply_size(void)
{
    static const uint8_t handle[HANDLE_WIRE_SIZE];
    struct allocate_reply reply = {.handles = {handle, sizeof(handle)}};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    envelope_encode_reply(&buffer, CALLS, METHOD_ALLOCATE, &reply);
    return size_and_clear(&buffer);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static void measure_echo(const struct echo_process *echo, struct samples *samples)
{
    samples->count = 0;
    for (int i = 0; i < CALLS; i++) {
        int64_t begin = clock_ns();
        echo_call(echo);
        samples_add(samples, clock_ns() - begin);
    }
}

static void measure_single(fastalloc_pool_t *pool, struct samples *allocates, struct samples *frees)
{
    fastalloc_handle_t handle;
    allocates->count = frees->count = 0;
    for (int i = 0; i < CALLS; i++) {
        int64_t begin = clock_ns();
        int result = fastalloc_try_allocate(pool, &handle, NULL);
        int64_t middle = clock_ns();
        if (result < 0 || fastalloc_free(pool, handle, NULL) < 0)
            errx(1, "allocate and free: %s", fastalloc_result_name(result));
        samples_add(allocates, middle - begin);
        samples_add(frees, clock_ns() - middle);
    }
}

static void measure_batch(fastalloc_pool_t *pool, struct samples *allocates, struct samples *frees)
{
    fastalloc_handle_t handles[BATCH];
    allocates->count = frees->count = 0;
    for (int i = 0; i < BATCHES; i++) {
        int64_t begin = clock_ns();
        int result = fastalloc_allocate_many(pool, BATCH, FASTALLOC_NOWAIT, handles, NULL);
        int64_t middle = clock_ns();
        if (result < 0 || fastalloc_free_many(pool, handles, BATCH, NULL) < 0)
            errx(1, "allocate and free many: %s", fastalloc_result_name(result));
        samples_add(allocates, middle - begin);
        samples_add(frees, clock_ns() - middle);
    }
}

/* ---- One placement --------------------------------------------------------------------------- */

struct rows {
    struct report_row *echo_p50, *echo_p99;
    struct report_row *allocate_p50, *allocate_p99;
    struct report_row *free_p50, *free_p99;
    struct report_row *ratio;
    struct report_row *batch_allocate, *batch_free;
};

#define ROWS(report, key, words)                                                                   \
    (struct rows)                                                                                  \
    {                                                                                              \
        report_row(report, key ".bare.p50", words ": bare round trip, p50", "us", 0),              \
            report_row(report, key ".bare.p99", words ": bare round trip, p99", "us", 0),          \
            report_row(report, key ".allocate.p50", words ": allocate, p50", "us", 0),             \
            report_row(report, key ".allocate.p99", words ": allocate, p99", "us", 0),             \
            report_row(report, key ".free.p50", words ": free, p50", "us", 0),                     \
            report_row(report, key ".free.p99", words ": free, p99", "us", 0),                     \
            report_row(report, key ".ratio", words ": allocate / bare, p50", "", 1.15),            \
            report_row(report, key ".batch.allocate", words ": 256 allocated at once, a handle",   \
                       "ns", 120),                                                                 \
            report_row(report, key ".batch.free", words ": 256 freed at once, a handle", "ns", 0), \
    }

static void add_pair(struct report_row *p50, struct report_row *p99, struct samples *samples)
{
    report_add(p50, samples_percentile(samples, 50) / US);
    report_add(p99, samples_percentile(samples, 99) / US);
}

/* Which of the two goes first changes from round to round. */
static void run_round(int round, const struct echo_process *echo, fastalloc_pool_t *pool,
                      const struct rows *rows)
{
    static struct samples bare, allocates, frees;
    if (round % 2 == 0)
        measure_echo(echo, &bare);
    measure_single(pool, &allocates, &frees);
    if (round % 2 == 1)
        measure_echo(echo, &bare);

    add_pair(rows->echo_p50, rows->echo_p99, &bare);
    add_pair(rows->allocate_p50, rows->allocate_p99, &allocates);
    add_pair(rows->free_p50, rows->free_p99, &frees);
    report_add(rows->ratio, samples_percentile(&allocates, 50) / samples_percentile(&bare, 50));

    measure_batch(pool, &allocates, &frees);
    report_add(rows->batch_allocate, samples_percentile(&allocates, 50) / BATCH);
    report_add(rows->batch_free, samples_percentile(&frees, 50) / BATCH);
}

static void run_rounds(const struct daemon_process *daemon, const struct echo_process *echo,
                       fastalloc_pool_t *pool, int server_core, const struct rows *rows)
{
    static struct samples warm[2];
    process_pin(daemon->pid, server_core);
    process_pin(echo->pid, server_core);
    measure_echo(echo, &warm[0]);
    measure_single(pool, &warm[0], &warm[1]);
    for (int round = 0; round < ROUNDS; round++)
        run_round(round, echo, pool, rows);
}

int main(int argc, char *argv[])
{
    static struct report report;
    struct daemon_process daemon;
    struct echo_process echo;
    int core = process_core(0), other = process_core(1);

    report_init(&report, "A request to the daemon, and a bare round trip", argc, argv);
    echo_start(&echo, request_size(), reply_size());
    daemon_start(&daemon);
    fastalloc_connection_t *connection = daemon_connect(&daemon);
    fastalloc_pool_t *pool = daemon_pool(connection, "bench", FASTALLOC_BROKERED, 64, CAPACITY);
    process_pin(0, core);

    struct rows rows = ROWS(&report, "same_core", "same core");
    run_rounds(&daemon, &echo, pool, core, &rows);
    if (other >= 0) {
        rows = ROWS(&report, "two_cores", "two cores");
        run_rounds(&daemon, &echo, pool, other, &rows);
    }
    fastalloc_disconnect(connection);
    daemon_stop(&daemon);
    echo_stop(&echo);
    report_finish(&report);
    return 0;
}
