/* SPDX-License-Identifier: MIT */
/*
 * Who holds an object, across real processes: handed on, detached, held together, and each of them
 * killed. Afterwards the counts are exact.
 */
#include <fastalloc/admin.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/lib/child.h"
#include "tests/lib/kind.h"
#include "tests/lib/stage.h"

#define COUNT 3

/* What the processes share beside the pool. */
struct meeting {
    fastalloc_handle_t handles[COUNT];
    int result;
    uint64_t position; /* of the handle that was refused */
};

/* A process that does with the handles what it is told, a byte each. */
struct actor {
    struct test_child child;
};

static struct meeting *meeting;

/* The pool has one more object in shared memory since something in it was held by several. */
static void share_something(void)
{
    fastalloc_handle_t handle;
    ck_assert_int_eq(fastalloc_try_allocate(stage.pool, &handle, NULL), 0);
    ck_assert_int_eq(fastalloc_retain(stage.pool, &handle, 1, NULL), 0);
    ck_assert_int_eq(fastalloc_release(stage.pool, &handle, 1, NULL), 0);
    ck_assert_int_eq(fastalloc_release(stage.pool, &handle, 1, NULL), 0);
}

static void setup(void)
{
    meeting =
        mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stage_setup();
    share_something();
    stage.objects += stage.objects > 0; /* else they aren't counted */
}

static void teardown(void)
{
    stage_teardown();
    munmap(meeting, sizeof(*meeting));
}

static int act(fastalloc_pool_t *pool, char what, fastalloc_error_t *error)
{
    fastalloc_handle_t *handles = meeting->handles;
    switch (what) {
    case 'a':
        return fastalloc_allocate_many(pool, COUNT, FASTALLOC_NOWAIT, handles, error);
    case 'f':
        return fastalloc_free_many(pool, handles, COUNT, error);
    case 'o':
        return fastalloc_adopt(pool, handles, COUNT, error);
    case 'd':
        return fastalloc_detach(pool, handles, COUNT, error);
    case 'r':
        return fastalloc_retain(pool, handles, COUNT, error);
    default:
        return fastalloc_release(pool, handles, COUNT, error);
    }
}

static void play(int control, const void *name)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, name, &connection);
    child_say(control, '!');
    for (char what; (what = child_listen(control)) != 'q' && what != 0;) {
        fastalloc_error_t error = FASTALLOC_ERROR_INIT;
        meeting->result = act(pool, what, &error);
        meeting->position = error.position;
        child_say(control, '!');
    }
    fastalloc_disconnect(connection);
}

static struct actor enter_pool(const char *name)
{
    struct actor actor;
    test_child_start(&actor.child, play, name);
    test_child_hear(&actor.child, '!');
    return actor;
}

static struct actor enter(void)
{
    return enter_pool(STAGE_POOL);
}

static int tell(const struct actor *actor, char what)
{
    test_child_tell(&actor->child, what);
    test_child_hear(&actor->child, '!');
    return meeting->result;
}

static void leave(struct actor *actor)
{
    test_child_tell(&actor->child, 'q');
    ck_assert_int_eq(test_child_join(&actor->child), 0);
}

static void die(struct actor *actor)
{
    test_child_kill(&actor->child, SIGKILL);
}

/* All the objects are there, or none. */
static void expect_usage(uint64_t usage)
{
    ck_assert_uint_eq(stage_stats().current_usage, usage);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(fastalloc_get(stage.pool, meeting->handles[i]) != NULL, usage > 0);
}

/* When the dead have been buried: so many other sessions are left. */
static void await_sessions(unsigned others)
{
    while (stage_sessions().all != others + 1)
        continue;
}

/* ---- Adopting -------------------------------------------------------------------------------- */

START_TEST(test_what_a_consumer_adopted_outlives_the_producer_but_not_the_consumer)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    memcpy(fastalloc_get(stage.pool, meeting->handles[0]), "made", sizeof("made"));
    ck_assert_int_eq(tell(&consumer, 'o'), 0);
    die(&producer);
    await_sessions(1);
    expect_usage(COUNT);
    ck_assert_str_eq(fastalloc_get(stage.pool, meeting->handles[0]), "made");
    die(&consumer);
    await_sessions(0);
    expect_usage(0);
    ck_assert_uint_eq(stage_stats().reclaimed, COUNT);
}
END_TEST

