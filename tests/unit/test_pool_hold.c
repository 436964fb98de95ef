/* SPDX-License-Identifier: MIT */
/*
 * Who holds an object: free, release, retain, adopt, detach, by each who can come, from each state.
 *
 * FASTALLOC_SEED chooses the run of the random tests; the seed is printed.
 */
#include "daemon/pool.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/order.h"
#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/holds.h"
#include "tests/unit/suite.h"

#define SHM_SIZE (UINT64_C(16) << 20)
#define ID 7u
#define NONCE 0xbeefu
#define CAPACITY 16u
#define BATCH 8u
#define MEMBERS 4u
#define POOL SLOT_MEMBER_POOL

static const uint8_t key[SEGMENT_KEY_SIZE] = {1, 2, 3};
static struct pool_config config;
static struct pool *pool;
static struct error error;
static uint8_t wire[2048 * HANDLE_WIRE_SIZE];
static int64_t now;
static uint32_t first, second, third;

static void create(void)
{
    ck_assert(pool_create(&config, ID, NONCE, key, now, &pool, &error));
    first = pool_join(pool, 11, 1);
    second = pool_join(pool, 12, 2);
    third = pool_join(pool, 13, 3);
    pool_check(pool);
}

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    config = (struct pool_config){.kind = test_kind(),
                                  .name = "frames",
                                  .type = "frame",
                                  .object_size = 40,
                                  .capacity = CAPACITY};
    create();
}

static void destroy(void)
{
    for (uint32_t member = 1; member < pool->account_count; member++)
        if (pool->accounts[member])
            pool_leave(pool, member, now);
    pool_check(pool);
    ck_assert(LIST_EMPTY(&pool->users.list));
    pool_destroy(pool);
    pool_free(pool);
}

static void tear_down(void)
{
    destroy();
    ck_assert_uint_eq(test_shm_files(), 0);
}

static void create_other(uint32_t flags)
{
    destroy();
    config.flags = flags;
    create();
}

static uint8_t *at(size_t position)
{
    return wire + position * HANDLE_WIRE_SIZE;
}

static fastalloc_handle_t handle_at(uint32_t position)
{
    return handle_from_wire(at(position));
}

static void put_at(uint32_t position, fastalloc_handle_t handle)
{
    handle_to_wire(handle, at(position));
}

static void allocate_at(uint32_t member, uint32_t position, uint32_t count)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    ck_assert(pool_charge(pool, member, count, &charge, &error));
    ck_assert_uint_ge(pool_room(pool, PRIORITY_CRITICAL), count);
    pool_allocate(pool, member, 5, false, count, &charge, now, at(position));
    pool_check(pool);
}

/* What came of it: 0, or the code. */
static enum error_code operate(enum pool_operation operation, uint32_t member, uint32_t from,
                               uint32_t count)
{
    memset(&error, 0, sizeof(error));
    bool done = pool_operate(pool, operation, member, at(from), count, now, &error);
    pool_check(pool);
    ck_assert_int_eq(done, error.code == ERROR_NONE);
    return error.code;
}

static void do_it(enum pool_operation operation, uint32_t member)
{
    ck_assert_msg(operate(operation, member, 0, 1) == ERROR_NONE, "%s", error.message);
}

/* ---- One object, as it stands ---------------------------------------------------------------- */

static uint64_t word(void)
{
    return word_load(&pool->words[handle_at(0).index]);
}

static bool is_free(void)
{
    return !slot_is_allocated(word()) || slot_generation(word()) != handle_generation(handle_at(0));
}

static uint32_t holds(uint32_t member)
{
    return count_holds(&pool->holders, handle_at(0).index, member);
}

static void check_free(void)
{
    ck_assert(is_free());
    ck_assert_uint_eq(holders_count(&pool->holders, handle_at(0).index), 0);
}

static void check_live(uint32_t member)
{
    ck_assert(!is_free());
    ck_assert_uint_eq(word(), slot_word(handle_generation(handle_at(0)), member, SLOT_LIVE));
    ck_assert_uint_eq(ledger_holder(&pool->ledger, handle_at(0).index), member);
    ck_assert_uint_eq(holders_count(&pool->holders, handle_at(0).index), 0);
}

static void check_shared(uint32_t of_first, uint32_t of_second, uint32_t of_pool)
{
    ck_assert(!is_free());
    ck_assert_uint_eq(word(), slot_word(handle_generation(handle_at(0)), POOL, SLOT_SHARED));
    ck_assert_uint_eq(ledger_entry(&pool->ledger, handle_at(0).index),
                      layout_ledger_entry(0, POOL));
    ck_assert_uint_eq(holds(first), of_first);
    ck_assert_uint_eq(holds(second), of_second);
    ck_assert_uint_eq(holds(POOL), of_pool);
    ck_assert_uint_eq(holders_count(&pool->holders, handle_at(0).index),
                      of_first + of_second + of_pool);
}

/* ---- Every transition ------------------------------------------------------------------------ */

/* States in which an object can be; `second` is the other holder, `third` holds nothing. */
enum standing {
    LIVE,        /* the first one's */
    DETACHED,    /* the pool's */
    SHARED,      /* the first one's and the second one's */
    SHARED_SAME, /* the first one's, twice */
    SHARED_LEFT, /* SHARED, and the second one has released */
    SHARED_POOL, /* SHARED, and the second one has detached */
    STANDINGS,
};

