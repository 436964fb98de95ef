/* SPDX-License-Identifier: MIT */
/*
 * The memory of a pool's objects: given back while they are free, taken again before they are
 * granted, and what stands in it then.
 */
#include "daemon/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define PAGE UINT64_C(4096)
#define SHM_SIZE (UINT64_C(16) << 20)
#define CAPACITY 40u
#define MORE 100u
#define OBJECT_MAX 8192u

static const uint8_t key[SEGMENT_KEY_SIZE] = {1, 2, 3};
static const uint8_t content[24] = "a template's 24 letters";
static struct pool_config config;
static struct pool *pool;
static struct error error;
static uint32_t member;
static uint8_t wire[MORE * HANDLE_WIRE_SIZE];

/* Instead of libc's: what each write to an object found of its slot. */
static uint32_t written; /* the slot */
static uint64_t word_then, entry_then;

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    if (pool) {
        written = (uint32_t)((uint64_t)offset / pool->store.geometry.stride);
        word_then = pool->words[written];
        entry_then = pool->store.ledger[written];
    }
    return syscall(SYS_pwrite64, fd, buf, n, offset);
}

static void create(uint64_t object_size, uint32_t flags)
{
    config.object_size = object_size;
    config.flags = flags;
    ck_assert_msg(pool_create(&config, 7, 0xbeef, key, 0, &pool, &error), "%s", error.message);
    member = pool_join(pool, 1, 1);
}

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    config = (struct pool_config){.kind = test_kind(),
                                  .name = "frames",
                                  .type = "frame",
                                  .capacity = CAPACITY,
                                  .capacity_max = MORE};
}

static void destroy(void)
{
    pool_check(pool);
    pool_leave(pool, member, 0);
    pool_check(pool);
    pool_destroy(pool);
    pool_free(pool);
    pool = NULL;
}

static void tear_down(void)
{
    destroy();
    ck_assert_uint_eq(test_shm_files(), 0);
}

static uint8_t *at(size_t position)
{
    return wire + position * HANDLE_WIRE_SIZE;
}

static uint32_t index_at(uint32_t position)
{
    return handle_from_wire(at(position)).index;
}

static bool prepare(uint32_t count)
{
    memset(&error, 0, sizeof(error));
    bool prepared = pool_prepare(pool, count, true, &error);
    pool_check(pool);
    return prepared;
}

static void allocate(uint32_t position, uint32_t count)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    ck_assert(pool_charge(pool, member, count, &charge, &error));
    ck_assert_uint_ge(pool_room(pool, PRIORITY_NORMAL), count);
    ck_assert_msg(pool_prepare(pool, count, true, &error), "%s", error.message);
    pool_allocate(pool, member, 1, false, count, &charge, 0, at(position));
    pool_check(pool);
}

static void release(uint32_t position, uint32_t count)
{
    ck_assert_msg(pool_operate(pool, POOL_FREE, member, at(position), count, 0, &error), "%s",
                  error.message);
    pool_check(pool);
}

static uint64_t trim(void)
{
    uint64_t bytes = pool_trim(pool, 0);
    pool_check(pool);
    return bytes;
}

/* Bytes of /dev/shm that the objects take. */
static uint64_t taken(void)
{
    struct stat status;
    int fd = store_descriptor(&pool->store, STORE_DATA, false);
    ck_assert_int_eq(fstat(fd, &status), 0);
    close(fd);
    return (uint64_t)status.st_blocks * 512;
}

static void check_taken(uint64_t pages)
{
    ck_assert_uint_eq(taken(), pages * PAGE);
    uint64_t all = pool_size(pool);
    uint64_t data = geometry_data_size(&pool->store.geometry, pool_capacity(pool));
    ck_assert_uint_eq(pool_memory(pool), all - data + pages * PAGE);
}

static uint64_t place_of(uint32_t index)
{
    return index * pool->store.geometry.stride;
}

