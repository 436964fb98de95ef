/* SPDX-License-Identifier: MIT */
/*
 * The daemon is killed at random instants, again and again, and started anew, while processes allocate,
 * free, share and hand on objects of brokered and leased pools. None of their calls fails. What they
 * say they did is a history that is checked as it happens: no slot is allocated twice, none that was
 * allocated is lost, and what an object held is there until it is freed. In the end what they hold is
 * exactly what is allocated.
 *
 * FASTALLOC_EFFORT: how often all of it. FASTALLOC_SEED chooses what is drawn; it is printed.
 */
#define _GNU_SOURCE /* ppoll */
#include <fastalloc/admin.h>

#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/effort.h"
#include "tests/lib/timing.h"

#define SUITE_TIMEOUT 600
#include "tests/unit/suite.h"

#define KILLS 60
#define OPERATIONS 100000
#define WORKERS 4u
#define POOLS 2u
#define CAPACITY 64u
#define HELD_MAX 24u /* of a worker in a pool: together more than there are */
#define BATCH 4u
#define LETTERS 8u       /* objects that are on their way from one to another */
#define BRIEF_US 4000    /* that a daemon lives at most, in a storm */
#define LONG_US 40000    /* and in a history */
#define PATIENCE 5000000 /* ns that a request waits for others */
#define SOON 10000000000 /* ns, for what must happen */

/* In each object; so that whoever frees it knows what must be there. */
struct content {
    uint64_t tag;
    uint64_t worker;
    uint64_t number;
    uint64_t check;
};

/* What all share. */
struct board {
    _Atomic uint64_t owner[POOLS][CAPACITY]; /* of the object in the slot, + 1; 0 = free */
    _Atomic uint64_t progress[WORKERS];      /* calls that came back */
    _Atomic uint64_t operations;             /* objects that were allocated, freed, ... */
    _Atomic bool stop;
    atomic_flag letter_lock;
    struct letter {
        uint32_t pool;
        fastalloc_handle_t handle; /* pool 0: none */
    } letters[LETTERS];
    struct report {
        uint32_t count[POOLS];
        fastalloc_handle_t held[POOLS][HELD_MAX];
    } reports[WORKERS];
};

static struct test_daemon server;
static struct board *board;
static const char *const names[POOLS] = {"brokered", "leased"};

/* ---- A worker -------------------------------------------------------------------------------- */

struct worker {
    unsigned number;
    uint64_t chance;
    uint64_t objects;
    fastalloc_pool_t *pools[POOLS];
    uint32_t count[POOLS];
    fastalloc_handle_t held[POOLS][HELD_MAX];
    fastalloc_error_t error;
};

static uint64_t draw(struct worker *worker, uint64_t below)
{
    worker->chance = worker->chance * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (worker->chance >> 33) % below;
}

/* A call came back with the result; of `count` objects. */
static bool came_back(struct worker *worker, int result, uint32_t count)
{
    if (result != 0 && result != FASTALLOC_ERR_TIMEOUT) {
        fprintf(stderr, "worker %u: %s: %s\n", worker->number, fastalloc_result_name(result),
                worker->error.message);
        child_require(false);
    }
    atomic_fetch_add(&board->progress[worker->number], 1);
    atomic_fetch_add(&board->operations, result == 0 ? count : 0);
    return result == 0;
}

/* Before anybody else can allocate the slot: it was this worker's, or a letter. */
static void let_go(struct worker *worker, unsigned pool, fastalloc_handle_t handle)
{
    uint64_t was = atomic_exchange(&board->owner[pool][handle.index], 0);
    child_require(was == worker->number + 1);
}

static void take_hold(struct worker *worker, unsigned pool, fastalloc_handle_t handle)
{
    uint64_t was = atomic_exchange(&board->owner[pool][handle.index], worker->number + 1);
    child_require(was == 0); /* else it is allocated twice */
    worker->held[pool][worker->count[pool]++] = handle;
}

