/* SPDX-License-Identifier: MIT */
/*
 * inject_calls FILE PROGRAM [ARGUMENTS]: runs the program, and makes system calls of it fail as the file says
 * (injection.h), with errors that they can end with. Its status is the program's, its death too.
 *
 * A filter has the kernel stop the program at these calls alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/inject/injection.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#define ERRORS 4
#define ONCE 0x10000 /* an error that goes away by itself, so that it can't last */

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

struct call {
    long number;
    int errors[ERRORS];
};

/*
 * Not among them: what can't fail (close, getrandom for few bytes, unlink but where the kernel is at its end); and what libuv ends the process
 * for, which can_fail() leaves out.
 */
static const struct call calls[] = {
#ifdef SYS_open
    {SYS_open, {EMFILE, ENOSPC}},
    {SYS_mkdir, {ENOSPC, ENOMEM}},
    {SYS_chmod, {ENOMEM}},
    {SYS_access, {ENOMEM}},
    {SYS_fork, {EAGAIN, ENOMEM}},
    {SYS_epoll_wait, {ONCE | EINTR}},
#endif
    {SYS_openat, {EMFILE, ENOSPC}},
    {SYS_mkdirat, {ENOSPC, ENOMEM}},
    {SYS_faccessat, {ENOMEM}},
    {SYS_fchmodat, {ENOMEM}},
    {SYS_fchmod, {EIO}},
    {SYS_newfstatat, {ENOMEM}},
    {SYS_fstat, {EIO}},
    {SYS_statfs, {ENOMEM}},
    {SYS_flock, {ENOLCK, ONCE | EINTR}},
    {SYS_ftruncate, {EIO, ONCE | EINTR}},
    {SYS_fallocate, {ENOSPC, ONCE | EINTR}},
    {SYS_pread64, {EIO, ONCE | EINTR}},
    {SYS_pwrite64, {ENOSPC, ONCE | EINTR}},
    {SYS_write, {ONCE | EIO, ONCE | ENOSPC, ONCE | EINTR}},
#ifndef SANITIZED /* whose own calls are among them */
    {SYS_mmap, {ENOMEM}},
    {SYS_mremap, {ENOMEM}},
    {SYS_mprotect, {ENOMEM}},
    {SYS_madvise, {ENOMEM, EAGAIN}},
    {SYS_clone, {EAGAIN, ENOMEM}},
    {SYS_clone3, {EAGAIN, ENOMEM}},
#endif
    {SYS_mlock, {ENOMEM, EAGAIN}},
    {SYS_socket, {EMFILE, ENOBUFS}},
    {SYS_socketpair, {EMFILE, ENOBUFS}},
    {SYS_bind, {ENOMEM, EADDRINUSE}},
    {SYS_listen, {EADDRINUSE}},
    {SYS_connect, {ENOMEM, ONCE | ECONNREFUSED, ONCE | EAGAIN, ONCE | EINTR}},
    {SYS_accept4, {EMFILE, ENOMEM, ONCE | ECONNABORTED, ONCE | EINTR}},
    {SYS_sendto, {ENOBUFS, ENOMEM, ONCE | EAGAIN, ONCE | EINTR}},
    {SYS_sendmsg, {ENOBUFS, ENOMEM, ONCE | EAGAIN, ONCE | EINTR}},
    {SYS_recvfrom, {ENOMEM, ECONNRESET, ONCE | EAGAIN, ONCE | EINTR}},
    {SYS_recvmsg, {ENOMEM, ECONNRESET, ONCE | EAGAIN, ONCE | EINTR}},
    {SYS_getsockopt, {EMFILE, ENOMEM}},
    {SYS_setsockopt, {ENOMEM}},
    {SYS_pidfd_open, {EMFILE, ENOMEM}},
    {SYS_fcntl, {EMFILE, ENOMEM}},
    {SYS_eventfd2, {EMFILE, ENOMEM}},
    {SYS_memfd_create, {EMFILE, ENOMEM}},
    {SYS_epoll_create1, {EMFILE, ENOMEM}},
    {SYS_epoll_ctl, {ENOSPC, ENOMEM}},
    {SYS_epoll_pwait, {ONCE | EINTR}},
    {SYS_ppoll, {ONCE | EINTR}},
    {SYS_pipe2, {EMFILE, ENFILE}},
    {SYS_dup3, {ONCE | EINTR}},
    {SYS_membarrier, {ENOMEM}},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static struct injection *injection;

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(125);
}

/* ---- In the program -------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static void set_filter(void)
{
    struct sock_filter filter[CALLS + 5];
    struct sock_fprog program = {CALLS + 5, filter};
    size_t next = 0;
    filter[next++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[next++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, CALLS + 1);
    filter[next++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALLS; i++)
        filter[next++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, (uint8_t)(CALLS - i), 0);
    filter[next++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[next++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        give_up("seccomp");
}

static _Noreturn void run(char *arguments[])
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        give_up("ptrace");
    raise(SIGSTOP);
    set_filter();
    execv(arguments[0], arguments);
    give_up(arguments[0]);
}

/* ---- A call ---------------------------------------------------------------------------------- */

static bool waits_for_events(uint64_t number)
{
#ifdef SYS_epoll_wait
    if (number == SYS_epoll_wait)
        return true;
#endif
    return number == SYS_epoll_pwait;
}

