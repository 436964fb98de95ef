/* SPDX-License-Identifier: MIT */
/*
 * What does an allocation in a leased pool cost, next to malloc()? In one thread, in several, in two
 * processes, and from one process to another; and what does it cost to take cached slots back?
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/process.h"
#include "bench/report.h"
#include "bench/samples.h"
#include "docs/examples/ring.h"

#define ROUNDS 21
#define SIZE 64       /* bytes of an object */
#define PAIRS 2000000 /* of allocate and free, in a round */
#define PAIRS_LIVE 1000000
#define LIVE 1000
#define CAPACITY 65536
#define PASSED 1000000 /* objects from one process to the other, in a round */
#define CACHED 1000
#define TIMED 200000 /* single allocations, in a round */
#define THREADS_MAX 4

/* ---- One pair after the other ---------------------------------------------------------------- */

static void fail(const char *what, const fastalloc_error_t *error)
{
    errx(1, "%s: %s", what, error->message);
}

/* The compiler must not see that what it gets isn't used. */
static inline void use(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static double malloc_hot(void)
{
    int64_t begin = clock_ns();
    for (int i = 0; i < PAIRS; i++) {
        void *memory = malloc(SIZE);
        use(memory);
        free(memory);
    }
    return (double)(clock_ns() - begin) / PAIRS;
}

static double lease_hot(fastalloc_pool_t *pool, int pairs)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t handle;
    int64_t begin = clock_ns();
    for (int i = 0; i < pairs; i++) {
        if (fastalloc_try_allocate(pool, &handle, &error) < 0)
            fail("allocate", &error);
        use(&handle);
        if (fastalloc_free(pool, handle, &error) < 0)
            fail("free", &error);
    }
    return (double)(clock_ns() - begin) / pairs;
}

/* A thousand live at a time: the oldest is freed, and another one allocated. */
static double malloc_live(void)
{
    static void *live[LIVE];
    for (int i = 0; i < LIVE; i++)
        live[i] = malloc(SIZE);
    int64_t begin = clock_ns();
    for (int i = 0, at = 0; i < PAIRS_LIVE; i++) {
        free(live[at]);
        live[at] = malloc(SIZE);
        use(live[at]);
        at = at + 1 == LIVE ? 0 : at + 1;
    }
    double time = (double)(clock_ns() - begin) / PAIRS_LIVE;
    for (int i = 0; i < LIVE; i++)
        free(live[i]);
    return time;
}

static double lease_live(fastalloc_pool_t *pool)
{
    static fastalloc_handle_t live[LIVE];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    for (int i = 0; i < LIVE; i++)
        if (fastalloc_try_allocate(pool, &live[i], &error) < 0)
            fail("allocate", &error);
    int64_t begin = clock_ns();
    for (int i = 0, at = 0; i < PAIRS_LIVE; i++) {
        if (fastalloc_free(pool, live[at], &error) < 0 ||
            fastalloc_try_allocate(pool, &live[at], &error) < 0)
            fail("churn", &error);
        at = at + 1 == LIVE ? 0 : at + 1;
    }
    double time = (double)(clock_ns() - begin) / PAIRS_LIVE;
    for (int i = 0; i < LIVE; i++)
        if (fastalloc_free(pool, live[i], &error) < 0)
            fail("free", &error);
    return time;
}

/* ---- Several at once ------------------------------------------------------------------------- */

/* What the processes of a benchmark share besides the pools. */
struct shared {
    atomic_int ready;
    atomic_int go;
    atomic_int done;
    double time[THREADS_MAX];
    fastalloc_handle_t ring;
    bool touch; /* the objects are written and read, not only found */
    int64_t end;
};

static struct shared *shared;

static void await(atomic_int *number, int value)
{
    while (atomic_load(number) != value)
        sched_yield();
}

/* Without taking time from those that work. */
static void await_end(int count)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    while (atomic_load(&shared->done) != count)
        nanosleep(&pause, NULL);
}

static void begin_all(int count)
{
    await(&shared->ready, count);
    atomic_store(&shared->done, 0);
    atomic_store(&shared->ready, 0);
    atomic_store(&shared->go, 1);
    await_end(count);
    atomic_store(&shared->go, 0);
}

struct worker {
    fastalloc_pool_t *pool; /* NULL: malloc() and free() */
    int number;
    int core;
};

