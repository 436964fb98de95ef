/* SPDX-License-Identifier: MIT */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/deadline.h"
#include "client/error.h"
#include "client/guard.h"
#include "client/name.h"
#include "client/pool.h"
#include "client/sized.h"
#include "client/socket.h"

#define WITNESS_SIZE 4096u

/* ---- Calls ----------------------------------------------------------------------------------- */

int connection_raise_forked(fastalloc_error_t *error)
{
    return error_raise(error, FASTALLOC_ERR_FORKED,
                       "this connection to fastallocd is the parent process's; a forked child "
                       "must connect by itself");
}

int connection_call(struct fastalloc_connection *connection, struct call *call)
{
    if (connection_is_forked(connection))
        return connection_raise_forked(call->error);
    return channel_call(&connection->channel, call);
}

int connection_take_descriptors(struct call *call, struct descriptors *arrived,
                                struct descriptors *taken, unsigned told, unsigned expected)
{
    call->complaint = "other descriptors than it told of";
    if (told != expected) {
        call->complaint = "another number of descriptors than was asked for";
        return FASTALLOC_ERR_MALFORMED;
    }
    int result = descriptors_take(arrived, expected, taken);
    if (result == -EMFILE)
        error_raise(call->error, result,
                    "no room for the %u descriptors of the reply to %s: this process has too many "
                    "open; raise its limit (ulimit -n)",
                    expected, method_table[call->method].name);
    return result;
}

/* ---- The session ----------------------------------------------------------------------------- */

/* What came with the reply to hello and must outlive it. */
struct arrival {
    struct descriptors witness;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
};

static int take_arrival(struct call *call, struct descriptors *arrived)
{
    const struct hello_request *request = call->request;
    const struct hello_reply *reply = call->reply;
    struct arrival *arrival = call->context;
    call->complaint = "a token of another size";
    if (reply->token.size != sizeof(arrival->token))
        return FASTALLOC_ERR_MALFORMED;
    memcpy(arrival->token, reply->token.data, sizeof(arrival->token));
    return connection_take_descriptors(call, arrived, &arrival->witness, reply->descriptors,
                                       request->witness);
}

static void arrival_deinit(struct arrival *arrival)
{
    descriptors_close(&arrival->witness);
}

/* The mapping alone is what counts; a descriptor could be passed on by a fork. */
static int map_witness(struct fastalloc_connection *connection, int fd, fastalloc_error_t *error)
{
    int result = region_map(&connection->witness, fd, WITNESS_SIZE, WITNESS_SIZE, PROT_READ);
    if (result == -ENODATA)
        return error_raise(error, FASTALLOC_ERR_MALFORMED,
                           "fastallocd at %s sent a witness that isn't a page of shared memory",
                           connection->channel.path);
    if (result < 0)
        return error_raise(error, result, "cannot map the session's witness: %s",
                           error_text(-result));
    return 0;
}

static int check_version(struct fastalloc_connection *connection, uint32_t version,
                         fastalloc_error_t *error)
{
    if (version == PROTOCOL_VERSION)
        return 0;
    const fastalloc_error_t fields = {
        .code = FASTALLOC_ERR_PROTOCOL_MISMATCH,
        .requested = PROTOCOL_VERSION,
        .actual = version,
    };
    return error_raise_with(error, &fields,
                            "fastallocd at %s speaks protocol %u, this library %u; use versions "
                            "that belong together",
                            connection->channel.path, version, PROTOCOL_VERSION);
}

static int say_hello(struct fastalloc_connection *connection, const struct hello_request *request,
                     struct hello_reply *reply, struct arrival *arrival, fastalloc_error_t *error)
{
    struct call call = {
        .method = METHOD_HELLO,
        .request = request,
        .reply = reply,
        .take = take_arrival,
        .context = arrival,
        .error = error,
    };
    return connection_call(connection, &call);
}

static int raise_unanswered(const struct fastalloc_connection *connection, fastalloc_error_t *error)
{
    const fastalloc_error_t fields = {
        .code = FASTALLOC_ERR_UNREACHABLE,
        .system_error = ECONNRESET,
    };
    return error_raise_with(error, &fields,
                            "fastallocd at %s ended the connection before there was a session: %s; "
                            "try again, or see its log",
                            connection->channel.path, connection->channel.reason);
}

/*
 * Without room for a witness the session begins all the same: it can map nothing, but look, and make
 * room by destroying pools. It ends with its connection, and can't be resumed.
 */
