/* SPDX-License-Identifier: MIT */
#include "daemon/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/order.h"
#include "tests/lib/aborts.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define SHM_SIZE (UINT64_C(16) << 20)
#define PAGE UINT64_C(4096)
#define ID 7u
#define NONCE 0xbeefu
#define CAPACITY 8u
#define ALIGNMENT_ABOVE UINT32_C(8192)

static const uint8_t key[SEGMENT_KEY_SIZE] = {1, 2, 3};
static struct pool_config config;
static struct pool *pool;
static struct error error;
static uint8_t wire[CAPACITY * HANDLE_WIRE_SIZE];

/* Where the handle of that number stands. */
static uint8_t *at(uint8_t *handles, size_t position)
{
    return handles + position * HANDLE_WIRE_SIZE;
}

static bool create(void)
{
    memset(&error, 0, sizeof(error));
    return pool_create(&config, ID, NONCE, key, &pool, &error);
}

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    config = (struct pool_config){
        .name = "frames", .type = "frame", .object_size = 40, .capacity = CAPACITY, .mode = 0640};
    ck_assert(create());
    pool_check(pool);
}

static void destroy(void)
{
    if (!pool)
        return;
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

/* A pool of other sizes in the place of the usual one. */
static void create_other(uint64_t object_size, uint64_t capacity)
{
    destroy();
    config.object_size = object_size;
    config.capacity = capacity;
    ck_assert_msg(create(), "%s", error.message);
    pool_check(pool);
}

/* ---- Configuration --------------------------------------------------------------------------- */

static bool accepts(uint64_t object_size, uint32_t alignment, uint64_t capacity)
{
    struct geometry geometry;
    struct pool_config asked = {
        .name = "x", .object_size = object_size, .alignment = alignment, .capacity = capacity};
    memset(&error, 0, sizeof(error));
    return pool_geometry(&asked, &geometry, &error);
}

START_TEST(test_pool_geometry_limits_the_object_size)
{
    ck_assert(accepts(1, 0, 1));
    ck_assert(accepts(GEOMETRY_OBJECT_MAX, 0, 1));
    ck_assert(!accepts(0, 0, 1));
    ck_assert_int_eq(error.code, ERROR_INVALID_OBJECT_SIZE);
    ck_assert(!accepts(GEOMETRY_OBJECT_MAX + 1, 0, 1));
    ck_assert_int_eq(error.code, ERROR_INVALID_OBJECT_SIZE);
    ck_assert_uint_eq(error.requested, GEOMETRY_OBJECT_MAX + 1);
    ck_assert_uint_eq(error.max, GEOMETRY_OBJECT_MAX);
}
END_TEST

START_TEST(test_pool_geometry_limits_the_alignment)
{
    ck_assert(accepts(1, 1, 1));
    ck_assert_uint_eq(GEOMETRY_ALIGNMENT_MAX, ALIGNMENT_ABOVE / 2);
    ck_assert(accepts(1, GEOMETRY_ALIGNMENT_MAX, 1));
    ck_assert(!accepts(1, ALIGNMENT_ABOVE, 1));
    ck_assert_int_eq(error.code, ERROR_INVALID_ALIGNMENT);
    ck_assert_uint_eq(error.alignment, ALIGNMENT_ABOVE);
    ck_assert_uint_eq(error.max, GEOMETRY_ALIGNMENT_MAX);
    ck_assert(!accepts(1, 24, 1));
    ck_assert_uint_eq(error.alignment, 24);
}
END_TEST

START_TEST(test_pool_geometry_limits_the_capacity)
{
    ck_assert(accepts(1, 0, GEOMETRY_CAPACITY_MAX));
    ck_assert(!accepts(1, 0, GEOMETRY_CAPACITY_MAX + 1));
    ck_assert_int_eq(error.code, ERROR_INVALID_CAPACITY);
    ck_assert_uint_eq(error.capacity, GEOMETRY_CAPACITY_MAX + 1);
    ck_assert_uint_eq(error.max, GEOMETRY_CAPACITY_MAX);
    ck_assert(!accepts(1, 0, 0));
    ck_assert_int_eq(error.code, ERROR_INVALID_CAPACITY);
}
END_TEST

START_TEST(test_pool_geometry_never_cuts_a_capacity_short)
{
    ck_assert(!accepts(1, 0, (UINT64_C(1) << 32) + 1)); /* 1, if 32 bits were taken of it */
    ck_assert_uint_eq(error.capacity, (UINT64_C(1) << 32) + 1);
    ck_assert(!accepts(1, 0, UINT64_MAX));
    ck_assert_uint_eq(error.capacity, UINT64_MAX);
}
END_TEST

START_TEST(test_pool_geometry_limits_the_address_space)
{
    uint64_t most = GEOMETRY_DATA_MAX / GEOMETRY_OBJECT_MAX;
    ck_assert(accepts(GEOMETRY_OBJECT_MAX, 0, most));
    ck_assert(!accepts(GEOMETRY_OBJECT_MAX, 0, most + 1));
    ck_assert_int_eq(error.code, ERROR_INVALID_CAPACITY);
    ck_assert_uint_eq(error.max, most);
}
END_TEST

/* ---- Creation -------------------------------------------------------------------------------- */

START_TEST(test_pool_create_fills_the_head)
{
    const struct layout_ctl *ctl = pool->ctl;

    ck_assert_uint_eq(ctl->magic, LAYOUT_MAGIC);
    ck_assert_uint_eq(ctl->version, LAYOUT_VERSION);
    ck_assert_uint_eq(ctl->pool, ID);
    ck_assert_uint_eq(ctl->nonce, NONCE);
    ck_assert_uint_eq(ctl->kind, LAYOUT_BROKERED);
    ck_assert_uint_eq(ctl->object_size, 40);
    ck_assert_uint_eq(ctl->stride, 48);
    ck_assert_uint_eq(ctl->alignment, GEOMETRY_ALIGNMENT_DEFAULT);
    ck_assert_uint_eq(ctl->capacity, CAPACITY);
    ck_assert_uint_eq(ctl->mode, 0640);
    ck_assert_str_eq(ctl->name, "frames");
    ck_assert_str_eq(ctl->type, "frame");
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
    ck_assert_uint_eq(test_shm_files(), POOL_OBJECT_COUNT);
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
    create_other(PAGE, 64 - 18); /* 64 pages with ctl's and slots' */
    uint64_t needed = pool_memory(pool);
    ck_assert_uint_eq(needed, 64 * PAGE);
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
    for (unsigned files = 1; files < POOL_OBJECT_COUNT; files++) {
        test_private_shm_resize(SHM_SIZE, files);
        check_full(needed, SHM_SIZE);
        ck_assert_ptr_nonnull(strstr(error.message, "files"));
    }
    test_private_shm_resize(SHM_SIZE, POOL_OBJECT_COUNT);
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
    int fd = pool_descriptor(pool, POOL_SLOTS, false);
    uint64_t *words = mmap(NULL, pool->slots_mapped, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    uint32_t member = pool_join(pool, 1);
    pool_allocate(pool, member, 1, CAPACITY, wire);
    size_t offset = pool->geometry.words_offset / sizeof(words[0]);
    size_t mapped = pool->slots_mapped;

    pool_destroy(pool);
    ck_assert_uint_eq(pool->ctl->version, 0);
    pool_free(pool);
    pool = NULL;
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(words[offset + i], slot_word(2, SLOT_MEMBER_NONE, SLOT_IDLE));
    munmap(words, mapped);
}
END_TEST

START_TEST(test_pool_free_keeps_the_objects)
{
    pool_free(pool);
    pool = NULL;
    ck_assert_uint_eq(test_shm_files(), POOL_OBJECT_COUNT);
    ck_assert_uint_eq(pool_unlink_objects(key), POOL_OBJECT_COUNT);
    ck_assert_uint_eq(pool_unlink_objects(key), 0);
    pool_free(NULL);
}
END_TEST

/* ---- Descriptors ----------------------------------------------------------------------------- */

START_TEST(test_pool_descriptors_are_read_only_but_for_data_to_write)
{
    for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++)
        for (int write = 0; write <= 1; write++) {
            int fd = pool_descriptor(pool, object, write);
            int expected = write && object == POOL_DATA ? O_RDWR : O_RDONLY;
            ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, expected);
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
            close(fd);
        }
}
END_TEST

