/* SPDX-License-Identifier: MIT */
#include "shm/geometry.h"

#include <string.h>

#include "tests/unit/suite.h"

static struct geometry make(uint64_t object_size, uint32_t alignment, uint32_t capacity)
{
    struct geometry geometry;

    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, object_size, alignment, capacity),
                     GEOMETRY_OK);
    return geometry;
}

static void check_refused(uint64_t object_size, uint32_t alignment, uint32_t capacity,
                          enum geometry_result expected)
{
    struct geometry geometry;
    struct geometry before;

    memset(&geometry, 0x5a, sizeof(geometry));
    memcpy(&before, &geometry, sizeof(before));
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, object_size, alignment, capacity),
                     expected);
    ck_assert_mem_eq(&geometry, &before, sizeof(before));
}

/* The laws of every geometry: nothing overlaps, and a larger pool begins as the smaller one. */
static void check_laws(const struct geometry *g)
{
    ck_assert_uint_ge(g->stride, g->object_size);
    ck_assert_uint_eq(g->stride % g->alignment, 0);
    ck_assert_uint_le(g->reserve, GEOMETRY_CAPACITY_MAX);
    ck_assert_uint_le(g->stride * g->reserve, GEOMETRY_DATA_MAX);

    ck_assert_uint_ge(g->members_offset, sizeof(struct layout_ctl));
    ck_assert_uint_ge(g->ledger_offset, g->members_offset + LAYOUT_MEMBERS * sizeof(uint64_t));
    ck_assert_uint_ge(geometry_ctl_size(g, g->reserve), g->ledger_offset + g->reserve * (size_t)8);
    ck_assert_uint_eq(g->members_offset % 8 + g->ledger_offset % 8, 0);

    ck_assert_uint_ge(g->words_offset * 8, ((uint64_t)g->reserve + 63) / 64);
    ck_assert_uint_eq(g->words_offset % 64, 0);
    ck_assert_uint_ge(geometry_slots_size(g, g->reserve), g->words_offset + g->reserve * (size_t)8);
    ck_assert_uint_ge(geometry_data_size(g, g->reserve), g->reserve * g->stride);
}

START_TEST(test_geometry_rounds_the_stride_up_to_the_alignment)
{
    ck_assert_uint_eq(make(1, 1, 10).stride, 1);
    ck_assert_uint_eq(make(1, 64, 10).stride, 64);
    ck_assert_uint_eq(make(64, 64, 10).stride, 64);
    ck_assert_uint_eq(make(65, 64, 10).stride, 128);
}
END_TEST

START_TEST(test_geometry_alignment_is_16_unless_asked)
{
    ck_assert_uint_eq(make(1, 0, 10).alignment, 16);
    ck_assert_uint_eq(make(1, 0, 10).stride, 16);
    ck_assert_uint_eq(make(17, 0, 10).stride, 32);
}
END_TEST

START_TEST(test_geometry_takes_every_power_of_two_up_to_a_page)
{
    for (uint32_t alignment = 1; alignment <= GEOMETRY_ALIGNMENT_MAX; alignment *= 2)
        ck_assert_uint_eq(make(24, alignment, 10).alignment, alignment);
}
END_TEST

START_TEST(test_geometry_refuses_other_alignments)
{
    static const uint32_t bad[] = {3, 6, 24, 4095, 4097, 8192, UINT32_C(1) << 31, UINT32_MAX};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_refused(24, bad[i], 10, GEOMETRY_BAD_ALIGNMENT);
}
END_TEST

START_TEST(test_geometry_refuses_object_sizes_of_zero_and_above_the_limit)
{
    ck_assert_uint_eq(make(GEOMETRY_OBJECT_MAX, 0, 1).stride, GEOMETRY_OBJECT_MAX);
    check_refused(0, 0, 1, GEOMETRY_BAD_SIZE);
    check_refused(GEOMETRY_OBJECT_MAX + 1, 0, 1, GEOMETRY_BAD_SIZE);
    check_refused(UINT64_MAX, 0, 1, GEOMETRY_BAD_SIZE);
}
END_TEST

START_TEST(test_geometry_refuses_capacities_of_zero_and_above_the_limit)
{
    ck_assert_uint_eq(make(1, 1, GEOMETRY_CAPACITY_MAX).reserve, GEOMETRY_CAPACITY_MAX);
    check_refused(1, 1, 0, GEOMETRY_BAD_CAPACITY);
    check_refused(1, 1, GEOMETRY_CAPACITY_MAX + 1, GEOMETRY_BAD_CAPACITY);
    check_refused(1, 1, UINT32_MAX, GEOMETRY_BAD_CAPACITY);
}
END_TEST

START_TEST(test_geometry_refuses_more_data_than_address_space)
{
    uint32_t limit = (uint32_t)(GEOMETRY_DATA_MAX / GEOMETRY_OBJECT_MAX);

    ck_assert_uint_eq(make(GEOMETRY_OBJECT_MAX, 0, limit).reserve, limit);
    check_refused(GEOMETRY_OBJECT_MAX, 0, limit + 1, GEOMETRY_BAD_CAPACITY);
    /* The stride counts, not the size. */
    limit = (uint32_t)(GEOMETRY_DATA_MAX / 4096);
    ck_assert_uint_eq(make(2049, 4096, limit).reserve, limit);
    check_refused(2049, 4096, limit + 1, GEOMETRY_BAD_CAPACITY);
}
END_TEST