static int begin_session(struct fastalloc_connection *connection, const char *name,
                         fastalloc_error_t *error)
{
    struct hello_request request = {.version = PROTOCOL_VERSION, .witness = true};
    struct hello_reply reply = {.version = 0};
    __attribute__((cleanup(arrival_deinit))) struct arrival arrival = {.witness = {.count = 0}};
    fastalloc_error_t own = FASTALLOC_ERROR_INIT;

    int result = name_copy(request.name, name, "name", error);
    if (result < 0)
        return result;
    if (!name)
        name_of_program(request.name);
    result = say_hello(connection, &request, &reply, &arrival, &own);
    if (result == FASTALLOC_ERR_SHARED_MEMORY_FULL) {
        request.witness = false;
        result = say_hello(connection, &request, &reply, &arrival, &own);
    }
    if (result == FASTALLOC_ERR_DISCONNECTED)
        return raise_unanswered(connection, error);
    if (result < 0)
        return error_raise_with(error, &own, "%s", own.message);
    result = check_version(connection, reply.version, error);
    if (result == 0 && request.witness)
        result = map_witness(connection, arrival.witness.fds[0], error);
    if (result < 0)
        return result;
    connection->session = reply.session;
    if (request.witness)
        channel_keep(&connection->channel, reply.session, arrival.token);
    return 0;
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

/* Takes over the descriptor, also when it fails. */
static int connection_new(int fd, const struct channel_options *options,
                          struct fastalloc_connection **result)
{
    struct fastalloc_connection *connection = calloc(1, sizeof(*connection));
    void *alive = NULL;
    int code = connection ? guard_new(sizeof(*connection->alive), &alive) : -ENOMEM;
    if (code < 0)
        close(fd);
    else
        code = channel_init(&connection->channel, fd, options);
    if (code < 0) {
        guard_free(alive, sizeof(*connection->alive));
        free(connection);
        return code;
    }
    connection->alive = alive;
    *connection->alive = 1;
    pthread_mutex_init(&connection->pools_lock, NULL);
    *result = connection;
    return 0;
}

static int connect_once(const fastalloc_connect_options_t *options, int64_t limit,
                        fastalloc_connection_t **connection, fastalloc_error_t *error)
{
    struct sockaddr_un address;
    int fd = socket_connect(options->socket, limit, &address, error);
    if (fd < 0)
        return fd;

    const struct channel_options channel = {
        .path = address.sun_path,
        .reply_limit = options->reply_limit,
        .reconnect_limit = options->reconnect_limit,
    };
    struct fastalloc_connection *made;
    int result = connection_new(fd, &channel, &made);
    if (result < 0)
        return error_raise(error, result, "cannot set up a connection to fastallocd at %s: %s",
                           address.sun_path, error_text(-result));
    result = begin_session(made, options->name, error);
    if (result < 0) {
        fastalloc_disconnect(made);
        return result;
    }
    *connection = made;
    return 0;
}

/* Whether a daemon was there, and another one may be in a moment. */
static bool is_ending(const fastalloc_error_t *error)
{
    return error->code == FASTALLOC_ERR_SHUTTING_DOWN ||
           (error->code == FASTALLOC_ERR_UNREACHABLE && error->system_error == ECONNRESET);
}

/* A daemon that ends amid it is waited for as one that isn't there yet. */
static int connect_as(const fastalloc_connect_options_t *options,
                      fastalloc_connection_t **connection, fastalloc_error_t *error)
{
    int64_t deadline = deadline_in(options->connect_limit), left = options->connect_limit, wait = 0;
    for (;;) {
        fastalloc_error_t own = FASTALLOC_ERROR_INIT;
        int result = connect_once(options, left, connection, &own);
        left = deadline_left(deadline);
        if (result == 0)
            return 0;
        if (!is_ending(&own) || left == 0)
            return error_raise_with(error, &own, "%s", own.message);
        wait = socket_next_wait(wait);
        deadline_poll(-1, 0, deadline_in(wait < left ? wait : left));
        left = deadline_left(deadline);
    }
}

int fastalloc_connect(const fastalloc_connect_options_t *options,
                      fastalloc_connection_t **connection, fastalloc_error_t *error)
{
    CANCEL_DISABLED;
    fastalloc_connect_options_t own = FASTALLOC_CONNECT_OPTIONS_INIT;
    if (options && !sized_read(&own, sizeof(own), options))
        return error_raise_argument(error, "size",
                                    "the options to connect have no size; begin "
                                    "with FASTALLOC_CONNECT_OPTIONS_INIT");
    return connect_as(&own, connection, error);
}

void fastalloc_disconnect(fastalloc_connection_t *connection)
{
    CANCEL_DISABLED;
    if (!connection)
        return;
    bool forked = connection_is_forked(connection);
    pool_delete_all(connection->pools, forked);
    if (!forked) {
        region_unmap(&connection->witness);
        channel_hang_up(&connection->channel);
    }
    channel_deinit(&connection->channel);
    guard_free(connection->alive, sizeof(*connection->alive));
    free(connection);
}

uint64_t fastalloc_session(const fastalloc_connection_t *connection)
{
    return connection->session;
}

uint64_t fastalloc_resumed(const fastalloc_connection_t *connection)
{
    return channel_resumed(&connection->channel);
}
