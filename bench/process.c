/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* sched_setaffinity */
#include "bench/process.h"

#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECT_LIMIT INT64_C(10000000000)

/* ---- Cores ----------------------------------------------------------------------------------- */

void process_pin(pid_t pid, int core)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (sched_setaffinity(pid, sizeof(cores), &cores) < 0)
        err(1, "cannot pin process %d to core %d", pid, core);
}

int process_core(int n)
{
    static cpu_set_t cores; /* of the beginning, before anything was pinned */
    if (CPU_COUNT(&cores) == 0 && sched_getaffinity(0, sizeof(cores), &cores) < 0)
        err(1, "cannot see which cores there are");
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &cores) && n-- == 0)
            return core;
    return -1;
}

static void end_process(pid_t pid, int signal)
{
    int status;
    kill(pid, signal);
    if (waitpid(pid, &status, 0) < 0)
        err(1, "waiting for process %d", pid);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

static void find_daemon(char *path, size_t room)
{
    const char *named = getenv("FASTALLOCD");
    if (named) {
        snprintf(path, room, "%s", named);
        return;
    }
    ssize_t size = readlink("/proc/self/exe", path, room - 1);
    path[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(path, '/');
    size_t begin = slash ? (size_t)(slash - path) : 0;
    snprintf(path + begin, room - begin, "/../bin/fastallocd");
}

void daemon_start(struct daemon_process *daemon)
{
    char path[4096];
    find_daemon(path, sizeof(path));
    strcpy(daemon->directory, "/tmp/fastalloc-bench.XXXXXX");
    if (!mkdtemp(daemon->directory))
        err(1, "%s", daemon->directory);
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/bench.sock", daemon->directory);

    daemon->pid = fork();
    if (daemon->pid < 0)
        err(1, "fork");
    if (daemon->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl(path, path, "--socket", daemon->socket, "--log-level", "warning", (char *)NULL);
    err(1, "%s", path);
}

void daemon_stop(struct daemon_process *daemon)
{
    end_process(daemon->pid, SIGTERM);
    if (rmdir(daemon->directory) < 0)
        warn("%s", daemon->directory);
}

fastalloc_connection_t *daemon_connect(const struct daemon_process *daemon)
{
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = daemon->socket;
    options.connect_limit = CONNECT_LIMIT;
    if (fastalloc_connect(&options, &connection, &error) < 0)
        errx(1, "%s", error.message);
    return connection;
}

fastalloc_pool_t *daemon_pool(fastalloc_connection_t *connection, const char *name,
                              enum fastalloc_kind kind, uint64_t object_size, uint64_t capacity)
{
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.kind = kind;
    options.object_size = object_size;
    options.capacity = capacity;
    if (fastalloc_open(connection, name, &options, &pool, &error) < 0)
        errx(1, "%s", error.message);
    return pool;
}

/* ---- The bare server ------------------------------------------------------------------------- */

static _Noreturn void serve(int fd, size_t reply)
{
    char data[ECHO_SIZE_MAX] = {0};
    struct epoll_event event = {.events = EPOLLIN};
    int loop = epoll_create1(0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll");
    while (epoll_wait(loop, &event, 1, -1) == 1 && recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0 &&
           send(fd, data, reply, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)reply)
        continue;
    _exit(0);
}

void echo_start(struct echo_process *echo, size_t request, size_t reply)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        err(1, "socketpair");
    *echo = (struct echo_process){.fd = ends[0], .request = request, .reply = reply};
    echo->pid = fork();
    if (echo->pid < 0)
        err(1, "fork");
    if (echo->pid == 0) {
        close(ends[0]);
        serve(ends[1], reply);
    }
    close(ends[1]);
}

void echo_stop(struct echo_process *echo)
{
    close(echo->fd);
    end_process(echo->pid, SIGKILL);
}

void echo_call(const struct echo_process *echo)
{
    char data[ECHO_SIZE_MAX] = {0};
    if (send(echo->fd, data, echo->request, MSG_NOSIGNAL) != (ssize_t)echo->request ||
        recv(echo->fd, data, sizeof(data), 0) != (ssize_t)echo->reply)
        err(1, "the bare server");
}
