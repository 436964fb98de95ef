/* SPDX-License-Identifier: MIT */
/*
 * Two processes, a pipeline: one makes objects and sends them through a ring of handles, the other
 * takes them, adds them up and frees them. The pool is leased: neither asks the daemon for an
 * object, but for many at once now and then.
 *
 *     usage: pipeline [COUNT]
 *
 * The ring is in ring.h, beside this file.
 */
#include <err.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastalloc/fastalloc.h>

#include "ring.h"

struct sample {
    uint64_t number;
    double value;
};

/* A process' own: a child connects by itself. */
struct station {
    fastalloc_connection_t *connection;
    fastalloc_pool_t *samples;
    fastalloc_pool_t *rings;
};

static fastalloc_error_t error;

static fastalloc_pool_t *open_pool(fastalloc_connection_t *connection, const char *name,
                                   const fastalloc_open_options_t *options)
{
    fastalloc_pool_t *pool;
    if (fastalloc_open(connection, name, options, &pool, &error) < 0)
        errx(1, "%s", error.message);
    return pool;
}

static struct station open_station(void)
{
    struct station station;
    fastalloc_open_options_t samples = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_open_options_t rings = FASTALLOC_OPEN_OPTIONS_INIT;
    error.size = sizeof(error);
    samples.create = rings.create = true;
    samples.kind = FASTALLOC_LEASED;
    samples.object_size = sizeof(struct sample);
    samples.capacity = UINT64_C(64) * RING_SIZE;
    rings.object_size = sizeof(struct ring);
    rings.alignment = 128;
    rings.capacity = 1;
    rings.zero = FASTALLOC_ZERO_ON_ALLOCATE;
    if (fastalloc_connect(NULL, &station.connection, &error) < 0)
        errx(1, "%s", error.message);
    station.samples = open_pool(station.connection, "samples", &samples);
    station.rings = open_pool(station.connection, "rings", &rings);
    return station;
}

/* ---- The one that takes ---------------------------------------------------------------------- */

static bool take(const struct station *station, fastalloc_handle_t name, fastalloc_handle_t *handle)
{
    struct ring *ring;
    while ((ring = fastalloc_get(station->rings, name))) { /* the writer's: it ends with it */
        if (ring_take(ring, handle))
            return true;
        sched_yield();
    }
    return false;
}

static int add_up(int pipe, uint64_t count)
{
    struct station station = open_station();
    fastalloc_handle_t name, handle;
    uint64_t sum = 0;
    if (read(pipe, &name, sizeof(name)) != sizeof(name))
        return 1;
    for (uint64_t i = 0; i < count; i++) {
        if (!take(&station, name, &handle))
            errx(1, "the writer is gone after %llu samples", (unsigned long long)i);
        const struct sample *sample = fastalloc_get(station.samples, handle);
        if (!sample || sample->number != i)
            errx(1, "sample %llu isn't what it was", (unsigned long long)i);
        sum += sample->number;
        if (fastalloc_free(station.samples, handle, &error) < 0)
            errx(1, "%s", error.message);
    }
    printf("%llu samples, sum %llu\n", (unsigned long long)count, (unsigned long long)sum);
    fastalloc_disconnect(station.connection);
    return fflush(stdout) < 0;
}

/* ---- The one that makes ---------------------------------------------------------------------- */

/* False if the reader is gone. */
static bool put(struct ring *ring, fastalloc_handle_t handle, pid_t reader)
{
    while (!ring_put(ring, handle)) {
        siginfo_t gone = {.si_pid = 0};
        if (waitid(P_PID, (id_t)reader, &gone, WEXITED | WNOHANG | WNOWAIT) < 0 || gone.si_pid != 0)
            return false;
        sched_yield();
    }
    return true;
}

static void make(int pipe, pid_t reader, uint64_t count)
{
    struct station station = open_station();
    fastalloc_handle_t name, handle;
    if (fastalloc_allocate(station.rings, FASTALLOC_NOWAIT, &name, &error) < 0)
        errx(1, "%s", error.message);
    struct ring *ring = fastalloc_get(station.rings, name);
    if (!ring || write(pipe, &name, sizeof(name)) != sizeof(name))
        errx(1, "cannot tell the reader of the ring");
    for (uint64_t i = 0; i < count; i++) {
        /* Should the pool be exhausted, the reader is behind: it wakes us with the first it frees. */
        if (fastalloc_allocate(station.samples, FASTALLOC_FOREVER, &handle, &error) < 0)
            errx(1, "%s", error.message);
        struct sample *sample = fastalloc_get(station.samples, handle);
        *sample = (struct sample){.number = i, .value = 0.5};
        if (!put(ring, handle, reader))
            errx(1, "the reader is gone after %llu samples", (unsigned long long)i);
    }
    waitpid(reader, NULL, 0); /* it has all by then; the ring goes with us */
    fastalloc_disconnect(station.connection);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    int ends[2];
    if (argc > 2 || count == 0)
        errx(2, "usage: pipeline [COUNT]");
    if (pipe(ends) < 0)
        err(1, "pipe");
    pid_t reader = fork();
    if (reader < 0)
        err(1, "fork");
    if (reader == 0) {
        close(ends[1]);
        return add_up(ends[0], count);
    }
    close(ends[0]);
    make(ends[1], reader, count);
    return 0;
}