static void churn(const struct worker *worker)
{
    process_pin(0, worker->core);
    if (worker->pool)
        lease_hot(worker->pool, PAIRS / 100); /* the cache is filled */
    atomic_fetch_add(&shared->ready, 1);
    await(&shared->go, 1);
    shared->time[worker->number] = worker->pool ? lease_hot(worker->pool, PAIRS) : malloc_hot();
    atomic_fetch_add(&shared->done, 1);
}

/* Pairs a nanosecond, of all of them together. */
static double rate(int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += 1 / shared->time[i];
    return sum;
}

static pid_t start_process(const struct daemon_process *daemon,
                           void (*run)(fastalloc_connection_t *connection, const void *context),
                           const void *context)
{
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid > 0)
        return pid;
    fastalloc_connection_t *connection = daemon_connect(daemon);
    run(connection, context);
    fastalloc_disconnect(connection);
    _exit(0);
}

static void end_process(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "a process of the benchmark failed");
}

static void churn_in_process(fastalloc_connection_t *connection, const void *context)
{
    struct worker worker = *(const struct worker *)context;
    worker.pool = daemon_pool(connection, "lease", FASTALLOC_LEASED, SIZE, CAPACITY);
    churn(&worker);
}

static void churn_apart(fastalloc_connection_t *connection, const void *context)
{
    (void)connection;
    churn(context);
}

/* `churns` in so many. */
static double processes(const struct daemon_process *daemon, int count,
                        void (*churns)(fastalloc_connection_t *connection, const void *context))
{
    pid_t pids[THREADS_MAX];
    for (int i = 0; i < count; i++) {
        const struct worker worker = {NULL, i, process_core(i % 2)};
        pids[i] = start_process(daemon, churns, &worker);
    }
    begin_all(count);
    for (int i = 0; i < count; i++)
        end_process(pids[i]);
    return rate(count);
}

static void *churn_in_thread(void *context)
{
    churn(context);
    return NULL;
}

static double threads(fastalloc_pool_t *pool, int count)
{
    struct worker workers[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){pool, i, process_core(i % 2)};
        if (pthread_create(&ids[i], NULL, churn_in_thread, &workers[i]) != 0)
            errx(1, "cannot start a thread");
    }
    int64_t begin = clock_ns();
    begin_all(count);
    double time = (double)(clock_ns() - begin);
    for (int i = 0; i < count; i++)
        pthread_join(ids[i], NULL);
    return (double)count * PAIRS / time;
}

/* ---- From one to the other ------------------------------------------------------------------- */

static void consume(fastalloc_connection_t *connection, const void *context)
{
    (void)context;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *pool = daemon_pool(connection, "passed", FASTALLOC_LEASED, SIZE, CAPACITY);
    fastalloc_pool_t *rings =
        daemon_pool(connection, "rings", FASTALLOC_BROKERED, sizeof(struct ring), 1);
    const fastalloc_view_t *view = fastalloc_pool_view(pool);
    struct ring *ring = fastalloc_get(rings, shared->ring);
    fastalloc_handle_t handle;
    uint64_t sum = 0;
    process_pin(0, process_core(1));
    atomic_fetch_add(&shared->ready, 1);
    await(&shared->go, 1);
    for (int i = 0; i < PASSED; i++) {
        while (!ring_take(ring, &handle))
            ;
        const uint64_t *object = fastalloc_view_get(view, handle);
        if (!object)
            errx(1, "an object on its way was freed");
        if (shared->touch)
            sum += *object;
        if (fastalloc_free(pool, handle, &error) < 0)
            fail("free", &error);
    }
    shared->end = clock_ns();
    if (shared->touch && sum != (uint64_t)PASSED * (PASSED - 1) / 2)
        errx(1, "the objects aren't what they were");
    atomic_fetch_add(&shared->done, 1);
}

static double pass(const struct daemon_process *daemon, fastalloc_pool_t *pool,
                   fastalloc_pool_t *rings, bool touch)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    const fastalloc_view_t *view = fastalloc_pool_view(pool);
    fastalloc_handle_t handle;
    if (fastalloc_try_allocate(rings, &shared->ring, &error) < 0)
        fail("allocate", &error);
    struct ring *ring = fastalloc_get(rings, shared->ring);
    memset(ring, 0, sizeof(*ring));
    shared->touch = touch;
    pid_t pid = start_process(daemon, consume, NULL);
    await(&shared->ready, 1);
    atomic_store(&shared->ready, 0);
    atomic_store(&shared->done, 0);
    atomic_store(&shared->go, 1);
    int64_t begin = clock_ns();
    for (int i = 0; i < PASSED; i++) {
        if (fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, &error) < 0)
            fail("allocate", &error);
        uint64_t *object = fastalloc_view_get(view, handle);
        if (touch)
            *object = (uint64_t)i;
        while (!ring_put(ring, handle))
            ;
    }
    await(&shared->done, 1);
    atomic_store(&shared->go, 0);
    end_process(pid);
    if (fastalloc_free(rings, shared->ring, &error) < 0)
        fail("free", &error);
    return (double)(shared->end - begin) / PASSED;
}

