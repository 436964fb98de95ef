/* SPDX-License-Identifier: MIT */
#include "client/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/deadline.h"
#include "client/error.h"
#include "proto/envelope.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND (1000 * MILLISECOND)
#define HOUR (3600 * SECOND)

/* ---- Calls ----------------------------------------------------------------------------------- */

static void call_link(struct channel *channel, struct call *call)
{
    call->next = channel->pending;
    call->link = &channel->pending;
    if (call->next)
        call->next->link = &call->next;
    channel->pending = call;
}

static void call_unlink(struct call *call)
{
    if (!call->link)
        return;
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    call->link = NULL;
}

/* The thread that waits for the call may return as soon as the lock is free. */
static void call_end(struct channel *channel, struct call *call, int result)
{
    call_unlink(call);
    channel->started -= call->started;
    call->started = false;
    call->result = result;
    call->done = true;
    if (call->waits)
        pthread_cond_signal(&call->wake);
}

static struct call *find_call(struct channel *channel, uint32_t msgid)
{
    struct call *call = channel->pending;
    while (call && call->msgid != msgid)
        call = call->next;
    return call;
}

static uint32_t next_msgid(struct channel *channel)
{
    do
        channel->last_msgid++;
    while (find_call(channel, channel->last_msgid));
    return channel->last_msgid;
}

/* ---- Breaking -------------------------------------------------------------------------------- */

static void call_refuse(struct channel *channel, struct call *call, int code)
{
    call_end(
        channel, call,
        error_raise(call->error, code,
                    "the connection to fastallocd at %s is gone: %s; close it and connect anew",
                    channel->path, channel->reason));
}

/*
 * Ends the channel for the reason that the format says. The call at which it came out, if any, gets
 * the code, all others FASTALLOC_ERR_DISCONNECTED. Whoever is in a receive returns from it.
 */
__attribute__((format(printf, 4, 5))) static void
channel_break(struct channel *channel, struct call *call, int code, const char *format, ...)
{
    if (channel->broken)
        return;
    channel->broken = true;
    shutdown(channel->fd, SHUT_RDWR);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->reason, sizeof(channel->reason), format, arguments);
    va_end(arguments);

    if (call && !call->done)
        call_refuse(channel, call, code);
    while (channel->pending)
        call_refuse(channel, channel->pending, FASTALLOC_ERR_DISCONNECTED);
    pthread_cond_broadcast(&channel->turn);
}

static void break_malformed(struct channel *channel, struct call *call, const char *what)
{
    channel_break(channel, call, FASTALLOC_ERR_MALFORMED, "the daemon broke the protocol: %s",
                  what);
}

