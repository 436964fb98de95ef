/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define PAGE UINT64_C(4096)
#define SHM_SIZE (UINT64_C(16) << 20)
#define CAPACITY 10u
#define RESERVE 10000u
#define SIZE_MAX_HERE 16384u

static const uint8_t key[SEGMENT_KEY_SIZE] = {1, 2, 3};
static struct geometry geometry;
static struct store store;

/* Whether a member fills each hole before its end is looked for, and punches it again. */
static bool holes_are_filled;

off_t __real_lseek(int fd, off_t offset, int whence);
off_t __wrap_lseek(int fd, off_t offset, int whence);

off_t __wrap_lseek(int fd, off_t offset, int whence)
{
    return holes_are_filled ? offset : __real_lseek(fd, offset, whence);
}

static void create(uint64_t object_size, uint32_t alignment, uint32_t capacity)
{
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, object_size, alignment, RESERVE),
                     GEOMETRY_OK);
    ck_assert_int_eq(store_create(&store, key, &geometry, capacity), 0);
}

static void set_up(void)
{
    test_private_shm(SHM_SIZE);
    store.data_fd = -1;
}

static void tear_down(void)
{
    store_close(&store);
    store_unlink(key);
    ck_assert_uint_eq(test_shm_files(), 0);
}

static struct stat object_status(enum store_object object)
{
    struct stat status;
    int fd = store_descriptor(&store, object, false);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    close(fd);
    return status;
}

/* Bytes of /dev/shm that the object takes. */
static uint64_t taken(enum store_object object)
{
    return (uint64_t)object_status(object).st_blocks * 512;
}

/* All three are as long as that capacity needs, with all their memory. */
static void check_sizes(uint32_t capacity)
{
    const size_t sizes[] = {geometry_ctl_size(&geometry, capacity),
                            geometry_slots_size(&geometry, capacity),
                            geometry_data_size(&geometry, capacity)};
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++) {
        ck_assert_int_eq(object_status(object).st_size, (off_t)sizes[object]);
        ck_assert_uint_eq(taken(object), sizes[object]);
    }
    ck_assert_uint_eq(store_size(&geometry, capacity), sizes[0] + sizes[1] + sizes[2]);
}

static void check_idle(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        ck_assert_uint_eq(store.words[i],
                          slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE));
}

/* ---- Creation -------------------------------------------------------------------------------- */

START_TEST(test_store_create_makes_three_objects_with_all_their_memory)
{
    uint64_t before = segment_space();
    create(40, 0, CAPACITY);
    ck_assert_uint_eq(test_shm_files(), STORE_FOR_CLIENTS);
    check_sizes(CAPACITY);
    check_idle(0, CAPACITY);
    ck_assert_uint_eq(store.words[CAPACITY], 0);
    ck_assert_uint_eq(before - segment_space(), store_size(&geometry, CAPACITY));
    ck_assert_uint_eq(store.capacity, CAPACITY);
    ck_assert_ptr_eq((char *)store.ledger, (char *)store.ctl + geometry.ledger_offset);
    ck_assert_ptr_eq((char *)store.members, (char *)store.ctl + geometry.members_offset);
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(store.ledger[i], 0);
    ck_assert_uint_eq(store.ctl->magic | store.ctl->version, 0);
}
END_TEST

START_TEST(test_store_create_without_room_leaves_nothing)
{
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, PAGE, 0, RESERVE), GEOMETRY_OK);
    uint64_t needed = store_size(&geometry, CAPACITY);
    for (uint64_t left = 0; left < needed; left += PAGE) {
        test_shm_fill(left);
        ck_assert_int_eq(store_create(&store, key, &geometry, CAPACITY), -ENOSPC);
        ck_assert_uint_eq(test_shm_files(), 1); /* what fills it */
        ck_assert_uint_eq(segment_space(), left);
        test_shm_unfill();
    }
    test_shm_fill(needed);
    ck_assert_int_eq(store_create(&store, key, &geometry, CAPACITY), 0);
    ck_assert_uint_eq(segment_space(), 0);
    test_shm_unfill();
}
END_TEST

