/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* setgroups() */
#include "daemon/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static gid_t own[NGROUPS_MAX];
static int ends[2];

static void connect_ends(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_ends(void)
{
    close(ends[0]);
    close(ends[1]);
}

/* The peer of a pair is the process itself. */
static void check_groups(const gid_t *expected, int count)
{
    gid_t *groups = own;
    ck_assert_int_eq(socket_groups(ends[0], &groups), count);
    ck_assert((groups != NULL) == (count > 0));
    for (int i = 0; i < count; i++)
        ck_assert_uint_eq(groups[i], expected[i]);
    free(groups);
}

/* Only root can choose its groups; with those that there are by chance the test is a weaker one. */
static int choose_groups(int count)
{
    for (int i = 0; i < count; i++)
        own[i] = 5000 + (gid_t)i;
    if (geteuid() == 0)
        ck_assert_int_eq(setgroups((size_t)count, own), 0);
    int chosen = getgroups(NGROUPS_MAX, own);
    ck_assert_int_ge(chosen, 0);
    return chosen;
}

START_TEST(test_socket_peer_is_who_connected)
{
    struct peer peer;
    connect_ends();
    ck_assert_int_eq(socket_peer(ends[0], &peer), 0);
    ck_assert_int_eq(peer.pid, getpid());
    ck_assert_uint_eq(peer.uid, geteuid());
    ck_assert_uint_eq(peer.gid, getegid());
    close_ends();
}
END_TEST

START_TEST(test_socket_groups_are_those_of_who_connected)
{
    static const int counts[] = {0, 1, 2, 33, NGROUPS_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        int count = choose_groups(counts[i]);
        connect_ends();
        check_groups(own, count);
        close_ends();
    }
}
END_TEST

START_TEST(test_socket_groups_stay_what_they_were_then)
{
    static gid_t before[NGROUPS_MAX];
    int count = choose_groups(3);
    memcpy(before, own, sizeof(before));
    connect_ends();
    choose_groups(1);
    check_groups(before, count);
    close_ends();
}
END_TEST

START_TEST(test_socket_groups_fail_without_a_socket)
{
    gid_t *groups = own;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(socket_groups(fd, &groups), -ENOTSOCK);
    ck_assert_ptr_eq(groups, own);
    close(fd);
}
END_TEST

SUITE_MAIN("socket", test_socket_peer_is_who_connected,
           test_socket_groups_are_those_of_who_connected,
           test_socket_groups_stay_what_they_were_then, test_socket_groups_fail_without_a_socket)
