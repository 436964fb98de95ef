/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_process.c" // NOLINT(bugprone-suspicious-include): part of a program

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

SUITE_MAIN("demo_process", test_process_tells_how_it_ended,
           test_process_that_does_not_end_is_killed, test_process_that_is_stopped_is_killed)
