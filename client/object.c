/* SPDX-License-Identifier: MIT */
/* Allocating, freeing, handing on and following handles. */
#include <stddef.h>
#include <string.h>

#include <fastalloc/fastalloc.h>

#include "client/error.h"
#include "client/lease.h"
#include "client/pool.h"
#include "client/sized.h"
#include "shm/handle.h"

_Static_assert(FASTALLOC_BATCH_MAX == PROTOCOL_BATCH_MAX, "what the header says is what is sent");

static int check_access(const fastalloc_pool_t *pool, fastalloc_error_t *error)
{
    if (pool->write)
        return 0;
    fastalloc_error_t fields = {.code = FASTALLOC_ERR_NOT_A_MEMBER};
    memcpy(fields.pool, pool->name, sizeof(fields.pool));
    return error_raise_with(error, &fields,
                            "pool '%s' was opened for reading only; open it with FASTALLOC_WRITE",
                            pool->name);
}

static int check_count(size_t count, fastalloc_error_t *error)
{
    if (count == 0)
        return error_raise_argument(error, "count", "a batch has one handle at least");
    if (count <= PROTOCOL_BATCH_MAX)
        return 0;
    const fastalloc_error_t fields = {
        .code = FASTALLOC_ERR_LIMIT_EXCEEDED,
        .max = PROTOCOL_BATCH_MAX,
        .requested = count,
    };
    return error_raise_with(error, &fields,
                            "a batch of %zu handles is too large: it can have %u; use several",
                            count, PROTOCOL_BATCH_MAX);
}

/* ---- Allocating ------------------------------------------------------------------------------ */

struct batch {
    fastalloc_handle_t *handles; /* the caller's */
    size_t count;
};

static int take_handles(struct call *call, struct descriptors *arrived)
{
    const struct allocate_reply *reply = call->reply;
    const struct batch *batch = call->context;
    if (reply->handles.size != batch->count * HANDLE_WIRE_SIZE) {
        call->complaint = "another number of handles than was asked for";
        return FASTALLOC_ERR_MALFORMED;
    }
    for (size_t i = 0; i < batch->count; i++)
        batch->handles[i] = handle_from_wire(reply->handles.data + i * HANDLE_WIRE_SIZE);
    return 0;
}

/*
 * The request's time is over, and nobody has said what became of it: its slots are freed. What there is
 * to say stands in the pool.
 */
static int raise_timeout(const fastalloc_pool_t *pool, size_t count, fastalloc_error_t *error)
{
    fastalloc_error_t fields = {.code = FASTALLOC_ERR_TIMEOUT, .requested = count};
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    if (fastalloc_stats(pool, &stats, NULL) == 0) {
        fields.capacity = stats.capacity;
        fields.allocated = stats.current_usage;
        fields.waiters = stats.waiters;
    }
    memcpy(fields.pool, pool->name, sizeof(fields.pool));
    return error_raise_with(error, &fields,
                            "pool '%s' gave no slots in time: the daemon doesn't answer, or isn't "
                            "there; see that fastallocd runs",
                            pool->name);
}

static int ask_to_allocate(fastalloc_pool_t *pool, const fastalloc_allocate_options_t *options,
                           int64_t begun, fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    struct batch batch = {handles, options->count};
    struct allocate_request request = {
        .pool = pool->id,
        .count =
            options->count == 1 ? 0 : (uint32_t)options->count, /* 0 means 1: needn't be sent */
        .timeout = options->timeout,
        .priority = (uint32_t)options->priority,
        .evictable = options->evictable,
    };
    struct allocate_reply reply;
    struct call call = {
        .method = METHOD_ALLOCATE,
        .request = &request,
        .reply = &reply,
        .take = take_handles,
        .context = &batch,
        .timeout = options->timeout,
        .begun = begun,
        .bounded = true,
        .number = &request.request,
        .left = &request.timeout,
        .error = error,
    };
    int result = pool_call(pool, &call);
    return call.expired ? raise_timeout(pool, options->count, error) : result;
}

__attribute__((noinline)) static int allocate(fastalloc_pool_t *pool,
                                              const fastalloc_allocate_options_t *options,
                                              fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    int result = check_access(pool, error);
    if (result == 0)
        result = check_count(options->count, error);
    if (result < 0)
        return result;
    if (connection_is_forked(pool->connection))
        return connection_raise_forked(error);
    struct lease_wait wait = {.timeout = options->timeout};
    if (pool->lease && !options->evictable &&
        lease_allocate_many(pool->lease, options->count, handles, &wait))
        return 0;
    return ask_to_allocate(pool, options, wait.begun, handles, error);
}

int fastalloc_allocate_with(fastalloc_pool_t *pool, const fastalloc_allocate_options_t *options,
                            fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    fastalloc_allocate_options_t own = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    if (options && !sized_read(&own, sizeof(own), options))
        return error_raise_argument(error, "size",
                                    "the options to allocate have no size; begin with "
                                    "FASTALLOC_ALLOCATE_OPTIONS_INIT");
    if (own.priority < FASTALLOC_NORMAL || own.priority > FASTALLOC_BEST_EFFORT)
        return error_raise_argument(error, "priority",
                                    "priority %d is none of FASTALLOC_NORMAL, FASTALLOC_CRITICAL "
                                    "and FASTALLOC_BEST_EFFORT",
                                    (int)own.priority);
    if (own.count == 0)
        own.count = 1;
    return allocate(pool, &own, handles, error);
}

__attribute__((noinline)) static int allocate_many(fastalloc_pool_t *pool, size_t count,
                                                   int64_t timeout, fastalloc_handle_t *handles,
                                                   fastalloc_error_t *error)
{
    const fastalloc_allocate_options_t options = {.count = count, .timeout = timeout};
    return allocate(pool, &options, handles, error);
}