/* ---- Single allocations ---------------------------------------------------------------------- */

static int by_time(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

/* The time that 999 of 1,000 keep to; the clock's own time is in it. */
static double p999(int64_t *times)
{
    qsort(times, TIMED, sizeof(times[0]), by_time);
    const size_t slowest = TIMED / 1000;
    return (double)times[TIMED - slowest];
}

static int64_t times[TIMED];

static double churn_p999(fastalloc_pool_t *pool)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t handle;
    for (int i = 0; i < TIMED; i++) {
        int64_t begin = clock_ns();
        if (fastalloc_try_allocate(pool, &handle, &error) < 0)
            fail("allocate", &error);
        times[i] = clock_ns() - begin;
        if (fastalloc_free(pool, handle, &error) < 0)
            fail("free", &error);
    }
    return p999(times);
}

static void free_passed(fastalloc_connection_t *connection, const void *context)
{
    (void)context;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *pool = daemon_pool(connection, "passed", FASTALLOC_LEASED, SIZE, CAPACITY);
    fastalloc_pool_t *rings =
        daemon_pool(connection, "rings", FASTALLOC_BROKERED, sizeof(struct ring), 1);
    struct ring *ring = fastalloc_get(rings, shared->ring);
    fastalloc_handle_t handle;
    process_pin(0, process_core(1));
    atomic_fetch_add(&shared->ready, 1);
    for (int i = 0; i < TIMED; i++) {
        while (!ring_take(ring, &handle))
            sched_yield();
        if (fastalloc_free(pool, handle, &error) < 0)
            fail("free", &error);
    }
}

/* A producer whose objects are freed by another process. */
static double producer_p999(const struct daemon_process *daemon, fastalloc_pool_t *pool,
                            fastalloc_pool_t *rings)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t handle;
    if (fastalloc_try_allocate(rings, &shared->ring, &error) < 0)
        fail("allocate", &error);
    struct ring *ring = fastalloc_get(rings, shared->ring);
    memset(ring, 0, sizeof(*ring));
    pid_t pid = start_process(daemon, free_passed, NULL);
    await(&shared->ready, 1);
    atomic_store(&shared->ready, 0);
    for (int i = 0; i < TIMED; i++) {
        int64_t begin = clock_ns();
        if (fastalloc_try_allocate(pool, &handle, &error) < 0)
            fail("allocate", &error);
        times[i] = clock_ns() - begin;
        while (!ring_put(ring, handle))
            sched_yield();
    }
    end_process(pid);
    if (fastalloc_free(rings, shared->ring, &error) < 0)
        fail("free", &error);
    return p999(times);
}

/* ---- Taking back ----------------------------------------------------------------------------- */

static void cache_and_stop(fastalloc_connection_t *connection, const void *context)
{
    (void)context;
    static fastalloc_handle_t handles[CACHED];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *pool = daemon_pool(connection, "tight", FASTALLOC_LEASED, SIZE, CACHED);
    for (int i = 0; i < CACHED; i++)
        if (fastalloc_try_allocate(pool, &handles[i], &error) < 0)
            fail("allocate", &error);
    for (int i = 0; i < CACHED; i++)
        if (fastalloc_free(pool, handles[i], &error) < 0)
            fail("free", &error);
    raise(SIGSTOP);
}

