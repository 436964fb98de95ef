/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads that allocate and free in one small leased pool as fast as they can: nothing
 * is live twice, nothing is refused that is there, nobody waits for ever, nothing is lost.
 *
 * FASTALLOC_SEED chooses the run, which is printed; FASTALLOC_STEPS how often two processes allocate
 * and free (with more than some 20 million, CK_TIMEOUT_MULTIPLIER too).
 */
#define _GNU_SOURCE /* ppoll */
#include <fastalloc/admin.h>

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "docs/examples/ring.h"
#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/program.h"
#include "tests/lib/timing.h"
#include "tests/unit/suite.h"

#define POOL "stress"
#define STEPS 2000000        /* pairs of allocate and free */
#define STEPS_A_SECOND 20000 /* that any machine does, and be it under a sanitizer */
#define CAPACITY_MAX 256u
#define PROCESSES_MAX 4u
#define HOLD_MAX 32u
#define THREADS 4u
#define SECOND INT64_C(1000000000)
#define NOBODY 0

/* What each object begins with. */
struct object {
    uint64_t owner; /* who has it, or NOBODY */
    uint64_t asked; /* its owner is to free it: it came back */
    uint64_t detached;
};

/* What the processes share besides the pool. */
struct shared {
    bool stop;
    unsigned ready; /* processes that have begun */
    struct {
        _Alignas(128) uint64_t allocated; /* objects, until now */
        uint64_t passed; /* of them, that were put into its ring, and those that came out of it */
        _Alignas(128) uint64_t gone;
    } processes[PROCESSES_MAX];
    struct ring rings[PROCESSES_MAX]; /* to the next one */
};

/* What each process of a team does, given its number and the pool. */
struct team {
    unsigned processes;
    unsigned hold; /* objects that a process, or a thread of it, has at most */
    uint64_t steps;
    void (*work)(unsigned process, fastalloc_pool_t *pool);
};

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static struct shared *shared;
static struct team team;
static uint64_t seed;

/* ---- The stage ------------------------------------------------------------------------------- */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    return given ? strtoull(given, NULL, 0) : otherwise;
}

static void setup(void)
{
    seed = number_from("FASTALLOC_SEED", (uint64_t)timing_now());
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    test_daemon_start(&server, (const char *const[]){"--log-level", "error", NULL});
    connection = test_daemon_connect(&server);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

static void make_pool(uint64_t capacity, uint64_t capacity_max)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    options.create = true;
    options.kind = FASTALLOC_LEASED;
    options.object_size = 64;
    options.capacity = capacity;
    options.capacity_max = capacity_max;
    ck_assert_msg(fastalloc_open(connection, POOL, &options, &pool, &error) == 0, "%s",
                  error.message);
}

static fastalloc_stats_t stats_now(void)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, POOL, &stats, NULL), 0);
    return stats;
}

static void expect_usage(uint64_t usage)
{
    fastalloc_stats_t stats = stats_now();
    ck_assert_uint_eq(stats.current_usage, usage);
    ck_assert_uint_eq(stats.total_allocations - stats.total_deallocations, usage);
    ck_assert_uint_eq(stats.available, stats.capacity - usage);
    ck_assert_uint_le(stats.cached, stats.capacity - usage);
    ck_assert_uint_eq(stats.waiters, 0);
}

static void expect_no_damage(void)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    ck_assert_int_eq(fastalloc_pool_show(connection, POOL, &info, NULL), 0);
    ck_assert(!info.damaged);
}

/* All is free: so many, each of them another one, and not one more. */
static void account_for_all(uint32_t capacity)
{
    static fastalloc_handle_t handles[CAPACITY_MAX + 1];
    static bool seen[CAPACITY_MAX];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    expect_no_damage();
    expect_usage(0);
    for (uint32_t i = 0; i < capacity; i++) {
        ck_assert_msg(fastalloc_try_allocate(pool, &handles[i], &error) == 0, "number %u: %s", i,
                      error.message);
        ck_assert_uint_lt(handles[i].index, capacity);
        ck_assert(!seen[handles[i].index]);
        seen[handles[i].index] = true;
    }
    ck_assert_int_eq(fastalloc_try_allocate(pool, &handles[capacity], NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    expect_usage(capacity);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, capacity, NULL), 0);
    expect_usage(0);
}

/* ---- Teams ----------------------------------------------------------------------------------- */

