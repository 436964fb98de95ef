/* SPDX-License-Identifier: MIT */
/*
 * A program that a test runs, most often the daemon: what it says on stdout and stderr, and how it ends. It
 * ends with the test in any case.
 */
#ifndef TESTS_LIB_PROGRAM_H
#define TESTS_LIB_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct program {
    pid_t pid;
    int output;
    bool ended; /* it has closed its output */
    size_t size;
    char text[16384]; /* what it said so far */
};

/* Starts it; the list of arguments, its name first, ends with NULL. */
void program_start(struct program *program, const char *const arguments[]);

/* Reads until it has said this, or ended, or so many ms have passed. Returns whether it has said it. */
bool program_says(struct program *program, const char *what, int ms);

/* Waits for its end, ten seconds at most. Its exit status; negative: the signal that ended it. */
int program_wait(struct program *program);

/* Starts it and waits for its end. */
int program_run(struct program *program, const char *const arguments[]);

/* Sends the signal and waits for its end. */
int program_end(struct program *program, int signal);

#endif