START_TEST(test_store_create_without_files_leaves_nothing)
{
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, PAGE, 0, RESERVE), GEOMETRY_OK);
    for (unsigned files = 1; files < STORE_FOR_CLIENTS; files++) {
        test_private_shm_resize(SHM_SIZE, files);
        ck_assert_int_eq(store_create(&store, key, &geometry, CAPACITY), -ENOSPC);
        ck_assert_uint_eq(test_shm_files(), 0);
    }
}
END_TEST

START_TEST(test_store_close_keeps_the_objects_and_unlink_counts_them)
{
    create(40, 0, CAPACITY);
    ck_assert_int_eq(store_write_template(&store, key, sizeof(key)), 0);
    store_close(&store);
    ck_assert_uint_eq(test_shm_files(), 4);
    ck_assert_uint_eq(store_unlink(key), 4);
    ck_assert_uint_eq(store_unlink(key), 0);
    store_close(&store); /* once more does no harm */
}
END_TEST

START_TEST(test_store_descriptors_are_read_only_unless_asked_for)
{
    create(40, 0, CAPACITY);
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++)
        for (int write = 0; write <= 1; write++) {
            int fd = store_descriptor(&store, object, write);
            int expected = write ? O_RDWR : O_RDONLY;
            ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, expected);
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
            close(fd);
        }
    ck_assert_int_eq(store_descriptor(&store, STORE_TEMPLATE, true), -ENOENT);
    store_unlink(key);
    ck_assert_int_eq(store_descriptor(&store, STORE_DATA, true), -ENOENT);
}
END_TEST

/* ---- Growth ---------------------------------------------------------------------------------- */

START_TEST(test_store_grows_and_keeps_what_there_is)
{
    create(1000, 0, CAPACITY);
    store.words[3] = slot_word(7, 1, SLOT_LIVE);
    store.ledger[3] = 77;
    ck_assert_int_eq(store_write(&store, 3, key, sizeof(key)), 0);

    ck_assert_int_eq(store_grow(&store, RESERVE), 0);
    check_sizes(RESERVE);
    ck_assert_uint_eq(store.capacity, RESERVE);
    ck_assert_uint_eq(store.words[3], slot_word(7, 1, SLOT_LIVE));
    ck_assert_uint_eq(store.ledger[3], 77);
    ck_assert_uint_eq(store.ledger[RESERVE - 1], 0);
    check_idle(CAPACITY, RESERVE);
}
END_TEST

START_TEST(test_store_grows_by_one_slot_within_its_pages)
{
    create(1, 1, CAPACITY);
    uint64_t space = segment_space();
    ck_assert_int_eq(store_grow(&store, CAPACITY + 1), 0);
    ck_assert_uint_eq(segment_space(), space);
    check_sizes(CAPACITY + 1);
    check_idle(0, CAPACITY + 1);
    ck_assert_uint_eq(store.words[CAPACITY + 1], 0);
}
END_TEST

/* Whichever object it is that doesn't fit, all of them are as they were. */
START_TEST(test_store_growth_that_fails_leaves_everything_as_it_was)
{
    create(PAGE, 0, CAPACITY);
    store.words[3] = slot_word(7, 1, SLOT_LIVE);
    const uint32_t larger = 2000; /* ctl and slots grow as well */
    uint64_t needed = store_size(&geometry, larger) - store_size(&geometry, CAPACITY);
    ck_assert_uint_gt(geometry_ctl_size(&geometry, larger), geometry_ctl_size(&geometry, CAPACITY));
    ck_assert_uint_gt(geometry_slots_size(&geometry, larger),
                      geometry_slots_size(&geometry, CAPACITY));

    for (uint64_t left = 0; left < needed; left += left < 16 * PAGE ? PAGE : 331 * PAGE) {
        test_shm_fill(left);
        ck_assert_int_eq(store_grow(&store, larger), -ENOSPC);
        ck_assert_uint_eq(segment_space(), left);
        ck_assert_uint_eq(store.capacity, CAPACITY);
        check_sizes(CAPACITY);
        test_shm_unfill();
    }
    ck_assert_uint_eq(store.words[3], slot_word(7, 1, SLOT_LIVE));
    test_shm_fill(needed - PAGE);
    ck_assert_int_eq(store_grow(&store, larger), -ENOSPC);
    test_shm_unfill();
    test_shm_fill(needed);
    ck_assert_int_eq(store_grow(&store, larger), 0);
    ck_assert_uint_eq(segment_space(), 0);
    check_sizes(larger);
    check_idle(CAPACITY, larger);
    test_shm_unfill();
}
END_TEST