static void bring_to(enum standing standing)
{
    allocate_at(first, 0, 1);
    if (standing == DETACHED)
        do_it(POOL_DETACH, first);
    if (standing == SHARED || standing == SHARED_LEFT || standing == SHARED_POOL)
        do_it(POOL_RETAIN, second);
    if (standing == SHARED_SAME)
        do_it(POOL_RETAIN, first);
    if (standing == SHARED_LEFT)
        do_it(POOL_RELEASE, second);
    if (standing == SHARED_POOL)
        do_it(POOL_DETACH, second);
}

enum who { FIRST, SECOND, THIRD, WHO };

/* What an operation comes to: a code, or who holds then. */
struct outcome {
    enum error_code code;
    enum { FREE_NOW, LIVE_NOW, SHARED_NOW } state;
    int8_t holds[WHO + 1]; /* of the three and of the pool; LIVE: whose is 1 */
};

#define REFUSED(name)                                                                              \
    {                                                                                              \
        ERROR_##name, FREE_NOW,                                                                    \
        {                                                                                          \
            0, 0, 0, 0                                                                             \
        }                                                                                          \
    }
#define FREED                                                                                      \
    {                                                                                              \
        ERROR_NONE, FREE_NOW,                                                                      \
        {                                                                                          \
            0, 0, 0, 0                                                                             \
        }                                                                                          \
    }
#define LIVE_OF(a, b, c, pool)                                                                     \
    {                                                                                              \
        ERROR_NONE, LIVE_NOW,                                                                      \
        {                                                                                          \
            a, b, c, pool                                                                          \
        }                                                                                          \
    }
#define HELD_BY(a, b, c, pool)                                                                     \
    {                                                                                              \
        ERROR_NONE, SHARED_NOW,                                                                    \
        {                                                                                          \
            a, b, c, pool                                                                          \
        }                                                                                          \
    }

/* By state, operation, and who does it: the first one, the second one, the third one. */
static const struct outcome outcomes[STANDINGS][POOL_DETACH + 1][WHO] =
    {
        [LIVE] =
            {
                [POOL_FREE] = {FREED, FREED, FREED},
                [POOL_RELEASE] = {FREED, REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(2, 0, 0, 0), HELD_BY(1, 1, 0, 0), HELD_BY(1, 0, 1, 0)},
                [POOL_ADOPT] = {LIVE_OF(1, 0, 0, 0), LIVE_OF(0, 1, 0, 0), LIVE_OF(0, 0, 1, 0)},
                [POOL_DETACH] = {LIVE_OF(0, 0, 0, 1), LIVE_OF(0, 0, 0, 1), LIVE_OF(0, 0, 0, 1)},
            },
        [DETACHED] =
            {
                [POOL_FREE] = {FREED, FREED, FREED},
                [POOL_RELEASE] = {REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(1, 0, 0, 1), HELD_BY(0, 1, 0, 1), HELD_BY(0, 0, 1, 1)},
                [POOL_ADOPT] = {LIVE_OF(1, 0, 0, 0), LIVE_OF(0, 1, 0, 0), LIVE_OF(0, 0, 1, 0)},
                [POOL_DETACH] = {LIVE_OF(0, 0, 0, 1), LIVE_OF(0, 0, 0, 1), LIVE_OF(0, 0, 0, 1)},
            },
        [SHARED] =
            {
                [POOL_FREE] = {REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED),
                               REFUSED(OBJECT_SHARED)},
                [POOL_RELEASE] = {HELD_BY(0, 1, 0, 0), HELD_BY(1, 0, 0, 0), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(2, 1, 0, 0), HELD_BY(1, 2, 0, 0), HELD_BY(1, 1, 1, 0)},
                [POOL_ADOPT] = {REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED),
                                REFUSED(OBJECT_SHARED)},
                [POOL_DETACH] = {HELD_BY(0, 1, 0, 1), HELD_BY(1, 0, 0, 1), REFUSED(OBJECT_SHARED)},
            },
        [SHARED_SAME] =
            {
                [POOL_FREE] = {FREED, REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED)},
                [POOL_RELEASE] = {HELD_BY(1, 0, 0, 0), REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(3, 0, 0, 0), HELD_BY(2, 1, 0, 0), HELD_BY(2, 0, 1, 0)},
                [POOL_ADOPT] = {REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED),
                                REFUSED(OBJECT_SHARED)},
                [POOL_DETACH] = {HELD_BY(1, 0, 0, 1), REFUSED(OBJECT_SHARED),
                                 REFUSED(OBJECT_SHARED)},
            },
        [SHARED_LEFT] =
            {
                [POOL_FREE] = {FREED, REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED)},
                [POOL_RELEASE] = {FREED, REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(2, 0, 0, 0), HELD_BY(1, 1, 0, 0), HELD_BY(1, 0, 1, 0)},
                [POOL_ADOPT] = {REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED),
                                REFUSED(OBJECT_SHARED)},
                [POOL_DETACH] = {HELD_BY(0, 0, 0, 1), REFUSED(OBJECT_SHARED),
                                 REFUSED(OBJECT_SHARED)},
            },
        [SHARED_POOL] =
            {
                [POOL_FREE] = {REFUSED(OBJECT_SHARED), REFUSED(OBJECT_SHARED),
                               REFUSED(OBJECT_SHARED)},
                [POOL_RELEASE] = {HELD_BY(0, 0, 0, 1), REFUSED(NOT_HOLDER), REFUSED(NOT_HOLDER)},
                [POOL_RETAIN] = {HELD_BY(2, 0, 0, 1), HELD_BY(1, 1, 0, 1), HELD_BY(1, 0, 1, 1)},
                [POOL_ADOPT] = {HELD_BY(2, 0, 0, 0), HELD_BY(1, 1, 0, 0), HELD_BY(1, 0, 1, 0)},
                [POOL_DETACH] = {HELD_BY(0, 0, 0, 2), REFUSED(OBJECT_SHARED),
                                 REFUSED(OBJECT_SHARED)},
            },
};

