/* SPDX-License-Identifier: MIT */
#include "shm/slot.h"

#include "shm/handle.h"
#include "tests/unit/suite.h"

#define MEMBER 5u
#define GENERATION UINT64_C(9)

static const enum slot_state states[] = {SLOT_IDLE,          SLOT_CACHED,       SLOT_LIVE,
                                         SLOT_SHARED,        SLOT_RETURNED,     SLOT_RETIRED,
                                         (enum slot_state)6, (enum slot_state)7};

START_TEST(test_slot_word_holds_its_three_parts)
{
    uint64_t word = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_POOL, SLOT_SHARED);

    ck_assert_uint_eq(slot_generation(word), SLOT_GENERATION_LAST);
    ck_assert_uint_eq(slot_member(word), SLOT_MEMBER_POOL);
    ck_assert_int_eq(slot_state(word), SLOT_SHARED);
    ck_assert_uint_eq(slot_word(0, 0, SLOT_IDLE), 0);
}
END_TEST

START_TEST(test_slot_word_parts_stand_in_their_bits)
{
    ck_assert_uint_eq(slot_word(1, 0, SLOT_IDLE), UINT64_C(1) << 16);
    ck_assert_uint_eq(slot_word(0, 1, SLOT_IDLE), UINT64_C(1) << 3);
    ck_assert_uint_eq(slot_word(0, SLOT_MEMBER_POOL, SLOT_IDLE), UINT64_C(0xfff8));
    ck_assert_uint_eq(slot_word(0, 0, SLOT_LIVE), 2);
}
END_TEST

START_TEST(test_slot_is_allocated_when_live_or_shared)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        bool expected = states[i] == SLOT_LIVE || states[i] == SLOT_SHARED;
        ck_assert_int_eq(slot_is_allocated(slot_word(GENERATION, MEMBER, states[i])), expected);
    }
}
END_TEST

START_TEST(test_slot_make_live_takes_an_idle_slot)
{
    uint64_t word = slot_word(GENERATION, SLOT_MEMBER_NONE, SLOT_IDLE);

    ck_assert(slot_make_live(&word, MEMBER));
    ck_assert_uint_eq(word, slot_word(GENERATION, MEMBER, SLOT_LIVE));
}
END_TEST

START_TEST(test_slot_make_live_refuses_every_other_state)
{
    for (size_t i = 1; i < sizeof(states) / sizeof(states[0]); i++) {
        const uint64_t before = slot_word(GENERATION, MEMBER, states[i]);
        uint64_t word = before;
        ck_assert_msg(!slot_make_live(&word, 6), "state %d", (int)states[i]);
        ck_assert_uint_eq(word, before);
    }
}
END_TEST

START_TEST(test_slot_make_idle_begins_the_next_generation)
{
    static const enum slot_state allocated[] = {SLOT_LIVE, SLOT_SHARED};

    for (int i = 0; i < 2; i++) {
        uint64_t word = slot_word(GENERATION, MEMBER, allocated[i]);
        ck_assert(slot_make_idle(&word, GENERATION));
        ck_assert_uint_eq(word, slot_word(GENERATION + 1, SLOT_MEMBER_NONE, SLOT_IDLE));
    }
}
END_TEST

START_TEST(test_slot_make_idle_refuses_every_other_state)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const uint64_t before = slot_word(GENERATION, MEMBER, states[i]);
        uint64_t word = before;
        if (slot_is_allocated(before))
            continue;
        ck_assert_msg(!slot_make_idle(&word, GENERATION), "state %d", (int)states[i]);
        ck_assert_uint_eq(word, before);
    }
}
END_TEST

START_TEST(test_slot_make_idle_refuses_another_generation)
{
    const uint64_t before = slot_word(GENERATION, MEMBER, SLOT_LIVE);
    uint64_t word = before;

    ck_assert(!slot_make_idle(&word, GENERATION - 1));
    ck_assert(!slot_make_idle(&word, GENERATION + 1));
    ck_assert(!slot_make_idle(&word, GENERATION + (UINT64_C(1) << 48)));
    ck_assert_uint_eq(word, before);
}
END_TEST

