/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of memory in the broker fails once, alone or with all that follow: the operation is refused by
 * name or done, the laws hold, and nothing stays behind. The linker puts the functions below in the place of
 * malloc and its like (tests/CMakeLists.txt).
 */
#include "daemon/broker.h"

#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

/* ---- Memory that fails ----------------------------------------------------------------------- */

#pragma GCC visibility push(default) /* the sanitizers' libraries refer to them */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);
#pragma GCC visibility pop

static long until_failure = -1; /* allocations that still succeed; negative: all do */
static bool all_fail;           /* after the first one too */
static bool has_failed;
static long taken; /* and not freed */

static bool fails(void)
{
    if (until_failure < 0 || until_failure-- > 0)
        return false;
    if (all_fail)
        until_failure = 0;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    void *memory = fails() ? NULL : __real_malloc(size);
    taken += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = fails() ? NULL : __real_calloc(count, size);
    taken += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *old, size_t size)
{
    bool begins = old == NULL;
    void *memory = fails() ? NULL : __real_realloc(old, size);
    taken += begins && memory;
    return memory;
}

void __wrap_free(void *memory)
{
    taken -= memory != NULL;
    __real_free(memory);
}

/* ---- The broker ------------------------------------------------------------------------------ */

static const struct peer peer = {1, 2, 3};
static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static struct broker broker;
static struct session *session;
static struct pool *pool;
static struct error error;

static void take_answer(void *connection, uint32_t msgid, const struct allocate_reply *reply,
                        const struct error *refusal)
{
    ck_abort_msg("no answer is expected");
}

static bool begin_session(bool witnessed)
{
    return broker_begin_session(&broker, &peer, "x", witnessed, &broker, &session, &error);
}

static bool create_pool(void)
{
    struct pool_config config = {.name = "p", .type = "", .object_size = 8, .capacity = 2};
    return broker_create_pool(&broker, &config, &pool, &error);
}

static void set_up(void)
{
    char path[64];
    test_private_shm(4 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, take_answer), 0);
    log_set_level(LOG_LEVEL_ERROR);
}

static void tear_down(void)
{
    uint32_t pools, sessions;
    if (session) {
        broker_disconnect(&broker, session);
        ck_assert(broker_end_session(&broker, session));
    }
    ck_assert(broker_deinit(&broker, &pools, &sessions));
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

/*
 * Does it again and again, failing the first allocation, the second, ..., until one time none is left to
 * fail. Each failure must be refused as that and change nothing.
 */
static void fail_each_allocation(bool (*operation)(void), enum error_code code)
{
    for (long number = 0;; number++) {
        unsigned files_before = test_shm_files();
        memset(&error, 0, sizeof(error));
        has_failed = false;
        taken = 0;
        until_failure = number;
        bool done = operation();
        until_failure = -1;
        long kept = taken; /* libcheck's assertions take some too */
        broker_check(&broker);
        if (!has_failed) {
            ck_assert(done);
            ck_assert_int_gt(number, 0); /* there was something to fail */
            return;
        }
        ck_assert(!done);
        ck_assert_int_eq(error.code, code);
        ck_assert_int_eq(kept, 0);
        ck_assert_uint_eq(test_shm_files(), files_before);
    }
}

static bool begin_plain(void)
{
    return begin_session(false);
}

static bool begin_witnessed(void)
{
    return begin_session(true);
}

static bool join(void)
{
    return session_join(session, pool, true) != NULL;
}

static bool wait_for_a_slot(void)
{
    struct allocate_request request = {.pool = pool->id, .count = 2, .timeout = 1000};
    struct allocate_reply reply;
    return broker_allocate(&broker, session, session_membership(session, pool->id), &request, 1, 0,
                           &reply, &error) == BROKER_WAITS;
}

START_TEST(test_broker_begin_session_survives_every_failure_of_memory)
{
    all_fail = _i;
    fail_each_allocation(begin_plain, ERROR_OUT_OF_MEMORY);
}
END_TEST

START_TEST(test_broker_begin_witnessed_session_survives_every_failure_of_memory)
{
    all_fail = _i;
    fail_each_allocation(begin_witnessed, ERROR_OUT_OF_MEMORY);
}
END_TEST

START_TEST(test_broker_create_pool_survives_every_failure_of_memory)
{
    all_fail = _i;
    fail_each_allocation(create_pool, ERROR_OUT_OF_MEMORY);
}
END_TEST

START_TEST(test_session_join_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(create_pool() && begin_plain());
    fail_each_allocation(join, ERROR_NONE);
}
END_TEST

START_TEST(test_broker_wait_survives_every_failure_of_memory)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    all_fail = _i;
    ck_assert(create_pool() && begin_plain() && join());
    pool_allocate(pool, session_membership(session, pool->id)->member, 1, 1, wire);
    fail_each_allocation(wait_for_a_slot, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(broker.waiter_count, 1);
}
END_TEST

/* What frees memory or slots must not need any. */
START_TEST(test_broker_ends_everything_without_memory)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    ck_assert(create_pool() && begin_witnessed() && join());
    pool_allocate(pool, session_membership(session, pool->id)->member, 1, 1, wire);
    ck_assert(wait_for_a_slot());
    all_fail = true;
    until_failure = 0;
    broker_disconnect(&broker, session);
    bool ended = broker_end_session(&broker, session);
    broker_destroy_pool(&broker, pool);
    until_failure = -1;
    session = NULL;
    broker_check(&broker);
    ck_assert(ended && !has_failed);
}
END_TEST

int main(void)
{
    const TTest *const both_ways[] = {
        test_broker_begin_session_survives_every_failure_of_memory,
        test_broker_begin_witnessed_session_survives_every_failure_of_memory,
        test_broker_create_pool_survives_every_failure_of_memory,
        test_session_join_survives_every_failure_of_memory,
        test_broker_wait_survives_every_failure_of_memory,
    };
    Suite *suite = suite_create("broker_memory");
    TCase *tcase = tcase_create("broker_memory");

    tcase_add_checked_fixture(tcase, suite_setup, suite_teardown);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof(both_ways) / sizeof(both_ways[0]); i++)
        tcase_add_loop_test(tcase, both_ways[i], 0, 2);
    tcase_add_test(tcase, test_broker_ends_everything_without_memory);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
