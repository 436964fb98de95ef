/* SPDX-License-Identifier: MIT */
#include "client/sending.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "client/deadline.h"
#include "client/error.h"
#include "client/loss.h"
#include "client/pending.h"
#include "proto/envelope.h"

#define SECOND INT64_C(1000000000)

/* ---- Giving up ------------------------------------------------------------------------------- */

static int raise_absence(const struct channel *channel, struct call *call)
{
    const fastalloc_error_t fields = {
        .code = FASTALLOC_ERR_UNREACHABLE,
        .system_error = channel->failure ? channel->failure : ENOTCONN,
    };
    int64_t since = (deadline_in(0) - channel->lost_at) / SECOND;
    return error_raise_with(
        call->error, &fields,
        "no daemon answers at %s since %" PRId64
        " s: %s; the session goes on when fastallocd runs again: try again then, "
        "or close the connection",
        channel->path, since, channel->reason);
}

static int raise_late(const struct channel *channel, struct call *call)
{
    if (channel->state == CHANNEL_DOWN)
        return raise_absence(channel, call);
    return error_raise(call->error, FASTALLOC_ERR_NO_REPLY,
                       "fastallocd at %s gave no reply to %s in time; it hangs, or has too much to "
                       "do: try again later",
                       channel->path, method_table[call->method].name);
}

/*
 * What the request does when it is carried out late is nobody's any more. What allocates are granted
 * is freed, and a pool that is opened is left again: by the next resume, which doesn't name it.
 */
static void disown(struct channel *channel, const struct call *call)
{
    channel->abandoned++;
    if (call->number)
        settle_add(&channel->settle, *call->number);
    if (call->method == METHOD_POOL_OPEN)
        loss_of_connection(channel, NULL, ETIMEDOUT, "a pool was opened too late");
}

/*
 * The call ends, and its request wasn't sent. A close that the daemon isn't told of is left to the next
 * resume, which doesn't name the pool; one that is under way may name it.
 */
static void end_unsent(struct channel *channel, struct call *call, int result)
{
    pending_end(channel, call, result);
    if (call->method == METHOD_POOL_CLOSE && channel->state != CHANNEL_DOWN)
        loss_of_connection(channel, NULL, ECONNABORTED, "a pool couldn't be closed");
}

void sending_give_up_if_late(struct channel *channel, struct call *call)
{
    if (call->done || !deadline_has_passed(pending_limit(channel, call)))
        return;
    if (call->started) {
        call->late = true;
        return;
    }
    call->expired = call->bounded && call->timeout > 0;
    if (!call->sent) {
        end_unsent(channel, call, raise_late(channel, call));
        return;
    }
    pending_end(channel, call, raise_late(channel, call));
    disown(channel, call);
}

/* ---- Into the socket ------------------------------------------------------------------------- */

static bool is_empty(const struct channel *channel)
{
    return channel->out_begin == channel->out.size;
}

bool sending_has_rest(const struct channel *channel)
{
    return !is_empty(channel);
}

static void clear(struct channel *channel)
{
    msgpack_sbuffer_clear(&channel->out);
    channel->out_begin = 0;
}

/* Lets others read, and end this call, until there is room in the socket. */
static void wait_for_room(struct channel *channel, struct call *call)
{
    uint32_t era = channel->era;
    int64_t limit = pending_limit(channel, call);
    call->delayed = true;
    channel->sending = true;
    pthread_mutex_unlock(&channel->lock);
    deadline_poll(channel->fd, POLLOUT, limit);
    pthread_mutex_lock(&channel->lock);
    if (channel->era == era)
        channel->sending = false;
    sending_give_up_if_late(channel, call);
}

/*
 * What can be sent without waiting. A peer that is gone is no error here: what it said before it
 * went, or just that it went, is still to be read. 0 or a negated errno.
 */
static int push(struct channel *channel)
{
    while (!is_empty(channel)) {
        ssize_t size = send(channel->fd, channel->out.data + channel->out_begin,
                            channel->out.size - channel->out_begin, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size >= 0)
            channel->out_begin += (size_t)size;
        else if (errno == EPIPE || errno == ECONNRESET)
            break;
        else if (errno != EINTR)
            return -errno;
    }
    clear(channel);
    return 0;
}

/* Of a request that was sent in part the rest must follow; and without a session there is nothing. */
static void fail(struct channel *channel, struct call *call, int system_error)
{
    if (channel->out_begin > 0 || channel->state == CHANNEL_RESUMING) {
        loss_of_connection(channel, call, system_error, error_text(system_error));
        return;
    }
    clear(channel);
    end_unsent(channel, call,
               error_raise(call->error, -system_error,
                           "cannot send a request to fastallocd at %s: %s", channel->path,
                           error_text(system_error)));
}

