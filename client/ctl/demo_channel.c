/* SPDX-License-Identifier: MIT */
#include "demo_channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "failure.h"

int channel_pair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

int channel_send(int fd, const void *packet, size_t size)
{
    for (;;) {
        if (send(fd, packet, size, MSG_NOSIGNAL) >= 0)
            return 0;
        switch (errno) {
        case EINTR:
            continue;
        case EPIPE:
        case ECONNRESET:
        case ECONNREFUSED:
        case ENOTCONN:
            return -EPIPE;
        default:
            return -errno;
        }
    }
}

/* ECONNRESET comes once, before the packets that a killed process had still sent. */
ssize_t channel_receive(int fd, void *packet, size_t size)
{
    for (;;) {
        ssize_t got = recv(fd, packet, size, MSG_DONTWAIT);
        if (got >= 0)
            return got;
        if (errno != EINTR && errno != ECONNRESET)
            return -errno;
    }
}

int channel_wait(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    while (poll(&entry, 1, -1) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int channel_fail(int fd, const fastalloc_error_t *error)
{
    struct message message = {.kind = MESSAGE_FAILED, .error = *error};

    (void)channel_send(fd, &message, sizeof(message));
    return 1;
}

int channel_fail_text(int fd, int result, const char *text)
{
    fastalloc_error_t error;

    failure_set(&error, result, "%s", text);
    return channel_fail(fd, &error);
}
