/* SPDX-License-Identifier: MIT */
/*
 * FASTALLOC_SEED chooses the run of the random tests; the seed is printed.
 */
#include "daemon/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/aborts.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/holds.h"
#include "tests/unit/suite.h"

#define PAGE UINT64_C(4096)
#define SHM_SIZE (UINT64_C(16) << 20)
#define CAPACITY 64u /* the largest with HOLDERS_LEAST holds */
#define MEMBER 9u    /* the highest number in use */

static const char name[SEGMENT_NAME_SIZE] = "/fastalloc-test.holders";
static struct holders holders;

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    holders_init(&holders, name);
}

static void tear_down(void)
{
    holders_check(&holders);
    holders_deinit(&holders);
    segment_unlink(name);
}

/* What is asked of the holds in less time must say the same. */
static uint32_t count_of(uint32_t index, uint32_t member)
{
    uint32_t count = count_holds(&holders, index, member);
    ck_assert(holders_has(&holders, index, member) == (count > 0));
    ck_assert(holders_has_all(&holders, index, member) ==
              (count == holders_count(&holders, index)));
    return count;
}

/* Each change is followed by a check of the laws. */
static int reserve(uint32_t more)
{
    int result = holders_reserve(&holders, more, CAPACITY, MEMBER);
    holders_check(&holders);
    return result;
}

static void add(uint32_t index, uint32_t member)
{
    ck_assert_int_eq(reserve(1), 0);
    holders_add(&holders, index, 1, member);
    holders_check(&holders);
}

static bool take(uint32_t index, uint32_t member)
{
    bool removed = holders_remove(&holders, index, member);
    holders_check(&holders);
    return removed;
}

static void add_many(uint32_t count)
{
    ck_assert_int_eq(reserve(count), 0);
    for (uint32_t i = 0; i < count; i++)
        holders_add(&holders, i % CAPACITY, 1, 1 + i % MEMBER);
    holders_check(&holders);
}

/* Bytes of the object, all of them reserved; 0 if there is none. */
static uint64_t object_size(void)
{
    struct stat status;
    int fd = segment_open(name, false);
    if (fd < 0)
        return 0;
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_blocks * 512, status.st_size);
    close(fd);
    return (uint64_t)status.st_size;
}

/* Bytes of it that this process has mapped. */
static uint64_t mapped_size(void)
{
    char line[512];
    uint64_t size = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        char *end;
        uint64_t from = strtoull(line, &end, 16);
        if (strstr(line, name))
            size += strtoull(end + 1, NULL, 16) - from;
    }
    fclose(file);
    return size;
}

/* What stands in the object, whatever is mapped. */
static uint64_t stored(uint32_t at)
{
    uint64_t entry;
    int fd = segment_open(name, false);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &entry, sizeof(entry), (off_t)(at * sizeof(entry))), sizeof(entry));
    close(fd);
    return entry;
}

/* ---- Holds ----------------------------------------------------------------------------------- */

START_TEST(test_holders_begin_without_an_object)
{
    holders_check(&holders);
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_uint_eq(holders_total(&holders), 0);
    ck_assert_uint_eq(holders_count(&holders, 0), 0);
    ck_assert_uint_eq(holders_member_count(&holders, 1), 0);
    ck_assert_uint_eq(count_of(0, 1), 0);
    ck_assert(!take(0, 1));
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), HOLDERS_NONE);
    ck_assert_uint_eq(holders_clear(&holders, 0), 0);
}
END_TEST

START_TEST(test_holders_make_no_object_for_no_holds)
{
    ck_assert_int_eq(reserve(0), 0);
    ck_assert_uint_eq(test_shm_files(), 0);
}
END_TEST

START_TEST(test_holders_make_a_page_for_the_first_hold)
{
    ck_assert_int_eq(reserve(1), 0);
    ck_assert_uint_eq(object_size(), PAGE);
    ck_assert_uint_eq(holders_total(&holders), 0);
    add(0, 1);
    ck_assert_uint_eq(object_size(), PAGE);
    ck_assert_uint_eq(holders_total(&holders), 1);
}
END_TEST

