/* SPDX-License-Identifier: MIT */
#include "daemon/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/socket.h"
#include "tests/unit/suite.h"

static struct outbox outbox;
static int ends[2]; /* the daemon's, the client's */

static void set_up(void)
{
    outbox_init(&outbox);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

static void tear_down(void)
{
    outbox_deinit(&outbox);
    close(ends[0]);
    close(ends[1]);
}

static void put(size_t size, char byte)
{
    static char bytes[65536];
    memset(bytes, byte, sizeof(bytes));
    for (size_t part; size > 0; size -= part) {
        part = size < sizeof(bytes) ? size : sizeof(bytes);
        ck_assert_int_eq(msgpack_sbuffer_write(&outbox.bytes, bytes, part), 0);
    }
}

static void flush(void)
{
    ck_assert_int_eq(outbox_flush(&outbox, ends[0]), 0);
}

/* One receive of at most `room` bytes; how many descriptors came with it. The bytes are all `byte`. */
static unsigned get(size_t room, ssize_t *size, char *byte)
{
    static char bytes[1 << 20];
    char control[CMSG_SPACE(3 * sizeof(int))];
    struct iovec vector = {bytes, room};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    *size = recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC);
    *byte = *size > 0 ? bytes[0] : '\0';
    struct cmsghdr *header = *size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    unsigned count = header ? (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    for (unsigned i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        close(fd);
    }
    return count;
}

static void attach(unsigned count)
{
    int fds[DISPATCH_DESCRIPTORS];
    for (unsigned i = 0; i < count; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    outbox_attach(&outbox, fds, count);
}

START_TEST(test_outbox_sends_what_was_put)
{
    ssize_t size;
    char byte;
    put(100, 'a');
    ck_assert_uint_eq(outbox_pending(&outbox), 100);
    flush();
    ck_assert_uint_eq(outbox_pending(&outbox), 0);
    ck_assert_uint_eq(get(1000, &size, &byte), 0);
    ck_assert_int_eq(size, 100);
}
END_TEST

START_TEST(test_outbox_keeps_what_the_socket_doesnt_take)
{
    ssize_t size;
    char byte;
    size_t all = 4 << 20, got = 0;
    put(all, 'a');
    flush();
    ck_assert_uint_gt(outbox_pending(&outbox), 0);
    while (got < all) {
        get(1 << 20, &size, &byte);
        ck_assert_int_gt(size, 0);
        got += (size_t)size;
        flush();
    }
    ck_assert_uint_eq(got, all);
    ck_assert_uint_eq(outbox_pending(&outbox), 0);
}
END_TEST

START_TEST(test_outbox_forgets_its_memory_when_it_is_empty)
{
    ssize_t size;
    char byte;
    put(1 << 20, 'a');
    do {
        flush();
        get(1 << 20, &size, &byte);
    } while (size > 0);
    ck_assert_uint_eq(outbox.bytes.alloc, 0);
}
END_TEST

START_TEST(test_outbox_doesnt_grow_for_who_reads_a_little)
{
    ssize_t size;
    char byte;
    put(1 << 20, 'a');
    for (int i = 0; i < 2000; i++) {
        flush();
        get(4096, &size, &byte);
        put((size_t)(size > 0 ? size : 0), 'a');
    }
    ck_assert_uint_le(outbox.bytes.alloc, 4 << 20);
}
END_TEST

START_TEST(test_outbox_sends_descriptors_with_their_reply)
{
    ssize_t size;
    char byte;
    put(10, 'a');
    attach(3);
    put(10, 'b');
    flush();
    ck_assert_uint_eq(outbox.descriptor_count, 0);
    ck_assert_uint_eq(get(10, &size, &byte), 0);
    ck_assert_int_eq(byte, 'a');
    ck_assert_uint_eq(get(10, &size, &byte), 3);
    ck_assert_int_eq(byte, 'b');
}
END_TEST

START_TEST(test_outbox_keeps_descriptors_for_a_full_socket)
{
    ssize_t size;
    char byte = 'a';
    unsigned came = 0;
    put(1 << 20, 'a');
    flush();
    attach(2);
    put(10, 'b');
    put(10, 'c');
    flush();
    ck_assert_uint_eq(outbox.descriptor_count, 2);
    for (size = 1; size > 0; flush())
        came += get(1 << 16, &size, &byte);
    ck_assert_uint_eq(outbox.descriptor_count, 0);
    ck_assert_uint_eq(came, 2);
    ck_assert_uint_eq(outbox_pending(&outbox), 0);
}
END_TEST

/* However much is sent at once: so a client that reads slowly is seen to read. */
START_TEST(test_outbox_shows_what_is_read_piece_by_piece)
{
    ssize_t size;
    char byte;
    put(10, 'a');
    attach(2);
    put(20000, 'b');
    flush();
    ck_assert_uint_eq(outbox_pending(&outbox), 0);
    ck_assert_uint_eq(get(10, &size, &byte), 0);
    for (int left = 20000, came = 2; left > 0; left -= (int)size, came = 0) {
        int unread = socket_unread(ends[0]);
        ck_assert_int_gt(unread, 0);
        ck_assert_int_eq(get(8192, &size, &byte), came);
        ck_assert_int_lt(socket_unread(ends[0]), unread);
    }
    ck_assert_int_eq(socket_unread(ends[0]), 0);
}
END_TEST

START_TEST(test_outbox_closes_descriptors_that_were_not_sent)
{
    attach(3);
    outbox_deinit(&outbox); /* the fixture counts them */
}
END_TEST

START_TEST(test_outbox_says_that_the_client_went)
{
    put(10, 'a');
    shutdown(ends[1], SHUT_RDWR);
    ck_assert_int_eq(outbox_flush(&outbox, ends[0]), -EPIPE);
}
END_TEST

SUITE_MAIN_WITH(
    "outbox", set_up, tear_down, test_outbox_sends_what_was_put,
    test_outbox_keeps_what_the_socket_doesnt_take, test_outbox_forgets_its_memory_when_it_is_empty,
    test_outbox_doesnt_grow_for_who_reads_a_little, test_outbox_sends_descriptors_with_their_reply,
    test_outbox_keeps_descriptors_for_a_full_socket, test_outbox_shows_what_is_read_piece_by_piece,
    test_outbox_closes_descriptors_that_were_not_sent, test_outbox_says_that_the_client_went)
