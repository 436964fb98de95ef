/* SPDX-License-Identifier: MIT */
#include "tests/lib/fd_count.h"

#include <check.h>
#include <dirent.h>

unsigned test_fd_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);

    unsigned count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 3; /* ".", "..", and the directory's own */
}