START_TEST(test_pool_descriptors_are_of_the_right_objects)
{
    const size_t sizes[] = {geometry_ctl_size(&pool->geometry, CAPACITY),
                            geometry_slots_size(&pool->geometry, CAPACITY),
                            geometry_data_size(&pool->geometry, CAPACITY)};
    for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++) {
        struct stat status;
        int fd = pool_descriptor(pool, object, false);
        ck_assert_int_eq(fstat(fd, &status), 0);
        ck_assert_uint_eq((uint64_t)status.st_size, sizes[object]);
        close(fd);
    }
}
END_TEST

START_TEST(test_pool_descriptor_of_a_missing_object_is_an_errno)
{
    pool_unlink_objects(key);
    ck_assert_int_eq(pool_descriptor(pool, POOL_DATA, true), -ENOENT);
}
END_TEST

/* ---- Members --------------------------------------------------------------------------------- */

START_TEST(test_pool_join_gives_the_lowest_free_number)
{
    ck_assert_uint_eq(pool_join(pool, 100), 1);
    ck_assert_uint_eq(pool_join(pool, 200), 2);
    ck_assert_uint_eq(pool_join(pool, 300), 3);
    pool_check(pool);
    pool_leave(pool, 2);
    pool_check(pool);
    ck_assert_uint_eq(pool->members[2], 0);
    ck_assert_uint_eq(pool_join(pool, 400), 2);
    ck_assert_uint_eq(pool->members[2], 400);
    ck_assert_uint_eq(pool->member_count, 3);
}
END_TEST

