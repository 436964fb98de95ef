/* SPDX-License-Identifier: MIT */
/*
 * The daemon and clients of it die together, stop and go on, become other programs, and are followed by
 * others that get their very process numbers. After each round the daemon and those that live say the
 * same: nobody else has a session, and what each of them holds is what is allocated, and its own.
 *
 * All of it runs in a pid namespace of its own, where the numbers are the test's to give.
 *
 * FASTALLOC_EFFORT: how many rounds. FASTALLOC_SEED chooses what is drawn; it is printed.
 */
#define _GNU_SOURCE /* ppoll, unshare */
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/effort.h"
#include "tests/lib/private_shm.h"
#include "tests/lib/timing.h"

#define SUITE_TIMEOUT 600
#include "tests/unit/suite.h"

#define ROUNDS 20
#define CLIENTS 6u
#define VICTIMS 3u
#define POOLS 2u
#define CAPACITY 48u
#define HELD_MAX 10u /* of a client in a pool: together more than there are */
#define BATCH 3u
#define CALM_US 5000 /* that nothing happens to a daemon at most */
#define STOP_US 20000
#define SOON 10000000000 /* ns, for what must happen */
#define LAST_PID "/proc/sys/kernel/ns_last_pid"

/* What all share. */
struct board {
    _Atomic bool pause;
    _Atomic uint64_t progress[CLIENTS]; /* calls that came back */
    struct report {
        uint64_t session;
        uint32_t count[POOLS];
        fastalloc_handle_t held[POOLS][HELD_MAX];
    } reports[CLIENTS];
};

static struct test_daemon server;
static struct board *board;
static const char *const names[POOLS] = {"brokered", "leased"};

/* ---- A client -------------------------------------------------------------------------------- */

struct client {
    unsigned number;
    uint64_t chance;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pools[POOLS];
    uint32_t count[POOLS];
    fastalloc_handle_t held[POOLS][HELD_MAX];
    fastalloc_error_t error;
};

static int own_control;

/* With SIGUSR1 it becomes a cat, whatever it is about, which has the control as input and output. */
static void become_a_cat(int signal)
{
    (void)signal;
    dup2(own_control, STDIN_FILENO);
    dup2(own_control, STDOUT_FILENO);
    execl("/bin/cat", "cat", (char *)NULL);
    _exit(1);
}

static uint64_t draw(struct client *client, uint64_t below)
{
    client->chance = client->chance * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (client->chance >> 33) % below;
}

/* A daemon that is stopped or gone is an answer too, to who won't wait for it. */
static bool is_refusal(int result)
{
    return result == FASTALLOC_ERR_TIMEOUT || result == FASTALLOC_ERR_POOL_EXHAUSTED ||
           result == FASTALLOC_ERR_UNREACHABLE || result == FASTALLOC_ERR_NO_REPLY;
}

static void require_result(const struct client *client, bool right, int result)
{
    if (!right)
        fprintf(stderr, "client %u, session %" PRIu64 ": %s: %s\n", client->number,
                fastalloc_session(client->connection), fastalloc_result_name(result),
                client->error.message);
    child_require(right);
}

static void came_back(struct client *client, int result)
{
    require_result(client, result == 0, result);
    atomic_fetch_add(&board->progress[client->number], 1);
}

static void allocate(struct client *client, unsigned pool)
{
    static const int64_t timeouts[] = {FASTALLOC_NOWAIT, 3 * FASTALLOC_MILLISECOND,
                                       50 * FASTALLOC_MILLISECOND};
    uint32_t count = 1 + (uint32_t)draw(client, BATCH);
    fastalloc_handle_t *handles = client->held[pool] + client->count[pool];
    if (client->count[pool] + count > HELD_MAX)
        return;
    int result = fastalloc_allocate_many(client->pools[pool], count, timeouts[draw(client, 3)],
                                         handles, &client->error);
    require_result(client, result == 0 || is_refusal(result), result);
    atomic_fetch_add(&board->progress[client->number], 1);
    if (result < 0)
        return;
    client->count[pool] += count;
    for (uint32_t i = 0; i < count; i++)
        memcpy(fastalloc_get(client->pools[pool], handles[i]), &handles[i].tag, sizeof(uint64_t));
}

static void check_content(fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    const uint64_t *content = fastalloc_get(pool, handle);
    child_require(content && *content == handle.tag);
}

