/* SPDX-License-Identifier: MIT */
#include "demo.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#include "demo_report.h"
#include "demo_wc.h"
#include "failure.h"
#include "must.h"
#include "report.h"

int demo_fail(struct demo *demo, int result, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    failure_set_list(&demo->error, result, format, arguments);
    va_end(arguments);
    return result;
}

/*
 * Everything that can be wrong with the machine or the file is found before a process is started.
 */
static int prepare(struct demo *demo)
{
    int result = demo_open_input(demo);

    return result < 0 ? result : wc_probe(&demo->signals, &demo->rule, &demo->error);
}

static int assemble(struct demo *demo)
{
    struct team_plan plan = {
        .file = demo->fd,
        .rule = demo->rule,
        .victim = DEMO_VICTIM,
        .pause_at = demo->pause_at,
        .signals = &demo->signals,
    };
    int result = team_start(&demo->team, &plan);

    if (result < 0)
        return demo_fail(demo, result, "cannot start processes: %s", strerror(-result));
    for (unsigned i = 0; i < DEMO_READERS; i++)
        demo->readers[i].pid = demo->team.workers[i].pid;
    return 0;
}

/* The team comes first: whoever forks has no connection yet. */
static int play(struct demo *demo)
{
    int result = prepare(demo);

    if (result == 0)
        result = assemble(demo);
    if (result == 0)
        result = demo_connect(demo);
    if (result == 0)
        result = demo_make_pool(demo);
    if (result < 0)
        return result;
    report_opening(demo);
    result = demo_exhaust(demo);
    if (result < 0)
        return result;
    report_exhausted(demo);
    report_passing(demo);
    result = demo_pass(demo);
    if (result < 0)
        return result;
    report_passed(demo);
    result = demo_count(demo);
    return result == 0 ? demo_leave(demo) : result;
}

/* A signal that came while the daemon was waited for is why that was given up. */
static int explain(struct demo *demo, int result)
{
    struct pollfd entry;

    if (result < 0 && signals_poll(&demo->signals, &entry, 1, 0) == -EINTR)
        return demo_fail(demo, -EINTR, "interrupted");
    return result;
}

static bool remove_pool(struct demo *demo)
{
    int result = 0;

    fastalloc_close(demo->pool);
    if (demo->pool_made)
        result = fastalloc_pool_destroy(demo->connection, demo->pool_name, true, NULL);
    return result == 0 || result == FASTALLOC_ERR_NO_SUCH_POOL;
}

/*
 * Leaves nothing behind, however far it came; what is left all the same goes to demo->left. Only
 * SIGKILL spares the demo this: a pool at a daemon that isn't its own stays then.
 */
static void clean_up(struct demo *demo)
{
    bool private = demo->daemon.pid > 0;

    team_kill_all(&demo->team);
    bool removed = remove_pool(demo);
    fastalloc_disconnect(demo->connection);
    if (!private_daemon_stop(&demo->daemon, &demo->signals))
        snprintf(demo->left, sizeof(demo->left), "%s and what has its name", demo->daemon.socket);
    else if (!private && !removed)
        snprintf(demo->left, sizeof(demo->left), "the pool %s", demo->pool_name);
    if (demo->fd >= 0)
        close(demo->fd);
}

static int report_failed(struct demo *demo)
{
    fastalloc_error_t *error = &demo->error;
    size_t length = strlen(error->message);

    if (*demo->left)
        snprintf(error->message + length, sizeof(error->message) - length, "; what may be left: %s",
                 demo->left);
    return report_error(demo->call, error);
}

static int report_result(struct demo *demo, int result)
{
    if (result < 0)
        return report_failed(demo);
    if (demo->call->json) {
        report_json(demo);
    } else {
        report_totals(demo);
        report_end(demo);
    }
    if (!demo->agree)
        fprintf(stderr, "fastallocctl: the totals don't agree%s\n",
                demo->total.bytes != demo->file_size ? "; did the file change meanwhile?" : "");
    if (*demo->left)
        fprintf(stderr, "fastallocctl: what may be left: %s\n", demo->left);
    return demo->agree && !*demo->left ? STATUS_OK : STATUS_FAILED;
}

int demo_run(const struct call *call)
{
    struct demo *demo = must(calloc(1, sizeof(*demo)));
    int result = 0;

    demo->call = call;
    demo->fd = -1;
    demo->error = FASTALLOC_ERROR_INIT;
    demo->exhausted = FASTALLOC_ERROR_INIT;
    demo->stats = FASTALLOC_STATS_INIT;
    for (unsigned i = 0; i < TEAM_SIZE; i++)
        demo->team.workers[i].control = -1;
    result = signals_init(&demo->signals);
    if (result < 0) {
        free(demo);
        return report_failure(call, result, "cannot watch for signals: %s", strerror(-result));
    }
    result = explain(demo, play(demo));
    clean_up(demo);
    int status = report_result(demo, result);
    signals_deinit(&demo->signals);
    free(demo);
    return status;
}
