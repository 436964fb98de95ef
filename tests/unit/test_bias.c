/* SPDX-License-Identifier: MIT */
/*
 * Biased threads: the rules (shm/bias.h), and the daemon's side of them. The tests are the threads, which
 * can be stopped before a store.
 */
#include "shm/bias.h"

#include <sys/mman.h>

#include "tests/unit/leasing_case.h"

#define ALLOCATES BIAS_ALLOCATES
#define FREES BIAS_FREES

/* ---- The barrier ----------------------------------------------------------------------------- */

static unsigned barriers;
static bool barrier_fails;
static void (*comes)(void); /* while the barrier is passed, once */

bool __wrap_bias_barrier(void);

bool __wrap_bias_barrier(void)
{
    void (*come)(void) = comes;
    comes = NULL;
    barriers++;
    if (come)
        come();
    return !barrier_fails;
}

/* ---- The rules ------------------------------------------------------------------------------- */

START_TEST(test_bias_threads_have_the_highest_numbers_below_the_pools)
{
    ck_assert(!bias_is_thread(SLOT_MEMBER_NONE));
    ck_assert(!bias_is_thread(POOL_MEMBER_MAX));
    ck_assert(bias_is_thread(LAYOUT_THREAD_FIRST));
    ck_assert(bias_is_thread(SLOT_MEMBER_POOL - 1));
    ck_assert(!bias_is_thread(SLOT_MEMBER_POOL));
    ck_assert_uint_eq(SLOT_MEMBER_POOL - LAYOUT_THREAD_FIRST, LAYOUT_THREADS);
}
END_TEST

START_TEST(test_bias_announcement_is_of_one_word_alone)
{
    static const enum slot_state states[] = {SLOT_CACHED, SLOT_LIVE};
    static const uint64_t generations[] = {1, 2, UINT32_MAX, SLOT_GENERATION_LAST};
    static const uint32_t indices[] = {0, 1, 4096, GEOMETRY_CAPACITY_MAX - 1};
    struct layout_thread line = {0};
    for (unsigned said = 0; said < 2 * 4 * 4; said++) {
        bias_announce(&line, bias_announcement(generations[said / 8], indices[said / 2 % 4],
                                               said % 2 ? FREES : ALLOCATES));
        ck_assert_uint_ne(line.announced, BIAS_NOTHING);
        for (unsigned is = 0; is < 2 * 4 * 4; is++) {
            uint64_t low = generations[is / 8] & UINT32_MAX;
            bool same = is % 8 == said % 8 && low == (generations[said / 8] & UINT32_MAX);
            uint64_t word = slot_word(generations[is / 8], LAYOUT_THREAD_FIRST, states[is % 2]);
            ck_assert(bias_is_amid(&line, indices[is / 2 % 4], word) == same);
        }
    }
}
END_TEST

START_TEST(test_bias_nothing_is_announced_of_no_word)
{
    struct layout_thread line = {0};
    for (unsigned state = 0; state < 8; state++)
        for (uint64_t generation = 0; generation < 3; generation++)
            ck_assert(!bias_is_amid(&line, 0, slot_word(generation, LAYOUT_THREAD_FIRST, state)));
}
END_TEST

/* A word that it has changed is another one. */
START_TEST(test_bias_thread_is_amid_until_it_stores)
{
    struct layout_thread line = {0};
    uint64_t word = slot_word(5, LAYOUT_THREAD_FIRST, SLOT_CACHED);
    bias_announce(&line, bias_announcement(5, 7, ALLOCATES));
    ck_assert(bias_is_amid(&line, 7, word));
    bias_store(&word, slot_word(5, LAYOUT_THREAD_FIRST, SLOT_LIVE));
    ck_assert(!bias_is_amid(&line, 7, word));
    bias_announce(&line, bias_announcement(5, 7, FREES));
    ck_assert(bias_is_amid(&line, 7, word));
    bias_store(&word, slot_word(6, LAYOUT_THREAD_FIRST, SLOT_CACHED));
    ck_assert(!bias_is_amid(&line, 7, word));
}
END_TEST