static struct content *must_get(struct worker *worker, unsigned pool, fastalloc_handle_t handle)
{
    struct content *content = fastalloc_get(worker->pools[pool], handle);
    child_require(content != NULL);
    if (!content)
        abort(); /* which the line above has seen to */
    return content;
}

static void write_content(struct worker *worker, unsigned pool, fastalloc_handle_t handle)
{
    struct content *content = must_get(worker, pool, handle);
    *content = (struct content){handle.tag, worker->number, ++worker->objects, 0};
    content->check = content->tag ^ content->worker ^ content->number;
}

static void check_content(struct worker *worker, unsigned pool, fastalloc_handle_t handle)
{
    const struct content *content = must_get(worker, pool, handle);
    child_require(content->tag == handle.tag);
    child_require(content->check == (content->tag ^ content->worker ^ content->number));
}

static void allocate(struct worker *worker, unsigned pool)
{
    fastalloc_handle_t handles[BATCH];
    uint32_t count = 1 + (uint32_t)draw(worker, BATCH);
    if (worker->count[pool] + count > HELD_MAX)
        return;
    int result =
        fastalloc_allocate_many(worker->pools[pool], count, PATIENCE, handles, &worker->error);
    if (!came_back(worker, result, count))
        return;
    for (uint32_t i = 0; i < count; i++) {
        take_hold(worker, pool, handles[i]);
        write_content(worker, pool, handles[i]);
    }
}

/* One of those held, which isn't in the list any more. */
static fastalloc_handle_t pick(struct worker *worker, unsigned pool)
{
    uint32_t at = (uint32_t)draw(worker, worker->count[pool]);
    fastalloc_handle_t handle = worker->held[pool][at];
    worker->held[pool][at] = worker->held[pool][--worker->count[pool]];
    check_content(worker, pool, handle);
    return handle;
}

static void give_back(struct worker *worker, unsigned pool)
{
    fastalloc_handle_t handles[BATCH];
    uint32_t count = 1 + (uint32_t)draw(worker, BATCH);
    if (count > worker->count[pool])
        return;
    for (uint32_t i = 0; i < count; i++) {
        handles[i] = pick(worker, pool);
        let_go(worker, pool, handles[i]);
    }
    child_require(came_back(
        worker, fastalloc_free_many(worker->pools[pool], handles, count, &worker->error), count));
    child_require(!fastalloc_still_valid(worker->pools[pool], handles[0]));
}

/* Held once more, and given up as often. */
static void share(struct worker *worker, unsigned pool)
{
    if (worker->count[pool] == 0)
        return;
    fastalloc_pool_t *of = worker->pools[pool];
    fastalloc_handle_t handle = pick(worker, pool);
    child_require(came_back(worker, fastalloc_retain(of, &handle, 1, &worker->error), 1));
    check_content(worker, pool, handle);
    child_require(came_back(worker, fastalloc_release(of, &handle, 1, &worker->error), 1));
    check_content(worker, pool, handle);
    let_go(worker, pool, handle);
    child_require(came_back(worker, fastalloc_release(of, &handle, 1, &worker->error), 1));
    child_require(!fastalloc_still_valid(of, handle));
}

static void lock_letters(void)
{
    while (atomic_flag_test_and_set(&board->letter_lock))
        sched_yield();
}

static void unlock_letters(void)
{
    atomic_flag_clear(&board->letter_lock);
}

/* Puts the letter where there is none, or takes the one there. Whether it did. */
static bool exchange_letter(unsigned at, struct letter *letter)
{
    lock_letters();
    bool puts = letter->handle.pool != 0;
    bool free = board->letters[at].handle.pool == 0;
    bool done = puts == free;
    if (done) {
        struct letter other = board->letters[at];
        board->letters[at] = puts ? *letter : (struct letter){0};
        *letter = other;
    }
    unlock_letters();
    return done;
}

