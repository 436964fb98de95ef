/* SPDX-License-Identifier: MIT */
/*
 * A process that a test starts, talks with by single bytes, and kills. It runs a script and then
 * waits to be told to end; it ends with the test in any case.
 *
 * The script runs in the child, where libcheck's assertions can't be used: child_require() instead.
 */
#ifndef TESTS_LIB_CHILD_H
#define TESTS_LIB_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include <fastalloc/fastalloc.h>

struct test_child {
    pid_t pid;
    int control; /* a socket to the child */
};

/* `control` is the child's end. When the script returns, the child exits with 0. */
typedef void (*child_script_t)(int control, const void *argument);

void test_child_start(struct test_child *child, child_script_t script, const void *argument);

/* Waits for this byte of the child; fails the test if another comes, or none in ten seconds. */
void test_child_hear(const struct test_child *child, char expected);

void test_child_tell(const struct test_child *child, char byte);

/* Waits for its end; the status is as of waitpid(). */
int test_child_join(struct test_child *child);

/* Kills it and waits for its end, which must come by that signal. */
void test_child_kill(struct test_child *child, int signal);

/* ---- For scripts ----------------------------------------------------------------------------- */

#define child_require(condition) child_require_line(condition, #condition, __FILE__, __LINE__)
void child_require_line(bool condition, const char *text, const char *file, int line);

void child_say(int control, char byte);

/* The next byte that the test tells, or 0 when the test is gone. */
char child_listen(int control);

/* A connection to the socket, and the pool of that name, open for writing. */
fastalloc_pool_t *child_open(const char *socket, const char *name,
                             fastalloc_connection_t **connection);

#endif
