/* SPDX-License-Identifier: MIT */
#include "daemon/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/order.h"
#include "tests/lib/aborts.h"
#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define SHM_SIZE (UINT64_C(16) << 20)
#define PAGE UINT64_C(4096)
#define ID 7u
#define NONCE 0xbeefu
#define CAPACITY 8u
#define UID 1000u
#define MORE 100u /* what it grows to */

static const uint8_t key[SEGMENT_KEY_SIZE] = {1, 2, 3};
static struct pool_config config;
static struct pool *pool;
static struct error error;
static uint8_t wire[MORE * HANDLE_WIRE_SIZE];
static int64_t now;

/* Where the handle of that number stands. */
static uint8_t *at(uint8_t *handles, size_t position)
{
    return handles + position * HANDLE_WIRE_SIZE;
}

static bool create(void)
{
    memset(&error, 0, sizeof(error));
    return pool_create(&config, ID, NONCE, key, now, &pool, &error);
}

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    config = (struct pool_config){.kind = test_kind(),
                                  .name = "frames",
                                  .type = "frame",
                                  .object_size = 40,
                                  .capacity = CAPACITY,
                                  .capacity_max = MORE,
                                  .mode = 0640};
    ck_assert(create());
    pool_check(pool);
}

/* Everybody leaves, and nothing is charged any more. */
static void leave_all(void)
{
    for (uint32_t number = 1; number < pool->account_count; number++)
        if (pool->accounts[number])
            pool_leave(pool, number, now);
    pool_check(pool);
    ck_assert(LIST_EMPTY(&pool->users.list));
    ck_assert_uint_eq(pool->member_count, 0);
}

static void destroy(void)
{
    if (!pool)
        return;
    pool_check(pool);
    leave_all();
    pool_destroy(pool);
    pool_free(pool);
    pool = NULL;
}

static void tear_down(void)
{
    destroy();
    ck_assert_uint_eq(test_shm_files(), 0);
}

/* A pool of other sizes in the place of the usual one. */
static void create_other(uint64_t object_size, uint64_t capacity)
{
    destroy();
    config.object_size = object_size;
    config.capacity = capacity;
    config.capacity_max = 0;
    ck_assert_msg(create(), "%s", error.message);
    pool_check(pool);
}

/* As the broker does it: charged, prepared, and only if there is room. */
static void grant(uint32_t to, enum priority priority, bool evictable, uint32_t count,
                  uint8_t *handles)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    ck_assert(pool_charge(pool, to, count, &charge, &error));
    ck_assert_uint_ge(pool_room(pool, priority), count);
    ck_assert(!evictable || pool_allow_evictable(pool) == 0);
    ck_assert(pool_prepare(pool, count, true, &error));
    pool_allocate(pool, to, 5, evictable, count, &charge, now, handles);
    ck_assert_ptr_null(charge.session.quota);
    ck_assert_ptr_null(charge.user.quota);
}

/* ---- Creation -------------------------------------------------------------------------------- */

START_TEST(test_pool_create_fills_the_head)
{
    const struct layout_ctl *ctl = pool->ctl;

    ck_assert_uint_eq(ctl->magic, LAYOUT_MAGIC);
    ck_assert_uint_eq(ctl->version, LAYOUT_VERSION);
    ck_assert_uint_eq(ctl->pool, ID);
    ck_assert_uint_eq(ctl->nonce, NONCE);
    ck_assert_uint_eq(ctl->kind, test_kind());
    ck_assert_uint_eq(ctl->object_size, 40);
    ck_assert_uint_eq(ctl->stride, 48);
    ck_assert_uint_eq(ctl->alignment, GEOMETRY_ALIGNMENT_DEFAULT);
    ck_assert_uint_eq(ctl->capacity, CAPACITY);
    ck_assert_uint_eq(ctl->mode, 0640);
    ck_assert_uint_eq(ctl->capacity_max, MORE);
    ck_assert_uint_eq(ctl->reserve, UINT64_C(4) * MORE);
    ck_assert_str_eq(ctl->name, "frames");
    ck_assert_str_eq(ctl->type, "frame");
}
END_TEST

START_TEST(test_pool_create_keeps_its_policies)
{
    destroy();
    config = (struct pool_config){.kind = test_kind(),
                                  .name = "frames",
                                  .type = "frame",
                                  .object_size = 40,
                                  .capacity = CAPACITY,
                                  .capacity_max = MORE,
                                  .uid = 3,
                                  .gid = 4,
                                  .flags = LAYOUT_OWNER_FREES | LAYOUT_HUGE,
                                  .growth = "linear:5",
                                  .watermark = "75%",
                                  .reserve_critical = 1,
                                  .reserve_normal = 2,
                                  .grow_ahead = 3,
                                  .session_slots = 4,
                                  .user_slots = 5,
                                  .hold_limit = INT64_MAX,
                                  .trim_after = 7,
                                  .content = {key, sizeof(key)}};
    now = 123;
    ck_assert(create());
    const struct layout_ctl *ctl = pool->ctl;
    const struct layout_policy expected = {.growth = "linear:5",
                                           .watermark = "75%",
                                           .capacity_first = CAPACITY,
                                           .reserve_critical = 1,
                                           .reserve_normal = 2,
                                           .grow_ahead = 3,
                                           .session_slots = 4,
                                           .user_slots = 5,
                                           .template_size = sizeof(key),
                                           .hold_limit = INT64_MAX,
                                           .trim_after = 7};
    ck_assert_mem_eq(&ctl->policy, &expected, sizeof(expected));
    ck_assert_uint_eq(ctl->uid, 3);
    ck_assert_uint_eq(ctl->gid, 4);
    ck_assert_uint_eq(ctl->flags, LAYOUT_OWNER_FREES | LAYOUT_HUGE);
    ck_assert_uint_eq(ctl->counters.reset_at, 123);
    ck_assert_uint_eq(ctl->counters.changed_at, 123);
    ck_assert_int_eq(pool->growth.kind, GROWTH_LINEAR);
    ck_assert_uint_eq(pool->watermark.level, 75);
    ck_assert_uint_eq(test_shm_files(), STORE_FOR_CLIENTS + 1);
}
END_TEST

