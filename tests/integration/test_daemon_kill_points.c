/* SPDX-License-Identifier: MIT */
/*
 * The daemon is killed before and after each system call of all that it does, while clients wait for answers.
 * What it left has no violation; the next daemon takes it over, the clients resume, settle and ask again,
 * and then there is what they know of, neither more nor less.
 *
 * Between two positions where nothing differs that outlives a daemon (files, memory, answers that are on
 * their way) it can't matter which of them it is killed at. So each scenario is run again and again, and
 * killed at the first position that differs from the one before, then at the second, until its end.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"
#include "tests/lib/program.h"
#include "tests/lib/remains.h"
#include "tests/lib/survivor.h"
#include "tests/lib/traced.h"

#define SUITE_TIMEOUT 60
#include "tests/unit/suite.h"

#define POOL "frames"
#define OTHER "other"
#define CAPACITY 8u
#define FOREVER (-1)
#define ACTS 3u
#define SHM_SIZE (64 << 20)

static struct survivor *const alice = &survivors[0], *const bob = &survivors[1];
static struct test_daemon server;
static struct traced traced;
static struct program program;
static struct bare auditor;

struct scenario {
    const char *name;
    void (*prepare)(void); /* with a daemon that runs */
    void (*acts[ACTS])(
        void); /* each asks for something, once all was answered that the last asked for */
    bool (*is_over)(void); /* what is done after the answers; NULL: nothing */
    bool starts; /* the daemon is killed when all is prepared; the one that starts is meant */
};

/* ---- Daemons --------------------------------------------------------------------------------- */

static const char *const quiet[] = {"--log-level", "error", NULL};

/* Until somebody listens. */
static void await_daemon(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, server.socket, sizeof(address.sun_path) - 1);
    int result, fd;
    do {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        result = connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        sched_yield();
    } while (result < 0 && waitpid(server.pid, NULL, WNOHANG) == 0);
    ck_assert_int_eq(result, 0);
}

static void start_daemon(void)
{
    test_daemon_restart(&server, quiet);
    await_daemon();
}

static void kill_daemon(void)
{
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
}

/* It ends in order, and leaves nothing, since nobody uses it. */
static void end_daemon(void)
{
    int status;
    ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(server.pid, &status, 0), server.pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", (unsigned)status);
    ck_assert_uint_eq(test_shm_files(), 0);
}

/* ---- Walking --------------------------------------------------------------------------------- */

static unsigned positions, states;

/* All that outlives the daemon. */
static uint64_t look(void)
{
    return remains(server.directory) * 3 + survivors_heard();
}

/* Whether it is about to wait, with nothing that it could find. */
static bool is_idle(void)
{
    if (!traced.entry || (traced.number != SYS_epoll_pwait && traced.number != SYS_epoll_wait))
        return false;
    int process = (int)syscall(SYS_pidfd_open, traced.pid, 0);
    int fd = (int)syscall(SYS_pidfd_getfd, process, (int)traced.first, 0);
    struct pollfd poller = {fd, POLLIN, 0};
    ck_assert(process >= 0 && fd >= 0);
    int ready = poll(&poller, 1, 0);
    close(process);
    close(fd);
    return ready == 0;
}

/* False: there is nothing more to do. */
static bool act(const struct scenario *scenario, unsigned *step)
{
    void (*next)(void) = *step < ACTS ? scenario->acts[*step] : NULL;
    ++*step;
    if (next)
        next();
    return next;
}

/* False: all is done and answered. */
static bool goes_on(const struct scenario *scenario, unsigned *step)
{
    survivors_take(false);
    if (survivors_wait() || (scenario->is_over && !scenario->is_over()))
        return true;
    return act(scenario, step);
}

/*
 * Runs it up to its first so many changes, and kills it there. False: it has come to the end of the scenario
 * before.
 */
static bool walk(const struct scenario *scenario, unsigned *step, unsigned changes)
{
    uint64_t before = look();
    positions = 1;
    for (states = 1; states <= changes;) {
        if (!traced_step(&traced))
            return false;
        positions++;
        uint64_t now = look();
        states += now != before;
        before = now;
        if (states > changes || !is_idle())
            continue;
        unsigned step_before = *step;
        if (!goes_on(scenario, step))
            break;
        if (*step == step_before)
            before = look(); /* but for what they took */
    }
    traced_kill(&traced);
    return states > changes;
}