static void run_member(int control, const void *argument)
{
    const unsigned *process = argument;
    fastalloc_connection_t *own;
    fastalloc_pool_t *opened = child_open(server.socket, POOL, &own);
    child_say(control, 'r');
    child_listen(control);
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < team.processes)
        sched_yield();
    team.work(*process, opened);
    fastalloc_disconnect(own);
}

/* Waits until it is done, and has failed in nothing. */
static void await_member(struct test_child *member, int64_t deadline)
{
    struct pollfd end = {.fd = member->control, .events = POLLIN};
    char byte;
    int64_t left = deadline - timing_now();
    ck_assert_msg(poll(&end, 1, left > 0 ? (int)(left / 1000000) : 0) == 1,
                  "it isn't done in time");
    ck_assert_int_eq(recv(member->control, &byte, 1, 0), 0);
    ck_assert_int_eq(test_child_join(member), 0);
}

static void start_team(struct test_child *members, unsigned *numbers)
{
    for (unsigned i = 0; i < team.processes; i++) {
        numbers[i] = i;
        test_child_start(&members[i], run_member, &numbers[i]);
        test_child_hear(&members[i], 'r');
    }
    for (unsigned i = 0; i < team.processes; i++)
        test_child_tell(&members[i], 'g');
}

static void await_team(struct test_child *members)
{
    int64_t deadline = timing_now() + 30 * SECOND + (int64_t)(team.steps / STEPS_A_SECOND) * SECOND;
    for (unsigned i = 0; i < team.processes; i++)
        await_member(&members[i], deadline);
}

static uint64_t allocated_by_all(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < team.processes; i++)
        sum += __atomic_load_n(&shared->processes[i].allocated, __ATOMIC_RELAXED);
    return sum;
}

/* They have begun; who waits then gets `kept` slots, of which the test has held all. */
static void run_team_kept_waiting(struct team plan, size_t kept)
{
    struct test_child members[PROCESSES_MAX];
    unsigned numbers[PROCESSES_MAX];
    fastalloc_handle_t handles[HOLD_MAX];
    team = plan;
    if (kept > 0)
        ck_assert_int_eq(fastalloc_allocate_many(pool, kept, 0, handles, NULL), 0);
    start_team(members, numbers);
    int64_t begin = timing_now();
    while (kept > 0 && stats_now().total_waits == 0)
        sched_yield();
    if (kept > 0)
        ck_assert_int_eq(fastalloc_free_many(pool, handles, kept, NULL), 0);
    await_team(members);
    printf("%" PRIu64 " objects in %" PRId64 " ms\n", allocated_by_all(),
           (timing_now() - begin) / 1000000);
    fflush(stdout);
}

static void run_team(struct team plan)
{
    run_team_kept_waiting(plan, 0);
}

/* ---- Who works ------------------------------------------------------------------------------- */

struct worker {
    unsigned process;
    uint64_t identity; /* not NOBODY */
    fastalloc_pool_t *pool;
    uint64_t random;
    unsigned held;
    fastalloc_handle_t handles[HOLD_MAX];
};

static void begin_worker(struct worker *worker, unsigned process, unsigned thread,
                         fastalloc_pool_t *opened)
{
    worker->process = process;
    worker->identity = (uint64_t)process << 32 | (thread + 1);
    worker->pool = opened;
    worker->random = seed * 2654435761u + worker->identity * 0x9e3779b97f4a7c15u + 1;
    worker->held = 0;
}

static uint64_t draw(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random >> 11;
}

static struct object *follow(const struct worker *worker, fastalloc_handle_t handle)
{
    struct object *object = fastalloc_get(worker->pool, handle);
    child_require(object);
    return object;
}

/* It was nobody's, and is ours. */
static void claim(struct worker *worker, fastalloc_handle_t handle)
{
    struct object *object = follow(worker, handle);
    uint64_t before = __atomic_exchange_n(&object->owner, worker->identity, __ATOMIC_SEQ_CST);
    child_require(before == NOBODY);
    __atomic_fetch_add(&shared->processes[worker->process].allocated, 1, __ATOMIC_RELAXED);
}

/* It was all the time that one's. */
static void disclaim(struct worker *worker, fastalloc_handle_t handle, uint64_t owner)
{
    struct object *object = follow(worker, handle);
    uint64_t before = __atomic_exchange_n(&object->owner, NOBODY, __ATOMIC_SEQ_CST);
    child_require(before == owner);
}

