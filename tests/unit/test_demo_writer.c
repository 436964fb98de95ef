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
 * A pool, in place of the library's. Slots up to `alive` are there, the others are stale. If
 * `late` isn't 0, the slot before that one goes stale as soon as somebody wants to free it, as when
 * the daemon finds a reader gone just then.
 */
static struct line slots[16];
static uint32_t alive;
static uint32_t late;
static uint32_t allocated;
static uint32_t freed;

int fastalloc_allocate_many(fastalloc_pool_t *pool, size_t count, int64_t timeout,
                            fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    (void)pool;
    (void)timeout;
    (void)error;
    for (size_t i = 0; i < count; i++)
        handles[i] = (fastalloc_handle_t){.index = allocated++, .tag = 1};
    return 0;
}

int fastalloc_allocate(fastalloc_pool_t *pool, int64_t timeout, fastalloc_handle_t *handle,
                       fastalloc_error_t *error)
{
    return fastalloc_allocate_many(pool, 1, timeout, handle, error);
}

int fastalloc_free_many(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                        fastalloc_error_t *error)
{
    (void)pool;
    for (size_t i = 0; i < count; i++) {
        if (handles[i].index + 1 != late)
            continue;
        error->code = FASTALLOC_ERR_STALE_HANDLE;
        error->position = i;
        return error->code;
    }
    freed += (uint32_t)count;
    return 0;
}

void *fastalloc_get(const fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    (void)pool;
    return handle.index < alive ? &slots[handle.index] : NULL;
}

static struct writer *start(void)
{
    struct writer *writer = calloc(1, sizeof(*writer));

    ck_assert_ptr_nonnull(writer);
    for (unsigned i = 0; i < DEMO_READERS; i++)
        writer->deliveries[i].fd = -1;
    alive = 0;
    late = 0;
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
    ck_assert_uint_eq(writer->kept_count, 0);
    free(writer);
}
END_TEST

/* A reader is lost that had acknowledged nothing: of three lines, one slot is stale already. */
START_TEST(test_lines_of_a_lost_reader_are_put_into_slots_once_more)
{
    struct writer *writer = start();
    int file = memfd_create("lines", MFD_CLOEXEC);
    int pair[2];

    alive = 2;
    late = 2;
    allocated = 0;
    ck_assert_int_eq(write(file, "a\nbb\nccc\n", 9), 9);
    source_init(&writer->source, file, WORD_ANY);
    ck_assert_int_eq(channel_pair(pair), 0);
    writer->deliveries[0].fd = pair[0];
    close(pair[1]);
    for (uint32_t i = 0; i < 3; i++)
        queue_push(&writer->deliveries[0].sent,
                   &(struct parcel){.handle = {.index = i, .tag = 1},
                                    .offset = (uint64_t[]){0, 2, 5}[i],
                                    .length = i + 2},
                   1);
    freed = 0;
    writer->job = &(struct worker_job){.control = -1};
    ck_assert_int_eq(writer_receive(writer, 0), 0);
    ck_assert_uint_eq(freed, 1);
    ck_assert_uint_eq(writer->again.count, 3);
    ck_assert_uint_eq(writer->kept_count, 1);

    alive = 16;
    ck_assert_int_eq(writer_stage(writer), 0);
    ck_assert_uint_eq(writer->ready.count, 3);
    ck_assert_uint_eq(writer->again.count, 0);
    ck_assert_uint_eq(slots[3].length, 4);
    ck_assert_mem_eq(slots[3].text, "ccc\n", 4);
    close(file);
    free(writer);
}
END_TEST

START_TEST(test_line_that_is_no_longer_in_the_file_is_a_failure)
{
    struct writer *writer = start();
    int file = memfd_create("lines", MFD_CLOEXEC);

    alive = 16;
    allocated = 0;
    source_init(&writer->source, file, WORD_ANY);
    queue_push(&writer->again, &(struct parcel){.offset = 0, .length = 4}, 1);
    ck_assert_int_eq(writer_stage(writer), -EIO);
    ck_assert_int_eq(writer->error.code, -EIO);
    ck_assert_str_ne(writer->error.message, "");
    close(file);
    free(writer);
}
END_TEST

SUITE_MAIN("demo_writer", test_line_whose_slot_is_gone_is_a_failure,
           test_totals_whose_slot_is_gone_are_a_failure,
           test_lines_of_a_lost_reader_are_put_into_slots_once_more,
           test_line_that_is_no_longer_in_the_file_is_a_failure)
