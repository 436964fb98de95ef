/* SPDX-License-Identifier: MIT */
/*
 * A /dev/shm of the test's own: empty, of a chosen size, seen by this process and its children alone. So
 * "nothing is left behind" is exact, whatever else runs on the machine.
 */
#ifndef TESTS_LIB_PRIVATE_SHM_H
#define TESTS_LIB_PRIVATE_SHM_H

#include <stdbool.h>
#include <stdint.h>

/* Hides the machine's /dev/shm. Fails the test where that isn't allowed. */
void test_private_shm(uint64_t bytes);

/*
 * Hides it once for this process, as the user that it is, which root alone or a user with namespaces of
 * his own may. Whether it is hidden now.
 */
bool test_try_private_shm(void);

/* Gives it another size, and room for so many files; 0 = enough. */
void test_private_shm_resize(uint64_t bytes, uint64_t files);

/* Files in /dev/shm now. */
unsigned test_shm_files(void);

/* Makes /dev/shm full but for so many bytes (whole pages), and empties it again of that. */
void test_shm_fill(uint64_t left);
void test_shm_unfill(void);

/* Removes a folder of the test's own, with the files in it. */
void test_remove_folder(const char *path);

#endif
