/* SPDX-License-Identifier: MIT */
/* A broker forgets all it knows, as if it were killed; another one takes over what it left. */
#include "daemon/recovery.h"
#include "tests/unit/broker_case.h"

static struct recovery found;
static int witness = -1; /* alice lives as long as it is open */
static uint64_t alice_id, bob_id;

static struct session *find(uint64_t id)
{
    struct session *session;
    TAILQ_FOREACH (session, &broker.sessions, in_broker)
        if (session->id == id)
            return session;
    return NULL;
}

static void set_up(void)
{
    broker_set_up();
    witness = session_witness(alice);
    ck_assert_int_ge(witness, 0);
    alice_id = alice->id;
    bob_id = bob->id;
}

static void begin_anew(void)
{
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    broker.uid = DAEMON_UID;
}

static void recover(void)
{
    begin_anew();
    ck_assert_msg(recovery_run(&broker, false, &found, &error), "%s", error.message);
    broker_check(&broker);
    alice = find(alice_id);
    bob = find(bob_id);
    pool = broker_find_pool(&broker, "frames");
}

static void crash(void)
{
    broker_forget(&broker);
    recover();
}

/* Whoever was only connected is gone with the daemon; she is there again. */
static void tear_down(void)
{
    if (witness >= 0)
        close(witness);
    if (alice)
        alice->connection = alice_name;
    broker_tear_down();
}

static fastalloc_handle_t handle_at(uint32_t position)
{
    return handle_from_wire(held + (size_t)position * HANDLE_WIRE_SIZE);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

START_TEST(test_recovery_keeps_what_the_living_hold)
{
    take(alice, pool, 2);
    crash();
    ck_assert_uint_eq(found.pools, 1);
    ck_assert_uint_eq(found.sessions, 1);
    ck_assert_uint_eq(found.ended, 1);
    ck_assert_ptr_nonnull(alice);
    ck_assert_ptr_null(bob);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert_uint_eq(session_usage(alice), 2);
    ck_assert(give_back(pool, 0, 2));
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert(!give_back(pool, 0, 1));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_recovery_frees_what_the_dead_held)
{
    take(alice, pool, 1);
    take(bob, pool, 2);
    close(witness);
    witness = -1;
    crash();
    ck_assert_uint_eq(found.ended, 2);
    ck_assert_uint_eq(found.sessions, 0);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->ctl->counters.reclaimed, 3);
    ck_assert_uint_eq(pool->member_count, 0);
}
END_TEST

START_TEST(test_recovery_again_and_again_changes_nothing)
{
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert(operate(pool, POOL_DETACH, 1, 1));
    for (int i = 0; i < 5; i++) {
        crash();
        ck_assert_uint_eq(pool_usage(pool), 3);
        ck_assert_uint_eq(
            holders_count_of(&pool->holders, handle_at(0).index, member_of(alice, pool)), 2);
        ck_assert_uint_eq(pool_held(pool, SLOT_MEMBER_POOL), 1);
    }
    ck_assert(operate(pool, POOL_ADOPT, 1, 1));
    ck_assert(operate(pool, POOL_RELEASE, 0, 1));
    ck_assert(give_back(pool, 0, 3));
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_recovery_keeps_what_a_pool_is)
{
    static const uint8_t content[] = "begin";
    struct pool *other =
        MAKE(.name = "other", .type = "thing", .object_size = 24, .capacity = 8, .capacity_max = 64,
             .growth = "linear:8", .watermark = "50%", .reserve_critical = 1, .session_slots = 5,
             .hold_limit = 7, .trim_after = 9, .mode = 0640, .content = {content, sizeof(content)});
    struct layout_ctl before;
    memcpy(&before, other->ctl, sizeof(before));
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_ptr_nonnull(other);
    before.counters = other->ctl->counters;
    ck_assert_mem_eq(&before, other->ctl, sizeof(before));
    ck_assert_int_eq(other->growth.kind, GROWTH_LINEAR);
    ck_assert_uint_eq(other->watermark.level, 50);
    ck_assert_mem_eq(other->content, content, sizeof(content));
    join(alice, other);
    REFUSES(ERROR_QUOTA_EXCEEDED, alice, other, 1, .count = 6);
    GETS(alice, other, 1, .count = 5);
}
END_TEST