/* Where only the owner may free, a LIVE object is his alone, and a detached one nobody's. */
static enum error_code owner_frees(enum standing standing, enum pool_operation operation,
                                   enum who who)
{
    bool changes = operation == POOL_FREE || operation == POOL_DETACH;
    if (standing == LIVE && who != FIRST && (changes || operation == POOL_ADOPT))
        return ERROR_NOT_HOLDER;
    return standing == DETACHED && changes ? ERROR_NOT_HOLDER : ERROR_NONE;
}

static void expect(const struct outcome *outcome, const char *what)
{
    const uint32_t members[] = {first, second, third, POOL};
    uint32_t index = handle_at(0).index, of_slot = 0;
    ck_assert_msg(is_free() == (outcome->state == FREE_NOW), "%s", what);
    ck_assert_msg(is_free() ||
                      (slot_state(word()) == SLOT_SHARED) == (outcome->state == SHARED_NOW),
                  "%s", what);
    for (int i = 0; i <= WHO; i++) {
        uint32_t expected = (uint32_t)outcome->holds[i];
        of_slot += expected;
        if (i < WHO)
            ck_assert_msg(pool_held(pool, members[i]) == expected, "%s", what);
        if (outcome->state == LIVE_NOW)
            ck_assert_msg((ledger_holder(&pool->ledger, index) == members[i]) == expected, "%s",
                          what);
        if (outcome->state == SHARED_NOW)
            ck_assert_msg(holds(members[i]) == expected, "%s", what);
    }
    if (outcome->state == SHARED_NOW)
        ck_assert_uint_eq(holders_count(&pool->holders, index), of_slot);
}

static void check_transition(enum standing standing, enum pool_operation operation, enum who who)
{
    const uint32_t members[] = {first, second, third};
    struct outcome outcome = outcomes[standing][operation][who];
    char what[64];
    snprintf(what, sizeof(what), "state %d, operation %d, by %d", (int)standing, (int)operation,
             (int)who);
    if (outcome.code == ERROR_NONE && (config.flags & LAYOUT_OWNER_FREES))
        outcome.code = owner_frees(standing, operation, who);

    bring_to(standing);
    struct layout_counters before = pool->ctl->counters;
    uint64_t word_before = word();
    ck_assert_msg(operate(operation, members[who], 0, 1) == outcome.code, "%s: %s", what,
                  error.message);
    if (outcome.code == ERROR_NONE) {
        expect(&outcome, what);
        return;
    }
    ck_assert_uint_eq(error.position, 0);
    ck_assert_msg(word() == word_before, "%s", what);
    ck_assert_mem_eq(&pool->ctl->counters, &before, sizeof(before));
}

static void check_all_transitions(uint32_t flags)
{
    for (enum standing standing = 0; standing < STANDINGS; standing++)
        for (enum pool_operation operation = 0; operation <= POOL_DETACH; operation++)
            for (enum who who = 0; who < WHO; who++) {
                create_other(flags);
                check_transition(standing, operation, who);
            }
}

START_TEST(test_hold_every_transition_is_as_it_should_be)
{
    check_all_transitions(0);
}
END_TEST

START_TEST(test_hold_every_transition_is_as_it_should_be_where_owners_free)
{
    check_all_transitions(LAYOUT_OWNER_FREES);
}
END_TEST

START_TEST(test_hold_nothing_is_done_with_what_is_free)
{
    allocate_at(first, 0, 1);
    do_it(POOL_FREE, first);
    for (enum pool_operation operation = 0; operation <= POOL_DETACH; operation++)
        ck_assert_int_eq(operate(operation, first, 0, 1), ERROR_STALE_HANDLE);
}
END_TEST

/* ---- A life in many hands -------------------------------------------------------------------- */

START_TEST(test_hold_shared_object_is_free_when_the_last_lets_go)
{
    allocate_at(first, 0, 1);
    do_it(POOL_RETAIN, second);
    do_it(POOL_RETAIN, second);
    check_shared(1, 2, 0);
    do_it(POOL_RELEASE, first);
    do_it(POOL_RELEASE, second);
    check_shared(0, 1, 0);
    do_it(POOL_RELEASE, second);
    check_free();
    ck_assert_uint_eq(pool->ctl->counters.total_deallocations, 1);
}
END_TEST