START_TEST(test_pool_create_makes_every_slot_idle)
{
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(pool->words[i], slot_word(1, SLOT_MEMBER_NONE, SLOT_IDLE));
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool_capacity(pool), CAPACITY);
}
END_TEST

START_TEST(test_pool_create_reserves_what_it_says)
{
    uint64_t before = segment_space();
    destroy();
    uint64_t freed = segment_space() - before;
    ck_assert(create());
    ck_assert_uint_eq(pool_memory(pool), freed);
    ck_assert_uint_eq(test_shm_files(), STORE_FOR_CLIENTS);
}
END_TEST

START_TEST(test_pool_create_with_a_taken_key_is_refused_with_its_errno)
{
    char name[SEGMENT_NAME_SIZE];
    pool_destroy(pool);
    pool_free(pool);
    pool = NULL;
    segment_name(key, "ctl", name);
    close(segment_create(name, PAGE));

    ck_assert(!create());
    ck_assert_int_eq(error.code, ERROR_SYSTEM);
    ck_assert_uint_eq(error.system_error, EEXIST);
    ck_assert_ptr_nonnull(strstr(error.message, "frames"));
}
END_TEST

START_TEST(test_pool_create_refuses_a_wrong_configuration)
{
    destroy();
    config.alignment = 3;
    ck_assert(!create());
    ck_assert_int_eq(error.code, ERROR_INVALID_ALIGNMENT);
}
END_TEST

/* Refused for want of room: says how much, and leaves nothing. */
static void check_full(uint64_t needed, uint64_t left)
{
    unsigned files = test_shm_files();

    ck_assert_msg(!create(), "with %" PRIu64 " of %" PRIu64, left, needed);
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_eq(error.needed, needed);
    ck_assert_uint_eq(error.available, left);
    ck_assert_uint_eq(test_shm_files(), files);
    ck_assert_uint_eq(segment_space(), left);
    ck_assert_ptr_null(pool);
}

START_TEST(test_pool_create_needs_the_last_page)
{
    create_other(PAGE, 64 - 19); /* 64 pages with ctl's and slots' */
    uint64_t needed = pool_memory(pool), lines = LAYOUT_THREADS * sizeof(struct layout_thread);
    ck_assert_uint_eq(needed, 64 * PAGE + (pool_is_leased(pool) ? lines : 0));
    destroy();

    for (uint64_t left = 0; left < needed; left += PAGE) {
        test_shm_fill(left);
        check_full(needed, left);
        test_shm_unfill();
    }
    test_shm_fill(needed);
    ck_assert(create());
    ck_assert_uint_eq(segment_space(), 0);
    destroy();
    test_shm_unfill();
}
END_TEST

START_TEST(test_pool_create_counts_the_template_in_what_it_needs)
{
    static const uint8_t content[PAGE + 1] = {1};
    destroy();
    config.object_size = 2 * PAGE;
    ck_assert(create());
    uint64_t needed = pool_memory(pool) + 2 * PAGE;
    destroy();
    config.content = (struct bytes){content, sizeof(content)};
    for (uint64_t left = needed - 3 * PAGE; left < needed; left += PAGE) {
        test_shm_fill(left);
        check_full(needed, left);
        ck_assert_ptr_null(strstr(error.message, "files"));
        test_shm_unfill();
    }
    test_shm_fill(needed);
    ck_assert(create());
    test_shm_unfill();
    ck_assert_uint_eq(pool_memory(pool), needed);
    destroy();

    test_private_shm_resize(SHM_SIZE, STORE_FOR_CLIENTS);
    check_full(needed, SHM_SIZE);
    ck_assert_ptr_nonnull(strstr(error.message, "files"));
    test_private_shm_resize(SHM_SIZE, STORE_FOR_CLIENTS + 1);
    ck_assert(create());
}
END_TEST

/* The taken name isn't even met. */
START_TEST(test_pool_create_that_can_not_fit_begins_nothing)
{
    char name[SEGMENT_NAME_SIZE];
    uint64_t needed = pool_memory(pool);
    destroy();
    segment_name(key, "ctl", name);
    close(segment_create(name, PAGE));
    test_shm_fill(PAGE);
    check_full(needed, PAGE);
    test_shm_unfill();
    ck_assert_int_eq(segment_unlink(name), 0);
}
END_TEST

START_TEST(test_pool_create_needs_the_last_file)
{
    uint64_t needed = pool_memory(pool);
    destroy();
    for (unsigned files = 1; files < STORE_FOR_CLIENTS; files++) {
        test_private_shm_resize(SHM_SIZE, files);
        check_full(needed, SHM_SIZE);
        ck_assert_ptr_nonnull(strstr(error.message, "files"));
    }
    test_private_shm_resize(SHM_SIZE, STORE_FOR_CLIENTS);
    ck_assert(create());
}
END_TEST

START_TEST(test_pool_create_without_descriptors_names_the_errno)
{
    struct rlimit before, none;
    destroy();
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){(rlim_t)next, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool created = create();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);

    ck_assert(!created);
    ck_assert_int_eq(error.code, ERROR_SYSTEM);
    ck_assert_uint_eq(error.system_error, EMFILE);
}
END_TEST

/* ---- End ------------------------------------------------------------------------------------- */

