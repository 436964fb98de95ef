/* SPDX-License-Identifier: MIT */
#include "tests/lib/private_shm.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SHM "/dev/shm"
#define FILLER SHM "/filler"
#define FILES_MANY UINT64_C(100000) /* a limit can't be set where there was none */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Gives this user a user namespace, where it may mount, and is called root or what it was. */
static bool enter_namespaces(unsigned uid, unsigned gid)
{
    char users[64], groups[64];

    snprintf(users, sizeof(users), "%u %u 1", uid, (unsigned)geteuid());
    snprintf(groups, sizeof(groups), "%u %u 1", gid, (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/gid_map", groups);
}

static const char *mount_options(uint64_t bytes, uint64_t files)
{
    static char options[128];
    /* The folder itself is a file too. */
    snprintf(options, sizeof(options), "mode=1777,size=%" PRIu64 ",nr_inodes=%" PRIu64, bytes,
             files ? files + 1 : FILES_MANY);
    return options;
}

void test_private_shm(uint64_t bytes)
{
    ck_assert(unshare(CLONE_NEWNS) == 0 || enter_namespaces(0, 0));
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", SHM, "tmpfs", 0, mount_options(bytes, 0)), 0);
}

bool test_try_private_shm(void)
{
    static bool hidden;
    if (hidden)
        return true;
    bool entered =
        geteuid() == 0 ? unshare(CLONE_NEWNS) == 0 : enter_namespaces(geteuid(), getegid());
    hidden = entered && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
             mount("none", SHM, "tmpfs", 0, "mode=1777") == 0;
    if (!hidden)
        fprintf(stderr, "no /dev/shm of its own for this test: objects are not counted\n");
    return hidden;
}

void test_private_shm_resize(uint64_t bytes, uint64_t files)
{
    ck_assert_int_eq(mount("none", SHM, NULL, MS_REMOUNT, mount_options(bytes, files)), 0);
}

unsigned test_shm_files(void)
{
    DIR *directory = opendir(SHM);
    ck_assert_ptr_nonnull(directory);

    unsigned count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2; /* ".", ".." */
}

void test_shm_fill(uint64_t left)
{
    struct statvfs status;
    int fd = open(FILLER, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(statvfs(SHM, &status), 0);
    ck_assert_int_eq(posix_fallocate(fd, 0, (off_t)(status.f_bavail * status.f_frsize - left)), 0);
    close(fd);
}

void test_shm_unfill(void)
{
    ck_assert_int_eq(unlink(FILLER), 0);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void test_remove_folder(const char *path)
{
    ck_assert_int_eq(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}
