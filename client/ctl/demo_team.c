/* SPDX-License-Identifier: MIT */
#include "demo_team.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "demo_process.h"

#define LEAVE_LIMIT 2000 /* ms; one that is stopped doesn't leave */

/* Both ends of everything, while the processes are being made. */
struct plumbing {
    int controls[TEAM_SIZE][2]; /* parent's, worker's */
    int lines[DEMO_READERS][2]; /* writer's, reader's */
};

static const char *const names[TEAM_SIZE] = {
    "demo-reader-1",
    "demo-reader-2",
    "demo-reader-3",
    "demo-writer",
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void plumbing_deinit(struct plumbing *plumbing)
{
    for (unsigned i = 0; i < TEAM_SIZE; i++) {
        close_fd(&plumbing->controls[i][0]);
        close_fd(&plumbing->controls[i][1]);
    }
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        close_fd(&plumbing->lines[i][0]);
        close_fd(&plumbing->lines[i][1]);
    }
}

static int plumbing_init(struct plumbing *plumbing)
{
    int result = 0;

    for (unsigned i = 0; i < TEAM_SIZE; i++)
        plumbing->controls[i][0] = plumbing->controls[i][1] = -1;
    for (unsigned i = 0; i < DEMO_READERS; i++)
        plumbing->lines[i][0] = plumbing->lines[i][1] = -1;
    for (unsigned i = 0; i < TEAM_SIZE && result == 0; i++)
        result = channel_pair(plumbing->controls[i]);
    for (unsigned i = 0; i < DEMO_READERS && result == 0; i++)
        result = channel_pair(plumbing->lines[i]);
    if (result < 0)
        plumbing_deinit(plumbing);
    return result;
}

static int take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/*
 * In the child: takes the ends that are its own and closes all others, so that each end has one
 * holder.
 */
static int work(struct plumbing *plumbing, const struct team_plan *plan, unsigned place)
{
    int lines[DEMO_READERS] = {-1, -1, -1};
    struct worker_job job = {
        .name = names[place],
        .control = take(&plumbing->controls[place][1]),
        .rule = plan->rule,
        .file = plan->file,
        .lines = lines,
        .pause_at = place == plan->victim ? plan->pause_at : 0,
    };

    if (place == TEAM_WRITER) {
        for (unsigned i = 0; i < DEMO_READERS; i++)
            lines[i] = take(&plumbing->lines[i][0]);
    } else {
        lines[0] = take(&plumbing->lines[place][1]);
    }
    plumbing_deinit(plumbing);
    return place == TEAM_WRITER ? writer_run(&job) : reader_run(&job);
}

/* Ctrl-C reaches every process of the terminal; it is the parent that acts on it. */
static void settle(const struct team_plan *plan, unsigned place, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    prctl(PR_SET_NAME, names[place]);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigprocmask(SIG_SETMASK, &plan->signals->old, NULL);
    close(plan->signals->fd);
    if (place != TEAM_WRITER)
        close(plan->file);
}

static int fork_worker(struct team *team, struct plumbing *plumbing, const struct team_plan *plan,
                       unsigned place)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        settle(plan, place, parent);
        for (unsigned i = 0; i < place; i++)
            close_fd(&team->workers[i].control);
        _exit(work(plumbing, plan, place));
    }
    team->workers[place].pid = pid;
    team->workers[place].control = take(&plumbing->controls[place][0]);
    return 0;
}

int team_start(struct team *team, const struct team_plan *plan)
{
    struct plumbing plumbing;
    int result = plumbing_init(&plumbing);

    for (unsigned i = 0; i < TEAM_SIZE; i++)
        team->workers[i] = (struct worker){.pid = 0, .control = -1};
    if (result < 0)
        return result;
    fflush(stdout);
    for (unsigned i = 0; i < TEAM_SIZE && result == 0; i++)
        result = fork_worker(team, &plumbing, plan, i);
    plumbing_deinit(&plumbing);
    if (result < 0)
        team_kill_all(team);
    return result;
}

void team_reap(struct team *team, unsigned worker)
{
    struct worker *gone = &team->workers[worker];

    close_fd(&gone->control);
    if (gone->pid > 0)
        gone->status = process_await(gone->pid, LEAVE_LIMIT);
    gone->pid = 0;
}

void team_kill(struct team *team, unsigned worker)
{
    if (team->workers[worker].pid > 0)
        kill(team->workers[worker].pid, SIGKILL);
    team_reap(team, worker);
}

/* The writer first, which would otherwise take the readers for lost. */
void team_dismiss(struct team *team)
{
    team_reap(team, TEAM_WRITER);
    for (unsigned i = 0; i < DEMO_READERS; i++)
        team_reap(team, i);
}

void team_kill_all(struct team *team)
{
    for (unsigned i = 0; i < TEAM_SIZE; i++)
        team_kill(team, i);
}
