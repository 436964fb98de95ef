/* SPDX-License-Identifier: MIT */
#include "client/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fastalloc/fastalloc.h>

static void append(struct descriptors *descriptors, int fd)
{
    if (descriptors->count < DESCRIPTORS_MAX) {
        descriptors->fds[descriptors->count++] = fd;
        return;
    }
    descriptors->too_many = true;
    close(fd);
}

static size_t append_all(struct descriptors *descriptors, const struct cmsghdr *control)
{
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
        append(descriptors, fd);
    }
    return count;
}

void descriptors_collect(struct descriptors *descriptors, struct msghdr *message)
{
    size_t arrived = 0;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control;
         control = CMSG_NXTHDR(message, control))
        if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS)
            arrived += append_all(descriptors, control);

    /* The kernel cuts for want of control bytes, which is the sender's fault, or of descriptors. */
    if (message->msg_flags & MSG_CTRUNC) {
        descriptors->too_many |= arrived >= DESCRIPTORS_MAX;
        descriptors->lost |= arrived < DESCRIPTORS_MAX;
    }
}

int descriptors_take(struct descriptors *descriptors, unsigned n, struct descriptors *taken)
{
    if (descriptors->lost) {
        descriptors_close(descriptors);
        return -EMFILE;
    }
    if (descriptors->count != n || descriptors->too_many)
        return FASTALLOC_ERR_MALFORMED;

    memcpy(taken->fds, descriptors->fds, n * sizeof(int));
    taken->count = n;
    descriptors->count = 0;
    return 0;
}

int descriptors_detach(struct descriptors *descriptors, unsigned place)
{
    int fd = descriptors->fds[place];
    memmove(&descriptors->fds[place], &descriptors->fds[place + 1],
            (descriptors->count - place - 1) * sizeof(fd));
    descriptors->count--;
    return fd;
}

/* An eventfd is of no type that a file has. */
int descriptors_check_bell(const struct descriptors *descriptors, unsigned place)
{
    int fd = descriptors->fds[place], flags;
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if ((status.st_mode & S_IFMT) != 0)
        return FASTALLOC_ERR_MALFORMED;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    return 0;
}

void descriptors_close(struct descriptors *descriptors)
{
    for (unsigned i = 0; i < descriptors->count; i++)
        close(descriptors->fds[i]);
    *descriptors = (struct descriptors){.count = 0};
}
