/* SPDX-License-Identifier: MIT */
#include "demo_signals.h"

#include <errno.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

int signals_init(struct signals *signals)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signals->caught = 0;
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0)
        return -errno;
    sigprocmask(SIG_BLOCK, &set, &signals->old);
    signal(SIGCHLD, SIG_DFL); /* or children that ended couldn't be waited for */
    return 0;
}

void signals_deinit(struct signals *signals)
{
    close(signals->fd);
    if (signals->caught) {
        fflush(stdout);
        signal(signals->caught, SIG_DFL);
        raise(signals->caught);
    }
    sigprocmask(SIG_SETMASK, &signals->old, NULL);
}

int signals_poll(struct signals *signals, struct pollfd *entries, unsigned count, int limit)
{
    struct signalfd_siginfo info;
    int ready = 0;

    entries[count - 1] = (struct pollfd){.fd = signals->fd, .events = POLLIN};
    do
        ready = poll(entries, count, limit);
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return -errno;
    if (entries[count - 1].revents && read(signals->fd, &info, sizeof(info)) == sizeof(info)) {
        signals->caught = (int)info.ssi_signo;
        return -EINTR;
    }
    return ready == 0 ? -ETIMEDOUT : 0;
}
