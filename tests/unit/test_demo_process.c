/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_process.c" // NOLINT(bugprone-suspicious-include): part of a program

#include <sys/resource.h>
#include <sys/time.h>

#include "tests/unit/suite.h"

/* A child that exits with `status`, or never does if that is negative. */
static pid_t start(int status)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (status < 0)
            for (;;)
                pause();
        _exit(status);
    }
    return pid;
}

START_TEST(test_process_tells_how_it_ended)
{
    int status = process_await(start(3), 10000);

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

START_TEST(test_process_that_does_not_end_is_killed)
{
    int status = process_await(start(-1), 10);

    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

START_TEST(test_process_that_is_stopped_is_killed)
{
    pid_t pid = start(-1);

    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert(WIFSIGNALED(process_await(pid, 10)));
}
END_TEST

static void ignore(int number)
{
    (void)number;
}

START_TEST(test_process_is_killed_though_signals_interrupt_the_wait)
{
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = ignore}, old;

    ck_assert_int_eq(sigaction(SIGALRM, &action, &old), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    ck_assert(WIFSIGNALED(process_await(start(-1), 50)));
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_eq(sigaction(SIGALRM, &old, NULL), 0);
}
END_TEST

START_TEST(test_process_is_killed_though_no_descriptor_can_be_had)
{
    struct rlimit old;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, old.rlim_max}), 0);
    ck_assert(WIFSIGNALED(process_await(start(-1), 50)));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}
END_TEST

SUITE_MAIN("demo_process", test_process_tells_how_it_ended,
           test_process_that_does_not_end_is_killed, test_process_that_is_stopped_is_killed,
           test_process_is_killed_though_signals_interrupt_the_wait,
           test_process_is_killed_though_no_descriptor_can_be_had)
