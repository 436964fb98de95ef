/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of memory in the broker fails once, alone or with all that follow: the operation is refused by
 * name or done, the laws hold, and nothing stays behind. The linker puts the functions below in the place of
 * malloc and its like (tests/CMakeLists.txt).
 */
#include "daemon/broker.h"

#include <stdio.h>
#include <string.h>

#include "daemon/demand.h"
#include "daemon/growing.h"
#include "daemon/listening.h"
#include "daemon/log.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

/* ---- Memory that fails ----------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);

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
static const char *growth = "none";
static uint64_t hold_limit;

static void take_answer(void *connection, uint32_t msgid, enum method method, const void *reply,
                        const struct error *refusal)
{
    ck_abort_msg("no answer is expected");
}

static struct job *job; /* that goes on beside the loop */

static int take_job(void *context, struct job *begun)
{
    ck_assert_ptr_null(job);
    job = begun;
    return 0;
}

static const struct broker_rim rim = {.answer = take_answer, .offload = take_job};

static bool begin_session(bool witnessed)
{
    return broker_begin_session(&broker, &peer, "x", witnessed, &broker, &session, &error);
}

static bool create_pool(void)
{
    struct pool_config config = {.name = "p",
                                 .type = "",
                                 .object_size = 8,
                                 .capacity = 2,
                                 .capacity_max = 9,
                                 .growth = growth,
                                 .content = {(const uint8_t *)"t", 1},
                                 .hold_limit = hold_limit};
    return broker_create_pool(&broker, &config, &pool, &error);
}

static void set_up(void)
{
    char path[64];
    test_private_shm(4 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
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

static void take_one(void)
{
    struct allocate_request request = {.pool = pool->id, .count = 1};
    struct allocate_reply reply;
    ck_assert_int_eq(demand_request(&broker, session, session_membership(session, pool->id),
                                    &request, 1, &reply, &error),
                     BROKER_DONE);
}

static bool wait_for_a_slot(void)
{
    struct allocate_request request = {.pool = pool->id, .count = 2, .timeout = 1000};
    struct allocate_reply reply;
    return demand_request(&broker, session, session_membership(session, pool->id), &request, 1,
                          &reply, &error) == BROKER_WAITS;
}

static bool take_evictable(void)
{
    struct allocate_request request = {.pool = pool->id, .count = 1, .evictable = true};
    struct allocate_reply reply;
    return demand_request(&broker, session, session_membership(session, pool->id), &request, 1,
                          &reply, &error) == BROKER_DONE;
}

static bool begin_listening(void)
{
    static const struct credentials who = {.peer = {1, 2, 3}};
    struct events_request request = {.timeout = 1000};
    struct events_reply reply;
    return listening_request(&broker, session, &who, &request, 1, &reply, &error) == BROKER_WAITS;
}

static bool grow_to(uint64_t capacity, enum broker_outcome expected)
{
    struct pool_grow_request request = {.capacity = capacity};
    struct pool_grow_reply reply;
    return growing_request(&broker, session, pool, &request, 1, &reply, &error) == expected;
}

static bool grow_at_once(void)
{
    return grow_to(4, BROKER_DONE);
}

static bool grow_again(void)
{
    return grow_to(9, BROKER_WAITS);
}

static bool allocate_by_growing(void)
{
    struct allocate_request request = {.pool = pool->id, .count = 3};
    struct allocate_reply reply;
    return demand_request(&broker, session, session_membership(session, pool->id), &request, 1,
                          &reply, &error) == BROKER_DONE;
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
    ck_assert(create_pool() && begin_plain() && join()); /* who comes first, the tables are for */
    struct session *first = session;
    ck_assert(begin_plain());
    fail_each_allocation(join, ERROR_NONE);
    broker_disconnect(&broker, first);
    ck_assert(broker_end_session(&broker, first));
}
END_TEST

START_TEST(test_broker_wait_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(create_pool() && begin_plain() && join());
    take_one();
    fail_each_allocation(wait_for_a_slot, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(broker.waiter_count, 1);
}
END_TEST

START_TEST(test_broker_evictable_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(create_pool() && begin_plain() && join());
    fail_each_allocation(take_evictable, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(pool_usage(pool), 1);
}
END_TEST

/* What can't be noticed in time is noticed later, and nobody is refused for it. */
START_TEST(test_broker_sets_a_deadline_again_that_there_was_no_memory_for)
{
    hold_limit = 100;
    ck_assert(create_pool() && begin_plain() && join());
    until_failure = 0;
    struct allocate_request request = {.pool = pool->id, .count = 1};
    struct allocate_reply reply;
    enum broker_outcome outcome = demand_request(
        &broker, session, session_membership(session, pool->id), &request, 1, &reply, &error);
    until_failure = -1;
    broker_check(&broker);
    ck_assert_int_eq(outcome, BROKER_DONE);
    ck_assert(has_failed);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    demand_serve(&broker, pool);
    ck_assert_int_eq(broker_next_deadline(&broker), 100);
}
END_TEST

START_TEST(test_broker_listening_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(begin_plain());
    fail_each_allocation(begin_listening, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(broker.waiter_count, 1);
}
END_TEST

START_TEST(test_broker_growth_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(create_pool() && begin_plain() && join());
    ck_assert(take_evictable()); /* so that the memory for those is taken as well */
    fail_each_allocation(grow_at_once, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(pool_capacity(pool), 4);
}
END_TEST

START_TEST(test_broker_growth_by_need_survives_every_failure_of_memory)
{
    all_fail = _i;
    growth = "linear:1";
    ck_assert(create_pool() && begin_plain() && join());
    fail_each_allocation(allocate_by_growing, ERROR_OUT_OF_MEMORY);
    ck_assert_uint_eq(pool_capacity(pool), 3);
}
END_TEST

/* One is under way; the request that has to wait for it can't be kept. */
START_TEST(test_broker_wait_for_a_growth_survives_every_failure_of_memory)
{
    all_fail = _i;
    ck_assert(create_pool() && begin_plain());
    pool->growing.active = true;
    fail_each_allocation(grow_again, ERROR_OUT_OF_MEMORY);
    pool->growing.active = false;
    ck_assert_uint_eq(pool_capacity(pool), 2);
}
END_TEST

/* What frees memory or slots must not need any. */
START_TEST(test_broker_ends_everything_without_memory)
{
    hold_limit = 100;
    ck_assert(create_pool() && begin_witnessed() && join() && begin_listening() &&
              take_evictable());
    take_one();
    ck_assert(wait_for_a_slot());
    all_fail = true;
    until_failure = 0;
    broker_disconnect(&broker, session);
    bool ended = broker_end_session(&broker, session);
    broker_set_time(&broker, 5000);
    broker_pass_time(&broker);
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
        test_broker_evictable_survives_every_failure_of_memory,
        test_broker_listening_survives_every_failure_of_memory,
        test_broker_growth_survives_every_failure_of_memory,
        test_broker_growth_by_need_survives_every_failure_of_memory,
        test_broker_wait_for_a_growth_survives_every_failure_of_memory,
    };
    Suite *suite = suite_create("broker_memory");
    TCase *tcase = tcase_create("broker_memory");

    tcase_add_checked_fixture(tcase, suite_setup, suite_teardown);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof(both_ways) / sizeof(both_ways[0]); i++)
        tcase_add_loop_test(tcase, both_ways[i], 0, 2);
    tcase_add_test(tcase, test_broker_sets_a_deadline_again_that_there_was_no_memory_for);
    tcase_add_test(tcase, test_broker_ends_everything_without_memory);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
