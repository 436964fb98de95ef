/* SPDX-License-Identifier: MIT */
#include "daemon/attempt.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static uint32_t *failures; /* shared with children */

static void set_up(void)
{
    failures = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(failures, MAP_FAILED);
}

static void tear_down(void)
{
    munmap(failures, 4096);
}

/* A child attempts something that ends it by the signal. */
static void attempt_and_end(int number)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(number, SIG_DFL);
        attempt_begin(failures);
        raise(number);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == number, "%d", status);
}

START_TEST(test_attempt_counts_what_fails)
{
    for (uint32_t i = 1; i <= 3; i++) {
        attempt_begin(failures);
        attempt_end(false);
        ck_assert_uint_eq(*failures, i);
    }
    attempt_begin(failures);
    attempt_end(true);
    ck_assert_uint_eq(*failures, 0);
}
END_TEST

START_TEST(test_attempt_counts_faults_of_its_own)
{
    attempt_and_end(SIGSEGV);
    attempt_and_end(SIGABRT);
    attempt_and_end(SIGFPE);
    attempt_and_end(SIGILL);
    ck_assert_uint_eq(*failures, 4);
}
END_TEST

static void say_last_words(int number)
{
    failures[1]++; /* beside the count, in what is shared */
    signal(number, SIG_DFL);
}

/* What there was for it before still is: the daemon says that it ends. */
START_TEST(test_attempt_counts_and_lets_last_words_be_said)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGABRT, say_last_words);
        attempt_begin(failures);
        abort();
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d", status);
    ck_assert_uint_eq(failures[0], 1);
    ck_assert_uint_eq(failures[1], 1);
}
END_TEST

START_TEST(test_attempt_counts_nothing_that_others_do)
{
    attempt_and_end(SIGKILL);
    attempt_and_end(SIGTERM);
    attempt_and_end(SIGINT);
    ck_assert_uint_eq(*failures, 0);
}
END_TEST

START_TEST(test_attempt_leaves_signals_as_they_were)
{
    struct sigaction action;
    signal(SIGFPE, SIG_IGN);
    attempt_begin(failures);
    attempt_end(true);
    ck_assert_int_eq(sigaction(SIGFPE, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_IGN);
}
END_TEST

SUITE_MAIN_WITH("attempt", set_up, tear_down, test_attempt_counts_what_fails,
                test_attempt_counts_faults_of_its_own,
                test_attempt_counts_and_lets_last_words_be_said,
                test_attempt_counts_nothing_that_others_do,
                test_attempt_leaves_signals_as_they_were)
