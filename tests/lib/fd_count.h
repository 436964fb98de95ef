/* SPDX-License-Identifier: MIT */
/*
 * Counting descriptors: before and after, to see that none leaks.
 */
#ifndef TESTS_LIB_FD_COUNT_H
#define TESTS_LIB_FD_COUNT_H

/* Descriptors that this process has open now. */
unsigned test_fd_count(void);

#endif