static void break_if_late(struct channel *channel, struct call *call)
{
    if (!call->done && deadline_has_passed(call->deadline))
        channel_break(channel, call, FASTALLOC_ERR_NO_REPLY,
                      "the daemon gave no reply to %s in time", method_table[call->method].name);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void wait_for_turn(struct channel *channel, struct call *call)
{
    while (channel->sending && !channel->broken) {
        deadline_wait(&channel->turn, &channel->lock, call->deadline);
        if (channel->sending)
            break_if_late(channel, call);
    }
}

/* Lets others read, and end this call, until there is room in the socket. */
static void wait_for_room(struct channel *channel, struct call *call)
{
    channel->sending = true;
    pthread_mutex_unlock(&channel->lock);
    deadline_poll(channel->fd, POLLOUT, call->deadline);
    pthread_mutex_lock(&channel->lock);
    break_if_late(channel, call);
}

/* Of a request that was sent in part the rest can never follow. */
static void fail_send(struct channel *channel, struct call *call, size_t sent, int system_error)
{
    if (sent > 0)
        channel_break(channel, call, -system_error, "%s", error_text(system_error));
    else
        call_end(channel, call,
                 error_raise(call->error, -system_error,
                             "cannot send a request to fastallocd at %s: %s", channel->path,
                             error_text(system_error)));
}

/*
 * A peer that is gone is no error here: what it said before it went, or just that it went, is still
 * to be read.
 */
static void send_out(struct channel *channel, struct call *call)
{
    size_t sent = 0;
    while (sent < channel->out.size && !channel->broken) {
        ssize_t size = send(channel->fd, channel->out.data + sent, channel->out.size - sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size >= 0)
            sent += (size_t)size;
        else if (errno == EAGAIN)
            wait_for_room(channel, call);
        else if (errno == EPIPE || errno == ECONNRESET)
            break;
        else if (errno != EINTR) {
            fail_send(channel, call, sent, errno);
            break;
        }
    }
    call->sent = true;
    if (channel->sending) {
        channel->sending = false;
        pthread_cond_broadcast(&channel->turn);
    }
}

static void call_send(struct channel *channel, struct call *call)
{
    wait_for_turn(channel, call);
    if (call->done)
        return;
    if (channel->broken) {
        call_refuse(channel, call, FASTALLOC_ERR_DISCONNECTED);
        return;
    }

    call->msgid = next_msgid(channel);
    msgpack_sbuffer_clear(&channel->out);
    if (envelope_encode_request(&channel->out, call->msgid, call->method, call->request) < 0) {
        call_end(channel, call, error_raise(call->error, -ENOMEM, "no memory to send a request"));
        return;
    }
    call_link(channel, call);
    send_out(channel, call);
}

/* ---- Replies --------------------------------------------------------------------------------- */

/* The daemon refused what the call asked for. */
static void call_answer_error(struct channel *channel, struct call *call, const msgpack_object *map)
{
    struct error wire;
    if (envelope_decode_error(map, &wire))
        call_end(channel, call, error_raise_wire(call->error, &wire));
    else
        break_malformed(channel, call, "its error is none of the protocol's");
}

static void call_answer(struct channel *channel, struct call *call, const struct envelope *envelope)
{
    struct error wire;
    if (envelope->error->type != MSGPACK_OBJECT_NIL) {
        call_answer_error(channel, call, envelope->error);
        return;
    }
    if (!message_decode(method_table[call->method].reply, envelope->result, false, call->reply,
                        &wire)) {
        break_malformed(channel, call, wire.message);
        return;
    }

    int result = call->take ? call->take(call, &channel->inbox.descriptors) : 0;
    if (result == FASTALLOC_ERR_MALFORMED)
        break_malformed(channel, call, call->complaint);
    else
        call_end(channel, call, result);
}

/* "error" is what a daemon says before it closes; others are for libraries newer than this one. */
static void take_notification(struct channel *channel, struct call *reader,
                              const struct envelope *envelope)
{
    struct error wire;
    if (envelope->method.size != 5 || memcmp(envelope->method.data, "error", 5) != 0)
        return;
    if (envelope_decode_error(envelope->params, &wire))
        channel_break(channel, reader, FASTALLOC_ERR_DISCONNECTED, "the daemon says: %s",
                      wire.message);
    else
        break_malformed(channel, reader, "its error is none of the protocol's");
}

static void take_response(struct channel *channel, struct call *reader,
                          const struct envelope *envelope)
{
    struct call *call = find_call(channel, envelope->msgid);
    if (call && call->sent)
        call_answer(channel, call, envelope);
    else if (!call && channel->abandoned > 0)
        channel->abandoned--;
    else
        break_malformed(channel, reader, "a reply to no request");
}

static void take_message(struct channel *channel, struct call *reader, struct bytes message)
{
    struct envelope envelope;
    struct error wire;
    if (!envelope_decode(&channel->inbox.decoder, message.data, message.size, &envelope, &wire)) {
        bool memory = wire.code == ERROR_OUT_OF_MEMORY;
        channel_break(channel, reader, memory ? -ENOMEM : FASTALLOC_ERR_MALFORMED, "%s",
                      wire.message);
        return;
    }

    switch (envelope.kind) {
    case ENVELOPE_NOTIFICATION:
        take_notification(channel, reader, &envelope);
        break;
    case ENVELOPE_RESPONSE:
        take_response(channel, reader, &envelope);
        break;
    default:
        break_malformed(channel, reader, "a request to a client");
    }
}

static void take_messages(struct channel *channel, struct call *reader)
{
    struct bytes message;
    enum scan_result result = SCAN_MORE;
    while (!channel->broken && (result = inbox_next(&channel->inbox, &message)) == SCAN_DONE)
        take_message(channel, reader, message);

    if (!channel->broken && result != SCAN_MORE)
        break_malformed(channel, reader, scan_result_text(result));
    if (!channel->broken && inbox_has_surplus(&channel->inbox))
        break_malformed(channel, reader, "more descriptors than it told of");
}

/* ---- Reading --------------------------------------------------------------------------------- */

/*
 * A receive without a poll before it, as long as its time limit, which the socket got at the
 * beginning, isn't longer than the call's. The lock is free meanwhile.
 */
static ssize_t receive(struct channel *channel, int64_t deadline)
{
    if (deadline_left(deadline) >= channel->patience)
        return inbox_receive(&channel->inbox, channel->fd, 0);
    deadline_poll(channel->fd, POLLIN, deadline);
    return inbox_receive(&channel->inbox, channel->fd, MSG_DONTWAIT);
}

static void take_received(struct channel *channel, struct call *reader, ssize_t size)
{
    if (size > 0)
        take_messages(channel, reader);
    else if (size == 0)
        channel_break(channel, reader, FASTALLOC_ERR_DISCONNECTED, "the daemon closed it");
    else if (size != -EAGAIN && size != -EINTR)
        channel_break(channel, reader, FASTALLOC_ERR_DISCONNECTED, "%s", error_text((int)-size));
    break_if_late(channel, reader);
}

/* Somebody who waits is to read on. */
static void pass_reading_on(struct channel *channel)
{
    struct call *call = channel->pending;
    while (call && !call->waits)
        call = call->next;
    if (call)
        pthread_cond_signal(&call->wake);
}

static void read_until_done(struct channel *channel, struct call *call)
{
    channel->reading = true;
    while (!call->done) {
        pthread_mutex_unlock(&channel->lock);
        ssize_t size = receive(channel, call->deadline);
        pthread_mutex_lock(&channel->lock);
        if (!channel->broken)
            take_received(channel, call, size);
    }
    channel->reading = false;
    pass_reading_on(channel);
}

static void wait_for_reader(struct channel *channel, struct call *call)
{
    call->waits = true;
    while (!call->done && channel->reading) {
        deadline_wait(&call->wake, &channel->lock, call->deadline);
        break_if_late(channel, call);
    }
    call->waits = false;
}

/* ---- The three ways -------------------------------------------------------------------------- */

static void begin_time(const struct channel *channel, struct call *call)
{
    int64_t limit = deadline_extend(deadline_in(call->timeout), channel->reply_limit);
    call->deadline = call->timeout < 0 ? DEADLINE_NEVER : limit;
}

static void wait_until_done(struct channel *channel, struct call *call)
{
    while (!call->done)
        if (channel->reading)
            wait_for_reader(channel, call);
        else
            read_until_done(channel, call);
}

int channel_call(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    begin_time(channel, call);
    pthread_cond_init(&call->wake, NULL);

    pthread_mutex_lock(&channel->lock);
    call_send(channel, call);
    wait_until_done(channel, call);
    pthread_mutex_unlock(&channel->lock);

    pthread_cond_destroy(&call->wake);
    return call->result;
}

bool channel_start(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    begin_time(channel, call);
    pthread_cond_init(&call->wake, NULL);

    pthread_mutex_lock(&channel->lock);
    bool started = !channel->sending && channel->started < CHANNEL_STARTED_MAX;
    if (started) {
        call->started = true;
        channel->started++;
        call_send(channel, call);
        started = !call->done || call->result == 0;
    }
    pthread_mutex_unlock(&channel->lock);

    if (!started)
        pthread_cond_destroy(&call->wake);
    return started;
}

int channel_finish(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    begin_time(channel, call); /* it is waited for from now on */
    pthread_mutex_lock(&channel->lock);
    wait_until_done(channel, call);
    pthread_mutex_unlock(&channel->lock);

    pthread_cond_destroy(&call->wake);
    return call->result;
}

bool channel_abandon(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    pthread_mutex_lock(&channel->lock);
    bool abandoned = !call->done;
    if (abandoned) {
        call_end(channel, call, 0);
        channel->abandoned++;
    }
    pthread_mutex_unlock(&channel->lock);

    pthread_cond_destroy(&call->wake);
    return abandoned;
}

bool channel_leave(struct channel *channel, struct call *call, call_take_t take)
{
    CANCEL_DISABLED;
    pthread_mutex_lock(&channel->lock);
    bool left = !call->done;
    call->take = take;
    pthread_mutex_unlock(&channel->lock);

    if (!left)
        pthread_cond_destroy(&call->wake);
    return left;
}

bool channel_is_over(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    pthread_mutex_lock(&channel->lock);
    bool over = call->done;
    pthread_mutex_unlock(&channel->lock);

    if (over)
        pthread_cond_destroy(&call->wake);
    return over;
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

/*
 * Half of the limit: a call may block in its first receive without a poll, and is still in time
 * after it. Too short ones aren't worth the clock tick by which a blocking receive is late.
 */
static int64_t patience_for(int64_t reply_limit)
{
    if (reply_limit < 0 || reply_limit / 2 > HOUR)
        return HOUR;
    return reply_limit / 2 < 20 * MILLISECOND ? INT64_MAX : reply_limit / 2;
}

static int limit_receives(int fd, int64_t patience)
{
    if (patience == INT64_MAX)
        return 0;
    struct timeval limit = {.tv_sec = patience / SECOND, .tv_usec = patience / 1000 % 1000000};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

int channel_init(struct channel *channel, int fd, const char *path, int64_t reply_limit)
{
    *channel = (struct channel){
        .fd = fd,
        .reply_limit = reply_limit,
        .patience = patience_for(reply_limit),
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .turn = PTHREAD_COND_INITIALIZER,
    };
    snprintf(channel->path, sizeof(channel->path), "%s", path);
    int result = limit_receives(fd, channel->patience);
    if (result == 0)
        result = inbox_init(&channel->inbox);
    if (result < 0)
        close(fd);
    return result;
}

void channel_hang_up(struct channel *channel)
{
    shutdown(channel->fd, SHUT_RDWR);
}

void channel_deinit(struct channel *channel)
{
    close(channel->fd);
    inbox_deinit(&channel->inbox);
    msgpack_sbuffer_destroy(&channel->out);
}