static void free_it(struct worker *worker, fastalloc_handle_t handle)
{
    child_require(fastalloc_free(worker->pool, handle, NULL) == 0);
    child_require(fastalloc_get(worker->pool, handle) == NULL);
    if (draw(worker) % 64 == 0)
        child_require(fastalloc_free(worker->pool, handle, NULL) == FASTALLOC_ERR_STALE_HANDLE);
}

/* One more; a refusal is a failure. */
static void take_one(struct worker *worker, int64_t timeout)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_handle_t *handle = &worker->handles[worker->held];
    if (fastalloc_allocate(worker->pool, timeout, handle, &error) < 0) {
        fprintf(stderr, "process %u: %s\n", worker->process, error.message);
        child_require(!"refused");
    }
    claim(worker, *handle);
    worker->held++;
}

/* Any one of those it has. */
static fastalloc_handle_t let_go(struct worker *worker)
{
    unsigned which = (unsigned)(draw(worker) % worker->held);
    fastalloc_handle_t handle = worker->handles[which];
    worker->handles[which] = worker->handles[--worker->held];
    return handle;
}

static void give_one_back(struct worker *worker)
{
    fastalloc_handle_t handle = let_go(worker);
    disclaim(worker, handle, worker->identity);
    free_it(worker, handle);
}

/* So often, one or none of which is refused. */
static void hammer(struct worker *worker, uint64_t steps)
{
    for (uint64_t i = 0; i < steps;) {
        bool more = worker->held == 0 || (worker->held < team.hold && draw(worker) % 2);
        if (more)
            take_one(worker, FASTALLOC_NOWAIT);
        else
            give_one_back(worker);
        if (draw(worker) % 256 == 0) /* so that the others come in between */
            sched_yield();
        i += more;
    }
    while (worker->held > 0)
        give_one_back(worker);
}

/* ---- Nothing is refused that is there -------------------------------------------------------- */

static void hammer_alone(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    begin_worker(&worker, process, 0, opened);
    hammer(&worker, team.steps / team.processes);
}

/* All that was allocated was counted, by words of which nobody told the daemon. */
static void expect_totals(void)
{
    fastalloc_stats_t stats = stats_now();
    ck_assert_uint_eq(stats.total_allocations, allocated_by_all());
    ck_assert_uint_eq(stats.total_deallocations, allocated_by_all());
    ck_assert_uint_eq(stats.allocation_failures, 0);
}

START_TEST(test_two_processes_hammer_one_pool)
{
    make_pool(64, 64);
    run_team((struct team){2, 16, number_from("FASTALLOC_STEPS", STEPS), hammer_alone});
    expect_totals();
    account_for_all(64);
}
END_TEST

/* Between them they may have all slots: what one has cached is the other's at once. */
START_TEST(test_four_processes_use_a_pool_up)
{
    make_pool(64, 64);
    run_team((struct team){4, 16, STEPS / 4, hammer_alone});
    expect_totals();
    account_for_all(64);
}
END_TEST