START_TEST(test_pool_join_has_a_limit)
{
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++)
        ck_assert_uint_eq(pool_join(pool, member), member);
    ck_assert_uint_eq(pool_join(pool, 1), SLOT_MEMBER_NONE);
    ck_assert_uint_eq(pool->member_count, POOL_MEMBER_MAX);
    pool_check(pool);
    pool_leave(pool, POOL_MEMBER_MAX);
    ck_assert_uint_eq(pool_join(pool, 1), POOL_MEMBER_MAX);
}
END_TEST

START_TEST(test_pool_leave_takes_back_what_the_member_holds_and_no_more)
{
    uint32_t first = pool_join(pool, 1), second = pool_join(pool, 2);
    pool_allocate(pool, first, 1, 3, wire);
    pool_allocate(pool, second, 1, 2, at(wire, 3));

    ck_assert_uint_eq(pool_leave(pool, first), 3);
    pool_check(pool);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert(!pool_free_handles(pool, wire, 3, &error));
    ck_assert(pool_free_handles(pool, at(wire, 3), 2, &error));
    ck_assert_uint_eq(pool_leave(pool, second), 0);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

static uint32_t member;

static void allocate(uint32_t count)
{
    if (member == 0)
        member = pool_join(pool, 1);
    ck_assert(pool_has_room(pool, count));
    pool_allocate(pool, member, 5, count, wire);
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
    bool freed = pool_free_handles(pool, wire, count, &error);
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
    ck_assert(pool_has_room(pool, CAPACITY));
    ck_assert(!pool_has_room(pool, CAPACITY + 1));
    allocate(3);
    ck_assert(pool_has_room(pool, CAPACITY - 3));
    ck_assert(!pool_has_room(pool, CAPACITY - 2));
    allocate(CAPACITY - 3);
    ck_assert(pool_has_room(pool, 0));
    ck_assert(!pool_has_room(pool, 1));
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
    put_at(1, FASTALLOC_HANDLE_NONE);
    check_refused(ERROR_WRONG_POOL, 1, 2);
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
    member = pool_join(pool, 1);
    pool->words[0] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    allocate(1);
    ck_assert_uint_eq(handle_at(0).index, 0);
    ck_assert_uint_eq(handle_generation(handle_at(0)), SLOT_GENERATION_LAST);
    ck_assert(free_handles(1));

    ck_assert_int_eq(slot_state(pool->words[0]), SLOT_RETIRED);
    ck_assert(pool_has_room(pool, CAPACITY - 1));
    ck_assert(!pool_has_room(pool, CAPACITY));
    check_refused(ERROR_STALE_HANDLE, 0, 1);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

START_TEST(test_pool_marks_work_in_every_word_of_them)
{
    static uint8_t many[130 * HANDLE_WIRE_SIZE];
    create_other(1, 130);
    pool_allocate(pool, pool_join(pool, 1), 1, 130, many);
    memcpy(at(many, 128), at(many, 64), HANDLE_WIRE_SIZE);
    ck_assert(!pool_free_handles(pool, many, 130, &error));
    ck_assert_int_eq(error.code, ERROR_DUPLICATE_HANDLE);
    ck_assert_uint_eq(error.position, 128);
    pool_check(pool);
    ck_assert(pool_free_handles(pool, many, 128, &error));
}
END_TEST

/* ---- Counters -------------------------------------------------------------------------------- */

START_TEST(test_pool_counts_what_happens)
{
    const struct layout_counters *counters = &pool->ctl->counters;
    allocate(5);
    ck_assert(free_handles(2));
    allocate(1);
    pool_count_failure(pool, false);
    pool_count_failure(pool, true);
    pool_count_reclaimed(pool, 4);
    pool_check(pool);

    ck_assert_uint_eq(counters->total_allocations, 6);
    ck_assert_uint_eq(counters->total_deallocations, 2);
    ck_assert_uint_eq(counters->current_usage, 4);
    ck_assert_uint_eq(counters->peak_usage, 5);
    ck_assert_uint_eq(counters->allocation_failures, 2);
    ck_assert_uint_eq(counters->timeouts, 1);
    ck_assert_uint_eq(counters->reclaimed, 4);
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
    NOTICES(*live, slot_word(1, member, SLOT_RETURNED));
    NOTICES(*live, slot_word(0, member, SLOT_LIVE));
    NOTICES(*idle, slot_word(1, SLOT_MEMBER_NONE, SLOT_LIVE));
    NOTICES(*idle, slot_word(1, member, SLOT_IDLE));
    NOTICES(*idle, slot_word(0, SLOT_MEMBER_NONE, SLOT_IDLE));
}
END_TEST

START_TEST(test_pool_check_notices_a_ledger_that_the_lists_contradict)
{
    allocate(2);
    NOTICES(pool->ledger.entries[handle_at(0).index], 0);
    NOTICES(pool->ledger.lists[member].count, 1);
}
END_TEST

START_TEST(test_pool_check_notices_wrong_members)
{
    allocate(2);
    NOTICES(pool->member_count, 0);
    NOTICES(pool->members[member], 0);
    NOTICES(pool->members[POOL_MEMBER_MAX], 9);
}
END_TEST

START_TEST(test_pool_check_notices_a_holder_that_is_no_member)
{
    allocate(2);
    pool->member_count = 0; /* so that this alone doesn't tell */
    pool->members[member] = 0;
    ck_assert(!TEST_ASSERTIONS || test_aborts(check, pool));
    pool->members[member] = 1;
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

START_TEST(test_pool_check_notices_forgotten_marks_and_waiters)
{
    NOTICES(pool->marks[0], 1);
    NOTICES(pool->waiter_count, 1);
}
END_TEST

SUITE_MAIN_WITH(
    "pool", set_up, tear_down, test_pool_geometry_limits_the_object_size,
    test_pool_geometry_limits_the_alignment, test_pool_geometry_limits_the_capacity,
    test_pool_geometry_never_cuts_a_capacity_short, test_pool_geometry_limits_the_address_space,
    test_pool_create_fills_the_head, test_pool_create_makes_every_slot_idle,
    test_pool_create_reserves_what_it_says,
    test_pool_create_with_a_taken_key_is_refused_with_its_errno,
    test_pool_create_refuses_a_wrong_configuration, test_pool_create_needs_the_last_page,
    test_pool_create_that_can_not_fit_begins_nothing, test_pool_create_needs_the_last_file,
    test_pool_create_without_descriptors_names_the_errno,
    test_pool_destroy_makes_every_handle_stale_in_running_members, test_pool_free_keeps_the_objects,
    test_pool_descriptors_are_read_only_but_for_data_to_write,
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
    test_pool_refused_free_changes_no_counter,
    test_pool_check_notices_a_word_that_the_ledger_contradicts,
    test_pool_check_notices_a_ledger_that_the_lists_contradict,
    test_pool_check_notices_wrong_members, test_pool_check_notices_a_holder_that_is_no_member,
    test_pool_check_notices_wrong_counters, test_pool_check_notices_forgotten_marks_and_waiters)
