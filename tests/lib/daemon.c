/* SPDX-License-Identifier: MIT */
#include "tests/lib/daemon.h"

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "tests/lib/kind.h"
#include "tests/lib/private_shm.h"

#define ARGUMENTS_MAX 32
#define SECONDS INT64_C(1000000000)

bool test_daemon_is_built(void)
{
    return getenv("FASTALLOCD") != NULL;
}

/* In the child. */
static _Noreturn void run_daemon(const struct test_daemon *daemon, const char *const arguments[])
{
    const char *program = getenv("FASTALLOCD");
    const char *all[ARGUMENTS_MAX + 1] = {program, "--socket", daemon->socket};
    for (size_t i = 3; arguments && arguments[i - 3] && i < ARGUMENTS_MAX; i++)
        all[i] = arguments[i - 3];

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (program)
        execv(program, (char *const *)(const void *)all);
    perror("FASTALLOCD");
    _exit(127);
}

void test_daemon_start(struct test_daemon *daemon, const char *const arguments[])
{
    daemon->alone = test_try_private_shm();
    snprintf(daemon->directory, sizeof(daemon->directory), "/tmp/fastalloc-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(daemon->directory));
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", daemon->directory);
    test_daemon_restart(daemon, arguments);
}

void test_daemon_restart(struct test_daemon *daemon, const char *const arguments[])
{
    daemon->pid = fork();
    ck_assert_int_ge(daemon->pid, 0);
    if (daemon->pid == 0)
        run_daemon(daemon, arguments);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

void test_daemon_stop(struct test_daemon *daemon)
{
    int status;
    ck_assert_int_eq(kill(daemon->pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(daemon->pid, &status, 0), daemon->pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the daemon ended with %#x",
                  (unsigned)status);
    ck_assert(!daemon->alone || test_shm_files() == 0);
    ck_assert_int_eq(nftw(daemon->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

fastalloc_connection_t *test_daemon_connect(const struct test_daemon *daemon)
{
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = daemon->socket;
    options.connect_limit = 10 * SECONDS;
    ck_assert_msg(fastalloc_connect(&options, &connection, &error) == 0, "%s", error.message);
    return connection;
}

static int print_finding(const fastalloc_finding_t *finding, void *context)
{
    (void)context;
    printf("%s: %s\n", finding->violation ? "violation" : "note", finding->text);
    return 0;
}

void test_daemon_check(fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_check_info_t info = FASTALLOC_CHECK_INFO_INIT;
    int result = fastalloc_check(connection, &info, print_finding, NULL, &error);
    ck_assert_msg(result == 0, "%s", error.message);
    ck_assert_uint_eq(info.violations, 0);
}

fastalloc_pool_t *test_daemon_pool(fastalloc_connection_t *connection, const char *name,
                                   uint64_t object_size, uint64_t capacity)
{
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = object_size;
    options.capacity = capacity;
    options.kind = (int32_t)test_kind();
    ck_assert_msg(fastalloc_open(connection, name, &options, &pool, &error) == 0, "%s",
                  error.message);
    return pool;
}