START_TEST(test_two_processes_share_two_slots)
{
    make_pool(2, 2);
    run_team((struct team){2, 1, STEPS / 10, hammer_alone});
    expect_totals();
    account_for_all(2);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

struct thread {
    pthread_t id;
    unsigned number;
    struct worker worker;
};

static void *hammer_a_while(void *argument)
{
    struct thread *thread = argument;
    hammer(&thread->worker, 1 + draw(&thread->worker) % 2000);
    return NULL;
}

/* Its threads end again and again, and leave what they had cached. */
static void hammer_with_threads(unsigned process, fastalloc_pool_t *opened)
{
    static struct thread threads[THREADS];
    uint64_t rounds = team.steps / team.processes / THREADS / 1000;
    for (unsigned i = 0; i < THREADS; i++)
        begin_worker(&threads[i].worker, process, i, opened);
    for (uint64_t round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            child_require(pthread_create(&threads[i].id, NULL, hammer_a_while, &threads[i]) == 0);
        for (unsigned i = 0; i < THREADS; i++)
            child_require(pthread_join(threads[i].id, NULL) == 0);
    }
}

START_TEST(test_threads_come_and_go)
{
    make_pool(64, 64);
    run_team((struct team){2, 64 / 2 / THREADS, STEPS / 8, hammer_with_threads});
    expect_totals();
    account_for_all(64);
}
END_TEST

/* ---- Freed by others ------------------------------------------------------------------------- */

static struct ring *ring_from(unsigned process)
{
    return &shared->rings[process % team.processes];
}

static unsigned before(unsigned process)
{
    return (process + team.processes - 1) % team.processes;
}

/* Objects of ours that are on their way, or are being freed there. */
static uint64_t underway(unsigned process)
{
    return shared->processes[process].passed -
           __atomic_load_n(&shared->processes[process].gone, __ATOMIC_ACQUIRE);
}

static void pass_one(struct worker *worker)
{
    take_one(worker, FASTALLOC_NOWAIT);
    child_require(ring_put(ring_from(worker->process), let_go(worker)));
    shared->processes[worker->process].passed++;
}

static void count_gone(unsigned process)
{
    __atomic_fetch_add(&shared->processes[process].gone, 1, __ATOMIC_RELEASE);
}

static void free_passed(struct worker *worker, fastalloc_handle_t handle)
{
    disclaim(worker, handle, (uint64_t)before(worker->process) << 32 | 1);
    free_it(worker, handle);
    count_gone(before(worker->process));
}

/* Each frees what the one before it allocated, and is never refused what all of them have left. */
static void pass_on(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    fastalloc_handle_t handle;
    uint64_t mine = 0, theirs = 0, steps = team.steps / team.processes;
    begin_worker(&worker, process, 0, opened);
    while (mine < steps || theirs < steps || underway(process) > 0) {
        bool put = mine < steps && underway(process) < team.hold;
        bool took = ring_take(ring_from(before(process)), &handle);
        if (took)
            free_passed(&worker, handle);
        if (put)
            pass_one(&worker);
        if (!put && !took)
            sched_yield();
        mine += put;
        theirs += took;
    }
}

START_TEST(test_objects_are_freed_by_another_process)
{
    make_pool(64, 64);
    run_team((struct team){2, 8, STEPS / 20, pass_on});
    expect_totals();
    account_for_all(64);
}
END_TEST

START_TEST(test_the_last_slots_are_freed_by_another_process)
{
    make_pool(64, 64);
    run_team((struct team){4, 16, STEPS / 20, pass_on});
    expect_totals();
    account_for_all(64);
}
END_TEST

/* ---- Waiting --------------------------------------------------------------------------------- */

static void check_and_free(struct worker *worker)
{
    for (unsigned i = 0; i < worker->held; i++)
        disclaim(worker, worker->handles[i], worker->identity);
    child_require(fastalloc_free_many(worker->pool, worker->handles, worker->held, NULL) == 0);
    worker->held = 0;
}

/* Who waits has nothing, so that all may wait for ever; or not for so long. */
static void wait_in_turn(struct worker *worker)
{
    unsigned count = 1 + (unsigned)(draw(worker) % team.hold);
    bool patient = draw(worker) % 4 != 0;
    int64_t timeout = patient ? FASTALLOC_FOREVER : (int64_t)(draw(worker) % 100000);
    int result = fastalloc_allocate_many(worker->pool, count, timeout, worker->handles, NULL);
    child_require(result == 0 || (!patient && (result == FASTALLOC_ERR_TIMEOUT ||
                                               result == FASTALLOC_ERR_POOL_EXHAUSTED)));
    worker->held = result == 0 ? count : 0;
    for (unsigned i = 0; i < worker->held; i++)
        claim(worker, worker->handles[i]);
    if (draw(worker) % 4 == 0)
        sched_yield();
    if (worker->held > 0)
        check_and_free(worker);
}

static void wait_alone(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    begin_worker(&worker, process, 0, opened);
    for (uint64_t i = 0; i < team.steps / team.processes; i++)
        wait_in_turn(&worker);
}

START_TEST(test_everybody_waits_all_the_time)
{
    make_pool(4, 4);
    run_team_kept_waiting((struct team){4, 3, STEPS / 100, wait_alone}, 4);
    account_for_all(4);
}
END_TEST

static void *wait_a_while(void *argument)
{
    struct thread *thread = argument;
    for (unsigned i = 0; i < 100; i++)
        wait_in_turn(&thread->worker);
    return NULL;
}

static void wait_with_threads(unsigned process, fastalloc_pool_t *opened)
{
    static struct thread threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        begin_worker(&threads[i].worker, process, i, opened);
    for (uint64_t done = 0; done < team.steps / team.processes; done += 100 * (uint64_t)THREADS) {
        for (unsigned i = 0; i < THREADS; i++)
            child_require(pthread_create(&threads[i].id, NULL, wait_a_while, &threads[i]) == 0);
        for (unsigned i = 0; i < THREADS; i++)
            child_require(pthread_join(threads[i].id, NULL) == 0);
    }
}

START_TEST(test_threads_wait_all_the_time)
{
    make_pool(5, 5);
    run_team_kept_waiting((struct team){2, 2, STEPS / 100, wait_with_threads}, 5);
    account_for_all(5);
}
END_TEST

/* Who waits for slots that another one frees: only that tells the daemon. */
static void allocate_patiently(struct worker *worker)
{
    for (uint64_t i = 0; i < team.steps; i++) {
        take_one(worker, FASTALLOC_FOREVER);
        while (!ring_put(ring_from(worker->process), worker->handles[0]))
            sched_yield();
        worker->held = 0;
        shared->processes[worker->process].passed++;
    }
    while (underway(worker->process) > 0)
        sched_yield();
}

static void free_all_passed(struct worker *worker)
{
    fastalloc_handle_t handle;
    for (uint64_t i = 0; i < team.steps; i++) {
        while (!ring_take(ring_from(before(worker->process)), &handle))
            sched_yield();
        free_passed(worker, handle);
    }
}

static void wait_or_free(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    begin_worker(&worker, process, 0, opened);
    if (process == 0)
        allocate_patiently(&worker);
    else
        free_all_passed(&worker);
}

START_TEST(test_one_waits_for_what_the_other_frees)
{
    make_pool(3, 3);
    run_team_kept_waiting((struct team){2, 3, STEPS / 50, wait_or_free}, 3);
    account_for_all(3);
}
END_TEST

/* ---- Growth ---------------------------------------------------------------------------------- */

/* As long as the test hasn't stopped it. */
static void wait_until_stopped(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    begin_worker(&worker, process, 0, opened);
    while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE))
        wait_in_turn(&worker);
}