START_TEST(test_hold_passes_through_the_pool_to_another)
{
    now = 10;
    allocate_at(first, 0, 1);
    now = 30;
    do_it(POOL_DETACH, first);
    check_live(POOL);
    ck_assert_uint_eq(pool_leave(pool, first, now), 0);
    pool_check(pool);
    now = 70;
    do_it(POOL_ADOPT, second);
    check_live(second);
    const struct histogram *held = &pool->ctl->counters.holds;
    ck_assert_uint_eq(held->count, 2);
    ck_assert_uint_eq(held->max, 40);
    do_it(POOL_RELEASE, second);
    check_free();
    first = pool_join(pool, 11, 1);
}
END_TEST

START_TEST(test_hold_change_of_hands_forgets_the_request)
{
    allocate_at(first, 0, 1);
    ck_assert_uint_eq(ledger_entry(&pool->ledger, handle_at(0).index),
                      layout_ledger_entry(5, first));
    do_it(POOL_ADOPT, second);
    ck_assert_uint_eq(ledger_entry(&pool->ledger, handle_at(0).index),
                      layout_ledger_entry(0, second));
}
END_TEST

START_TEST(test_hold_leaving_gives_up_each_hold_and_frees_what_nobody_holds)
{
    allocate_at(first, 0, 4);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 0, 2), ERROR_NONE); /* 0, 1: both */
    ck_assert_int_eq(operate(POOL_RETAIN, first, 1, 2), ERROR_NONE);  /* 1 twice, 2 twice */
    allocate_at(second, 4, 1);
    ck_assert_uint_eq(pool_held(pool, first), 6);
    ck_assert_uint_eq(pool_held(pool, second), 3);

    ck_assert_uint_eq(pool_leave(pool, first, now), 2); /* 2 and 3 */
    pool_check(pool);
    check_shared(0, 1, 0);
    ck_assert_uint_eq(pool_usage(pool), 3);
    ck_assert_uint_eq(pool_leave(pool, second, now), 3);
    pool_check(pool);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(holders_total(&pool->holders), 0);
}
END_TEST

START_TEST(test_hold_of_the_pool_outlives_all_members)
{
    allocate_at(first, 0, 2);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_DETACH, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_DETACH, first, 1, 1), ERROR_NONE);
    ck_assert_uint_eq(pool_leave(pool, first, now), 0);
    ck_assert_uint_eq(pool_leave(pool, second, now), 0);
    pool_check(pool);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert_int_eq(operate(POOL_ADOPT, third, 0, 2), ERROR_NONE);
    ck_assert_uint_eq(pool_held(pool, third), 2);
    ck_assert_int_eq(operate(POOL_FREE, third, 0, 2), ERROR_NONE);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

/* The slot's next life begins without the holds of the last one. */
START_TEST(test_hold_belongs_to_one_life_of_the_slot)
{
    allocate_at(first, 0, 1);
    do_it(POOL_RETAIN, second);
    fastalloc_handle_t before = handle_at(0);
    ck_assert_int_eq(operate(POOL_RELEASE, first, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_FREE, second, 0, 1), ERROR_NONE);
    allocate_at(first, 0, 1);
    ck_assert_uint_eq(handle_at(0).index, before.index);
    check_live(first);
    do_it(POOL_RETAIN, third);
    ck_assert_int_eq(operate(POOL_RELEASE, second, 0, 1), ERROR_NOT_HOLDER);
    put_at(0, before);
    ck_assert_int_eq(operate(POOL_RELEASE, first, 0, 1), ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_hold_of_the_last_generation_retires_the_slot)
{
    pool->words[0] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    if (test_is_leased())
        pool->lease.seen[0] = pool->words[0];
    allocate_at(first, 0, 1);
    do_it(POOL_RETAIN, second);
    do_it(POOL_RELEASE, first);
    do_it(POOL_RELEASE, second);
    ck_assert_int_eq(slot_state(pool->words[0]), SLOT_RETIRED);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_CRITICAL), CAPACITY - 1);
}
END_TEST

/* ---- All or nothing -------------------------------------------------------------------------- */

/* Who stands at that position is why nothing is done. */
static void check_nothing_done(enum pool_operation operation, uint32_t member, uint32_t count,
                               enum error_code code, uint32_t position)
{
    uint64_t words[CAPACITY], entries[CAPACITY];
    struct layout_counters before = pool->ctl->counters;
    uint32_t total = holders_total(&pool->holders);
    memcpy(words, pool->words, sizeof(words));
    memcpy(entries, pool->ledger.entries, sizeof(entries));
    ck_assert_msg(operate(operation, member, 0, count) == code, "operation %d: %s", (int)operation,
                  error.message);
    ck_assert_uint_eq(error.position, position);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_mem_eq(words, pool->words, sizeof(words));
    ck_assert_mem_eq(entries, pool->ledger.entries, sizeof(entries));
    ck_assert_mem_eq(&pool->ctl->counters, &before, sizeof(before));
    ck_assert_uint_eq(holders_total(&pool->holders), total);
}

START_TEST(test_hold_operations_do_all_or_nothing)
{
    allocate_at(first, 0, 6);
    fastalloc_handle_t good = handle_at(5), wrong = good;
    wrong.pool = ID + 1;
    for (enum pool_operation operation = 0; operation <= POOL_DETACH; operation++) {
        put_at(5, wrong);
        check_nothing_done(operation, first, 6, ERROR_WRONG_POOL, 5);
        put_at(5, handle_make(ID, good.index, NONCE, 2));
        check_nothing_done(operation, first, 6, ERROR_STALE_HANDLE, 5);
        put_at(5, handle_make(ID, CAPACITY, NONCE, 1));
        check_nothing_done(operation, first, 6, ERROR_STALE_HANDLE, 5);
        put_at(5, handle_at(3));
        check_nothing_done(operation, first, 6, ERROR_DUPLICATE_HANDLE, 5);
        put_at(5, good);
    }
}
END_TEST

