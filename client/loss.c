/* SPDX-License-Identifier: MIT */
#include "client/loss.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "client/deadline.h"
#include "client/error.h"
#include "client/pending.h"
#include "client/socket.h"

/* ---- For ever -------------------------------------------------------------------------------- */

int loss_refuse(const struct channel *channel, struct call *call, int code)
{
    return error_raise(call->error, code,
                       "the connection to fastallocd at %s is gone: %s; close it and connect anew",
                       channel->path, channel->reason);
}

/* Whoever waits for room in the socket, or in it for bytes, returns. What is left to send is void. */
static void end_connection(struct channel *channel, enum channel_state state)
{
    shutdown(channel->fd, SHUT_RDWR);
    channel->state = state;
    channel->era++;
    channel->sending = false;
    channel->abandoned = 0;
    msgpack_sbuffer_clear(&channel->out);
    channel->out_begin = 0;
}

void loss_break(struct channel *channel, struct call *call, int code, const char *format, ...)
{
    if (channel->state == CHANNEL_BROKEN)
        return;
    end_connection(channel, CHANNEL_BROKEN);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->reason, sizeof(channel->reason), format, arguments);
    va_end(arguments);

    if (call && !call->done)
        pending_end(channel, call, loss_refuse(channel, call, code));
    while ((call = TAILQ_FIRST(&channel->pending)))
        pending_end(channel, call, loss_refuse(channel, call, FASTALLOC_ERR_DISCONNECTED));
    pthread_cond_signal(&channel->retry);
}

void loss_break_malformed(struct channel *channel, struct call *call, const char *what)
{
    loss_break(channel, call, FASTALLOC_ERR_MALFORMED, "the daemon broke the protocol: %s", what);
}

/* ---- For now --------------------------------------------------------------------------------- */

static void note_reason(struct channel *channel, const char *reason)
{
    snprintf(channel->reason, sizeof(channel->reason), "%s", reason);
}

void loss_postpone(struct channel *channel, int system_error, const char *reason)
{
    note_reason(channel, reason);
    bool first = !channel->tried;
    channel->tried = true;
    channel->failure = system_error;
    channel->retry_wait = socket_next_wait(channel->retry_wait);
    channel->retry_at = deadline_in(channel->retry_wait);
    if (first) /* those that don't want to wait know now */
        pending_wake_all(channel);
}

/*
 * One that nobody needs ends, as does a close: the resume, which doesn't name the pool, does the same.
 * An allocate is asked for again, under another number.
 */
static void lose_call(struct channel *channel, struct call *call)
{
    if (call->own || call->started || call->method == METHOD_POOL_CLOSE) {
        pending_end(channel, call,
                    error_raise(call->error, FASTALLOC_ERR_UNREACHABLE,
                                "the connection to fastallocd at %s is gone", channel->path));
        return;
    }
    if (call->sent && call->number)
        settle_add(&channel->settle, *call->number);
    pending_is_lost(channel, call);
}

static void lose_calls(struct channel *channel)
{
    struct call *call = TAILQ_FIRST(&channel->pending), *next;
    for (; call; call = next) {
        next = TAILQ_NEXT(call, in_pending);
        lose_call(channel, call);
    }
}

void loss_of_connection(struct channel *channel, struct call *call, int system_error,
                        const char *reason)
{
    if (channel->resume.session == 0) {
        loss_break(channel, call, FASTALLOC_ERR_DISCONNECTED, "%s", reason);
        return;
    }
    if (channel->state == CHANNEL_UP) /* a daemon was there, though it answered no call */
        channel->lost_at += deadline_in(0) - channel->connected_at;
    end_connection(channel, CHANNEL_DOWN);
    lose_calls(channel);
    settle_restart(&channel->settle);
    if (channel->proven) {
        note_reason(channel, reason);
        channel->proven = false;
        channel->tried = false;
        channel->failure = 0;
        channel->retry_wait = channel->retry_at = 0;
        channel->lost_at = deadline_in(0);
    } else {
        loss_postpone(channel, system_error, reason);
    }
    pending_wake_all(channel);
}