/* As a member writes and reads it. */
static void fill(uint32_t index, uint8_t value)
{
    uint8_t bytes[OBJECT_MAX];
    memset(bytes, value, sizeof(bytes));
    int fd = store_descriptor(&pool->store, STORE_DATA, true);
    ck_assert_int_eq(pwrite(fd, bytes, config.object_size, (off_t)place_of(index)),
                     (ssize_t)config.object_size);
    close(fd);
}

/* The template's beginning if there is one, then that value to the end. */
static bool object_is(uint32_t index, const struct bytes *beginning, uint8_t value)
{
    uint8_t bytes[OBJECT_MAX];
    size_t at_first = beginning ? beginning->size : 0;
    int fd = store_descriptor(&pool->store, STORE_DATA, false);
    ck_assert_int_eq(pread(fd, bytes, config.object_size, (off_t)place_of(index)),
                     (ssize_t)config.object_size);
    close(fd);
    if (beginning && memcmp(bytes, beginning->data, at_first) != 0)
        return false;
    for (size_t i = at_first; i < config.object_size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* ---- Trimming -------------------------------------------------------------------------------- */

START_TEST(test_trim_gives_back_all_of_an_empty_pool)
{
    create(PAGE, 0);
    check_taken(CAPACITY);
    ck_assert_uint_eq(trim(), CAPACITY * PAGE);
    check_taken(0);
    ck_assert_uint_eq(trim(), 0); /* which is nothing more */
    check_taken(0);
}
END_TEST

START_TEST(test_trim_spares_what_is_held)
{
    create(PAGE, 0);
    allocate(0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        fill(index_at(i), (uint8_t)(i + 1));
    ck_assert_uint_eq(trim(), 0);
    release(5, 3);
    release(20, 1);
    release(CAPACITY - 1, 1);
    ck_assert_uint_eq(trim(), 5 * PAGE);
    check_taken(CAPACITY - 5);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        bool freed = (i >= 5 && i < 8) || i == 20 || i == CAPACITY - 1;
        ck_assert(object_is(index_at(i), NULL, freed ? 0 : (uint8_t)(i + 1)));
    }
}
END_TEST

/* 1000 bytes are 1008 apart, so that most pages are shared. */
START_TEST(test_trim_spares_what_is_held_beside_what_is_free)
{
    create(1000, 0);
    allocate(0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        fill(index_at(i), (uint8_t)(i + 1));
    for (uint32_t kept = 0; kept < CAPACITY; kept += 7)
        for (uint32_t i = kept + 1; i < kept + 7 && i < CAPACITY; i++)
            release(i, 1);
    ck_assert_uint_gt(trim(), 0);
    ck_assert_uint_lt(taken(), geometry_data_size(&pool->store.geometry, CAPACITY));
    for (uint32_t kept = 0; kept < CAPACITY; kept += 7)
        ck_assert(object_is(index_at(kept), NULL, (uint8_t)(kept + 1)));
    for (uint32_t kept = 0; kept < CAPACITY; kept += 7)
        release(kept, 1);
    trim();
    check_taken(0);
}
END_TEST

START_TEST(test_trim_spares_detached_and_shared_objects)
{
    create(PAGE, 0);
    allocate(0, 3);
    ck_assert(pool_operate(pool, POOL_DETACH, member, at(0), 1, 0, &error));
    ck_assert(pool_operate(pool, POOL_RETAIN, member, at(1), 1, 0, &error));
    release(2, 1);
    ck_assert_uint_eq(trim(), (CAPACITY - 2) * PAGE);
    check_taken(2);
    ck_assert(pool_operate(pool, POOL_ADOPT, member, at(0), 1, 0, &error));
}
END_TEST

START_TEST(test_trim_takes_retired_slots)
{
    create(PAGE, 0);
    pool->words[0] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    allocate(0, 2);
    release(0, 1);
    ck_assert_uint_eq(trim(), (CAPACITY - 1) * PAGE);
    check_taken(1);
}
END_TEST

/* ---- Taking it again ------------------------------------------------------------------------- */

START_TEST(test_trimmed_memory_is_taken_again_for_what_is_granted_and_no_more)
{
    create(PAGE, 0);
    trim();
    allocate(0, 3);
    check_taken(3);
    for (uint32_t i = 0; i < 3; i++)
        fill(index_at(i), 9); /* as a member may */
    allocate(3, CAPACITY - 3);
    check_taken(CAPACITY);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(object_is(index_at(i), NULL, 9));
}
END_TEST

START_TEST(test_trimmed_slots_are_prepared_in_the_order_in_which_they_are_granted)
{
    create(PAGE, 0);
    allocate(0, 10);
    static const uint32_t order[] = {3, 9, 0, 5};
    for (int i = 0; i < 4; i++)
        release(order[i], 1);
    trim();
    check_taken(6);
    allocate(10, 2); /* 5, then 0 */
    ck_assert_uint_eq(index_at(10), 5);
    ck_assert_uint_eq(index_at(11), 0);
    check_taken(8);
    allocate(12, 3); /* 9, 3, and a fresh one */
    ck_assert_uint_eq(index_at(14), 10);
    check_taken(11);
}
END_TEST

START_TEST(test_trimmed_memory_that_can_not_be_had_is_said)
{
    create(2 * PAGE, 0);
    allocate(0, 1);
    fill(index_at(0), 9);
    trim();
    uint32_t usage = pool_usage(pool);
    test_shm_fill(3 * PAGE);
    ck_assert(!prepare(2));
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_uint_eq(pool_usage(pool), usage);
    ck_assert(prepare(1));
    ck_assert(object_is(index_at(0), NULL, 9));
    test_shm_unfill();
    allocate(1, CAPACITY - 1);
    check_taken(UINT64_C(2) * CAPACITY);
}
END_TEST

START_TEST(test_trimmed_pool_grows)
{
    create(1000, 0);
    allocate(0, 1);
    fill(index_at(0), 3);
    trim();
    ck_assert_int_eq(pool_prepare_growth(pool, MORE), 0);
    trim();
    ck_assert_int_eq(store_grow(&pool->store, MORE), 0);
    trim(); /* grown, but nobody knows yet */
    pool_grown(pool);
    pool_check(pool);
    allocate(1, MORE - 1);
    for (uint32_t i = 1; i < MORE; i++)
        fill(index_at(i), 4);
    check_taken(geometry_data_size(&pool->store.geometry, MORE) / PAGE);
    ck_assert(object_is(index_at(0), NULL, 3));
}
END_TEST

/* ---- What an object begins with -------------------------------------------------------------- */

/* Everything is used once, freed, and perhaps trimmed; then the objects are these. */
static void check_beginnings(uint64_t object_size, uint32_t flags, bool templated, bool trimmed,
                             bool zero)
{
    config.content = (struct bytes){content, templated ? sizeof(content) : 0};
    create(object_size, flags);
    allocate(0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        ck_assert(object_is(i, templated ? &config.content : NULL, 0)); /* new ones */
        fill(i, 9);
    }
    release(0, CAPACITY);
    if (trimmed)
        trim();
    allocate(0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_msg(object_is(i, templated ? &config.content : NULL, zero ? 0 : 9),
                      "%" PRIu64 " bytes, flags %" PRIu32 ", slot %" PRIu32, object_size, flags, i);
}

START_TEST(test_object_begins_as_the_pool_says)
{
    static const uint64_t sizes[] = {sizeof(content), 1000, PAGE, OBJECT_MAX};
    create(1, 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int templated = 0; templated <= 1; templated++)
            for (int trimmed = 0; trimmed <= 1; trimmed++) {
                destroy();
                check_beginnings(sizes[i], LAYOUT_ZERO_ALLOCATE, templated, trimmed, true);
                destroy();
                check_beginnings(sizes[i], LAYOUT_ZERO_FREE, templated, trimmed, true);
                destroy();
                check_beginnings(sizes[i], 0, templated, trimmed, trimmed);
            }
}
END_TEST

START_TEST(test_object_is_zeroed_when_it_is_freed_by_whatever_frees_it)
{
    create(1000, LAYOUT_ZERO_FREE);
    ck_assert_int_eq(pool_allow_evictable(pool), 0);
    allocate(0, 4);
    struct slots_charge charge = {.session = CHARGE_NONE};
    ck_assert(pool_charge(pool, member, 1, &charge, &error));
    pool_allocate(pool, member, 1, true, 1, &charge, 0, at(4));
    for (uint32_t i = 0; i < 5; i++)
        fill(i, 9);
    uint32_t other = pool_join(pool, 2, 2);
    release(0, 1);
    ck_assert(pool_operate(pool, POOL_RETAIN, other, at(1), 1, 0, &error));
    ck_assert(pool_operate(pool, POOL_RELEASE, member, at(1), 1, 0, &error));
    ck_assert(object_is(1, NULL, 9)); /* the other still holds it */
    ck_assert(pool_operate(pool, POOL_RELEASE, other, at(1), 1, 0, &error));
    ck_assert(pool_evict(pool, 1, 0));
    ck_assert(pool_operate(pool, POOL_ADOPT, other, at(2), 1, 0, &error));
    ck_assert(object_is(2, NULL, 9));
    ck_assert_uint_eq(pool_leave(pool, other, 0), 1);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_msg(object_is(i, NULL, i == 3 ? 9 : 0), "slot %" PRIu32, i);
}
END_TEST

/*
 * A daemon that is killed in between leaves a slot that somebody holds but isn't live: it is taken back
 * when it starts again, and zeroed with that.
 */
START_TEST(test_object_is_zeroed_when_it_is_dead_but_before_its_slot_is_free)
{
    create(1000, LAYOUT_ZERO_FREE);
    allocate(0, 2);
    release(1, 1);
    ck_assert_uint_eq(written, index_at(1));
    ck_assert(!slot_is_allocated(word_then));
    ck_assert_uint_eq(layout_ledger_member(entry_then), member);
    ck_assert_uint_eq(ledger_holder(&pool->ledger, written), SLOT_MEMBER_NONE);
}
END_TEST

/* With not one descriptor left. */
START_TEST(test_object_is_zeroed_when_it_is_freed_whatever_happens)
{
    struct rlimit before;
    create(1000, LAYOUT_ZERO_FREE);
    allocate(0, 1);
    fill(index_at(0), 9);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool freed = pool_operate(pool, POOL_FREE, member, at(0), 1, 0, &error);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(freed);
    ck_assert(object_is(0, NULL, 0));
}
END_TEST

START_TEST(test_object_that_can_not_be_written_is_refused)
{
    struct rlimit before;
    create(1000, LAYOUT_ZERO_ALLOCATE);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool prepared = prepare(1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(!prepared);
    ck_assert_int_eq(error.code, ERROR_SYSTEM);
    ck_assert_uint_eq(error.system_error, EMFILE);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert(prepare(CAPACITY));
}
END_TEST

SUITE_MAIN_WITH("pool_trim", set_up, tear_down, test_trim_gives_back_all_of_an_empty_pool,
                test_trim_spares_what_is_held, test_trim_spares_what_is_held_beside_what_is_free,
                test_trim_spares_detached_and_shared_objects, test_trim_takes_retired_slots,
                test_trimmed_memory_is_taken_again_for_what_is_granted_and_no_more,
                test_trimmed_slots_are_prepared_in_the_order_in_which_they_are_granted,
                test_trimmed_memory_that_can_not_be_had_is_said, test_trimmed_pool_grows,
                test_object_begins_as_the_pool_says,
                test_object_is_zeroed_when_it_is_freed_by_whatever_frees_it,
                test_object_is_zeroed_when_it_is_dead_but_before_its_slot_is_free,
                test_object_is_zeroed_when_it_is_freed_whatever_happens,
                test_object_that_can_not_be_written_is_refused)