/* The pool holds what is on its way. */
static void send(struct worker *worker, unsigned pool)
{
    if (worker->count[pool] == 0)
        return;
    fastalloc_handle_t handle = pick(worker, pool);
    struct letter letter = {pool, handle};
    child_require(
        came_back(worker, fastalloc_detach(worker->pools[pool], &handle, 1, &worker->error), 1));
    let_go(worker, pool, handle);
    if (exchange_letter((unsigned)draw(worker, LETTERS), &letter))
        return;
    child_require(
        came_back(worker, fastalloc_adopt(worker->pools[pool], &handle, 1, &worker->error), 1));
    take_hold(worker, pool, handle);
}

static void receive(struct worker *worker)
{
    struct letter letter = {0};
    unsigned at = (unsigned)draw(worker, LETTERS);
    if (worker->count[0] == HELD_MAX || worker->count[1] == HELD_MAX ||
        !exchange_letter(at, &letter) || letter.handle.pool == 0)
        return;
    check_content(worker, letter.pool, letter.handle);
    child_require(came_back(
        worker, fastalloc_adopt(worker->pools[letter.pool], &letter.handle, 1, &worker->error), 1));
    take_hold(worker, letter.pool, letter.handle);
}

static void do_something(struct worker *worker)
{
    unsigned pool = (unsigned)draw(worker, POOLS);
    switch (draw(worker, 10)) {
    case 0:
        share(worker, pool);
        break;
    case 1:
        send(worker, pool);
        break;
    case 2:
        receive(worker);
        break;
    case 3:
    case 4:
    case 5:
        give_back(worker, pool);
        break;
    default:
        allocate(worker, pool);
    }
}

static void report(const struct worker *worker)
{
    struct report *mine = &board->reports[worker->number];
    memcpy(mine->count, worker->count, sizeof(mine->count));
    memcpy(mine->held, worker->held, sizeof(mine->held));
}

static void work(int control, const void *argument)
{
    static struct worker worker;
    fastalloc_connection_t *connection;
    worker.number = *(const unsigned *)argument;
    worker.chance = worker.number + 1;
    worker.error = FASTALLOC_ERROR_INIT;
    worker.pools[0] = child_open(server.socket, names[0], &connection);
    child_require(fastalloc_open(connection, names[1], NULL, &worker.pools[1], NULL) == 0);
    child_say(control, 'r');
    while (!atomic_load(&board->stop))
        do_something(&worker);
    report(&worker);
    child_say(control, 'd');
    child_listen(control);
    fastalloc_disconnect(connection);
}

/* ---- Storms ---------------------------------------------------------------------------------- */

static fastalloc_connection_t *connection;
static fastalloc_pool_t *pools[POOLS];
static struct test_child children[WORKERS];
static const unsigned numbers[WORKERS] = {0, 1, 2, 3};

static fastalloc_pool_t *make_pool(unsigned which)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *made;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.kind = which == 0 ? FASTALLOC_BROKERED : FASTALLOC_LEASED;
    ck_assert_msg(fastalloc_open(connection, names[which], &options, &made, &error) == 0, "%s",
                  error.message);
    return made;
}

static void set_up(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(board, MAP_FAILED);
    test_daemon_start(&server, NULL);
    connection = test_daemon_connect(&server);
    for (unsigned i = 0; i < POOLS; i++)
        pools[i] = make_pool(i);
    for (unsigned i = 0; i < WORKERS; i++) {
        test_child_start(&children[i], work, &numbers[i]);
        test_child_hear(&children[i], 'r');
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        test_child_tell(&children[i], 'x');
        ck_assert_int_eq(test_child_join(&children[i]), 0);
    }
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(board, sizeof(*board));
}

static void wait_a_little(long microseconds)
{
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    ppoll(NULL, 0, &time, NULL);
}

