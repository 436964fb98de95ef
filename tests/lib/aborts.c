/* SPDX-License-Identifier: MIT */
#include "tests/lib/aborts.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What assert() prints is expected here, and so is no core file. */
static void be_quiet(void)
{
    static const struct rlimit none = {0, 0};
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(fd, STDERR_FILENO);
    setrlimit(RLIMIT_CORE, &none);
}

bool test_aborts(void (*checker)(const void *object), const void *object)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        be_quiet();
        checker(object);
        _exit(0);
    }
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) || WTERMSIG(status) == SIGABRT, "ended with %#x", status);
    return WIFSIGNALED(status);
}
