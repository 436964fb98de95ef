/* SPDX-License-Identifier: MIT */
/*
 * What looks after the daemon and its pools, one request each. The lists stand in listing.c, the
 * statistics in stats.c.
 */
#include <fastalloc/admin.h>

#include <string.h>

#include "client/configuration.h"
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

int fastalloc_pool_create(fastalloc_connection_t *connection, const char *name,
                          const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    struct pool_create_request request;
    struct pool_create_reply reply;
    struct call call = {
        .method = METHOD_POOL_CREATE,
        .request = &request,
        .reply = &reply,
        .change = &request.change,
        .error = error,
    };
    int result = configuration_to_create(&request, name, options, error);
    return result < 0 ? result : connection_call(connection, &call);
}

int fastalloc_pool_grow(fastalloc_connection_t *connection, const char *name, uint64_t capacity,
                        uint64_t capacity_max, fastalloc_error_t *error)
{
    struct pool_grow_request request = {.capacity = capacity, .capacity_max = capacity_max};
    struct pool_grow_reply reply;
    struct call call = {
        .method = METHOD_POOL_GROW, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}

int fastalloc_pool_trim(fastalloc_connection_t *connection, const char *name, uint64_t *bytes,
                        fastalloc_error_t *error)
{
    struct pool_trim_request request;
    struct pool_trim_reply reply;
    struct call call = {
        .method = METHOD_POOL_TRIM, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    if (result == 0)
        result = connection_call(connection, &call);
    if (result == 0 && bytes)
        *bytes = reply.bytes;
    return result;
}

int fastalloc_pool_destroy(fastalloc_connection_t *connection, const char *name, bool force,
                           fastalloc_error_t *error)
{
    struct pool_destroy_request request = {.force = force};
    struct pool_destroy_reply reply;
    struct call call = {
        .method = METHOD_POOL_DESTROY,
        .request = &request,
        .reply = &reply,
        .change = &request.change,
        .error = error,
    };
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}
