/* SPDX-License-Identifier: MIT */
#include "daemon/sigbus.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define PAGE 4096
#define PAGES 4

static int fd;
static char *start;

static void set_up(void)
{
    ck_assert_int_eq(sigbus_install(), 0);
    fd = memfd_create("cut", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, (off_t)PAGES * PAGE), 0);
    start = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(start, MAP_FAILED);
    memset(start, 'x', (size_t)PAGES * PAGE);
}

static void tear_down(void)
{
    sigbus_forget(start);
    munmap(start, (size_t)PAGES * PAGE);
    close(fd);
}

static void check_is(char expected)
{
    for (size_t i = 0; i < (size_t)PAGES * PAGE; i++)
        ck_assert_int_eq(start[i], expected);
}

START_TEST(test_sigbus_leaves_what_is_whole)
{
    ck_assert(sigbus_protect(start, (size_t)PAGES * PAGE));
    check_is('x');
}
END_TEST

/* Wherever it is touched first, and by a write too. */
START_TEST(test_sigbus_puts_zeroes_for_what_was_cut)
{
    for (size_t page = 1; page < PAGES; page++) {
        ck_assert(sigbus_protect(start, (size_t)PAGES * PAGE));
        ck_assert_int_eq(ftruncate(fd, PAGE), 0);
        start[page * PAGE] = 0;
        check_is(0);
        start[page * PAGE] = 'y'; /* our own memory now */
        ck_assert_int_eq(start[page * PAGE], 'y');
        tear_down();
        set_up();
    }
}
END_TEST

START_TEST(test_sigbus_leaves_other_ranges)
{
    char other[] = "other";
    char *whole = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memcpy(whole, other, sizeof(other));
    ck_assert(sigbus_protect(whole, PAGE));
    ck_assert(sigbus_protect(start, (size_t)PAGES * PAGE));
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    check_is(0);
    ck_assert_str_eq(whole, other);
    sigbus_forget(whole);
    munmap(whole, PAGE);
}
END_TEST

START_TEST(test_sigbus_has_a_limit_and_takes_places_again)
{
    static char places[SIGBUS_RANGES + 1];
    for (size_t i = 0; i < SIGBUS_RANGES; i++)
        ck_assert(sigbus_protect(&places[i], 1));
    ck_assert(!sigbus_protect(&places[SIGBUS_RANGES], 1));
    sigbus_forget(&places[7]);
    ck_assert(sigbus_protect(&places[SIGBUS_RANGES], 1));
    for (size_t i = 0; i <= SIGBUS_RANGES; i++)
        sigbus_forget(&places[i]);
}
END_TEST

/* ---- Between the handler's instructions ------------------------------------------------------ */

/* Two pages: the first is whole, the second is cut off. Each is protected. */
static char *pair;
/* What takes the place of the first page's range. */
static char elsewhere[2 * PAGE] __attribute__((aligned(PAGE)));

static void set_up_pair(void)
{
    pair = mmap(NULL, (size_t)2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pair, MAP_FAILED);
    ck_assert_ptr_eq(mmap(pair + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
                     pair + PAGE);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    pair[0] = elsewhere[0] = 'x';
    ck_assert(sigbus_protect(pair, PAGE));
    ck_assert(sigbus_protect(pair + PAGE, PAGE));
}

static void change_ranges(int number)
{
    (void)number;
    sigbus_forget(pair);                          // NOLINT(bugprone-signal-handler): no locks
    sigbus_protect(elsewhere, sizeof(elsewhere)); // NOLINT(bugprone-signal-handler)
}

static void touch_pair(void)
{
    signal(SIGUSR1, change_ranges);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    pair[PAGE] = 'y';
    _exit(pair[0] == 'x' && pair[PAGE] == 'y' && elsewhere[0] == 'x' ? 0 : 1);
}

/* What the child is to get of the signal that it was stopped by. */
static int signal_of(int status)
{
    return WSTOPSIG(status) == SIGBUS ? SIGBUS : 0;
}

/*
 * A child touches what is cut off; after so many instructions, perhaps of the handler, ranges change as
 * by another thread. False if it was through before.
 */
static bool change_between(unsigned instructions)
{
    int status;
    bool through = false;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        touch_pair();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    for (unsigned i = 0; WIFSTOPPED(status); i++) {
        int number = signal_of(status);
        through = i < instructions;
        if (through)
            ptrace(PTRACE_SINGLESTEP, pid, NULL, number);
        else
            ptrace(PTRACE_CONT, pid, NULL, number != 0 ? number : SIGUSR1);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    }
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "after %u: %d", instructions,
                  status);
    return !through;
}

/* After each instruction, or every so manieth where they are more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 1024u
#else
#define STRIDE 1u
#endif

START_TEST(test_sigbus_ranges_may_change_beside_the_handler)
{
    unsigned times = 0;
    set_up_pair();
    while (change_between(times * STRIDE))
        times++;
    ck_assert_uint_gt(times, 2);
    sigbus_forget(pair);
    sigbus_forget(pair + PAGE);
    munmap(pair, (size_t)2 * PAGE);
}
END_TEST

/* ---- The end of the process ------------------------------------------------------------------ */

/* In a child, since it is the end of the process. */
static void check_deadly(void)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        start[0] = 'y';
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

START_TEST(test_sigbus_of_what_is_not_protected_ends_the_process)
{
    check_deadly();
}
END_TEST

START_TEST(test_sigbus_of_what_is_forgotten_ends_the_process)
{
    ck_assert(sigbus_protect(start, (size_t)PAGES * PAGE));
    sigbus_forget(start);
    check_deadly();
}
END_TEST

SUITE_MAIN_WITH("sigbus", set_up, tear_down, test_sigbus_leaves_what_is_whole,
                test_sigbus_puts_zeroes_for_what_was_cut, test_sigbus_leaves_other_ranges,
                test_sigbus_has_a_limit_and_takes_places_again,
                test_sigbus_ranges_may_change_beside_the_handler,
                test_sigbus_of_what_is_not_protected_ends_the_process,
                test_sigbus_of_what_is_forgotten_ends_the_process)