START_TEST(test_pool_destroy_makes_every_handle_stale_in_running_members)
{
    const struct geometry *geometry = &pool->store.geometry;
    size_t mapped = geometry_slots_size(geometry, CAPACITY);
    int fd = store_descriptor(&pool->store, STORE_SLOTS, false);
    uint64_t *words = mmap(NULL, mapped, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    grant(pool_join(pool, 1, UID), PRIORITY_NORMAL, false, CAPACITY, wire);
    size_t offset = geometry->words_offset / sizeof(words[0]);

    pool_destroy(pool);
    ck_assert_uint_eq(pool->ctl->version, 0);
    pool_free(pool);
    pool = NULL;
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(slot_state(words[offset + i]), SLOT_RETIRED);
    munmap(words, mapped);
}
END_TEST

START_TEST(test_pool_free_keeps_the_objects)
{
    pool_free(pool);
    pool = NULL;
    ck_assert_uint_eq(test_shm_files(), STORE_FOR_CLIENTS);
    ck_assert_uint_eq(store_unlink(key), STORE_FOR_CLIENTS);
    ck_assert_uint_eq(store_unlink(key), 0);
    pool_free(NULL);
}
END_TEST

/* ---- Descriptors ----------------------------------------------------------------------------- */

START_TEST(test_pool_descriptors_are_read_only_unless_asked_for)
{
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++)
        for (int write = 0; write <= 1; write++) {
            int fd = store_descriptor(&pool->store, object, write);
            int expected = write ? O_RDWR : O_RDONLY;
            ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, expected);
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
            close(fd);
        }
}
END_TEST

START_TEST(test_pool_descriptors_are_of_the_right_objects)
{
    const size_t sizes[] = {geometry_ctl_size(&pool->store.geometry, CAPACITY),
                            geometry_slots_size(&pool->store.geometry, CAPACITY),
                            geometry_data_size(&pool->store.geometry, CAPACITY)};
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++) {
        struct stat status;
        int fd = store_descriptor(&pool->store, object, false);
        ck_assert_int_eq(fstat(fd, &status), 0);
        ck_assert_uint_eq((uint64_t)status.st_size, sizes[object]);
        close(fd);
    }
}
END_TEST

START_TEST(test_pool_descriptor_of_a_missing_object_is_an_errno)
{
    store_unlink(key);
    ck_assert_int_eq(store_descriptor(&pool->store, STORE_DATA, true), -ENOENT);
}
END_TEST

/* ---- Members --------------------------------------------------------------------------------- */

START_TEST(test_pool_join_gives_the_lowest_free_number)
{
    ck_assert_uint_eq(pool_join(pool, 100, UID), 1);
    ck_assert_uint_eq(pool_join(pool, 200, UID), 2);
    ck_assert_uint_eq(pool_join(pool, 300, UID), 3);
    pool_check(pool);
    pool_leave(pool, 2, now);
    pool_check(pool);
    ck_assert_uint_eq(pool->store.members[2], 0);
    ck_assert_uint_eq(pool_join(pool, 400, UID), 2);
    ck_assert_uint_eq(pool->store.members[2], 400);
    ck_assert_uint_eq(pool->member_count, 3);
}
END_TEST

START_TEST(test_pool_join_has_a_limit)
{
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++)
        ck_assert_uint_eq(pool_join(pool, member, UID), member);
    ck_assert_uint_eq(pool_join(pool, 1, UID), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(pool->member_count, POOL_MEMBER_MAX);
    pool_check(pool);
    pool_leave(pool, POOL_MEMBER_MAX, now);
    ck_assert_uint_eq(pool_join(pool, 1, UID), POOL_MEMBER_MAX);
}
END_TEST

START_TEST(test_pool_leave_takes_back_what_the_member_holds_and_no_more)
{
    uint32_t first = pool_join(pool, 1, UID), second = pool_join(pool, 2, UID + 1);
    grant(first, PRIORITY_NORMAL, false, 3, wire);
    grant(second, PRIORITY_NORMAL, false, 2, at(wire, 3));

    ck_assert_uint_eq(pool_leave(pool, first, now), 3);
    pool_check(pool);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert(!pool_operate(pool, POOL_FREE, second, wire, 3, now, &error));
    ck_assert(pool_operate(pool, POOL_FREE, second, at(wire, 3), 2, now, &error));
    ck_assert_uint_eq(pool_leave(pool, second, now), 0);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

static uint32_t member;

static void allocate(uint32_t count)
{
    if (member == 0)
        member = pool_join(pool, 1, UID);
    grant(member, PRIORITY_NORMAL, false, count, wire);
    pool_check(pool);
}

static fastalloc_handle_t handle_at(uint32_t position)
{
    return handle_from_wire(at(wire, position));
}

static void put_at(uint32_t position, fastalloc_handle_t handle)
{
    handle_to_wire(handle, at(wire, position));
}

static bool free_handles(uint32_t count)
{
    memset(&error, 0, sizeof(error));
    bool freed = pool_operate(pool, POOL_FREE, member, wire, count, now, &error);
    pool_check(pool);
    return freed;
}

START_TEST(test_pool_allocate_writes_ledger_word_and_handle)
{
    allocate(2);
    fastalloc_handle_t handle = handle_at(1);

    ck_assert_uint_eq(handle.pool, ID);
    ck_assert_uint_eq(handle_nonce(handle), NONCE);
    ck_assert_uint_eq(handle_generation(handle), SLOT_GENERATION_FIRST);
    ck_assert_uint_eq(pool->words[handle.index],
                      slot_word(SLOT_GENERATION_FIRST, member, SLOT_LIVE));
    ck_assert_uint_eq(pool->ledger.entries[handle.index], layout_ledger_entry(5, member));
}
END_TEST

START_TEST(test_pool_has_room_for_what_is_free_and_no_more)
{
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), CAPACITY);
    allocate(3);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), CAPACITY - 3);
    allocate(CAPACITY - 3);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), 0);
    ck_assert(free_handles(1));
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), 1);
}
END_TEST

START_TEST(test_pool_never_gives_the_same_handle_twice)
{
    allocate(1);
    fastalloc_handle_t last = handle_at(0);
    for (int i = 0; i < 100; i++) {
        ck_assert(free_handles(1));
        allocate(1);
        ck_assert_uint_eq(handle_at(0).index, last.index);
        ck_assert_uint_eq(handle_generation(handle_at(0)), handle_generation(last) + 1);
        last = handle_at(0);
    }
}
END_TEST

