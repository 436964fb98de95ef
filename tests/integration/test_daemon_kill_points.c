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

#include "shm/lease.h"
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
#define LARGE 2000u /* pages: as many are more than grow at once */
#define FOREVER (-1)
#define ACTS 3u
#define SHM_SIZE (64 << 20)

/* Of the positions that differ one in so many, where each takes long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 3u
#else
#define STRIDE 1u
#endif

static struct survivor *const alice = &survivors[0], *const bob = &survivors[1];
static struct test_daemon server;
static struct traced traced;
static struct program program;
static struct bare auditor;

struct scenario {
    const char *name;
    void (*prepare)(void);    /* with a daemon that runs */
    void (*acts[ACTS])(void); /* what is asked for, each when the one before is done and answered */
    bool (*is_over)(void);    /* what is done beside the answers; NULL: nothing */
    void (*meanwhile)(void);  /* what clients do while there is no daemon; NULL: nothing */
    bool starts;              /* what is prepared is killed; the one that starts then is meant */
    const char *option;       /* with which; NULL: none */
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

/* If there is one. */
static void kill_daemon(void)
{
    if (server.pid == 0)
        return;
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    server.pid = 0;
}

/* It ends in order, and leaves nothing, since nobody uses it. */
static void end_daemon(void)
{
    int status;
    ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(server.pid, &status, 0), server.pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", (unsigned)status);
    server.pid = 0;
    ck_assert_uint_eq(test_shm_files(), 0);
}

/* ---- Walking --------------------------------------------------------------------------------- */

static unsigned positions, states;

/* All that outlives the daemon. */
static uint64_t look(void)
{
    return remains(server.directory) * 3 + survivors_heard();
}

static bool is_epoll(uint64_t number)
{
#ifdef SYS_epoll_wait
    if (number == SYS_epoll_wait)
        return true;
#endif
    return number == SYS_epoll_pwait;
}

