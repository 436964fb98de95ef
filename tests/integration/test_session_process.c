/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a session when its process does something else than live or die: fork, exec, stop,
 * lose its first thread. And who keeps the session's witness mapped keeps its slots.
 */
#define _GNU_SOURCE /* pipe2 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/stage.h"
#include "tests/lib/timing.h"

#define TIMES 50
#define PLENTY_NS INT64_C(300000000) /* three times what reclaiming may take */

struct holder {
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handles[STAGE_CAPACITY];
};

static void hold_all(struct holder *holder)
{
    holder->pool = child_open(stage.daemon.socket, STAGE_POOL, &holder->connection);
    child_require(fastalloc_allocate_many(holder->pool, STAGE_CAPACITY, 0, holder->handles, NULL) ==
                  0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void check_forked(struct holder *holder)
{
    fastalloc_handle_t handle;
    child_require(!fastalloc_get(holder->pool, holder->handles[0]));
    child_require(!fastalloc_still_valid(holder->pool, holder->handles[0]));
    child_require(fastalloc_try_allocate(holder->pool, &handle, NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_free(holder->pool, holder->handles[0], NULL) == FASTALLOC_ERR_FORKED);
    child_require(fastalloc_open(holder->connection, STAGE_POOL, NULL, &holder->pool, NULL) ==
                  FASTALLOC_ERR_FORKED);
}

/* The child of the child, which has inherited all of its parent's, and its end of the control. */
static void survive(struct holder *holder, int control)
{
    fastalloc_connection_t *own;
    fastalloc_handle_t handle;

    prctl(PR_SET_PDEATHSIG, 0);
    child_say(control, 'f');
    while (child_listen(control) == 'u')
        check_forked(holder);
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &own);
    child_require(fastalloc_allocate(pool, STAGE_FOREVER, &handle, NULL) == 0);
    child_require(fastalloc_get(pool, handle) != NULL);
    fastalloc_disconnect(holder->connection);
    fastalloc_disconnect(own);
    child_say(control, 'd');
    _exit(0);
}

static void hold_and_fork(int control, const void *argument)
{
    struct holder holder;
    hold_all(&holder);
    pid_t pid = fork();
    child_require(pid >= 0);
    if (pid == 0)
        survive(&holder, control);
    while (1)
        pause();
}

START_TEST(test_forked_child_does_not_hide_its_parents_death)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        struct test_child child;
        test_child_start(&child, hold_and_fork, NULL);
        test_child_hear(&child, 'f');
        test_child_tell(&child, 'u');
        stage_expect_exhausted();

        int64_t begin = timing_now();
        ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
        timing_add(&timing, stage_take_all() - begin);

        test_child_tell(&child, 'u');
        test_child_tell(&child, 'o');
        test_child_hear(&child, 'd');
        test_child_join(&child);
    }
    ck_assert_uint_ge(stage_stats().reclaimed, TIMES * STAGE_CAPACITY);
    timing_report(&timing, "slots back after SIGKILL, a forked child lives");
}
END_TEST

static void fork_and_go_on(int control, const void *argument)
{
    struct holder holder;
    int status;
    hold_all(&holder);
    pid_t pid = fork();
    child_require(pid >= 0);
    if (pid == 0) {
        check_forked(&holder);
        fastalloc_disconnect(holder.connection);
        _exit(0);
    }
    child_require(waitpid(pid, &status, 0) == pid && status == 0);
    child_require(fastalloc_get(holder.pool, holder.handles[0]) != NULL);
    child_say(control, 'r');
    child_listen(control);
    child_require(fastalloc_free_many(holder.pool, holder.handles, STAGE_CAPACITY, NULL) == 0);
}

START_TEST(test_forked_child_may_close_and_leaves_its_parent_alone)
{
    struct test_child child;
    test_child_start(&child, fork_and_go_on, NULL);
    test_child_hear(&child, 'r');
    stage_expect_exhausted_for(PLENTY_NS);
    test_child_tell(&child, 'x');
    ck_assert_int_eq(test_child_join(&child), 0);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);
}
END_TEST