START_TEST(test_recovery_removes_a_pool_in_the_making)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    registry_set_state(&other->entry->state, REGISTRY_MAKING);
    crash();
    ck_assert_uint_eq(found.removed, 1);
    ck_assert_ptr_null(broker_find_pool(&broker, "other"));
    MAKE(.name = "other", .capacity = 8);
}
END_TEST

START_TEST(test_recovery_goes_on_with_a_destruction)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    join(alice, other);
    take(alice, other, 1);
    fastalloc_handle_t handle = handle_at(0);
    int slots = store_descriptor(&other->store, STORE_SLOTS, false);
    size_t words = other->store.geometry.words_offset;
    registry_set_state(&other->entry->state, REGISTRY_ENDING);
    crash();
    ck_assert_uint_eq(found.removed, 1);
    ck_assert_ptr_null(broker_find_pool(&broker, "other"));
    uint64_t word;
    ck_assert_int_eq(pread(slots, &word, 8, (off_t)(words + 8 * handle.index)), 8);
    ck_assert_int_eq(slot_state(word), SLOT_RETIRED);
    close(slots);
}
END_TEST

START_TEST(test_recovery_goes_on_with_a_destruction_of_which_only_files_are_left)
{
    struct pool *other = MAKE(.name = "other", .capacity = 8);
    char name[SEGMENT_NAME_SIZE];
    registry_set_state(&other->entry->state, REGISTRY_ENDING);
    store_name(&other->store, STORE_CTL, name);
    ck_assert_int_eq(segment_unlink(name), 0);
    crash();
    ck_assert_uint_eq(found.removed, 1);
}
END_TEST

START_TEST(test_recovery_keeps_grown_pools_and_takes_back_what_was_not_published)
{
    struct pool *other =
        MAKE(.name = "other", .capacity = 8, .capacity_max = 4096, .growth = "linear:1000");
    join(alice, other);
    take(alice, other, 9);
    ck_assert_uint_eq(pool_capacity(other), 1008);
    ck_assert_int_eq(pool_prepare_growth(other, 2008), 0);
    ck_assert_int_eq(store_grow(&other->store, 2008), 0);
    uint64_t size = store_size(&other->store.geometry, 1008);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_eq(pool_capacity(other), 1008);
    ck_assert_uint_eq(pool_size(other), size);
    ck_assert(store_is_whole(&other->store));
    ck_assert_uint_eq(pool_usage(other), 9);
    ck_assert(!other->damaged && other->lease.damage == 0);
    take(alice, other, 1000);
    ck_assert_uint_eq(pool_capacity(other), 2008);
}
END_TEST

START_TEST(test_recovery_knows_what_memory_was_given_back)
{
    struct pool *other = MAKE(.name = "other", .object_size = 4096, .capacity = 64);
    join(alice, other);
    take(alice, other, 3);
    ck_assert_uint_eq(broker_trim(&broker, other), UINT64_C(61) * 4096);
    crash();
    other = broker_find_pool(&broker, "other");
    ck_assert_uint_ge(store_trimmed_size(&other->store), UINT64_C(61) * 4096);
    take(alice, other, 61);
    ck_assert_uint_eq(store_trimmed_size(&other->store), 0);
}
END_TEST

