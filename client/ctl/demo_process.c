/* SPDX-License-Identifier: MIT */
#include "demo_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define NAP 10 /* ms, where there is no descriptor to wait on */

int process_await(pid_t pid, int limit)
{
    struct pollfd entry = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    uint64_t start = clock_now();
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        int passed = (int)((clock_now() - start) / 1000000);
        if (passed >= limit) {
            kill(pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                continue;
            break;
        }
        poll(&entry, 1, entry.fd >= 0 ? limit - passed : NAP);
    }
    if (entry.fd >= 0)
        close(entry.fd);
    return status;
}
