/* SPDX-License-Identifier: MIT */
#include "tests/lib/traced.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE)
#define STOP_OF_CALL (SIGTRAP | 0x80)

/* In the child. */
static _Noreturn void execute(const char *const arguments[])
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which can't be done to a traced process */
    if (arguments[0] && ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
        execv(arguments[0], (char *const *)(const void *)arguments);
    _exit(127);
}

void traced_start(struct traced *traced, const char *const arguments[])
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        execute(arguments);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, OPTIONS), 0);
    *traced = (struct traced){.pid = pid, .thread = pid};
}

void traced_attach(struct traced *traced, pid_t pid)
{
    int status;
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, NULL, OPTIONS), 0);
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    *traced = (struct traced){.pid = pid, .thread = pid};
}

/* A signal of its own it gets; what the tracing brings about it doesn't. */
static int signal_for(int status)
{
    int number = WSTOPSIG(status);
    bool ours = status >> 16 != 0 || number == SIGTRAP || number == SIGSTOP;
    return ours || number == STOP_OF_CALL ? 0 : number;
}

static void look(struct traced *traced)
{
    struct __ptrace_syscall_info info;
    ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, traced->thread, sizeof(info), &info), 0);
    traced->entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (traced->entry) {
        traced->number = info.entry.nr;
        traced->first = info.entry.args[0];
    }
}

bool traced_step(struct traced *traced)
{
    int status, signal = 0;
    for (;;) {
        ptrace(PTRACE_SYSCALL, traced->thread, NULL, signal); /* it may be gone, with the process */
        do {
            traced->thread = waitpid(-1, &status, __WALL);
            ck_assert_int_gt(traced->thread, 0);
        } while (!WIFSTOPPED(status) && traced->thread != traced->pid);
        if (WIFEXITED(status)) {
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            return false;
        }
        ck_assert_msg(WIFSTOPPED(status), "it ended with %#x", (unsigned)status);
        if (WSTOPSIG(status) == STOP_OF_CALL) {
            look(traced);
            return true;
        }
        signal = signal_for(status);
    }
}

void traced_kill(struct traced *traced)
{
    int status;
    pid_t ended;
    ck_assert_int_eq(kill(traced->pid, SIGKILL), 0);
    do {
        ended = waitpid(-1, &status, __WALL);
        ck_assert_int_gt(ended, 0);
    } while (ended != traced->pid || !WIFSIGNALED(status)); /* its threads before */
}
