/* SPDX-License-Identifier: MIT */
/* How much a test does of what it could go on with for ever. */
#ifndef TESTS_LIB_EFFORT_H
#define TESTS_LIB_EFFORT_H

/*
 * FASTALLOC_EFFORT: how many times a fifth of what docs/testing.md says is done. 1 if it isn't set, 5
 * in CI once, more for a soak.
 */
unsigned test_effort(void);

#endif