/* Whether it is about to wait, with nothing that it could find. */
static bool is_idle(void)
{
    if (!traced.entry || !is_epoll(traced.number))
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
        traced_start(&traced, (const char *const[]){getenv("FASTALLOCD"), "--socket", server.socket,
                                                    scenario->option, NULL});
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

/* No slot was given up to bring a pool into order. */
static void check_undamaged(void)
{
    struct pool_list_reply reply;
    struct pool_info info;
    struct error error;
    bare_call(&auditor, METHOD_POOL_LIST, &(struct pool_list_request){.after = 0}, &reply);
    for (size_t i = 0; i < reply.pools.count; i++) {
        const msgpack_object *item = (const msgpack_object *)reply.pools.items + i;
        ck_assert(message_decode(&pool_info_type, item, false, &info, &error));
        ck_assert(!info.damaged);
    }
}

static void check(void)
{
    struct check_reply reply;
    bare_connect(&auditor, server.socket);
    bare_hello(&auditor, false);
    bare_call(&auditor, METHOD_CHECK, &(struct check_request){{}}, &reply);
    ck_assert_uint_eq(reply.violations, 0);
    ck_assert_uint_eq(reply.notes, 0);
    check_undamaged();
    bare_close(&auditor);
}

static void judge(const struct scenario *scenario, unsigned step)
{
    survivors_lose();
    if (scenario->meanwhile)
        scenario->meanwhile();
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
        changes += STRIDE;
    printf("%s: %u positions, of which %u differ\n", scenario->name, positions, states);
}

static void run_all(const struct scenario *scenarios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_through(&scenarios[i]);
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
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which can't be done to a traced process */
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

static void create(const struct pool_create_request *request)
{
    survivor_create(alice, request);
    survivors_take(true);
}

/* Alice makes the pool, and both open it. */
static void make(const struct pool_create_request *request)
{
    create(request);
    survivor_open(alice, request->name);
    survivor_open(bob, request->name);
    survivors_take(true);
}

static const struct pool_create_request usual = {
    .name = POOL, .capacity = CAPACITY, .object_size = 64};

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
    make(&usual);
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

static void act_free_two(void)
{
    survivor_change(alice, METHOD_FREE, POOL, 0, 2);
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

/* With which the daemon does more than to change words, and calls the system between two slots. */
static void prepare_zero(uint32_t when)
{
    survivors_begin(server.socket, 2);
    make(&(struct pool_create_request){.name = POOL,
                                       .capacity = CAPACITY,
                                       .object_size = 64,
                                       .zero = when,
                                       .template = {(const uint8_t *)"template", 8}});
    take(alice, POOL, 3);
    take(bob, POOL, 3);
}

static void prepare_zero_on_allocate(void)
{
    prepare_zero(1);
    survivor_change(bob, METHOD_FREE, POOL, 2, 2);
    survivors_take(true);
}

static void prepare_zero_on_free(void)
{
    prepare_zero(2);
    retain(bob, 1, 4);
}

static void prepare_growing(void)
{
    survivors_begin(server.socket, 2);
    make(&(struct pool_create_request){.name = POOL,
                                       .capacity = 2,
                                       .capacity_max = 32,
                                       .object_size = 4096,
                                       .growth = "linear:4"});
    take(alice, POOL, 1);
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
        {.name = "allocate zeroed ones",
         .prepare = prepare_zero_on_allocate,
         .acts = {act_allocate}},
        {.name = "zero what is released",
         .prepare = prepare_zero_on_free,
         .acts = {act_release, act_free_two}},
        {.name = "allocate by growth", .prepare = prepare_growing, .acts = {act_allocate}},
        {.name = "many at once", .prepare = prepare_held, .acts = {act_many}},
    };
    run_all(scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
END_TEST

/* ---- Leased pools ---------------------------------------------------------------------------- */

static void lease(struct survivor *survivor, uint32_t count)
{
    survivor_ask(
        survivor, METHOD_LEASE,
        &(union request){.lease = {.pool = survivor_pool(survivor, POOL)->pool, .count = count}});
}

static void act_lease(void)
{
    lease(alice, 4);
}

static void act_lease_more(void)
{
    survivor_make(alice, POOL, 3);
    lease(alice, 2);
    lease(bob, 1);
}

/* What is in caches he needs, too. */
static void act_take_leased(void)
{
    survivor_allocate(bob, POOL, CAPACITY - 3, FOREVER);
}

/* All is hers, and he waits for some of it. */
static void prepare_waiting(void)
{
    prepare_exhausted();
    survivor_allocate(bob, POOL, 2, FOREVER);
    while (!lease_somebody_waits(epoch_load(&survivor_pool(alice, POOL)->ctl->waiters)))
        sched_yield();
}

static void act_drop(void)
{
    survivor_drop(alice, POOL, 3);
    survivor_drop(alice, POOL, 0);
}

static void make_meanwhile(void)
{
    survivor_make(alice, POOL, 1);
    survivor_make(bob, POOL, 1);
}

static void drop_meanwhile(void)
{
    survivor_drop(alice, POOL, 1);
    survivor_make(alice, POOL, 1);
}

START_TEST(test_leases)
{
    const struct scenario scenarios[] = {
        {.name = "lease",
         .prepare = prepare_two,
         .acts = {act_lease, act_lease_more, act_take_leased}},
        {.name = "lease, and use it meanwhile",
         .prepare = prepare_two,
         .acts = {act_lease, act_lease_more},
         .meanwhile = make_meanwhile},
        {.name = "hand-off by a member", .prepare = prepare_waiting, .acts = {act_drop}},
        {.name = "hand-off by a member meanwhile",
         .prepare = prepare_waiting,
         .acts = {act_drop},
         .meanwhile = drop_meanwhile},
    };
    if (test_is_leased())
        run_all(scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
END_TEST

/* ---- Sessions -------------------------------------------------------------------------------- */

static void prepare_one(void)
{
    survivors_begin(server.socket, 1);
    create(&usual);
    survivor_open(alice, POOL);
    survivors_take(true);
    take(alice, POOL, 2);
}

static void act_open(void)
{
    survivor_open(bob, POOL);
}

static void act_retain_first(void)
{
    survivor_change(bob, METHOD_RETAIN, POOL, 0, 1);
}

static void act_close(void)
{
    survivor_close(bob, POOL);
}

static pid_t moved;
static uint32_t moved_member;

static void act_reap(void)
{
    ck_assert_int_eq(kill(moved, SIGKILL), 0);
    ck_assert_int_eq(waitpid(moved, NULL, 0), moved);
    survivor_bury(bob);
}

static void prepare_reap(void)
{
    prepare_shared();
    moved_member = survivor_pool(bob, POOL)->member;
    moved = survivor_move(bob);
}

static bool is_reaped(void)
{
    const struct opened *opened = survivor_pool(alice, POOL);
    const uint64_t *members = (const uint64_t *)(const void *)((const uint8_t *)opened->ctl +
                                                               opened->geometry.members_offset);
    return field_load(&members[moved_member]) == 0;
}

/* Requests that nobody has taken from the socket when the daemon dies. */
static void prepare_resume(void)
{
    prepare_held();
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    act_many();
    kill_daemon();
    survivors_lose();
    start_daemon();
}

START_TEST(test_sessions)
{
    const struct scenario scenarios[] = {
        {.name = "hello, open, retain",
         .prepare = prepare_one,
         .acts = {survivors_add, act_open, act_retain_first}},
        {.name = "close", .prepare = prepare_shared, .acts = {act_close, act_open}},
        {.name = "reap", .prepare = prepare_reap, .acts = {act_reap}, .is_over = is_reaped},
        {.name = "resume", .prepare = prepare_resume, .acts = {survivors_resume}},
    };
    run_all(scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

static void act_create(void)
{
    survivor_create(alice,
                    &(struct pool_create_request){.name = OTHER, .capacity = 2, .object_size = 64});
}

static void act_open_created(void)
{
    survivor_open(alice, OTHER);
}

static void prepare_alice(void)
{
    survivors_begin(server.socket, 2);
    create(&usual);
}

static void prepare_growth(void)
{
    survivors_begin(server.socket, 2);
    make(&(struct pool_create_request){
        .name = POOL, .capacity = CAPACITY, .capacity_max = LARGE, .object_size = 4096});
    take(alice, POOL, 3);
    take(bob, POOL, 3);
}

static void grow(uint32_t capacity)
{
    union request request = {.grow = {.name = POOL, .capacity = capacity}};
    survivor_ask(alice, METHOD_POOL_GROW, &request);
}

/* At once. */
static void act_grow(void)
{
    grow(4 * CAPACITY);
}

/* Beside all else. */
static void act_grow_large(void)
{
    grow(LARGE);
    survivor_allocate(bob, POOL, 4, FOREVER);
}

static void prepare_trim(void)
{
    survivors_begin(server.socket, 2);
    make(&(struct pool_create_request){.name = POOL, .capacity = CAPACITY, .object_size = 4096});
    take(alice, POOL, CAPACITY);
    survivor_change(alice, METHOD_FREE, POOL, 2, 5);
    survivors_take(true);
}

static void act_trim(void)
{
    union request request = {.trim = {.name = POOL}};
    survivor_ask(alice, METHOD_POOL_TRIM, &request);
}

/* Into what was given back. */
static void act_fill(void)
{
    survivor_allocate(bob, POOL, 4, 0);
}

static void prepare_destroy(void)
{
    prepare_two();
    make(&(struct pool_create_request){.name = OTHER, .capacity = 2, .object_size = 64});
    take(alice, POOL, 2);
    take(bob, OTHER, 2);
    survivor_change(bob, METHOD_DETACH, OTHER, 0, 1);
    survivors_take(true);
}

static void act_destroy(void)
{
    union request request = {.destroy = {.name = OTHER, .force = true, .change = ++alice->changes}};
    survivor_ask(alice, METHOD_POOL_DESTROY, &request);
}

START_TEST(test_pools)
{
    const struct scenario scenarios[] = {
        {.name = "create and open",
         .prepare = prepare_alice,
         .acts = {act_create, act_open_created}},
        {.name = "grow", .prepare = prepare_growth, .acts = {act_grow, act_fill}},
        {.name = "grow beside all else", .prepare = prepare_growth, .acts = {act_grow_large}},
        {.name = "trim", .prepare = prepare_trim, .acts = {act_trim, act_fill}},
        {.name = "destroy", .prepare = prepare_destroy, .acts = {act_destroy, act_create}},
    };
    run_all(scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
END_TEST

/* ---- The daemon itself ----------------------------------------------------------------------- */

/* A daemon that was killed before, at the first so many changes of what it was asked for then. */
static void kill_amid(void (*ask)(void), unsigned changes)
{
    unsigned step = 0;
    const struct scenario scenario = {.acts = {ask}};
    traced_attach(&traced, server.pid);
    act(&scenario, &step);
    ck_assert(walk(&scenario, &step, changes));
    server.pid = 0;
}

static void prepare_no_daemon(void)
{
    end_daemon();
}

static void prepare_recovery(void)
{
    prepare_destroy();
    kill_amid(act_destroy, 3);
}

static void prepare_orphans(void)
{
    prepare_reap();
    ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
    survivor_change(alice, METHOD_FREE, POOL, 0, 1);
    act_reap();
}

/* Nobody is left who could use it. */
static void prepare_dead(void)
{
    prepare_shared();
    kill_daemon();
    survivors_die();
}

static void act_end(void)
{
    ck_assert_int_eq(kill(traced.pid, SIGTERM), 0);
}

static void prepare_unused(void)
{
    prepare_two();
    survivors_end();
    survivors_begin(server.socket, 0);
}

static void prepare_waiter(void)
{
    prepare_exhausted();
    survivor_allocate(bob, POOL, 2, FOREVER);
}

/* She lets go of what he waits for; it may come too late. */
static void act_end_in_use(void)
{
    act_end();
    act_free_two();
}

static bool is_never_over(void)
{
    return false;
}

START_TEST(test_daemon)
{
    const struct scenario scenarios[] = {
        {.name = "start", .prepare = prepare_no_daemon, .starts = true},
        {.name = "start after a kill", .prepare = prepare_held, .starts = true},
        {.name = "start after a destroy", .prepare = prepare_recovery, .starts = true},
        {.name = "start after deaths", .prepare = prepare_orphans, .starts = true},
        {.name = "purge", .prepare = prepare_dead, .starts = true, .option = "--purge"},
        {.name = "end", .prepare = prepare_unused, .acts = {act_end}, .is_over = is_never_over},
        {.name = "end in use",
         .prepare = prepare_waiter,
         .acts = {act_end_in_use},
         .is_over = is_never_over},
    };
    run_all(scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_slots, test_leases, test_sessions, test_pools, test_daemon,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("daemon kill points", set_up, tear_down, tests,
                     sizeof(tests) / sizeof(tests[0]));
}
