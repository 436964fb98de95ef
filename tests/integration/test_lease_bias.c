/* SPDX-License-Identifier: MIT */
/*
 * Biased threads, at every instruction: a process is stopped after the first, the second, the third, ...
 * of an allocation or a free, and meanwhile the daemon takes back what is cached, or another process
 * frees, adopts or retains the very object, or it is killed. Then it goes on.
 *
 * Each time it is a process of its own, since who is revoked by a member stays so.
 */
#include <fastalloc/admin.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bias.h"
#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define NAME "objects"
#define CAPACITY 40u

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t own[CAPACITY];
static uint32_t own_count;

/* What both processes know. */
static struct {
    fastalloc_handle_t handle;
    int result;
    bool biased; /* its slot is its thread's own, which may store plainly */
} * meeting;

static void setup(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    meeting =
        mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(meeting != MAP_FAILED);
    test_daemon_start(&server, (const char *const[]){"--log-level", "error", NULL});
    connection = test_daemon_connect(&server);
    options.create = true;
    options.kind = FASTALLOC_LEASED;
    options.object_size = 64;
    options.capacity = CAPACITY;
    ck_assert_msg(fastalloc_open(connection, NAME, &options, &pool, &error) == 0, "%s",
                  error.message);
}

/* Nothing of it stays in our cache, so that there are slots to be granted to others. */
static void reopen(void)
{
    fastalloc_close(pool);
    ck_assert_int_eq(fastalloc_open(connection, NAME, NULL, &pool, NULL), 0);
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(meeting, sizeof(*meeting));
}

/* ---- The process that is stopped ------------------------------------------------------------- */

static void allocates(fastalloc_pool_t *opened)
{
    meeting->result = fastalloc_try_allocate(opened, &meeting->handle, NULL);
}

static void frees(fastalloc_pool_t *opened)
{
    meeting->result = fastalloc_free(opened, meeting->handle, NULL);
}

/* The lines of threads stand before the words. */
static bool is_biased(const fastalloc_pool_t *opened, uint32_t index)
{
    const uint64_t *words = fastalloc_pool_view(opened)->words;
    const struct layout_thread *lines = (const struct layout_thread *)(const void *)words;
    uint32_t number = slot_member(words[index]);
    return bias_is_thread(number) && !bias_is_revoked(lines - (SLOT_MEMBER_POOL - number));
}

/* Its thread has slots, and one object if it is to free it. */
static void warm_up(fastalloc_pool_t *opened, bool keeps)
{
    fastalloc_handle_t handle;
    for (unsigned i = 0; i < 3; i++) {
        child_require(fastalloc_try_allocate(opened, &handle, NULL) == 0);
        child_require(fastalloc_free(opened, handle, NULL) == 0);
    }
    child_require(fastalloc_try_allocate(opened, &handle, NULL) == 0);
    meeting->biased = is_biased(opened, handle.index);
    meeting->handle = handle;
    child_require(keeps || fastalloc_free(opened, handle, NULL) == 0);
}

/* From one stop to the next it does this. */
static void be_stopped(void (*does)(fastalloc_pool_t *opened))
{
    fastalloc_connection_t *mine;
    fastalloc_pool_t *opened = child_open(server.socket, NAME, &mine);
    warm_up(opened, does == frees);
    meeting->result = 1;
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    does(opened);
    raise(SIGSTOP);
    fastalloc_disconnect(mine);
    _exit(0);
}

static bool is_at_stop(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSTOPPED(status), "it ended: status 0x%x", (unsigned)status);
    return WSTOPSIG(status) == SIGSTOP;
}

/* False: it was through before. */
static bool stop_after(pid_t pid, unsigned instructions)
{
    ck_assert(is_at_stop(pid));
    for (unsigned i = 0; i < instructions; i++) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        if (is_at_stop(pid))
            return false;
    }
    return true;
}

static void let_go_on(pid_t pid)
{
    ck_assert_int_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
}

static void await_end(pid_t pid)
{
    int status;
    let_go_on(pid);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* ---- The other one --------------------------------------------------------------------------- */

/* As many as there are. */
static void take_all(void)
{
    int result = 0;
    while (result == 0) {
        ck_assert_uint_lt(own_count, CAPACITY + 1);
        result = fastalloc_try_allocate(pool, &own[own_count % CAPACITY], NULL);
        own_count += result == 0;
    }
    ck_assert_int_eq(result, FASTALLOC_ERR_POOL_EXHAUSTED);
}

static void give_all(void)
{
    for (; own_count > 0; own_count--)
        ck_assert_int_eq(fastalloc_free(pool, own[own_count - 1], NULL), 0);
}

static bool has_slot(uint32_t index)
{
    for (uint32_t i = 0; i < own_count; i++)
        if (own[i].index == index)
            return true;
    return false;
}

/* All of them, once that process is gone; whoever is in the middle of what. */
static void account_for_all(void)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    give_all();
    ck_assert_int_eq(fastalloc_allocate_many(pool, CAPACITY, 10 * FASTALLOC_SECOND, own, NULL), 0);
    own_count = CAPACITY;
    give_all();
    reopen();
    ck_assert_int_eq(fastalloc_pool_show(connection, NAME, &info, NULL), 0);
    ck_assert(!info.damaged);
}

/* ---- At every instruction -------------------------------------------------------------------- */