START_TEST(test_hold_names_the_first_that_is_not_the_members)
{
    allocate_at(second, 0, 6);
    ck_assert_int_eq(operate(POOL_ADOPT, first, 0, 3), ERROR_NONE);
    check_nothing_done(POOL_RELEASE, first, 6, ERROR_NOT_HOLDER, 3);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 2, 1), ERROR_NONE);
    check_nothing_done(POOL_FREE, first, 6, ERROR_OBJECT_SHARED, 2);
    check_nothing_done(POOL_ADOPT, first, 6, ERROR_OBJECT_SHARED, 2);
    check_nothing_done(POOL_DETACH, third, 6, ERROR_OBJECT_SHARED, 2);
    ck_assert_int_eq(operate(POOL_RETAIN, third, 0, 6), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_RELEASE, third, 0, 6), ERROR_NONE);
}
END_TEST

START_TEST(test_hold_operations_on_nothing_do_nothing)
{
    for (enum pool_operation operation = 0; operation <= POOL_DETACH; operation++)
        ck_assert_int_eq(operate(operation, first, 0, 0), ERROR_NONE);
    ck_assert_uint_eq(test_shm_files(), STORE_FOR_CLIENTS);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------- */

START_TEST(test_hold_retain_ends_at_the_limit_of_holds)
{
    uint32_t limit = holders_limit(CAPACITY);
    allocate_at(first, 0, 2);
    for (uint32_t total = 1; total < limit; total++)
        ck_assert(pool_operate(pool, POOL_RETAIN, second, at(0), 1, now, &error));
    pool_check(pool);
    ck_assert_uint_eq(holders_total(&pool->holders), limit);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 0, 1), ERROR_LIMIT_EXCEEDED);
    ck_assert_uint_eq(error.max, limit);
    ck_assert_uint_eq(holders_total(&pool->holders), limit);

    ck_assert_int_eq(operate(POOL_RELEASE, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 1, 1), ERROR_LIMIT_EXCEEDED); /* it takes two */
    ck_assert_int_eq(operate(POOL_RETAIN, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_RELEASE, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_RELEASE, second, 0, 1), ERROR_NONE);
    ck_assert_int_eq(operate(POOL_RETAIN, second, 1, 1), ERROR_NONE);
    ck_assert_uint_eq(holders_total(&pool->holders), limit);
    ck_assert_uint_eq(pool_leave(pool, second, now), 0);
    pool_check(pool);
    ck_assert_uint_eq(holders_total(&pool->holders), 2);
}
END_TEST

START_TEST(test_hold_retain_without_shared_memory_leaves_the_object)
{
    allocate_at(first, 0, 1);
    test_shm_fill(0);
    check_nothing_done(POOL_RETAIN, second, 1, ERROR_SHARED_MEMORY_FULL, 0);
    ck_assert_uint_eq(error.needed, 4096);
    ck_assert_uint_eq(error.available, 0);
    ck_assert_ptr_null(strstr(error.message, "files"));
    check_live(first);
    ck_assert_uint_eq(pool_held(pool, second), 0);
    test_shm_unfill();

    test_private_shm_resize(SHM_SIZE, STORE_FOR_CLIENTS);
    check_nothing_done(POOL_RETAIN, second, 1, ERROR_SHARED_MEMORY_FULL, 0);
    ck_assert_ptr_nonnull(strstr(error.message, "files"));
    test_private_shm_resize(SHM_SIZE, STORE_FOR_CLIENTS + 1);
    do_it(POOL_RETAIN, second);
    check_shared(1, 1, 0);
}
END_TEST

START_TEST(test_hold_table_that_can_not_grow_keeps_its_holds)
{
    allocate_at(first, 0, 1);
    for (uint32_t total = 1; total < HOLDERS_FIRST; total++)
        ck_assert(pool_operate(pool, POOL_RETAIN, second, at(0), 1, now, &error));
    test_shm_fill(0);
    check_nothing_done(POOL_RETAIN, second, 1, ERROR_SHARED_MEMORY_FULL, 0);
    ck_assert_uint_eq(error.needed, 4096);
    test_shm_unfill();
    do_it(POOL_RETAIN, second);
    check_shared(1, HOLDERS_FIRST, 0);
}
END_TEST

/* ---- Against a model ------------------------------------------------------------------------- */

#define SESSION_QUOTA 12u
#define USER_QUOTA 20u

/* One object: who holds it, how often. The last holder is the pool. */
struct object {
    bool used;
    bool shared;
    uint32_t holds[MEMBERS + 1];
    fastalloc_handle_t handle;
};

static struct object model[CAPACITY];
static uint32_t numbers[MEMBERS + 1]; /* member numbers, the pool's last */
static uint64_t state, seed, step;
static unsigned done[POOL_DETACH + 1], refused[64];

/* Of xorshift64*. */
static uint32_t random_below(uint32_t bound)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % bound;
}

