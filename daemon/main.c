/* SPDX-License-Identifier: MIT */
/* fastallocd: takes the instance, and over what a dead one left, serves, and ends in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/checking.h"
#include "daemon/connection.h"
#include "daemon/instance.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "daemon/recovery.h"
#include "daemon/server.h"
#include "daemon/sigbus.h"
#include "daemon/socket.h"

enum {
    EXIT_USAGE = 2,
    EXIT_STOPPED = 4, /* what a dead instance left can't be taken over: to try again is no use */
};

/*
 * A socket or a registry that got the place of stdin, stdout or stderr would be written to as such.
 */
static bool open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

/* libuv ends the process where it gets no memory for its own and has nobody to tell; so it is said here. */
static void on_abort(int number)
{
    static const char line[] =
        "fastallocd: error: ended by abort(), as where there is no memory left; "
        "the next daemon goes on with what there is\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof(line) - 1);
    (void)written;
    signal(number, SIG_DFL);
}

/*
 * A broken pipe and a full file are errors of one call, not the end; a lease's break is nobody's.
 * Memory that a member cut short is a matter of its pool.
 */
static void set_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGIO, SIG_IGN);
    signal(SIGABRT, on_abort);
    sigbus_install();
}

/* As many as the machine lets us have: to take over pools takes some as well. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Without them it can't be known when a client is gone. */
static bool leases_work(void)
{
    int status = segment_test_leases();
    if (status < 0)
        log_error("leases don't work on files in /dev/shm, and they are how fastallocd learns that "
                  "a client is gone: %s; see /proc/sys/fs/leases-enable",
                  strerror(-status));
    return status == 0;
}

static int open_socket(const struct instance *instance, struct stat *identity)
{
    char text[SOCKET_TEXT_SIZE];
    int fd = socket_listen(instance->socket, instance->shared, text);
    if (fd < 0)
        log_error("%s", text);
    else if (lstat(instance->socket, identity) < 0)
        *identity = (struct stat){0};
    return fd;
}

/* The path's, if it is still ours: somebody may have removed it and another server be there now. */
static void remove_socket(const struct instance *instance, const struct stat *identity)
{
    struct stat now;
    if (lstat(instance->socket, &now) == 0 && now.st_dev == identity->st_dev &&
        now.st_ino == identity->st_ino)
        unlink(instance->socket);
}

/* The text as one word of a shell's command, cut to the room there is. */
static void quote(const char *text, char *word, size_t room)
{
    size_t length = (size_t)snprintf(word, room, "'");
    for (; *text && length + 6 < room; text++)
        length +=
            (size_t)snprintf(word + length, room - length, *text == '\'' ? "'\\''" : "%c", *text);
    snprintf(word + length, room - length, "'");
}

/* Which options name this instance: for lines that say how to come back to it. */
#define NAMING_SIZE ((size_t)5 * INSTANCE_PATH_SIZE)

static void name_instance(const struct options *options, const struct instance *instance,
                          char naming[NAMING_SIZE])
{
    char path[4 * INSTANCE_PATH_SIZE] = "";
    if (options->socket)
        quote(options->socket, path, sizeof(path));
    snprintf(naming, NAMING_SIZE, "%s --instance %s%s%s", options->user ? " --user" : "",
             instance->name, options->socket ? " --socket " : "", path);
}

static void log_kept(const struct options *options, const struct instance *instance, uint32_t pools,
                     uint32_t sessions)
{
    char naming[NAMING_SIZE];
    if (pools + sessions == 0) {
        log_warning(
            "ended, but objects in /dev/shm couldn't be removed, which the next start tries "
            "again instance=%s",
            instance->name);
        return;
    }
    name_instance(options, instance, naming);
    log_warning("kept what is in use instance=%s pools=%" PRIu32 " sessions=%" PRIu32
                "; the next daemon goes on with it; to remove it: fastallocd --purge%s",
                instance->name, pools, sessions, naming);
}

/* ---- What a dead instance left --------------------------------------------------------------- */

/* The exit status for it. */
static int refuse_registry(const struct instance *instance, int status)
{
    if (status != -EPROTO) {
        log_error("cannot open %s: %s", instance->registry, strerror(-status));
        return EXIT_FAILURE;
    }
    log_error("%s is no registry of this version of fastallocd; nothing was touched. Run the "
              "version that wrote it, or remove it by hand, and what it owns: of the files "
              "/dev/shm/fastalloc.*, those of an instance begin with the same 16 digits",
              instance->registry);
    return EXIT_STOPPED;
}

static void log_refused(const struct options *options, const struct instance *instance,
                        const struct error *error)
{
    char naming[NAMING_SIZE];
    name_instance(options, instance, naming);
    log_error("cannot take over what the last daemon left: %s; all of it is kept. To look at it: "
              "fastallocd --check%s; to try once more: --retry instead, to remove it: --purge",
              error->message, naming);
}