START_TEST(test_pool_free_takes_every_order)
{
    allocate(CAPACITY);
    for (uint32_t i = 0; i < CAPACITY / 2; i++) {
        fastalloc_handle_t handle = handle_at(i);
        put_at(i, handle_at(CAPACITY - 1 - i));
        put_at(CAPACITY - 1 - i, handle);
    }
    ck_assert(free_handles(CAPACITY));
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

/* Refused because of the handle at this position, and nothing was freed. */
static void check_refused(enum error_code code, uint32_t position, uint32_t count)
{
    uint32_t usage = pool_usage(pool);
    ck_assert(!free_handles(count));
    ck_assert_int_eq(error.code, code);
    ck_assert_uint_eq(error.position, position);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_uint_eq(pool_usage(pool), usage);
}

START_TEST(test_pool_free_refuses_a_stale_handle)
{
    allocate(1);
    ck_assert(free_handles(1));
    check_refused(ERROR_STALE_HANDLE, 0, 1);
    put_at(1, handle_at(0));
    allocate(1);
    check_refused(ERROR_STALE_HANDLE, 1, 2); /* the slot's next life doesn't help it */
    ck_assert(free_handles(1));
}
END_TEST

START_TEST(test_pool_free_refuses_a_handle_that_was_never_given_out)
{
    allocate(1);
    fastalloc_handle_t good = handle_at(0);
    const fastalloc_handle_t wrong[] = {
        handle_make(ID, good.index, NONCE, 2),     handle_make(ID, good.index, NONCE, 0),
        handle_make(ID, good.index, NONCE ^ 1, 1), handle_make(ID, good.index + 1, NONCE, 1),
        handle_make(ID, CAPACITY, NONCE, 1),       handle_make(ID, UINT32_MAX, NONCE, 1),
    };
    pool->words[CAPACITY] = slot_word(1, member, SLOT_LIVE);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        put_at(1, wrong[i]);
        check_refused(ERROR_STALE_HANDLE, 1, 2);
    }
}
END_TEST

START_TEST(test_pool_free_refuses_a_handle_of_another_pool)
{
    allocate(1);
    fastalloc_handle_t handle = handle_at(0);
    handle.pool = ID + 1;
    put_at(1, handle);
    check_refused(ERROR_WRONG_POOL, 1, 2);
    ck_assert_ptr_nonnull(strstr(error.message, "belongs to another pool"));
    put_at(1, FASTALLOC_HANDLE_NONE);
    check_refused(ERROR_WRONG_POOL, 1, 2);
    ck_assert_ptr_nonnull(strstr(error.message, "is none (all zero): nothing was allocated"));
}
END_TEST

START_TEST(test_pool_free_refuses_a_handle_that_stands_there_twice)
{
    allocate(4);
    put_at(3, handle_at(1));
    check_refused(ERROR_DUPLICATE_HANDLE, 3, 4);
    ck_assert_ptr_nonnull(strstr(error.message, "number 3"));
    ck_assert(free_handles(3));
}
END_TEST

START_TEST(test_pool_free_names_the_first_that_is_wrong)
{
    allocate(2);
    put_at(2, handle_at(0));
    put_at(3, FASTALLOC_HANDLE_NONE);
    check_refused(ERROR_DUPLICATE_HANDLE, 2, 4);
}
END_TEST

START_TEST(test_pool_retires_a_slot_whose_generations_are_used_up)
{
    member = pool_join(pool, 1, UID);
    pool->words[0] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    if (test_is_leased())
        pool->lease.seen[0] = pool->words[0];
    allocate(1);
    ck_assert_uint_eq(handle_at(0).index, 0);
    ck_assert_uint_eq(handle_generation(handle_at(0)), SLOT_GENERATION_LAST);
    ck_assert(free_handles(1));

    ck_assert_int_eq(slot_state(pool->words[0]), SLOT_RETIRED);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_CRITICAL), CAPACITY - 1);
    check_refused(ERROR_STALE_HANDLE, 0, 1);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

START_TEST(test_pool_marks_work_in_every_word_of_them)
{
    static uint8_t many[130 * HANDLE_WIRE_SIZE];
    create_other(1, 130);
    grant(pool_join(pool, 1, UID), PRIORITY_NORMAL, false, 130, many);
    memcpy(at(many, 128), at(many, 64), HANDLE_WIRE_SIZE);
    ck_assert(!pool_operate(pool, POOL_FREE, 1, many, 130, now, &error));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_uint_eq(error.position, 128);
    pool_check(pool);
    ck_assert(pool_operate(pool, POOL_FREE, 1, many, 128, now, &error));
}
END_TEST

/* ---- Counters -------------------------------------------------------------------------------- */

START_TEST(test_pool_counts_what_happens)
{
    const struct layout_counters *counters = &pool->ctl->counters;
    now = 100;
    allocate(5);
    now = 130;
    ck_assert(free_handles(2));
    now = 140;
    allocate(1);
    pool_check(pool);

    ck_assert_uint_eq(counters->total_allocations, 6);
    ck_assert_uint_eq(counters->total_deallocations, 2);
    ck_assert_uint_eq(counters->current_usage, 4);
    ck_assert_uint_eq(counters->peak_usage, 5);
    ck_assert_uint_eq(counters->area_low, 5 * 30 + 3 * 10);
    ck_assert_uint_eq(counters->holds.count, 2);
    ck_assert_uint_eq(counters->holds.max, 30);
    ck_assert_uint_eq(counters->reset_at, 0);
}
END_TEST

START_TEST(test_pool_refused_free_changes_no_counter)
{
    allocate(2);
    struct layout_counters before = pool->ctl->counters;
    put_at(1, FASTALLOC_HANDLE_NONE);
    check_refused(ERROR_WRONG_POOL, 1, 2);
    ck_assert_mem_eq(&pool->ctl->counters, &before, sizeof(before));
}
END_TEST

/* ---- Capacity -------------------------------------------------------------------------------- */

