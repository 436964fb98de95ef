/* SPDX-License-Identifier: MIT */
/*
 * The kind of pool that a test is about, where it is about both: the suite runs such a test a second
 * time with FASTALLOC_TEST_KIND=leased (tests/CMakeLists.txt).
 */
#ifndef TESTS_LIB_KIND_H
#define TESTS_LIB_KIND_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool test_is_leased(void)
{
    const char *kind = getenv("FASTALLOC_TEST_KIND");
    return kind && strcmp(kind, "leased") == 0;
}

/* 2 = leased, 1 = brokered, in ctl, in the protocol and in the library. */
static inline unsigned test_kind(void)
{
    return test_is_leased() ? 2 : 1;
}

#endif
