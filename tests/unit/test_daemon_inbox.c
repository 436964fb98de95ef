/* SPDX-License-Identifier: MIT */
#include "daemon/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static struct inbox inbox;
static int ends[2]; /* the client's, the daemon's */

static void set_up(void)
{
    inbox_init(&inbox);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void tear_down(void)
{
    inbox_deinit(&inbox);
    close(ends[0]);
    close(ends[1]);
}

static void put(const void *bytes, size_t size)
{
    ck_assert_int_eq(send(ends[0], bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void receive_all(void)
{
    while (inbox_receive(&inbox, ends[1]) > 0)
        ;
}

/* A binary of so many bytes, its 5 bytes of header included. */
static void put_binary(size_t size)
{
    static uint8_t bytes[SCAN_MESSAGE_MAX + 1];
    size_t content = size - 5;
    bytes[0] = 0xc6;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(content >> (24 - 8 * i));
    put(bytes, size);
}

START_TEST(test_inbox_has_nothing_at_first)
{
    struct bytes message;
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_MORE);
    ck_assert_int_eq(inbox_receive(&inbox, ends[1]), -EAGAIN);
}
END_TEST

START_TEST(test_inbox_tells_the_end_of_the_stream)
{
    shutdown(ends[0], SHUT_WR);
    ck_assert_int_eq(inbox_receive(&inbox, ends[1]), 0);
}
END_TEST

START_TEST(test_inbox_cuts_what_came_together)
{
    struct bytes message;
    put("\x91\x01\x92\x02\x03", 5);
    receive_all();
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    ck_assert_uint_eq(message.size, 2);
    inbox_take(&inbox);
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    ck_assert_uint_eq(message.size, 3);
    inbox_take(&inbox);
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_MORE);
}
END_TEST

START_TEST(test_inbox_puts_together_what_came_in_pieces)
{
    struct bytes message;
    const uint8_t bytes[] = {0x93, 0xa2, 'a', 'b', 0xcd, 1, 2, 0xc0};
    for (size_t i = 0; i < sizeof(bytes); i++) {
        ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_MORE);
        put(bytes + i, 1);
        ck_assert_int_eq(inbox_receive(&inbox, ends[1]), 1);
    }
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    ck_assert_mem_eq(message.data, bytes, sizeof(bytes));
}
END_TEST

START_TEST(test_inbox_finds_a_message_again_until_it_is_taken)
{
    struct bytes message, again;
    put("\x91\x01\x91\x02", 4);
    receive_all();
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    ck_assert_int_eq(inbox_next(&inbox, &again), SCAN_DONE);
    ck_assert_ptr_eq(message.data, again.data);
    ck_assert_uint_eq(message.size, again.size);
}
END_TEST

START_TEST(test_inbox_grows_to_one_message_and_no_further)
{
    struct bytes message;
    put_binary(SCAN_MESSAGE_MAX);
    receive_all();
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    ck_assert_uint_eq(message.size, SCAN_MESSAGE_MAX);
    ck_assert_uint_le(inbox.room, 2ul * SCAN_MESSAGE_MAX);
}
END_TEST

START_TEST(test_inbox_refuses_one_byte_more)
{
    struct bytes message;
    put_binary(SCAN_MESSAGE_MAX + 1);
    ck_assert_int_gt(inbox_receive(&inbox, ends[1]), 0);
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_TOO_LARGE);
}
END_TEST

START_TEST(test_inbox_is_small_again_after_a_large_message)
{
    struct bytes message;
    put_binary(60000);
    receive_all();
    put("\x91", 1);
    receive_all();
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
    inbox_take(&inbox);
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_MORE);
    ck_assert_int_eq(inbox_receive(&inbox, ends[1]), -EAGAIN);
    ck_assert_uint_eq(inbox.room, INBOX_MIN);
    put("\x07", 1);
    receive_all();
    ck_assert_int_eq(inbox_next(&inbox, &message), SCAN_DONE);
}
END_TEST

SUITE_MAIN_WITH("daemon_inbox", set_up, tear_down, test_inbox_has_nothing_at_first,
                test_inbox_tells_the_end_of_the_stream, test_inbox_cuts_what_came_together,
                test_inbox_puts_together_what_came_in_pieces,
                test_inbox_finds_a_message_again_until_it_is_taken,
                test_inbox_grows_to_one_message_and_no_further, test_inbox_refuses_one_byte_more,
                test_inbox_is_small_again_after_a_large_message)