/* After each; or every so manieth, where they are more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 12u
#elif !defined(__OPTIMIZE__)
#define STRIDE 3u
#else
#define STRIDE 1u
#endif

#define POSITIONS 20u /* in which it must have been stopped at least */

static int acted; /* what the other one got for it */

/* Whether it was stopped in the middle of it. */
static bool act_after(unsigned instructions, void (*does)(fastalloc_pool_t *opened),
                      void (*acts)(void), void (*check)(void))
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        be_stopped(does);
    bool amid = stop_after(pid, instructions);
    ck_assert(meeting->biased);
    if (amid) {
        acts();
        let_go_on(pid);
        ck_assert(is_at_stop(pid));
        check();
    }
    await_end(pid);
    account_for_all();
    return amid;
}

static void act_everywhere(void (*does)(fastalloc_pool_t *opened), void (*acts)(void),
                           void (*check)(void))
{
    unsigned positions = 0;
    while (act_after(positions * STRIDE, does, acts, check))
        positions++;
    ck_assert_uint_gt(positions, POSITIONS);
}

/* ---- Taken back ------------------------------------------------------------------------------ */

static unsigned held; /* times that it was in the middle, and one slot fewer was to be had */

static void count_held(void)
{
    take_all();
    held += own_count < CAPACITY;
}

/* Who was stopped in the middle has the one that was missing. */
static void check_it_got_the_last_one(void)
{
    bool got = meeting->result == 0;
    ck_assert(got || meeting->result == FASTALLOC_ERR_POOL_EXHAUSTED);
    ck_assert_uint_eq(own_count + got, CAPACITY);
    ck_assert(!got || !has_slot(meeting->handle.index));
    ck_assert(!got || fastalloc_get(pool, meeting->handle) != NULL);
}

START_TEST(test_everything_is_taken_back_while_it_allocates)
{
    act_everywhere(allocates, count_held, check_it_got_the_last_one);
    ck_assert_uint_gt(held, 0);
}
END_TEST

/* What it frees is to be had afterwards, if it wasn't before. */
static void check_the_rest_is_there(void)
{
    ck_assert_int_eq(meeting->result, 0);
    ck_assert_ptr_null(fastalloc_get(pool, meeting->handle));
    ck_assert_uint_ge(own_count, CAPACITY - 1);
    take_all();
    ck_assert_uint_eq(own_count, CAPACITY);
}

START_TEST(test_everything_is_taken_back_while_it_frees)
{
    act_everywhere(frees, take_all, check_the_rest_is_there);
}
END_TEST

/* ---- The same object ------------------------------------------------------------------------- */

static void free_its_object(void)
{
    acted = fastalloc_free(pool, meeting->handle, NULL);
}

static void check_one_freed_it(void)
{
    ck_assert(acted == 0 || acted == FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_int_eq(meeting->result, acted == 0 ? FASTALLOC_ERR_STALE_HANDLE : 0);
}

START_TEST(test_another_one_frees_what_it_frees)
{
    act_everywhere(frees, free_its_object, check_one_freed_it);
}
END_TEST

static void adopt_its_object(void)
{
    acted = fastalloc_adopt(pool, &meeting->handle, 1, NULL);
}

/* Anybody may free it, whosever it is. */
static void check_it_freed_it(void)
{
    ck_assert(acted == 0 || acted == FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_int_eq(meeting->result, 0);
}

START_TEST(test_another_one_adopts_what_it_frees)
{
    act_everywhere(frees, adopt_its_object, check_it_freed_it);
}
END_TEST

static void retain_its_object(void)
{
    acted = fastalloc_retain(pool, &meeting->handle, 1, NULL);
}

static void check_freed_or_retained(void)
{
    ck_assert(acted == 0 || acted == FASTALLOC_ERR_STALE_HANDLE);
    ck_assert_int_eq(meeting->result, acted == 0 ? FASTALLOC_ERR_OBJECT_SHARED : 0);
    if (acted == 0)
        ck_assert_int_eq(fastalloc_release(pool, &meeting->handle, 1, NULL), 0);
}

START_TEST(test_another_one_retains_what_it_frees)
{
    act_everywhere(frees, retain_its_object, check_freed_or_retained);
}
END_TEST

/* ---- Killed ---------------------------------------------------------------------------------- */

static bool kill_after(unsigned instructions, void (*does)(fastalloc_pool_t *opened))
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        be_stopped(does);
    bool amid = stop_after(pid, instructions);
    ck_assert(meeting->biased);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    account_for_all();
    return amid;
}

static void kill_everywhere(void (*does)(fastalloc_pool_t *opened))
{
    unsigned positions = 0;
    while (kill_after(positions * STRIDE, does))
        positions++;
    ck_assert_uint_gt(positions, POSITIONS);
}

START_TEST(test_killed_while_it_allocates)
{
    kill_everywhere(allocates);
}
END_TEST

START_TEST(test_killed_while_it_frees)
{
    kill_everywhere(frees);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_everything_is_taken_back_while_it_allocates,
        test_everything_is_taken_back_while_it_frees,
        test_another_one_frees_what_it_frees,
        test_another_one_adopts_what_it_frees,
        test_another_one_retains_what_it_frees,
        test_killed_while_it_allocates,
        test_killed_while_it_frees,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("lease_bias", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