START_TEST(test_what_nobody_adopted_goes_with_the_producer)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    die(&producer);
    await_sessions(1);
    expect_usage(0);
    ck_assert_int_eq(tell(&consumer, 'o'), FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_uint_eq(meeting->position, 0);
    leave(&consumer);
}
END_TEST

START_TEST(test_what_was_adopted_can_be_adopted_back_and_freed_by_its_holder)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&consumer, 'o'), 0);
    ck_assert_int_eq(tell(&producer, 'o'), 0);
    die(&consumer);
    await_sessions(1);
    expect_usage(COUNT);
    ck_assert_int_eq(tell(&producer, 'f'), 0);
    expect_usage(0);
    leave(&producer);
}
END_TEST

START_TEST(test_one_stale_handle_keeps_all_where_they_are)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    fastalloc_handle_t middle = meeting->handles[1];
    meeting->handles[1].tag++;
    ck_assert_int_eq(tell(&consumer, 'o'), FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_uint_eq(meeting->position, 1);
    meeting->handles[1] = middle;
    die(&consumer);
    await_sessions(1);
    expect_usage(COUNT);
    die(&producer);
    await_sessions(0);
    expect_usage(0);
}
END_TEST

/* ---- Detaching ------------------------------------------------------------------------------- */

START_TEST(test_what_is_detached_outlives_everybody_until_it_is_freed)
{
    struct actor producer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&producer, 'd'), 0);
    die(&producer);
    await_sessions(0);
    expect_usage(COUNT);
    struct actor idle = enter();
    die(&idle);
    await_sessions(0);
    expect_usage(COUNT);
    ck_assert_int_eq(fastalloc_free_many(stage.pool, meeting->handles, COUNT, NULL), 0);
    expect_usage(0);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);
}
END_TEST

START_TEST(test_what_was_detached_goes_with_who_adopted_it)
{
    struct actor producer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&producer, 'd'), 0);
    leave(&producer);
    struct actor consumer = enter();
    ck_assert_int_eq(tell(&consumer, 'o'), 0);
    expect_usage(COUNT);
    die(&consumer);
    await_sessions(0);
    expect_usage(0);
}
END_TEST

/* ---- Holding together ------------------------------------------------------------------------ */

START_TEST(test_what_two_hold_stays_until_both_are_dead)
{
    for (int first = 0; first < 2; first++) {
        struct actor actors[2] = {enter(), enter()};
        ck_assert_int_eq(tell(&actors[0], 'a'), 0);
        ck_assert_int_eq(tell(&actors[1], 'r'), 0);
        die(&actors[first]);
        await_sessions(1);
        expect_usage(COUNT);
        die(&actors[!first]);
        await_sessions(0);
        expect_usage(0);
    }
}
END_TEST

START_TEST(test_what_others_hold_is_neither_freed_nor_adopted_nor_detached_by_others)
{
    struct actor producer = enter(), consumer = enter(), other = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&consumer, 'r'), 0);
    ck_assert_int_eq(tell(&producer, 'f'), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_int_eq(tell(&other, 'f'), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_int_eq(tell(&other, 'o'), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_int_eq(tell(&other, 'd'), FASTALLOC_ERR_OBJECT_SHARED);
    ck_assert_int_eq(tell(&other, 'e'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_uint_eq(meeting->position, 0);
    expect_usage(COUNT);
    leave(&consumer);
    await_sessions(2);
    ck_assert_int_eq(tell(&producer, 'f'), 0);
    expect_usage(0);
    leave(&producer);
    leave(&other);
}
END_TEST

START_TEST(test_each_hold_is_released_once_and_the_last_frees)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&consumer, 'r'), 0);
    ck_assert_int_eq(tell(&consumer, 'r'), 0);
    ck_assert_int_eq(tell(&producer, 'e'), 0);
    ck_assert_int_eq(tell(&producer, 'e'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(tell(&consumer, 'e'), 0);
    expect_usage(COUNT);
    ck_assert_int_eq(tell(&consumer, 'e'), 0);
    expect_usage(0);
    ck_assert_int_eq(tell(&consumer, 'e'), FASTALLOC_ERR_STALE_HANDLE);
    leave(&producer);
    leave(&consumer);
}
END_TEST

START_TEST(test_all_holds_of_the_dead_are_given_up)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(tell(&consumer, 'r'), 0);
    die(&consumer);
    await_sessions(1);
    expect_usage(COUNT);
    ck_assert_int_eq(tell(&producer, 'e'), 0);
    expect_usage(0);
    leave(&producer);
}
END_TEST

START_TEST(test_a_detached_object_that_is_retained_outlives_who_retained_it)
{
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&producer, 'd'), 0);
    ck_assert_int_eq(tell(&consumer, 'r'), 0);
    die(&consumer);
    die(&producer);
    await_sessions(0);
    expect_usage(COUNT);
    ck_assert_int_eq(fastalloc_adopt(stage.pool, meeting->handles, COUNT, NULL), 0);
    ck_assert_int_eq(fastalloc_release(stage.pool, meeting->handles, COUNT, NULL), 0);
    expect_usage(0);
}
END_TEST

