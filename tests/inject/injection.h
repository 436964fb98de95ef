/* SPDX-License-Identifier: MIT */
/*
 * What a test and the programs that make calls fail on its behalf have in common: a file that all of them
 * map. The test says which call is to fail, and sees what became of it.
 */
#ifndef TESTS_INJECT_INJECTION_H
#define TESTS_INJECT_INJECTION_H

#include <stdint.h>

/* Tests in Python know it by these offsets: 32 bits each, then 64. */
struct injection {
    uint32_t armed;    /* outside of that nothing is counted, and nothing fails */
    uint32_t at_begin; /* arms itself when the program's main() has begun */
    uint32_t lasting;  /* all that follow fail as well */
    uint32_t choice;   /* which of the errors that a system call can end with */
    uint32_t resting;  /* it waits for something to happen */
    uint32_t rests;    /* so often since the first failure; armed ends with RESTS_MAX */
    int32_t number;    /* of the first system call that failed */
    int32_t error;     /* that it was given */
    uint32_t memory;   /* allocations fail, not system calls */
    uint32_t pad;
    uint64_t at;     /* which call fails, from 1 */
    uint64_t calls;  /* so far */
    uint64_t failed; /* of them */
    int64_t kept;    /* allocations that were not freed, if memory is what can fail */
};

/* What fails for ever keeps a daemon from its work so often, and is over then. */
#define INJECTION_RESTS_MAX 3u

#endif
