/* SPDX-License-Identifier: MIT */
#include "client/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/configuration.h"
#include "client/error.h"
#include "client/guard.h"
#include "shm/order.h"

/* How long the daemon may take to close a pool, until nobody waits for that any more. */
#define CLOSE_LIMIT FASTALLOC_SECOND

/* ---- Pools of a connection ------------------------------------------------------------------- */

static struct fastalloc_pool *find_pool(struct fastalloc_connection *connection, uint32_t id,
                                        bool write)
{
    struct fastalloc_pool *pool = connection->pools;
    while (pool && (pool->id != id || pool->write != write))
        pool = pool->next;
    return pool;
}

static void unlink_pool(struct fastalloc_pool *pool)
{
    struct fastalloc_pool **link = &pool->connection->pools;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
}

static void pool_delete(struct fastalloc_pool *pool, bool forked)
{
    if (pool->guarded)
        lease_deinit(&pool->guarded->lease);
    if (!forked)
        mapping_deinit(&pool->mapping);
    guard_free(pool->guarded, sizeof(*pool->guarded));
    if (pool->bell >= 0)
        close(pool->bell);
    free(pool->content);
    free(pool);
}

void pool_delete_all(struct fastalloc_pool *pools, bool forked)
{
    while (pools) {
        struct fastalloc_pool *next = pools->next;
        if (!forked) /* the next one, when it gives back slots, may have the session resumed */
            channel_forget_bell(&pools->connection->channel, pools->id);
        pool_delete(pools, forked);
        pools = next;
    }
}

/* ---- Destroyed ones -------------------------------------------------------------------------- */

int pool_raise_destroyed(const struct fastalloc_pool *pool, fastalloc_error_t *error)
{
    fastalloc_error_t fields = {.code = FASTALLOC_ERR_POOL_DESTROYED};
    memcpy(fields.pool, pool->name, sizeof(fields.pool));
    return error_raise_with(error, &fields, "pool '%s' was destroyed; close it", pool->name);
}

