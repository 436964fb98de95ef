/* SPDX-License-Identifier: MIT */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The protocol's first descriptor. */
#define LISTEN_FD 3

/* Digits and nothing else; strtol would take blanks and signs too. */
static int parse_number(const char *text, int *number)
{
    int value = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return -EINVAL;
    }
    *number = value;
    return 0;
}

/* How many descriptors the variables promise to this process. */
static int parse_environment(void)
{
    const char *pid_text = getenv("LISTEN_PID");
    const char *count_text = getenv("LISTEN_FDS");
    int pid;
    int count;

    if (!pid_text || !count_text)
        return 0;
    if (parse_number(pid_text, &pid) < 0)
        return -EINVAL;
    if (pid != (int)getpid())
        return 0;
    if (parse_number(count_text, &count) < 0)
        return -EINVAL;
    return count;
}

static int check_option(int fd, int option, int wanted, int error)
{
    socklen_t size = sizeof(int);
    int value;

    if (getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0)
        return -errno;
    return value == wanted ? 0 : error;
}

static int check_socket(int fd)
{
    int error;

    error = check_option(fd, SO_DOMAIN, AF_UNIX, -EAFNOSUPPORT);
    if (error == 0)
        error = check_option(fd, SO_TYPE, SOCK_STREAM, -EPROTOTYPE);
    if (error == 0)
        error = check_option(fd, SO_ACCEPTCONN, 1, -EISCONN);
    return error;
}

static int set_flags(int fd)
{
    const int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

int listen_inherited(void)
{
    const int count = parse_environment();
    int error;

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");

    if (count <= 0)
        return count;
    if (count > 1)
        return -E2BIG;
    error = check_socket(LISTEN_FD);
    if (error == 0)
        error = set_flags(LISTEN_FD);
    return error < 0 ? error : LISTEN_FD;
}

const char *listen_describe(int error)
{
    switch (error) {
    case -EINVAL:
        return "LISTEN_PID or LISTEN_FDS is not a number";
    case -E2BIG:
        return "more than one descriptor was handed over, where one socket is expected";
    case -EBADF:
        return "LISTEN_FDS promises descriptor 3, but it is not open";
    case -ENOTSOCK:
        return "descriptor 3 is not a socket";
    case -EAFNOSUPPORT:
        return "descriptor 3 is not a Unix socket";
    case -EPROTOTYPE:
        return "descriptor 3 is not a stream socket";
    case -EISCONN:
        return "descriptor 3 is not listening (the socket unit needs Accept=no)";
    default:
        return strerror(-error);
    }
}