/* Until each worker's calls come back again. */
static void await_all(const uint64_t before[WORKERS], int64_t begin, struct timing *timing)
{
    bool back[WORKERS] = {false};
    for (unsigned count = 0; count < WORKERS;) {
        ck_assert_int_lt(timing_now() - begin, SOON);
        for (unsigned i = 0; i < WORKERS; i++)
            if (!back[i] && atomic_load(&board->progress[i]) > before[i] + 1) {
                back[i] = true;
                count++;
                timing_add(timing, timing_now() - begin);
            }
        if (count < WORKERS)
            wait_a_little(50);
    }
}

static void kill_daemon(void)
{
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
}

/* So many kills at least, and operations; returns how many kills. */
static unsigned storm(unsigned kills, uint64_t operations, long longest_us, struct timing *timing)
{
    uint64_t before[WORKERS];
    unsigned i = 0;
    for (; i < kills || atomic_load(&board->operations) < operations; i++) {
        wait_a_little(random() % longest_us);
        kill_daemon();
        for (unsigned j = 0; j < WORKERS; j++)
            before[j] = atomic_load(&board->progress[j]);
        int64_t begin = timing_now();
        test_daemon_restart(&server, NULL);
        if (i % 4 != 0) /* else it is killed while they come back, or while it starts */
            await_all(before, begin, timing);
    }
    return i;
}

static void check_held(unsigned pool, fastalloc_handle_t handle)
{
    const struct content *content = fastalloc_get(pools[pool], handle);
    ck_assert_ptr_nonnull(content);
    ck_assert_uint_eq(content->tag, handle.tag);
    ck_assert_uint_eq(content->check, content->tag ^ content->worker ^ content->number);
}

/* Both sides say the same: what the workers hold, and what is on its way, is what is allocated. */
static void compare(void)
{
    uint64_t held[POOLS] = {0};
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned pool = 0; pool < POOLS; pool++)
            for (uint32_t j = 0; j < board->reports[i].count[pool]; j++) {
                check_held(pool, board->reports[i].held[pool][j]);
                held[pool]++;
            }
    for (unsigned i = 0; i < LETTERS; i++)
        if (board->letters[i].handle.pool != 0) {
            check_held(board->letters[i].pool, board->letters[i].handle);
            held[board->letters[i].pool]++;
        }
    for (unsigned pool = 0; pool < POOLS; pool++) {
        fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
        ck_assert_msg(fastalloc_pool_stats(connection, names[pool], &stats, &error) == 0, "%s",
                      error.message);
        ck_assert_uint_eq(stats.current_usage, held[pool]);
        ck_assert_uint_eq(stats.waiters, 0);
    }
}

/* They are nobody's, and would stay for the next daemon. */
static void free_letters(void)
{
    for (unsigned i = 0; i < LETTERS; i++) {
        const struct letter *letter = &board->letters[i];
        if (letter->handle.pool != 0)
            ck_assert_int_eq(fastalloc_free(pools[letter->pool], letter->handle, NULL), 0);
    }
}

static void weather(unsigned kills, uint64_t operations, long longest_us)
{
    static struct timing timing;
    test_seed();
    unsigned count = storm(kills, operations, longest_us, &timing);
    atomic_store(&board->stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        test_child_hear(&children[i], 'd');
    compare();
    test_daemon_check(connection);
    free_letters();
    printf("%u kills, %" PRIu64 " operations\n", count, (uint64_t)atomic_load(&board->operations));
    timing_report(&timing, "until a call comes back, from the daemon's start");
}

START_TEST(test_a_daemon_killed_again_and_again_loses_nothing)
{
    weather(KILLS * test_effort(), 0, BRIEF_US);
}
END_TEST

START_TEST(test_a_history_with_deaths_of_the_daemon_is_right)
{
    weather(1, OPERATIONS * (uint64_t)test_effort(), LONG_US);
}
END_TEST

int main(void)
{
    if (!test_daemon_is_built())
        return 77;
    const TTest *const tests[] = {test_a_daemon_killed_again_and_again_loses_nothing,
                                  test_a_history_with_deaths_of_the_daemon_is_right};
    return suite_run("daemon storm", set_up, tear_down, tests, 2);
}