static void log_recovered(const struct instance *instance, const struct recovery *recovery)
{
    if (recovery->rebooted)
        log_warning("began anew, since the machine was started after the last daemon had left "
                    "something in its shared memory instance=%s",
                    instance->name);
    if (recovery->strays < 0)
        log_warning("not all that is nobody's any more in /dev/shm could be removed: %s; the next "
                    "start tries again instance=%s",
                    strerror(-recovery->strays), instance->name);
    if (recovery->pools + recovery->ended + recovery->removed > 0)
        log_warning("went on with what the last daemon left instance=%s pools=%" PRIu32
                    " sessions=%" PRIu32 " ended=%" PRIu32 " removed=%" PRIu32,
                    instance->name, recovery->pools, recovery->sessions, recovery->ended,
                    recovery->removed);
}

/* Of this broker, whose registry is open. 0 or an exit status. */
static int recover(const struct options *options, const struct instance *instance,
                   struct broker *broker)
{
    struct recovery recovery;
    struct error error;
    if (!recovery_run(broker, options->retry, &recovery, &error)) {
        bool stopped = broker->registry.file->failures >= RECOVERY_FAILURES_MAX;
        log_refused(options, instance, &error);
        broker_forget(broker);
        return stopped ? EXIT_STOPPED : EXIT_FAILURE;
    }
    log_recovered(instance, &recovery);
    return EXIT_SUCCESS;
}

/* Of an instance that is locked, so that it isn't running. */
static int purge(struct instance *instance)
{
    static struct broker broker;
    struct recovery recovery;
    const struct broker_rim rim = {0};
    int status = broker_init(&broker, instance->registry, &rim, 0);
    if (status < 0) {
        instance_unlock(instance, false);
        return refuse_registry(instance, status);
    }
    recovery_purge(&broker, &recovery);
    broker_forget(&broker);
    if (recovery.strays < 0)
        log_error("not all objects in /dev/shm could be removed: %s; purge once more",
                  strerror(-recovery.strays));
    else
        log_info("purged instance=%s pools=%" PRIu32 " sessions=%" PRIu32, instance->name,
                 recovery.pools, recovery.sessions);
    instance_unlock(instance, recovery.strays == 0);
    return recovery.strays == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- Serving --------------------------------------------------------------------------------- */

/* Serves until the end. An exit status. Sets whether nothing was left behind, once there was something. */
static int serve(const struct options *options, const struct instance *instance, int fd,
                 bool *empty)
{
    static struct broker broker;
    static struct server server;
    uint32_t kept_pools, kept_sessions;

    const struct broker_rim rim = {connection_answer, connection_let_go, server_offload, &server};
    int status = broker_init(&broker, instance->registry, &rim, (int64_t)uv_hrtime());
    if (status < 0)
        return refuse_registry(instance, status);
    *empty = false;
    broker.create = options->create;
    memcpy(broker.users.max, options->user_max, sizeof(broker.users.max));
    int exit_status = recover(options, instance, &broker);
    if (exit_status != EXIT_SUCCESS)
        return exit_status;
    log_info("serving instance=%s socket=%s pid=%d", instance->name, instance->socket, getpid());
    status = server_run(&server, &broker, instance->name, fd, options->exit_idle);
    if (status < 0)
        log_error("the loop failed: %s", strerror(-status));
    *empty = broker_deinit(&broker, &kept_pools, &kept_sessions);
    if (*empty)
        log_info("ended, nothing left behind instance=%s", instance->name);
    else
        log_kept(options, instance, kept_pools, kept_sessions);
    log_finish();
    return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* With the instance locked. `inherited` is the service manager's socket, or 0. */
static int run(const struct options *options, struct instance *instance, int inherited)
{
    /* As long as nothing is made. What just can't be looked at is there, and isn't removed. */
    bool empty = access(instance->registry, F_OK) < 0 && errno == ENOENT;
    struct stat identity;
    int fd = -1;

    if (leases_work())
        fd = inherited > 0 ? inherited : open_socket(instance, &identity);
    int status = fd < 0 ? EXIT_FAILURE : serve(options, instance, fd, &empty);
    if (fd >= 0 && inherited == 0)
        remove_socket(instance, &identity); /* while its inode can't be another's */
    if (fd >= 0)
        close(fd);
    instance_unlock(instance, empty);
    return status;
}

int main(int argc, char *argv[])
{
    struct options options;
    struct instance instance;
    char text[INSTANCE_TEXT_SIZE];

    if (!open_standard_descriptors())
        return EXIT_FAILURE; /* there is nowhere to say so */
    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return EXIT_SUCCESS;
    case OPTIONS_USAGE:
        return EXIT_USAGE;
    }
    log_set_level(options.log_level);
    set_signals();
    raise_descriptor_limit();
    if (options.check) {
        if (instance_locate(&instance, &options, text))
            return (int)checking_run(&instance);
        log_error("%s", text);
        return CHECKING_IMPOSSIBLE;
    }
    server_hold_signals(true);
    /* Before any descriptor of ours can take the place of one that should have been handed over. */
    int inherited = listen_inherited();
    if (inherited < 0) {
        log_error("%s", listen_describe(inherited));
        return EXIT_FAILURE;
    }
    if (!instance_locate(&instance, &options, text) || !instance_lock(&instance, text)) {
        log_error("%s", text);
        return EXIT_FAILURE;
    }
    return options.purge ? purge(&instance) : run(&options, &instance, inherited);
}
