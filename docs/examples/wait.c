/* SPDX-License-Identifier: MIT */
/*
 * Three answers to a pool that is exhausted: fail fast, fall back on the heap, wait for a while; and
 * how to end a wait without an end. The pool here has a single slot, and this program holds it.
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <fastalloc/fastalloc.h>

struct job {
    unsigned number;
};

/* On the heap if the handle is FASTALLOC_HANDLE_NONE; then no other process can see it. */
struct place {
    fastalloc_handle_t handle;
    struct job *job;
};

/* Fails fast with FASTALLOC_NOWAIT; else waits in the daemon's queue: no polling, an end in sight. */
static int allocate(fastalloc_pool_t *pool, int64_t timeout, struct place *place,
                    fastalloc_error_t *error)
{
    int result = fastalloc_allocate(pool, timeout, &place->handle, error);
    if (result == 0)
        place->job = fastalloc_get(pool, place->handle); /* not NULL: nobody else frees it */
    return result;
}

/* Where the heap will do, exhaustion is no error; everything else still is. */
static int degrade(fastalloc_pool_t *pool, struct place *place, fastalloc_error_t *error)
{
    int result = allocate(pool, FASTALLOC_NOWAIT, place, error);
    if (result != FASTALLOC_ERR_POOL_EXHAUSTED && result != FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED)
        return result;
    place->handle = FASTALLOC_HANDLE_NONE;
    place->job = malloc(sizeof(struct job));
    return place->job ? 0 : result;
}

static int release(fastalloc_pool_t *pool, struct place place, fastalloc_error_t *error)
{
    if (!fastalloc_handle_is_none(place.handle))
        return fastalloc_free(pool, place.handle, error);
    free(place.job);
    return 0;
}

struct worker {
    fastalloc_pool_t *pool;
    atomic_bool ended;
};

/* Waits for room, for as long as it takes, or until it is told to stop. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    struct place place;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    if (allocate(worker->pool, FASTALLOC_FOREVER, &place, &error) == FASTALLOC_ERR_CANCELLED)
        printf("stop: %s\n", error.message);
    worker->ended = true;
    return NULL;
}

/* Again and again: what isn't with the daemon yet when it is told isn't cancelled. */
static void stop(struct worker *worker)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    while (!worker->ended) {
        if (fastalloc_cancel(worker->pool, &error) < 0)
            errx(1, "%s", error.message);
        sched_yield();
    }
}

int main(void)
{
    pthread_t thread;
    struct worker worker = {.ended = false};
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    struct place first, second;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = sizeof(struct job);
    options.capacity = 1;
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "jobs", &options, &pool, &error) < 0 ||
        allocate(pool, FASTALLOC_NOWAIT, &first, &error) < 0)
        errx(1, "%s", error.message);

    if (allocate(pool, FASTALLOC_NOWAIT, &second, &error) < 0)
        printf("fail fast: %s\n", error.message);
    if (degrade(pool, &second, &error) < 0 || release(pool, second, &error) < 0)
        errx(1, "%s", error.message);
    printf("degrade: on the %s\n", fastalloc_handle_is_none(second.handle) ? "heap" : "pool");
    if (allocate(pool, 50 * FASTALLOC_MILLISECOND, &second, &error) < 0)
        printf("wait: %s\n", error.message);

    worker.pool = pool;
    if (pthread_create(&thread, NULL, work, &worker) != 0)
        errx(1, "cannot start a thread");
    stop(&worker);
    pthread_join(thread, NULL);
    fastalloc_disconnect(connection);
    return 0;
}
