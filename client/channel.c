/* SPDX-License-Identifier: MIT */
#include "client/channel.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/deadline.h"
#include "client/loss.h"
#include "client/pending.h"
#include "client/reading.h"
#include "client/reconnect.h"
#include "client/sending.h"

/* ---- Waiting --------------------------------------------------------------------------------- */

/* For its turn to send, or for its reply, while another reads. */
static void wait_for_others(struct channel *channel, struct call *call)
{
    call->delayed = true;
    call->waits = true;
    deadline_wait(&call->wake, &channel->lock, pending_limit(channel, call));
    call->waits = false;
    sending_give_up_if_late(channel, call);
}

static void send_in_turn(struct channel *channel, struct call *call)
{
    sending_send(channel, call);
    sending_settle(channel);
    if (channel->unsent > 0)
        pending_hand_on(channel);
}

static void wait_until_done(struct channel *channel, struct call *call)
{
    while (!call->done && !call->late)
        if (pending_is_next(channel, call))
            send_in_turn(channel, call);
        else if (channel->reading || (channel->state == CHANNEL_UP && !call->sent))
            wait_for_others(channel, call);
        else
            reading_for_all(channel, call);
    sending_settle(channel); /* it may not have been possible before */
    pending_hand_on(channel);
}

/* ---- The three ways -------------------------------------------------------------------------- */

static void begin(struct call *call)
{
    call->delayed = call->begun != 0;
    if (!call->delayed)
        call->begun = deadline_in(0);
    pthread_cond_init(&call->wake, NULL);
}

/* Whether it is under way; else it has failed. */
static bool join_others(struct channel *channel, struct call *call)
{
    if (channel->state == CHANNEL_BROKEN) {
        call->result = loss_refuse(channel, call, FASTALLOC_ERR_DISCONNECTED);
        return false;
    }
    pending_add(channel, call);
    return true;
}

int channel_call(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    begin(call);
    pthread_mutex_lock(&channel->lock);
    if (join_others(channel, call)) {
        if (channel->state == CHANNEL_DOWN && call->bounded && call->timeout == 0)
            reconnect_hasten(channel);
        wait_until_done(channel, call);
    }
    pthread_mutex_unlock(&channel->lock);

    pthread_cond_destroy(&call->wake);
    return call->result;
}

/* Though there may be something in it that nobody has read yet. */
static bool is_at_its_end(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLRDHUP};
    return poll(&entry, 1, 0) > 0;
}

/* Whoever reads will see it by himself; and who takes a reply has the channel locked. */
static bool is_lost(struct channel *channel)
{
    if (pthread_mutex_trylock(&channel->lock) != 0)
        return false;
    enum channel_state state = channel->state;
    bool lost = !channel->reading && state != CHANNEL_BROKEN &&
                (state != CHANNEL_UP || is_at_its_end(channel->fd));
    pthread_mutex_unlock(&channel->lock);
    return lost;
}

void channel_revive(struct channel *channel)
{
    struct ping_request request;
    struct ping_reply reply;
    struct call call = {
        .method = METHOD_PING,
        .request = &request,
        .reply = &reply,
        .bounded = true,
    };
    CANCEL_DISABLED;
    if (is_lost(channel))
        (void)channel_call(channel, &call);
}

bool channel_start(struct channel *channel, struct call *call, unsigned most)
{
    CANCEL_DISABLED;
    begin(call);
    pthread_mutex_lock(&channel->lock);
    bool started = channel->state == CHANNEL_UP && !channel->sending && channel->unsent == 0 &&
                   channel->started < most && sending_start(channel, call);
    if (started) {
        call->started = true;
        channel->started++;
    }
    pthread_mutex_unlock(&channel->lock);

    if (!started)
        pthread_cond_destroy(&call->wake);
    return started;
}

/* With a rest to send, which may be its own, it would wait for whoever sends that. */
bool channel_wait(struct channel *channel, struct call *call, int64_t begun, int64_t timeout)
{
    CANCEL_DISABLED;
    pthread_mutex_lock(&channel->lock);
    call->begun = begun;
    call->timeout = timeout;
    call->late = false;
    if (!sending_has_rest(channel))
        wait_until_done(channel, call);
    bool over = call->done;
    pthread_mutex_unlock(&channel->lock);

    if (over)
        pthread_cond_destroy(&call->wake);
    return over;
}

bool channel_abandon(struct channel *channel, struct call *call)
{
    CANCEL_DISABLED;
    pthread_mutex_lock(&channel->lock);
    bool abandoned = !call->done;
    if (abandoned) {
        pending_end(channel, call, 0);
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

int channel_init(struct channel *channel, int fd, const struct channel_options *options)
{
    *channel = (struct channel){
        .fd = fd,
        .uid = reconnect_peer(fd),
        .reply_limit = options->reply_limit,
        .reconnect_limit = options->reconnect_limit,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .retry = PTHREAD_COND_INITIALIZER,
        .pending = TAILQ_HEAD_INITIALIZER(channel->pending),
        .changes = TAILQ_HEAD_INITIALIZER(channel->changes),
    };
    snprintf(channel->path, sizeof(channel->path), "%s", options->path);
    int result = reconnect_limit_receives(fd);
    if (result == 0)
        result = settle_init(&channel->settle);
    if (result == 0 && (result = inbox_init(&channel->inbox)) < 0)
        settle_deinit(&channel->settle);
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
    settle_deinit(&channel->settle);
    msgpack_sbuffer_destroy(&channel->out);
}

/* ---- The session ----------------------------------------------------------------------------- */

void channel_keep(struct channel *channel, uint64_t session,
                  const uint8_t token[PROTOCOL_TOKEN_SIZE])
{
    pthread_mutex_lock(&channel->lock);
    resume_begin(&channel->resume, session, token);
    pthread_mutex_unlock(&channel->lock);
}

uint64_t channel_resumed(const struct channel *channel)
{
    return __atomic_load_n(&channel->resumed, __ATOMIC_RELAXED);
}

bool channel_has_room_for_pool(struct channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    bool has_room = channel->resume.count < RESUME_POOLS_MAX;
    pthread_mutex_unlock(&channel->lock);
    return has_room;
}

void channel_forget_bell(struct channel *channel, uint32_t pool)
{
    pthread_mutex_lock(&channel->lock);
    resume_forget_bell(&channel->resume, pool);
    pthread_mutex_unlock(&channel->lock);
}

bool channel_forget_pool(struct channel *channel, uint32_t pool)
{
    pthread_mutex_lock(&channel->lock);
    resume_forget(&channel->resume, pool);
    bool is_heard = channel->state != CHANNEL_DOWN;
    pthread_mutex_unlock(&channel->lock);
    return is_heard;
}
