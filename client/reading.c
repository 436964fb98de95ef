/* SPDX-License-Identifier: MIT */
#include "client/reading.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "client/deadline.h"
#include "client/error.h"
#include "client/loss.h"
#include "client/pending.h"
#include "client/reconnect.h"
#include "client/sending.h"
#include "proto/envelope.h"

/* ---- Replies --------------------------------------------------------------------------------- */

/*
 * The daemon refused what the call asked for. One that ends has nothing to say: the next one will be
 * asked again.
 */
static void answer_error(struct channel *channel, struct call *call, const msgpack_object *map)
{
    struct error wire;
    if (!envelope_decode_error(map, &wire))
        loss_break_malformed(channel, call, "its error is none of the protocol's");
    else if (wire.code != ERROR_SHUTTING_DOWN || call->own || channel->resume.session == 0)
        pending_end(channel, call, error_raise_wire(call->error, &wire));
}

static void answer(struct channel *channel, struct call *call, const struct envelope *envelope)
{
    struct error wire;
    if (envelope->error->type != MSGPACK_OBJECT_NIL) {
        answer_error(channel, call, envelope->error);
        return;
    }
    if (!message_decode(method_table[call->method].reply, envelope->result, false, call->reply,
                        &wire)) {
        loss_break_malformed(channel, call, wire.message);
        return;
    }

    int result = call->take ? call->take(call, &channel->inbox.descriptors) : 0;
    if (result == FASTALLOC_ERR_MALFORMED)
        loss_break_malformed(channel, call, call->complaint);
    else
        pending_end(channel, call, result);
}

static void take_own(struct channel *channel, struct call *reader, const struct envelope *envelope)
{
    struct call *own = &channel->resume.call;
    answer(channel, own, envelope);
    if (channel->state == CHANNEL_RESUMING)
        reconnect_conclude(channel, reader);
}

static void take_response(struct channel *channel, struct call *reader,
                          const struct envelope *envelope)
{
    struct call *call = pending_find(channel, envelope->msgid);
    bool failed = envelope->error->type != MSGPACK_OBJECT_NIL;
    if (call && call->own) {
        take_own(channel, reader, envelope);
    } else if (call) {
        channel->proven = true;
        answer(channel, call, envelope);
    } else if (!settle_answer(&channel->settle, envelope->msgid, failed)) {
        if (channel->abandoned > 0)
            channel->abandoned--;
        else
            loss_break_malformed(channel, reader, "a reply to no request");
    }
}

/*
 * "error" is what a daemon says before it closes the connection for what we sent; others are for
 * libraries newer than this one.
 */
static void take_notification(struct channel *channel, struct call *reader,
                              const struct envelope *envelope)
{
    struct error wire;
    if (envelope->method.size != 5 || memcmp(envelope->method.data, "error", 5) != 0)
        return;
    if (envelope_decode_error(envelope->params, &wire))
        loss_break(channel, reader, FASTALLOC_ERR_DISCONNECTED, "the daemon says: %s",
                   wire.message);
    else
        loss_break_malformed(channel, reader, "its error is none of the protocol's");
}

static void take_message(struct channel *channel, struct call *reader, struct bytes message)
{
    struct envelope envelope;
    struct error wire;
    if (!envelope_decode(&channel->inbox.decoder, message.data, message.size, &envelope, &wire)) {
        if (wire.code == ERROR_OUT_OF_MEMORY)
            loss_of_connection(channel, reader, ENOMEM, wire.message);
        else
            loss_break(channel, reader, FASTALLOC_ERR_MALFORMED, "%s", wire.message);
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
        loss_break_malformed(channel, reader, "a request to a client");
    }
}

static void take_messages(struct channel *channel, struct call *reader)
{
    struct bytes message;
    enum scan_result result = SCAN_MORE;
    uint32_t era = channel->era;
    while (channel->era == era && (result = inbox_next(&channel->inbox, &message)) == SCAN_DONE)
        take_message(channel, reader, message);

    if (channel->era == era && result != SCAN_MORE)
        loss_break_malformed(channel, reader, scan_result_text(result));
    if (channel->era == era && inbox_has_surplus(&channel->inbox))
        loss_break_malformed(channel, reader, "more descriptors than it told of");
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/*
 * At first without a poll before it, if the call has the patience that the socket has: replies come
 * soon. The lock is free meanwhile.
 */
static ssize_t receive(struct channel *channel, int64_t limit, bool *idle)
{
    if (!*idle && deadline_left(limit) >= 2 * RECONNECT_PATIENCE) {
        ssize_t size = inbox_receive(&channel->inbox, channel->fd, 0);
        *idle = size == -EAGAIN;
        return size;
    }
    *idle = false;
    deadline_poll(channel->fd, POLLIN, limit);
    return inbox_receive(&channel->inbox, channel->fd, MSG_DONTWAIT);
}

static void take_received(struct channel *channel, struct call *reader, ssize_t size)
{
    if (size > 0)
        take_messages(channel, reader);
    else if (size == 0)
        loss_of_connection(channel, reader, ECONNRESET, "the daemon closed it");
    else if (size != -EAGAIN && size != -EINTR)
        loss_of_connection(channel, reader, (int)-size, error_text((int)-size));
}

static void receive_once(struct channel *channel, struct call *reader, bool *idle)
{
    uint32_t era = channel->era;
    int64_t limit = pending_limit(channel, reader);
    pthread_mutex_unlock(&channel->lock);
    ssize_t size = receive(channel, limit, idle);
    pthread_mutex_lock(&channel->lock);
    if (channel->era == era)
        take_received(channel, reader, size);
    sending_give_up_if_late(channel, reader);
}

void reading_for_all(struct channel *channel, struct call *call)
{
    bool idle = false;
    call->delayed |= !call->sent;
    channel->reading = true;
    while (!call->done && !call->late && (call->sent || channel->state != CHANNEL_UP))
        if (channel->state == CHANNEL_DOWN)
            reconnect_step(channel, call);
        else if (channel->state == CHANNEL_RESUMING && sending_has_rest(channel))
            sending_flush(channel, call);
        else
            receive_once(channel, call, &idle);
    channel->reading = false;
}
