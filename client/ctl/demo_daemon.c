/* SPDX-License-Identifier: MIT */
#include "demo_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo_process.h"
#include "failure.h"

#define DAEMON_NAME "fastallocd"
#define START_LIMIT 50 /* tries of START_SLICE: 5 s */
#define START_SLICE INT64_C(100000000)
#define EXIT_IDLE "5"   /* s */
#define STOP_LIMIT 5000 /* ms */

/* ---- Finding it ------------------------------------------------------------------------------ */

static bool is_program(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool find_beside(char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (length <= 0)
        return false;
    path[length] = '\0';
    char *name = strrchr(path, '/') + 1;
    if ((size_t)(name - path) + sizeof(DAEMON_NAME) > PATH_MAX)
        return false;
    memcpy(name, DAEMON_NAME, sizeof(DAEMON_NAME));
    return is_program(path);
}

static bool find_on_path(char path[PATH_MAX])
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t length = strcspn(at, ":");
        int printed = snprintf(path, PATH_MAX, "%.*s/%s", (int)length, at, DAEMON_NAME);
        if (length > 0 && printed < PATH_MAX && is_program(path))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* ---- Its socket ------------------------------------------------------------------------------ */

/* In $TMPDIR, unless a socket's path has no room there. */
static int choose_socket(struct private_daemon *daemon)
{
    static const char longest[] = "/fastalloc-demo-12345678.sock";
    const char *parent = getenv("TMPDIR");
    uint32_t number = 0;

    if (!parent || *parent != '/' || strlen(parent) + sizeof(longest) > sizeof(daemon->socket))
        parent = "/tmp";
    if (access(parent, W_OK | X_OK) < 0 || getrandom(&number, sizeof(number), 0) < 0)
        return -errno;
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/fastalloc-demo-%08x.sock", parent, number);
    return 0;
}

/* The socket, or the folder that the daemon has beside it. */
static bool is_left(const struct private_daemon *daemon)
{
    char folder[CHANNEL_SOCKET_SIZE];
    int stem = (int)(strlen(daemon->socket) - strlen(".sock"));

    snprintf(folder, sizeof(folder), "%.*s.d", stem, daemon->socket);
    return access(daemon->socket, F_OK) == 0 || access(folder, F_OK) == 0;
}

/* ---- Its process ----------------------------------------------------------------------------- */

/*
 * A group of its own keeps the terminal's Ctrl-C away from it: the demo needs it for cleaning up.
 * If the demo is killed it ends by itself, once the workers' memory is gone too, and removes its
 * files.
 */
static void become_daemon(const struct private_daemon *daemon, const struct signals *signals,
                          const char *exit_idle)
{
    if (setpgid(0, 0) < 0)
        _exit(127);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (dup2(input, 0) < 0 || dup2(daemon->log, 1) < 0 || dup2(daemon->log, 2) < 0)
        _exit(127);
    sigprocmask(SIG_SETMASK, &signals->old, NULL);
    execl(daemon->program, DAEMON_NAME, "--socket", daemon->socket, "--exit-idle", exit_idle,
          (char *)NULL);
    dprintf(2, "%s: %s\n", daemon->program, strerror(errno));
    _exit(127);
}

static int spawn(struct private_daemon *daemon, const struct signals *signals,
                 const char *exit_idle)
{
    pid_t pid = fork();

    if (pid == 0)
        become_daemon(daemon, signals, exit_idle);
    if (pid < 0)
        return -errno;
    daemon->pid = pid;
    return 0;
}

bool private_daemon_stop(struct private_daemon *daemon, const struct signals *signals)
{
    if (daemon->pid == 0)
        return true;
    kill(daemon->pid, SIGTERM);
    kill(daemon->pid, SIGCONT); /* somebody may have stopped it */
    if (process_await(daemon->pid, STOP_LIMIT) != 0 && spawn(daemon, signals, "0") == 0)
        (void)process_await(daemon->pid, STOP_LIMIT);
    daemon->pid = 0;
    close(daemon->log);
    return !is_left(daemon);
}

/* ---- Its start ------------------------------------------------------------------------------- */

static bool has_ended(struct private_daemon *daemon)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)daemon->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == daemon->pid;
}

/* Tells why it ended, in the last words of its log. */
static int fail_ended(const struct private_daemon *daemon, fastalloc_error_t *error)
{
    char log[300] = "";
    const off_t room = sizeof(log) - 1;
    off_t size = lseek(daemon->log, 0, SEEK_END);
    ssize_t length = pread(daemon->log, log, (size_t)room, size > room ? size - room : 0);

    while (length > 0 && log[length - 1] == '\n')
        log[--length] = '\0';
    const char *newline = strrchr(log, '\n');
    return failure_set(error, -ECHILD, "fastallocd ended while starting: %s",
                       newline ? newline + 1 : log);
}

static int await_answer(struct private_daemon *daemon, struct signals *signals,
                        fastalloc_error_t *error)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    fastalloc_connection_t *connection = NULL;
    struct pollfd entry;
    int result = 0;

    options.socket = daemon->socket;
    options.connect_limit = START_SLICE;
    options.reply_limit = DEMO_REPLY_LIMIT;
    for (int i = 0; i < START_LIMIT; i++) {
        result = fastalloc_connect(&options, &connection, error);
        fastalloc_disconnect(connection);
        if (result != FASTALLOC_ERR_UNREACHABLE)
            return result;
        if (has_ended(daemon))
            return fail_ended(daemon, error);
        if (signals_poll(signals, &entry, 1, 0) == -EINTR)
            return failure_set(error, -EINTR, "interrupted");
    }
    return result;
}

int private_daemon_start(struct private_daemon *daemon, struct signals *signals,
                         fastalloc_error_t *error)
{
    if (!find_beside(daemon->program) && !find_on_path(daemon->program))
        return failure_set(
            error, -ENOENT,
            "no daemon answers, and there is no fastallocd to start, neither beside fastallocctl "
            "nor on PATH");
    int result = choose_socket(daemon);
    if (result < 0)
        return failure_set(error, result, "cannot find a place for the daemon's socket: %s",
                           strerror(-result));
    daemon->log = memfd_create("fastallocd-log", MFD_CLOEXEC);
    result = daemon->log < 0 ? -errno : spawn(daemon, signals, EXIT_IDLE);
    if (result < 0) {
        close(daemon->log);
        return failure_set(error, result, "cannot start fastallocd: %s", strerror(-result));
    }
    return await_answer(daemon, signals, error);
}
