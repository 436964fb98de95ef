/* SPDX-License-Identifier: MIT */
#include "client/pending.h"

#include "client/deadline.h"

/* For a daemon that answers: what it says when a call's time is over says more than we can. */
#define GRACE INT64_C(50000000)

/* ---- The calls ------------------------------------------------------------------------------- */

void pending_add(struct channel *channel, struct call *call)
{
    TAILQ_INSERT_TAIL(&channel->pending, call, in_pending);
    channel->unsent++;
    channel->allocates += call->number != NULL;
}

void pending_end(struct channel *channel, struct call *call, int result)
{
    TAILQ_REMOVE(&channel->pending, call, in_pending);
    if (call->change && *call->change != 0)
        TAILQ_REMOVE(&channel->changes, call, in_changes);
    channel->unsent -= !call->sent;
    channel->allocates -= call->number != NULL;
    channel->started -= call->started;
    call->started = false;
    call->result = result;
    call->done = true;
    if (call->waits)
        pthread_cond_signal(&call->wake);
}

struct call *pending_find(struct channel *channel, uint32_t msgid)
{
    struct call *call = TAILQ_FIRST(&channel->pending);
    while (call && (call->msgid != msgid || !call->sent))
        call = TAILQ_NEXT(call, in_pending);
    return call;
}

void pending_is_sent(struct channel *channel, struct call *call)
{
    call->sent = true;
    channel->unsent--;
}

void pending_is_lost(struct channel *channel, struct call *call)
{
    channel->unsent += call->sent;
    call->sent = false;
    call->delayed = true;
}

/* ---- Whose turn it is ------------------------------------------------------------------------ */

uint32_t pending_next_change(const struct channel *channel)
{
    uint32_t next = channel->last_change + 1;
    return next == 0 ? 1 : next;
}

/*
 * The daemon knows of a session's last changes whether they were carried out. One that isn't answered
 * yet, and may have to be repeated, must stay among these.
 */
static bool is_sendable(const struct channel *channel, const struct call *call)
{
    const struct call *oldest = TAILQ_FIRST(&channel->changes);
    if (call->sent)
        return false;
    return !call->change || *call->change != 0 || !oldest ||
           pending_next_change(channel) - *oldest->change < PROTOCOL_CHANGES_MAX;
}

static struct call *next_to_send(const struct channel *channel)
{
    struct call *call = channel->unsent > 0 ? TAILQ_FIRST(&channel->pending) : NULL;
    while (call && !is_sendable(channel, call))
        call = TAILQ_NEXT(call, in_pending);
    return call;
}

bool pending_is_next(const struct channel *channel, const struct call *call)
{
    if (channel->state != CHANNEL_UP || channel->sending || call->sent)
        return false;
    return channel->unsent == 1 ? is_sendable(channel, call) : next_to_send(channel) == call;
}

/* One that isn't sent could be waiting for its turn, and has to go on with that. */
static struct call *next_to_read(const struct channel *channel)
{
    struct call *call = TAILQ_FIRST(&channel->pending);
    while (call && !(call->waits && (call->sent || channel->state != CHANNEL_UP)))
        call = TAILQ_NEXT(call, in_pending);
    return call;
}

void pending_hand_on(struct channel *channel)
{
    bool may_send = channel->state == CHANNEL_UP && !channel->sending;
    struct call *sender = may_send ? next_to_send(channel) : NULL;
    struct call *reader = channel->reading ? NULL : next_to_read(channel);
    if (sender && sender->waits)
        pthread_cond_signal(&sender->wake);
    if (reader)
        pthread_cond_signal(&reader->wake);
}

void pending_wake_all(struct channel *channel)
{
    struct call *call;
    TAILQ_FOREACH (call, &channel->pending, in_pending)
        if (call->waits)
            pthread_cond_signal(&call->wake);
    pthread_cond_signal(&channel->retry);
}

/* ---- How long it may take -------------------------------------------------------------------- */

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/*
 * While nobody is there: at once, but not before it was tried, if the call isn't to wait. A connection
 * that ended before it answered anything was such a try.
 */
static int64_t limit_when_down(const struct channel *channel, const struct call *call)
{
    if (!call->bounded || call->timeout < 0)
        return deadline_extend(later(call->begun, channel->lost_at), channel->reconnect_limit);
    if (call->timeout == 0 && !channel->tried)
        return DEADLINE_NEVER;
    return deadline_extend(call->begun, call->timeout);
}

int64_t pending_limit(const struct channel *channel, const struct call *call)
{
    if (channel->state == CHANNEL_DOWN)
        return limit_when_down(channel, call);
    if (call->timeout < 0 && channel->state == CHANNEL_UP)
        return DEADLINE_NEVER;
    if (call->timeout < 0 || !call->bounded) {
        int64_t since = later(call->begun, channel->connected_at);
        int64_t waits = call->timeout < 0 ? 0 : call->timeout;
        return deadline_extend(deadline_extend(since, waits), channel->reply_limit);
    }
    int64_t limit = channel->reply_limit;
    return deadline_extend(deadline_extend(call->begun, call->timeout),
                           limit < 0 || limit > GRACE ? GRACE : limit);
}