/* The last ones that it got; the pools let nobody else free them. */
static void give_back(struct client *client, unsigned pool, uint32_t count)
{
    if (count == 0 || count > client->count[pool])
        return;
    client->count[pool] -= count;
    const fastalloc_handle_t *handles = client->held[pool] + client->count[pool];
    for (uint32_t i = 0; i < count; i++)
        check_content(client->pools[pool], handles[i]);
    came_back(client, fastalloc_free_many(client->pools[pool], handles, count, &client->error));
}

/* Held once more, and once less. */
static void hold_again(struct client *client, unsigned pool)
{
    if (client->count[pool] == 0)
        return;
    const fastalloc_handle_t *handle = &client->held[pool][draw(client, client->count[pool])];
    came_back(client, fastalloc_retain(client->pools[pool], handle, 1, &client->error));
    check_content(client->pools[pool], *handle);
    came_back(client, fastalloc_release(client->pools[pool], handle, 1, &client->error));
    check_content(client->pools[pool], *handle);
}

static void do_something(struct client *client)
{
    unsigned pool = (unsigned)draw(client, POOLS);
    switch (draw(client, 7)) {
    case 0:
        hold_again(client, pool);
        break;
    case 1:
    case 2:
    case 3:
        give_back(client, pool, 1 + (uint32_t)draw(client, BATCH));
        break;
    default:
        allocate(client, pool);
    }
}

/* After a call to the daemon: what came too late for others has come by then. */
static void report(struct client *client)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    struct report *mine = &board->reports[client->number];
    came_back(client, fastalloc_ping(client->connection, &info, &client->error));
    memcpy(mine->count, client->count, sizeof(mine->count));
    memcpy(mine->held, client->held, sizeof(mine->held));
    for (unsigned pool = 0; pool < POOLS; pool++)
        for (uint32_t i = 0; i < client->count[pool]; i++)
            check_content(client->pools[pool], client->held[pool][i]);
}

static void join(struct client *client)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = server.socket;
    options.connect_limit = SOON;
    int result = fastalloc_connect(&options, &client->connection, &client->error);
    for (unsigned i = 0; result == 0 && i < POOLS; i++)
        result =
            fastalloc_open(client->connection, names[i], NULL, &client->pools[i], &client->error);
    if (result < 0)
        fprintf(stderr, "client %u: %s\n", client->number, client->error.message);
    child_require(result == 0);
    board->reports[client->number].session = fastalloc_session(client->connection);
}

static void work(int control, const void *argument)
{
    static struct client client;
    own_control = control;
    client.number = *(const unsigned *)argument;
    client.chance = (uint64_t)timing_now();
    client.error = FASTALLOC_ERROR_INIT;
    child_require(signal(SIGUSR1, become_a_cat) != SIG_ERR);
    join(&client);
    do {
        child_say(control, 'r');
        while (!atomic_load(&board->pause))
            do_something(&client);
        report(&client);
        child_say(control, 'd');
    } while (child_listen(control) == 'g');
    for (unsigned pool = 0; pool < POOLS; pool++)
        give_back(&client, pool, client.count[pool]);
    fastalloc_disconnect(client.connection);
}

/* ---- The cast -------------------------------------------------------------------------------- */

static fastalloc_connection_t *connection;
static fastalloc_pool_t *pools[POOLS];
static struct cast {
    struct test_child child;
    bool lives; /* as a client */
    bool is_cat;
} cast[CLIENTS];
static const unsigned numbers[CLIENTS] = {0, 1, 2, 3, 4, 5};

static void enter(unsigned i)
{
    board->reports[i] = (struct report){0};
    test_child_start(&cast[i].child, work, &numbers[i]);
    cast[i].lives = true;
}

static fastalloc_pool_t *make_pool(unsigned which)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_pool_t *made;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.owner_frees = true;
    options.kind = which == 0 ? FASTALLOC_BROKERED : FASTALLOC_LEASED;
    ck_assert_msg(fastalloc_open(connection, names[which], &options, &made, &error) == 0, "%s",
                  error.message);
    return made;
}

static const char *const daemon_arguments[] = {"--log-level", "error", NULL};

