/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_channel.c"  // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_delivery.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_lines.c"    // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_queue.c"    // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_source.c"   // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_worker.c"   // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_writer.c"   // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/failure.c"       // NOLINT(bugprone-suspicious-include): part of a program

#include <sys/mman.h>

#include "tests/unit/suite.h"

/*
 * A pool, in place of the library's, that somebody destroys as soon as slots are allocated.
 */
static fastalloc_handle_t given;

int fastalloc_allocate_many(fastalloc_pool_t *pool, size_t count, int64_t timeout,
                            fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    (void)pool;
    (void)timeout;
    (void)error;
    for (size_t i = 0; i < count; i++)
        handles[i] = given;
    return 0;
}

int fastalloc_allocate(fastalloc_pool_t *pool, int64_t timeout, fastalloc_handle_t *handle,
                       fastalloc_error_t *error)
{
    return fastalloc_allocate_many(pool, 1, timeout, handle, error);
}

void *fastalloc_get(const fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    (void)pool;
    (void)handle;
    return NULL;
}

static struct writer *start(void)
{
    struct writer *writer = calloc(1, sizeof(*writer));

    ck_assert_ptr_nonnull(writer);
    for (unsigned i = 0; i < DEMO_READERS; i++)
        writer->deliveries[i].fd = -1;
    return writer;
}

static void check_failed(const struct writer *writer, int result)
{
    ck_assert_int_eq(result, -ESTALE);
    ck_assert_int_eq(writer->error.code, -ESTALE);
    ck_assert_ptr_nonnull(strstr(writer->error.message, "is the pool destroyed?"));
}

START_TEST(test_line_whose_slot_is_gone_is_a_failure)
{
    struct writer *writer = start();
    int file = memfd_create("lines", MFD_CLOEXEC);

    ck_assert_int_eq(write(file, "a\nb\n", 4), 4);
    source_init(&writer->source, file, WORD_ANY);
    check_failed(writer, writer_stage(writer));
    ck_assert_uint_eq(writer->ready.count, 0);
    close(file);
    free(writer);
}
END_TEST

START_TEST(test_totals_whose_slot_is_gone_are_a_failure)
{
    struct writer *writer = start();
    int pair[2];

    ck_assert_int_eq(channel_pair(pair), 0);
    writer->deliveries[0].fd = pair[0];
    close(pair[1]);
    check_failed(writer, writer_receive(writer, 0));
    ck_assert_uint_eq(writer->kept.count, 0);
    free(writer);
}
END_TEST

SUITE_MAIN("demo_writer", test_line_whose_slot_is_gone_is_a_failure,
           test_totals_whose_slot_is_gone_are_a_failure)
