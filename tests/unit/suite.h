/* SPDX-License-Identifier: MIT */
/*
 * The frame of a unit test program: runs the tests, each in a process of its own, and fails the one
 * that leaves a descriptor open. At the end of a file: SUITE_MAIN("scan", test_this, test_that)
 */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>
#include <dirent.h>
#include <stdlib.h>

/* Seconds for each test; a file whose tests take longer defines it before. */
#ifndef SUITE_TIMEOUT
#define SUITE_TIMEOUT 60
#endif

static int suite_descriptors;

static inline int suite_count_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static inline void suite_setup(void)
{
    suite_descriptors = suite_count_descriptors();
}

static inline void suite_teardown(void)
{
    ck_assert_int_eq(suite_count_descriptors(), suite_descriptors);
}

/* Each test runs between `setup` and `teardown`, if they aren't NULL. */
static inline int suite_run(const char *name, SFun setup, SFun teardown, const TTest *const *tests,
                            size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, SUITE_TIMEOUT);
    tcase_add_checked_fixture(tcase, suite_setup, suite_teardown);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define SUITE_MAIN(name, ...) SUITE_MAIN_WITH(name, NULL, NULL, __VA_ARGS__)
#define SUITE_MAIN_WITH(name, setup, teardown, ...)                                                \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return suite_run(name, setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));          \
    }

#endif
