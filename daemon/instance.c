/* SPDX-License-Identifier: MIT */
#include "daemon/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/name.h"

#define SYSTEM_BASE "/run/fastalloc"
#define SOCKET_SUFFIX ".sock"
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* Writes the line and returns false, as its callers do then. */
static bool __attribute__((format(printf, 2, 3))) say(char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, INSTANCE_TEXT_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- Where it is ----------------------------------------------------------------------------- */

static const char *file_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Bytes of a socket's file name without its suffix. */
static size_t stem_length(const char *file)
{
    size_t length = strlen(file), suffix = strlen(SOCKET_SUFFIX);
    return length > suffix && strcmp(file + length - suffix, SOCKET_SUFFIX) == 0 ? length - suffix
                                                                                 : length;
}

/* The socket's file name without its suffix; "" if that is no name. */
static void name_after_socket(struct instance *instance, const char *socket)
{
    const char *file = file_of(socket);
    size_t length = stem_length(file);
    snprintf(instance->name, sizeof(instance->name), "%.*s",
             length < sizeof(instance->name) ? (int)length : 0, file);
}

static bool find_base(struct instance *instance, const struct options *options, char *text)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (options->socket) {
        const char *slash = strrchr(options->socket, '/');
        int length = !slash ? 1 : slash == options->socket ? 1 : (int)(slash - options->socket);
        snprintf(instance->base, sizeof(instance->base), "%.*s", length,
                 slash ? options->socket : ".");
    } else if (!options->user) {
        snprintf(instance->base, sizeof(instance->base), "%s", SYSTEM_BASE);
        instance->shared = true;
    } else if (runtime && runtime[0] == '/' && strlen(runtime) <= SOCKET_PATH_MAX) {
        snprintf(instance->base, sizeof(instance->base), "%s/fastalloc", runtime);
    } else {
        return say(text, "--user needs XDG_RUNTIME_DIR, an absolute path, in the environment; "
                         "log in properly or use --socket PATH");
    }
    return true;
}

bool instance_locate(struct instance *instance, const struct options *options,
                     char text[INSTANCE_TEXT_SIZE])
{
    *instance = (struct instance){.lock_fd = -1};
    if (options->socket &&
        (options->socket[0] == '\0' || strlen(options->socket) > SOCKET_PATH_MAX))
        return say(text, "the socket path has %zu bytes, a Unix socket takes 1 to %zu: %s",
                   strlen(options->socket), SOCKET_PATH_MAX, options->socket);
    if (options->instance)
        snprintf(instance->name, sizeof(instance->name), "%s",
                 name_is_valid(options->instance) ? options->instance : "");
    else if (options->socket)
        name_after_socket(instance, options->socket);
    else
        name_copy(instance->name, "default");
    if (!name_is_valid(instance->name))
        return say(
            text, "'%s' can't give an instance its name: " NAME_RULE "; choose one with --instance",
            options->instance ? options->instance : options->socket);
    if (!find_base(instance, options, text))
        return false;

    const char *base = instance->base;
    int length = options->socket
                     ? snprintf(instance->socket, sizeof(instance->socket), "%s", options->socket)
                     : snprintf(instance->socket, sizeof(instance->socket), "%s/%s" SOCKET_SUFFIX,
                                base, instance->name);
    if ((size_t)length > SOCKET_PATH_MAX)
        return say(text, "the socket path has %d bytes, a Unix socket takes at most %zu: %s",
                   length, SOCKET_PATH_MAX, instance->socket);
    /* After the socket, not the name: two of one socket mustn't both have a lock. */
    const char *file = file_of(instance->socket);
    length = (int)(file - instance->socket) + (int)stem_length(file);
    snprintf(instance->directory, sizeof(instance->directory), "%.*s.d", length, instance->socket);
    snprintf(instance->registry, sizeof(instance->registry), "%.*s.d/registry", length,
             instance->socket);
    snprintf(instance->lock, sizeof(instance->lock), "%.*s.d/lock", length, instance->socket);
    return true;
}

/* ---- The lock -------------------------------------------------------------------------------- */