START_TEST(test_bias_daemon_restores_what_it_revoked_and_nothing_else)
{
    for (uint32_t by = 0; by < 8; by++) {
        struct layout_thread line = {.announced = 99};
        bias_revoke(&line, by);
        ck_assert(bias_is_revoked(&line) == (by != 0));
        bias_revoke(&line, BIAS_BY_DAEMON);
        ck_assert(bias_is_revoked(&line));
        bias_restore(&line);
        ck_assert_uint_eq(line.revoked, by & ~(uint32_t)BIAS_BY_DAEMON);
        ck_assert_uint_eq(line.announced, 99);
    }
}
END_TEST

/* ---- The stage ------------------------------------------------------------------------------- */

static uint32_t new_thread(const struct session *session)
{
    uint32_t number = pool_add_thread(leased, member_of(session, leased));
    broker_check(&broker);
    return number;
}

static uint32_t revoked(uint32_t thread)
{
    return member_line(leased, thread)->revoked & BIAS_REVOKED;
}

/* A new thread of alice's with so many slots, whose numbers stand in slots. */
static uint32_t thread_with(uint32_t count)
{
    uint32_t thread = new_thread(alice);
    ck_assert(bias_is_thread(thread));
    ck_assert_uint_eq(lease_as(alice, thread, count), count);
    barriers = 0;
    return thread;
}

static bool allocates(uint32_t thread, uint32_t index)
{
    bool done = member_change(leased, thread, index, ALLOCATES);
    broker_check(&broker);
    return done;
}

static bool frees(uint32_t thread, uint32_t index)
{
    bool done = member_change(leased, thread, index, FREES);
    broker_check(&broker);
    return done;
}

/* All that there is, by bob's requests. */
static uint32_t take_all(void)
{
    uint32_t taken = 0;
    while (ASK(bob, leased, 0, .count = 1) == BROKER_DONE)
        taken++;
    ck_assert_int_eq(error.code, ERROR_POOL_EXHAUSTED);
    return taken;
}