static void grow(uint32_t capacity)
{
    ck_assert_int_eq(pool_prepare_growth(pool, capacity), 0);
    pool_check(pool);
    ck_assert_int_eq(store_grow(&pool->store, capacity), 0);
    ck_assert_uint_eq(pool->ctl->capacity, pool_capacity(pool)); /* nobody sees it yet */
    ck_assert_uint_lt(pool_capacity(pool), capacity);
    pool_grown(pool);
    pool_check(pool);
}

START_TEST(test_pool_grows)
{
    allocate(CAPACITY);
    fastalloc_handle_t before = handle_at(3);
    grow(MORE);
    ck_assert_uint_eq(pool_capacity(pool), MORE);
    ck_assert_uint_eq(pool->ctl->capacity, MORE);
    ck_assert_uint_eq(pool->ctl->counters.growth_count, 1);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), MORE - CAPACITY);
    ck_assert_uint_eq(pool_memory(pool), store_size(&pool->store.geometry, MORE));

    grant(member, PRIORITY_NORMAL, false, MORE - CAPACITY, at(wire, CAPACITY));
    pool_check(pool);
    ck_assert_uint_eq(pool->words[before.index], slot_word(1, member, SLOT_LIVE));
    ck_assert(free_handles(MORE));
}
END_TEST

START_TEST(test_pool_grows_by_one_slot_as_often_as_it_may)
{
    for (uint32_t capacity = CAPACITY + 1; capacity <= MORE; capacity++) {
        grow(capacity);
        ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), capacity);
    }
    allocate(MORE);
    memcpy(at(wire, 66), at(wire, 65), HANDLE_WIRE_SIZE);
    ck_assert(!free_handles(MORE));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_uint_eq(error.position, 66);
}
END_TEST

START_TEST(test_pool_is_used_while_it_grows)
{
    allocate(2);
    ck_assert_int_eq(pool_prepare_growth(pool, MORE), 0);
    ck_assert(free_handles(2));
    ck_assert_int_eq(store_grow(&pool->store, MORE), 0);
    allocate(CAPACITY);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), 0);
    fastalloc_handle_t early = handle_make(ID, CAPACITY, NONCE, 1);
    put_at(0, early);
    ck_assert(!free_handles(1));
    ck_assert_int_eq(error.code, ERROR_STALE_HANDLE);
    pool_grown(pool);
    pool_check(pool);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), MORE - CAPACITY);
}
END_TEST

static void *grow_store(void *status)
{
    *(int *)status = store_grow(&pool->store, MORE);
    return NULL;
}

/* By a thread of its own, as the daemon does it. */
START_TEST(test_pool_is_used_and_trimmed_while_a_thread_grows_it)
{
    pthread_t thread;
    int status = -1;
    create_other(1000, CAPACITY);
    destroy();
    config.capacity_max = MORE;
    config.flags = LAYOUT_ZERO_ALLOCATE | LAYOUT_ZERO_FREE;
    ck_assert(create());
    member = pool_join(pool, 1, UID);
    ck_assert_int_eq(pool_prepare_growth(pool, MORE), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, grow_store, &status), 0);
    for (int i = 0; i < 50; i++) {
        allocate(CAPACITY - 1);
        pool_trim(pool, 0);
        ck_assert(free_handles(CAPACITY - 1));
        pool_trim(pool, 0);
        close(store_descriptor(&pool->store, STORE_DATA, true));
        ck_assert_uint_gt(pool_memory(pool), 0);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(status, 0);
    pool_grown(pool);
    allocate(MORE);
}
END_TEST

START_TEST(test_pool_growth_that_fails_leaves_it_as_it_was)
{
    create_other(PAGE, CAPACITY);
    destroy();
    config.capacity_max = MORE;
    ck_assert(create());
    allocate(3);
    uint64_t memory = pool_memory(pool);
    uint64_t needed = store_size(&pool->store.geometry, MORE) - memory;
    test_shm_fill(needed - PAGE);
    ck_assert_int_eq(pool_prepare_growth(pool, MORE), 0);
    int status = store_grow(&pool->store, MORE);
    ck_assert_int_eq(status, -ENOSPC);
    pool_refuse_growth(pool, MORE, status, &error);
    ck_assert_int_eq(error.code, ERROR_SHARED_MEMORY_FULL);
    ck_assert_uint_eq(error.needed, needed);
    ck_assert_uint_eq(error.available, needed - PAGE);
    ck_assert_str_eq(error.pool, "frames");
    pool_check(pool);
    ck_assert_uint_eq(pool_memory(pool), memory);
    ck_assert_uint_eq(pool_capacity(pool), CAPACITY);
    ck_assert_uint_eq(pool->ctl->counters.growth_count, 0);
    test_shm_unfill();
    grow(CAPACITY + 1); /* to less */
    grant(member, PRIORITY_NORMAL, false, CAPACITY - 2, at(wire, 3));
    ck_assert(free_handles(CAPACITY + 1));
}
END_TEST

/* ---- Reserves -------------------------------------------------------------------------------- */

START_TEST(test_pool_reserves_slots_for_the_more_important)
{
    destroy();
    config.reserve_critical = 2;
    config.reserve_normal = 3;
    ck_assert(create());
    ck_assert_uint_eq(pool_reserved(pool, PRIORITY_CRITICAL), 0);
    ck_assert_uint_eq(pool_reserved(pool, PRIORITY_NORMAL), 2);
    ck_assert_uint_eq(pool_reserved(pool, PRIORITY_BEST_EFFORT), 5);
    member = pool_join(pool, 1, UID);
    for (uint32_t used = 0; used <= CAPACITY; used++) {
        uint32_t left = CAPACITY - used;
        ck_assert_uint_eq(pool_room(pool, PRIORITY_CRITICAL), left);
        ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), left > 2 ? left - 2 : 0);
        ck_assert_uint_eq(pool_room(pool, PRIORITY_BEST_EFFORT), left > 5 ? left - 5 : 0);
        if (used < CAPACITY)
            grant(member, PRIORITY_CRITICAL, false, 1, wire);
        pool_check(pool);
    }
}
END_TEST