/* ---- Only the owner -------------------------------------------------------------------------- */

START_TEST(test_where_only_the_owner_frees_others_wait_until_it_lets_go)
{
    fastalloc_pool_t *pool;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 64;
    options.capacity = 8;
    options.owner_frees = true;
    ck_assert_int_eq(fastalloc_open(stage.connection, "owned", &options, &pool, NULL), 0);
    struct actor producer = enter_pool("owned"), consumer = enter_pool("owned");
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&consumer, 'f'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(tell(&consumer, 'o'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(tell(&consumer, 'd'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(tell(&producer, 'd'), 0);
    ck_assert_int_eq(tell(&consumer, 'o'), 0);
    ck_assert_int_eq(tell(&producer, 'f'), FASTALLOC_ERR_NOT_HOLDER);
    ck_assert_int_eq(tell(&consumer, 'f'), 0);
    leave(&producer);
    leave(&consumer);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, "owned", true, NULL), 0);
    fastalloc_close(pool);
}
END_TEST

/* ---- Who it is ------------------------------------------------------------------------------- */

struct found {
    unsigned count;
    fastalloc_holder_info_t infos[8];
};

static int find(const fastalloc_holder_info_t *info, void *context)
{
    struct found *found = context;
    found->infos[found->count++] = *info;
    return 0;
}

START_TEST(test_holders_are_listed_most_first_and_those_who_only_retain_as_well)
{
    struct found found = {0};
    struct actor producer = enter(), consumer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    stage_take(COUNT + 1);
    ck_assert_int_eq(tell(&consumer, 'r'), 0);
    ck_assert_int_eq(fastalloc_detach(stage.pool, meeting->handles, 0, NULL),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_int_eq(fastalloc_holder_list(stage.connection, STAGE_POOL, find, &found, NULL), 0);
    ck_assert_uint_eq(found.count, 3);
    ck_assert_uint_eq(found.infos[0].session, fastalloc_session(stage.connection));
    ck_assert_uint_eq(found.infos[0].slots, COUNT + 1);
    ck_assert(found.infos[0].oldest > 0 || test_is_leased()); /* there it is seen just now */
    ck_assert_int_eq(found.infos[1].pid, producer.child.pid);
    ck_assert_uint_eq(found.infos[1].slots, COUNT);
    ck_assert_int_eq(found.infos[2].pid, consumer.child.pid);
    ck_assert_uint_eq(found.infos[2].slots, COUNT);
    ck_assert(found.infos[2].connected);
    stage_give_back();
    leave(&producer);
    leave(&consumer);
}
END_TEST

START_TEST(test_what_is_detached_is_held_by_the_pool_itself)
{
    struct found found = {0};
    struct actor producer = enter();
    ck_assert_int_eq(tell(&producer, 'a'), 0);
    ck_assert_int_eq(tell(&producer, 'd'), 0);
    leave(&producer);
    await_sessions(0);
    ck_assert_int_eq(fastalloc_holder_list(stage.connection, STAGE_POOL, find, &found, NULL), 0);
    ck_assert_uint_eq(found.count, 1);
    ck_assert_uint_eq(found.infos[0].session, 0);
    ck_assert_uint_eq(found.infos[0].slots, COUNT);
    ck_assert_int_eq(fastalloc_free_many(stage.pool, meeting->handles, COUNT, NULL), 0);
}
END_TEST

/* ---- Many ------------------------------------------------------------------------------------ */

/* Allocates, detaches, adopts, retains and releases, until it is killed. */
static void hold_and_let_go(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t own[COUNT];
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    (void)argument;
    child_say(control, '!');
    for (;;) {
        if (fastalloc_allocate_many(pool, COUNT, FASTALLOC_NOWAIT, own, NULL) < 0)
            continue;
        if (fastalloc_detach(pool, own, 1, NULL) < 0 || fastalloc_adopt(pool, own, 1, NULL) < 0 ||
            fastalloc_retain(pool, own, COUNT, NULL) < 0 ||
            fastalloc_release(pool, own, COUNT, NULL) < 0 ||
            fastalloc_release(pool, own, COUNT, NULL) < 0)
            _exit(1);
    }
}

/* What was detached at that moment is the pool's: one object at most for each that was killed. */
static void free_detached(unsigned most)
{
    struct found found = {0};
    fastalloc_stats_t stats = stage_stats();
    ck_assert_uint_le(stats.current_usage, most);
    ck_assert_int_eq(fastalloc_holder_list(stage.connection, STAGE_POOL, find, &found, NULL), 0);
    ck_assert_uint_eq(found.count, stats.current_usage > 0);
    if (found.count > 0)
        ck_assert_uint_eq(found.infos[0].slots, stats.current_usage);
}

START_TEST(test_processes_killed_in_the_middle_of_it_leave_nothing_that_is_held)
{
    struct test_child children[8];
    for (int i = 0; i < 8; i++) {
        test_child_start(&children[i], hold_and_let_go, NULL);
        test_child_hear(&children[i], '!');
    }
    uint64_t allocated = stage_stats().total_allocations;
    while (stage_stats().total_allocations < allocated + 1000)
        continue;
    for (int i = 0; i < 8; i++)
        test_child_kill(&children[i], SIGKILL);
    await_sessions(0);
    free_detached(8);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, STAGE_POOL, true, NULL), 0);
    fastalloc_close(stage.pool);
    stage.pool = test_daemon_pool(stage.connection, STAGE_POOL, 64, STAGE_CAPACITY);
    share_something();
}
END_TEST

START_TEST(test_who_has_all_the_holds_may_free)
{
    for (const char *what = "arrf"; *what; what++)
        ck_assert_int_eq(act(stage.pool, *what, NULL), 0);
    ck_assert_ptr_null(fastalloc_get(stage.pool, meeting->handles[0]));
    ck_assert_int_eq(act(stage.pool, '-', NULL), FASTALLOC_ERR_STALE_HANDLE);
}
END_TEST

START_TEST(test_a_pool_that_was_destroyed_is_said_to_be_whatever_is_done)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    ck_assert_int_eq(act(stage.pool, 'a', NULL), 0);
    ck_assert_int_eq(fastalloc_pool_destroy(stage.connection, STAGE_POOL, true, NULL), 0);
    for (const char *what = "afodr-"; *what; what++)
        ck_assert_int_eq(act(stage.pool, *what, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_int_eq(fastalloc_cancel(stage.pool, &error), FASTALLOC_ERR_POOL_DESTROYED);
    ck_assert_str_eq(error.pool, STAGE_POOL);
    fastalloc_close(stage.pool);
    stage.pool = test_daemon_pool(stage.connection, STAGE_POOL, 64, STAGE_CAPACITY);
    share_something();
}
END_TEST

static int run_suite(void)
{
    const TTest *const tests[] = {
        test_what_a_consumer_adopted_outlives_the_producer_but_not_the_consumer,
        test_what_nobody_adopted_goes_with_the_producer,
        test_what_was_adopted_can_be_adopted_back_and_freed_by_its_holder,
        test_one_stale_handle_keeps_all_where_they_are,
        test_what_is_detached_outlives_everybody_until_it_is_freed,
        test_what_was_detached_goes_with_who_adopted_it,
        test_what_two_hold_stays_until_both_are_dead,
        test_what_others_hold_is_neither_freed_nor_adopted_nor_detached_by_others,
        test_each_hold_is_released_once_and_the_last_frees,
        test_all_holds_of_the_dead_are_given_up,
        test_a_detached_object_that_is_retained_outlives_who_retained_it,
        test_where_only_the_owner_frees_others_wait_until_it_lets_go,
        test_who_has_all_the_holds_may_free,
        test_a_pool_that_was_destroyed_is_said_to_be_whatever_is_done,
        test_holders_are_listed_most_first_and_those_who_only_retain_as_well,
        test_what_is_detached_is_held_by_the_pool_itself,
        test_processes_killed_in_the_middle_of_it_leave_nothing_that_is_held,
    };
    return suite_run("client_hold", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
    return test_daemon_is_built() ? run_suite() : 77;
}