static void check_totals(uint64_t allocations, uint64_t deallocations)
{
    leasing_look(&broker, leased);
    broker_check(&broker);
    ck_assert_uint_eq(leased->ctl->counters.total_allocations, allocations);
    ck_assert_uint_eq(leased->ctl->counters.total_deallocations, deallocations);
    ck_assert(!pool_is_damaged(leased));
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static uint64_t session_of(uint32_t number)
{
    return layout_member_session(field_load(&leased->store.members[number]));
}

START_TEST(test_bias_number_is_of_the_session_and_of_no_other)
{
    uint32_t first = new_thread(alice), second = new_thread(bob);
    ck_assert_uint_eq(first, LAYOUT_THREAD_FIRST);
    ck_assert_uint_eq(second, LAYOUT_THREAD_FIRST + 1);
    ck_assert_uint_eq(session_of(first), alice->id);
    ck_assert_uint_eq(session_of(second), bob->id);
    ck_assert(pool_has_thread(leased, a, first) && pool_has_thread(leased, b, second));
    ck_assert(!pool_has_thread(leased, a, second) && !pool_has_thread(leased, a, second + 1));
    ck_assert(!pool_has_thread(leased, a, a) && !pool_has_thread(leased, a, SLOT_MEMBER_POOL));
    ck_assert_uint_eq(pool_member_of(leased, first), a);
    ck_assert_uint_eq(pool_member_of(leased, a), a);
    ck_assert_uint_eq(pool_member_of(leased, SLOT_MEMBER_POOL), SLOT_MEMBER_POOL);
    ck_assert_uint_eq(pool_member_of(leased, second + 1), SLOT_MEMBER_NONE);
}
END_TEST

START_TEST(test_bias_numbers_run_out_and_are_free_again_when_the_session_leaves)
{
    for (uint32_t i = 0; i < LAYOUT_THREADS; i++)
        ck_assert_uint_eq(new_thread(i % 2 ? alice : bob), LAYOUT_THREAD_FIRST + i);
    ck_assert_uint_eq(new_thread(alice), SLOT_MEMBER_NONE);
    memset(member_line(leased, LAYOUT_THREAD_FIRST), 0xff, sizeof(struct layout_thread));
    end(&bob);
    for (uint32_t i = 0; i < LAYOUT_THREADS; i++)
        ck_assert_uint_eq(session_of(LAYOUT_THREAD_FIRST + i), i % 2 ? alice->id : 0);
    ck_assert_uint_eq(new_thread(alice), LAYOUT_THREAD_FIRST);
    ck_assert_uint_eq(revoked(LAYOUT_THREAD_FIRST), BIAS_BY_DAEMON); /* it has no slots */
    ck_assert_uint_eq(member_line(leased, LAYOUT_THREAD_FIRST)->announced, BIAS_NOTHING);
    ck_assert_uint_eq(new_thread(alice), LAYOUT_THREAD_FIRST + 2);
}
END_TEST

START_TEST(test_bias_there_is_no_number_without_a_barrier_which_is_tried_once)
{
    barrier_fails = true;
    ck_assert_uint_eq(new_thread(alice), SLOT_MEMBER_NONE);
    barrier_fails = false;
    ck_assert_uint_eq(new_thread(alice), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(barriers, 1);
}
END_TEST

START_TEST(test_bias_barrier_that_works_is_tried_once_too)
{
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_ne(new_thread(alice), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(barriers, 1);
}
END_TEST

START_TEST(test_bias_brokered_pool_has_no_threads)
{
    ck_assert_uint_eq(pool_add_thread(pool, member_of(alice, pool)), SLOT_MEMBER_NONE);
    broker_check(&broker);
}
END_TEST

START_TEST(test_bias_laws_notice_wrong_threads)
{
    uint32_t thread = thread_with(2);
    struct lease *kept = &leased->lease;
    uint64_t *members = leased->store.members;
    NOTICES(kept->biased, 0);
    NOTICES(kept->threads[0].biased, false);
    NOTICES(kept->threads[0].member, b);
    NOTICES(kept->threads[0].member, SLOT_MEMBER_NONE);
    NOTICES(kept->threads[1].member, a);
    NOTICES(kept->threads[1].biased, true);
    NOTICES(members[thread], bob->id);
    NOTICES(members[thread], 0);
    NOTICES(members[thread + 1], alice->id);
    NOTICES(leased->words[slots[0]], slot_word(1, thread + 1, SLOT_CACHED));
    NOTICES(kept->seen[slots[0]], slot_word(1, b, SLOT_CACHED));
}
END_TEST

/* ---- Grants ---------------------------------------------------------------------------------- */

START_TEST(test_bias_slots_are_granted_under_the_number_and_charged_to_the_member)
{
    uint32_t thread = thread_with(3);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(member_word(leased, slots[i]), slot_word(1, thread, SLOT_CACHED));
        ck_assert_uint_eq(ledger_entry(&leased->ledger, slots[i]), layout_ledger_entry(0, a));
    }
    ck_assert_uint_eq(pool_held(leased, a), 3);
    ck_assert_uint_eq(pool_held(leased, thread), 0);
    ck_assert_uint_eq(leased->accounts[a]->quota.used, 3);
    ck_assert_uint_eq(lease_as(alice, 0, 1), 1);
    GETS(alice, leased, 0, .count = 1);
    fastalloc_handle_t handle = handle_from_wire(reply.handles.data);
    ck_assert_uint_eq(member_word(leased, handle.index), slot_word(1, a, SLOT_LIVE));
    ck_assert_uint_eq(barriers, 0);
}
END_TEST

START_TEST(test_bias_quotas_are_of_all_threads_together)
{
    USE(.capacity = 100, .session_slots = 4);
    uint32_t first = thread_with(3), second = new_thread(alice);
    ck_assert(allocates(first, slots[0]));
    ck_assert_uint_eq(lease_as(alice, second, 9), 1);
    GETS(alice, leased, 0, .count = 3); /* in place of what is cached */
    ck_assert_uint_eq(barriers, 1);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, leased, 0, .count = 1);
    ck_assert_uint_eq(lease_as(alice, second, 1), 0);
    check_totals(4, 0);
}
END_TEST

START_TEST(test_bias_tight_pool_grants_nothing_and_restores_nobody)
{
    uint32_t thread = thread_with(2);
    ck_assert_uint_eq(revoked(thread), 0);
    ck_assert_uint_eq(take_all(), SLOTS);
    ck_assert_uint_eq(revoked(thread), BIAS_BY_DAEMON);
    ck_assert_uint_eq(lease_as(alice, thread, 4), 0);
    ck_assert_uint_eq(revoked(thread), BIAS_BY_DAEMON);
    ck_assert_uint_eq(leased->lease.biased, 0);
}
END_TEST

START_TEST(test_bias_next_grant_restores_the_thread_and_no_other)
{
    uint32_t first = thread_with(2), second = thread_with(2);
    bias_revoke(member_line(leased, second), BIAS_BY_MEMBER | BIAS_SETTLED);
    pool_harvest_all(leased, broker.now);
    ck_assert_uint_eq(lease_as(alice, first, 1), 1);
    ck_assert_uint_eq(revoked(first), 0);
    ck_assert_uint_eq(revoked(second), BIAS_BY_DAEMON | BIAS_BY_MEMBER | BIAS_SETTLED);
    ck_assert_uint_eq(lease_as(alice, second, 1), 1);
    ck_assert_uint_eq(revoked(second), BIAS_BY_MEMBER | BIAS_SETTLED);
}
END_TEST

/* ---- Harvests -------------------------------------------------------------------------------- */

START_TEST(test_bias_thread_allocates_and_frees_and_totals_are_exact)
{
    uint32_t thread = thread_with(4);
    for (uint32_t round = 0; round < 5; round++)
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert(allocates(thread, slots[i]));
            ck_assert(frees(thread, slots[i]));
        }
    ck_assert(allocates(thread, slots[3]));
    check_totals(16, 15);
    ck_assert_uint_eq(pool_usage(leased), 1);
    ck_assert_uint_eq(barriers, 0); /* a sweep takes back only what was returned */
    ck_assert_uint_eq(revoked(thread), 0);
}
END_TEST

