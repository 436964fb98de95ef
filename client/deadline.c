/* SPDX-License-Identifier: MIT */
#include "client/deadline.h"

#include <poll.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

static struct timespec timespec_of(int64_t nanoseconds)
{
    return (struct timespec){.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
}

int64_t deadline_in(int64_t duration)
{
    return deadline_extend(now(), duration);
}

int64_t deadline_extend(int64_t deadline, int64_t duration)
{
    int64_t sum;
    if (duration < 0 || __builtin_add_overflow(deadline, duration, &sum))
        return DEADLINE_NEVER;
    return sum;
}

int64_t deadline_left(int64_t deadline)
{
    int64_t left = deadline - now();
    return left > 0 ? left : 0;
}

void deadline_poll(int fd, short events, int64_t deadline)
{
    struct pollfd poll = {.fd = fd, .events = events};
    struct timespec left = timespec_of(deadline_left(deadline));
    ppoll(&poll, 1, &left, NULL);
}

void deadline_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline)
{
    struct timespec until = timespec_of(deadline);
    pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &until);
}