START_TEST(test_holders_add_stores_generation_index_and_member)
{
    ck_assert_int_eq(reserve(2), 0);
    holders_add(&holders, CAPACITY - 1, SLOT_GENERATION_LAST, MEMBER);
    ck_assert_uint_eq(stored(0), layout_holder_entry(SLOT_GENERATION_LAST, CAPACITY - 1, MEMBER));
    ck_assert_uint_eq(stored(1), 0);
    holders_add(&holders, 0, 1, 1);
    ck_assert_uint_eq(stored(1), layout_holder_entry(1, 0, 1));
}
END_TEST

START_TEST(test_holders_take_the_highest_slot_and_member)
{
    const uint32_t capacity = UINT32_C(1) << 20;
    ck_assert_int_eq(holders_reserve(&holders, 1, capacity, SLOT_MEMBER_POOL), 0);
    holders_add(&holders, capacity - 1, 1, SLOT_MEMBER_POOL);
    holders_check(&holders);
    ck_assert_uint_eq(holders_count(&holders, capacity - 1), 1);
    ck_assert_uint_eq(count_of(capacity - 1, SLOT_MEMBER_POOL), 1);
    ck_assert_uint_eq(holders_remove_oldest(&holders, SLOT_MEMBER_POOL), capacity - 1);
}
END_TEST

START_TEST(test_holders_count_each_hold_of_a_member)
{
    add(3, 1);
    add(3, 2);
    add(3, 1);
    add(4, 1);
    ck_assert_uint_eq(holders_total(&holders), 4);
    ck_assert_uint_eq(holders_count(&holders, 3), 3);
    ck_assert_uint_eq(holders_member_count(&holders, 1), 3);
    ck_assert_uint_eq(count_of(3, 1), 2);
    ck_assert_uint_eq(count_of(3, 2), 1);
    ck_assert_uint_eq(count_of(4, 2), 0);
}
END_TEST

START_TEST(test_holders_remove_gives_up_one_hold_and_clears_its_entry)
{
    add(3, 1);
    add(3, 1);
    ck_assert(take(3, 1));
    ck_assert_uint_eq(stored(0), 0);
    ck_assert_uint_eq(count_of(3, 1), 1);
    ck_assert(take(3, 1));
    ck_assert_uint_eq(stored(1), 0);
    ck_assert_uint_eq(holders_total(&holders), 0);
    ck_assert(!take(3, 1));
}
END_TEST

START_TEST(test_holders_remove_refuses_who_has_no_hold)
{
    add(3, 1);
    add(4, 2);
    ck_assert(!take(3, 2));
    ck_assert(!take(4, 1));
    ck_assert(!take(5, 1));
    ck_assert(!take(3, MEMBER + 1));
    ck_assert(!take(CAPACITY, 1));
    ck_assert_uint_eq(holders_total(&holders), 2);
}
END_TEST

START_TEST(test_holders_remove_finds_a_hold_among_those_of_others)
{
    for (uint32_t member = 1; member <= MEMBER; member++)
        add(3, member);
    ck_assert(take(3, 5));
    ck_assert(take(3, MEMBER));
    ck_assert(take(3, 1));
    for (uint32_t member = 1; member <= MEMBER; member++)
        ck_assert_uint_eq(count_of(3, member), member != 1 && member != 5 && member != MEMBER);
}
END_TEST

START_TEST(test_holders_remove_oldest_goes_by_age)
{
    static const uint32_t slots[] = {7, 3, 7, 0};
    for (size_t i = 0; i < 4; i++) {
        add(slots[i], 1);
        add(5, 2);
    }
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(holders_remove_oldest(&holders, 1), slots[i]);
        holders_check(&holders);
    }
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), HOLDERS_NONE);
    ck_assert_uint_eq(holders_count(&holders, 5), 4);
}
END_TEST

START_TEST(test_holders_remove_takes_the_oldest_of_several)
{
    add(7, 1);
    add(3, 1);
    add(7, 1);
    ck_assert(take(7, 1));
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), 3);
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), 7);
}
END_TEST

