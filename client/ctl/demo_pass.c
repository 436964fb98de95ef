/* SPDX-License-Identifier: MIT */
/*
 * The parent while the lines pass: it listens to its workers, kills the victim when that is in the
 * middle of a line, and reads the totals in place at the end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"
#include "demo.h"
#include "demo_report.h"

#define RECLAIM_LIMIT UINT64_C(5000000000) /* ns; a few hundred thousand are usual */

/* ---- Starting -------------------------------------------------------------------------------- */

/* A worker that is gone already shows when its channel is read. */
static int start_worker(struct demo *demo, unsigned worker)
{
    struct message start = {.kind = MESSAGE_START};
    const char *socket = demo->daemon.pid ? demo->daemon.socket : demo->call->socket;

    snprintf(start.socket, sizeof(start.socket), "%s", socket ? socket : "");
    snprintf(start.pool, sizeof(start.pool), "%s", demo->pool_name);
    int result = channel_send(demo->team.workers[worker].control, &start, sizeof(start));
    if (result < 0 && result != -EPIPE)
        return demo_fail(demo, result, "cannot start a worker: %s", strerror(-result));
    return 0;
}

/* The writer begins when each reader either has its slot or is gone. */
static int start_writer(struct demo *demo)
{
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        if (!demo->readers[i].ready && !demo->readers[i].gone)
            return 0;
    }
    if (demo->writer_started)
        return 0;
    demo->writer_started = true;
    demo->start = clock_now();
    return start_worker(demo, TEAM_WRITER);
}

/* ---- The kill -------------------------------------------------------------------------------- */

/* Waits until the handle of the victim's own slot is stale: what it held is the pool's again. */
static int await_reclaim(struct demo *demo, fastalloc_handle_t slot, uint64_t killed)
{
    const struct timespec pause = {.tv_nsec = 20000};

    while (fastalloc_get(demo->pool, slot)) {
        nanosleep(&pause, NULL);
        if (clock_now() - killed > RECLAIM_LIMIT)
            return demo_fail(demo, -ETIMEDOUT,
                             "the slot of the killed reader did not come back within 5 s");
    }
    demo->kill.reclaim_duration = clock_now() - killed;
    return 0;
}

static bool is_alive(const struct demo *demo, unsigned reader)
{
    struct pollfd entry = {.fd = demo->team.workers[reader].control};

    return entry.fd >= 0 && poll(&entry, 1, 0) >= 0 && !(entry.revents & POLLHUP);
}

static bool others_live(const struct demo *demo)
{
    bool live = false;

    for (unsigned i = 0; i < DEMO_READERS; i++)
        live = live || (i != DEMO_VICTIM && is_alive(demo, i));
    return live;
}

/* `piece` as in struct demo_kill. */
static int kill_victim(struct demo *demo, uint64_t piece)
{
    struct demo_reader *victim = &demo->readers[DEMO_VICTIM];
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;

    uint64_t now = clock_now();
    team_kill(&demo->team, DEMO_VICTIM);
    victim->gone = true;
    demo->kill.done = true;
    demo->kill.piece = piece;
    int result = await_reclaim(demo, victim->slot, now);
    if (result == 0)
        result = fastalloc_pool_stats(demo->connection, demo->pool_name, &stats, &demo->error);
    if (result < 0)
        return result;
    demo->kill.reclaimed = stats.reclaimed;
    return 0;
}

/* Kills the victim, unless it is gone already, or is the last one. */
static int try_to_kill(struct demo *demo, uint64_t piece)
{
    const struct message go_on = {.kind = MESSAGE_GO_ON};
    const struct demo_reader *victim = &demo->readers[DEMO_VICTIM];

    if (victim->gone || victim->recorded)
        return 0;
    if (others_live(demo))
        return kill_victim(demo, piece);
    if (piece > 0)
        (void)channel_send(demo->team.workers[DEMO_VICTIM].control, &go_on, sizeof(go_on));
    return 0;
}

/* ---- What workers say ------------------------------------------------------------------------ */

static int take_ready(struct demo *demo, unsigned worker, const struct message *message)
{
    demo->readers[worker].ready = true;
    demo->readers[worker].slot = message->slot;
    return start_writer(demo);
}

static int take_lost(struct demo *demo, const struct message *message)
{
    if (message->reader >= DEMO_READERS)
        return demo_fail(demo, -EPROTO, "the writer lost a reader that doesn't exist");
    struct demo_reader *reader = &demo->readers[message->reader];
    reader->recorded = true;
    reader->slot = message->slot;
    reader->handed_on = message->amount;
    report_lost(demo, message->reader);
    return 0;
}