/* ---- exec ------------------------------------------------------------------------------------ */

/* Becomes a cat, which has the control as its input and output. */
static void hold_and_exec(int control, const void *argument)
{
    struct holder holder;
    hold_all(&holder);
    child_say(control, 'r');
    child_require(child_listen(control) == 'e');
    dup2(control, STDIN_FILENO);
    dup2(control, STDOUT_FILENO);
    execl("/bin/cat", "cat", (char *)NULL);
}

START_TEST(test_exec_ends_the_session)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        struct test_child child;
        test_child_start(&child, hold_and_exec, NULL);
        test_child_hear(&child, 'r');
        stage_expect_exhausted();

        int64_t begin = timing_now();
        test_child_tell(&child, 'e');
        timing_add(&timing, stage_take_all() - begin);
        test_child_tell(&child, 'm'); /* it lives: cat gives it back */
        test_child_hear(&child, 'm');
        test_child_kill(&child, SIGKILL);
    }
    ck_assert_uint_eq(stage_stats().reclaimed, TIMES * STAGE_CAPACITY);
    timing_report(&timing, "slots back after exec");
}
END_TEST

/* ---- Stopping -------------------------------------------------------------------------------- */

static void hold_written(int control, const void *argument)
{
    struct holder holder;
    hold_all(&holder);
    for (unsigned i = 0; i < STAGE_CAPACITY; i++)
        memset(fastalloc_get(holder.pool, holder.handles[i]), (int)i + 1, 64);
    child_require(send(control, holder.handles, sizeof(holder.handles), 0) ==
                  sizeof(holder.handles));
    child_listen(control);
}

static void check_written(const fastalloc_handle_t handles[STAGE_CAPACITY])
{
    for (unsigned i = 0; i < STAGE_CAPACITY; i++) {
        const unsigned char *object = fastalloc_get(stage.pool, handles[i]);
        ck_assert_ptr_nonnull(object);
        for (unsigned j = 0; j < 64; j++)
            ck_assert_uint_eq(object[j], i + 1);
    }
}

START_TEST(test_stopped_process_keeps_its_slots)
{
    struct test_child child;
    fastalloc_handle_t handles[STAGE_CAPACITY];
    int status;
    test_child_start(&child, hold_written, NULL);
    ck_assert_int_eq(recv(child.control, handles, sizeof(handles), MSG_WAITALL), sizeof(handles));
    ck_assert_int_eq(kill(child.pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(child.pid, &status, WUNTRACED), child.pid);
    ck_assert(WIFSTOPPED(status));

    stage_expect_exhausted_for(PLENTY_NS);
    check_written(handles);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);

    struct timing timing = {0};
    int64_t begin = timing_now();
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    timing_add(&timing, stage_take_all() - begin);
    timing_report(&timing, "slots back after SIGKILL of a stopped process");
    for (unsigned i = 0; i < STAGE_CAPACITY; i++)
        ck_assert_ptr_null(fastalloc_get(stage.pool, handles[i]));
    test_child_join(&child);
}
END_TEST

START_TEST(test_continued_process_goes_on)
{
    struct test_child child;
    fastalloc_handle_t handles[STAGE_CAPACITY];
    int status;
    test_child_start(&child, hold_written, NULL);
    ck_assert_int_eq(recv(child.control, handles, sizeof(handles), MSG_WAITALL), sizeof(handles));
    ck_assert_int_eq(kill(child.pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(child.pid, &status, WUNTRACED), child.pid);
    ck_assert_int_eq(kill(child.pid, SIGCONT), 0);

    stage_expect_exhausted_for(PLENTY_NS);
    check_written(handles);
    test_child_tell(&child, 'x');
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

static void *allocate_and_free(void *pool)
{
    fastalloc_handle_t handle;
    while (fastalloc_allocate(pool, FASTALLOC_FOREVER, &handle, NULL) == 0 &&
           fastalloc_free(pool, handle, NULL) == 0)
        continue;
    return NULL;
}

static void run_threads(int control, const void *argument)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool = child_open(stage.daemon.socket, STAGE_POOL, &connection);
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        child_require(pthread_create(&thread, NULL, allocate_and_free, pool) == 0);
    }
    child_say(control, 'r');
    child_listen(control);
}