/* libuv tries whether a descriptor can be watched, and ends the process if it then can't. */
static bool is_trial(pid_t pid, const uint64_t *arguments)
{
    struct epoll_event event;
    void *place = (void *)(uintptr_t)arguments[3]; // NOLINT(performance-no-int-to-ptr): it is one
    struct iovec here = {&event, sizeof(event)}, there = {place, sizeof(event)};
    return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(event) &&
           (event.data.fd == -1 || (event.events & EPOLLET));
}

/* Whether it can fail with these arguments, and doing so isn't libuv's end. */
static bool can_fail(pid_t pid, uint64_t number, const uint64_t *arguments)
{
    switch (number) {
    case SYS_fcntl:
        return arguments[1] == F_DUPFD_CLOEXEC ||
               (arguments[1] == F_SETLEASE && arguments[2] != F_UNLCK);
    case SYS_epoll_ctl:
        return arguments[1] == EPOLL_CTL_ADD && is_trial(pid, arguments);
    case SYS_getsockopt:
        return arguments[2] == SO_PEERPIDFD;
    case SYS_write: /* to others: libuv's own, which wake it */
        return arguments[0] <= STDERR_FILENO;
    case SYS_pipe2: /* those for the process, not for a loop */
        return (arguments[1] & O_NONBLOCK) != 0;
    default:
        return true;
    }
}

static const struct call *find_call(uint64_t number)
{
    for (size_t i = 0; i < CALLS; i++)
        if ((uint64_t)calls[i].number == number)
            return &calls[i];
    return NULL;
}

/* The error that it is to end with; 0 = it is to be carried out. */
static int choose(const struct call *call)
{
    int error = injection->choice < ERRORS ? call->errors[injection->choice] : 0;
    if (!(error & ONCE))
        return error;
    return injection->lasting ? 0 : error & ~ONCE;
}

static void fail(pid_t pid, int error)
{
#if defined(__x86_64__)
    struct user_regs_struct registers;
    struct iovec all = {&registers, sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)1, &all) < 0)
        give_up("registers");
    registers.orig_rax = (unsigned long long)-1;
    registers.rax = (unsigned long long)-error;
    if (ptrace(PTRACE_SETREGSET, pid, (void *)1, &all) < 0)
        give_up("registers");
#elif defined(__aarch64__)
    struct user_regs_struct registers;
    struct iovec all = {&registers, sizeof(registers)};
    int number = -1;
    struct iovec call = {&number, sizeof(number)};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)1, &all) < 0)
        give_up("registers");
    registers.regs[0] = (unsigned long long)-error;
    if (ptrace(PTRACE_SETREGSET, pid, (void *)1, &all) < 0 ||
        ptrace(PTRACE_SETREGSET, pid, (void *)0x404, &call) < 0)
        give_up("registers");
#endif
}

/* Those that can't end so aren't counted. */
static void count(pid_t pid, uint64_t number)
{
    int error = choose(find_call(number));
    if (error == 0)
        return;
    uint64_t calls_now = ++injection->calls;
    if (calls_now < injection->at || (calls_now > injection->at && !injection->lasting))
        return;
    if (injection->failed++ == 0) {
        injection->number = (int32_t)number;
        injection->error = error;
    }
    fail(pid, error);
}

static void on_call(pid_t pid)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
        return; /* killed just now */
    uint64_t number = info.seccomp.nr;
    bool rests = waits_for_events(number);
    if (rests && injection->failed > 0 && ++injection->rests >= INJECTION_RESTS_MAX)
        __atomic_store_n(&injection->armed, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&injection->armed, __ATOMIC_SEQ_CST) && !injection->memory &&
        can_fail(pid, number, info.seccomp.args))
        count(pid, number);
    if (injection->at_begin && number == SYS_fcntl && info.seccomp.args[1] == F_GETFD)
        __atomic_store_n(&injection->armed, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&injection->resting, rests, __ATOMIC_SEQ_CST);
}

/* ---- All of them ----------------------------------------------------------------------------- */

/* The signal that it is to be given, now that it is stopped. */
static int take_stop(pid_t pid, int status)
{
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
        on_call(pid);
    /* Those that are traced from their begin stop at it. */
    bool ours = status >> 16 != 0 || WSTOPSIG(status) == SIGSTOP;
    return ours ? 0 : WSTOPSIG(status);
}

static int trace(pid_t first)
{
    int status, result = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (pid > 0 && WIFSTOPPED(status))
            ptrace(PTRACE_CONT, pid, NULL, take_stop(pid, status));
        else if (pid == first)
            result = status;
    }
    return result;
}

static _Noreturn void end_like(int status)
{
    struct rlimit none = {0, 0};
    if (WIFEXITED(status))
        exit(WEXITSTATUS(status));
    setrlimit(RLIMIT_CORE, &none);
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
    exit(125);
}

static pid_t program;

static void pass_on(int number)
{
    kill(program, number);
}

int main(int argc, char *argv[])
{
    int fd = argc > 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    injection = mmap(NULL, sizeof(*injection), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (injection == MAP_FAILED)
        give_up("inject_calls FILE PROGRAM [ARGUMENTS]");
    program = fork();
    if (program == 0)
        run(argv + 2);
    int status;
    if (program < 0 || waitpid(program, &status, __WALL) != program || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, program, NULL,
               PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC |
                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK) < 0)
        give_up("ptrace");
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    ptrace(PTRACE_CONT, program, NULL, NULL);
    end_like(trace(program));
}
