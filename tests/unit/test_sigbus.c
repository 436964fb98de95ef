/* SPDX-License-Identifier: MIT */
#include "daemon/sigbus.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
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
                test_sigbus_of_what_is_not_protected_ends_the_process,
                test_sigbus_of_what_is_forgotten_ends_the_process)
