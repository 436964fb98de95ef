/* SPDX-License-Identifier: MIT */
/*
 * A /dev/shm of the target's own, and images of all that stands in it: an input begins with the same
 * bytes as the one before it, and a daemon can be killed and found as it was then. What the code
 * takes for random is the same each time.
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_FILES_MAX 64u

struct image_file {
    char name[128]; /* in /dev/shm */
    size_t size;
    size_t place; /* in the image's bytes */
};

/* All zero is an empty one. */
struct image {
    struct image_file files[IMAGE_FILES_MAX]; /* by their names */
    unsigned count;
    uint8_t *bytes; /* of all files, one behind the other; kept for the next time it is taken */
    size_t room;
};

/* Hides the machine's /dev/shm, once. */
void image_begin(uint64_t bytes);

/* The random bytes that the code gets begin anew. */
void image_restart_random(void);

/* What stands in /dev/shm now. The image takes the place of the one before. */
void image_take(struct image *image);

/* Makes /dev/shm just that. */
void image_put(const struct image *image);

/* How many files stand in /dev/shm now. */
unsigned image_files(void);

/*
 * A fault of the code's is libFuzzer's to see: what keeps such signals, or ends the process by them,
 * is told not to.
 */
void image_watch_faults(void);

#endif