int pool_call(const struct fastalloc_pool *pool, struct call *call)
{
    int result = connection_call(pool->connection, call);
    if (result == FASTALLOC_ERR_NOT_A_MEMBER && pool_is_destroyed(pool))
        return pool_raise_destroyed(pool, call->error);
    return result;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* What came with the reply to an open and must outlive it. */
struct arrival {
    struct resume *resume;
    struct descriptors parts; /* the mapping's, and behind them the bell */
    unsigned char *content;
    size_t content_size;
};

static void arrival_deinit(struct arrival *arrival)
{
    descriptors_close(&arrival->parts);
    free(arrival->content);
}

static bool is_plausible(const struct pool_open_reply *reply)
{
    bool leased = reply->kind == LAYOUT_LEASED;
    return (!leased || (reply->member > SLOT_MEMBER_NONE && reply->member < SLOT_MEMBER_POOL)) &&
           reply->template.size <= reply->object_size;
}

static int check_bell(struct call *call, const struct arrival *arrival)
{
    const struct pool_open_request *request = call->request;
    int result = descriptors_check_bell(&arrival->parts, MAPPING_PARTS);
    call->complaint = "a bell that is none";
    if (result < 0 && result != FASTALLOC_ERR_MALFORMED)
        error_raise(call->error, result, "cannot set up pool '%s': %s", request->name,
                    error_text(-result));
    return result;
}

static int take_arrival(struct call *call, struct descriptors *arrived)
{
    const struct pool_open_request *request = call->request;
    const struct pool_open_reply *reply = call->reply;
    struct arrival *arrival = call->context;
    bool bell = reply->kind == LAYOUT_LEASED && request->write;
    call->complaint = "a pool that can't be";
    if (!is_plausible(reply))
        return FASTALLOC_ERR_MALFORMED;
    int result = connection_take_descriptors(call, arrived, &arrival->parts, reply->descriptors,
                                             MAPPING_PARTS + bell);
    if (result == 0 && bell)
        result = check_bell(call, arrival);
    if (result < 0)
        return result;
    resume_add(arrival->resume, reply->pool, bell ? arrival->parts.fds[MAPPING_PARTS] : -1);
    if (reply->template.size == 0)
        return 0;
    arrival->content = malloc(reply->template.size);
    if (!arrival->content)
        return error_raise(call->error, -ENOMEM, "no memory for the template of pool '%s'",
                           request->name);
    memcpy(arrival->content, reply->template.data, reply->template.size);
    arrival->content_size = reply->template.size;
    return 0;
}

/* Takes over what it needs of the arrival; also on failure. */
static int set_up(struct fastalloc_pool *pool, const struct pool_open_request *request,
                  const struct pool_open_reply *reply, struct arrival *arrival,
                  fastalloc_error_t *error)
{
    bool leased = reply->kind == LAYOUT_LEASED && request->write;
    pool->id = reply->pool;
    pool->write = request->write;
    memcpy(pool->name, request->name, sizeof(pool->name));
    memcpy(pool->type, reply->type, sizeof(pool->type));
    int code = mapping_init(&pool->mapping, arrival->parts.fds, request->name, reply,
                            request->write, error);
    if (code < 0)
        return code;
    *pool->view = mapping_view(&pool->mapping);
    if (!leased)
        return 0;
    pool->bell = descriptors_detach(&arrival->parts, MAPPING_PARTS);
    pool->content = arrival->content;
    pool->content_size = arrival->content_size;
    arrival->content = NULL;
    pool->lease = &pool->guarded->lease;
    return lease_init(pool->lease, pool, reply->member, error);
}

static bool is_open(struct fastalloc_connection *connection, uint32_t id)
{
    return find_pool(connection, id, false) || find_pool(connection, id, true);
}

/*
 * One of the pool's two ways to be open is over, and its bell, if it has one, will be closed. Whether
 * the daemon is to be told.
 */
static bool forget(struct fastalloc_connection *connection, uint32_t id)
{
    if (!find_pool(connection, id, true))
        channel_forget_bell(&connection->channel, id);
    return !is_open(connection, id) && channel_forget_pool(&connection->channel, id);
}

/* Makes the pool of what the daemon replied, and adds it to the connection's. */
static int add_pool(struct fastalloc_connection *connection,
                    const struct pool_open_request *request, const struct pool_open_reply *reply,
                    struct arrival *arrival, struct fastalloc_pool **result,
                    fastalloc_error_t *error)
{
    struct fastalloc_pool *pool = calloc(1, sizeof(*pool));
    void *guarded = NULL;
    int code = pool ? guard_new(sizeof(*pool->guarded), &guarded) : -ENOMEM;
    if (code < 0) {
        free(pool);
        error_raise(error, code, "cannot set up pool '%s': %s", request->name, error_text(-code));
        return code;
    }
    pool->connection = connection;
    pool->guarded = guarded;
    pool->view = &pool->guarded->view;
    pool->bell = -1;
    code = set_up(pool, request, reply, arrival, error);
    if (code < 0) {
        forget(connection, reply->pool);
        pool_delete(pool, false);
        return code;
    }
    pool->next = connection->pools;
    connection->pools = pool;
    *result = pool;
    return 0;
}

/*
 * Should this fail, the session's end closes it, or its being resumed. The pools are locked: who opens
 * or closes another one doesn't wait for long for a daemon that hangs, which will come to this, too.
 */
static void tell_closed(struct fastalloc_connection *connection, uint32_t id)
{
    struct pool_close_request request = {.pool = id};
    struct pool_close_reply reply;
    struct call call = {
        .method = METHOD_POOL_CLOSE,
        .request = &request,
        .reply = &reply,
        .timeout = CLOSE_LIMIT,
        .bounded = true,
    };
    (void)connection_call(connection, &call);
}

/* As long as the pools are locked. */
static int check_room(struct fastalloc_connection *connection,
                      const struct pool_open_request *request, fastalloc_error_t *error)
{
    const fastalloc_error_t too_many = {
        .code = FASTALLOC_ERR_LIMIT_EXCEEDED,
        .max = RESUME_POOLS_MAX,
    };
    if (channel_has_room_for_pool(&connection->channel))
        return 0;
    return error_raise_with(error, &too_many,
                            "cannot open pool '%s': this connection has %u open; close those that "
                            "aren't needed, or were destroyed",
                            request->name, RESUME_POOLS_MAX);
}

static int open_locked(struct fastalloc_connection *connection,
                       const struct pool_open_request *request, struct fastalloc_pool **result,
                       fastalloc_error_t *error)
{
    struct pool_open_reply reply = {.pool = 0};
    __attribute__((cleanup(arrival_deinit))) struct arrival arrival = {
        .resume = &connection->channel.resume,
    };
    struct call call = {
        .method = METHOD_POOL_OPEN,
        .request = request,
        .reply = &reply,
        .take = take_arrival,
        .context = &arrival,
        .error = error,
    };
    int code = check_room(connection, request, error);
    if (code < 0)
        return code;
    code = connection_call(connection, &call);
    struct fastalloc_pool *pool = find_pool(connection, reply.pool, request->write);
    if (code == 0 && !pool)
        code = add_pool(connection, request, &reply, &arrival, &pool, error);
    else if (code == 0 && pool->write && pool->bell < 0) /* one that came now isn't kept */
        channel_forget_bell(&connection->channel, pool->id);
    if (code < 0) {
        if (reply.pool != 0 && forget(connection, reply.pool))
            tell_closed(connection, reply.pool);
        return code;
    }
    pool->references++;
    *result = pool;
    return 0;
}

static int check_session(struct fastalloc_connection *connection,
                         const struct pool_open_request *request, fastalloc_error_t *error)
{
    if (connection_is_forked(connection))
        return connection_raise_forked(error);
    if (connection->witness.size == 0)
        return error_raise(error, FASTALLOC_ERR_SHARED_MEMORY_FULL,
                           "cannot open pool '%s': /dev/shm had no room for a page when this "
                           "session began; make some, then connect anew",
                           request->name);
    return 0;
}

/* One open at a time: the daemon lets a client have few replies with descriptors unread. */
static int open_pool(struct fastalloc_connection *connection,
                     const struct pool_open_request *request, struct fastalloc_pool **result,
                     fastalloc_error_t *error)
{
    int code = check_session(connection, request, error);
    if (code < 0)
        return code;
    pthread_mutex_lock(&connection->pools_lock);
    code = open_locked(connection, request, result, error);
    pthread_mutex_unlock(&connection->pools_lock);
    return code;
}

int fastalloc_open(fastalloc_connection_t *connection, const char *name,
                   const fastalloc_open_options_t *options, fastalloc_pool_t **pool,
                   fastalloc_error_t *error)
{
    CANCEL_DISABLED;
    struct pool_open_request request;
    int result = configuration_to_open(&request, name, options, error);
    return result < 0 ? result : open_pool(connection, &request, pool, error);
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void close_locked(struct fastalloc_pool *pool)
{
    struct fastalloc_connection *connection = pool->connection;
    uint32_t id = pool->id;
    if (--pool->references > 0)
        return;
    unlink_pool(pool);
    bool is_told = forget(connection, id);
    pool_delete(pool, false);
    if (is_told)
        tell_closed(connection, id);
}

/* In a child the lock may be held for ever, by a thread of the parent's. */
static void close_forked(struct fastalloc_pool *pool)
{
    if (--pool->references > 0)
        return;
    unlink_pool(pool);
    pool_delete(pool, true);
}

void fastalloc_close(fastalloc_pool_t *pool)
{
    CANCEL_DISABLED;
    if (!pool)
        return;
    struct fastalloc_connection *connection = pool->connection;
    if (connection_is_forked(connection)) {
        close_forked(pool);
        return;
    }
    pthread_mutex_lock(&connection->pools_lock);
    close_locked(pool);
    pthread_mutex_unlock(&connection->pools_lock);
}

/* ---- What it is ------------------------------------------------------------------------------ */

const char *fastalloc_pool_name(const fastalloc_pool_t *pool)
{
    return pool->name;
}

const char *fastalloc_pool_type(const fastalloc_pool_t *pool)
{
    return pool->type;
}

uint64_t fastalloc_pool_object_size(const fastalloc_pool_t *pool)
{
    return pool->mapping.geometry.object_size;
}

uint64_t fastalloc_pool_stride(const fastalloc_pool_t *pool)
{
    return pool->mapping.geometry.stride;
}

uint64_t fastalloc_pool_capacity(const fastalloc_pool_t *pool)
{
    return pool->view->capacity ? field32_load(pool->view->capacity) : 0;
}

const fastalloc_view_t *fastalloc_pool_view(const fastalloc_pool_t *pool)
{
    return pool->view;
}
