/* SPDX-License-Identifier: MIT */
/*
 * A real daemon of the test's own: the program that FASTALLOCD names, with a socket in a directory
 * of its own. It ends with the test, however that ends. /dev/shm is the test's own too, so that nothing
 * is left there either, and what lies there can be counted; where that isn't allowed (to an ordinary user,
 * without user namespaces) it goes uncounted.
 */
#ifndef TESTS_LIB_DAEMON_H
#define TESTS_LIB_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include <fastalloc/fastalloc.h>

struct test_daemon {
    pid_t pid;
    bool alone; /* in a /dev/shm of the test's own */
    char directory[64];
    char socket[96];
};

/* Whether there is a daemon to start. If not, a program's main() returns 77: skipped. */
bool test_daemon_is_built(void);

/*
 * Starts one; `arguments` (NULL or ending with NULL) follow `--socket PATH`. It doesn't wait: who
 * connects does, by trying.
 */
void test_daemon_start(struct test_daemon *daemon, const char *const arguments[]);

/* Starts one again where another was, which the test has ended by itself. */
void test_daemon_restart(struct test_daemon *daemon, const char *const arguments[]);

/* Ends it by SIGTERM, and fails the test if it doesn't exit with 0, or leaves an object behind. */
void test_daemon_stop(struct test_daemon *daemon);

/* Connects, with ten seconds for the daemon to come up; fails the test if it can't. */
fastalloc_connection_t *test_daemon_connect(const struct test_daemon *daemon);

/* Has the laws checked, and fails the test, printing all that was found, if one is violated. */
void test_daemon_check(fastalloc_connection_t *connection);

/*
 * Opens a pool for writing, making one of these sizes if there is none; fails the test if it can't.
 */
fastalloc_pool_t *test_daemon_pool(fastalloc_connection_t *connection, const char *name,
                                   uint64_t object_size, uint64_t capacity);

#endif