static uid_t uid_of(uint32_t who)
{
    return who / 2; /* two sessions each */
}

static uint32_t all_holds(const struct object *object)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i <= MEMBERS; i++)
        all += object->holds[i];
    return all;
}

static uint32_t model_held(uint32_t who)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < CAPACITY; i++)
        held += model[i].holds[who];
    return held;
}

static void model_free(struct object *object)
{
    object->used = object->shared = false;
    memset(object->holds, 0, sizeof(object->holds));
}

static enum error_code model_problem(const struct object *object, enum pool_operation operation,
                                     uint32_t who)
{
    bool own = object->holds[who] > 0, owners = config.flags & LAYOUT_OWNER_FREES;
    bool shared = object->shared;
    switch (operation) {
    case POOL_FREE:
        if (shared)
            return object->holds[who] < all_holds(object) ? ERROR_OBJECT_SHARED : ERROR_NONE;
        return !own && owners ? ERROR_NOT_HOLDER : ERROR_NONE;
    case POOL_RELEASE:
        return own ? ERROR_NONE : ERROR_NOT_HOLDER;
    case POOL_RETAIN:
        return ERROR_NONE;
    case POOL_ADOPT:
        if (object->holds[MEMBERS] > 0)
            return ERROR_NONE;
        break;
    case POOL_DETACH:
        break;
    }
    if (shared)
        return operation == POOL_DETACH && own ? ERROR_NONE : ERROR_OBJECT_SHARED;
    return !own && owners ? ERROR_NOT_HOLDER : ERROR_NONE;
}

static void model_apply(struct object *object, enum pool_operation operation, uint32_t who)
{
    uint32_t to = operation == POOL_DETACH ? MEMBERS : who;
    switch (operation) {
    case POOL_FREE:
        model_free(object);
        break;
    case POOL_RELEASE:
        object->holds[who]--;
        if (all_holds(object) == 0)
            model_free(object);
        break;
    case POOL_RETAIN:
        object->holds[who]++;
        object->shared = true;
        break;
    default:
        if (object->shared)
            object->holds[operation == POOL_DETACH ? who : MEMBERS]--;
        else
            memset(object->holds, 0, sizeof(object->holds));
        object->holds[to]++;
    }
}

/* What it takes besides: room for holds, then quotas, the session's first. */
static enum error_code model_means(enum pool_operation operation, uint32_t who, uint32_t count)
{
    uint32_t of_user = 0, own = 0, users_own = 0;
    bool quotas = config.session_slots > 0;
    if (operation == POOL_DETACH && quotas)
        return ERROR_NOT_PERMITTED;
    if (!quotas || (operation != POOL_ADOPT && operation != POOL_RETAIN))
        return ERROR_NONE;
    for (uint32_t i = 0; i < MEMBERS; i++)
        of_user += uid_of(i) == uid_of(who) ? model_held(i) : 0;
    /* What is adopted isn't charged to its holder any more. */
    for (uint32_t i = 0; operation == POOL_ADOPT && i < count; i++) {
        const struct object *object = &model[handle_at(i).index];
        for (uint32_t j = 0; j < MEMBERS && !object->shared; j++) {
            own += j == who ? object->holds[j] : 0;
            users_own += uid_of(j) == uid_of(who) ? object->holds[j] : 0;
        }
    }
    return model_held(who) + count - own > SESSION_QUOTA || of_user + count - users_own > USER_QUOTA
               ? ERROR_QUOTA_EXCEEDED
               : ERROR_NONE;
}

static void compare_slot(uint32_t index)
{
    const struct object *object = &model[index];
    uint64_t actual = word_load(&pool->words[index]);
    bool good = slot_is_allocated(actual) == object->used &&
                (slot_state(actual) == SLOT_SHARED) == object->shared;
    for (uint32_t i = 0; i <= MEMBERS && object->used; i++)
        good = good && (object->shared ? count_holds(&pool->holders, index, numbers[i])
                                       : ledger_holder(&pool->ledger, index) == numbers[i]) ==
                           object->holds[i];
    ck_assert_msg(good, "seed %" PRIu64 ", step %" PRIu64 ", slot %" PRIu32, seed, step, index);
}

static void compare(void)
{
    uint32_t used = 0;
    pool_check(pool);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        compare_slot(i);
        used += model[i].used;
    }
    ck_assert_uint_eq(pool_usage(pool), used);
    for (uint32_t i = 0; i < MEMBERS; i++)
        ck_assert_uint_eq(pool_held(pool, numbers[i]), model_held(i));
}

/* Picks a batch, here and there with something wrong in it; returns what is expected of it. */
static enum error_code pick(enum pool_operation operation, uint32_t who, uint32_t count,
                            uint32_t *position)
{
    bool picked[CAPACITY] = {false};
    enum error_code expected = ERROR_NONE;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = random_below(CAPACITY);
        for (uint32_t tries = 0; tries < 20 && (!model[index].used || picked[index] ||
                                                model_problem(&model[index], operation, who));
             tries++)
            index = random_below(CAPACITY);
        fastalloc_handle_t handle = model[index].handle;
        enum error_code problem = ERROR_NONE;
        if (random_below(60) == 0) {
            handle.pool++;
            problem = ERROR_WRONG_POOL;
        } else if (!model[index].used) {
            problem = ERROR_STALE_HANDLE;
        } else if (picked[index]) {
            problem = ERROR_DUPLICATE_HANDLE;
        } else {
            problem = model_problem(&model[index], operation, who);
            picked[index] = true;
        }
        if (expected == ERROR_NONE && problem != ERROR_NONE) {
            expected = problem;
            *position = i;
        }
        put_at(i, handle);
    }
    return expected;
}