START_TEST(test_the_pool_grows_meanwhile)
{
    struct test_child members[PROCESSES_MAX];
    unsigned numbers[PROCESSES_MAX];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    make_pool(4, CAPACITY_MAX);
    team = (struct team){4, 4, 0, wait_until_stopped};
    start_team(members, numbers);
    for (uint64_t capacity = 5; capacity <= CAPACITY_MAX; capacity++) {
        uint64_t before = allocated_by_all();
        ck_assert_msg(fastalloc_pool_grow(connection, POOL, capacity, 0, &error) == 0, "%s",
                      error.message);
        /* Somebody uses it as it is now; who waits for ever fails by the test's timeout. */
        while (allocated_by_all() - before < 10)
            sched_yield();
    }
    __atomic_store_n(&shared->stop, true, __ATOMIC_RELEASE);
    await_team(members);
    account_for_all(CAPACITY_MAX);
}
END_TEST

/* ---- Changing hands --------------------------------------------------------------------------- */

/* Two processes: what comes from the other is freed, adopted and freed, or goes back to be freed. */
static void hand_back(struct worker *worker, fastalloc_handle_t handle)
{
    child_require(fastalloc_retain(worker->pool, &handle, 1, NULL) == 0);
    child_require(fastalloc_free(worker->pool, handle, NULL) == FASTALLOC_ERR_OBJECT_SHARED);
    child_require(fastalloc_release(worker->pool, &handle, 1, NULL) == 0);
    follow(worker, handle)->asked = 1;
    child_require(ring_put(ring_from(worker->process), handle));
}

static void receive(struct worker *worker, fastalloc_handle_t handle)
{
    struct object *object = follow(worker, handle);
    unsigned choice = (unsigned)(draw(worker) % 8);
    if (object->asked) {
        object->asked = 0;
        disclaim(worker, handle, worker->identity);
        free_it(worker, handle);
        count_gone(worker->process);
    } else if (choice == 0 && !object->detached) {
        hand_back(worker, handle);
    } else {
        if (choice == 1)
            child_require(fastalloc_adopt(worker->pool, &handle, 1, NULL) == 0);
        free_passed(worker, handle);
    }
}

static void hand_out(struct worker *worker)
{
    take_one(worker, FASTALLOC_NOWAIT);
    fastalloc_handle_t handle = let_go(worker);
    bool detached = draw(worker) % 8 == 0;
    follow(worker, handle)->detached = detached;
    if (detached)
        child_require(fastalloc_detach(worker->pool, &handle, 1, NULL) == 0);
    child_require(ring_put(ring_from(worker->process), handle));
    shared->processes[worker->process].passed++;
}