START_TEST(test_bias_harvest_leaves_what_is_announced_and_takes_the_rest)
{
    uint32_t thread = thread_with(4);
    ck_assert(allocates(thread, slots[0]));
    ck_assert(member_announce(leased, thread, slots[1], ALLOCATES));
    ck_assert_uint_eq(take_all(), SLOTS - 2);
    ck_assert_uint_eq(barriers, 1);
    ck_assert_uint_eq(member_word(leased, slots[1]), slot_word(1, thread, SLOT_CACHED));
    member_store(leased, slots[1], ALLOCATES);
    ck_assert_uint_eq(take_all(), 0);
    ck_assert(!allocates(thread, slots[2]));
    ck_assert_uint_eq(pool_held(leased, a), 2);
    check_totals(SLOTS, 0);
}
END_TEST

/* Revoked in the middle it makes the change by compare-and-swap, and withdraws. */
START_TEST(test_bias_what_was_held_is_had_by_the_thread_or_by_the_next)
{
    uint32_t thread = thread_with(2);
    struct layout_thread *line = member_line(leased, thread);
    bias_announce(line, bias_announcement(1, slots[0], ALLOCATES));
    ck_assert_uint_eq(take_all(), SLOTS - 1);
    ck_assert(bias_is_revoked(line));
    ck_assert(member_allocate(leased, thread, slots[0]));
    bias_announce(line, BIAS_NOTHING);
    ck_assert_uint_eq(take_all(), 0);
    ck_assert(!free_quietly(alice, slots[0])); /* a foreign free by another number */
    ck_assert_int_eq(state_of(slots[0]), SLOT_RETURNED);
    ck_assert_uint_eq(take_all(), 1);
}
END_TEST

START_TEST(test_bias_other_announcements_hold_nothing)
{
    for (unsigned other = 0; other < 7; other++) {
        USE(.capacity = SLOTS);
        uint32_t theirs = new_thread(alice), thread = thread_with(2), index = slots[0];
        ck_assert(allocates(thread, index) && frees(thread, index));
        const struct {
            uint32_t thread;
            uint64_t announced;
        } announcements[] = {
            {thread, bias_announcement(1, index, FREES)}, /* what it said last */
            {thread, bias_announcement(2, index, FREES)},
            {thread, bias_announcement(1, index, ALLOCATES)},
            {thread, bias_announcement(3, index, ALLOCATES)},
            {thread, bias_announcement(2, index + SLOTS, ALLOCATES)},
            {theirs, bias_announcement(2, index, ALLOCATES)},
            {thread, UINT64_MAX},
        };
        bias_announce(member_line(leased, announcements[other].thread),
                      announcements[other].announced);
        ck_assert_msg(take_all() == SLOTS, "%u", other);
        check_totals(SLOTS + 1, 1);
    }
}
END_TEST