static void model_operate(enum pool_operation operation, uint32_t who)
{
    uint32_t count = 1 + random_below(BATCH / 2), position = 0;
    enum error_code expected = pick(operation, who, count, &position);
    bool handles = expected != ERROR_NONE;
    if (!handles)
        expected = model_means(operation, who, count);
    memset(&error, 0, sizeof(error));
    pool_operate(pool, operation, numbers[who], at(0), count, now, &error);
    ck_assert_msg(error.code == expected && (!handles || error.position == position),
                  "seed %" PRIu64 ", step %" PRIu64 ", operation %d: %d, not %d; %s", seed, step,
                  (int)operation, (int)error.code, (int)expected, error.message);
    refused[expected]++;
    done[operation] += expected == ERROR_NONE;
    for (uint32_t i = 0; expected == ERROR_NONE && i < count; i++)
        model_apply(&model[handle_at(i).index], operation, who);
}

static void model_allocate(uint32_t who)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    uint32_t count = 1 + random_below(BATCH);
    if (pool_room(pool, PRIORITY_CRITICAL) < count)
        return;
    enum error_code expected = model_means(POOL_RETAIN, who, count); /* the same charge */
    ck_assert_int_eq(pool_charge(pool, numbers[who], count, &charge, &error),
                     expected == ERROR_NONE);
    if (expected != ERROR_NONE)
        return;
    pool_allocate(pool, numbers[who], step & LAYOUT_REQUEST_MAX, false, count, &charge, now, at(0));
    for (uint32_t i = 0; i < count; i++) {
        struct object *object = &model[handle_at(i).index];
        ck_assert(!object->used);
        object->used = true;
        object->holds[who] = 1;
        object->handle = handle_at(i);
    }
}

static void model_leave(uint32_t who)
{
    uint32_t freed = 0;
    for (uint32_t i = 0; i < CAPACITY; i++) {
        model[i].holds[who] = 0;
        if (!model[i].used || all_holds(&model[i]) > 0)
            continue;
        model_free(&model[i]);
        freed++;
    }
    ck_assert_uint_eq(pool_leave(pool, numbers[who], now), freed);
    numbers[who] = pool_join(pool, 1000 + step, uid_of(who));
    ck_assert_uint_ne(numbers[who], SLOT_MEMBER_NONE);
}

/* From time to time all is freed, so that the operations see few holds and many. */
static void model_clear(void)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        while (model[i].holds[MEMBERS] > 0) {
            put_at(0, model[i].handle);
            ck_assert(pool_operate(pool, POOL_ADOPT, numbers[0], at(0), 1, now, &error));
            model_apply(&model[i], POOL_ADOPT, 0);
        }
    for (uint32_t who = 0; who < MEMBERS; who++)
        model_leave(who);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(holders_total(&pool->holders), 0);
}

static void begin_model(void)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        numbers[i] = pool_join(pool, i + 100, uid_of(i));
    numbers[MEMBERS] = POOL;
    /* Handles that were never given out, until there are others. */
    for (uint32_t i = 0; i < CAPACITY; i++)
        model[i].handle = handle_make(ID, i, NONCE, 9);
}

static void run_model(uint64_t steps)
{
    const char *chosen = getenv("FASTALLOC_SEED");
    seed = chosen ? strtoull(chosen, NULL, 0) : 1;
    state = seed * 2 + 1;
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    begin_model();
    for (step = 0; step < steps; step++) {
        uint32_t who = random_below(MEMBERS), what = random_below(100);
        now += random_below(5);
        if (what < 1)
            model_leave(who);
        else if (what < 20)
            model_allocate(who);
        else
            model_operate((enum pool_operation)random_below(POOL_DETACH + 1), who);
        if (step % 500 == 499)
            model_clear();
        compare();
    }
    model_clear();
}

/* The operations came to what they should come to. */
static void check_ran(bool detaches)
{
    for (enum pool_operation operation = 0; operation <= POOL_DETACH; operation++)
        ck_assert_msg(done[operation] > 100 || (operation == POOL_DETACH && !detaches),
                      "operation %d was done %u times", (int)operation, done[operation]);
    ck_assert_uint_gt(refused[ERROR_WRONG_POOL], 100);
    ck_assert_uint_gt(refused[ERROR_STALE_HANDLE], 10);
    ck_assert_uint_gt(refused[ERROR_DUPLICATE_HANDLE], 10);
    ck_assert_uint_gt(refused[ERROR_OBJECT_SHARED], 100);
    ck_assert_uint_gt(refused[ERROR_NOT_HOLDER], 100);
}

START_TEST(test_hold_is_what_its_model_is)
{
    run_model(120000);
    check_ran(true);
}
END_TEST

START_TEST(test_hold_is_what_its_model_is_where_owners_free)
{
    create_other(LAYOUT_OWNER_FREES);
    run_model(40000);
    check_ran(true);
}
END_TEST