static void hand_on(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    fastalloc_handle_t handle;
    uint64_t given = 0, steps = team.steps / team.processes;
    begin_worker(&worker, process, 0, opened);
    while (given < steps || underway(0) + underway(1) > 0 ||
           __atomic_load_n(&shared->processes[1 - process].passed, __ATOMIC_ACQUIRE) < steps) {
        bool took = ring_take(ring_from(1 - process), &handle);
        bool give = given < steps && underway(process) < team.hold;
        if (took)
            receive(&worker, handle);
        if (give)
            hand_out(&worker);
        given += give;
        if (!took && !give)
            sched_yield();
    }
}

START_TEST(test_objects_change_hands_meanwhile)
{
    make_pool(16, 16);
    run_team((struct team){2, 8, STEPS / 100, hand_on});
    account_for_all(16);
}
END_TEST

/* ---- Two at the same object ------------------------------------------------------------------ */

static bool is_one_of(int result, int one, int other)
{
    return result == 0 || result == one || result == other;
}

/* The holder's end of it: the other one may have freed, adopted, shared or detached it meanwhile. */
static void end_contested(struct worker *worker, fastalloc_handle_t handle)
{
    int result = fastalloc_free(worker->pool, handle, NULL);
    child_require(is_one_of(result, FASTALLOC_ERR_STALE_HANDLE, FASTALLOC_ERR_OBJECT_SHARED));
    if (result != FASTALLOC_ERR_OBJECT_SHARED)
        return;
    result = fastalloc_release(worker->pool, &handle, 1, NULL);
    child_require(is_one_of(result, FASTALLOC_ERR_STALE_HANDLE, FASTALLOC_ERR_NOT_HOLDER));
}

static void meddle(struct worker *worker, fastalloc_handle_t handle)
{
    fastalloc_pool_t *opened = worker->pool;
    int result = 0;
    switch (draw(worker) % 4) {
    case 0:
        result = fastalloc_free(opened, handle, NULL);
        break;
    case 1:
        result = fastalloc_adopt(opened, &handle, 1, NULL);
        if (result == 0)
            result = fastalloc_free(opened, handle, NULL);
        break;
    case 2:
        result = fastalloc_retain(opened, &handle, 1, NULL);
        if (result == 0)
            result = fastalloc_release(opened, &handle, 1, NULL);
        break;
    default:
        result = fastalloc_detach(opened, &handle, 1, NULL);
    }
    child_require(is_one_of(result, FASTALLOC_ERR_STALE_HANDLE, 0));
}

static void contest(unsigned process, fastalloc_pool_t *opened)
{
    struct worker worker;
    fastalloc_handle_t handle;
    begin_worker(&worker, process, 0, opened);
    for (uint64_t i = 0; process == 0 && i < team.steps; i++) {
        child_require(fastalloc_allocate(opened, FASTALLOC_FOREVER, &handle, NULL) == 0);
        __atomic_fetch_add(&shared->processes[0].allocated, 1, __ATOMIC_RELAXED);
        while (!ring_put(ring_from(0), handle))
            sched_yield();
        for (uint64_t spin = draw(&worker) % 4096; spin > 0; spin--)
            __asm__ volatile("" ::: "memory");
        end_contested(&worker, handle);
    }
    for (uint64_t i = 0; process == 1 && i < team.steps; i++) {
        while (!ring_take(ring_from(0), &handle))
            sched_yield();
        meddle(&worker, handle);
    }
}

START_TEST(test_two_do_different_things_with_one_object)
{
    make_pool(8, 8);
    run_team((struct team){2, 1, STEPS / 40, contest});
    account_for_all(8);
}
END_TEST

/* ---- Deaths ---------------------------------------------------------------------------------- */

#define KILLS 240u
#define LONGEST_US 3000u /* that one lives between two deaths */
#define MORTALS 4u
#define MORTAL_CAPACITY 24u
#define MORTAL_HOLD 4u
#define PASSED_MAX 4u

/* What it holds, and what it has passed on and the next one is to free, unless that dies. */
struct mortal {
    struct worker worker;
    unsigned passed;
    fastalloc_handle_t out[PASSED_MAX];
};