START_TEST(test_bias_harvest_revokes_all_at_the_price_of_one_barrier)
{
    uint32_t threads[3] = {thread_with(1), thread_with(1), new_thread(bob)};
    pool_harvest_all(leased, broker.now);
    ck_assert_uint_eq(barriers, 1);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(revoked(threads[i]), BIAS_BY_DAEMON); /* one has had no slots */
    pool_harvest_all(leased, broker.now);
    pool_harvest(leased, broker.now);
    pool_sweep(leased, broker.now);
    ck_assert_uint_eq(barriers, 1); /* nobody is biased any more */
    ck_assert_uint_eq(pool_held(leased, a), 0);
    lease_as(alice, threads[1], 1);
    pool_harvest(leased, broker.now);
    pool_sweep(leased, broker.now);
    ck_assert_uint_eq(barriers, 1);
    broker_trim(&broker, leased);
    ck_assert_uint_eq(barriers, 2);
}
END_TEST

static uint32_t coming; /* the thread that comes, for slots[0] */

static void comes_to_allocate(void)
{
    ck_assert(!member_announce(leased, coming, slots[1], ALLOCATES)); /* it is revoked already */
    member_store(leased, slots[0], ALLOCATES); /* which it had begun before */
}

START_TEST(test_bias_store_before_the_barrier_is_seen)
{
    coming = thread_with(2);
    ck_assert(member_announce(leased, coming, slots[0], ALLOCATES));
    comes = comes_to_allocate;
    ck_assert_uint_eq(take_all(), SLOTS - 1);
    ck_assert_int_eq(state_of(slots[0]), SLOT_LIVE);
    check_totals(SLOTS, 0);
}
END_TEST

/* Which doesn't happen, where there ever was one. */
START_TEST(test_bias_without_a_barrier_threads_keep_what_they_have)
{
    uint32_t thread = thread_with(2);
    ck_assert(allocates(thread, slots[0]));
    barrier_fails = true;
    ck_assert_uint_eq(take_all(), SLOTS - 2);
    hold(0, slots[0]);
    ck_assert(!operate(leased, POOL_FREE, 0, 1));
    ck_assert_int_eq(error.code, ERROR_OUT_OF_MEMORY);
    barrier_fails = false;
    ck_assert(operate(leased, POOL_FREE, 0, 1));
    pool_harvest_all(leased, broker.now);
    ck_assert_uint_eq(take_all(), 2);
}
END_TEST

/* Then it is for those who asked to ask again; the daemon isn't kept from starting. */
START_TEST(test_bias_change_that_a_dead_daemon_began_ends_undone_if_nobody_can_be_revoked)
{
    uint32_t thread = thread_with(1);
    ck_assert(allocates(thread, slots[0]));
    hold(0, slots[0]);
    journal_begin(&broker.journal, (enum journal_kind)(JOURNAL_OPERATE + POOL_FREE), leased->id, a,
                  held, 1);
    barrier_fails = true;
    ck_assert_int_eq(pool_finish_change(leased, broker.now), 0);
    ck_assert_uint_eq(broker.journal.record->kind, JOURNAL_NONE);
    barrier_fails = false;
    ck_assert(operate(leased, POOL_FREE, 0, 1));
}
END_TEST

START_TEST(test_bias_who_waits_gets_what_a_revoked_thread_frees)
{
    uint32_t thread = thread_with(2);
    ck_assert(allocates(thread, slots[0]) && allocates(thread, slots[1]));
    GETS(bob, leased, 0, .count = SLOTS - 2);
    ck_assert(member_announce(leased, thread, slots[0], FREES));
    WAITS(bob, leased, 7, .timeout = FOREVER);
    member_store(leased, slots[0], FREES);
    ck_assert(bias_is_revoked(member_line(leased, thread))); /* so it looks further */
    member_after_free(leased, slots[0]);
    ck_assert(member_rings(leased, &told[0]));
    ring(alice);
    check_answer(0, "bob", 7, ERROR_NONE);
    check_totals(SLOTS + 1, 1);
}
END_TEST

/* ---- Requests -------------------------------------------------------------------------------- */

static const enum pool_operation operations[] = {POOL_FREE, POOL_RELEASE, POOL_RETAIN, POOL_ADOPT,
                                                 POOL_DETACH};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* By bob, but for what only the holder may. */
static bool request(enum pool_operation operation, uint32_t count)
{
    memset(&error, 0, sizeof(error));
    bool done = pool_operate(leased, operation, operation == POOL_RELEASE ? a : b, held, count,
                             broker.now, &error);
    leasing_settle(&broker, leased);
    broker_check(&broker);
    return done;
}

