/* SPDX-License-Identifier: MIT */
#include "shm/geometry.h"

#include <stdbool.h>

#define WORD sizeof(uint64_t)
#define PAGE 4096u

static uint64_t round_up(uint64_t value, uint64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static uint32_t smaller(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t actual_alignment(uint32_t alignment)
{
    return alignment ? alignment : GEOMETRY_ALIGNMENT_DEFAULT;
}

uint32_t geometry_capacity_limit(uint64_t object_size, uint32_t alignment)
{
    uint64_t stride = round_up(object_size, actual_alignment(alignment));
    return smaller(GEOMETRY_DATA_MAX / stride, GEOMETRY_CAPACITY_MAX);
}

uint32_t geometry_reserve(uint64_t object_size, uint32_t alignment, uint32_t capacity_max)
{
    return smaller((uint64_t)capacity_max * GEOMETRY_RESERVE_FACTOR,
                   geometry_capacity_limit(object_size, alignment));
}

enum geometry_result geometry_init(struct geometry *geometry, enum layout_kind kind,
                                   uint64_t object_size, uint32_t alignment, uint32_t reserve)
{
    if (object_size == 0 || object_size > GEOMETRY_OBJECT_MAX)
        return GEOMETRY_BAD_SIZE;
    alignment = actual_alignment(alignment);
    if ((alignment & (alignment - 1)) != 0 || alignment > GEOMETRY_ALIGNMENT_MAX)
        return GEOMETRY_BAD_ALIGNMENT;
    if (reserve == 0 || reserve > geometry_capacity_limit(object_size, alignment))
        return GEOMETRY_BAD_CAPACITY;

    size_t hints = round_up(((uint64_t)reserve + 4095) / 4096 * WORD, 64);
    bool leased = kind == LAYOUT_LEASED;
    *geometry = (struct geometry){
        .object_size = object_size,
        .stride = round_up(object_size, alignment),
        .alignment = alignment,
        .reserve = reserve,
        .members_offset = sizeof(struct layout_ctl),
        .ledger_offset = sizeof(struct layout_ctl) + LAYOUT_MEMBERS * WORD,
        .threads_offset = leased ? hints : 0,
        .words_offset = hints + (leased ? LAYOUT_THREADS * sizeof(struct layout_thread) : 0),
    };
    return GEOMETRY_OK;
}

size_t geometry_ctl_size(const struct geometry *geometry, uint32_t capacity)
{
    return round_up(geometry->ledger_offset + capacity * WORD, PAGE);
}

size_t geometry_slots_size(const struct geometry *geometry, uint32_t capacity)
{
    return round_up(geometry->words_offset + capacity * WORD, PAGE);
}

size_t geometry_data_size(const struct geometry *geometry, uint32_t capacity)
{
    return round_up(capacity * geometry->stride, PAGE);
}