static void set_up(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(board, MAP_FAILED);
    test_daemon_start(&server, daemon_arguments);
    connection = test_daemon_connect(&server);
    for (unsigned i = 0; i < POOLS; i++)
        pools[i] = make_pool(i);
    for (unsigned i = 0; i < CLIENTS; i++) {
        enter(i);
        test_child_hear(&cast[i].child, 'r');
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        test_child_hear(&cast[i].child, 'd');
    for (unsigned i = 0; i < CLIENTS; i++) {
        test_child_tell(&cast[i].child, 'e');
        ck_assert_int_eq(test_child_join(&cast[i].child), 0);
    }
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
    munmap(board, sizeof(*board));
}

/* ---- What happens to them -------------------------------------------------------------------- */

static void wait_a_little(long longest_us)
{
    const struct timespec time = {.tv_nsec = random() % longest_us * 1000};
    ppoll(NULL, 0, &time, NULL);
}

static void send_signal(pid_t pid, int signal)
{
    ck_assert_int_eq(kill(pid, signal), 0);
}

static void stop_process(pid_t pid)
{
    int status;
    send_signal(pid, SIGSTOP);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert_msg(WIFSTOPPED(status), "it ended with %#x", (unsigned)status);
}

static void end_daemon(void)
{
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
}

static void kill_daemon(void)
{
    send_signal(server.pid, SIGKILL);
    end_daemon();
}

static void restart_daemon(void)
{
    test_daemon_restart(&server, daemon_arguments);
}

static void kill_client(unsigned i)
{
    test_child_kill(&cast[i].child, SIGKILL);
    cast[i].lives = false;
}

/* One to three of them, those after the first one. */
static void kill_some(unsigned first)
{
    unsigned count = 1 + (unsigned)random() % VICTIMS;
    for (unsigned i = 0; i < count; i++)
        send_signal(cast[(first + i) % CLIENTS].child.pid, SIGKILL);
    for (unsigned i = 0; i < count; i++)
        kill_client((first + i) % CLIENTS);
}

static void kill_daemon_then_clients(unsigned first)
{
    send_signal(server.pid, SIGKILL);
    kill_some(first);
    end_daemon();
    restart_daemon();
}

static void kill_clients_then_daemon(unsigned first)
{
    for (unsigned i = 0; i < 2; i++)
        send_signal(cast[(first + i) % CLIENTS].child.pid, SIGKILL);
    kill_daemon();
    for (unsigned i = 0; i < 2; i++)
        kill_client((first + i) % CLIENTS);
    restart_daemon();
}

static void stop_daemon_and_kill_clients(unsigned first)
{
    stop_process(server.pid);
    wait_a_little(STOP_US);
    kill_some(first);
    send_signal(server.pid, SIGCONT);
}

static void stop_daemon_and_kill_it(unsigned first)
{
    stop_process(server.pid);
    wait_a_little(STOP_US);
    kill_some(first);
    kill_daemon();
    restart_daemon();
}

/* Until the calls of all others that live come back again. */
static void await_others(unsigned except)
{
    int64_t end = timing_now() + SOON;
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint64_t before = atomic_load(&board->progress[i]);
        while (i != except && cast[i].lives && atomic_load(&board->progress[i]) < before + 2) {
            ck_assert_int_lt(timing_now(), end);
            sched_yield();
        }
    }
}

/* It knows nothing of the daemon's death while others have long gone on with the next one. */
static void stop_client_and_kill_daemon(unsigned first)
{
    stop_process(cast[first].child.pid);
    kill_daemon();
    restart_daemon();
    await_others(first);
    send_signal(cast[first].child.pid, SIGCONT);
}

static void kill_stopped_client_while_there_is_no_daemon(unsigned first)
{
    stop_process(cast[first].child.pid);
    kill_daemon();
    kill_client(first);
    restart_daemon();
}

/* The next daemon has kept its session, which nobody resumes any more. */
static void kill_stopped_client_under_the_next_daemon(unsigned first)
{
    stop_process(cast[first].child.pid);
    kill_daemon();
    restart_daemon();
    await_others(first);
    kill_client(first);
}

static void kill_daemon_again_while_it_starts(unsigned first)
{
    kill_daemon();
    restart_daemon();
    wait_a_little(CALM_US);
    kill_some(first);
    kill_daemon();
    restart_daemon();
}

static void kill_who_connects_while_the_daemon_starts(unsigned first)
{
    kill_daemon();
    kill_client(first);
    enter(first);
    restart_daemon();
    wait_a_little(CALM_US);
    kill_client(first);
}