/* Alice's thread has so many slots, all allocated, whose handles are held. */
static uint32_t thread_with_objects(uint32_t count)
{
    uint32_t thread = thread_with(count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(allocates(thread, slots[i]));
        hold(i, slots[i]);
    }
    return thread;
}

START_TEST(test_bias_request_on_an_object_revokes_its_thread_once)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        USE(.capacity = UINT64_C(4) * SLOTS);
        uint32_t thread = thread_with_objects(4);
        ck_assert(request(operations[i], 3));
        ck_assert_uint_eq(barriers, 1);
        ck_assert_uint_eq(revoked(thread), BIAS_BY_DAEMON);
        ck_assert(!frees(thread, slots[3]));
        hold(0, slots[3]);
        ck_assert(request(operations[i], 1));
        ck_assert_uint_eq(barriers, 1);
        bool freed = operations[i] == POOL_FREE || operations[i] == POOL_RELEASE;
        check_totals(4, freed ? 4 : 0);
    }
}
END_TEST

START_TEST(test_bias_request_revokes_each_thread_of_the_batch)
{
    USE(.capacity = UINT64_C(4) * SLOTS);
    uint32_t indices[4], threads[3];
    for (uint32_t i = 0; i < 3; i++) {
        threads[i] = thread_with(1);
        ck_assert(allocates(threads[i], slots[0]));
        indices[i] = slots[0];
    }
    ck_assert_uint_eq(lease(alice, 1), 1);
    ck_assert(member_allocate(leased, a, slots[0]));
    indices[3] = slots[0];
    for (uint32_t i = 0; i < 4; i++)
        hold(i, indices[i]);
    ck_assert(request(POOL_FREE, 4));
    ck_assert_uint_eq(barriers, 3);
    check_totals(4, 4);
}
END_TEST

START_TEST(test_bias_request_on_what_is_not_the_threads_object_revokes_nobody)
{
    uint32_t thread = thread_with_objects(2);
    ck_assert(frees(thread, slots[0]));
    ck_assert(!request(POOL_FREE, 1)); /* stale */
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
    ck_assert_uint_eq(lease(alice, 1), 1);
    ck_assert(member_allocate(leased, a, slots[0]));
    hold(0, slots[0]);
    ck_assert(request(POOL_ADOPT, 1));
    ck_assert_uint_eq(barriers, 0);
    ck_assert_uint_eq(revoked(thread), 0);
}
END_TEST

START_TEST(test_bias_what_its_thread_is_freeing_is_stale)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        USE(.capacity = SLOTS);
        uint32_t thread = thread_with_objects(3);
        ck_assert(member_announce(leased, thread, slots[1], FREES));
        ck_assert(!request(operations[i], 3));
        ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
        ck_assert_uint_eq(error.position, 1);
        for (uint32_t j = 0; j < 3; j++)
            ck_assert_uint_eq(member_word(leased, slots[j]), slot_word(1, thread, SLOT_LIVE));
        member_store(leased, slots[1], FREES);
        ck_assert(!request(operations[i], 3));
        check_totals(3, 1);
    }
}
END_TEST

START_TEST(test_bias_what_its_thread_has_just_allocated_is_not_stale)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        USE(.capacity = SLOTS);
        thread_with_objects(1); /* as it announced */
        ck_assert(request(operations[i], 1));
    }
}
END_TEST

static void comes_to_free(void)
{
    member_store(leased, slots[0], FREES);
}

static void comes_to_free_and_allocate(void)
{
    member_store(leased, slots[0], FREES);
    bias_announce(member_line(leased, coming), bias_announcement(2, slots[0], ALLOCATES));
    ck_assert(member_allocate(leased, coming, slots[0]));
}

START_TEST(test_bias_what_its_thread_frees_before_the_barrier_is_stale)
{
    static void (*const meanwhile[])(void) = {comes_to_free, comes_to_free_and_allocate};
    for (size_t i = 0; i < OPERATIONS; i++)
        for (unsigned j = 0; j < 2; j++) {
            USE(.capacity = SLOTS);
            coming = thread_with_objects(1);
            ck_assert(member_announce(leased, coming, slots[0], FREES));
            comes = meanwhile[j];
            ck_assert(!request(operations[i], 1));
            ck_assert(!comes);
            ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
            check_totals(1 + j, 1);
        }
}
END_TEST

