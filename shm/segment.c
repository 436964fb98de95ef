/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* F_SETLEASE, O_TMPFILE */
#include "shm/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME_BEGIN "fastalloc."

void segment_name(const uint8_t key[SEGMENT_KEY_SIZE], const char *part,
                  char name[SEGMENT_NAME_SIZE])
{
    char digits[2 * SEGMENT_KEY_SIZE + 1];
    for (size_t i = 0; i < SEGMENT_KEY_SIZE; i++)
        snprintf(digits + 2 * i, 3, "%02x", key[i]);
    snprintf(name, SEGMENT_NAME_SIZE, "/" NAME_BEGIN "%s.%s", digits, part);
}

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* The part, and the key, of a name as segment_name() makes them, without its slash; NULL if it is none. */
static const char *read_name(const char *name, uint8_t key[SEGMENT_KEY_SIZE])
{
    if (strncmp(name, NAME_BEGIN, strlen(NAME_BEGIN)) != 0)
        return NULL;
    name += strlen(NAME_BEGIN);
    for (size_t i = 0; i < SEGMENT_KEY_SIZE; i++, name += 2) {
        int high = digit(name[0]), low = high < 0 ? -1 : digit(name[1]);
        if (low < 0)
            return NULL;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return *name == '.' ? name + 1 : NULL;
}

static int visit_name(const char *name, segment_visitor_t visit, void *context)
{
    uint8_t key[SEGMENT_KEY_SIZE];
    const char *part = read_name(name, key);
    return part ? visit(context, name, key, part) : 0;
}

int segment_each(segment_visitor_t visit, void *context)
{
    const struct dirent *entry;
    int result = 0;
    DIR *folder = opendir("/dev/shm");
    if (!folder)
        return -errno;
    do {
        errno = 0; /* by which an error is told from the end */
        entry = readdir(folder);
        result = entry ? visit_name(entry->d_name, visit, context) : -errno;
    } while (entry && result == 0);
    closedir(folder);
    return result;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The file is locked during each call, so that whoever writes to it waits: not for all of it. */
static int reserve(int fd, size_t from, size_t to)
{
    int result;
    do {
        size_t size = smaller(to - from, SEGMENT_RESERVED_AT_ONCE);
        result = posix_fallocate(fd, (off_t)from, (off_t)size);
        if (result == 0)
            from += size;
    } while (result == EINTR || (result == 0 && from < to));
    return -result;
}

int segment_create(const char *name, size_t size)
{
    int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;

    /* The umask may have taken bits from the mode. */
    int result = fchmod(fd, 0600) < 0 ? -errno : reserve(fd, 0, size);
    if (result < 0) {
        shm_unlink(name);
        close(fd);
        return result;
    }
    return fd;
}

int segment_open(const char *name, bool writable)
{
    /* O_NONBLOCK: a planted FIFO would hang the open for ever. */
    int fd = shm_open(name, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    struct stat status;
    int result = fstat(fd, &status) < 0 ? -errno : 0;
    if (result == 0 && (!S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
                        (status.st_mode & 07777) != 0600))
        result = -EPERM;
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

int segment_resize(const char *name, size_t old_size, size_t new_size)
{
    int fd = segment_open(name, true);
    if (fd < 0)
        return fd;

    int result = new_size > old_size ? reserve(fd, old_size, new_size) : 0;
    /* What was reserved before it failed goes back. */
    size_t size = result < 0 ? old_size : new_size;
    if (size <= old_size && ftruncate(fd, (off_t)size) < 0)
        result = -errno;
    close(fd);
    return result;
}

int segment_unlink(const char *name)
{
    return shm_unlink(name) < 0 ? -errno : 0;
}

uint64_t segment_space(void)
{
    struct statvfs status;
    if (statvfs("/dev/shm", &status) < 0)
        return 0;
    return (uint64_t)status.f_bavail * status.f_frsize;
}

/* Of a file of our own, open once and, as `path`, once more. */
static int try_leases(int fd, const char *path)
{
    int other = open(path, O_RDONLY | O_CLOEXEC);
    if (other >= 0) {
        int granted = fcntl(fd, F_SETLEASE, F_WRLCK);
        int error = errno;
        close(other);
        if (granted == 0)
            return -ENOTSUP;
        if (error != EAGAIN)
            return -error;
    }
    return fcntl(fd, F_SETLEASE, F_WRLCK) < 0 ? -errno : 0;
}

int segment_test_leases(void)
{
    /* It has no name, so nothing is left of it when the process is killed. */
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;

    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int result = try_leases(fd, path);
    close(fd);
    return result;
}

int segment_is_in_use(const char *name)
{
    int fd = segment_open(name, true);
    if (fd < 0)
        return fd;

    int result = 0;
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        result = errno == EAGAIN ? 1 : -errno;
    else if (fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
        result = -errno;
    close(fd);
    return result;
}