START_TEST(test_holders_clear_gives_up_those_of_the_slot_alone)
{
    add(3, 1);
    add(4, 1);
    add(3, 2);
    add(3, 1);
    ck_assert_uint_eq(holders_clear(&holders, 3), 3);
    holders_check(&holders);
    ck_assert_uint_eq(holders_count(&holders, 3), 0);
    ck_assert_uint_eq(count_of(4, 1), 1);
    ck_assert_uint_eq(holders_total(&holders), 1);
    ck_assert_uint_eq(holders_clear(&holders, 3), 0);
}
END_TEST

START_TEST(test_holders_take_the_next_generation_once_the_slot_is_clear)
{
    add(3, 1);
    holders_clear(&holders, 3);
    holders_add(&holders, 3, 2, 1);
    holders_check(&holders);
    ck_assert_uint_eq(stored(0), layout_holder_entry(2, 3, 1));
}
END_TEST

START_TEST(test_holders_use_the_entry_that_was_freed_last)
{
    for (uint32_t i = 0; i < 4; i++)
        add(i, 1);
    take(2, 1);
    take(0, 1);
    add(8, 2);
    add(9, 2);
    ck_assert_uint_eq(stored(0), layout_holder_entry(1, 8, 2));
    ck_assert_uint_eq(stored(2), layout_holder_entry(1, 9, 2));
}
END_TEST

START_TEST(test_holders_deinit_leaves_the_object)
{
    add(3, 1);
    holders_deinit(&holders);
    holders_check(&holders);
    ck_assert_uint_eq(mapped_size(), 0);
    ck_assert_uint_eq(object_size(), PAGE);
    ck_assert_uint_eq(stored(0), layout_holder_entry(1, 3, 1));
}
END_TEST

static void add_to_a_full_table(const void *object)
{
    struct holders copy = *(const struct holders *)object;
    holders_add(&copy, 0, 1, 1);
}

START_TEST(test_holders_add_asserts_that_there_is_room)
{
    add_many(HOLDERS_FIRST);
    ck_assert(!TEST_ASSERTIONS || test_aborts(add_to_a_full_table, &holders));
    ck_assert(take(0, 1));
    ck_assert(!test_aborts(add_to_a_full_table, &holders));
    holders_add(&holders, 0, 1, 1); /* what the child did to the object */
}
END_TEST

/* ---- Growth ---------------------------------------------------------------------------------- */

START_TEST(test_holders_double_when_the_page_is_full)
{
    add_many(HOLDERS_FIRST);
    ck_assert_uint_eq(object_size(), PAGE);
    uint64_t last = stored(HOLDERS_FIRST - 1);
    add(5, 1);
    ck_assert_uint_eq(object_size(), 2 * PAGE);
    ck_assert_uint_eq(mapped_size(), 2 * PAGE);
    ck_assert_uint_eq(stored(HOLDERS_FIRST - 1), last);
    ck_assert_uint_eq(stored(HOLDERS_FIRST), layout_holder_entry(1, 5, 1));
    ck_assert_uint_eq(holders_total(&holders), HOLDERS_FIRST + 1);
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), 0);
}
END_TEST

START_TEST(test_holders_double_as_often_as_it_takes)
{
    ck_assert_int_eq(holders_reserve(&holders, 1, 1000, 1), 0);
    ck_assert_int_eq(holders_reserve(&holders, 8 * HOLDERS_FIRST, 1000, 1), 0);
    ck_assert_uint_eq(object_size(), 8 * PAGE);
    ck_assert_int_eq(holders_reserve(&holders, 8 * HOLDERS_FIRST + 1, 1000, 1), 0);
    ck_assert_uint_eq(object_size(), 16 * PAGE);
    holders_check(&holders);
}
END_TEST

START_TEST(test_holders_grow_no_more_while_entries_come_free)
{
    add_many(HOLDERS_FIRST);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_ne(holders_remove_oldest(&holders, 1), HOLDERS_NONE);
        add(i % CAPACITY, 1);
    }
    ck_assert_uint_eq(object_size(), PAGE);
}
END_TEST