static void exec_while_there_is_no_daemon(unsigned first)
{
    kill_daemon();
    send_signal(cast[first].child.pid, SIGUSR1);
    test_child_tell(&cast[first].child, 'm'); /* only a cat gives it back */
    test_child_hear(&cast[first].child, 'm');
    cast[first].lives = false;
    cast[first].is_cat = true;
    restart_daemon();
}

/* The next process gets the number after this one, or the first one behind that is nobody's. */
static void set_last_pid(pid_t pid)
{
    FILE *last = fopen(LAST_PID, "we");
    ck_assert_ptr_nonnull(last);
    ck_assert_int_gt(fprintf(last, "%d", pid), 0);
    ck_assert_int_eq(fclose(last), 0);
}

/* The daemon and its threads get numbers that no client ever had. */
static void set_last_pid_behind_all(void)
{
    pid_t last = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        last = cast[i].child.pid > last ? cast[i].child.pid : last;
    set_last_pid(last);
}

/* Another client enters, as this very process. */
static void enter_as(unsigned i, pid_t pid)
{
    set_last_pid(pid - 1);
    enter(i);
    ck_assert_int_eq(cast[i].child.pid, pid);
}

static void check_newcomer(unsigned i, uint64_t dead)
{
    test_child_hear(&cast[i].child, 'r');
    ck_assert_uint_ne(board->reports[i].session, 0);
    ck_assert_uint_ne(board->reports[i].session, dead);
}

static void reuse_pid_while_there_is_no_daemon(unsigned first)
{
    pid_t pid = cast[first].child.pid;
    uint64_t dead = board->reports[first].session;
    kill_daemon();
    kill_client(first);
    enter_as(first, pid);
    wait_a_little(CALM_US);
    restart_daemon();
    check_newcomer(first, dead);
}

static void reuse_pid_while_the_daemon_starts(unsigned first)
{
    pid_t pid = cast[first].child.pid;
    uint64_t dead = board->reports[first].session;
    kill_daemon();
    kill_client(first);
    set_last_pid_behind_all();
    restart_daemon();
    wait_a_little(CALM_US);
    enter_as(first, pid);
    check_newcomer(first, dead);
}

static void (*const acts[])(unsigned first) = {
    kill_daemon_then_clients,
    kill_clients_then_daemon,
    stop_daemon_and_kill_clients,
    stop_daemon_and_kill_it,
    stop_client_and_kill_daemon,
    kill_stopped_client_while_there_is_no_daemon,
    kill_stopped_client_under_the_next_daemon,
    kill_daemon_again_while_it_starts,
    kill_who_connects_while_the_daemon_starts,
    exec_while_there_is_no_daemon,
    reuse_pid_while_there_is_no_daemon,
    reuse_pid_while_the_daemon_starts,
};
#define ACTS (sizeof(acts) / sizeof(acts[0]))

/* ---- What is so after it --------------------------------------------------------------------- */

/* What the daemon says, compared with what the clients say; `wrong` tells the first difference. */
struct comparison {
    unsigned sessions;
    unsigned pool;
    uint64_t slots;
    char wrong[200];
};

static void note(struct comparison *comparison, const char *what, uint64_t is, uint64_t should_be)
{
    if (is != should_be && comparison->wrong[0] == '\0')
        snprintf(comparison->wrong, sizeof(comparison->wrong), "%s: %" PRIu64 ", not %" PRIu64,
                 what, is, should_be);
}

/* CLIENTS: none that lives. */
static unsigned find_client(uint64_t session)
{
    unsigned i = 0;
    while (i < CLIENTS && !(cast[i].lives && board->reports[i].session == session))
        i++;
    return i;
}

static int compare_session(const fastalloc_session_info_t *info, void *context)
{
    struct comparison *comparison = context;
    unsigned i = find_client(info->id);
    comparison->sessions++;
    if (info->id == fastalloc_session(connection))
        return 0;
    note(comparison, "a session that no living client has", i == CLIENTS ? info->id : 0, 0);
    if (i == CLIENTS)
        return 0;
    note(comparison, "process of a session", (uint64_t)info->pid, (uint64_t)cast[i].child.pid);
    note(comparison, "a connected session", info->connected, true);
    note(comparison, "requests of it that wait", info->waiting, 0);
    return 0;
}

static int compare_holder(const fastalloc_holder_info_t *info, void *context)
{
    struct comparison *comparison = context;
    unsigned i = find_client(info->session);
    note(comparison, "a holder that no living client is", i == CLIENTS ? info->session : 0, 0);
    if (i < CLIENTS)
        note(comparison, "slots of a holder", info->slots,
             board->reports[i].count[comparison->pool]);
    comparison->slots += info->slots;
    return 0;
}

