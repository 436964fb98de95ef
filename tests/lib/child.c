/* SPDX-License-Identifier: MIT */
#include "tests/lib/child.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* ---- In the test ----------------------------------------------------------------------------- */

/* Whoever dies by SIGSEGV or SIGABRT here means to: no core dump, no report of a sanitizer. */
static void die_quietly(void)
{
    static const int signals[] = {SIGSEGV, SIGABRT, SIGTERM};
    struct rlimit none = {0, 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_DFL);
}

void test_child_start(struct test_child *child, child_script_t script, const void *argument)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    child->pid = fork();
    ck_assert_int_ge(child->pid, 0);
    if (child->pid == 0) {
        die_quietly();
        close(ends[0]);
        script(ends[1], argument);
        _exit(0);
    }
    close(ends[1]);
    child->control = ends[0];
}

void test_child_hear(const struct test_child *child, char expected)
{
    struct pollfd poll_fd = {.fd = child->control, .events = POLLIN};
    char byte = 0;
    ck_assert_int_eq(poll(&poll_fd, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(recv(child->control, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, expected);
}

void test_child_tell(const struct test_child *child, char byte)
{
    ck_assert_int_eq(send(child->control, &byte, 1, MSG_NOSIGNAL), 1);
}

int test_child_join(struct test_child *child)
{
    int status;
    ck_assert_int_eq(waitpid(child->pid, &status, 0), child->pid);
    close(child->control);
    return status;
}

void test_child_kill(struct test_child *child, int signal)
{
    ck_assert_int_eq(kill(child->pid, signal), 0);
    int status = test_child_join(child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == signal, "it ended with %#x",
                  (unsigned)status);
}

/* ---- For scripts ----------------------------------------------------------------------------- */

void child_require_line(bool condition, const char *text, const char *file, int line)
{
    if (condition)
        return;
    fprintf(stderr, "%s:%d: child: not so: %s\n", file, line, text);
    _exit(1);
}

void child_say(int control, char byte)
{
    child_require(send(control, &byte, 1, MSG_NOSIGNAL) == 1);
}

char child_listen(int control)
{
    char byte;
    return recv(control, &byte, 1, 0) == 1 ? byte : 0;
}

fastalloc_pool_t *child_open(const char *socket, const char *name,
                             fastalloc_connection_t **connection)
{
    fastalloc_pool_t *pool;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = socket;
    child_require(fastalloc_connect(&options, connection, NULL) == 0);
    child_require(fastalloc_open(*connection, name, NULL, &pool, NULL) == 0);
    return pool;
}