static void begin_tracing(const struct scenario *scenario, unsigned *step)
{
    *step = 0;
    if (scenario->starts) {
        kill_daemon();
        survivors_lose();
        traced_start(&traced,
                     (const char *const[]){getenv("FASTALLOCD"), "--socket", server.socket, NULL});
        return;
    }
    traced_attach(&traced, server.pid);
    act(scenario, step);
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* Nothing was begun, or all is sound. */
static void audit(void)
{
    char registry[128];
    snprintf(registry, sizeof(registry), "%s.d/registry", server.socket);
    int status = program_run(&program, (const char *const[]){getenv("FASTALLOCD"), "--socket",
                                                             server.socket, "--check", NULL});
    ck_assert_msg(status == 0 || (status == 3 && access(registry, F_OK) < 0), "%d: %s", status,
                  program.text);
}

static void check(void)
{
    static struct check_reply reply;
    const struct check_request request = {{}};
    bare_connect(&auditor, server.socket);
    bare_hello(&auditor, false);
    bare_call(&auditor, METHOD_CHECK, &request, &reply);
    bare_close(&auditor);
    ck_assert_uint_eq(reply.violations, 0);
    ck_assert_uint_eq(reply.notes, 0);
}

static void judge(const struct scenario *scenario, unsigned step)
{
    survivors_lose();
    audit();
    start_daemon();
    survivors_resume();
    do
        survivors_take(true);
    while (act(scenario, &step));
    check();
    survivors_compare();
    survivors_end();
    end_daemon();
}

static bool kill_and_judge(const struct scenario *scenario, unsigned changes)
{
    unsigned step;
    survivors_begin(server.socket, 0);
    start_daemon();
    if (scenario->prepare)
        scenario->prepare();
    begin_tracing(scenario, &step);
    bool killed = walk(scenario, &step, changes);
    judge(scenario, step);
    return killed;
}

static void run_through(const struct scenario *scenario)
{
    unsigned changes = 0;
    while (kill_and_judge(scenario, changes))
        changes++;
    printf("%s: killed at each of %u positions, in %u states\n", scenario->name, positions, states);
}

/* ---- The stage ------------------------------------------------------------------------------- */

/* On one processor, where to stop and to go on is quick. */
static void stay(void)
{
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((unsigned)sched_getcpu(), &here);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(here), &here), 0);
}

static void set_up(void)
{
    stay();
    test_private_shm(SHM_SIZE);
    strcpy(server.directory, "/tmp/fastalloc-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server.directory));
    snprintf(server.socket, sizeof(server.socket), "%s/socket", server.directory);
}

static void tear_down(void)
{
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_msg(rmdir(server.directory) == 0, "%s isn't empty", server.directory);
}

/* Alice makes the pool, and both open it. */
static void make(const char *name, uint32_t capacity, uint32_t capacity_max, uint64_t object_size)
{
    survivor_create(alice, name, capacity, capacity_max, object_size);
    survivors_take(true);
    survivor_open(alice, name);
    survivor_open(bob, name);
    survivors_take(true);
}

static void take(struct survivor *survivor, const char *name, uint32_t count)
{
    survivor_allocate(survivor, name, count, 0);
    survivors_take(true);
}

static void retain(struct survivor *survivor, unsigned first, uint32_t count)
{
    survivor_change(survivor, METHOD_RETAIN, POOL, first, count);
    survivors_take(true);
}

static void prepare_two(void)
{
    survivors_begin(server.socket, 2);
    make(POOL, CAPACITY, CAPACITY, 64);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static void act_allocate(void)
{
    survivor_allocate(alice, POOL, 3, 0);
}

static void prepare_exhausted(void)
{
    prepare_two();
    take(alice, POOL, CAPACITY);
}

/* In this order, since each is the first that his connection brings. */
static void act_hand_off(void)
{
    survivor_allocate(bob, POOL, 2, FOREVER);
    survivor_change(alice, METHOD_FREE, POOL, 0, 3);
}

static void prepare_held(void)
{
    prepare_two();
    take(alice, POOL, 3);
    take(bob, POOL, 3);
}

static void act_free(void)
{
    survivor_change(alice, METHOD_FREE, POOL, 1, 5);
}

/* Of his, and hers that he will share. */
static void act_retain(void)
{
    survivor_change(bob, METHOD_RETAIN, POOL, 1, 4);
}

static void prepare_shared(void)
{
    prepare_held();
    retain(bob, 1, 4);
}

static void act_release(void)
{
    survivor_change(bob, METHOD_RELEASE, POOL, 1, 5);
}

static void act_adopt(void)
{
    survivor_change(bob, METHOD_ADOPT, POOL, 0, 3);
}

static void act_detach(void)
{
    survivor_change(bob, METHOD_DETACH, POOL, 0, 6);
}

static void act_adopt_detached(void)
{
    survivor_change(alice, METHOD_ADOPT, POOL, 1, 3);
}

static void prepare_detach(void)
{
    prepare_held();
    retain(bob, 2, 1);
}

/* Two at once of each. */
static void act_many(void)
{
    survivor_change(alice, METHOD_FREE, POOL, 0, 1);
    survivor_allocate(alice, POOL, 1, 0);
    survivor_change(alice, METHOD_DETACH, POOL, 1, 1);
    survivor_change(bob, METHOD_RETAIN, POOL, 2, 3);
    survivor_change(bob, METHOD_RELEASE, POOL, 3, 1);
}

START_TEST(test_slots)
{
    const struct scenario scenarios[] = {
        {.name = "allocate", .prepare = prepare_two, .acts = {act_allocate}},
        {.name = "free", .prepare = prepare_held, .acts = {act_free}},
        {.name = "hand-off", .prepare = prepare_exhausted, .acts = {act_hand_off}},
        {.name = "retain", .prepare = prepare_held, .acts = {act_retain}},
        {.name = "release", .prepare = prepare_shared, .acts = {act_release}},
        {.name = "adopt", .prepare = prepare_held, .acts = {act_adopt}},
        {.name = "detach", .prepare = prepare_detach, .acts = {act_detach, act_adopt_detached}},
        {.name = "many at once", .prepare = prepare_held, .acts = {act_many}},
    };
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        run_through(&scenarios[i]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_slots,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("daemon_kill_points", set_up, tear_down, tests,
                     sizeof(tests) / sizeof(tests[0]));
}
