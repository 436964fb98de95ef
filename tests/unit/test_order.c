/* SPDX-License-Identifier: MIT */
#include "shm/order.h"

#include <pthread.h>
#include <stddef.h>

#include "tests/unit/suite.h"

#define ROUNDS UINT64_C(200000)

START_TEST(test_word_exchange_changes_what_was_expected)
{
    uint64_t word = 5;

    ck_assert(word_exchange(&word, 5, 7));
    ck_assert_uint_eq(word_load(&word), 7);
}
END_TEST

START_TEST(test_word_exchange_leaves_another_word_as_it_is)
{
    uint64_t word = 5;

    ck_assert(!word_exchange(&word, 6, 7));
    ck_assert(!word_exchange(&word, 5 | UINT64_C(1) << 63, 7));
    ck_assert_uint_eq(word_load(&word), 5);
}
END_TEST

START_TEST(test_fields_hold_what_was_stored)
{
    uint64_t field = 0, counter = 0;
    uint32_t field32 = 0;

    field_store(&field, UINT64_MAX);
    field32_store(&field32, UINT32_MAX);
    counter_store(&counter, UINT64_MAX);
    ck_assert_uint_eq(field_load(&field), UINT64_MAX);
    ck_assert_uint_eq(field32_load(&field32), UINT32_MAX);
    ck_assert_uint_eq(counter_load(&counter), UINT64_MAX);
}
END_TEST

START_TEST(test_sequence_is_odd_while_counters_change)
{
    uint64_t sequence = 0;

    for (uint64_t i = 0; i < 3; i++) {
        counters_begin(&sequence);
        ck_assert_uint_eq(sequence, 2 * i + 1);
        counters_end(&sequence);
        ck_assert_uint_eq(sequence, 2 * i + 2);
    }
}
END_TEST

START_TEST(test_counters_unchanged_notices_every_change)
{
    uint64_t sequence = 0;

    ck_assert(counters_unchanged(&sequence, 0));
    counters_begin(&sequence);
    ck_assert(!counters_unchanged(&sequence, 0));
    ck_assert(counters_unchanged(&sequence, 1)); /* who asks knows that 1 is odd */
    counters_end(&sequence);
    ck_assert(!counters_unchanged(&sequence, 0));
    ck_assert(!counters_unchanged(&sequence, 1));
    ck_assert(counters_unchanged(&sequence, 2));
}
END_TEST

START_TEST(test_counters_unchanged_looks_at_all_of_the_sequence)
{
    uint64_t sequence = (UINT64_C(1) << 32) + 2;

    ck_assert(!counters_unchanged(&sequence, 2));
    sequence = UINT64_MAX - 1; /* and comes round */
    counters_begin(&sequence);
    counters_end(&sequence);
    ck_assert(counters_unchanged(&sequence, 0));
}
END_TEST

/* Two threads that take turns at nothing: each exchange adds one, and none is lost. */
static uint64_t shared_word;

static void *add_many(void *unused)
{
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t old;
        do
            old = word_load(&shared_word);
        while (!word_exchange(&shared_word, old, old + 1));
    }
    return unused;
}

START_TEST(test_word_exchange_loses_nothing_between_threads)
{
    pthread_t other;

    ck_assert_int_eq(pthread_create(&other, NULL, add_many, NULL), 0);
    add_many(NULL);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert_uint_eq(shared_word, 2 * ROUNDS);
}
END_TEST

/* Counters that their writer keeps equal, and a reader that must never see them differ. */
static struct {
    uint64_t sequence;
    uint64_t a;
    uint64_t b;
    uint32_t done;
} counters;

static void *write_counters(void *unused)
{
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        counters_begin(&counters.sequence);
        counter_store(&counters.a, i);
        counter_store(&counters.b, i);
        counters_end(&counters.sequence);
    }
    field32_store(&counters.done, 1);
    return unused;
}

/* As docs/shm-layout.md has it. Returns whether the two were read as one. */
static bool read_counters(uint64_t *a, uint64_t *b)
{
    uint64_t before = field_load(&counters.sequence);
    *a = counter_load(&counters.a);
    *b = counter_load(&counters.b);
    return before % 2 == 0 && counters_unchanged(&counters.sequence, before);
}

START_TEST(test_counters_are_seen_together)
{
    pthread_t writer;
    uint64_t a, b, last = 0;

    ck_assert_int_eq(pthread_create(&writer, NULL, write_counters, NULL), 0);
    while (field32_load(&counters.done) == 0)
        if (read_counters(&a, &b)) {
            ck_assert_uint_eq(a, b);
            ck_assert_uint_ge(a, last);
            last = a;
        }
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert(read_counters(&a, &b));
    ck_assert_uint_eq(a, ROUNDS);
    ck_assert_uint_eq(b, ROUNDS);
}
END_TEST

SUITE_MAIN("order", test_word_exchange_changes_what_was_expected,
           test_word_exchange_leaves_another_word_as_it_is, test_fields_hold_what_was_stored,
           test_sequence_is_odd_while_counters_change, test_counters_unchanged_notices_every_change,
           test_counters_unchanged_looks_at_all_of_the_sequence,
           test_word_exchange_loses_nothing_between_threads, test_counters_are_seen_together)
