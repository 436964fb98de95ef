/* SPDX-License-Identifier: MIT */
#include "client/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/deadline.h"
#include "client/error.h"

#define SYSTEM_SOCKET "/run/fastalloc/default.sock"
#define USER_SOCKET "fastalloc/default.sock" /* below $XDG_RUNTIME_DIR */

/* Waits between two tries: the first, and the longest. */
#define WAIT_MIN INT64_C(1000000)
#define WAIT_MAX INT64_C(50000000)

/* ---- The path -------------------------------------------------------------------------------- */

static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);
    return value && value[0] != '\0' ? value : NULL;
}

/* The user's own instance, if there is one. */
static bool find_user_socket(char path[PATH_MAX])
{
    const char *directory = environment("XDG_RUNTIME_DIR");
    if (!directory)
        return false;
    int length = snprintf(path, PATH_MAX, "%s/" USER_SOCKET, directory);
    return length < PATH_MAX && access(path, F_OK) == 0;
}

static int set_address(struct sockaddr_un *address, const char *path, fastalloc_error_t *error)
{
    size_t max = sizeof(address->sun_path) - 1;
    size_t length = strlen(path);
    if (length == 0 || length > max)
        return error_raise_with(
            error, &(fastalloc_error_t){.code = FASTALLOC_ERR_SOCKET_PATH, .max = max},
            "the socket's path has %zu bytes, a Unix socket's has 1 to %zu: '%.200s'; choose "
            "another one",
            length, max, path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
    return 0;
}

/* The address of `path`, or, if that is NULL, of the default socket. */
static int resolve(const char *path, struct sockaddr_un *address, fastalloc_error_t *error)
{
    char user[PATH_MAX];

    if (!path)
        path = environment("FASTALLOC_SOCKET");
    if (!path)
        path = find_user_socket(user) ? user : SYSTEM_SOCKET;
    return set_address(address, path, error);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

int64_t socket_next_wait(int64_t wait)
{
    if (wait == 0)
        return WAIT_MIN;
    return wait * 2 < WAIT_MAX ? wait * 2 : WAIT_MAX;
}

/* Whether a daemon may be there in a moment: it is starting, or has too many at its door. */
static bool may_come(int system_error)
{
    return system_error == ENOENT || system_error == ECONNREFUSED || system_error == EAGAIN ||
           system_error == EINTR;
}

static const char *advice(int system_error)
{
    switch (system_error) {
    case EACCES:
    case EPERM:
        return "ask whoever runs it for access to the socket";
    case EAGAIN:
        return "too many are connecting; try again";
    default:
        return "is that its socket? Set FASTALLOC_SOCKET to the right one";
    }
}

/* Nobody is there. What starts a daemon there depends on how the path was found. */
static int nobody(const struct sockaddr_un *address, const fastalloc_error_t *fields,
                  fastalloc_error_t *error)
{
    const char *path = address->sun_path;
    const char *reason = error_text(fields->system_error);
    if (strcmp(path, SYSTEM_SOCKET) == 0)
        return error_raise_with(error, fields,
                                "cannot reach fastallocd at %s: %s; is it running? Start it with "
                                "`fastallocd --user` (as root: `fastallocd`), or set "
                                "FASTALLOC_SOCKET to where it is",
                                path, reason);
    return error_raise_with(error, fields,
                            "cannot reach fastallocd at %s: %s; is it running? Start it with "
                            "`fastallocd --socket %s`",
                            path, reason, path);
}

static int unreachable(const struct sockaddr_un *address, int system_error,
                       fastalloc_error_t *error)
{
    const fastalloc_error_t fields = {
        .code = FASTALLOC_ERR_UNREACHABLE,
        .system_error = system_error,
    };
    if (system_error == ENOENT || system_error == ECONNREFUSED)
        return nobody(address, &fields, error);
    return error_raise_with(error, &fields, "cannot reach fastallocd at %s: %s; %s",
                            address->sun_path, error_text(system_error), advice(system_error));
}

/* Blocking, since a call is to be one send and one receive, with no poll. */
static int make_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/*
 * 0, or what the last connect() said. The path is looked up anew each time: the user's own daemon
 * may be the one that is starting. The descriptor doesn't block meanwhile: with a full backlog
 * connect() would, without an end.
 */
static int try_until(int fd, const char *path, int64_t deadline, struct sockaddr_un *address,
                     fastalloc_error_t *error)
{
    int64_t wait = 0;
    for (;;) {
        int result = resolve(path, address, error);
        if (result < 0)
            return result;
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
            return 0;
        int system_error = errno;
        int64_t left = deadline_left(deadline);
        if (!may_come(system_error) || left == 0)
            return unreachable(address, system_error, error);
        wait = socket_next_wait(wait);
        deadline_poll(-1, 0, deadline_in(wait < left ? wait : left));
    }
}

static int socket_new(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int socket_try(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket_new();
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        make_blocking(fd) == 0)
        return fd;
    int result = -errno;
    close(fd);
    return result;
}

int socket_connect(const char *path, int64_t limit, struct sockaddr_un *address,
                   fastalloc_error_t *error)
{
    int fd = socket_new();
    if (fd < 0) {
        int result = -errno;
        return error_raise(error, result, "cannot make a socket: %s", error_text(-result));
    }

    int result = try_until(fd, path, deadline_in(limit), address, error);
    if (result == 0 && make_blocking(fd) < 0)
        result = unreachable(address, errno, error);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}
