/* SPDX-License-Identifier: MIT */
#include "daemon/listen.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LISTEN_FD = 3 };

/* What a manager gives to a child. A NULL variable isn't set; "own" is the child's pid. */
struct handover {
    int fd; /* becomes descriptor 3; -1: nothing is open there */
    const char *pid;
    const char *count;
};

static void set_variable(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* In a child, since descriptor 3 may be Check's. Results of all checks come back as a status. */
static void run_child(const struct handover *handover)
{
    const bool open_before = handover->fd >= 0;
    char own[16];
    int result;

    if (open_before && handover->fd != LISTEN_FD)
        dup2(handover->fd, LISTEN_FD);
    else if (!open_before)
        close(LISTEN_FD);
    if (open_before) /* as it is after an exec by the manager */
        fcntl(LISTEN_FD, F_SETFD, 0);
    snprintf(own, sizeof(own), "%d", (int)getpid());
    set_variable("LISTEN_PID",
                 handover->pid && strcmp(handover->pid, "own") == 0 ? own : handover->pid);
    set_variable("LISTEN_FDS", handover->count);
    setenv("LISTEN_FDNAMES", "fastallocd.socket", 1);

    result = listen_inherited();

    if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
        _exit(200);
    if (result == LISTEN_FD && !(fcntl(LISTEN_FD, F_GETFD) & FD_CLOEXEC))
        _exit(201);
    if (result == LISTEN_FD && !(fcntl(LISTEN_FD, F_GETFL) & O_NONBLOCK))
        _exit(202);
    if (result < 0 && open_before && (fcntl(LISTEN_FD, F_GETFD) & FD_CLOEXEC))
        _exit(203);
    _exit(result >= 0 ? result : 10 - result);
}

/* What listen_inherited() returns for it. */
static int inherited(int fd, const char *pid, const char *count)
{
    const struct handover handover = {fd, pid, count};
    const pid_t child = fork();
    int status;

    if (child == 0)
        run_child(&handover);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    status = WEXITSTATUS(status);
    ck_assert_msg(status < 200, "check %d of run_child() failed", status);
    return status < 10 ? status : 10 - status;
}

/* A Unix socket of that type, bound to a name that the kernel chooses. */
static int unix_socket(int type)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        bind(fd, (const struct sockaddr *)&address, (socklen_t)sizeof(address.sun_family)), 0);
    return fd;
}

static int listening_socket(void)
{
    const int fd = unix_socket(SOCK_STREAM);

    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

START_TEST(test_no_variables_mean_no_socket)
{
    ck_assert_int_eq(inherited(-1, NULL, NULL), 0);
    ck_assert_int_eq(inherited(-1, "own", NULL), 0);
    ck_assert_int_eq(inherited(-1, NULL, "1"), 0);
    ck_assert_int_eq(inherited(-1, "own", "0"), 0);
}
END_TEST

START_TEST(test_listening_socket_is_taken)
{
    const int fd = listening_socket();

    ck_assert_int_eq(inherited(fd, "own", "1"), LISTEN_FD);
    close(fd);
}
END_TEST

START_TEST(test_socket_of_another_process_is_left)
{
    const int fd = listening_socket();

    ck_assert_int_eq(inherited(fd, "1", "1"), 0);
    ck_assert_int_eq(inherited(fd, "1", "garbage"), 0);
    close(fd);
}
END_TEST

START_TEST(test_garbage_in_the_variables_is_refused)
{
    static const char *const garbage[] = {
        "",     "x",   " 1",         "1 ",         "+1",  "-1",
        "0x10", "1,2", "2147483648", "4294967297", "1.0", "99999999999999999999",
    };
    const int fd = listening_socket();

    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        ck_assert_int_eq(inherited(fd, garbage[i], "1"), -EINVAL);
        ck_assert_int_eq(inherited(fd, "own", garbage[i]), -EINVAL);
    }
    close(fd);
}
END_TEST

START_TEST(test_several_descriptors_are_refused)
{
    const int fd = listening_socket();

    ck_assert_int_eq(inherited(fd, "own", "2"), -E2BIG);
    ck_assert_int_eq(inherited(fd, "own", "2147483647"), -E2BIG);
    close(fd);
}
END_TEST

START_TEST(test_closed_descriptor_is_refused)
{
    ck_assert_int_eq(inherited(-1, "own", "1"), -EBADF);
}
END_TEST

START_TEST(test_file_is_refused)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(inherited(fd, "own", "1"), -ENOTSOCK);
    close(fd);
}
END_TEST

START_TEST(test_internet_socket_is_refused)
{
    const struct sockaddr_in address = {.sin_family = AF_INET};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return; /* a machine without */
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(inherited(fd, "own", "1"), -EAFNOSUPPORT);
    close(fd);
}
END_TEST

START_TEST(test_other_socket_types_are_refused)
{
    int fd = unix_socket(SOCK_DGRAM);

    ck_assert_int_eq(inherited(fd, "own", "1"), -EPROTOTYPE);
    close(fd);
    fd = unix_socket(SOCK_SEQPACKET);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(inherited(fd, "own", "1"), -EPROTOTYPE);
    close(fd);
}
END_TEST

START_TEST(test_socket_that_does_not_listen_is_refused)
{
    const int fd = unix_socket(SOCK_STREAM);
    int pair[2];

    ck_assert_int_eq(inherited(fd, "own", "1"), -EISCONN);
    close(fd);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(inherited(pair[0], "own", "1"), -EISCONN);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(test_each_error_has_its_own_words)
{
    static const int errors[] = {-EINVAL,       -E2BIG,      -EBADF,  -ENOTSOCK,
                                 -EAFNOSUPPORT, -EPROTOTYPE, -EISCONN};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        ck_assert_str_ne(listen_describe(errors[i]), strerror(-errors[i]));
    ck_assert_str_eq(listen_describe(-EMFILE), strerror(EMFILE));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listen");
    TCase *tcase = tcase_create("listen");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, test_no_variables_mean_no_socket);
    tcase_add_test(tcase, test_listening_socket_is_taken);
    tcase_add_test(tcase, test_socket_of_another_process_is_left);
    tcase_add_test(tcase, test_garbage_in_the_variables_is_refused);
    tcase_add_test(tcase, test_several_descriptors_are_refused);
    tcase_add_test(tcase, test_closed_descriptor_is_refused);
    tcase_add_test(tcase, test_file_is_refused);
    tcase_add_test(tcase, test_internet_socket_is_refused);
    tcase_add_test(tcase, test_other_socket_types_are_refused);
    tcase_add_test(tcase, test_socket_that_does_not_listen_is_refused);
    tcase_add_test(tcase, test_each_error_has_its_own_words);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
