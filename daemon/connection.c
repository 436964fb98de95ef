/* SPDX-License-Identifier: MIT */
#include "daemon/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/leasing.h"
#include "daemon/log.h"
#include "daemon/socket.h"

/* For log lines: who it is. */
#define PEER_FORMAT "pid=%d uid=%u"
#define PEER_ARGUMENTS(connection)                                                                 \
    (connection)->caller.who.peer.pid, (connection)->caller.who.peer.uid

/* ---- End ------------------------------------------------------------------------------------- */

static void free_connection(struct connection *connection)
{
    free(connection->caller.who.groups);
    free(connection);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    connection->open_handles--;
    if (connection->released && connection->open_handles == 0)
        free_connection(connection);
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void set_uncollected(struct connection *connection, unsigned count)
{
    connection->server->uncollected += count - connection->uncollected;
    connection->uncollected = count;
}

void connection_collect(struct connection *connection)
{
    if (connection->uncollected > 0 && socket_unread(connection->socket_fd) == 0)
        set_uncollected(connection, connection->outbox.descriptor_count);
}

static void stop_serving(struct connection *connection)
{
    if (!connection->served)
        return;
    connection->served = false;
    uv_close((uv_handle_t *)&connection->socket, on_handle_closed);
    uv_close((uv_handle_t *)&connection->look, on_handle_closed);
    set_uncollected(connection, connection->uncollected - connection->outbox.descriptor_count);
    inbox_deinit(&connection->inbox);
    outbox_deinit(&connection->outbox);
}

static void stop_listening(struct connection *connection)
{
    if (connection->listens)
        server_forget_bell(connection->server, connection->caller.bell);
    connection->listens = false;
    close_descriptor(&connection->caller.bell);
}

static void stop_watching(struct connection *connection)
{
    if (connection->pidfd < 0)
        return;
    uv_close((uv_handle_t *)&connection->process, on_handle_closed);
    close_descriptor(&connection->pidfd);
}

static void release(struct connection *connection)
{
    server_connection_removed(connection->server, connection);
    connection->released = true;
    stop_serving(connection);
    stop_watching(connection);
    stop_listening(connection);
    set_uncollected(connection, 0);
    close_descriptor(&connection->socket_fd);
    if (connection->open_handles == 0)
        free_connection(connection);
}

/* Closes the socket, once nothing that counts against the daemon is on its way in it. */
static void close_socket(struct connection *connection)
{
    connection_collect(connection);
    if (connection->uncollected == 0)
        close_descriptor(&connection->socket_fd);
    else
        shutdown(connection->socket_fd, SHUT_RDWR);
}

void connection_recheck(struct connection *connection, bool soon)
{
    struct session **session = &connection->caller.session;

    server_tell_time(connection->server);
    close_socket(connection);
    if (*session && broker_end_session(connection->server->broker, *session))
        *session = NULL;
    if (*session)
        leasing_ring(connection->server->broker, *session);
    if (*session || connection->socket_fd >= 0)
        server_look_again(connection->server, soon);
    else
        release(connection);
}

void connection_close(struct connection *connection)
{
    struct server *server = connection->server;

    stop_serving(connection);
    server_tell_time(server);
    if (connection->caller.session)
        broker_disconnect(server->broker, connection->caller.session);
    connection_recheck(connection, true);
    server_arm(server);
}

void connection_let_go(void *keeper)
{
    struct connection *connection = keeper;
    connection->caller.session = NULL;
    stop_listening(connection);
    stop_serving(connection);
    connection_recheck(connection, true);
}

void connection_abandon(struct connection *connection)
{
    connection->caller.session = NULL;
    release(connection);
}

/* The loop comes round at once, finds the end of the stream, and closes it there. */
static void cut_off(struct connection *connection)
{
    connection->doomed = true;
    shutdown(connection->socket_fd, SHUT_RDWR);
}

/* ---- Output ---------------------------------------------------------------------------------- */

/* The client makes progress, as slow as it may be. */
static void note_move(struct connection *connection)
{
    connection->moved_at = uv_now(&connection->server->loop);
}

static void flush(struct connection *connection)
{
    size_t before = outbox_pending(&connection->outbox);
    if (connection->doomed || before == 0)
        return;
    int status = outbox_flush(&connection->outbox, connection->socket_fd);
    if (outbox_pending(&connection->outbox) < before)
        note_move(connection);
    if (status == 0)
        return;
    if (status != -EPIPE && status != -ECONNRESET) /* which is but a client that went */
        log_peer(LOG_LEVEL_WARNING, "cut off: it can't be sent a reply: %s " PEER_FORMAT,
                 strerror(-status), PEER_ARGUMENTS(connection));
    cut_off(connection);
}

/* Without memory for a reply the client can't be kept waiting for it. */
static void check_encoded(struct connection *connection, int status)
{
    if (status == 0)
        return;
    log_peer(LOG_LEVEL_ERROR, "cut off: no memory for a reply " PEER_FORMAT,
             PEER_ARGUMENTS(connection));
    cut_off(connection);
}

/* Says why, as far as the client still reads, and cuts it off. */
static void say_farewell(struct connection *connection, const struct error *error)
{
    log_peer(LOG_LEVEL_WARNING, "cut off: %s " PEER_FORMAT, error->message,
             PEER_ARGUMENTS(connection));
    envelope_encode_farewell(&connection->outbox.bytes, error);
    flush(connection);
    cut_off(connection);
}

static void reply_error(struct connection *connection, uint32_t msgid, const struct error *error)
{
    log_debug("refused: %s " PEER_FORMAT, error->message, PEER_ARGUMENTS(connection));
    check_encoded(connection, envelope_encode_error(&connection->outbox.bytes, msgid, error));
}

static void reply(struct connection *connection, uint32_t msgid, const struct answer *answer)
{
    if (answer->descriptor_count > 0) {
        outbox_attach(&connection->outbox, answer->descriptors, answer->descriptor_count);
        set_uncollected(connection, connection->uncollected + answer->descriptor_count);
    }
    check_encoded(connection, envelope_encode_reply(&connection->outbox.bytes, msgid,
                                                    answer->method, &answer->reply));
}

/* ---- Input ----------------------------------------------------------------------------------- */

/*
 * Undelivered descriptors count against the daemon: one reply with some for each client, and not
 * too many in all.
 */
static bool has_room_for_descriptors(struct server *server, struct error *error)
{
    if (server->uncollected + DISPATCH_DESCRIPTORS > server->uncollected_max)
        server_collect(server);
    if (server->uncollected + DISPATCH_DESCRIPTORS <= server->uncollected_max)
        return true;
    error_set(error, ERROR_LIMIT_EXCEEDED,
              "%u descriptors are on their way to clients that don't receive them; try again later",
              server->uncollected);
    error->max = server->uncollected_max;
    return false;
}

static void take_answer(struct connection *connection, uint32_t msgid, const struct answer *answer)
{
    switch (answer->kind) {
    case ANSWER_REPLY:
        reply(connection, msgid, answer);
        break;
    case ANSWER_ERROR:
        reply_error(connection, msgid, &answer->error);
        break;
    case ANSWER_LATER:
        break;
    }
}

static bool has_carriers(struct connection *connection)
{
    connection_collect(connection);
    return connection->uncollected > 0;
}

void connection_rung(struct connection *connection)
{
    if (!connection->caller.session)
        return;
    server_tell_time(connection->server);
    leasing_ring(connection->server->broker, connection->caller.session);
    server_arm(connection->server);
}

/* For as long as the session lives, with or without its socket. */
static void listen_to_bell(struct connection *connection)
{
    if (!connection->listens && connection->caller.bell >= 0)
        connection->listens =
            server_add_bell(connection->server, connection, connection->caller.bell) == 0;
}

/* False if the request has to stay where it is, for PAUSE_CARRIERS. */
static bool take_request(struct connection *connection, const struct envelope *envelope)
{
    struct server *server = connection->server;
    struct error error;

    if (dispatch_gives_descriptors(envelope)) {
        if (has_carriers(connection))
            return false;
        if (!has_room_for_descriptors(server, &error)) {
            reply_error(connection, envelope->msgid, &error);
            return true;
        }
    }
    dispatch(&server->dispatch, &connection->caller, envelope, (int64_t)uv_hrtime(),
             &server->answer);
    listen_to_bell(connection);
    take_answer(connection, envelope->msgid, &server->answer);
    return true;
}

static bool take_message(struct connection *connection, const struct bytes *message)
{
    struct envelope envelope;
    struct error error;

    if (!envelope_decode(&connection->server->decoder, message->data, message->size, &envelope,
                         &error)) {
        say_farewell(connection, &error);
        return true;
    }
    if (envelope.kind != ENVELOPE_REQUEST) {
        error_set(&error, ERROR_MALFORMED,
                  "a client sends requests only: [0, msgid, method, params]");
        say_farewell(connection, &error);
        return true;
    }
    return take_request(connection, &envelope);
}

static bool is_unread(struct connection *connection)
{
    if (outbox_pending(&connection->outbox) > CONNECTION_UNREAD_MAX)
        flush(connection);
    return outbox_pending(&connection->outbox) > CONNECTION_UNREAD_MAX;
}

static void refuse_bytes(struct connection *connection, enum scan_result result)
{
    struct error error;
    error_set(&error, ERROR_MALFORMED, "%s", scan_result_text(result));
    say_farewell(connection, &error);
}

static enum pause take_messages(struct connection *connection, unsigned *taken)
{
    for (*taken = 0; !connection->doomed; ++*taken) {
        struct bytes message;
        if (is_unread(connection))
            return PAUSE_UNREAD;
        enum scan_result result = inbox_next(&connection->inbox, &message);
        if (result == SCAN_MORE)
            return PAUSE_INPUT;
        if (result != SCAN_DONE) {
            refuse_bytes(connection, result);
            return PAUSE_INPUT;
        }
        if (*taken == CONNECTION_TURN_MAX)
            return PAUSE_TURN;
        if (!take_message(connection, &message))
            return PAUSE_CARRIERS;
        inbox_take(&connection->inbox);
    }
    return PAUSE_INPUT;
}

static void on_socket(uv_poll_t *handle, int status, int events);

static void poll_socket(struct connection *connection, int events)
{
    if (events == connection->events)
        return;
    connection->events = events;
    uv_poll_start(&connection->socket, events, on_socket);
}

static bool is_held(const struct connection *connection)
{
    return connection->pause == PAUSE_UNREAD || connection->pause == PAUSE_CARRIERS;
}

/*
 * While it is held, the end of the stream is looked for and room for replies. Where it is but the
 * others' turn the end can wait: what was sent before it is still to be taken.
 */
static void watch_socket(struct connection *connection)
{
    int events = 0;
    if (connection->pause == PAUSE_INPUT)
        events |= UV_READABLE;
    if (is_held(connection))
        events |= UV_DISCONNECT;
    if (outbox_pending(&connection->outbox) > 0 || connection->pause == PAUSE_TURN)
        events |= UV_WRITABLE;
    poll_socket(connection, events);
}

static void on_look(uv_timer_t *handle);

static void look_in(struct connection *connection, uint64_t ms)
{
    connection->look_ms = ms;
    uv_timer_start(&connection->look, on_look, ms, 0);
}

/*
 * Where requests wait, their turn comes when the socket has room, or by looking again: each looks
 * by itself, and soon only after it moved, so that one that is busy costs nothing for the others.
 */
static void set_pause(struct connection *connection, enum pause pause, unsigned taken)
{
    bool moved = taken > 0 || connection->pause == PAUSE_INPUT;
    connection->pause = pause;
    if (pause == PAUSE_INPUT) {
        uv_timer_stop(&connection->look);
    } else if (moved) {
        note_move(connection);
        look_in(connection, RECHECK_FIRST_MS);
    }
}

static void serve(struct connection *connection)
{
    unsigned taken;
    enum pause pause = take_messages(connection, &taken);
    flush(connection);
    set_pause(connection, pause, taken);
    watch_socket(connection);
    server_arm(connection->server);
}

/*
 * Serves it, and notes whether the client has read since the last look. Bytes that leave the outbox
 * don't tell alone: it may be empty, and all that is unread in the socket.
 */
static void serve_again(struct connection *connection)
{
    if (socket_unread(connection->socket_fd) < connection->unread)
        note_move(connection);
    serve(connection);
    connection->unread = socket_unread(connection->socket_fd);
}

/* The client may have read meanwhile, or do so no more. */
static void on_look(uv_timer_t *handle)
{
    struct connection *connection = handle->data;
    if (connection->doomed)
        return;
    serve_again(connection);
    if (connection->pause == PAUSE_INPUT || connection->doomed ||
        uv_is_active((uv_handle_t *)handle))
        return;
    if (uv_now(&connection->server->loop) - connection->moved_at < CONNECTION_HELD_MAX_MS) {
        look_in(connection, server_recheck_longer(connection->look_ms));
        return;
    }
    log_peer(LOG_LEVEL_WARNING, "cut off: it hasn't read its replies for %u seconds " PEER_FORMAT,
             CONNECTION_HELD_MAX_MS / 1000, PEER_ARGUMENTS(connection));
    cut_off(connection);
}

void connection_answer(void *asker, uint32_t msgid, enum method method, const void *answer,
                       const struct error *error)
{
    struct connection *connection = asker;
    msgpack_sbuffer *bytes = &connection->outbox.bytes;
    if (connection->doomed)
        return;
    check_encoded(connection, error ? envelope_encode_error(bytes, msgid, error)
                                    : envelope_encode_reply(bytes, msgid, method, answer));
    flush(connection);
    if (outbox_pending(&connection->outbox) > 0)
        poll_socket(connection, connection->events | UV_WRITABLE);
}

/* One receive a turn of the loop, so that nobody keeps it from the others. False at the end. */
static bool receive(struct connection *connection)
{
    ssize_t size = inbox_receive(&connection->inbox, connection->socket_fd);
    if (size == -ENOMEM)
        check_encoded(connection, -ENOMEM);
    return size > 0 || size == -EAGAIN || size == -EINTR || size == -ENOMEM;
}

static void on_socket(uv_poll_t *handle, int status, int events)
{
    struct connection *connection = handle->data;
    bool ended = status < 0 || connection->doomed || (events & UV_DISCONNECT);
    if (!ended && (events & UV_READABLE))
        ended = !receive(connection);
    if (ended)
        connection_close(connection);
    else
        serve(connection);
}

/* ---- Begin ----------------------------------------------------------------------------------- */

/*
 * The process is gone, whoever still holds its socket. What it had sent is still taken, and then
 * the stream ends; unless it is held, for a client that won't ever read.
 */
static void take_death(struct connection *connection)
{
    if (!connection->served)
        connection_recheck(connection, true);
    else if (is_held(connection))
        connection_close(connection);
    else
        shutdown(connection->socket_fd, SHUT_RD);
}

static void on_process(uv_poll_t *handle, int status, int events)
{
    struct connection *connection = handle->data;
    (void)status;
    (void)events;
    stop_watching(connection);
    take_death(connection);
}

/* A process of another pid namespace can't be watched; the end of its stream has to do. */
static int watch_process(struct connection *connection)
{
    int pidfd = socket_pidfd(connection->socket_fd, &connection->caller.who.peer);
    if (pidfd == -ESRCH && connection->caller.who.peer.pid > 0)
        take_death(connection);
    if (pidfd == -ESRCH)
        return 0;
    if (pidfd < 0)
        return pidfd;
    int status = uv_poll_init(&connection->server->loop, &connection->process, pidfd);
    if (status < 0) {
        close(pidfd);
        return status;
    }
    connection->process.data = connection;
    connection->pidfd = pidfd;
    connection->open_handles++;
    return uv_poll_start(&connection->process, UV_READABLE, on_process);
}

static int take_credentials(struct credentials *who, int fd)
{
    int status = socket_peer(fd, &who->peer);
    int count = status < 0 ? status : socket_groups(fd, &who->groups);
    if (count < 0)
        return count;
    who->group_count = (unsigned)count;
    return 0;
}

int connection_new(struct server *server, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    int status = connection ? take_credentials(&connection->caller.who, fd) : -ENOMEM;
    if (status == 0)
        status = uv_poll_init(&server->loop, &connection->socket, fd);
    if (status < 0) {
        if (connection)
            free_connection(connection);
        close(fd);
        return status;
    }
    connection->server = server;
    connection->caller.connection = connection;
    connection->socket.data = connection;
    uv_timer_init(&server->loop, &connection->look);
    connection->look.data = connection;
    connection->socket_fd = fd;
    connection->pidfd = -1;
    connection->caller.bell = -1;
    connection->open_handles = 2;
    connection->served = true;
    inbox_init(&connection->inbox);
    outbox_init(&connection->outbox);
    server_connection_added(server, connection);
    watch_socket(connection);
    status = watch_process(connection);
    if (status < 0)
        release(connection);
    return status;
}

int connection_adopt(struct server *server, struct session *session)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return -ENOMEM;
    connection->server = server;
    connection->caller.connection = connection;
    connection->caller.session = session;
    connection->caller.who.peer = session->peer;
    connection->caller.bell = -1;
    connection->socket_fd = -1;
    connection->pidfd = -1;
    session->keeper = connection;
    server_connection_added(server, connection);
    server_look_again(server, true);
    return 0;
}
