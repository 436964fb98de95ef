/* SPDX-License-Identifier: MIT */
/* Allocating, freeing and following handles. */
#include <stddef.h>
#include <string.h>

#include <fastalloc/fastalloc.h>

#include "client/error.h"
#include "client/pool.h"
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

int fastalloc_allocate_many(fastalloc_pool_t *pool, size_t count, int64_t timeout,
                            fastalloc_handle_t *handles, fastalloc_error_t *error)
{
    int result = check_access(pool, error);
    if (result == 0)
        result = check_count(count, error);
    if (result < 0)
        return result;

    struct batch batch = {handles, count};
    struct allocate_request request = {
        .pool = pool->id,
        .request = __atomic_add_fetch(&pool->connection->last_request, 1, __ATOMIC_RELAXED),
        .count = count == 1 ? 0 : (uint32_t)count, /* 0 means 1, and needn't be sent */
        .timeout = timeout,
    };
    struct allocate_reply reply;
    struct call call = {
        .method = METHOD_ALLOCATE,
        .request = &request,
        .reply = &reply,
        .take = take_handles,
        .context = &batch,
        .timeout = timeout,
        .error = error,
    };
    return connection_call(pool->connection, &call);
}

int fastalloc_allocate(fastalloc_pool_t *pool, int64_t timeout, fastalloc_handle_t *handle,
                       fastalloc_error_t *error)
{
    return fastalloc_allocate_many(pool, 1, timeout, handle, error);
}

int fastalloc_try_allocate(fastalloc_pool_t *pool, fastalloc_handle_t *handle,
                           fastalloc_error_t *error)
{
    return fastalloc_allocate_many(pool, 1, FASTALLOC_NOWAIT, handle, error);
}

/* ---- Freeing --------------------------------------------------------------------------------- */

static int free_wire(fastalloc_pool_t *pool, const uint8_t *handles, size_t size,
                     fastalloc_error_t *error)
{
    int result = check_access(pool, error);
    if (result < 0)
        return result;

    struct free_request request = {.pool = pool->id, .handles = {handles, size}};
    struct free_reply reply;
    struct call call = {
        .method = METHOD_FREE,
        .request = &request,
        .reply = &reply,
        .error = error,
    };
    return connection_call(pool->connection, &call);
}

int fastalloc_free(fastalloc_pool_t *pool, fastalloc_handle_t handle, fastalloc_error_t *error)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    handle_to_wire(handle, wire);
    return free_wire(pool, wire, sizeof(wire), error);
}

int fastalloc_free_many(fastalloc_pool_t *pool, const fastalloc_handle_t *handles, size_t count,
                        fastalloc_error_t *error)
{
    uint8_t wire[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE];
    int result = check_count(count, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < count; i++)
        handle_to_wire(handles[i], wire + i * HANDLE_WIRE_SIZE);
    return free_wire(pool, wire, count * HANDLE_WIRE_SIZE, error);
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