START_TEST(test_holders_keep_their_lists_when_pool_and_members_grow)
{
    add(3, 1);
    add(CAPACITY - 1, MEMBER);
    ck_assert_int_eq(holders_reserve(&holders, 1, 2 * CAPACITY, 2 * MEMBER), 0);
    holders_add(&holders, 2 * CAPACITY - 1, 1, 2 * MEMBER);
    holders_check(&holders);
    ck_assert_int_eq(reserve(1), 0); /* of fewer slots and members: no change */
    ck_assert_uint_eq(holders_remove_oldest(&holders, 1), 3);
    ck_assert_uint_eq(holders_remove_oldest(&holders, MEMBER), CAPACITY - 1);
    ck_assert_uint_eq(holders_remove_oldest(&holders, 2 * MEMBER), 2 * CAPACITY - 1);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------- */

START_TEST(test_holders_limit_is_per_slot_between_least_and_most)
{
    const uint32_t least = HOLDERS_LEAST / HOLDERS_PER_SLOT;
    const uint32_t most = HOLDERS_MOST / HOLDERS_PER_SLOT;
    ck_assert_uint_eq(holders_limit(1), HOLDERS_LEAST);
    ck_assert_uint_eq(holders_limit(least), HOLDERS_LEAST);
    ck_assert_uint_eq(holders_limit(least + 1), HOLDERS_LEAST + HOLDERS_PER_SLOT);
    ck_assert_uint_eq(holders_limit(most - 1), HOLDERS_MOST - HOLDERS_PER_SLOT);
    ck_assert_uint_eq(holders_limit(most), HOLDERS_MOST);
    ck_assert_uint_eq(holders_limit(UINT32_MAX), HOLDERS_MOST);
}
END_TEST

START_TEST(test_holders_take_the_limit_and_not_one_more)
{
    ck_assert_int_eq(reserve(HOLDERS_LEAST + 1), -EDQUOT);
    ck_assert_uint_eq(test_shm_files(), 0);
    add_many(HOLDERS_LEAST);
    ck_assert_int_eq(reserve(0), 0);
    ck_assert_int_eq(reserve(1), -EDQUOT);
    ck_assert_int_eq(reserve(UINT32_MAX), -EDQUOT);
    ck_assert_uint_eq(object_size(), HOLDERS_LEAST * sizeof(uint64_t));
    ck_assert(take(0, 1));
    add(0, 1);
    ck_assert_int_eq(reserve(1), -EDQUOT);
}
END_TEST

START_TEST(test_holders_limit_grows_with_the_pool)
{
    add_many(HOLDERS_LEAST);
    ck_assert_int_eq(holders_reserve(&holders, 17, CAPACITY + 1, 1), -EDQUOT);
    ck_assert_int_eq(holders_reserve(&holders, 16, CAPACITY + 1, 1), 0);
    for (int i = 0; i < 16; i++)
        holders_add(&holders, CAPACITY, 1, 1);
    holders_check(&holders);
    ck_assert_uint_eq(holders_count(&holders, CAPACITY), 16);
}
END_TEST

/* ---- What can fail --------------------------------------------------------------------------- */

START_TEST(test_holders_add_needs_nothing_that_was_not_reserved)
{
    ck_assert_int_eq(reserve(HOLDERS_LEAST), 0);
    test_shm_fill(0);
    for (uint32_t i = 0; i < HOLDERS_LEAST; i++)
        holders_add(&holders, i % CAPACITY, 1, MEMBER);
    holders_check(&holders);
    ck_assert_uint_eq(holders_member_count(&holders, MEMBER), HOLDERS_LEAST);
}
END_TEST

START_TEST(test_holders_make_nothing_in_a_full_shm)
{
    test_shm_fill(0);
    ck_assert_int_eq(reserve(1), -ENOSPC);
    ck_assert_uint_eq(object_size(), 0);
    ck_assert_uint_eq(test_shm_files(), 1);
    test_shm_unfill();
    test_shm_fill(PAGE);
    add(3, 1);
    ck_assert_uint_eq(object_size(), PAGE);
}
END_TEST

START_TEST(test_holders_are_what_they_were_when_a_full_shm_stops_their_growth)
{
    add_many(HOLDERS_FIRST);
    struct holders before = holders;
    uint64_t last = stored(HOLDERS_FIRST - 1);
    test_shm_fill(0);
    ck_assert_int_eq(reserve(1), -ENOSPC);
    ck_assert_uint_eq(object_size(), PAGE);
    ck_assert_uint_eq(mapped_size(), PAGE);
    ck_assert_uint_eq(holders.room, before.room);
    ck_assert_uint_eq(holders_total(&holders), HOLDERS_FIRST);
    ck_assert_uint_eq(stored(HOLDERS_FIRST - 1), last);
    ck_assert_mem_eq(holders.members, before.members, (MEMBER + 1) * sizeof(struct chain));
    ck_assert(take(0, 1));
    add(0, 1);
}
END_TEST

START_TEST(test_holders_grow_into_the_last_page_after_failing)
{
    add_many(HOLDERS_FIRST);
    test_shm_fill(0);
    ck_assert_int_eq(reserve(1), -ENOSPC);
    ck_assert_uint_eq(segment_space(), 0);
    test_shm_unfill();
    test_shm_fill(PAGE);
    add(5, 1);
    ck_assert_uint_eq(object_size(), 2 * PAGE);
    ck_assert_uint_eq(segment_space(), 0);
}
END_TEST

START_TEST(test_holders_give_back_what_a_growth_too_far_had_reserved)
{
    ck_assert_int_eq(holders_reserve(&holders, 1, 1000, 1), 0);
    test_shm_fill(5 * PAGE); /* for 6 pages in all, of the 8 that it takes */
    ck_assert_int_eq(holders_reserve(&holders, 8 * HOLDERS_FIRST, 1000, 1), -ENOSPC);
    ck_assert_uint_eq(object_size(), PAGE);
    ck_assert_uint_eq(segment_space(), 5 * PAGE);
    ck_assert_int_eq(holders_reserve(&holders, 4 * HOLDERS_FIRST, 1000, 1), 0);
    ck_assert_uint_eq(object_size(), 4 * PAGE);
}
END_TEST

START_TEST(test_holders_refuse_a_taken_name_and_leave_it)
{
    int fd = segment_create(name, 3 * PAGE);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(reserve(1), -EEXIST);
    ck_assert_uint_eq(object_size(), 3 * PAGE);
    ck_assert_uint_eq(holders.room, 0);
}
END_TEST

START_TEST(test_holders_live_on_when_their_object_lost_its_name)
{
    add_many(HOLDERS_FIRST);
    ck_assert_int_eq(segment_unlink(name), 0);
    ck_assert_int_eq(reserve(1), -ENOENT);
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert(take(0, 1));
    add(0, 1);
    ck_assert_uint_eq(holders_total(&holders), HOLDERS_FIRST);
}
END_TEST

/* The sanitizers map what they please, and end the program that has no memory. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static int reserve_within(uint64_t more_bytes, uint32_t more, uint32_t capacity)
{
    unsigned long pages = 0;
    struct rlimit before, limit;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lu", &pages), 1); /* NOLINT(cert-err34-c): the kernel's */
    fclose(file);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
    limit = (struct rlimit){pages * PAGE + more_bytes, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    int result = holders_reserve(&holders, more, capacity, MEMBER);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    return result;
}

START_TEST(test_holders_without_memory_make_nothing)
{
    free(malloc(64 << 10)); /* enough for the lists, so that it is the mapping that fails */
    ck_assert_int_eq(reserve_within(0, 1, CAPACITY), -ENOMEM);
    holders_check(&holders);
    ck_assert_uint_eq(holders.room, 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    add(3, 1);
}
END_TEST

START_TEST(test_holders_without_memory_are_what_they_were)
{
    const uint32_t capacity = 1u << 14, more = 1u << 17; /* a megabyte each: links, entries */
    unsigned failures = 0;
    add_many(HOLDERS_FIRST);
    for (uint64_t bytes = 0;; bytes += 64 << 10, failures++) {
        int result = reserve_within(bytes, more, capacity);
        holders_check(&holders);
        ck_assert_uint_eq(holders_total(&holders), HOLDERS_FIRST);
        if (result == 0)
            break;
        ck_assert_int_eq(result, -ENOMEM);
        ck_assert_uint_eq(object_size(), PAGE);
        ck_assert_uint_eq(holders.room, HOLDERS_FIRST);
    }
    ck_assert_uint_gt(failures, 10);
    ck_assert_uint_eq(object_size(), sizeof(uint64_t) * 2 * more);
}
END_TEST
#else
START_TEST(test_holders_without_memory_make_nothing)
{
}
END_TEST

START_TEST(test_holders_without_memory_are_what_they_were)
{
}
END_TEST
#endif

/* ---- A model --------------------------------------------------------------------------------- */

#define MODEL_MEMBERS 12u
#define MODEL_SLOTS 40u
#define PHASE UINT64_C(3000) /* operations that rather fill, then as many that rather empty */

struct model_hold {
    uint32_t index;
    uint32_t member;
};

static struct model_hold model[HOLDERS_LEAST]; /* oldest first */
static uint32_t model_count;
static uint64_t generations[MODEL_SLOTS];
static uint64_t seed, state, step;

static uint32_t chance(uint32_t below)
{
    uint64_t value = (state += UINT64_C(0x9e3779b97f4a7c15));
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((value ^ value >> 31) % below);
}

/* libcheck's own assertions write a note each time, which is too slow here. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("seed %" PRIu64 ", step %" PRIu64 ": %s", seed, step, #condition);        \
    } while (0)

#define ANY UINT32_MAX

static bool model_is(uint32_t i, uint32_t index, uint32_t member)
{
    return (index == ANY || model[i].index == index) &&
           (member == ANY || model[i].member == member);
}

static uint32_t model_count_of(uint32_t index, uint32_t member)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model_count; i++)
        count += model_is(i, index, member);
    return count;
}

/* Removes the oldest that is so; its slot, or HOLDERS_NONE. */
static uint32_t model_remove(uint32_t index, uint32_t member)
{
    uint32_t i = 0;
    while (i < model_count && !model_is(i, index, member))
        i++;
    if (i == model_count)
        return HOLDERS_NONE;
    index = model[i].index;
    model_count--;
    memmove(&model[i], &model[i + 1], (model_count - i) * sizeof(model[0]));
    return index;
}

static void add_some(uint32_t index, uint32_t member)
{
    uint32_t count = 1 + chance(8);
    bool fits = model_count + count <= HOLDERS_LEAST;
    must(holders_reserve(&holders, count, MODEL_SLOTS, member) == (fits ? 0 : -EDQUOT));
    while (fits && count-- > 0) {
        holders_add(&holders, index, generations[index], member);
        model[model_count++] = (struct model_hold){index, member};
    }
}

static void clear_slot(uint32_t index)
{
    uint32_t count = 0;
    while (model_remove(index, ANY) != HOLDERS_NONE)
        count++;
    must(holders_clear(&holders, index) == count);
    generations[index]++;
}

static void operate(void)
{
    bool fills = step / PHASE % 2 == 0;
    uint32_t index = chance(MODEL_SLOTS), member = 1 + chance(MODEL_MEMBERS);
    uint32_t kind = chance(100);

    if (kind < (fills ? 40 : 3))
        add_some(index, member);
    else if (kind < 70)
        must(holders_remove(&holders, index, member) ==
             (model_remove(index, member) != HOLDERS_NONE));
    else if (kind < 98)
        must(holders_remove_oldest(&holders, member) == model_remove(ANY, member));
    else if (!fills || kind < 99)
        clear_slot(index);

    must(holders_total(&holders) == model_count);
    must(holders_count(&holders, index) == model_count_of(index, ANY));
    must(holders_member_count(&holders, member) == model_count_of(ANY, member));
    must(count_of(index, member) == model_count_of(index, member));
}

/* What the last operation wasn't about is as the model says too. */
static void compare_all(void)
{
    holders_check(&holders);
    for (uint32_t index = 0; index < MODEL_SLOTS; index++)
        for (uint32_t member = 1; member <= MODEL_MEMBERS; member++)
            must(count_of(index, member) == model_count_of(index, member));
}

static void remove_all(void)
{
    for (uint32_t member = 1; member <= MODEL_MEMBERS; member++)
        while (model_count_of(ANY, member) > 0)
            must(holders_remove_oldest(&holders, member) == model_remove(ANY, member));
    must(holders_total(&holders) == 0);
    holders_check(&holders);
}

/* Compares everything each so many operations. */
static void compare_with_model(uint64_t steps, uint64_t each)
{
    const char *chosen = getenv("FASTALLOC_SEED");
    unsigned full = 0;
    seed = state = chosen ? strtoull(chosen, NULL, 0) : 1;
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);

    for (step = 0; step < steps; step++) {
        operate();
        holders_check(&holders);
        full += model_count == HOLDERS_LEAST;
        if (step % each == 0)
            compare_all();
        if (step % (2 * PHASE) == 2 * PHASE - 1)
            remove_all();
    }
    ck_assert_uint_gt(full, 100); /* the operations came to the limit */
    remove_all();
}

START_TEST(test_holders_are_what_their_model_is_after_each_operation)
{
    compare_with_model(2 * PHASE, 1);
}
END_TEST

START_TEST(test_holders_are_what_their_model_is_in_the_long_run)
{
    compare_with_model(200000, PHASE / 10);
}
END_TEST

/* ---- The checker can fail -------------------------------------------------------------------- */

static void check(const void *object)
{
    holders_check(object);
}

#define NOTICES(place, value) TEST_ABORTS_WITH(check, &holders, place, value)

START_TEST(test_holders_check_notices_an_entry_that_the_lists_contradict)
{
    add(3, 1);
    add(3, 2);
    NOTICES(holders.entries[0], 0);
    NOTICES(holders.entries[0], layout_holder_entry(1, 3, 2));
    NOTICES(holders.entries[0], layout_holder_entry(1, 4, 1));
    NOTICES(holders.entries[0], layout_holder_entry(1, 3, SLOT_MEMBER_NONE));
    NOTICES(holders.entries[0], layout_holder_entry(1, CAPACITY, 1));
    NOTICES(holders.entries[2], layout_holder_entry(1, 3, 1));
}
END_TEST

START_TEST(test_holders_check_notices_two_generations_of_a_slot)
{
    add(3, 1);
    add(3, 1);
    NOTICES(holders.entries[0], layout_holder_entry(2, 3, 1));
    NOTICES(holders.entries[1], layout_holder_entry(2, 3, 1));
}
END_TEST

START_TEST(test_holders_check_notices_a_hold_of_nobody)
{
    ck_assert_int_eq(reserve(1), 0);
    struct chain none = holders.members[SLOT_MEMBER_NONE], one;
    add(3, 1);
    one = holders.members[1];
    holders.members[1] = none;
    holders.entries[0] = layout_holder_entry(1, 3, SLOT_MEMBER_NONE);
    holders.members[SLOT_MEMBER_NONE] = one;
    ck_assert(!TEST_ASSERTIONS || test_aborts(check, &holders));
    holders.members[SLOT_MEMBER_NONE] = none;
    holders.entries[0] = layout_holder_entry(1, 3, 1);
    holders.members[1] = one;
}
END_TEST

START_TEST(test_holders_check_notices_wrong_counts)
{
    add(3, 1);
    NOTICES(holders.slots[3].count, 0);
    NOTICES(holders.slots[3].count, 2);
    NOTICES(holders.slots[4].count, 1);
    NOTICES(holders.members[1].count, 0);
    NOTICES(holders.members[1].count, 2);
    NOTICES(holders.free.count, HOLDERS_FIRST);
    NOTICES(holders.room, HOLDERS_FIRST - 1);
    NOTICES(holders.room, HOLDERS_FIRST + 1);
}
END_TEST

START_TEST(test_holders_check_notices_broken_links)
{
    for (int i = 0; i < 3; i++)
        add(3, 1);
    struct chain_link *const links[] = {holders.slot_links, holders.member_links};
    for (int i = 0; i < 2; i++) {
        NOTICES(links[i][1].previous, 2);
        NOTICES(links[i][1].next, HOLDERS_NONE);
        NOTICES(links[i][1].next, 0); /* a ring */
        NOTICES(links[i][1].next, 3); /* a free entry */
        NOTICES(links[i][1].next, HOLDERS_FIRST);
    }
    NOTICES(holders.slot_links[holders.free.first].next, 0);
    NOTICES(holders.slot_links[holders.free.first].next, HOLDERS_NONE);
}
END_TEST

START_TEST(test_holders_check_notices_broken_ends)
{
    for (int i = 0; i < 3; i++)
        add(3, 1);
    struct chain *const lists[] = {&holders.slots[3], &holders.members[1], &holders.free};
    for (int i = 0; i < 3; i++) {
        NOTICES(lists[i]->first, 1);
        NOTICES(lists[i]->first, HOLDERS_NONE);
        NOTICES(lists[i]->first, HOLDERS_FIRST);
        NOTICES(lists[i]->last, 1);
        NOTICES(lists[i]->last, HOLDERS_NONE);
    }
}
END_TEST

START_TEST(test_holders_check_notices_a_hold_in_one_list_alone)
{
    ck_assert_int_eq(reserve(1), 0);
    struct chain of_slot = holders.slots[3], of_member = holders.members[1];
    struct chain free_before = holders.free;
    add(3, 1);
    NOTICES(holders.slots[3], of_slot);
    NOTICES(holders.members[1], of_member);
    NOTICES(holders.free, free_before);
}
END_TEST

SUITE_MAIN_WITH(
    "holders", set_up, tear_down, test_holders_begin_without_an_object,
    test_holders_make_no_object_for_no_holds, test_holders_make_a_page_for_the_first_hold,
    test_holders_add_stores_generation_index_and_member,
    test_holders_take_the_highest_slot_and_member, test_holders_count_each_hold_of_a_member,
    test_holders_remove_gives_up_one_hold_and_clears_its_entry,
    test_holders_remove_refuses_who_has_no_hold,
    test_holders_remove_finds_a_hold_among_those_of_others, test_holders_remove_oldest_goes_by_age,
    test_holders_remove_takes_the_oldest_of_several,
    test_holders_clear_gives_up_those_of_the_slot_alone,
    test_holders_take_the_next_generation_once_the_slot_is_clear,
    test_holders_use_the_entry_that_was_freed_last, test_holders_deinit_leaves_the_object,
    test_holders_add_asserts_that_there_is_room, test_holders_double_when_the_page_is_full,
    test_holders_double_as_often_as_it_takes, test_holders_grow_no_more_while_entries_come_free,
    test_holders_keep_their_lists_when_pool_and_members_grow,
    test_holders_limit_is_per_slot_between_least_and_most,
    test_holders_take_the_limit_and_not_one_more, test_holders_limit_grows_with_the_pool,
    test_holders_add_needs_nothing_that_was_not_reserved, test_holders_make_nothing_in_a_full_shm,
    test_holders_are_what_they_were_when_a_full_shm_stops_their_growth,
    test_holders_grow_into_the_last_page_after_failing,
    test_holders_give_back_what_a_growth_too_far_had_reserved,
    test_holders_refuse_a_taken_name_and_leave_it,
    test_holders_live_on_when_their_object_lost_its_name, test_holders_without_memory_make_nothing,
    test_holders_without_memory_are_what_they_were,
    test_holders_are_what_their_model_is_after_each_operation,
    test_holders_are_what_their_model_is_in_the_long_run,
    test_holders_check_notices_an_entry_that_the_lists_contradict,
    test_holders_check_notices_two_generations_of_a_slot,
    test_holders_check_notices_a_hold_of_nobody, test_holders_check_notices_wrong_counts,
    test_holders_check_notices_broken_links, test_holders_check_notices_broken_ends,
    test_holders_check_notices_a_hold_in_one_list_alone)