bool sending_flush(struct channel *channel, struct call *call)
{
    uint32_t era = channel->era;
    int result;
    while ((result = push(channel)) == -EAGAIN) {
        wait_for_room(channel, call);
        if (channel->era != era || call->done)
            return false;
    }
    if (result < 0)
        fail(channel, call, -result);
    return result == 0;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static uint32_t next_msgid(struct channel *channel)
{
    do
        channel->last_msgid++;
    while (pending_find(channel, channel->last_msgid));
    return channel->last_msgid;
}

static void fail_encode(struct channel *channel, struct call *call)
{
    end_unsent(channel, call, error_raise(call->error, -ENOMEM, "no memory to send a request"));
}

/* False: there is no memory for it. */
static bool encode_settle(struct channel *channel, uint32_t *msgid)
{
    struct settle_request request;
    *msgid = next_msgid(channel);
    settle_name(&channel->settle, *msgid, &request);
    if (envelope_encode_request(&channel->out, *msgid, METHOD_SETTLE, &request) == 0)
        return true;
    settle_answer(&channel->settle, *msgid, true);
    return false;
}

/* Nothing of it is in the socket, and nothing will be. */
static void take_settle_back(struct channel *channel, uint32_t msgid)
{
    clear(channel);
    settle_answer(&channel->settle, msgid, true);
}

void sending_settle(struct channel *channel)
{
    if (channel->settle.unnamed == 0 || channel->state != CHANNEL_UP || channel->sending ||
        push(channel) < 0)
        return;
    uint32_t msgid;
    while (channel->settle.unnamed > 0 && encode_settle(channel, &msgid))
        if (push(channel) < 0) {
            if (channel->out_begin == 0)
                take_settle_back(channel, msgid);
            return;
        }
}

/* First of all: what they were granted may be what the call is to get. */
static bool send_settle(struct channel *channel, struct call *call)
{
    uint32_t era = channel->era;
    while (channel->settle.unnamed > 0) {
        uint32_t msgid;
        if (!encode_settle(channel, &msgid)) {
            fail_encode(channel, call);
            return false;
        }
        if (!sending_flush(channel, call)) {
            if (channel->era == era && channel->out_begin == 0)
                take_settle_back(channel, msgid);
            return false;
        }
    }
    return true;
}

/* Never 0, which would be one that isn't to wait, and is told so. */
static int64_t time_left(const struct call *call)
{
    int64_t left = deadline_left(deadline_extend(call->begun, call->timeout));
    return left > 0 ? left : 1;
}

static void give_numbers(struct channel *channel, struct call *call)
{
    if (call->number)
        *call->number = ++channel->last_number;
    if (call->left && call->delayed && call->timeout > 0)
        *call->left = time_left(call);
    if (call->change && *call->change == 0) {
        *call->change = channel->last_change = pending_next_change(channel);
        TAILQ_INSERT_TAIL(&channel->changes, call, in_changes);
    }
}

static bool encode(struct channel *channel, struct call *call)
{
    if (settle_reserve(&channel->settle, channel->settle.count + channel->allocates) < 0)
        return false;
    give_numbers(channel, call);
    call->msgid = next_msgid(channel);
    return envelope_encode_request(&channel->out, call->msgid, call->method, call->request) == 0;
}

/* The call was late while it waited for room: if the daemon has a part of it, it gets the rest. */
static void leave_rest(struct channel *channel, struct call *call)
{
    if (channel->out_begin == 0)
        clear(channel);
    else
        disown(channel, call);
}

void sending_send(struct channel *channel, struct call *call)
{
    uint32_t era = channel->era;
    if (!sending_flush(channel, call) || !send_settle(channel, call))
        return;
    if (!encode(channel, call)) {
        fail_encode(channel, call);
        return;
    }
    if (sending_flush(channel, call))
        pending_is_sent(channel, call);
    else if (channel->era == era)
        leave_rest(channel, call);
}

/* The daemon gets the rest of what it has a part of. */
bool sending_start(struct channel *channel, struct call *call)
{
    sending_settle(channel);
    if (channel->settle.unnamed > 0 || push(channel) < 0 || !encode(channel, call))
        return false;
    if (push(channel) < 0 && channel->out_begin == 0) {
        clear(channel);
        return false;
    }
    pending_add(channel, call);
    pending_is_sent(channel, call);
    return true;
}

void sending_resume(struct channel *channel, struct call *call)
{
    struct call *own = &channel->resume.call;
    resume_prepare(&channel->resume);
    own->msgid = next_msgid(channel);
    if (envelope_encode_request(&channel->out, own->msgid, own->method, own->request) < 0) {
        loss_of_connection(channel, call, ENOMEM, error_text(ENOMEM));
        return;
    }
    pending_add(channel, own);
    pending_is_sent(channel, own);
    sending_flush(channel, call);
}
