/* SPDX-License-Identifier: MIT */
/*
 * A program that runs from one system call to the next, as its test lets it: so it can be killed before
 * and after each of them.
 */
#ifndef TESTS_LIB_TRACED_H
#define TESTS_LIB_TRACED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct traced {
    pid_t pid;
    pid_t thread; /* that has stopped; the others run */
    bool entry;   /* before its call; else after it */
    uint64_t number;
    uint64_t first; /* its first argument */
};

/* Starts it; the list of arguments, its name first, ends with NULL. What it says goes nowhere. */
void traced_start(struct traced *traced, const char *const arguments[]);

/* Of a process of ours that runs, with one thread. */
void traced_attach(struct traced *traced, pid_t pid);

/* Up to the next system call's begin or end, of whichever thread; false: it has exited with 0. */
bool traced_step(struct traced *traced);

void traced_kill(struct traced *traced);

#endif