START_TEST(test_store_growth_without_a_file_leaves_the_others)
{
    char name[SEGMENT_NAME_SIZE];
    create(PAGE, 0, CAPACITY);
    store_name(&store, STORE_DATA, name);
    ck_assert_int_eq(segment_unlink(name), 0); /* whoever does so */
    ck_assert_int_eq(store_grow(&store, 2000), -ENOENT);
    ck_assert_uint_eq(store.capacity, CAPACITY);
    ck_assert_int_eq(object_status(STORE_CTL).st_size,
                     (off_t)geometry_ctl_size(&geometry, CAPACITY));
    ck_assert_int_eq(object_status(STORE_SLOTS).st_size,
                     (off_t)geometry_slots_size(&geometry, CAPACITY));
}
END_TEST

/* ---- Content --------------------------------------------------------------------------------- */

static uint8_t seen[SIZE_MAX_HERE];

static const uint8_t *read_at(enum store_object object, uint64_t at, size_t size)
{
    int fd = store_descriptor(&store, object, false);
    ck_assert_int_eq(pread(fd, seen, size, (off_t)at), (ssize_t)size);
    close(fd);
    return seen;
}

/* Fills the object of a slot and the room after it. */
static void fill(uint32_t index, uint8_t value)
{
    uint8_t bytes[SIZE_MAX_HERE];
    memset(bytes, value, geometry.stride);
    int fd = store_descriptor(&store, STORE_DATA, true);
    ck_assert_int_eq(pwrite(fd, bytes, geometry.stride, (off_t)(index * geometry.stride)),
                     (ssize_t)geometry.stride);
    close(fd);
}