START_TEST(test_bias_object_that_changed_hands_is_under_the_members_number)
{
    uint32_t thread = thread_with_objects(3);
    ck_assert(request(POOL_ADOPT, 1));
    ck_assert_uint_eq(member_word(leased, slots[0]), slot_word(1, b, SLOT_LIVE));
    hold(0, slots[1]);
    ck_assert(operate(leased, POOL_ADOPT, 0, 1)); /* alice's thread's, by alice */
    ck_assert_uint_eq(member_word(leased, slots[1]), slot_word(1, a, SLOT_LIVE));
    ck_assert(lease_as(alice, thread, 1)); /* it is biased again, but that isn't its own */
    ck_assert(!frees(thread, slots[1]));
    ck_assert_uint_eq(pool_held(leased, a), 3);
    ck_assert_uint_eq(pool_held(leased, b), 1);
}
END_TEST

START_TEST(test_bias_quota_that_refuses_takes_back_what_threads_have_cached)
{
    USE(.capacity = 100, .session_slots = 4);
    ck_assert_uint_eq(lease(bob, 1), 1);
    ck_assert(member_allocate(leased, b, slots[0]));
    uint32_t index = slots[0];
    thread_with(4);
    hold(0, index);
    ck_assert(operate(leased, POOL_ADOPT, 0, 1));
    ck_assert_uint_eq(barriers, 1);
    ck_assert_uint_eq(pool_held(leased, a), 1);
}
END_TEST

/* ---- The end --------------------------------------------------------------------------------- */

START_TEST(test_bias_leaving_takes_back_whatever_is_announced)
{
    enum { NOTHING, FREES_ONE, ALLOCATES_ONE, ALLOCATED_ONE, FREED_BY_OTHERS, LEFT };
    for (unsigned left = 0; left < LEFT; left++) {
        USE(.capacity = SLOTS);
        uint32_t thread = thread_with_objects(3), object = slots[0];
        ck_assert_uint_eq(lease_as(alice, thread, 1), 1);
        if (left == FREES_ONE)
            ck_assert(member_announce(leased, thread, object, FREES));
        if (left == ALLOCATES_ONE)
            ck_assert(member_announce(leased, thread, slots[0], ALLOCATES));
        if (left == ALLOCATED_ONE)
            ck_assert(allocates(thread, slots[0]));
        if (left == FREED_BY_OTHERS)
            ck_assert(member_free(leased, b, object));
        broker_close_pool(&broker, alice, session_membership(alice, leased->id));
        broker_check(&broker);
        ck_assert_uint_eq(barriers, 0);
        ck_assert_uint_eq(session_of(thread), 0);
        ck_assert(!pool_has_thread(leased, a, thread));
        ck_assert_uint_eq(take_all(), SLOTS);
        uint32_t before = 3 + (left == ALLOCATED_ONE);
        check_totals(SLOTS + before, before);
        join(alice, leased);
    }
}
END_TEST

START_TEST(test_bias_number_of_who_left_is_revoked_no_more)
{
    uint32_t thread = thread_with(4);
    end(&alice);
    pool_harvest_all(leased, broker.now);
    ck_assert_uint_eq(barriers, 0);
    ck_assert_uint_eq(new_thread(bob), thread);
    ck_assert_uint_eq(lease_as(bob, thread, 2), 2);
    ck_assert(allocates(thread, slots[0]));
}
END_TEST

START_TEST(test_bias_destroyed_pool_revokes_before_its_words_die)
{
    uint32_t thread = thread_with(2);
    ck_assert(allocates(thread, slots[0]));
    int fd = store_descriptor(&leased->store, STORE_SLOTS, true);
    size_t size = geometry_slots_size(&leased->store.geometry, SLOTS);
    size_t words = leased->store.geometry.words_offset;
    size_t line = leased->store.geometry.threads_offset;
    char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    close(fd);
    ck_assert_uint_eq(broker_destroy_pool(&broker, leased), 1);
    leased = NULL;
    ck_assert_uint_eq(barriers, 1);
    ck_assert(bias_is_revoked((struct layout_thread *)(mapped + line)));
    for (uint32_t i = 0; i < SLOTS; i++)
        ck_assert_int_eq(slot_state(((uint64_t *)(mapped + words))[i]), SLOT_RETIRED);
    munmap(mapped, size);
}
END_TEST