/* By slots, none of which two clients hold, and which are there. */
static uint64_t count_held(struct comparison *comparison, unsigned pool)
{
    bool seen[CAPACITY] = {false};
    uint64_t held = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        for (uint32_t j = 0; cast[i].lives && j < board->reports[i].count[pool]; j++) {
            fastalloc_handle_t handle = board->reports[i].held[pool][j];
            note(comparison, "a slot that two hold", seen[handle.index], false);
            note(comparison, "a handle that holds", fastalloc_still_valid(pools[pool], handle),
                 true);
            seen[handle.index] = true;
            held++;
        }
    return held;
}

static void compare_pool(struct comparison *comparison, unsigned pool)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    uint64_t held = count_held(comparison, pool);
    comparison->pool = pool;
    comparison->slots = 0;
    ck_assert_int_eq(fastalloc_pool_stats(connection, names[pool], &stats, NULL), 0);
    ck_assert_int_eq(
        fastalloc_holder_list(connection, names[pool], compare_holder, comparison, NULL), 0);
    note(comparison, "slots that are allocated", stats.current_usage, held);
    note(comparison, "slots of all holders", comparison->slots, held);
    note(comparison, "requests that wait", stats.waiters, 0);
}

static void compare(struct comparison *comparison)
{
    unsigned living = 0;
    *comparison = (struct comparison){0};
    for (unsigned i = 0; i < CLIENTS; i++)
        living += cast[i].lives;
    ck_assert_int_eq(fastalloc_session_list(connection, compare_session, comparison, NULL), 0);
    note(comparison, "sessions", comparison->sessions, living + 1);
    for (unsigned pool = 0; pool < POOLS; pool++)
        compare_pool(comparison, pool);
}

static void pause_all(void)
{
    atomic_store(&board->pause, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (cast[i].lives)
            test_child_hear(&cast[i].child, 'd');
}

/* Sessions whose clients died need a moment to end; nothing else does. */
static void judge(unsigned round)
{
    struct comparison comparison;
    int64_t end = timing_now() + SOON;
    do {
        compare(&comparison);
        ck_assert_msg(comparison.wrong[0] == '\0' || timing_now() < end, "round %u: %s", round,
                      comparison.wrong);
    } while (comparison.wrong[0] != '\0');
    test_daemon_check(connection);
}

static void fill_up_and_go_on(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (cast[i].is_cat)
            kill_client(i);
        cast[i].is_cat = false;
    }
    atomic_store(&board->pause, false);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (cast[i].lives)
            test_child_tell(&cast[i].child, 'g');
        else
            enter(i);
        test_child_hear(&cast[i].child, 'r');
    }
}

START_TEST(test_chaos_leaves_what_the_living_hold)
{
    static struct timing timing;
    unsigned rounds = ROUNDS * test_effort();
    test_seed();
    for (unsigned i = 0; i < rounds; i++) {
        wait_a_little(CALM_US);
        acts[i % ACTS]((unsigned)random() % CLIENTS);
        pause_all(); /* for which the daemon must be there again */
        int64_t begin = timing_now();
        judge(i);
        timing_add(&timing, timing_now() - begin);
        fill_up_and_go_on();
    }
    timing_report(&timing, "all is as it must be after chaos");
    atomic_store(&board->pause, true);
}
END_TEST

/* ---- The namespace --------------------------------------------------------------------------- */

/* Of the first process in it. */
static int run_inside(void)
{
    const TTest *const tests[] = {test_chaos_leaves_what_the_living_hold};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount("proc", "/proc", "proc", 0, NULL) < 0 || access(LAST_PID, W_OK) < 0) {
        perror(LAST_PID);
        return 77;
    }
    return suite_run("chaos", set_up, tear_down, tests, 1);
}

int main(void)
{
    int status;
    if (!test_daemon_is_built())
        return 77;
    if (!test_try_private_shm() || unshare(CLONE_NEWPID) < 0) {
        perror("a pid namespace");
        return 77;
    }
    pid_t pid = fork();
    if (pid == 0)
        return run_inside();
    bool ended = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status);
    /* This one can start no process any more, with which a sanitizer would look into it. */
    _exit(ended ? WEXITSTATUS(status) : EXIT_FAILURE);
}
