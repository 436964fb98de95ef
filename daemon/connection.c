/* SPDX-License-Identifier: MIT */
#include "daemon/connection.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/socket.h"

/* For log lines: who it is. */
#define PEER_FORMAT "pid=%d uid=%u"
#define PEER_ARGUMENTS(connection) (connection)->caller.peer.pid, (connection)->caller.peer.uid

/* ---- End ------------------------------------------------------------------------------------- */

static void destroy(struct connection *connection)
{
    free(connection->inbox);
    msgpack_sbuffer_destroy(&connection->outbox);
    free(connection);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    connection->open_handles--;
    if (connection->released && connection->open_handles == 0)
        destroy(connection);
}

static void close_handle(uv_poll_t *handle, int *fd)
{
    if (*fd < 0)
        return;
    uv_close((uv_handle_t *)handle, on_handle_closed);
    close(*fd);
    *fd = -1;
}

static void release(struct connection *connection)
{
    server_connection_removed(connection->server, connection);
    connection->released = true;
    close_handle(&connection->socket, &connection->socket_fd);
    close_handle(&connection->process, &connection->pidfd);
    if (connection->open_handles == 0)
        destroy(connection);
}

static void set_uncollected(struct connection *connection, unsigned count)
{
    connection->server->uncollected += count - connection->uncollected;
    connection->uncollected = count;
}

bool connection_is_orphan(const struct connection *connection)
{
    return connection->socket_fd < 0;
}

void connection_recheck(struct connection *connection, bool soon)
{
    if (connection->caller.session &&
        !broker_end_session(connection->server->broker, connection->caller.session)) {
        server_look_again(connection->server, soon);
        return;
    }
    connection->caller.session = NULL;
    release(connection);
}

