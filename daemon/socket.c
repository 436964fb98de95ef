/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* struct ucred */
#include "daemon/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/dispatch.h"

#define BACKLOG 1024

#ifndef SO_PEERGROUPS /* Linux 4.13 */
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

/* ---- Listening ------------------------------------------------------------------------------- */

static int fail(int fd, const char *what, const char *path, char *text)
{
    snprintf(text, SOCKET_TEXT_SIZE, "%s %s: %s", what, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* 0, or the errno of connecting. */
static int try_connect(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error =
        fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return error;
}

/* Whether there is something at the path that must not be removed. */
static bool is_taken(const struct sockaddr_un *address, char *text)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return false;
    if (!S_ISSOCK(status.st_mode)) {
        snprintf(text, SOCKET_TEXT_SIZE, "%s exists and is no socket; choose another --socket",
                 address->sun_path);
        return true;
    }
    int error = try_connect(address);
    switch (error) {
    case ECONNREFUSED: /* only that says that nobody is there */
    case ENOENT:       /* it went meanwhile */
        return false;
    case 0:
    case EAGAIN: /* its backlog is full */
    case EPROTOTYPE:
    case EACCES:
    case EPERM:
        snprintf(text, SOCKET_TEXT_SIZE, "another server listens at %s; choose another --socket",
                 address->sun_path);
        return true;
    default:
        snprintf(text, SOCKET_TEXT_SIZE, "cannot find out whether a server listens at %s: %s",
                 address->sun_path, strerror(error));
        return true;
    }
}

int socket_listen(const char *path, bool shared, char text[SOCKET_TEXT_SIZE])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (is_taken(&address, text))
        return -1;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, "no socket for", path, text);
    unlink(path);
    mode_t mask = umask(0177);
    int status = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (status < 0)
        return fail(fd, "cannot bind", path, text);
    if (shared && chmod(path, 0666) < 0)
        return fail(fd, "cannot change the mode of", path, text);
    if (listen(fd, BACKLOG) < 0)
        return fail(fd, "cannot listen at", path, text);
    return fd;
}

/* ---- The peer -------------------------------------------------------------------------------- */

int socket_peer(int fd, struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -errno;
    *peer = (struct peer){credentials.pid, credentials.uid, credentials.gid};
    return 0;
}

int socket_groups(int fd, gid_t **groups)
{
    socklen_t size = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno == ENOPROTOOPT) {
        *groups = NULL;
        return 0;
    }
    if (errno != ERANGE) /* which says how much room it takes */
        return -errno;
    gid_t *list = malloc(size);
    if (!list)
        return -ENOMEM;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &size) < 0) {
        int error = errno;
        free(list);
        return -error;
    }
    *groups = list;
    return (int)(size / sizeof(list[0]));
}

int socket_pidfd(int fd, const struct peer *peer)
{
    int pidfd;
    socklen_t size = sizeof(pidfd);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (peer->pid <= 0)
        return -ESRCH;
    if (errno != ENOPROTOOPT)
        return -errno;
    /* Before Linux 6.5: should the pid be another process's by now, that one is watched. */
    pidfd = (int)syscall(SYS_pidfd_open, peer->pid, 0);
    return pidfd < 0 ? -errno : pidfd;
}

ssize_t socket_send(int fd, void *data, size_t size, const int *descriptors,
                    unsigned descriptor_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(DISPATCH_DESCRIPTORS * sizeof(int))];
    } control = {0};
    struct iovec vector = {data, size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    if (descriptor_count > 0) {
        size_t bytes = descriptor_count * sizeof(int);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(bytes);
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), descriptors, bytes);
    }
    ssize_t sent;
    do /* send() costs 0.2 us less */
        sent = descriptor_count > 0 ? sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int socket_unread(int fd)
{
    int unread;
    return ioctl(fd, SIOCOUTQ, &unread) == 0 ? unread : -1;
}
