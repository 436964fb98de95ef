/* SPDX-License-Identifier: MIT */
/* How much a test does of what it could go on with for ever, and what it draws by chance. */
#ifndef TESTS_LIB_EFFORT_H
#define TESTS_LIB_EFFORT_H

/*
 * FASTALLOC_EFFORT: how many times a fifth of what docs/testing.md says is done. 1 if it isn't set, 5
 * in CI once, more for a soak.
 */
unsigned test_effort(void);

/*
 * Begins what random() gives: with FASTALLOC_SEED, else with one of the clock's. It is printed. What a
 * test draws is the same with the same seed; when others get the processor isn't.
 */
void test_seed(void);

#endif