void connection_close(struct connection *connection)
{
    struct server *server = connection->server;

    close_handle(&connection->socket, &connection->socket_fd);
    set_uncollected(connection, 0);
    if (connection->caller.session)
        broker_disconnect(server->broker, connection->caller.session);
    connection_recheck(connection, true);
    server_arm(server);
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

static void on_socket(uv_poll_t *handle, int status, int events);

static void set_writing(struct connection *connection, bool writing)
{
    if (connection->writing == writing)
        return;
    connection->writing = writing;
    uv_poll_start(&connection->socket, UV_READABLE | (writing ? UV_WRITABLE : 0), on_socket);
}

static size_t pending(const struct connection *connection)
{
    return connection->outbox.size - connection->outbox_sent;
}

/* Notes what was sent; returns whether the connection is still good. */
static bool take_sent(struct connection *connection, ssize_t sent)
{
    if (sent == -EAGAIN)
        sent = 0;
    if (sent < 0) {
        cut_off(connection);
        return false;
    }
    connection->outbox_sent += (size_t)sent;
    if (pending(connection) == 0) {
        msgpack_sbuffer_clear(&connection->outbox);
        connection->outbox_sent = 0;
    }
    set_writing(connection, pending(connection) > 0);
    return true;
}

static void flush(struct connection *connection)
{
    if (connection->doomed || pending(connection) == 0)
        return;
    ssize_t sent =
        socket_send(connection->socket_fd, connection->outbox.data + connection->outbox_sent,
                    pending(connection), NULL, 0);
    if (!take_sent(connection, sent) || pending(connection) <= CONNECTION_OUTBOX_MAX)
        return;
    log_warning("cut off: more than %u bytes of replies that it doesn't read " PEER_FORMAT,
                CONNECTION_OUTBOX_MAX, PEER_ARGUMENTS(connection));
    cut_off(connection);
}

/* Without memory for a reply the client can't be kept waiting for it. */
static void check_encoded(struct connection *connection, int status)
{
    if (status == 0)
        return;
    log_error("cut off: no memory for a reply " PEER_FORMAT, PEER_ARGUMENTS(connection));
    cut_off(connection);
}

/* Says why, as far as the client still reads, and cuts it off. */
static void say_farewell(struct connection *connection, const struct error *error)
{
    log_warning("cut off: %s " PEER_FORMAT, error->message, PEER_ARGUMENTS(connection));
    envelope_encode_farewell(&connection->outbox, error);
    flush(connection);
    cut_off(connection);
}

void connection_answer(void *asker, uint32_t msgid, const struct allocate_reply *reply,
                       const struct error *error)
{
    struct connection *connection = asker;
    if (connection->doomed)
        return;
    check_encoded(connection, error ? envelope_encode_error(&connection->outbox, msgid, error)
                                    : envelope_encode_reply(&connection->outbox, msgid,
                                                            METHOD_ALLOCATE, reply));
    flush(connection);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

void connection_collect(struct connection *connection)
{
    if (connection->uncollected > 0 && socket_is_read(connection->socket_fd))
        set_uncollected(connection, 0);
}

/* Undelivered descriptors count against the daemon, so few are let be on their way. */
static bool may_send_descriptors(struct connection *connection, unsigned count)
{
    struct server *server = connection->server;
    struct error error;

    connection_collect(connection);
    if (server->uncollected + count > server->uncollected_max)
        server_collect(server);
    if (connection->uncollected + count > CONNECTION_UNCOLLECTED_MAX || pending(connection) > 0) {
        error_set(&error, ERROR_LIMIT_EXCEEDED,
                  "the client asks for more descriptors than it receives; read replies first");
        error.max = CONNECTION_UNCOLLECTED_MAX;
    } else if (server->uncollected + count > server->uncollected_max) {
        error_set(&error, ERROR_LIMIT_EXCEEDED,
                  "the clients have %u descriptors waiting that they don't receive; try later",
                  server->uncollected);
        error.max = server->uncollected_max;
    } else {
        return true;
    }
    say_farewell(connection, &error);
    return false;
}

/* The reply's first byte carries the descriptors, so nothing else may be waiting before it. */
static void send_with_descriptors(struct connection *connection, const struct answer *answer)
{
    ssize_t sent =
        socket_send(connection->socket_fd, connection->outbox.data, connection->outbox.size,
                    answer->descriptors, answer->descriptor_count);
    if (sent > 0)
        set_uncollected(connection, connection->uncollected + answer->descriptor_count);
    else if (sent != -EPIPE) /* which is but a client that went */
        log_warning("cut off: it can't be sent descriptors: %s " PEER_FORMAT, strerror((int)-sent),
                    PEER_ARGUMENTS(connection));
    take_sent(connection, sent > 0 ? sent : -EPIPE);
}

static void reply_with_descriptors(struct connection *connection, uint32_t msgid,
                                   const struct answer *answer)
{
    flush(connection);
    if (!connection->doomed && may_send_descriptors(connection, answer->descriptor_count)) {
        check_encoded(connection, envelope_encode_reply(&connection->outbox, msgid, answer->method,
                                                        &answer->reply));
        if (!connection->doomed)
            send_with_descriptors(connection, answer);
    }
    for (unsigned i = 0; i < answer->descriptor_count; i++)
        close(answer->descriptors[i]);
}

/* ---- Input ----------------------------------------------------------------------------------- */

static void take_answer(struct connection *connection, uint32_t msgid, const struct answer *answer)
{
    switch (answer->kind) {
    case ANSWER_REPLY:
        if (answer->descriptor_count > 0)
            reply_with_descriptors(connection, msgid, answer);
        else
            check_encoded(connection, envelope_encode_reply(&connection->outbox, msgid,
                                                            answer->method, &answer->reply));
        break;
    case ANSWER_ERROR:
        log_debug("refused: %s " PEER_FORMAT, answer->error.message, PEER_ARGUMENTS(connection));
        check_encoded(connection,
                      envelope_encode_error(&connection->outbox, msgid, &answer->error));
        break;
    case ANSWER_LATER:
        break;
    }
}

static void take_message(struct connection *connection, const uint8_t *data, size_t size)
{
    struct server *server = connection->server;
    struct envelope envelope;
    struct error error;

    if (!envelope_decode(&server->decoder, data, size, &envelope, &error)) {
        say_farewell(connection, &error);
        return;
    }
    if (envelope.kind != ENVELOPE_REQUEST) {
        error_set(&error, ERROR_MALFORMED,
                  "a client sends requests only: [0, msgid, method, params]");
        say_farewell(connection, &error);
        return;
    }
    dispatch(&server->dispatch, &connection->caller, &envelope, (int64_t)uv_hrtime(),
             &server->answer);
    take_answer(connection, envelope.msgid, &server->answer);
}

/* Every whole message of the inbox; what is left of one stays at its beginning. */
static void take_messages(struct connection *connection)
{
    size_t taken = 0;
    enum scan_result result = SCAN_DONE;

    while (!connection->doomed && taken < connection->inbox_size && result == SCAN_DONE) {
        const uint8_t *message = connection->inbox + taken;
        result = scan_continue(&connection->scan, message, connection->inbox_size - taken);
        if (result != SCAN_DONE)
            break;
        size_t size = connection->scan.position;
        scan_init(&connection->scan);
        take_message(connection, message, size);
        taken += size;
    }
    if (!connection->doomed && result != SCAN_DONE && result != SCAN_MORE) {
        struct error error;
        error_set(&error, ERROR_MALFORMED, "%s", scan_result_text(result));
        say_farewell(connection, &error);
    }
    memmove(connection->inbox, connection->inbox + taken, connection->inbox_size - taken);
    connection->inbox_size -= taken;
}

/* Room for some bytes at least; between messages no more than the smallest inbox is kept. */
static bool make_room(struct connection *connection)
{
    size_t room = connection->inbox_room;
    if (connection->inbox_size == 0)
        room = CONNECTION_INBOX_MIN;
    else if (connection->inbox_size == room)
        room *= 2;
    if (room == connection->inbox_room)
        return true;

    uint8_t *inbox = realloc(connection->inbox, room);
    if (!inbox)
        return false;
    connection->inbox = inbox;
    connection->inbox_room = room;
    return true;
}

/* One receive a turn of the loop, so that nobody keeps it from the others. */
static void receive(struct connection *connection)
{
    if (!make_room(connection)) {
        check_encoded(connection, -ENOMEM);
        return;
    }
    ssize_t size = recv(connection->socket_fd, connection->inbox + connection->inbox_size,
                        connection->inbox_room - connection->inbox_size, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        connection_close(connection);
        return;
    }
    connection_collect(connection);
    connection->inbox_size += (size_t)size;
    take_messages(connection);
    flush(connection);
    server_arm(connection->server);
}

static void on_socket(uv_poll_t *handle, int status, int events)
{
    struct connection *connection = handle->data;
    if (status < 0 || connection->doomed) {
        connection_close(connection);
        return;
    }
    if (events & UV_WRITABLE)
        flush(connection);
    if (events & UV_READABLE)
        receive(connection);
}

/* ---- Begin ----------------------------------------------------------------------------------- */

/* The process is gone, whoever still holds its socket. */
static void on_process(uv_poll_t *handle, int status, int events)
{
    struct connection *connection = handle->data;
    (void)status;
    (void)events;
    close_handle(&connection->process, &connection->pidfd);
    if (connection_is_orphan(connection))
        connection_recheck(connection, true);
    else
        shutdown(connection->socket_fd, SHUT_RD); /* what it sent is still taken, then it ends */
}

static void watch_process(struct connection *connection)
{
    int pidfd = socket_pidfd(connection->socket_fd, &connection->caller.peer);
    if (pidfd < 0) {
        log_debug("no pidfd: %s " PEER_FORMAT, strerror(-pidfd), PEER_ARGUMENTS(connection));
        return;
    }
    if (uv_poll_init(&connection->server->loop, &connection->process, pidfd) < 0) {
        close(pidfd);
        return;
    }
    connection->process.data = connection;
    connection->pidfd = pidfd;
    connection->open_handles++;
    uv_poll_start(&connection->process, UV_READABLE, on_process);
}

int connection_new(struct server *server, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    int status = connection ? socket_peer(fd, &connection->caller.peer) : -ENOMEM;
    if (status == 0)
        status = uv_poll_init(&server->loop, &connection->socket, fd);
    if (status < 0) {
        free(connection);
        close(fd);
        return status;
    }
    connection->server = server;
    connection->caller.connection = connection;
    connection->socket.data = connection;
    connection->socket_fd = fd;
    connection->pidfd = -1;
    connection->open_handles = 1;
    scan_init(&connection->scan);
    msgpack_sbuffer_init(&connection->outbox);
    server_connection_added(server, connection);
    watch_process(connection);
    uv_poll_start(&connection->socket, UV_READABLE, on_socket);
    return 0;
}
