/* SPDX-License-Identifier: MIT */
/*
 * Leased pools among real processes: none can keep slots from the others by caching, waiting ends with
 * a free wherever it is made, and who is killed leaves nothing, whatever it was doing.
 */
#include <fastalloc/admin.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/timing.h"
#include "tests/unit/suite.h"

#define NAME "objects"
#define CAPACITY 500
#define ALL 3 /* processes */
#define SECONDS INT64_C(1000000000)

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t own[CAPACITY];

/* What the processes share beside the pool. */
static struct {
    fastalloc_handle_t handles[ALL][CAPACITY];
    int32_t stop; /* atomic */
    uint64_t turns[ALL];
} * meeting;

static fastalloc_pool_t *make_pool(bool owner_frees)
{
    fastalloc_pool_t *made;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.kind = FASTALLOC_LEASED;
    options.owner_frees = owner_frees;
    ck_assert_msg(fastalloc_open(connection, NAME, &options, &made, &error) == 0, "%s",
                  error.message);
    return made;
}

static void setup(void)
{
    static const char *const arguments[] = {"--log-level", "error", NULL};
    meeting =
        mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_daemon_start(&server, arguments);
    connection = test_daemon_connect(&server);
    pool = make_pool(false);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(meeting, sizeof(*meeting));
}

/* ---- Help ------------------------------------------------------------------------------------ */

static fastalloc_stats_t stats(void)
{
    fastalloc_stats_t now = FASTALLOC_STATS_INIT;
    ck_assert_int_eq(fastalloc_pool_stats(connection, NAME, &now, NULL), 0);
    return now;
}

static int count_session(const fastalloc_session_info_t *info, void *context)
{
    (void)info;
    ++*(unsigned *)context;
    return 0;
}

/* Until the dead are gone. */
static void await_alone(void)
{
    unsigned sessions;
    int64_t end = timing_now() + 10 * SECONDS;
    do {
        sessions = 0;
        ck_assert_int_eq(fastalloc_session_list(connection, count_session, &sessions, NULL), 0);
        ck_assert(timing_now() < end);
    } while (sessions > 1);
}

static void await_waiters(uint64_t waiters)
{
    int64_t end = timing_now() + 10 * SECONDS;
    while (stats().waiters != waiters)
        ck_assert(timing_now() < end);
}

static uint32_t take(uint32_t from, uint32_t most)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    uint32_t count = from;
    while (count < most && fastalloc_try_allocate(pool, &own[count], &error) == 0)
        count++;
    ck_assert(count == most || error.code == FASTALLOC_ERR_POOL_EXHAUSTED);
    return count;
}

static void give(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        ck_assert_int_eq(fastalloc_free(pool, own[i], NULL), 0);
}

/* So many more can be allocated, and not one beyond. */
static void expect_room(uint32_t room)
{
    uint32_t got = take(0, CAPACITY);
    ck_assert_uint_eq(got, room);
    ck_assert_uint_eq(stats().current_usage, CAPACITY);
    give(0, got);
}

/* ---- Other processes ------------------------------------------------------------------------- */

/*
 * One that does what it is told, by single bytes, with its own row of handles: a = allocate one, A =
 * all there are, f = free the last, w = wait for one, b and B: a batch of 50 is allocated, freed.
 */
struct actor {
    struct test_child child;
    int number;
    uint32_t count;
};

static int act(fastalloc_pool_t *its, fastalloc_handle_t *row, uint32_t *count, char what)
{
    int result = 0;
    switch (what) {
    case 'a':
    case 'w':
        result = fastalloc_allocate(its, what == 'w' ? FASTALLOC_FOREVER : 0, &row[*count], NULL);
        *count += result == 0;
        break;
    case 'A':
        while (fastalloc_try_allocate(its, &row[*count], NULL) == 0)
            ++*count;
        break;
    case 'f':
        result = fastalloc_free(its, row[--*count], NULL);
        break;
    case 'b':
        result = fastalloc_allocate_many(its, 50, 0, row + *count, NULL);
        *count += 50;
        break;
    default:
        *count -= 50;
        result = fastalloc_free_many(its, row + *count, 50, NULL);
    }
    return result;
}

