/* SPDX-License-Identifier: MIT */
#include "demo_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int process_await(pid_t pid, int limit)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    int status = 0;

    if (pidfd >= 0 && poll(&entry, 1, limit) == 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pidfd >= 0)
        close(pidfd);
    return status;
}