START_TEST(test_pool_reserved_as_a_whole_has_room_for_the_critical_alone)
{
    destroy();
    config.reserve_critical = config.capacity_max;
    ck_assert(create());
    ck_assert_uint_eq(pool_room(pool, PRIORITY_CRITICAL), CAPACITY);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_NORMAL), 0);
    ck_assert_uint_eq(pool_room(pool, PRIORITY_BEST_EFFORT), 0);
}
END_TEST

/* ---- Eviction -------------------------------------------------------------------------------- */

static bool is_live(uint32_t position)
{
    fastalloc_handle_t handle = handle_at(position);
    uint64_t word = pool->words[handle.index];
    return slot_is_allocated(word) && slot_generation(word) == handle_generation(handle);
}

START_TEST(test_pool_evicts_the_oldest_first)
{
    uint32_t other = pool_join(pool, 1, UID);
    member = pool_join(pool, 2, UID + 1);
    grant(member, PRIORITY_NORMAL, true, 2, wire);
    grant(other, PRIORITY_NORMAL, false, 2, at(wire, 2));
    grant(other, PRIORITY_NORMAL, true, 3, at(wire, 4));
    pool_check(pool);
    ck_assert_uint_eq(pool->ledger.entries[handle_at(4).index],
                      layout_ledger_entry(5, other) | LAYOUT_EVICTABLE);

    ck_assert(!pool_evict(pool, 6, now));
    ck_assert_uint_eq(pool_usage(pool), 7);
    ck_assert(pool_evict(pool, 0, now));
    ck_assert(pool_evict(pool, 3, now));
    pool_check(pool);
    for (uint32_t i = 0; i < 7; i++)
        ck_assert_int_eq(is_live(i), i == 2 || i == 3 || i > 4);
    ck_assert_uint_eq(pool->ctl->counters.evictions, 3);
    ck_assert_uint_eq(pool->ctl->counters.total_deallocations, 3);
    ck_assert_uint_eq(pool_held(pool, member), 0);
    ck_assert_uint_eq(pool_held(pool, other), 4);
    ck_assert(pool_evict(pool, 2, now));
    ck_assert(!pool_evict(pool, 1, now));
    ck_assert_uint_eq(pool->ctl->counters.evictions, 5);
}
END_TEST

START_TEST(test_pool_evicts_nothing_that_is_freed_or_handed_on)
{
    uint32_t other = pool_join(pool, 1, UID);
    member = pool_join(pool, 2, UID);
    grant(member, PRIORITY_NORMAL, true, 4, wire);
    ck_assert(free_handles(1));
    ck_assert(pool_operate(pool, POOL_ADOPT, other, at(wire, 1), 1, now, &error));
    ck_assert(pool_operate(pool, POOL_RETAIN, other, at(wire, 2), 1, now, &error));
    ck_assert(pool_operate(pool, POOL_DETACH, member, at(wire, 3), 1, now, &error));
    pool_check(pool);
    ck_assert_uint_eq(pool->evictable.count, 0);
    ck_assert(!pool_evict(pool, 1, now));
}
END_TEST

/* Asked for the first time while it grows. */
START_TEST(test_pool_evictable_objects_have_room_in_what_is_growing)
{
    ck_assert_int_eq(pool_prepare_growth(pool, MORE), 0);
    ck_assert_int_eq(pool_allow_evictable(pool), 0);
    ck_assert_int_eq(store_grow(&pool->store, MORE), 0);
    pool_grown(pool);
    member = pool_join(pool, 2, UID);
    grant(member, PRIORITY_NORMAL, true, MORE, wire);
    pool_check(pool);
    ck_assert(pool_evict(pool, MORE, now));
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

START_TEST(test_pool_evictable_objects_stay_so_when_it_grows)
{
    member = pool_join(pool, 2, UID);
    grant(member, PRIORITY_NORMAL, true, CAPACITY, wire);
    grow(MORE);
    grant(member, PRIORITY_NORMAL, true, MORE - CAPACITY, at(wire, CAPACITY));
    pool_check(pool);
    ck_assert(pool_evict(pool, CAPACITY, now));
    for (uint32_t i = 0; i < MORE; i++)
        ck_assert_int_eq(is_live(i), i >= CAPACITY);
}
END_TEST

/* ---- Quotas ---------------------------------------------------------------------------------- */

static void create_with_quotas(uint64_t session_slots, uint64_t user_slots)
{
    destroy();
    config.session_slots = session_slots;
    config.user_slots = user_slots;
    ck_assert(create());
}

/* The member can take so many more, and by one more he is refused. */
static void check_quota(uint32_t number, const char *field, uint64_t used, uint64_t max)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    uint32_t left = (uint32_t)(max - used);
    memset(&error, 0, sizeof(error));
    ck_assert(!pool_charge(pool, number, left + 1, &charge, &error));
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_str_eq(error.field, field);
    ck_assert_str_eq(error.pool, "frames");
    ck_assert_uint_eq(error.requested, left + 1);
    ck_assert_uint_eq(error.allocated, used);
    ck_assert_uint_eq(error.max, max);
    ck_assert(pool_charge(pool, number, left, &charge, &error));
    slots_charge_deinit(&charge);
    pool_check(pool);
}

START_TEST(test_pool_charges_allocations_and_gives_back_frees)
{
    create_with_quotas(3, 0);
    member = pool_join(pool, 1, UID);
    check_quota(member, "session_slots", 0, 3);
    allocate(2);
    check_quota(member, "session_slots", 2, 3);
    ck_assert(free_handles(1));
    check_quota(member, "session_slots", 1, 3);
    check_quota(pool_join(pool, 2, UID), "session_slots", 0, 3); /* each his own */
}
END_TEST

