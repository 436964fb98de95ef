/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];
static char path[256];
static char message[1024];
static int manager = -1;

static void setup(void)
{
    snprintf(directory, sizeof(directory), "/tmp/test_notify.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/notify", directory);
    unsetenv("NOTIFY_SOCKET");
}

static void teardown(void)
{
    if (manager >= 0)
        close(manager);
    manager = -1;
    unlink(path);
    rmdir(directory);
}

static void bind_manager(const struct sockaddr_un *address, size_t size)
{
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(manager, 0);
    ck_assert_int_eq(bind(manager, (const struct sockaddr *)address, (socklen_t)size), 0);
}

/* Binds the manager's socket at `path`, and names it in the environment. */
static void start_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    /* May fill the field up to its last byte: the kernel takes the length from the size. */
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    bind_manager(&address, sizeof(address));
    setenv("NOTIFY_SOCKET", path, 1);
}

/* What the manager got; "" if nothing. */
static const char *received(void)
{
    const ssize_t length = recv(manager, message, sizeof(message) - 1, 0);

    message[length > 0 ? length : 0] = '\0';
    return message;
}

START_TEST(test_nothing_is_sent_without_the_variable)
{
    ck_assert_int_eq(notify_ready(), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    ck_assert_int_eq(notify_ready(), 0);
}
END_TEST

START_TEST(test_helpers_send_their_assignment)
{
    start_manager();
    ck_assert_int_eq(notify_ready(), 1);
    ck_assert_str_eq(received(), "READY=1");
    ck_assert_int_eq(notify_stopping(), 1);
    ck_assert_str_eq(received(), "STOPPING=1");
    ck_assert_int_eq(notify_status("%d pools", 3), 1);
    ck_assert_str_eq(received(), "STATUS=3 pools");
    ck_assert_str_eq(received(), "");
}
END_TEST

START_TEST(test_several_assignments_are_one_datagram)
{
    start_manager();
    ck_assert_int_eq(notify_send("READY=1\nSTATUS=up"), 1);
    ck_assert_str_eq(received(), "READY=1\nSTATUS=up");
}
END_TEST

START_TEST(test_status_is_one_assignment)
{
    start_manager();
    ck_assert_int_eq(notify_status("%s", "a\nSTOPPING=1\x7f"), 1);
    ck_assert_str_eq(received(), "STATUS=a STOPPING=1 ");
}
END_TEST

START_TEST(test_long_status_is_cut)
{
    start_manager();
    ck_assert_int_eq(notify_status("%01000d", 0), 1);
    ck_assert_uint_eq(strlen(received()), NOTIFY_STATUS_SIZE - 1);
}
END_TEST

START_TEST(test_abstract_names_work)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                                "fastalloc-test-notify-%d", (int)getpid());
    char name[128];

    snprintf(name, sizeof(name), "@%s", address.sun_path + 1);
    bind_manager(&address, offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    setenv("NOTIFY_SOCKET", name, 1);
    ck_assert_int_eq(notify_ready(), 1);
    ck_assert_str_eq(received(), "READY=1");
}
END_TEST

/* Makes `path` exactly so many bytes long, by slashes: it stays the same file. */
static void stretch_path(size_t length)
{
    const size_t end = strlen(directory);

    memset(path + end, '/', length - end);
    memcpy(path + length - strlen("notify"), "notify", strlen("notify") + 1);
}

START_TEST(test_longest_path_works)
{
    stretch_path(sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    start_manager();
    ck_assert_int_eq(notify_ready(), 1);
    ck_assert_str_eq(received(), "READY=1");
}
END_TEST

START_TEST(test_longer_path_is_refused)
{
    stretch_path(sizeof(((struct sockaddr_un *)NULL)->sun_path));
    setenv("NOTIFY_SOCKET", path, 1);
    ck_assert_int_eq(notify_ready(), -ENAMETOOLONG);
}
END_TEST

START_TEST(test_longer_abstract_name_is_refused)
{
    char name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 2];

    memset(name, 'x', sizeof(name) - 1);
    name[0] = '@';
    name[sizeof(name) - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    ck_assert_int_eq(notify_ready(), -ENAMETOOLONG);
    /* One byte less fills the address: nobody listens there, but it is one. */
    name[sizeof(name) - 2] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    ck_assert_int_eq(notify_ready(), -ECONNREFUSED);
}
END_TEST

START_TEST(test_other_addresses_are_refused)
{
    static const char *const names[] = {"relative", "./relative", "vsock:2:1234", "@", "/", " /x"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        ck_assert_int_eq(notify_ready(), -EAFNOSUPPORT);
    }
}
END_TEST

START_TEST(test_missing_manager_is_an_error)
{
    setenv("NOTIFY_SOCKET", path, 1);
    ck_assert_int_eq(notify_ready(), -ENOENT);
    start_manager();
    close(manager);
    manager = -1;
    ck_assert_int_eq(notify_ready(), -ECONNREFUSED);
}
END_TEST

START_TEST(test_status_never_waits)
{
    int sent = 0;

    start_manager();
    while (notify_status("%d", sent) == 1)
        ck_assert_int_lt(++sent, 100000);
    ck_assert_int_gt(sent, 0);
    ck_assert_int_eq(notify_status("full"), -EAGAIN);
}
END_TEST

START_TEST(test_ready_waits_for_a_busy_manager)
{
    pid_t child;
    int status;

    start_manager();
    while (notify_status("filling") == 1)
        ;
    child = fork();
    if (child == 0)
        _exit(notify_ready() == 1 ? 0 : 1);
    ck_assert_int_gt(child, 0);
    /* Reading makes room. Check's own timeout ends a wait in vain. */
    fcntl(manager, F_SETFL, 0);
    do {
        received();
    } while (strcmp(message, "READY=1") != 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("notify");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_nothing_is_sent_without_the_variable);
    tcase_add_test(tcase, test_helpers_send_their_assignment);
    tcase_add_test(tcase, test_several_assignments_are_one_datagram);
    tcase_add_test(tcase, test_status_is_one_assignment);
    tcase_add_test(tcase, test_long_status_is_cut);
    tcase_add_test(tcase, test_abstract_names_work);
    tcase_add_test(tcase, test_longest_path_works);
    tcase_add_test(tcase, test_longer_path_is_refused);
    tcase_add_test(tcase, test_longer_abstract_name_is_refused);
    tcase_add_test(tcase, test_other_addresses_are_refused);
    tcase_add_test(tcase, test_missing_manager_is_an_error);
    tcase_add_test(tcase, test_status_never_waits);
    tcase_add_test(tcase, test_ready_waits_for_a_busy_manager);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
