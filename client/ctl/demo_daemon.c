/* SPDX-License-Identifier: MIT */
#include "demo_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* ---- Its directory --------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    (void)remove(path);
    return 0;
}

static void remove_directory(struct private_daemon *daemon)
{
    (void)nftw(daemon->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Below $TMPDIR, unless a socket's path has no room there. */
static int make_directory(struct private_daemon *daemon)
{
    static const char pattern[] = "fastalloc-demo-XXXXXX";
    const char *parent = getenv("TMPDIR");

    if (!parent || *parent != '/' ||
        strlen(parent) + sizeof(pattern) + 1 > sizeof(daemon->directory))
        parent = "/tmp";
    snprintf(daemon->directory, sizeof(daemon->directory), "%s/%s", parent, pattern);
    if (!mkdtemp(daemon->directory))
        return -errno;
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/demo.sock", daemon->directory);
    snprintf(daemon->log, sizeof(daemon->log), "%s/log", daemon->directory);
    return 0;
}

/* ---- Its process ----------------------------------------------------------------------------- */

/*
 * A group of its own keeps the terminal's Ctrl-C away from it: the demo needs it for cleaning up. If the
 * demo is killed it ends by itself, once the workers' memory is gone too.
 */
static void become_daemon(const struct private_daemon *daemon, const struct signals *signals,
                          const char *exit_idle)
{
    if (setpgid(0, 0) < 0)
        _exit(127);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (dup2(input, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
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

void private_daemon_stop(struct private_daemon *daemon, const struct signals *signals)
{
    if (daemon->pid == 0)
        return;
    kill(daemon->pid, SIGTERM);
    kill(daemon->pid, SIGCONT); /* somebody may have stopped it */
    if (process_await(daemon->pid, STOP_LIMIT) != 0 && spawn(daemon, signals, "0") == 0)
        (void)process_await(daemon->pid, STOP_LIMIT);
    daemon->pid = 0;
    remove_directory(daemon);
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
    size_t length = 0;

    FILE *file = fopen(daemon->log, "re");
    if (file) {
        if (fseek(file, -(long)(sizeof(log) - 1), SEEK_END) < 0)
            rewind(file);
        length = fread(log, 1, sizeof(log) - 1, file);
        fclose(file);
    }
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
    int result = make_directory(daemon);
    if (result < 0)
        return failure_set(error, result, "cannot make a directory for the daemon: %s",
                           strerror(-result));
    result = spawn(daemon, signals, EXIT_IDLE);
    if (result < 0) {
        remove_directory(daemon);
        return failure_set(error, result, "cannot start fastallocd: %s", strerror(-result));
    }
    result = await_answer(daemon, signals, error);
    if (result < 0)
        private_daemon_stop(daemon, signals);
    return result;
}
