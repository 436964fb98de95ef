/* SPDX-License-Identifier: MIT */
#include "client/reconnect.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/deadline.h"
#include "client/error.h"
#include "client/loss.h"
#include "client/pending.h"
#include "client/sending.h"
#include "client/socket.h"

/* ---- A socket -------------------------------------------------------------------------------- */

int reconnect_limit_receives(int fd)
{
    struct timeval limit = {.tv_usec = RECONNECT_PATIENCE / 1000};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

uid_t reconnect_peer(int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return peer.uid;
}

/* The channel's descriptor stays what it is: others may be waiting for it. 0 or a negated errno. */
static int connect_anew(struct channel *channel, uid_t *uid)
{
    int fd = socket_try(channel->path);
    if (fd < 0)
        return fd;
    *uid = reconnect_peer(fd);
    int result = reconnect_limit_receives(fd);
    if (result == 0 && dup3(fd, channel->fd, O_CLOEXEC) < 0)
        result = -errno;
    close(fd);
    return result;
}

/* ---- The way up ------------------------------------------------------------------------------ */

/* The token is for the daemon that gave it. */
static void break_stranger(struct channel *channel, struct call *call, uid_t uid)
{
    loss_break(channel, call, FASTALLOC_ERR_DISCONNECTED,
               "user %u answers at its socket now, not user %u", (unsigned)uid,
               (unsigned)channel->uid);
}

static void try_to_connect(struct channel *channel, struct call *call)
{
    uid_t uid = 0;
    int result = connect_anew(channel, &uid);
    if (result < 0) {
        loss_postpone(channel, -result, error_text(-result));
        return;
    }
    if (uid != channel->uid) {
        break_stranger(channel, call, uid);
        return;
    }
    inbox_reset(&channel->inbox);
    channel->state = CHANNEL_RESUMING;
    channel->connected_at = deadline_in(0);
    sending_resume(channel, call);
    pending_wake_all(channel);
}

void reconnect_step(struct channel *channel, struct call *reader)
{
    int64_t limit = pending_limit(channel, reader);
    if (deadline_left(channel->retry_at) == 0) {
        try_to_connect(channel, reader);
    } else {
        deadline_wait(&channel->retry, &channel->lock,
                      limit < channel->retry_at ? limit : channel->retry_at);
    }
    sending_give_up_if_late(channel, reader);
}

void reconnect_hasten(struct channel *channel)
{
    channel->tried = false;
    channel->retry_at = 0;
    pthread_cond_signal(&channel->retry);
}

static void go_up(struct channel *channel)
{
    channel->state = CHANNEL_UP;
    channel->connected_at = deadline_in(0);
    __atomic_add_fetch(&channel->resumed, 1, __ATOMIC_RELAXED);
    sending_settle(channel);
    pending_wake_all(channel);
}

/* Whether it may be another time: there is no room, or the daemon is about to end. */
static bool is_passing(int result)
{
    return result == FASTALLOC_ERR_SHUTTING_DOWN || result == FASTALLOC_ERR_OUT_OF_MEMORY ||
           result == FASTALLOC_ERR_SYSTEM || result == FASTALLOC_ERR_LIMIT_EXCEEDED ||
           result == FASTALLOC_ERR_QUOTA_EXCEEDED || result >= -4095;
}

void reconnect_conclude(struct channel *channel, struct call *reader)
{
    const struct resume *resume = &channel->resume;
    int result = resume->call.result;
    if (result == 0)
        go_up(channel);
    else if (result == FASTALLOC_ERR_NO_SUCH_SESSION)
        loss_break(channel, reader, FASTALLOC_ERR_DISCONNECTED,
                   "the daemon doesn't know this session any more, and its objects are gone");
    else if (is_passing(result))
        loss_of_connection(channel, reader,
                           resume->error.system_error ? resume->error.system_error : ECONNREFUSED,
                           resume->error.message);
    else
        loss_break(channel, reader, FASTALLOC_ERR_DISCONNECTED,
                   "the daemon doesn't resume this session: %s", resume->error.message);
}
