/* SPDX-License-Identifier: MIT */
/* How much a test does of what it could go on with for ever. */
#ifndef TESTS_LIB_EFFORT_H
#define TESTS_LIB_EFFORT_H

/* FASTALLOC_EFFORT: 1 if it isn't set, 10 = what docs/testing.md promises, more for a soak. */
unsigned test_effort(void);

#endif
