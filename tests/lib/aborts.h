/* SPDX-License-Identifier: MIT */
/*
 * Showing that a checker of laws can fail: a fault is seeded, the checker must abort on it. It runs in a
 * child of its own, so the fault can be undone and the checker shown to be content again.
 */
#ifndef TESTS_LIB_ABORTS_H
#define TESTS_LIB_ABORTS_H

#include <stdbool.h>

/* A build without assertions has no checkers. */
#ifdef NDEBUG
#define TEST_ASSERTIONS false
#else
#define TEST_ASSERTIONS true
#endif

/* Whether checker(object) ends with SIGABRT. */
bool test_aborts(void (*checker)(const void *object), const void *object);

/* Stores the value, requires that the checker aborts on it, and stores what was there before. */
#define TEST_ABORTS_WITH(checker, object, place, value)                                            \
    do {                                                                                           \
        __typeof__(place) before_ = (place);                                                       \
        (place) = (value);                                                                         \
        ck_assert_msg(!TEST_ASSERTIONS || test_aborts(checker, object), "passes with %s = %s",     \
                      #place, #value);                                                             \
        (place) = before_;                                                                         \
        ck_assert_msg(!test_aborts(checker, object), "%s is not put back", #place);                \
    } while (0)

#endif