/* Microseconds of one request for all slots, which a stopped process had cached. */
static double take_back(const struct daemon_process *daemon, fastalloc_connection_t *connection)
{
    static fastalloc_handle_t handles[CACHED];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *pool = daemon_pool(connection, "tight", FASTALLOC_LEASED, SIZE, CACHED);
    pid_t pid = start_process(daemon, cache_and_stop, NULL);
    int status;
    if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
        errx(1, "the process that caches didn't stop");
    int64_t begin = clock_ns();
    if (fastalloc_allocate_many(pool, CACHED, FASTALLOC_NOWAIT, handles, &error) < 0)
        fail("take back", &error);
    double time = (double)(clock_ns() - begin) / 1000;
    kill(pid, SIGCONT);
    end_process(pid);
    if (fastalloc_free_many(pool, handles, CACHED, &error) < 0)
        fail("free", &error);
    fastalloc_close(pool);
    return time;
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* In the second pool others free what we allocate, so that our thread is revoked there. */
struct pools {
    fastalloc_pool_t *own, *passed, *rings;
};

struct rows {
    struct report_row *malloc_hot, *hot, *hot_ratio, *malloc_live, *live, *live_ratio, *revoked;
    struct report_row *processes, *malloc_processes, *threads, *pass, *touch, *churn_p999,
        *producer_p999, *take_back;
};

static struct rows make_rows(struct report *report)
{
    return (struct rows){
        .malloc_hot = report_row(report, "malloc.hot", "malloc and free", "ns", 0),
        .hot = report_row(report, "hot", "allocate and free", "ns", 0),
        .hot_ratio =
            report_row(report, "hot.ratio", "allocate and free / malloc and free", "", 0.75),
        .malloc_live = report_row(report, "malloc.live", "malloc and free, 1,000 live", "ns", 0),
        .live = report_row(report, "live", "allocate and free, 1,000 live", "ns", 0),
        .live_ratio = report_row(report, "live.ratio",
                                 "allocate and free / malloc and free, 1,000 live", "", 0.7),
        .revoked = report_row(report, "revoked", "allocate and free, in a thread that was revoked",
                              "ns", 0),
        .processes =
            report_row(report, "processes", "one process / two, pairs a second", "", 1 / 1.9),
        .malloc_processes =
            report_row(report, "malloc.processes", "the same of malloc and free", "", 0),
        .threads = report_row(report, "threads", "two threads / four, pairs a second", "", 1),
        .pass = report_row(report, "pass", "one process to the other, an object", "ns", 60),
        .touch = report_row(report, "touch", "the same, written there and read here", "ns", 0),
        .churn_p999 = report_row(report, "churn.p999", "allocate, p99.9, freed here", "ns", 1000),
        .producer_p999 =
            report_row(report, "producer.p999", "allocate, p99.9, freed elsewhere", "ns", 1000),
        .take_back = report_row(report, "take_back",
                                "1,000 slots that a stopped process has cached", "us", 1000),
    };
}

static void run_round(const struct rows *rows, const struct daemon_process *daemon,
                      fastalloc_connection_t *connection, const struct pools *pools)
{
    process_pin(0, process_core(0));
    double theirs = malloc_hot(), ours = lease_hot(pools->own, PAIRS);
    report_add(rows->malloc_hot, theirs);
    report_add(rows->hot, ours);
    report_add(rows->hot_ratio, ours / theirs);
    theirs = malloc_live();
    ours = lease_live(pools->own);
    report_add(rows->malloc_live, theirs);
    report_add(rows->live, ours);
    report_add(rows->live_ratio, ours / theirs);
    double one = processes(daemon, 1, churn_in_process);
    report_add(rows->processes, one / processes(daemon, 2, churn_in_process));
    one = processes(daemon, 1, churn_apart);
    report_add(rows->malloc_processes, one / processes(daemon, 2, churn_apart));
    double two = threads(pools->own, 2);
    report_add(rows->threads, two / threads(pools->own, 4));
    report_add(rows->pass, pass(daemon, pools->passed, pools->rings, false));
    report_add(rows->touch, pass(daemon, pools->passed, pools->rings, true));
    report_add(rows->revoked, lease_hot(pools->passed, PAIRS));
    report_add(rows->churn_p999, churn_p999(pools->own));
    report_add(rows->producer_p999, producer_p999(daemon, pools->passed, pools->rings));
    report_add(rows->take_back, take_back(daemon, connection));
}

int main(int argc, char *argv[])
{
    static struct report report;
    struct daemon_process daemon;
    report_init(&report, "Leased pools, and malloc", argc, argv);
    const struct rows rows = make_rows(&report);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");

    daemon_start(&daemon);
    fastalloc_connection_t *connection = daemon_connect(&daemon);
    const struct pools pools = {
        .own = daemon_pool(connection, "lease", FASTALLOC_LEASED, SIZE, CAPACITY),
        .passed = daemon_pool(connection, "passed", FASTALLOC_LEASED, SIZE, CAPACITY),
        .rings = daemon_pool(connection, "rings", FASTALLOC_BROKERED, sizeof(struct ring), 1),
    };
    for (int round = 0; round < ROUNDS; round++)
        run_round(&rows, &daemon, connection, &pools);

    fastalloc_disconnect(connection);
    daemon_stop(&daemon);
    report_finish(&report);
    return 0;
}