START_TEST(test_slot_change_hands_keeps_the_generation)
{
    static const enum slot_state allocated[] = {SLOT_LIVE, SLOT_SHARED};

    for (int from = 0; from < 2; from++)
        for (int to = 0; to < 2; to++) {
            uint64_t word = slot_word(SLOT_GENERATION_LAST, MEMBER, allocated[from]);
            ck_assert(
                slot_change_hands(&word, SLOT_GENERATION_LAST, SLOT_MEMBER_POOL, allocated[to]));
            ck_assert_uint_eq(word,
                              slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_POOL, allocated[to]));
        }
}
END_TEST

START_TEST(test_slot_change_hands_refuses_every_other_state)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const uint64_t before = slot_word(GENERATION, MEMBER, states[i]);
        uint64_t word = before;
        if (slot_is_allocated(before))
            continue;
        ck_assert_msg(!slot_change_hands(&word, GENERATION, 6, SLOT_LIVE), "state %d",
                      (int)states[i]);
        ck_assert_msg(!slot_change_hands(&word, GENERATION, 6, SLOT_SHARED), "state %d",
                      (int)states[i]);
        ck_assert_uint_eq(word, before);
    }
}
END_TEST

START_TEST(test_slot_change_hands_refuses_another_generation)
{
    const uint64_t before = slot_word(GENERATION, MEMBER, SLOT_LIVE);
    uint64_t word = before;
    ck_assert(!slot_change_hands(&word, GENERATION - 1, 6, SLOT_LIVE));
    ck_assert(!slot_change_hands(&word, GENERATION + 1, 6, SLOT_SHARED));
    ck_assert_uint_eq(word, before);
}
END_TEST

START_TEST(test_slot_that_changed_hands_is_freed_by_its_generation)
{
    uint64_t word = slot_word(GENERATION, SLOT_MEMBER_NONE, SLOT_IDLE);

    ck_assert(slot_make_live(&word, MEMBER));
    ck_assert(slot_change_hands(&word, GENERATION, SLOT_MEMBER_POOL, SLOT_SHARED));
    ck_assert(slot_change_hands(&word, GENERATION, 6, SLOT_LIVE));
    ck_assert(slot_change_hands(&word, GENERATION, 6, SLOT_LIVE)); /* to himself */
    ck_assert(slot_make_idle(&word, GENERATION));
    ck_assert(!slot_change_hands(&word, GENERATION, MEMBER, SLOT_LIVE));
    ck_assert_uint_eq(word, slot_word(GENERATION + 1, SLOT_MEMBER_NONE, SLOT_IDLE));
}
END_TEST

START_TEST(test_slot_freed_twice_is_refused)
{
    uint64_t word = slot_word(GENERATION, SLOT_MEMBER_NONE, SLOT_IDLE);

    ck_assert(slot_make_live(&word, MEMBER));
    ck_assert(slot_make_idle(&word, GENERATION));
    ck_assert(!slot_make_idle(&word, GENERATION));
    ck_assert(slot_make_live(&word, MEMBER));
    ck_assert(!slot_make_idle(&word, GENERATION));
    ck_assert(slot_make_idle(&word, GENERATION + 1));
}
END_TEST

START_TEST(test_slot_with_one_generation_left_goes_idle)
{
    uint64_t word = slot_word(SLOT_GENERATION_LAST - 1, MEMBER, SLOT_LIVE);

    ck_assert(slot_make_idle(&word, SLOT_GENERATION_LAST - 1));
    ck_assert_uint_eq(word, slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE));
}
END_TEST

START_TEST(test_slot_whose_generations_are_used_up_is_retired)
{
    uint64_t word = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);

    ck_assert(slot_make_live(&word, MEMBER));
    ck_assert(slot_make_idle(&word, SLOT_GENERATION_LAST));
    ck_assert_uint_eq(word, slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_RETIRED));
    ck_assert(!slot_make_live(&word, MEMBER));
    ck_assert(!slot_make_idle(&word, SLOT_GENERATION_LAST));
}
END_TEST

/* ---- The view follows what the words say ----------------------------------------------------- */

#define POOL 3u
#define NONCE 0xbeefu
#define CAPACITY 4u

