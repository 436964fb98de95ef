/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* How long a message may wait while the manager is busy, as it is when it reloads. */
#define SEND_SECONDS 5

static int address_parse(const char *name, struct sockaddr_un *address, socklen_t *size)
{
    const size_t length = strlen(name);
    /* An abstract name has no NUL at its end, a path does. */
    const size_t bytes = name[0] == '@' ? length : length + 1;

    if ((name[0] != '@' && name[0] != '/') || length < 2)
        return -EAFNOSUPPORT;
    if (bytes > sizeof(address->sun_path))
        return -ENAMETOOLONG;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, bytes);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    return 0;
}

static int send_to(const struct sockaddr_un *address, socklen_t size, const char *state, int flags)
{
    const struct timeval limit = {.tv_sec = SEND_SECONDS};
    ssize_t sent;
    int result = 1;
    int fd;

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    do {
        sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | flags,
                      (const struct sockaddr *)address, size);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        result = -errno;
    close(fd);
    return result;
}

static int send_state(const char *state, int flags)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size;
    int error;

    if (!name || !*name)
        return 0;
    error = address_parse(name, &address, &size);
    if (error < 0)
        return error;
    return send_to(&address, size, state, flags);
}

int notify_send(const char *state)
{
    return send_state(state, 0);
}

int notify_ready(void)
{
    return notify_send("READY=1");
}

int notify_stopping(void)
{
    return notify_send("STOPPING=1");
}

int notify_status(const char *format, ...)
{
    char state[NOTIFY_STATUS_SIZE] = "STATUS=";
    const size_t start = strlen(state);
    va_list args;

    va_start(args, format);
    vsnprintf(state + start, sizeof(state) - start, format, args);
    va_end(args);
    /* A line feed would begin another assignment. */
    for (char *c = state; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return send_state(state, MSG_DONTWAIT);
}