static bool all_are(const uint8_t *bytes, size_t size, uint8_t value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static bool object_is(uint32_t index, uint8_t value)
{
    return all_are(read_at(STORE_DATA, index * geometry.stride, geometry.stride), geometry.stride,
                   value);
}

START_TEST(test_store_writes_the_beginning_of_an_object_and_no_more)
{
    create(100, 0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        fill(i, 9);
    ck_assert_int_eq(store_write(&store, 4, key, sizeof(key)), 0);
    ck_assert_mem_eq(read_at(STORE_DATA, 4 * geometry.stride, sizeof(key)), key, sizeof(key));
    ck_assert(all_are(read_at(STORE_DATA, 4 * geometry.stride + sizeof(key), 112 - sizeof(key)),
                      112 - sizeof(key), 9));
    ck_assert(object_is(3, 9) && object_is(5, 9));
}
END_TEST

START_TEST(test_store_zeroes_an_object_to_its_end_and_no_more)
{
    create(100, 0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        fill(i, 9);
    ck_assert_int_eq(store_zero(&store, 4, 30), 0);
    ck_assert(all_are(read_at(STORE_DATA, 4 * geometry.stride, 30), 30, 9));
    ck_assert(all_are(read_at(STORE_DATA, 4 * geometry.stride + 30, 70), 70, 0));
    ck_assert(all_are(read_at(STORE_DATA, 4 * geometry.stride + 100, 12), 12, 9));
    ck_assert(object_is(3, 9) && object_is(5, 9));
    ck_assert_int_eq(store_zero(&store, 5, 100), 0); /* nothing */
    ck_assert(object_is(5, 9));
}
END_TEST

/* It takes several writes of 64 KiB, the last of them a part. */
START_TEST(test_store_zeroes_large_objects)
{
    enum { SIZE = 3 * 65536 + 1 };
    static uint8_t bytes[SIZE + 15];
    create(SIZE, 0, 3);
    memset(bytes, 5, sizeof(bytes));
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(store_write(&store, i, bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(store_zero(&store, 1, 1), 0);
    int fd = store_descriptor(&store, STORE_DATA, false);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), (off_t)(i * geometry.stride)),
                         (ssize_t)sizeof(bytes));
        ck_assert_uint_eq(bytes[0], 5);
        ck_assert(all_are(bytes + 1, SIZE - 1, i == 1 ? 0 : 5));
        ck_assert(all_are(bytes + SIZE, 15, 5));
    }
    close(fd);
}
END_TEST

START_TEST(test_store_writes_a_template_as_long_as_it_is)
{
    create(100, 0, CAPACITY);
    ck_assert_int_eq(store_write_template(&store, key, sizeof(key)), 0);
    ck_assert_int_eq(object_status(STORE_TEMPLATE).st_size, sizeof(key));
    ck_assert_mem_eq(read_at(STORE_TEMPLATE, 0, sizeof(key)), key, sizeof(key));
    ck_assert_int_eq(store_write_template(&store, key, sizeof(key)), -EEXIST);
}
END_TEST

START_TEST(test_store_that_can_not_open_data_names_the_errno)
{
    struct rlimit before, none;
    create(100, 0, CAPACITY);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int written = store_write(&store, 0, key, 1), zeroed = store_zero(&store, 0, 0);
    int trimmed = store_trim(&store, 0, CAPACITY, CAPACITY);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(written, -EMFILE);
    ck_assert_int_eq(zeroed, -EMFILE);
    ck_assert_int_eq(trimmed, -EMFILE);
    ck_assert_uint_eq(store_trimmed_size(&store), 0);

    ck_assert_int_eq(store_open_data(&store), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    zeroed = store_zero(&store, 0, 0); /* which has it open */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(zeroed, 0);
}
END_TEST

/* ---- Trimming -------------------------------------------------------------------------------- */

static int trim(uint32_t first, uint32_t end)
{
    return store_trim(&store, first, end, store.capacity);
}

/* So many pages are given back, as the file system says too. */
static void check_trimmed(uint64_t pages)
{
    ck_assert_uint_eq(store_trimmed_size(&store), pages * PAGE);
    ck_assert_uint_eq(taken(STORE_DATA),
                      geometry_data_size(&geometry, store.capacity) - pages * PAGE);
    ck_assert_int_eq(object_status(STORE_DATA).st_size,
                     (off_t)geometry_data_size(&geometry, store.capacity));
}

START_TEST(test_store_trims_the_pages_of_an_object)
{
    create(2 * PAGE, 0, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        fill(i, 9);
    ck_assert_int_eq(trim(2, 4), 0);
    check_trimmed(4);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        ck_assert_int_eq(store_is_trimmed(&store, i), i == 2 || i == 3);
        ck_assert(object_is(i, i == 2 || i == 3 ? 0 : 9));
    }
    ck_assert_int_eq(trim(2, 4), 0); /* once more gives back nothing */
    check_trimmed(4);
    ck_assert_int_eq(trim(3, 6), 0);
    check_trimmed(8);
}
END_TEST

START_TEST(test_store_untrim_takes_the_memory_again)
{
    create(2 * PAGE, 0, CAPACITY);
    ck_assert_int_eq(store_untrim(&store, 2), 0); /* nothing was given back */
    ck_assert_int_eq(trim(2, 4), 0);
    ck_assert_int_eq(store_untrim(&store, 1), 0);
    check_trimmed(4);
    ck_assert_int_eq(store_untrim(&store, 2), 0);
    check_trimmed(2);
    ck_assert(!store_is_trimmed(&store, 2));
    ck_assert(store_is_trimmed(&store, 3));
    ck_assert_int_eq(store_untrim(&store, 3), 0);
    check_trimmed(0);
    ck_assert(object_is(2, 0) && object_is(3, 0));
}
END_TEST

/* 1000 bytes are 1008 apart: slots 4 and 8 stand on two pages, and no slot on a page alone. */
START_TEST(test_store_trim_spares_pages_that_others_share)
{
    create(1000, 0, 40); /* 10 pages */
    for (uint32_t i = 0; i < 40; i++)
        fill(i, (uint8_t)(i + 1));
    ck_assert_int_eq(trim(1, 4), 0); /* of a page of which 0 has a part */
    check_trimmed(0);
    ck_assert_int_eq(trim(0, 4), 0); /* and 4 */
    check_trimmed(0);
    ck_assert_int_eq(trim(0, 5), 0);
    check_trimmed(1);
    ck_assert_int_eq(trim(9, 17), 0); /* 9 begins on page 2, 16 ends on page 4 */
    check_trimmed(2);
    for (uint32_t i = 0; i < 40; i++) {
        bool inside = i <= 4 || (i >= 9 && i <= 16);
        bool first = i * geometry.stride / PAGE == 0 || i * geometry.stride / PAGE == 3;
        uint64_t last_page = ((i + 1) * geometry.stride - 1) / PAGE;
        bool trimmed = first || last_page == 0 || last_page == 3;
        ck_assert_int_eq(store_is_trimmed(&store, i), trimmed);
        ck_assert_msg(inside || object_is(i, (uint8_t)(i + 1)), "slot %" PRIu32, i);
    }
}
END_TEST

START_TEST(test_store_untrim_takes_both_pages_of_a_slot)
{
    create(1000, 0, 40);
    for (uint32_t i = 0; i < 40; i++)
        fill(i, 7);
    ck_assert_int_eq(trim(0, 40), 0);
    check_trimmed(10);
    ck_assert_int_eq(store_untrim(&store, 4), 0); /* on pages 0 and 1 */
    check_trimmed(8);
    ck_assert(!store_is_trimmed(&store, 0) && !store_is_trimmed(&store, 7));
    ck_assert(store_is_trimmed(&store, 8)); /* on pages 1 and 2 */
    fill(4, 5);
    ck_assert_int_eq(store_untrim(&store, 8), 0);
    check_trimmed(7);
    ck_assert(object_is(4, 5));
    ck_assert(object_is(8, 0));
}
END_TEST

START_TEST(test_store_trims_the_last_page_with_the_last_slots)
{
    create(1000, 0, 5); /* 5040 bytes of 2 pages */
    ck_assert_int_eq(trim(0, 4), 0);
    check_trimmed(0); /* 4 begins on their page, at 4032 */
    fill(3, 6);
    ck_assert_int_eq(trim(4, 5), 0);
    check_trimmed(1); /* of which the slots use a part */
    ck_assert(store_is_trimmed(&store, 4) && !store_is_trimmed(&store, 3));
    ck_assert(object_is(3, 6));
    ck_assert_int_eq(trim(0, 5), 0);
    check_trimmed(2);
}
END_TEST

START_TEST(test_store_trims_the_last_page_of_one_that_begins_there)
{
    create(PAGE / 2, 0, 7); /* the 7th stands alone on page 3 */
    fill(5, 6);
    ck_assert_int_eq(store_trim(&store, 6, 7, 8), 0); /* were there an 8th */
    check_trimmed(0);
    ck_assert_int_eq(trim(6, 7), 0);
    check_trimmed(1);
    ck_assert(store_is_trimmed(&store, 6) && !store_is_trimmed(&store, 5));
    ck_assert(object_is(5, 6));
}
END_TEST

START_TEST(test_store_trim_of_less_than_a_page_gives_back_nothing)
{
    create(16, 0, 1000);
    ck_assert_int_eq(trim(1, 255), 0);
    check_trimmed(0);
    ck_assert_ptr_null(store.trimmed);
    ck_assert_int_eq(trim(0, 256), 0);
    check_trimmed(1);
    ck_assert_int_eq(trim(256, 256), 0);
    check_trimmed(1);
}
END_TEST

START_TEST(test_store_grows_after_its_last_page_was_trimmed)
{
    create(1000, 0, 5);
    ck_assert_int_eq(trim(0, 5), 0);
    ck_assert_int_eq(store_grow(&store, 12), 0);
    check_trimmed(2);
    for (uint32_t i = 0; i < 12; i++) /* slots 5 to 8 have a part of the last page */
        ck_assert_int_eq(store_is_trimmed(&store, i), i <= 8 && i * geometry.stride < 2 * PAGE);
    ck_assert_int_eq(store_untrim(&store, 6), 0);
    check_trimmed(1);
    fill(6, 4);
    ck_assert_int_eq(trim(7, 12), 0);
    ck_assert(object_is(6, 4));
    check_trimmed(2);
    ck_assert_int_eq(store_grow(&store, RESERVE), 0);
    ck_assert_int_eq(trim(7, RESERVE), 0);
    check_trimmed(1 + geometry_data_size(&geometry, RESERVE) / PAGE - 2);
    ck_assert_int_eq(store_untrim(&store, RESERVE - 1), 0);
}
END_TEST

START_TEST(test_store_untrim_without_room_leaves_it_trimmed)
{
    create(4 * PAGE, 0, CAPACITY);
    ck_assert_int_eq(trim(0, 3), 0);
    for (uint64_t left = 0; left < 4; left++) {
        test_shm_fill(left * PAGE);
        ck_assert_int_eq(store_untrim(&store, 1), -ENOSPC);
        ck_assert_uint_eq(segment_space(), left * PAGE);
        check_trimmed(12);
        ck_assert(store_is_trimmed(&store, 1));
        test_shm_unfill();
    }
    test_shm_fill(4 * PAGE);
    ck_assert_int_eq(store_untrim(&store, 1), 0);
    check_trimmed(8);
    test_shm_unfill();
}
END_TEST

START_TEST(test_store_takes_offsets_beyond_32_bits)
{
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, UINT64_C(1) << 31, 4096, 4),
                     GEOMETRY_OK);
    /* Without the memory for it. */
    char name[SEGMENT_NAME_SIZE];
    store = (struct store){.geometry = geometry, .data_fd = -1};
    memcpy(store.key, key, sizeof(key));
    store_name(&store, STORE_DATA, name);
    int fd = segment_create(name, PAGE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, INT64_C(3) << 31), 0);
    store.capacity = 3;
    ck_assert_int_eq(store_write(&store, 2, key, sizeof(key)), 0);
    ck_assert_int_eq(pread(fd, seen, sizeof(key), INT64_C(2) << 31), sizeof(key));
    ck_assert_mem_eq(seen, key, sizeof(key));
    ck_assert_int_eq(trim(2, 3), 0);
    ck_assert(store_is_trimmed(&store, 2) && !store_is_trimmed(&store, 1));
    ck_assert_uint_eq(store_trimmed_size(&store), UINT64_C(1) << 31);
    ck_assert_int_eq(pread(fd, seen, sizeof(key), INT64_C(2) << 31), sizeof(key));
    ck_assert(all_are(seen, sizeof(key), 0));
    close(fd);
}
END_TEST