START_TEST(test_recovery_counts_on)
{
    take(alice, pool, 3);
    ck_assert(give_back(pool, 0, 2));
    uint64_t nothing = pool->ctl->counters.allocation_failures;
    crash();
    const struct layout_counters *counters = &pool->ctl->counters;
    ck_assert_uint_eq(counters->total_allocations, 3);
    ck_assert_uint_eq(counters->total_deallocations, 2);
    ck_assert_uint_eq(counters->peak_usage, 3);
    ck_assert_uint_eq(counters->allocation_failures, nothing);
    counters_begin(&pool->ctl->counters.sequence); /* killed in the middle of a change */
    pool->ctl->counters.current_usage = 7;
    crash();
    ck_assert_uint_eq(pool->ctl->counters.current_usage, 1);
    ck_assert_uint_eq(pool->ctl->counters.total_allocations, 3);
}
END_TEST

/* ---- What it doesn't understand -------------------------------------------------------------- */

static void refuses(const char *what)
{
    unsigned files = test_shm_files();
    broker_forget(&broker);
    begin_anew();
    ck_assert(!recovery_run(&broker, false, &found, &error));
    ck_assert_msg(strstr(error.message, what) != NULL, "%s", error.message);
    ck_assert_uint_eq(test_shm_files(), files);
    broker_forget(&broker);
}

#define REFUSES_WITH(place, value, what)                                                           \
    do {                                                                                           \
        __typeof__(place) *at = &(place), was = *at;                                               \
        int ctl = store_descriptor(&pool->store, STORE_CTL, true);                                 \
        off_t offset = (char *)at - (char *)pool->ctl;                                             \
        *at = (value);                                                                             \
        refuses(what);                                                                             \
        ck_assert_int_eq(pwrite(ctl, &was, sizeof(was), offset), sizeof(was));                     \
        close(ctl);                                                                                \
        begin_anew();                                                                              \
        broker.registry.file->failures = 0;                                                        \
        broker_forget(&broker);                                                                    \
        recover();                                                                                 \
    } while (0)

START_TEST(test_recovery_refuses_what_it_does_not_understand)
{
    REFUSES_WITH(pool->ctl->version, LAYOUT_VERSION + 1, "of layout version 5");
    REFUSES_WITH(pool->ctl->version, 0, "of layout version 0");
    REFUSES_WITH(pool->ctl->magic, 1, "isn't one");
    REFUSES_WITH(pool->ctl->pool, 77, "another pool's");
    REFUSES_WITH(pool->ctl->nonce, 0, "another pool's");
    REFUSES_WITH(pool->ctl->stride, 17, "can't be");
    REFUSES_WITH(pool->ctl->capacity, 5, "can't be");
    REFUSES_WITH(pool->ctl->reserve, UINT32_MAX, "can't be");
    REFUSES_WITH(pool->ctl->kind, 3, "can't be");
    REFUSES_WITH(pool->ctl->policy.growth[0], 'x', "can't be");
}
END_TEST

START_TEST(test_recovery_stops_after_three_failures_until_it_is_asked_for)
{
    uint32_t *version = &pool->ctl->version;
    *version = 99;
    for (unsigned i = 0; i < RECOVERY_FAILURES_MAX; i++)
        refuses("of layout version 99");
    refuses("failed 3 times");
    begin_anew();
    ck_assert(!recovery_run(&broker, true, &found, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "99"));
    struct recovery purged;
    recovery_purge(&broker, &purged);
    ck_assert_uint_eq(purged.pools, 1);
    broker_forget(&broker);
    begin_anew();
    alice = bob = NULL;
}
END_TEST

SUITE_MAIN_WITH("recovery", set_up, tear_down, test_recovery_keeps_what_the_living_hold,
                test_recovery_frees_what_the_dead_held,
                test_recovery_again_and_again_changes_nothing, test_recovery_keeps_what_a_pool_is,
                test_recovery_removes_a_pool_in_the_making,
                test_recovery_goes_on_with_a_destruction,
                test_recovery_goes_on_with_a_destruction_of_which_only_files_are_left,
                test_recovery_keeps_grown_pools_and_takes_back_what_was_not_published,
                test_recovery_knows_what_memory_was_given_back, test_recovery_counts_on,
                test_recovery_refuses_what_it_does_not_understand,
                test_recovery_stops_after_three_failures_until_it_is_asked_for)