START_TEST(test_geometry_capacity_limit_is_where_init_begins_to_refuse)
{
    static const uint64_t sizes[] = {1, 16, 17, 1000, 1024, 1025, 65536, 1000000, UINT32_MAX};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t limit = geometry_capacity_limit(sizes[i], 0);
        make(sizes[i], 0, limit);
        check_refused(sizes[i], 0, limit + 1, GEOMETRY_BAD_CAPACITY);
    }
}
END_TEST

START_TEST(test_geometry_reserves_four_times_the_capacity)
{
    ck_assert_uint_eq(geometry_reserve(64, 0, 1000), 4000);
    ck_assert_uint_eq(geometry_reserve(1, 1, GEOMETRY_CAPACITY_MAX / 4), GEOMETRY_CAPACITY_MAX);
    ck_assert_uint_eq(geometry_reserve(1, 1, GEOMETRY_CAPACITY_MAX / 4 + 1), GEOMETRY_CAPACITY_MAX);
    ck_assert_uint_eq(geometry_reserve(GEOMETRY_OBJECT_MAX, 0, 100), 256);
}
END_TEST

START_TEST(test_geometry_parts_never_overlap)
{
    static const uint64_t sizes[] = {1, 24, 4096, 1000000, GEOMETRY_OBJECT_MAX};
    static const uint32_t capacities[] = {1,    2,     63,    64,     65,        4095,
                                          4096, 32768, 32769, 100000, 268435456, 1073741824};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t j = 0; j < sizeof(capacities) / sizeof(capacities[0]); j++) {
            struct geometry geometry;
            if (geometry_init(&geometry, j % 2 ? LAYOUT_LEASED : LAYOUT_BROKERED, sizes[i], 0,
                              capacities[j]) == GEOMETRY_OK)
                check_laws(&geometry);
        }
}
END_TEST

START_TEST(test_geometry_sizes_are_whole_pages_and_grow_with_the_capacity)
{
    struct geometry geometry = make(24, 8, 1000);

    for (uint32_t capacity = 1; capacity < geometry.reserve; capacity++) {
        ck_assert_uint_eq(geometry_ctl_size(&geometry, capacity) % 4096, 0);
        ck_assert_uint_eq(geometry_slots_size(&geometry, capacity) % 4096, 0);
        ck_assert_uint_eq(geometry_data_size(&geometry, capacity) % 4096, 0);
        ck_assert_uint_le(geometry_ctl_size(&geometry, capacity),
                          geometry_ctl_size(&geometry, capacity + 1));
        ck_assert_uint_ge(geometry_data_size(&geometry, capacity), capacity * UINT64_C(24));
    }
    ck_assert_uint_eq(geometry_data_size(&geometry, 1), 4096);
}
END_TEST

/* ---- The entries of the arrays behind the head ----------------------------------------------- */

START_TEST(test_ledger_entry_keeps_its_parts_apart)
{
    uint64_t entry = layout_ledger_entry(LAYOUT_REQUEST_MAX, SLOT_MEMBER_POOL);

    ck_assert_uint_eq(entry, UINT64_MAX & ~LAYOUT_EVICTABLE);
    ck_assert_uint_eq(layout_ledger_member(entry | LAYOUT_EVICTABLE), SLOT_MEMBER_POOL);
    ck_assert_uint_eq(layout_ledger_request(entry | LAYOUT_EVICTABLE), LAYOUT_REQUEST_MAX);
    entry = layout_ledger_entry(0, 1);
    ck_assert_uint_eq(layout_ledger_member(entry), 1);
    ck_assert_uint_eq(layout_ledger_request(entry | LAYOUT_EVICTABLE), 0);
}
END_TEST

START_TEST(test_holder_entry_keeps_its_parts_apart)
{
    ck_assert_uint_eq(layout_holder_entry(0, 0, SLOT_MEMBER_POOL), 0x1fff);
    ck_assert_uint_eq(layout_holder_entry(0, UINT32_MAX, 0), UINT64_C(0xffffffff) << 13);
    ck_assert_uint_eq(layout_holder_entry(SLOT_GENERATION_LAST, 0, 0), UINT64_C(0x7ffff) << 45);
}
END_TEST

SUITE_MAIN("geometry", test_geometry_rounds_the_stride_up_to_the_alignment,
           test_geometry_alignment_is_16_unless_asked,
           test_geometry_takes_every_power_of_two_up_to_a_page,
           test_geometry_refuses_other_alignments,
           test_geometry_refuses_object_sizes_of_zero_and_above_the_limit,
           test_geometry_refuses_capacities_of_zero_and_above_the_limit,
           test_geometry_refuses_more_data_than_address_space,
           test_geometry_capacity_limit_is_where_init_begins_to_refuse,
           test_geometry_reserves_four_times_the_capacity, test_geometry_parts_never_overlap,
           test_geometry_sizes_are_whole_pages_and_grow_with_the_capacity,
           test_ledger_entry_keeps_its_parts_apart, test_holder_entry_keeps_its_parts_apart)
