/* SPDX-License-Identifier: MIT */
/*
 * The daemon is killed after each system call with which it changes anything, from its begin to its end. The
 * next one finds its way from there: it starts, and leaves nothing.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastalloc/fastalloc.h>

#include "tests/lib/daemon.h"
#include "tests/lib/private_shm.h"
#include "tests/lib/program.h"
#include "tests/unit/suite.h"

static char folder[64], socket_path[96];
static struct program program;

static void set_up(void)
{
    test_private_shm(16 << 20);
    strcpy(folder, "/tmp/fastalloc-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/x.sock", folder);
}

static void tear_down(void)
{
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_msg(rmdir(folder) == 0, "%s isn't empty", folder);
}

/* An instance that was killed, with a pool: three objects, the registry, the lock, the socket. */
static void leave_a_dead_instance(void)
{
    struct test_daemon daemon = {0};
    snprintf(daemon.socket, sizeof(daemon.socket), "%s", socket_path);
    test_daemon_restart(&daemon, (const char *const[]){"--log-level", "warning", NULL});
    fastalloc_connection_t *connection = test_daemon_connect(&daemon);
    fastalloc_close(test_daemon_pool(connection, "frames", 64, 4));
    fastalloc_disconnect(connection);
    ck_assert_int_eq(kill(daemon.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(daemon.pid, NULL, 0), daemon.pid);
    ck_assert_uint_ge(test_shm_files(), 3);
}

/* ---- Killing --------------------------------------------------------------------------------- */

/* In the child: begins, clears what is there, and ends. */
static _Noreturn void run_traced(void)
{
    const char *const arguments[] = {getenv("FASTALLOCD"), "--socket", socket_path,
                                     "--exit-idle",        "0",        NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which can't be done to a traced process */
    if (arguments[0] && ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
        execv(arguments[0], (char *const *)(const void *)arguments);
    _exit(127);
}

static bool changes_something(uint64_t number)
{
    static const uint64_t numbers[] = {
#ifdef SYS_mkdir
        SYS_mkdir,     SYS_unlink,   SYS_rmdir,     SYS_chmod,
#endif
        SYS_mkdirat,   SYS_unlinkat, SYS_fchmod,    SYS_openat, SYS_flock,  SYS_ftruncate,
        SYS_fallocate, SYS_pwrite64, SYS_getrandom, SYS_bind,   SYS_listen,
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i] == number)
            return true;
    return false;
}

/* Lets it run up to the end of its next system call, and says which; -1: it has exited with 0. */
static int64_t next_call(pid_t pid)
{
    static uint64_t entered;
    for (;;) {
        int status;
        struct __ptrace_syscall_info info;
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            return -1;
        }
        ck_assert_msg(WIFSTOPPED(status), "%#x", (unsigned)status);
        if (WSTOPSIG(status) != (SIGTRAP | 0x80))
            continue;
        ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), 0);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
            entered = info.entry.nr;
        else
            return (int64_t)entered;
    }
}

/* False if it has come to its end before. */
static bool run_and_kill_after(unsigned calls)
{
    int status;
    bool has_begun = false; /* what is before is the loader's */
    pid_t pid = fork();
    if (pid == 0)
        run_traced();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
    for (unsigned count = 0; count <= calls;) {
        int64_t number = next_call(pid);
        if (number < 0)
            return false;
        has_begun |= number == SYS_flock;
        count += has_begun && changes_something((uint64_t)number);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return true;
}

static void check_next_start(unsigned calls)
{
    const char *const arguments[] = {getenv("FASTALLOCD"), "--socket", socket_path,
                                     "--exit-idle",        "0",        NULL};
    int status = program_run(&program, arguments);
    ck_assert_msg(status == 0, "after %u calls: %s", calls, program.text);
    ck_assert_msg(test_shm_files() == 0, "after %u calls", calls);
}

START_TEST(test_daemon_may_be_killed_while_it_begins_and_ends)
{
    unsigned calls = 0;
    while (run_and_kill_after(calls))
        check_next_start(calls++);
    ck_assert_uint_gt(calls, 10);
    printf("killed %u times\n", calls);
}
END_TEST

START_TEST(test_daemon_may_be_killed_while_it_clears_what_a_dead_one_left)
{
    unsigned calls = 0;
    for (bool killed = true; killed; calls++) {
        leave_a_dead_instance();
        killed = run_and_kill_after(calls);
        check_next_start(calls);
    }
    ck_assert_uint_gt(calls, 15);
    printf("killed %u times\n", calls - 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_daemon_may_be_killed_while_it_begins_and_ends,
        test_daemon_may_be_killed_while_it_clears_what_a_dead_one_left,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("daemon_kill", set_up, tear_down, tests, sizeof(tests) / sizeof(tests[0]));
}
