/* SPDX-License-Identifier: MIT */
#include "tests/unit/suite.h"

#include <unistd.h>

/* What the child does in place of becoming wc. */
static void (*act)(void);

static int become(void)
{
    act();
    return -1;
}

#define execl(...) become()
#define execlp(...) become()
#include "client/ctl/demo_signals.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_wc.c"      // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/failure.c"      // NOLINT(bugprone-suspicious-include): part of a program

static void be_killed(void)
{
    raise(SIGKILL);
}

static void fail_with_3(void)
{
    _exit(3);
}

static void not_be_there(void)
{
}

static void say_nonsense(void)
{
    _exit(write(1, "nonsense", 8) == 8 ? 0 : 1);
}

static void answer(void)
{
    _exit(write(1, " 0  1 1\n", 8) == 8 ? 0 : 1);
}

static void check(void (*wc)(void), int expected, const char *message)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct signals signals;
    enum word_rule rule = WORD_PRINTABLE;

    act = wc;
    ck_assert_int_eq(signals_init(&signals), 0);
    ck_assert_int_eq(wc_probe(&signals, &rule, &error), expected);
    ck_assert_str_eq(error.message, message);
    ck_assert_int_eq(rule, expected == 0 ? WORD_ANY : WORD_PRINTABLE);
    signals_deinit(&signals);
}

START_TEST(test_wc_that_answers_is_understood)
{
    check(answer, 0, "");
}
END_TEST

START_TEST(test_wc_that_fails_is_told_with_how)
{
    check(be_killed, -ECHILD, "wc failed (signal 9)");
    check(fail_with_3, -ECHILD, "wc failed (status 3)");
    check(not_be_there, -ENOENT, "cannot run wc: No such file or directory");
    check(say_nonsense, -EPROTO, "wc says what nobody understands");
}
END_TEST

SUITE_MAIN("demo_wc", test_wc_that_answers_is_understood, test_wc_that_fails_is_told_with_how)