int fastalloc_allocate_many(fastalloc_pool_t *pool, size_t count, int64_t timeout,
                            fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    return allocate_many(pool, count, timeout, handles, error);
}

__attribute__((noinline)) static int allocate_one(fastalloc_pool_t *pool, int64_t timeout,
                                                  fastalloc_handle_t *handle,
                                                  fastalloc_error_t *error)
{
    if (pool->lease && lease_take_locked(pool->lease, handle))
        return 0;
    return allocate_many(pool, 1, timeout, handle, error);
}

int fastalloc_allocate(fastalloc_pool_t *pool, int64_t timeout, fastalloc_handle_t *handle,
                       fastalloc_error_t *error)
{
    if (LIKELY(pool->lease && lease_take(pool->lease, handle)))
        return 0;
    return allocate_one(pool, timeout, handle, error);
}

int fastalloc_try_allocate(fastalloc_pool_t *pool, fastalloc_handle_t *handle,
                           fastalloc_error_t *error)
{
    if (LIKELY(pool->lease && lease_take(pool->lease, handle)))
        return 0;
    return allocate_one(pool, FASTALLOC_NOWAIT, handle, error);
}

int fastalloc_cancel(fastalloc_pool_t *pool, fastalloc_error_t *error)
{
    struct cancel_request request = {.pool = pool->id};
    struct cancel_reply reply;
    struct call call = {
        .method = METHOD_CANCEL,
        .request = &request,
        .reply = &reply,
        .error = error,
    };
    return pool_call(pool, &call);
}

/* ---- Freeing, and handing on ----------------------------------------------------------------- */

/* The five methods that take handles have the same request, and a count as their only reply. */
union counted {
    struct free_reply freed;
    struct adopt_reply adopted;
    struct detach_reply detached;
    struct retain_reply retained;
    struct release_reply released;
};

_Static_assert(sizeof(union counted) == sizeof(uint32_t), "a count, whatever it is called");

static int take_count(struct call *call, struct descriptors *arrived)
{
    const union counted *reply = call->reply;
    const struct free_request *request = call->request;
    if (reply->freed.freed == request->handles.size / HANDLE_WIRE_SIZE)
        return 0;
    call->complaint = "another number of handles than was sent";
    return FASTALLOC_ERR_MALFORMED;
}

static int send_wire(fastalloc_pool_t *pool, enum method method, const uint8_t *handles,
                     size_t size, fastalloc_error_t *error)
{
    int result = check_access(pool, error);
    if (result < 0)
        return result;

    struct free_request request = {.pool = pool->id, .handles = {handles, size}};
    union counted reply;
    struct call call = {
        .method = method,
        .request = &request,
        .reply = &reply,
        .take = take_count,
        .change = &request.change,
        .error = error,
    };
    return pool_call(pool, &call);
}

static int send_handles(fastalloc_pool_t *pool, enum method method,
                        const fastalloc_handle_t *handles, size_t count, fastalloc_error_t *error)
{
    uint8_t wire[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE];
    int result = check_count(count, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < count; i++)
        handle_to_wire(handles[i], wire + i * HANDLE_WIRE_SIZE);
    return send_wire(pool, method, wire, count * HANDLE_WIRE_SIZE, error);
}

static int ask_to_free(fastalloc_pool_t *pool, fastalloc_handle_t handle, fastalloc_error_t *error)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    handle_to_wire(handle, wire);
    return send_wire(pool, METHOD_FREE, wire, sizeof(wire), error);
}

__attribute__((noinline)) static int free_one(fastalloc_pool_t *pool, fastalloc_handle_t handle,
                                              fastalloc_error_t *error)
{
    int result = LEASE_ASK;
    if (pool->lease && lease_give_locked(pool->lease, handle))
        return 0;
    if (pool->lease && !connection_is_forked(pool->connection))
        result = lease_free_many(pool->lease, &handle, 1, error);
    return result == LEASE_ASK ? ask_to_free(pool, handle, error) : result;
}

int fastalloc_free(fastalloc_pool_t *pool, fastalloc_handle_t handle, fastalloc_error_t *error)
{
    if (LIKELY(pool->lease && lease_give(pool->lease, handle)))
        return 0;
    return free_one(pool, handle, error);
}

int fastalloc_free_many(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                        fastalloc_error_t *error)
{
    int result = check_count(count, error);
    if (result == 0 && pool->lease && !connection_is_forked(pool->connection))
        result = lease_free_many(pool->lease, handles, count, error);
    else if (result == 0)
        result = LEASE_ASK;
    return result == LEASE_ASK ? send_handles(pool, METHOD_FREE, handles, count, error) : result;
}

int fastalloc_adopt(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                    fastalloc_error_t *error)
{
    return send_handles(pool, METHOD_ADOPT, handles, count, error);
}

int fastalloc_detach(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                     fastalloc_error_t *error)
{
    return send_handles(pool, METHOD_DETACH, handles, count, error);
}

int fastalloc_retain(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                     fastalloc_error_t *error)
{
    return send_handles(pool, METHOD_RETAIN, handles, count, error);
}

int fastalloc_release(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                      fastalloc_error_t *error)
{
    return send_handles(pool, METHOD_RELEASE, handles, count, error);
}

/* ---- Following ------------------------------------------------------------------------------- */

void *fastalloc_get(const fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    return fastalloc_view_get(pool->view, handle);
}

bool fastalloc_still_valid(const fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    return fastalloc_view_still_valid(pool->view, handle);
}