static uint64_t words[CAPACITY + 1];
static uint32_t capacity = CAPACITY;
static unsigned char data[CAPACITY * 32];

static const fastalloc_view_t view = {
    .identity = ~((uint64_t)POOL << 16 | NONCE),
    .capacity = &capacity,
    .words = words,
    .data = data,
    .stride = 32,
};

START_TEST(test_view_gives_the_object_of_a_live_and_of_a_shared_slot)
{
    fastalloc_handle_t handle = handle_make(POOL, 2, NONCE, GENERATION);

    words[2] = slot_word(GENERATION, MEMBER, SLOT_LIVE);
    ck_assert_ptr_eq(fastalloc_view_get(&view, handle), data + 64);
    words[2] = slot_word(GENERATION, SLOT_MEMBER_POOL, SLOT_SHARED);
    ck_assert_ptr_eq(fastalloc_view_get(&view, handle), data + 64);
    ck_assert(fastalloc_view_still_valid(&view, handle));
}
END_TEST

START_TEST(test_view_refuses_slots_that_are_not_allocated)
{
    fastalloc_handle_t handle = handle_make(POOL, 2, NONCE, GENERATION);

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        words[2] = slot_word(GENERATION, MEMBER, states[i]);
        ck_assert_int_eq(fastalloc_view_get(&view, handle) != NULL, slot_is_allocated(words[2]));
    }
}
END_TEST

START_TEST(test_view_refuses_another_generation_pool_and_nonce)
{
    words[2] = slot_word(GENERATION, MEMBER, SLOT_LIVE);
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL, 2, NONCE, GENERATION - 1)));
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL, 2, NONCE, GENERATION + 1)));
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL + 1, 2, NONCE, GENERATION)));
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL, 2, NONCE + 1, GENERATION)));
    ck_assert_ptr_null(fastalloc_view_get(&view, FASTALLOC_HANDLE_NONE));
}
END_TEST

START_TEST(test_view_ends_at_the_capacity)
{
    words[CAPACITY - 1] = words[CAPACITY] = slot_word(GENERATION, MEMBER, SLOT_LIVE);
    ck_assert_ptr_nonnull(
        fastalloc_view_get(&view, handle_make(POOL, CAPACITY - 1, NONCE, GENERATION)));
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL, CAPACITY, NONCE, GENERATION)));
    ck_assert_ptr_null(fastalloc_view_get(&view, handle_make(POOL, UINT32_MAX, NONCE, GENERATION)));
}
END_TEST

START_TEST(test_view_of_zeros_refuses_every_handle)
{
    const fastalloc_view_t zeros = {.identity = 0};

    ck_assert_ptr_null(fastalloc_view_get(&zeros, FASTALLOC_HANDLE_NONE));
    ck_assert_ptr_null(fastalloc_view_get(&zeros, handle_make(POOL, 2, NONCE, GENERATION)));
    ck_assert_ptr_null(fastalloc_view_get(&zeros, handle_make(UINT32_MAX, 0, UINT16_MAX, 1)));
}
END_TEST

SUITE_MAIN("slot", test_slot_word_holds_its_three_parts, test_slot_word_parts_stand_in_their_bits,
           test_slot_is_allocated_when_live_or_shared, test_slot_make_live_takes_an_idle_slot,
           test_slot_make_live_refuses_every_other_state,
           test_slot_make_idle_begins_the_next_generation,
           test_slot_make_idle_refuses_every_other_state,
           test_slot_make_idle_refuses_another_generation,
           test_slot_change_hands_keeps_the_generation,
           test_slot_change_hands_refuses_every_other_state,
           test_slot_change_hands_refuses_another_generation,
           test_slot_that_changed_hands_is_freed_by_its_generation,
           test_slot_freed_twice_is_refused, test_slot_with_one_generation_left_goes_idle,
           test_slot_whose_generations_are_used_up_is_retired,
           test_view_gives_the_object_of_a_live_and_of_a_shared_slot,
           test_view_refuses_slots_that_are_not_allocated,
           test_view_refuses_another_generation_pool_and_nonce, test_view_ends_at_the_capacity,
           test_view_of_zeros_refuses_every_handle)