static void play(int control, const void *argument)
{
    fastalloc_connection_t *its_connection;
    fastalloc_pool_t *its = child_open(server.socket, NAME, &its_connection);
    fastalloc_handle_t *row = meeting->handles[*(const int *)argument];
    uint32_t count = 0;
    child_say(control, '!');
    for (char what; (what = child_listen(control)) != 'q' && what != 0;)
        child_say(control, act(its, row, &count, what) == 0 ? '!' : '-');
    fastalloc_disconnect(its_connection);
}

static struct actor enter(int number)
{
    struct actor actor = {.number = number};
    test_child_start(&actor.child, play, &actor.number);
    test_child_hear(&actor.child, '!');
    return actor;
}

static void ask(const struct actor *actor, char what)
{
    test_child_tell(&actor->child, what);
}

static void expect(const struct actor *actor, char what, char answer)
{
    ask(actor, what);
    test_child_hear(&actor->child, answer);
}

static void expect_times(const struct actor *actor, char what, int times)
{
    for (int i = 0; i < times; i++)
        expect(actor, what, '!');
}

static void leave(struct actor *actor)
{
    test_child_tell(&actor->child, 'q');
    ck_assert_int_eq(test_child_join(&actor->child), 0);
}

static void stop(const struct actor *actor)
{
    int status;
    ck_assert_int_eq(kill(actor->child.pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(actor->child.pid, &status, WUNTRACED), actor->child.pid);
}

/* ---- Room ------------------------------------------------------------------------------------ */

START_TEST(test_what_an_idle_process_has_cached_is_there_for_others)
{
    struct actor idle = enter(0);
    expect_times(&idle, 'a', 50);
    ck_assert_uint_gt(stats().cached, 0);
    expect_room(CAPACITY - 50);
    expect_times(&idle, 'f', 20);
    expect_room(CAPACITY - 30);
    leave(&idle);
    await_alone();
    expect_room(CAPACITY);
}
END_TEST

START_TEST(test_what_a_stopped_process_has_cached_is_there_for_others)
{
    struct actor idle = enter(0);
    expect(&idle, 'A', '!');
    for (int i = 0; i < CAPACITY - 7; i++)
        expect(&idle, 'f', '!');
    stop(&idle);
    expect_room(CAPACITY - 7);
    kill(idle.child.pid, SIGCONT);
    expect_times(&idle, 'a', 100); /* its guesses are wrong by now */
    expect_room(CAPACITY - 107);
    leave(&idle);
}
END_TEST

START_TEST(test_batches_find_what_is_cached_all_over)
{
    struct actor actors[ALL];
    for (int i = 0; i < ALL; i++) {
        actors[i] = enter(i);
        expect_times(&actors[i], 'a', 40);
        expect_times(&actors[i], 'f', 39);
    }
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY - ALL, 0, own, NULL), 0);
    for (int i = 0; i < ALL; i++)
        expect(&actors[i], 'a', '-');
    ck_assert_int_eq(fastalloc_free_many(pool, own, CAPACITY - ALL, NULL), 0);
    for (int i = 0; i < ALL; i++) {
        expect_times(&actors[i], 'b', 3);
        expect_times(&actors[i], 'B', 3);
    }
    expect_room(CAPACITY - ALL);
    for (int i = 0; i < ALL; i++)
        leave(&actors[i]);
}
END_TEST

/* ---- Foreign frees --------------------------------------------------------------------------- */

START_TEST(test_anybody_may_free_and_once)
{
    struct actor owner = enter(0);
    expect_times(&owner, 'a', 20);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(fastalloc_free(pool, meeting->handles[0][i], NULL), 0);
        ck_assert_int_eq(fastalloc_free(pool, meeting->handles[0][i], NULL),
                         FASTALLOC_ERR_STALE_HANDLE);
    }
    expect(&owner, 'f', '-');
    expect_room(CAPACITY);
    leave(&owner);
}
END_TEST