START_TEST(test_pool_charges_all_sessions_of_a_user_together)
{
    create_with_quotas(4, 5);
    uint32_t first = pool_join(pool, 1, UID), second = pool_join(pool, 2, UID);
    uint32_t other = pool_join(pool, 3, UID + 1);
    grant(first, PRIORITY_NORMAL, false, 3, wire);
    check_quota(first, "session_slots", 3, 4);
    check_quota(second, "user_slots", 3, 5);
    check_quota(other, "session_slots", 0, 4);
    ck_assert_uint_eq(pool_leave(pool, first, now), 3);
    pool_check(pool);
    check_quota(second, "session_slots", 0, 4);
}
END_TEST

START_TEST(test_pool_charges_who_holds)
{
    create_with_quotas(2, 0);
    uint32_t first = pool_join(pool, 1, UID), second = pool_join(pool, 2, UID + 1);
    grant(first, PRIORITY_NORMAL, false, 2, wire);
    ck_assert(pool_operate(pool, POOL_ADOPT, second, wire, 1, now, &error));
    check_quota(first, "session_slots", 1, 2);
    check_quota(second, "session_slots", 1, 2);
    ck_assert(pool_operate(pool, POOL_RETAIN, second, at(wire, 1), 1, now, &error));
    check_quota(first, "session_slots", 1, 2);
    check_quota(second, "session_slots", 2, 2);

    memset(&error, 0, sizeof(error));
    ck_assert(!pool_operate(pool, POOL_RETAIN, second, at(wire, 1), 1, now, &error));
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_str_eq(error.field, "session_slots");
    ck_assert(pool_operate(pool, POOL_RELEASE, second, wire, 1, now, &error));
    check_quota(second, "session_slots", 1, 2);
    ck_assert_uint_eq(pool_leave(pool, first, now), 0); /* the other still holds it */
    check_quota(second, "session_slots", 1, 2);
    ck_assert_uint_eq(pool_leave(pool, second, now), 1);
}
END_TEST

START_TEST(test_pool_with_quotas_lets_nothing_escape_them)
{
    for (int by_user = 0; by_user <= 1; by_user++) {
        create_with_quotas(by_user ? 0 : 4, by_user ? 4 : 0);
        member = 0;
        allocate(1);
        memset(&error, 0, sizeof(error));
        ck_assert(!pool_operate(pool, POOL_DETACH, member, wire, 1, now, &error));
        ck_assert_int_eq(error.code, ERROR_NOT_PERMITTED);
        ck_assert_str_eq(error.pool, "frames");
        pool_check(pool);
    }
}
END_TEST

START_TEST(test_pool_quota_refuses_adoption_of_more_than_is_left)
{
    create_with_quotas(2, 0);
    uint32_t first = pool_join(pool, 1, UID), second = pool_join(pool, 2, UID);
    grant(first, PRIORITY_NORMAL, false, 2, wire);
    grant(second, PRIORITY_NORMAL, false, 1, at(wire, 2));
    memset(&error, 0, sizeof(error));
    ck_assert(!pool_operate(pool, POOL_ADOPT, second, wire, 2, now, &error));
    ck_assert_int_eq(error.code, ERROR_QUOTA_EXCEEDED);
    ck_assert_uint_eq(error.requested, 2);
    ck_assert_uint_eq(pool_held(pool, first), 2);
    pool_check(pool);
    ck_assert(pool_operate(pool, POOL_ADOPT, second, wire, 1, now, &error));
    pool_check(pool);
}
END_TEST

/* ---- Long holds ------------------------------------------------------------------------------ */

START_TEST(test_pool_counts_what_is_held_for_too_long_until_it_is_given_up)
{
    uint32_t first;
    destroy();
    config.hold_limit = 50;
    ck_assert(create());
    struct layout_counters *counters = &pool->ctl->counters;
    allocate(4);
    now = 50;
    ck_assert_uint_eq(ages_count(&pool->ages, now, &first), 4);
    counters->held_long = pool->ages.too_long;
    pool_check(pool);
    ck_assert(free_handles(1));
    ck_assert_uint_eq(counters->held_long, 3);
    ck_assert(pool_operate(pool, POOL_DETACH, member, at(wire, 1), 1, now, &error));
    pool_check(pool);
    ck_assert_uint_eq(counters->held_long, 2);
    ck_assert_uint_eq(pool_leave(pool, member, now), 2);
    pool_check(pool);
    ck_assert_uint_eq(counters->held_long, 0);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    pool_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, pool, place, value)