START_TEST(test_process_with_busy_threads_dies_whole)
{
    struct timing timing = {0};
    for (int i = 0; i < TIMES; i++) {
        struct test_child child;
        test_child_start(&child, run_threads, NULL);
        test_child_hear(&child, 'r');
        int64_t begin = timing_now();
        ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
        timing_add(&timing, stage_take_all() - begin);
        test_child_join(&child);
    }
    timing_report(&timing, "slots back after SIGKILL of eight busy threads");
}
END_TEST

struct thread_of_holder {
    struct holder holder;
    int control;
};

static void *outlive_main(void *argument)
{
    struct thread_of_holder *own = argument;
    child_require(child_listen(own->control) == 'x');
    child_require(
        fastalloc_free_many(own->holder.pool, own->holder.handles, STAGE_CAPACITY, NULL) == 0);
    _exit(0);
}

static void hold_and_end_main(int control, const void *argument)
{
    static struct thread_of_holder own;
    pthread_t thread;
    own.control = control;
    hold_all(&own.holder);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child_require(pthread_create(&thread, NULL, outlive_main, &own) == 0);
    child_say(control, 'r');
    pthread_exit(NULL);
}

START_TEST(test_process_lives_on_without_its_first_thread)
{
    struct test_child child;
    test_child_start(&child, hold_and_end_main, NULL);
    test_child_hear(&child, 'r');
    stage_expect_exhausted_for(PLENTY_NS);
    test_child_tell(&child, 'x');
    ck_assert_int_eq(test_child_join(&child), 0);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);
}
END_TEST

/* ---- The witness ----------------------------------------------------------------------------- */

/* A client of its own make, whose witness a second process has mapped: the argument is that one's pipe. */
static void hold_with_keeper(int control, const void *argument)
{
    static struct bare bare;
    const int *keeper = argument;
    bare_connect(&bare, stage.daemon.socket);
    bare_hello(&bare, true);
    void *witness = mmap(NULL, 4096, PROT_READ, MAP_SHARED, bare.fds[0], 0);
    child_require(witness != MAP_FAILED);
    bare_open(&bare, STAGE_POOL, true);
    bare_allocate(&bare, STAGE_CAPACITY);

    pid_t pid = fork();
    child_require(pid >= 0);
    if (pid == 0) {
        char byte;
        bare_close(&bare);
        close(control);
        close(keeper[1]);
        _exit(read(keeper[0], &byte, 1) == 0 ? 0 : 1);
    }
    child_say(control, 'r');
    child_listen(control);
}

START_TEST(test_mapped_witness_keeps_the_slots_of_the_dead)
{
    struct test_child child;
    int keeper[2];
    ck_assert_int_eq(pipe2(keeper, O_CLOEXEC), 0);
    test_child_start(&child, hold_with_keeper, keeper);
    test_child_hear(&child, 'r');
    close(keeper[0]);
    test_child_kill(&child, SIGKILL);

    stage_expect_exhausted_for(PLENTY_NS);
    ck_assert_uint_eq(stage_stats().reclaimed, 0);
    ck_assert_uint_eq(stage_sessions().orphans, 1);

    struct timing timing = {0};
    int64_t begin = timing_now();
    close(keeper[1]); /* the keeper ends */
    timing_add(&timing, stage_take_all() - begin);
    ck_assert_uint_eq(stage_stats().reclaimed, STAGE_CAPACITY);
    timing_report(&timing, "slots back after the last mapping of a dead client");
}
END_TEST

STAGE_MAIN("session_process", test_forked_child_does_not_hide_its_parents_death,
           test_forked_child_may_close_and_leaves_its_parent_alone, test_exec_ends_the_session,
           test_stopped_process_keeps_its_slots, test_continued_process_goes_on,
           test_process_with_busy_threads_dies_whole,
           test_process_lives_on_without_its_first_thread,
           test_mapped_witness_keeps_the_slots_of_the_dead)
