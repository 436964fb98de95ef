/* SPDX-License-Identifier: MIT */
#include "tests/lib/program.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 10000 /* for anything that a program has to do */

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* In the child. */
static _Noreturn void execute(const char *const arguments[], int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (arguments[0])
        execv(arguments[0], (char *const *)(const void *)arguments);
    perror("execv");
    _exit(127);
}

void program_start(struct program *program, const char *const arguments[])
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    *program = (struct program){.output = ends[0]};
    program->pid = fork();
    ck_assert_int_ge(program->pid, 0);
    if (program->pid == 0)
        execute(arguments, ends[1]);
    close(ends[1]);
}

/* Whether there was something, if only the end. */
static bool read_more(struct program *program, int64_t ms)
{
    struct pollfd poller = {program->output, POLLIN, 0};
    if (program->ended || ms <= 0 || poll(&poller, 1, (int)ms) <= 0)
        return false;
    ck_assert_uint_lt(program->size, sizeof(program->text) - 1);
    ssize_t size = read(program->output, program->text + program->size,
                        sizeof(program->text) - 1 - program->size);
    ck_assert_int_ge(size, 0);
    program->ended = size == 0;
    program->size += (size_t)size;
    program->text[program->size] = '\0';
    return true;
}

bool program_says(struct program *program, const char *what, int ms)
{
    int64_t end = now_ms() + ms;
    while (!strstr(program->text, what))
        if (!read_more(program, end - now_ms()))
            return false;
    return true;
}

int program_wait(struct program *program)
{
    int status;
    int64_t end = now_ms() + LIMIT_MS;
    while (read_more(program, end - now_ms()))
        ;
    ck_assert_msg(program->ended, "still runs, and said: %s", program->text);
    ck_assert_int_eq(waitpid(program->pid, &status, 0), program->pid);
    close(program->output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int program_run(struct program *program, const char *const arguments[])
{
    program_start(program, arguments);
    return program_wait(program);
}

int program_end(struct program *program, int signal)
{
    ck_assert_int_eq(kill(program->pid, signal), 0);
    return program_wait(program);
}
