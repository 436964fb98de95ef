/* SPDX-License-Identifier: MIT */
/*
 * The stage for tests of dying clients: a daemon, a pool, a connection of the test's own that looks
 * on, and what there was of sessions, descriptors and shared-memory objects before anybody came.
 */
#ifndef TESTS_LIB_STAGE_H
#define TESTS_LIB_STAGE_H

#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "tests/lib/daemon.h"
#include "tests/unit/suite.h"

#define STAGE_POOL "stage"
#define STAGE_CAPACITY UINT64_C(64)
#define STAGE_FOREVER INT64_C(10000000000) /* ns: longer than anything here takes */

struct stage {
    struct test_daemon daemon;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    unsigned descriptors; /* of the daemon */
    int objects;          /* in /dev/shm, where they can be counted */
};

extern struct stage stage;

/* The fixture. The teardown settles, ends the daemon, and finds that nothing is left of it. */
void stage_setup(void);
void stage_teardown(void);

/*
 * Goes round with the daemon until everybody but the test is gone: no other session, not one
 * descriptor or object too many. Fails the test if that takes ten seconds.
 */
void stage_settle(void);

/* Holds or frees slots for the test. */
void stage_take(uint32_t count);
void stage_give_back(void);

/* Takes all slots, which must come within ten seconds, and gives them back. Returns when they came. */
int64_t stage_take_all(void);

/* Nothing is free now. */
void stage_expect_exhausted(void);

/* Nothing gets free for so long. */
void stage_expect_exhausted_for(int64_t ns);

fastalloc_stats_t stage_stats(void);

/* Goes round with the daemon until so many requests wait. Fails the test if that takes ten seconds. */
void stage_await_waiters(uint64_t waiters);

/* Sessions that the daemon knows, the test's own included; those whose connection is gone. */
struct stage_sessions {
    unsigned all;
    unsigned orphans;
};
struct stage_sessions stage_sessions(void);

/* The end of a test's file: each test gets a stage of its own. */
#define STAGE_MAIN(name, ...)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        if (!test_daemon_is_built())                                                               \
            return 77;                                                                             \
        return suite_run(name, stage_setup, stage_teardown, tests,                                 \
                         sizeof(tests) / sizeof(tests[0]));                                        \
    }

#endif