/* ---- Damage ---------------------------------------------------------------------------------- */

START_TEST(test_bias_word_under_a_number_of_somebody_elses_is_damaged)
{
    for (unsigned i = 0; i < 4; i++) {
        USE(.capacity = SLOTS);
        uint32_t theirs = new_thread(bob), thread = thread_with(2);
        const uint32_t numbers[] = {theirs, b, SLOT_MEMBER_POOL - 1, SLOT_MEMBER_POOL};
        ck_assert(member_announce(leased, thread, slots[1], ALLOCATES));
        leased->words[slots[0]] = slot_word(1, numbers[i], SLOT_LIVE);
        leasing_look(&broker, leased);
        broker_check(&broker);
        ck_assert(pool_is_damaged(leased));
        ck_assert_uint_eq(barriers, 1);
        ck_assert_uint_eq(pool_held(leased, a), 1);
    }
}
END_TEST

/* A session that mixes up its own numbers, and one that says that it is revoked. */
START_TEST(test_bias_lies_about_its_own_words_harm_nobody)
{
    uint32_t first = thread_with(2), second = thread_with(2), index = slots[0];
    member_line(leased, second)->revoked = UINT32_MAX;
    leased->words[index] = slot_word(1, first, SLOT_CACHED);
    leasing_look(&broker, leased);
    leased->words[index] = slot_word(1, a, SLOT_LIVE);
    leasing_look(&broker, leased);
    ck_assert(!pool_is_damaged(leased));
    hold(0, index);
    ck_assert(request(POOL_FREE, 1));
    ck_assert_uint_eq(take_all(), SLOTS);
    check_totals(SLOTS + 1, 1);
}
END_TEST

SUITE_MAIN_WITH("bias", leasing_set_up, broker_tear_down,
                test_bias_threads_have_the_highest_numbers_below_the_pools,
                test_bias_announcement_is_of_one_word_alone,
                test_bias_nothing_is_announced_of_no_word, test_bias_thread_is_amid_until_it_stores,
                test_bias_daemon_restores_what_it_revoked_and_nothing_else,
                test_bias_number_is_of_the_session_and_of_no_other,
                test_bias_numbers_run_out_and_are_free_again_when_the_session_leaves,
                test_bias_there_is_no_number_without_a_barrier_which_is_tried_once,
                test_bias_barrier_that_works_is_tried_once_too,
                test_bias_brokered_pool_has_no_threads, test_bias_laws_notice_wrong_threads,
                test_bias_slots_are_granted_under_the_number_and_charged_to_the_member,
                test_bias_quotas_are_of_all_threads_together,
                test_bias_tight_pool_grants_nothing_and_restores_nobody,
                test_bias_next_grant_restores_the_thread_and_no_other,
                test_bias_thread_allocates_and_frees_and_totals_are_exact,
                test_bias_harvest_leaves_what_is_announced_and_takes_the_rest,
                test_bias_what_was_held_is_had_by_the_thread_or_by_the_next,
                test_bias_other_announcements_hold_nothing,
                test_bias_harvest_revokes_all_at_the_price_of_one_barrier,
                test_bias_store_before_the_barrier_is_seen,
                test_bias_without_a_barrier_threads_keep_what_they_have,
                test_bias_change_that_a_dead_daemon_began_ends_undone_if_nobody_can_be_revoked,
                test_bias_who_waits_gets_what_a_revoked_thread_frees,
                test_bias_request_on_an_object_revokes_its_thread_once,
                test_bias_request_revokes_each_thread_of_the_batch,
                test_bias_request_on_what_is_not_the_threads_object_revokes_nobody,
                test_bias_what_its_thread_is_freeing_is_stale,
                test_bias_what_its_thread_has_just_allocated_is_not_stale,
                test_bias_what_its_thread_frees_before_the_barrier_is_stale,
                test_bias_object_that_changed_hands_is_under_the_members_number,
                test_bias_quota_that_refuses_takes_back_what_threads_have_cached,
                test_bias_leaving_takes_back_whatever_is_announced,
                test_bias_number_of_who_left_is_revoked_no_more,
                test_bias_destroyed_pool_revokes_before_its_words_die,
                test_bias_word_under_a_number_of_somebody_elses_is_damaged,
                test_bias_lies_about_its_own_words_harm_nobody)