static bool make_base(const struct instance *instance, char *text)
{
    mode_t mode = instance->shared ? 0755 : 0700;
    int result = mkdir(instance->base, mode);
    if (result < 0 && errno == EEXIST)
        return true;
    /* The umask may have taken away what everybody needs to get at the socket. */
    if (result < 0 || chmod(instance->base, mode) < 0)
        return say(text, "cannot make %s: %s; try --user, or --socket PATH", instance->base,
                   strerror(errno));
    return true;
}

/* The folder must be ours alone: in a place that others can write to, it may have been planted. */
static bool is_ours(const struct instance *instance, int result, const struct stat *status,
                    char *text)
{
    if (result < 0)
        return say(text, "cannot look at %s: %s", instance->directory, strerror(errno));
    if (!S_ISDIR(status->st_mode) || status->st_uid != geteuid() || (status->st_mode & 0077) != 0)
        return say(text,
                   "%s must be a folder of uid %u with mode 0700; remove it or choose another "
                   "--socket",
                   instance->directory, geteuid());
    return true;
}

static bool make_directory(const struct instance *instance, char *text)
{
    struct stat status;
    int result;
    do {
        if (mkdir(instance->directory, 0700) < 0 && errno != EEXIST)
            return say(text, "cannot make %s: %s; try --user, or --socket PATH",
                       instance->directory, strerror(errno));
        result = lstat(instance->directory, &status);
    } while (result < 0 && errno == ENOENT); /* its last holder removes it just now */
    return is_ours(instance, result, &status, text);
}

static bool say_who_has_it(const struct instance *instance, int fd, char *text)
{
    char pid[16] = "";
    ssize_t length = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[length > 0 ? length : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    return say(text, "a daemon of %s is running already, as pid %s (it holds %s)", instance->socket,
               pid[0] ? pid : "unknown", instance->lock);
}

/*
 * Whether the lock file is still the one that its path names: its last holder may have removed it.
 */
static bool is_current(const struct instance *instance, int fd)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(instance->lock, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static bool write_pid(int fd)
{
    char pid[16];
    int length = snprintf(pid, sizeof(pid), "%d\n", getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)length, 0) == length;
}

/* 1 locked, 0 the file or its folder was removed meanwhile, -1 with the text: it can't be had. */
static int try_lock(struct instance *instance, int flags, char *text)
{
    int fd = open(instance->lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        say(text, "cannot open %s: %s", instance->lock, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            say_who_has_it(instance, fd, text);
        else
            say(text, "cannot lock %s: %s", instance->lock, strerror(errno));
        close(fd);
        return -1;
    }
    if (!is_current(instance, fd)) {
        close(fd);
        return 0;
    }
    if (!write_pid(fd)) {
        say(text, "cannot write %s: %s", instance->lock, strerror(errno));
        close(fd);
        return -1;
    }
    instance->lock_fd = fd;
    return 1;
}

bool instance_lock(struct instance *instance, char text[INSTANCE_TEXT_SIZE])
{
    int result = 0;
    while (result == 0) {
        if (!make_base(instance, text) || !make_directory(instance, text))
            return false;
        result = try_lock(instance, O_CREAT, text);
    }
    return result > 0;
}

bool instance_lock_remains(struct instance *instance, char text[INSTANCE_TEXT_SIZE])
{
    struct stat status;
    int result = lstat(instance->directory, &status);
    bool missing = result < 0 && errno == ENOENT;
    if (!missing && !is_ours(instance, result, &status, text))
        return false;
    result = missing ? 0 : try_lock(instance, 0, text);
    if (result == 0)
        return say(text, "there is nothing of an instance of %s: no %s", instance->socket,
                   instance->lock);
    return result > 0;
}

void instance_unlock(struct instance *instance, bool remove)
{
    if (instance->lock_fd < 0)
        return;
    if (remove) {
        unlink(instance->registry);
        unlink(instance->lock);
        rmdir(instance->directory);
    }
    close(instance->lock_fd);
    instance->lock_fd = -1;
}
