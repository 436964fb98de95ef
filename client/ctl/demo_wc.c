/* SPDX-License-Identifier: MIT */
#include "demo_wc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failure.h"

static void become_wc(const struct signals *signals, int input, int output)
{
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0)
        _exit(127);
    setenv("LC_ALL", "C", 1);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &signals->old, NULL);
    execl("/usr/bin/wc", "wc", "-lwc", (char *)NULL);
    execlp("wc", "wc", "-lwc", (char *)NULL);
    _exit(127);
}

/* Collects the little that it prints. */
static int read_answer(struct signals *signals, int fd, char *answer, size_t size)
{
    size_t length = 0;

    while (length < size - 1) {
        struct pollfd entries[2] = {{.fd = fd, .events = POLLIN}};
        int result = signals_poll(signals, entries, 2, -1);
        if (result < 0)
            return result;
        ssize_t got = read(fd, answer + length, size - 1 - length);
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    answer[length] = '\0';
    return 0;
}

static int parse_answer(const char *answer, struct counts *counts)
{
    uint64_t numbers[3];
    const char *at = answer;

    for (int i = 0; i < 3; i++) {
        char *end = NULL;
        numbers[i] = strtoull(at, &end, 10);
        if (end == at)
            return -EPROTO;
        at = end;
    }
    *counts = (struct counts){numbers[0], numbers[1], numbers[2]};
    return 0;
}

/* What is wrong with how it ran, or with how it ended. */
static int check_end(int result, int status, fastalloc_error_t *error)
{
    if (result == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
        result = -ENOENT;
    if (result == -EINTR)
        return failure_set(error, result, "interrupted");
    if (result < 0)
        return failure_set(error, result, "cannot run wc: %s", strerror(-result));
    if (WIFSIGNALED(status))
        return failure_set(error, -ECHILD, "wc failed (signal %d)", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return failure_set(error, -ECHILD, "wc failed (status %d)", WEXITSTATUS(status));
    return 0;
}

static int run_wc(struct signals *signals, int input, struct counts *counts,
                  fastalloc_error_t *error)
{
    char answer[128];
    int fds[2];
    int status = 0;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return check_end(-errno, 0, error);
    pid_t pid = fork();
    if (pid == 0)
        become_wc(signals, input, fds[1]);
    close(fds[1]);
    int result = pid < 0 ? -errno : read_answer(signals, fds[0], answer, sizeof(answer));
    close(fds[0]);
    if (pid > 0 && result < 0)
        kill(pid, SIGKILL);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    result = check_end(result, status, error);
    if (result == 0 && parse_answer(answer, counts) < 0)
        result = failure_set(error, -EPROTO, "wc says what nobody understands");
    return result;
}

int wc_probe(struct signals *signals, enum word_rule *rule, fastalloc_error_t *error)
{
    struct counts counts = {0, 0, 0};
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return check_end(-errno, 0, error);
    int result = write(fds[1], "\001", 1) == 1 ? 0 : check_end(-errno, 0, error);
    close(fds[1]);
    if (result == 0)
        result = run_wc(signals, fds[0], &counts, error);
    close(fds[0]);
    if (result == 0)
        *rule = counts.words ? WORD_ANY : WORD_PRINTABLE;
    return result;
}

int wc_count(struct signals *signals, int file, struct counts *counts, fastalloc_error_t *error)
{
    if (lseek(file, 0, SEEK_SET) < 0)
        return check_end(-errno, 0, error);
    return run_wc(signals, file, counts, error);
}
