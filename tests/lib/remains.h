/* SPDX-License-Identifier: MIT */
/* What outlives a daemon, as one number: names, sizes and bytes of all files. */
#ifndef TESTS_LIB_REMAINS_H
#define TESTS_LIB_REMAINS_H

#include <stdint.h>

/* Of those in /dev/shm and in the folder, at whatever depth. */
uint64_t remains(const char *folder);

#endif
