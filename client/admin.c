/* SPDX-License-Identifier: MIT */
/* What looks after the daemon and its pools, one request each. The lists stand in listing.c. */
#include <fastalloc/admin.h>

#include <string.h>

#include "client/connection.h"
#include "client/error.h"
#include "client/name.h"
#include "client/sized.h"

int fastalloc_ping(fastalloc_connection_t *connection, fastalloc_daemon_info_t *info,
                   fastalloc_error_t *error)
{
    struct ping_request request;
    struct ping_reply reply;
    struct call call = {
        .method = METHOD_PING, .request = &request, .reply = &reply, .error = error};
    int result = connection_call(connection, &call);
    if (result < 0)
        return result;

    fastalloc_daemon_info_t own = {.pid = (pid_t)reply.pid};
    memcpy(own.release, reply.release, sizeof(own.release));
    memcpy(own.instance, reply.instance, sizeof(own.instance));
    sized_write(info, &own, sizeof(own));
    return 0;
}

static int create_pool(fastalloc_connection_t *connection, const char *name,
                       const fastalloc_pool_config_t *config, fastalloc_error_t *error)
{
    struct pool_create_request request = {
        .object_size = config->object_size,
        .alignment = config->alignment,
        .capacity = config->capacity,
        .mode = config->mode,
    };
    struct pool_create_reply reply;
    struct call call = {
        .method = METHOD_POOL_CREATE, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    if (result == 0)
        result = name_copy(request.type, config->type, "type", error);
    return result < 0 ? result : connection_call(connection, &call);
}

int fastalloc_pool_create(fastalloc_connection_t *connection, const char *name,
                          const fastalloc_pool_config_t *config, fastalloc_error_t *error)
{
    fastalloc_pool_config_t own = FASTALLOC_POOL_CONFIG_INIT;
    if (!sized_read(&own, sizeof(own), config))
        return error_raise_argument(error, "size",
                                    "the pool's configuration has no size; begin "
                                    "with FASTALLOC_POOL_CONFIG_INIT");
    return create_pool(connection, name, &own, error);
}

int fastalloc_pool_destroy(fastalloc_connection_t *connection, const char *name, bool force,
                           fastalloc_error_t *error)
{
    struct pool_destroy_request request = {.force = force};
    struct pool_destroy_reply reply;
    struct call call = {
        .method = METHOD_POOL_DESTROY, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}

int fastalloc_pool_stats(fastalloc_connection_t *connection, const char *name,
                         fastalloc_stats_t *stats, fastalloc_error_t *error)
{
    struct stats_request request;
    struct stats_reply reply;
    struct call call = {
        .method = METHOD_STATS, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    if (result == 0)
        result = connection_call(connection, &call);
    if (result < 0)
        return result;

    const fastalloc_stats_t own = {
        .capacity = reply.capacity,
        .current_usage = reply.current_usage,
        .available = reply.available,
        .peak_usage = reply.peak_usage,
        .total_allocations = reply.total_allocations,
        .total_deallocations = reply.total_deallocations,
        .allocation_failures = reply.allocation_failures,
        .timeouts = reply.timeouts,
        .reclaimed = reply.reclaimed,
        .waiters = reply.waiters,
    };
    sized_write(stats, &own, sizeof(own));
    return 0;
}