static bool allocate_mortal(struct mortal *mortal)
{
    struct worker *worker = &mortal->worker;
    fastalloc_handle_t *handle = &worker->handles[worker->held];
    bool all_may_wait = worker->held == 0 && mortal->passed == 0;
    int64_t timeout = all_may_wait ? FASTALLOC_FOREVER : (int64_t)(draw(worker) % 200000);
    if (draw(worker) % 2)
        timeout = FASTALLOC_NOWAIT;
    int result = fastalloc_allocate(worker->pool, timeout, handle, NULL);
    child_require(is_one_of(result, FASTALLOC_ERR_TIMEOUT, FASTALLOC_ERR_POOL_EXHAUSTED));
    if (result < 0)
        return false;
    __atomic_store_n(&follow(worker, *handle)->owner, worker->identity, __ATOMIC_SEQ_CST);
    worker->held++;
    __atomic_fetch_add(&shared->processes[worker->process].allocated, 1, __ATOMIC_RELAXED);
    return true;
}

static void free_mortal(struct worker *worker)
{
    fastalloc_handle_t handle = let_go(worker);
    child_require(__atomic_load_n(&follow(worker, handle)->owner, __ATOMIC_SEQ_CST) ==
                  worker->identity);
    free_it(worker, handle);
}

/* Whoever is to free it may be dead: what is still there when the place is needed is freed here. */
static void pass_mortal(struct mortal *mortal)
{
    struct worker *worker = &mortal->worker;
    if (mortal->passed == PASSED_MAX) {
        int result = fastalloc_free(worker->pool, mortal->out[0], NULL);
        child_require(is_one_of(result, FASTALLOC_ERR_STALE_HANDLE, 0));
        memmove(mortal->out, mortal->out + 1, --mortal->passed * sizeof(mortal->out[0]));
    }
    fastalloc_handle_t handle = let_go(worker);
    mortal->out[mortal->passed++] = handle;
    ring_put(ring_from(worker->process), handle);
}

static void receive_mortal(struct worker *worker)
{
    fastalloc_handle_t handle;
    if (!ring_take(ring_from(before(worker->process)), &handle))
        return;
    int result = fastalloc_free(worker->pool, handle, NULL);
    child_require(is_one_of(result, FASTALLOC_ERR_STALE_HANDLE, 0));
}

/* It has a cache, and leaves it. */
static void *live_shortly(void *argument)
{
    struct mortal *mortal = argument;
    for (unsigned i = 0; i < 8; i++)
        if (allocate_mortal(mortal))
            free_mortal(&mortal->worker);
    return NULL;
}

static void start_short_life(struct worker *worker)
{
    pthread_t thread;
    struct mortal mortal;
    begin_worker(&mortal.worker, worker->process, 1, worker->pool);
    mortal.worker.random = draw(worker) | 1;
    mortal.passed = 0;
    child_require(pthread_create(&thread, NULL, live_shortly, &mortal) == 0);
    child_require(pthread_join(thread, NULL) == 0);
}

static void live(struct mortal *mortal)
{
    struct worker *worker = &mortal->worker;
    switch (draw(worker) % 8) {
    case 0:
        receive_mortal(worker);
        break;
    case 1:
        if (worker->held > 0)
            pass_mortal(mortal);
        break;
    case 2:
    case 3:
    case 4:
        if (worker->held > 0)
            free_mortal(worker);
        break;
    default:
        if ((worker->held == MORTAL_HOLD || !allocate_mortal(mortal)) && worker->held > 0)
            free_mortal(worker);
    }
    if (worker->held == 0 && draw(worker) % 64 == 0)
        start_short_life(worker);
}

static void be_mortal(unsigned process, fastalloc_pool_t *opened)
{
    struct mortal mortal;
    begin_worker(&mortal.worker, process, 0, opened);
    mortal.worker.random += shared->processes[process].allocated; /* another one each life */
    mortal.passed = 0;
    while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE))
        live(&mortal);
}

/* It says no more, unless it failed. */
static void let_live(const struct test_child *child, unsigned microseconds)
{
    struct pollfd poll_fd = {.fd = child->control, .events = POLLIN};
    struct timespec time = {.tv_nsec = (long)microseconds * 1000};
    ck_assert_int_eq(ppoll(&poll_fd, 1, &time, NULL), 0);
}

static void start_mortal(struct test_child *member, unsigned *number)
{
    test_child_start(member, run_member, number);
    test_child_hear(member, 'r');
    test_child_tell(member, 'g');
}

/* Everybody gets something again, however long others had it. */
static void expect_progress(void)
{
    int64_t deadline = timing_now() + 30 * SECOND;
    for (unsigned i = 0; i < MORTALS; i++) {
        uint64_t *allocated = &shared->processes[i].allocated;
        uint64_t before = __atomic_load_n(allocated, __ATOMIC_RELAXED);
        while (__atomic_load_n(allocated, __ATOMIC_RELAXED) == before) {
            ck_assert_msg(timing_now() < deadline, "number %u waits for ever", i);
            sched_yield();
        }
    }
}