START_TEST(test_store_looks_for_holes_to_an_end_whatever_members_do)
{
    create(PAGE, 16, CAPACITY);
    ck_assert_int_eq(store_trim(&store, 2, 5, CAPACITY), 0);
    store_close(&store);
    ck_assert_int_eq(store_open(&store, key, &geometry, CAPACITY), 0);
    holes_are_filled = true;
    ck_assert_int_eq(store_find_trimmed(&store), 0);
    holes_are_filled = false;
    ck_assert_uint_eq(store_trimmed_size(&store), CAPACITY * PAGE); /* which does no harm */
    for (uint32_t i = 0; i < CAPACITY; i++)
        ck_assert_int_eq(store_untrim(&store, i), 0);
    ck_assert_uint_eq(taken(STORE_DATA), CAPACITY * PAGE);
}
END_TEST

SUITE_MAIN_WITH(
    "store", set_up, tear_down, test_store_create_makes_three_objects_with_all_their_memory,
    test_store_create_without_room_leaves_nothing, test_store_create_without_files_leaves_nothing,
    test_store_close_keeps_the_objects_and_unlink_counts_them,
    test_store_descriptors_are_read_only_unless_asked_for, test_store_grows_and_keeps_what_there_is,
    test_store_grows_by_one_slot_within_its_pages,
    test_store_growth_that_fails_leaves_everything_as_it_was,
    test_store_growth_without_a_file_leaves_the_others,
    test_store_writes_the_beginning_of_an_object_and_no_more,
    test_store_zeroes_an_object_to_its_end_and_no_more, test_store_zeroes_large_objects,
    test_store_writes_a_template_as_long_as_it_is,
    test_store_that_can_not_open_data_names_the_errno, test_store_trims_the_pages_of_an_object,
    test_store_untrim_takes_the_memory_again, test_store_trim_spares_pages_that_others_share,
    test_store_untrim_takes_both_pages_of_a_slot,
    test_store_trims_the_last_page_with_the_last_slots,
    test_store_trims_the_last_page_of_one_that_begins_there,
    test_store_trim_of_less_than_a_page_gives_back_nothing,
    test_store_grows_after_its_last_page_was_trimmed,
    test_store_untrim_without_room_leaves_it_trimmed, test_store_takes_offsets_beyond_32_bits,
    test_store_looks_for_holes_to_an_end_whatever_members_do)