/* A victim that had no line is killed all the same. */
static int take_done(struct demo *demo, const struct message *message)
{
    demo->writer_done = true;
    demo->duration = clock_now() - demo->start;
    demo->pieces = message->amount;
    return try_to_kill(demo, 0);
}

/*
 * A reader that sees lines vanish is right, but that the writer is gone is the better explanation.
 */
static int take_failed(struct demo *demo, unsigned worker, const struct message *message)
{
    int status = 0;
    struct worker *writer = &demo->team.workers[TEAM_WRITER];

    if (worker != TEAM_WRITER && writer->pid > 0 &&
        waitpid(writer->pid, &status, WNOHANG) == writer->pid) {
        writer->pid = 0;
        return demo_fail(demo, -ECHILD, "the writer ended before its time");
    }
    demo->error = message->error;
    return demo->error.code < 0 ? demo->error.code : -EPROTO;
}

static int take_message(struct demo *demo, unsigned worker, const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_READY:
        if (worker == TEAM_WRITER)
            return demo_fail(demo, -EPROTO, "the writer says that it is a reader");
        return take_ready(demo, worker, message);
    case MESSAGE_PAUSED:
        return try_to_kill(demo, message->amount + 1);
    case MESSAGE_PROGRESS:
        report_progress(demo, message->amount);
        return 0;
    case MESSAGE_LOST:
        return take_lost(demo, message);
    case MESSAGE_DONE:
        return take_done(demo, message);
    case MESSAGE_FAILED:
        return take_failed(demo, worker, message);
    default:
        return demo_fail(demo, -EPROTO, "a worker says what nobody understands");
    }
}

/* A reader may go at any time, by whoever's hand. The writer may not. */
static int take_end(struct demo *demo, unsigned worker)
{
    team_reap(&demo->team, worker);
    if (worker == TEAM_WRITER)
        return demo_fail(demo, -ECHILD, "the writer ended before its time");
    demo->readers[worker].gone = true;
    return start_writer(demo);
}

static int take_from(struct demo *demo, unsigned worker)
{
    struct message message;

    while (demo->team.workers[worker].control >= 0) {
        ssize_t got =
            channel_receive(demo->team.workers[worker].control, &message, sizeof(message));
        if (got == -EAGAIN)
            return 0;
        if (got == 0)
            return take_end(demo, worker);
        if (got != sizeof(message))
            return demo_fail(demo, got < 0 ? (int)got : -EPROTO,
                             "a worker says what nobody understands");
        int result = take_message(demo, worker, &message);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- The end --------------------------------------------------------------------------------- */

static bool is_over(const struct demo *demo)
{
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        if (demo->readers[i].gone && !demo->readers[i].recorded)
            return false;
    }
    return demo->writer_done;
}

/*
 * Reads the totals where they lie and adds them up. False: a reader is gone after all, and its
 * slot with it.
 */
static bool read_totals(struct demo *demo)
{
    for (unsigned i = 0; i < DEMO_READERS; i++) {
        struct demo_reader *reader = &demo->readers[i];
        const struct totals *totals = fastalloc_get(demo->pool, reader->slot);
        if (!totals)
            return false;
        reader->totals = *totals;
        if (!fastalloc_still_valid(demo->pool, reader->slot))
            return false;
    }
    for (unsigned i = 0; i < DEMO_READERS; i++)
        counts_add(&demo->total, &demo->readers[i].totals.counts);
    return true;
}

/* What has no totals to read must be a reader that is gone, not the pool. */
static int check_pool(struct demo *demo)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;

    return fastalloc_pool_stats(demo->connection, demo->pool_name, &stats, &demo->error);
}

static int turn(struct demo *demo)
{
    struct pollfd entries[TEAM_SIZE + 1];

    for (unsigned i = 0; i < TEAM_SIZE; i++)
        entries[i] = (struct pollfd){.fd = demo->team.workers[i].control, .events = POLLIN};
    int result = signals_poll(&demo->signals, entries, TEAM_SIZE + 1, -1);
    if (result < 0)
        return demo_fail(demo, result, result == -EINTR ? "interrupted" : "cannot wait: %s",
                         strerror(-result));
    for (unsigned i = 0; i < TEAM_SIZE && result == 0; i++)
        result = entries[i].revents ? take_from(demo, i) : 0;
    return result;
}

int demo_pass(struct demo *demo)
{
    int result = 0;

    for (unsigned i = 0; i < DEMO_READERS && result == 0; i++)
        result = start_worker(demo, i);
    while (result == 0) {
        bool over = is_over(demo);
        if (over && read_totals(demo))
            break;
        if (over)
            result = check_pool(demo);
        if (result == 0)
            result = turn(demo);
    }
    report_clear(demo);
    return result;
}