START_TEST(test_hold_is_what_its_model_is_with_quotas)
{
    config.session_slots = SESSION_QUOTA;
    config.user_slots = USER_QUOTA;
    create_other(0);
    run_model(40000);
    check_ran(false);
    ck_assert_uint_gt(refused[ERROR_QUOTA_EXCEEDED], 100);
    ck_assert_uint_gt(refused[ERROR_NOT_PERMITTED], 100);
}
END_TEST

/* ---- The order of stores --------------------------------------------------------------------- */

/*
 * After any instruction the daemon may be killed: what stands in shared memory then says whose the
 * object is, by the word, and what is still to do, by the intent.
 */
static bool can_be_told_apart(void)
{
    const struct layout_intent *intent = &pool->ctl->intent;
    uint32_t index = handle_at(0).index, holder = ledger_holder(&pool->ledger, index);
    uint32_t member = slot_member(word());
    bool shared = slot_state(word()) == SLOT_SHARED;
    if (intent->kind == LAYOUT_INTENT_NONE)
        return !is_free() && member == holder;
    if (is_free() || intent->index != index || intent->generation != slot_generation(word()))
        return false;
    bool changed = intent->kind == LAYOUT_INTENT_SHARE ? shared : member == intent->to;
    if (!changed && (shared || member != intent->from))
        return false;
    return holder == intent->from ||
           (changed && ledger_entry(&pool->ledger, index) == intent->entry);
}

struct memory {
    void *at;
    size_t size;
    void *copy;
};

static void keep(struct memory *memory)
{
    memory->copy = malloc(memory->size);
    ck_assert_ptr_nonnull(memory->copy);
    memcpy(memory->copy, memory->at, memory->size);
}

static void bring_back(struct memory *memory)
{
    memcpy(memory->at, memory->copy, memory->size);
    free(memory->copy);
}

/* A process does it, instruction by instruction. Returns how many different intents were seen. */
static unsigned watch(enum pool_operation operation, uint32_t member)
{
    unsigned seen = 0;
    uint32_t kind = LAYOUT_INTENT_NONE;
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(pool_operate(pool, operation, member, at(0), 1, now, &error) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    while (WIFSTOPPED(status)) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (!can_be_told_apart()) /* libcheck's assertions take too long for each */
            ck_abort_msg("it can't be told whose the object is");
        seen += kind == LAYOUT_INTENT_NONE && pool->ctl->intent.kind != kind;
        kind = pool->ctl->intent.kind;
    }
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return seen;
}

/* What it left is taken back: this process knows nothing of it. */
static unsigned watch_from(enum standing standing, enum pool_operation operation, uint32_t member)
{
    const struct geometry *geometry = &pool->store.geometry;
    bring_to(standing);
    struct memory ctl = {pool->ctl, geometry_ctl_size(geometry, CAPACITY), NULL};
    struct memory slots = {pool->store.slots, geometry_slots_size(geometry, CAPACITY), NULL};
    struct memory table = {pool->holders.entries, pool->holders.room * sizeof(uint64_t), NULL};
    keep(&ctl);
    keep(&slots);
    keep(&table);
    unsigned seen = watch(operation, member);
    bring_back(&ctl);
    bring_back(&slots);
    bring_back(&table);
    pool_check(pool);
    return seen;
}

START_TEST(test_hold_change_of_hands_can_be_told_apart_after_each_instruction)
{
    bring_to(SHARED); /* so that there is a table */
    ck_assert_uint_eq(watch_from(LIVE, POOL_ADOPT, second), 1);
    ck_assert_uint_eq(watch_from(LIVE, POOL_DETACH, first), 1);
    ck_assert_uint_eq(watch_from(LIVE, POOL_RETAIN, second), 1);
    ck_assert_uint_eq(watch_from(DETACHED, POOL_ADOPT, second), 1);
    ck_assert_uint_eq(watch_from(DETACHED, POOL_RETAIN, second), 1);
    ck_assert_uint_eq(watch_from(SHARED, POOL_DETACH, second), 0); /* one store in the table */
    ck_assert_uint_eq(watch_from(SHARED_POOL, POOL_ADOPT, second), 0);
}
END_TEST

SUITE_MAIN_WITH(
    "pool_hold", set_up, tear_down, test_hold_every_transition_is_as_it_should_be,
    test_hold_every_transition_is_as_it_should_be_where_owners_free,
    test_hold_nothing_is_done_with_what_is_free,
    test_hold_shared_object_is_free_when_the_last_lets_go,
    test_hold_passes_through_the_pool_to_another, test_hold_change_of_hands_forgets_the_request,
    test_hold_leaving_gives_up_each_hold_and_frees_what_nobody_holds,
    test_hold_of_the_pool_outlives_all_members, test_hold_belongs_to_one_life_of_the_slot,
    test_hold_of_the_last_generation_retires_the_slot, test_hold_operations_do_all_or_nothing,
    test_hold_names_the_first_that_is_not_the_members, test_hold_operations_on_nothing_do_nothing,
    test_hold_retain_ends_at_the_limit_of_holds,
    test_hold_retain_without_shared_memory_leaves_the_object,
    test_hold_table_that_can_not_grow_keeps_its_holds, test_hold_is_what_its_model_is,
    test_hold_change_of_hands_can_be_told_apart_after_each_instruction,
    test_hold_is_what_its_model_is_where_owners_free, test_hold_is_what_its_model_is_with_quotas)