START_TEST(test_with_owner_frees_only_the_holder_may)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT, its = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(fastalloc_pool_destroy(connection, NAME, true, NULL), 0);
    fastalloc_close(pool);
    pool = make_pool(true);
    struct actor owner = enter(0);
    expect_times(&owner, 'a', 2);
    fastalloc_handle_t *handles = meeting->handles[0];
    ck_assert_int_eq(fastalloc_free(pool, handles[0], &error), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(fastalloc_release(pool, handles, 1, &its), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_str_eq(error.message, its.message);
    own[0] = handles[1];
    ck_assert_uint_eq(take(1, 3), 3);
    own[3] = handles[0];
    ck_assert_int_eq(fastalloc_free_many(pool, own + 1, 3, &error), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_uint_eq(error.position, 2);
    give(1, 3);
    expect_times(&owner, 'f', 2);
    expect_room(CAPACITY);
    leave(&owner);
}
END_TEST

START_TEST(test_objects_change_hands_and_are_freed_by_the_new_ones)
{
    struct actor owner = enter(0);
    fastalloc_handle_t *handles = meeting->handles[0];
    expect_times(&owner, 'a', 3);
    ck_assert_int_eq(fastalloc_adopt(pool, handles, 3, NULL), 0);
    expect(&owner, 'f', '!'); /* a foreign one by now */
    ck_assert_int_eq(fastalloc_free(pool, handles[2], NULL), FASTALLOC_ERR_STALE_HANDLE);
    test_child_kill(&owner.child, SIGKILL);
    await_alone();
    ck_assert_uint_eq(stats().current_usage, 2);
    ck_assert_int_eq(fastalloc_free_many(pool, handles, 2, NULL), 0);
    expect_room(CAPACITY);
}
END_TEST

/* ---- Waiting --------------------------------------------------------------------------------- */

START_TEST(test_who_waits_is_woken_by_a_free_of_the_owner)
{
    struct actor waiting = enter(0);
    uint32_t all = take(0, CAPACITY);
    for (int round = 0; round < 100; round++) {
        ask(&waiting, 'w');
        await_waiters(1);
        give(all - 1, all);
        test_child_hear(&waiting.child, '!');
        expect(&waiting, 'f', '!');
        ck_assert_uint_eq(take(all - 1, all), all);
    }
    leave(&waiting);
}
END_TEST

START_TEST(test_who_waits_is_woken_by_a_free_of_another_ones_object)
{
    struct actor owner = enter(0), waiting = enter(1);
    expect(&owner, 'A', '!');
    for (int round = 0; round < 100; round++) {
        ask(&waiting, 'w');
        await_waiters(1);
        ck_assert_int_eq(fastalloc_free(pool, meeting->handles[0][round], NULL), 0);
        test_child_hear(&waiting.child, '!');
    }
    ck_assert_uint_eq(stats().current_usage, CAPACITY);
    leave(&owner);
    leave(&waiting);
}
END_TEST

/* Allocates and frees, for as long as the others are at it. */
static void churn(int control, const void *argument)
{
    fastalloc_connection_t *its_connection;
    fastalloc_pool_t *its = child_open(server.socket, NAME, &its_connection);
    fastalloc_handle_t handle;
    uint64_t *turns = &meeting->turns[*(const int *)argument];
    child_say(control, '!');
    while (!__atomic_load_n(&meeting->stop, __ATOMIC_RELAXED))
        if (fastalloc_try_allocate(its, &handle, NULL) == 0) {
            child_require(fastalloc_free(its, handle, NULL) == 0);
            ++*turns;
        }
    fastalloc_disconnect(its_connection);
}

/* Those that churn leave one slot to them all, which must not pass the waiting one by. */
START_TEST(test_who_waits_comes_in_turn_while_others_churn)
{
    static const int numbers[] = {1, 2};
    struct test_child churners[2];
    struct actor waiting = enter(0);
    uint32_t all = take(0, CAPACITY - 1);
    for (int i = 0; i < 2; i++) {
        test_child_start(&churners[i], churn, &numbers[i]);
        test_child_hear(&churners[i], '!');
    }
    for (int round = 0; round < 100; round++) {
        expect(&waiting, 'w', '!');
        expect(&waiting, 'f', '!');
    }
    __atomic_store_n(&meeting->stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(test_child_join(&churners[i]), 0);
    give(0, all);
    leave(&waiting);
    await_alone();
    expect_room(CAPACITY);
}
END_TEST

/* Its slots come free one by one, in caches and out of them, until there are enough. */
START_TEST(test_a_large_request_gathers_what_is_freed_by_everybody)
{
    struct actor owner = enter(0), waiting = enter(1);
    expect_times(&owner, 'b', 5);
    uint32_t all = take(0, CAPACITY);
    ck_assert_uint_eq(all, CAPACITY - 250);
    for (int round = 0; round < 4; round++)
        expect(&owner, 'B', '!');
    ck_assert_uint_eq(take(all, CAPACITY), all + 200);
    ask(&waiting, 'w');
    await_waiters(1);
    ck_assert_int_eq(fastalloc_allocate_many(pool, 2, 0, own + CAPACITY - 2, NULL),
                     FASTALLOC_ERR_POOL_EXHAUSTED);
    give(0, 1);
    test_child_hear(&waiting.child, '!');
    leave(&owner);
    leave(&waiting);
}
END_TEST

/* ---- Death ----------------------------------------------------------------------------------- */

START_TEST(test_a_killed_process_leaves_nothing_of_what_it_had)
{
    for (int round = 0; round < 10; round++) {
        struct actor victim = enter(0);
        expect_times(&victim, 'a', 60);
        expect_times(&victim, 'f', 20);
        for (int i = 0; i < 10; i++)
            ck_assert_int_eq(fastalloc_free(pool, meeting->handles[0][i], NULL), 0);
        test_child_kill(&victim.child, SIGKILL);
        await_alone();
        for (int i = 0; i < 60; i++)
            ck_assert_ptr_null(fastalloc_get(pool, meeting->handles[0][i]));
        fastalloc_stats_t now = stats();
        ck_assert_uint_eq(now.current_usage, 0);
        ck_assert((int)now.reclaimed == 30 * (round + 1));
        expect_room(CAPACITY);
    }
}
END_TEST

START_TEST(test_who_waits_gets_what_a_killed_process_had_cached)
{
    for (int round = 0; round < 10; round++) {
        struct actor victim = enter(0), waiting = enter(1);
        expect(&victim, 'A', '!');
        ask(&waiting, 'w');
        await_waiters(1);
        test_child_kill(&victim.child, SIGKILL);
        test_child_hear(&waiting.child, '!');
        leave(&waiting);
        await_alone();
        expect_room(CAPACITY);
    }
}
END_TEST

/* ---- All at once ----------------------------------------------------------------------------- */

#define STORM_THREADS 3
#define STORM_PROCESSES 3
#define STORM_SHARED 64

/* A handle in each place, or none, that anybody may take and free. */
static struct storm {
    pid_t locks[STORM_SHARED]; /* whose, while it is at the place */
    fastalloc_handle_t handles[STORM_SHARED];
} * storm;

struct storm_thread {
    pthread_t thread;
    fastalloc_pool_t *pool;
    unsigned seed;
};

/* Puts an object into a place, and frees the one that stood there, whoever's it was. */
static void exchange(struct storm_thread *self)
{
    unsigned place = (unsigned)rand_r(&self->seed) % STORM_SHARED;
    fastalloc_handle_t handle, old;
    int64_t timeout = rand_r(&self->seed) % 4 == 0 ? FASTALLOC_FOREVER : 0;
    if (fastalloc_allocate(self->pool, timeout, &handle, NULL) < 0)
        return;
    uint64_t *object = fastalloc_get(self->pool, handle);
    if (!object)
        _exit(1);
    __atomic_store_n(object, handle.tag, __ATOMIC_RELAXED);
    pid_t nobody = 0;
    if (!__atomic_compare_exchange_n(&storm->locks[place], &nobody, getpid(), false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        child_require(*object == handle.tag);
        child_require(fastalloc_free(self->pool, handle, NULL) == 0);
        return;
    }
    old = storm->handles[place];
    storm->handles[place] = handle;
    __atomic_store_n(&storm->locks[place], 0, __ATOMIC_RELEASE);
    object = fastalloc_get(self->pool, old);
    if (!object)
        return; /* it went with whom it was of, who may be killed at any moment */
    uint64_t tag = __atomic_load_n(object, __ATOMIC_RELAXED);
    child_require(tag == old.tag || !fastalloc_still_valid(self->pool, old));
    int result = fastalloc_free(self->pool, old, NULL);
    child_require(result == 0 || result == FASTALLOC_ERR_STALE_HANDLE);
}

static void *storm_on(void *argument)
{
    struct storm_thread *self = argument;
    while (!__atomic_load_n(&meeting->stop, __ATOMIC_RELAXED))
        exchange(self);
    return NULL;
}

static void join_storm(int control, const void *argument)
{
    fastalloc_connection_t *its_connection;
    fastalloc_pool_t *its = child_open(server.socket, NAME, &its_connection);
    struct storm_thread threads[STORM_THREADS];
    (void)argument;
    for (int i = 0; i < STORM_THREADS; i++) {
        threads[i] = (struct storm_thread){.pool = its, .seed = (unsigned)getpid() * 7 + i};
        child_require(pthread_create(&threads[i].thread, NULL, storm_on, &threads[i]) == 0);
    }
    child_say(control, '!');
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    fastalloc_disconnect(its_connection);
}

/* What a killed process had locked is open to others again. */
static void open_places(pid_t killed)
{
    for (int i = 0; i < STORM_SHARED; i++) {
        pid_t holder = killed;
        __atomic_compare_exchange_n(&storm->locks[i], &holder, 0, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

/*
 * Few more slots than there are places, so that it is always about the last ones. Each is killed
 * now and then, and with it goes what it had put anywhere.
 */
START_TEST(test_nothing_is_lost_or_given_twice_in_a_storm)
{
    struct test_child children[STORM_PROCESSES];
    storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t kept = take(0, CAPACITY - STORM_SHARED - 4);
    for (int i = 0; i < STORM_PROCESSES; i++) {
        test_child_start(&children[i], join_storm, NULL);
        test_child_hear(&children[i], '!');
    }
    int64_t end = timing_now() + 2 * SECONDS;
    for (int i = 0; timing_now() < end; i++) {
        uint64_t before = stats().total_allocations;
        while (stats().total_allocations < before + 2000)
            ck_assert(timing_now() < end + 20 * SECONDS);
        pid_t killed = children[i % STORM_PROCESSES].pid;
        test_child_kill(&children[i % STORM_PROCESSES], SIGKILL);
        open_places(killed);
        test_child_start(&children[i % STORM_PROCESSES], join_storm, NULL);
        test_child_hear(&children[i % STORM_PROCESSES], '!');
    }
    for (int i = 0; i < STORM_PROCESSES; i++)
        test_child_kill(&children[i], SIGKILL);
    await_alone();
    ck_assert_uint_eq(stats().current_usage, kept);
    give(0, kept);
    expect_room(CAPACITY);
    munmap(storm, sizeof(*storm));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_what_an_idle_process_has_cached_is_there_for_others,
        test_what_a_stopped_process_has_cached_is_there_for_others,
        test_batches_find_what_is_cached_all_over,
        test_anybody_may_free_and_once,
        test_with_owner_frees_only_the_holder_may,
        test_objects_change_hands_and_are_freed_by_the_new_ones,
        test_who_waits_is_woken_by_a_free_of_the_owner,
        test_who_waits_is_woken_by_a_free_of_another_ones_object,
        test_who_waits_comes_in_turn_while_others_churn,
        test_a_large_request_gathers_what_is_freed_by_everybody,
        test_a_killed_process_leaves_nothing_of_what_it_had,
        test_who_waits_gets_what_a_killed_process_had_cached,
        test_nothing_is_lost_or_given_twice_in_a_storm,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("client_lease_members", setup, teardown, tests,
                     sizeof(tests) / sizeof(tests[0]));
}
