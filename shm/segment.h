/* SPDX-License-Identifier: MIT */
/*
 * A segment is one POSIX shared-memory object. The daemon creates them under random names and is
 * the only one that ever opens them by name; clients get descriptors.
 *
 * Every function returns 0 or a positive descriptor, or a negated errno.
 */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "/fastalloc.", 32 hexadecimal digits, '.', the part, NUL. */
#define SEGMENT_NAME_SIZE 64
#define SEGMENT_KEY_SIZE 16
/* Memory is reserved in pieces, between which others can write to the object. */
#define SEGMENT_RESERVED_AT_ONCE ((size_t)1 << 20)

/* The name of one part ("ctl", "slots", "data", "witness") of what the random key stands for. */
void segment_name(const uint8_t key[SEGMENT_KEY_SIZE], const char *part,
                  char name[SEGMENT_NAME_SIZE]);

/*
 * Calls `visit` for each name of such a kind that there is, without its slash, until it returns
 * something else than 0, which this then does too; or a negated errno, if they can't all be listed.
 */
typedef int (*segment_visitor_t)(void *context, const char *name,
                                 const uint8_t key[SEGMENT_KEY_SIZE], const char *part);
int segment_each(segment_visitor_t visit, void *context);

/*
 * Creates the object, mode 0600, with all its memory reserved, and returns a descriptor open for
 * reading and writing. -ENOSPC when /dev/shm has no room, -EEXIST when the name is taken; then
 * nothing is left behind.
 */
int segment_create(const char *name, size_t size);

/*
 * Makes the object longer, with the memory of what is new reserved and zero, or shorter. On failure
 * (-ENOSPC, -ENOENT, ...) it is as long as it was. Mappings of it stay what they are.
 */
int segment_resize(const char *name, size_t old_size, size_t new_size);

/* Opens an object of ours again: a regular file of this process' user, mode 0600, else -EPERM. */
int segment_open(const char *name, bool writable);

/* Removes the name; the memory lives on while somebody has it mapped. -ENOENT if there is none. */
int segment_unlink(const char *name);

/* Bytes free in /dev/shm, 0 if that can't be said. */
uint64_t segment_space(void);

/*
 * Whether some process still has the object open or mapped: 1 yes, 0 no. This is how the daemon
 * learns that a client is gone: a lease on its witness is refused while any mapping of it exists,
 * whatever became of the process that made it. The caller must have no descriptor of it open.
 */
int segment_is_in_use(const char *name);

/*
 * Whether such leases work here at all, by a file of our own: 0, also where that can't be tried; or
 * a negated errno, -ENOTSUP if one was granted where it must be refused.
 */
int segment_test_leases(void);

#endif