START_TEST(test_pool_check_notices_a_word_that_the_ledger_contradicts)
{
    allocate(2);
    uint64_t *live = &pool->words[handle_at(0).index], *idle = &pool->words[CAPACITY - 1];
    NOTICES(*live, slot_word(1, SLOT_MEMBER_NONE, SLOT_IDLE));
    NOTICES(*live, slot_word(1, member + 1, SLOT_LIVE));
    if (!test_is_leased())
        NOTICES(*live, slot_word(1, member, SLOT_RETURNED));
    NOTICES(*live, slot_word(0, member, SLOT_LIVE));
    NOTICES(*idle, slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
    NOTICES(*idle, slot_word(1, member, SLOT_IDLE));
    NOTICES(*idle, slot_word(0, SLOT_MEMBER_NONE, SLOT_IDLE));
}
END_TEST

START_TEST(test_pool_check_notices_a_ledger_that_the_chains_contradict)
{
    allocate(2);
    NOTICES(pool->ledger.entries[handle_at(0).index], 0);
    NOTICES(pool->ledger.chains[member].count, 1);
}
END_TEST

START_TEST(test_pool_check_notices_wrong_members)
{
    allocate(2);
    NOTICES(pool->member_count, 0);
    NOTICES(pool->store.members[member], 0);
    uint32_t gone = pool_join(pool, 9, UID);
    pool_leave(pool, gone, now);
    NOTICES(pool->store.members[gone], 9);
}
END_TEST

START_TEST(test_pool_check_notices_a_holder_that_is_no_member)
{
    allocate(2);
    pool->member_count = 0; /* so that this alone doesn't tell */
    pool->store.members[member] = 0;
    ck_assert(!TEST_ASSERTIONS || test_aborts(check, pool));
    pool->store.members[member] = 1;
    pool->member_count = 1;
}
END_TEST

START_TEST(test_pool_check_notices_wrong_counters)
{
    struct layout_counters *counters = &pool->ctl->counters;
    allocate(2);
    NOTICES(counters->sequence, 1);
    NOTICES(counters->current_usage, 1);
    NOTICES(counters->peak_usage, 1);
    NOTICES(counters->total_allocations, 3);
    NOTICES(counters->total_deallocations, 1);
}
END_TEST

START_TEST(test_pool_check_notices_wrong_accounts)
{
    allocate(2);
    struct pool_account *account = pool->accounts[member];
    NOTICES(account->held.session.amount, 1);
    NOTICES(account->held.user.amount, 3);
    NOTICES(account->quota.used, 1);
    NOTICES(pool->accounts[member], NULL);
}
END_TEST

START_TEST(test_pool_check_notices_a_change_that_was_not_ended)
{
    NOTICES(pool->ctl->intent.kind, LAYOUT_INTENT_MOVE);
}
END_TEST

START_TEST(test_pool_check_notices_wrong_capacities_and_ages)
{
    allocate(2);
    NOTICES(pool->ctl->capacity, CAPACITY - 1);
    NOTICES(pool->ctl->capacity_max, CAPACITY - 1);
    NOTICES(pool->ages.held.count, 1);
    NOTICES(pool->ctl->counters.held_long, 1);
}
END_TEST

START_TEST(test_pool_check_notices_a_forgotten_evictable_object)
{
    member = pool_join(pool, 1, UID);
    grant(member, PRIORITY_NORMAL, true, 1, wire);
    uint64_t *entry = &pool->ledger.entries[handle_at(0).index];
    NOTICES(*entry, *entry & ~LAYOUT_EVICTABLE);
    NOTICES(pool->evictable, CHAIN_EMPTY);
}
END_TEST

START_TEST(test_pool_check_notices_a_word_that_the_holders_contradict)
{
    allocate(1);
    ck_assert(pool_operate(pool, POOL_RETAIN, member, wire, 1, now, &error));
    uint64_t *word = &pool->words[handle_at(0).index];
    NOTICES(*word, slot_word(1, SLOT_MEMBER_POOL, SLOT_LIVE));
}
END_TEST

START_TEST(test_pool_check_notices_forgotten_marks_and_waiters)
{
    NOTICES(pool->marks[0], 1);
    NOTICES(pool->waiters.count, 1);
    NOTICES(pool->ctl->counters.waiters, 1);
}
END_TEST

SUITE_MAIN_WITH(
    "pool", set_up, tear_down, test_pool_create_fills_the_head, test_pool_create_keeps_its_policies,
    test_pool_create_makes_every_slot_idle, test_pool_create_reserves_what_it_says,
    test_pool_create_with_a_taken_key_is_refused_with_its_errno,
    test_pool_create_refuses_a_wrong_configuration, test_pool_create_needs_the_last_page,
    test_pool_create_counts_the_template_in_what_it_needs,
    test_pool_create_that_can_not_fit_begins_nothing, test_pool_create_needs_the_last_file,
    test_pool_create_without_descriptors_names_the_errno,
    test_pool_destroy_makes_every_handle_stale_in_running_members, test_pool_free_keeps_the_objects,
    test_pool_descriptors_are_read_only_unless_asked_for,
    test_pool_descriptors_are_of_the_right_objects,
    test_pool_descriptor_of_a_missing_object_is_an_errno,
    test_pool_join_gives_the_lowest_free_number, test_pool_join_has_a_limit,
    test_pool_leave_takes_back_what_the_member_holds_and_no_more,
    test_pool_allocate_writes_ledger_word_and_handle,
    test_pool_has_room_for_what_is_free_and_no_more, test_pool_never_gives_the_same_handle_twice,
    test_pool_free_takes_every_order, test_pool_free_refuses_a_stale_handle,
    test_pool_free_refuses_a_handle_that_was_never_given_out,
    test_pool_free_refuses_a_handle_of_another_pool,
    test_pool_free_refuses_a_handle_that_stands_there_twice,
    test_pool_free_names_the_first_that_is_wrong,
    test_pool_retires_a_slot_whose_generations_are_used_up,
    test_pool_marks_work_in_every_word_of_them, test_pool_counts_what_happens,
    test_pool_refused_free_changes_no_counter, test_pool_grows,
    test_pool_grows_by_one_slot_as_often_as_it_may, test_pool_is_used_while_it_grows,
    test_pool_is_used_and_trimmed_while_a_thread_grows_it,
    test_pool_growth_that_fails_leaves_it_as_it_was,
    test_pool_reserves_slots_for_the_more_important,
    test_pool_reserved_as_a_whole_has_room_for_the_critical_alone,
    test_pool_evicts_the_oldest_first, test_pool_evicts_nothing_that_is_freed_or_handed_on,
    test_pool_evictable_objects_have_room_in_what_is_growing,
    test_pool_evictable_objects_stay_so_when_it_grows,
    test_pool_charges_allocations_and_gives_back_frees,
    test_pool_charges_all_sessions_of_a_user_together, test_pool_charges_who_holds,
    test_pool_with_quotas_lets_nothing_escape_them,
    test_pool_quota_refuses_adoption_of_more_than_is_left,
    test_pool_counts_what_is_held_for_too_long_until_it_is_given_up,
    test_pool_check_notices_a_word_that_the_ledger_contradicts,
    test_pool_check_notices_a_ledger_that_the_chains_contradict,
    test_pool_check_notices_wrong_members, test_pool_check_notices_a_holder_that_is_no_member,
    test_pool_check_notices_wrong_counters, test_pool_check_notices_wrong_accounts,
    test_pool_check_notices_a_change_that_was_not_ended,
    test_pool_check_notices_wrong_capacities_and_ages,
    test_pool_check_notices_a_forgotten_evictable_object,
    test_pool_check_notices_a_word_that_the_holders_contradict,
    test_pool_check_notices_forgotten_marks_and_waiters)