static int count_session(const fastalloc_session_info_t *info, void *context)
{
    (void)info;
    ++*(unsigned *)context;
    return 0;
}

static void await_sessions_end(void)
{
    int64_t deadline = timing_now() + 10 * SECOND;
    unsigned count = 0;
    do {
        ck_assert_msg(timing_now() < deadline, "%u sessions are left", count - 1);
        count = 0;
        ck_assert_int_eq(fastalloc_session_list(connection, count_session, &count, NULL), 0);
    } while (count > 1);
}

/* What people see, by another way. */
static void expect_ctl_says(unsigned capacity, unsigned used)
{
    static struct program ctl;
    char *end;
    const char *path = getenv("FASTALLOCCTL");
    ck_assert_ptr_nonnull(path);
    ck_assert_int_eq(
        program_run(&ctl, (const char *[]){path, "--socket", server.socket, "stats", NULL}), 0);
    const char *row = strstr(ctl.text, POOL);
    ck_assert_ptr_nonnull(row);
    ck_assert_uint_eq(strtoul(row + strlen(POOL), &end, 10), capacity);
    ck_assert_uint_eq(strtoul(end, &end, 10), used);
}

/* One dies, running or stopped; another one may be stopped meanwhile. */
static void kill_one(struct test_child *members, unsigned *numbers, struct worker *chance)
{
    unsigned victim = (unsigned)(draw(chance) % MORTALS);
    unsigned other = (victim + 1 + (unsigned)(draw(chance) % (MORTALS - 1))) % MORTALS;
    bool stop_other = draw(chance) % 4 == 0, stop_victim = draw(chance) % 4 == 0;
    if (stop_other)
        ck_assert_int_eq(kill(members[other].pid, SIGSTOP), 0);
    if (stop_victim) {
        let_live(&members[victim], (unsigned)(draw(chance) % LONGEST_US));
        ck_assert_int_eq(kill(members[victim].pid, SIGSTOP), 0);
    }
    let_live(&members[victim], (unsigned)(draw(chance) % LONGEST_US));
    test_child_kill(&members[victim], SIGKILL);
    start_mortal(&members[victim], &numbers[victim]);
    if (stop_other)
        ck_assert_int_eq(kill(members[other].pid, SIGCONT), 0);
}

START_TEST(test_deaths_at_any_moment_lose_nothing)
{
    struct test_child members[MORTALS];
    unsigned numbers[MORTALS];
    struct worker chance;
    begin_worker(&chance, MORTALS, 0, NULL);
    make_pool(MORTAL_CAPACITY, MORTAL_CAPACITY);
    team = (struct team){.processes = MORTALS, .work = be_mortal};
    start_team(members, numbers);
    for (unsigned i = 0; i < KILLS; i++) {
        kill_one(members, numbers, &chance);
        if (i % 16 == 0)
            expect_progress();
    }
    expect_progress();
    for (unsigned i = 0; i < MORTALS / 2; i++)
        test_child_kill(&members[i], SIGKILL);
    __atomic_store_n(&shared->stop, true, __ATOMIC_RELEASE);
    for (unsigned i = MORTALS / 2; i < MORTALS; i++)
        await_member(&members[i], timing_now() + 30 * SECOND);
    await_sessions_end();
    fastalloc_stats_t stats = stats_now();
    printf("%u kills, %u objects, %u reclaimed\n", KILLS + MORTALS / 2,
           (unsigned)stats.total_allocations, (unsigned)stats.reclaimed);
    ck_assert_uint_gt(stats.reclaimed, 0); /* else no kill ever hit a holder */
    expect_ctl_says(MORTAL_CAPACITY, 0);
    account_for_all(MORTAL_CAPACITY);
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_two_processes_hammer_one_pool,        test_four_processes_use_a_pool_up,
        test_two_processes_share_two_slots,        test_threads_come_and_go,
        test_objects_are_freed_by_another_process, test_the_last_slots_are_freed_by_another_process,
        test_everybody_waits_all_the_time,         test_threads_wait_all_the_time,
        test_one_waits_for_what_the_other_frees,   test_the_pool_grows_meanwhile,
        test_objects_change_hands_meanwhile,       test_two_do_different_things_with_one_object,
        test_deaths_at_any_moment_lose_nothing,
    };
    return suite_run("lease_stress", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
