/* SPDX-License-Identifier: MIT */
#include "daemon/dispatch.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/name.h"
#include "proto/scan.h"

/*
 * What a handler needs. It returns whether there is a reply; if not it has set the error, or
 * `later`.
 */
struct call {
    struct dispatch *dispatch;
    struct broker *broker;
    struct caller *caller;
    struct answer *answer;
    uint32_t msgid;
    int64_t now;
};

/* Handlers: on_hello(call, request, reply), ... */
#define DISPATCH_DECLARE(NAME, name, wire)                                                         \
    static bool on_##name(const struct call *call, const struct name##_request *request,           \
                          struct name##_reply *reply);
PROTOCOL_METHODS(DISPATCH_DECLARE)

/* ---- Refusals -------------------------------------------------------------------------------- */

static struct error *refuse_pool(const struct call *call, enum error_code code, const char *name,
                                 const char *what)
{
    struct error *error = error_set(&call->answer->error, code, "pool '%s' %s", name, what);
    name_copy(error->pool, name);
    return error;
}

static void refuse_argument(const struct call *call, const char *field, const char *what)
{
    struct error *error = &call->answer->error;
    error_set(error, ERROR_INVALID_ARGUMENT, "field '%s' %s", field, what);
    name_copy(error->field, field);
}

static struct pool *find_pool(const struct call *call, const char *name)
{
    struct pool *pool = broker_find_pool(call->broker, name);
    if (!pool)
        refuse_pool(call, ERROR_NO_SUCH_POOL, name,
                    "does not exist here; `fastallocctl pool list` shows those that do");
    return pool;
}

/* ---- Session --------------------------------------------------------------------------------- */

static bool add_descriptor(const struct call *call, int descriptor)
{
    struct answer *answer = call->answer;
    if (descriptor >= 0) {
        answer->descriptors[answer->descriptor_count++] = descriptor;
        return true;
    }
    error_set(&answer->error, ERROR_SYSTEM, "the daemon can't open a descriptor for this: %s",
              strerror(-descriptor));
    answer->error.system_error = (uint32_t)-descriptor;
    while (answer->descriptor_count > 0)
        close(answer->descriptors[--answer->descriptor_count]);
    return false;
}

static bool on_hello(const struct call *call, const struct hello_request *request,
                     struct hello_reply *reply)
{
    struct caller *caller = call->caller;
    struct error *error = &call->answer->error;
    struct session *session;

    if (request->version != PROTOCOL_VERSION) {
        error_set(error, ERROR_PROTOCOL_MISMATCH,
                  "this daemon speaks version %u of the protocol, the client version %" PRIu32
                  "; bring both to the same release",
                  PROTOCOL_VERSION, request->version);
        error->requested = request->version;
        error->actual = PROTOCOL_VERSION;
        return false;
    }
    if (caller->session) {
        error_set(error, ERROR_INVALID_ARGUMENT, "hello was said already on this connection");
        return false;
    }
    if (!broker_begin_session(call->broker, &caller->who.peer, request->name, request->witness,
                              caller->connection, &session, error))
        return false;
    if (request->witness && !add_descriptor(call, session_witness(session))) {
        broker_disconnect(call->broker, session);
        broker_end_session(call->broker, session);
        return false;
    }
    caller->session = session;
    *reply = (struct hello_reply){
        .version = PROTOCOL_VERSION,
        .release = FASTALLOC_VERSION,
        .session = session->id,
        .token = {session->entry->token, PROTOCOL_TOKEN_SIZE},
        .message_max = SCAN_MESSAGE_MAX,
        .batch_max = PROTOCOL_BATCH_MAX,
        .descriptors = call->answer->descriptor_count,
    };
    return true;
}

static bool on_ping(const struct call *call, const struct ping_request *request,
                    struct ping_reply *reply)
{
    (void)request;
    *reply = (struct ping_reply){.pid = (uint32_t)getpid(), .release = FASTALLOC_VERSION};
    name_copy(reply->instance, call->dispatch->instance);
    return true;
}

static bool on_sessions(const struct call *call, const struct sessions_request *request,
                        struct sessions_reply *reply)
{
    struct session_info *infos = call->dispatch->sessions;
    const struct session *session;
    uint32_t count = 0;

    TAILQ_FOREACH (session, &call->broker->sessions, in_broker) {
        if (session->id <= request->after)
            continue;
        if (count == PROTOCOL_LIST_MAX)
            break;
        infos[count] = (struct session_info){
            .session = session->id,
            .pid = (uint32_t)session->peer.pid,
            .uid = session->peer.uid,
            .connected = session->connection != NULL,
            .pools = session->membership_count,
            .allocated = session_usage(session),
            .waiting = session->waiter_count,
        };
        name_copy(infos[count++].name, session->name);
    }
    *reply = (struct sessions_reply){.sessions = {infos, count}, .more = session != NULL};
    return true;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* What a pool.create and a pool.open with `create` say of it alike. */
#define POOL_CONFIG(request)                                                                       \
    (struct pool_config)                                                                           \
    {                                                                                              \
        .name = (request)->name, .type = (request)->type, .object_size = (request)->object_size,   \
        .capacity = (request)->capacity, .alignment = (request)->alignment,                        \
        .mode = (request)->mode                                                                    \
    }

static bool may_create(const struct call *call, const char *name)
{
    const struct create_rule *rule = &call->broker->create;
    if (access_may_create(rule, &call->caller->who, call->broker->uid))
        return true;
    struct error *error = error_set(
        &call->answer->error, ERROR_NOT_PERMITTED,
        "pool '%s' may be made by %sthe daemon's user and root alone, as fastallocd runs "
        "with --create %s; start it with another --create to let others",
        name, rule->creators == CREATORS_GROUP ? "members of the group, " : "", rule->text);
    name_copy(error->pool, name);
    return false;
}

static bool create_pool(const struct call *call, struct pool_config config, struct pool **pool)
{
    if (!name_is_valid(config.name)) {
        refuse_argument(call, "name", "is no name for a pool: " NAME_RULE);
        return false;
    }
    if (!may_create(call, config.name))
        return false;
    if (config.mode == 0)
        config.mode = ACCESS_MODE_DEFAULT;
    config.uid = call->caller->who.peer.uid;
    config.gid = call->caller->who.peer.gid;
    return broker_create_pool(call->broker, &config, pool, &call->answer->error);
}

static bool on_pool_create(const struct call *call, const struct pool_create_request *request,
                           struct pool_create_reply *reply)
{
    struct pool *pool;
    if (!create_pool(call, POOL_CONFIG(request), &pool))
        return false;
    reply->pool = pool->id;
    return true;
}

static bool refuse_mismatch(const struct call *call, enum error_code code, const struct pool *pool,
                            const char *what, uint64_t requested, uint64_t actual)
{
    struct error *error = &call->answer->error;
    error_set(error, code,
              "pool '%s' has objects with %s of %" PRIu64 " bytes, the caller expects %" PRIu64
              "; use one definition of the object, or a pool of its own",
              pool->ctl->name, what, actual, requested);
    name_copy(error->pool, pool->ctl->name);
    error->requested = requested;
    error->actual = actual;
    return false;
}

static bool refuse_type(const struct call *call, const struct pool *pool, const char *type)
{
    struct error *error = &call->answer->error;
    error_set(error, ERROR_TYPE_MISMATCH,
              "pool '%s' holds objects of type '%s', the caller expects '%s'; use another pool",
              pool->ctl->name, pool->ctl->type, type);
    name_copy(error->pool, pool->ctl->name);
    name_copy(error->requested_type, type);
    name_copy(error->actual_type, pool->ctl->type);
    return false;
}

static bool matches(const struct call *call, const struct pool *pool,
                    const struct pool_open_request *request)
{
    const struct geometry *geometry = &pool->geometry;
    if (request->object_size != 0 && request->object_size != geometry->object_size)
        return refuse_mismatch(call, ERROR_OBJECT_SIZE_MISMATCH, pool, "a size",
                               request->object_size, geometry->object_size);
    if (request->alignment != 0 && request->alignment != geometry->alignment)
        return refuse_mismatch(call, ERROR_ALIGNMENT_MISMATCH, pool, "an alignment",
                               request->alignment, geometry->alignment);
    if (request->type[0] != '\0' && strcmp(request->type, pool->ctl->type) != 0)
        return refuse_type(call, pool, request->type);
    return true;
}

static bool may_open(const struct call *call, const struct pool *pool,
                     const struct pool_open_request *request)
{
    if (!access_is_allowed(pool->ctl, &call->caller->who, call->broker->uid,
                           request->write ? ACCESS_WRITE : ACCESS_READ)) {
        refuse_pool(call, ERROR_NOT_PERMITTED, request->name,
                    request->write ? "may not be written by this user; ask its owner for a mode "
                                     "that allows it"
                                   : "may not be read by this user; ask its owner for a mode that "
                                     "allows it");
        return false;
    }
    return matches(call, pool, request);
}

static bool add_pool_descriptors(const struct call *call, const struct pool *pool, bool write)
{
    for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++)
        if (!add_descriptor(call, pool_descriptor(pool, object, write)))
            return false;
    return true;
}

static struct membership *join(const struct call *call, struct pool *pool,
                               const struct pool_open_request *request)
{
    if (request->map && !add_pool_descriptors(call, pool, request->write))
        return NULL;
    struct membership *membership = session_join(call->caller->session, pool, request->write);
    if (membership)
        return membership;
    while (call->answer->descriptor_count > 0)
        close(call->answer->descriptors[--call->answer->descriptor_count]);
    if (pool->member_count == POOL_MEMBER_MAX)
        refuse_pool(call, ERROR_LIMIT_EXCEEDED, request->name,
                    "is open in as many sessions as it can be; let some close it")
            ->max = POOL_MEMBER_MAX;
    else
        refuse_pool(call, ERROR_OUT_OF_MEMORY, request->name,
                    "can't be opened: the daemon has no memory for another member");
    return NULL;
}

static bool on_pool_open(const struct call *call, const struct pool_open_request *request,
                         struct pool_open_reply *reply)
{
    if (request->map && !call->caller->session->witnessed) {
        refuse_argument(call, "map", "needs a session with a witness; ask for one in hello");
        return false;
    }
    struct pool *pool = request->create ? broker_find_pool(call->broker, request->name)
                                        : find_pool(call, request->name);
    bool create = !pool && request->create;
    if (create ? !create_pool(call, POOL_CONFIG(request), &pool) : !pool)
        return false;

    /* As with open(2), who makes it gets what he asks for, whatever the mode lets him have later. */
    struct membership *membership =
        create || may_open(call, pool, request) ? join(call, pool, request) : NULL;
    if (!membership && create)
        broker_destroy_pool(call->broker, pool);
    if (!membership)
        return false;

    *reply = (struct pool_open_reply){
        .pool = pool->id,
        .nonce = pool->nonce,
        .member = membership->member,
        .created = create,
        .object_size = pool->geometry.object_size,
        .stride = pool->geometry.stride,
        .alignment = pool->geometry.alignment,
        .capacity = pool_capacity(pool),
        .descriptors = call->answer->descriptor_count,
    };
    name_copy(reply->type, pool->ctl->type);
    return true;
}

static void fill_pool_info(const struct pool *pool, struct pool_info *info)
{
    *info = (struct pool_info){
        .pool = pool->id,
        .object_size = pool->geometry.object_size,
        .alignment = pool->geometry.alignment,
        .stride = pool->geometry.stride,
        .capacity = pool_capacity(pool),
        .allocated = pool_usage(pool),
        .members = pool->member_count,
        .uid = pool->ctl->uid,
        .gid = pool->ctl->gid,
        .mode = pool->ctl->mode,
        .memory = pool_memory(pool),
    };
    name_copy(info->name, pool->ctl->name);
    name_copy(info->type, pool->ctl->type);
}

static bool on_pool_list(const struct call *call, const struct pool_list_request *request,
                         struct pool_list_reply *reply)
{
    struct pool_info *infos = call->dispatch->pools;
    const struct pool *pool;
    uint32_t count = 0;

    *reply = (struct pool_list_reply){.pools = {infos, 0}};
    if (request->name[0] != '\0') {
        pool = find_pool(call, request->name);
        if (!pool)
            return false;
        fill_pool_info(pool, &infos[0]);
        reply->pools.count = 1;
        return true;
    }
    TAILQ_FOREACH (pool, &call->broker->pools, in_broker) {
        if (pool->id <= request->after)
            continue;
        reply->more = count == PROTOCOL_LIST_MAX;
        if (reply->more)
            break;
        fill_pool_info(pool, &infos[count++]);
    }
    reply->pools.count = count;
    return true;
}

static bool on_pool_destroy(const struct call *call, const struct pool_destroy_request *request,
                            struct pool_destroy_reply *reply)
{
    struct pool *pool = find_pool(call, request->name);
    if (!pool)
        return false;
    if (!access_is_allowed(pool->ctl, &call->caller->who, call->broker->uid, ACCESS_ADMIN)) {
        refuse_pool(
            call, ERROR_NOT_PERMITTED, request->name,
            "may not be destroyed by this user; ask its owner, or for a mode with the x bit");
        return false;
    }
    const struct membership *own = session_membership(call->caller->session, pool->id);
    uint32_t others = pool->member_count - (own != NULL);
    if (!request->force && (pool_usage(pool) > 0 || others > 0)) {
        struct error *error =
            error_set(&call->answer->error, ERROR_POOL_IN_USE,
                      "pool '%s' is in use: %" PRIu32 " slots allocated, open in %" PRIu32
                      " other sessions; let them close it, or force it",
                      request->name, pool_usage(pool), others);
        name_copy(error->pool, request->name);
        error->allocated = pool_usage(pool);
        error->members = others;
        return false;
    }
    reply->freed = broker_destroy_pool(call->broker, pool);
    return true;
}

static bool on_stats(const struct call *call, const struct stats_request *request,
                     struct stats_reply *reply)
{
    const struct pool *pool = find_pool(call, request->name);
    if (!pool)
        return false;
    const struct layout_counters *counters = &pool->ctl->counters;
    *reply = (struct stats_reply){
        .pool = pool->id,
        .capacity = pool_capacity(pool),
        .current_usage = pool_usage(pool),
        .available = pool_capacity(pool) - pool_usage(pool),
        .peak_usage = counters->peak_usage,
        .total_allocations = counters->total_allocations,
        .total_deallocations = counters->total_deallocations,
        .allocation_failures = counters->allocation_failures,
        .timeouts = counters->timeouts,
        .reclaimed = counters->reclaimed,
        .waiters = pool->waiter_count,
    };
    return true;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static struct membership *find_membership(const struct call *call, uint32_t pool)
{
    struct membership *membership = session_membership(call->caller->session, pool);
    if (!membership)
        error_set(&call->answer->error, ERROR_NOT_A_MEMBER,
                  "this session hasn't opened pool %" PRIu32 ", or it was destroyed", pool);
    return membership;
}

static struct membership *find_writer(const struct call *call, uint32_t pool)
{
    struct membership *membership = find_membership(call, pool);
    if (!membership || membership->write)
        return membership;
    refuse_pool(call, ERROR_NOT_A_MEMBER, membership->pool->ctl->name,
                "was opened for reading only; open it for writing");
    return NULL;
}

static bool on_pool_close(const struct call *call, const struct pool_close_request *request,
                          struct pool_close_reply *reply)
{
    struct membership *membership = find_membership(call, request->pool);
    if (!membership)
        return false;
    reply->freed = broker_close_pool(call->broker, call->caller->session, membership);
    return true;
}

static bool on_allocate(const struct call *call, const struct allocate_request *request,
                        struct allocate_reply *reply)
{
    const struct membership *membership = find_writer(call, request->pool);
    if (!membership)
        return false;
    enum broker_outcome outcome =
        broker_allocate(call->broker, call->caller->session, membership, request, call->msgid,
                        call->now, reply, &call->answer->error);
    if (outcome == BROKER_WAITS)
        call->answer->kind = ANSWER_LATER;
    return outcome == BROKER_DONE;
}

static bool on_free(const struct call *call, const struct free_request *request,
                    struct free_reply *reply)
{
    const struct membership *membership = find_writer(call, request->pool);
    if (!membership)
        return false;
    if (request->handles.size == 0 || request->handles.size % HANDLE_WIRE_SIZE != 0) {
        refuse_argument(call, "handles", "must be one or more handles of 16 bytes each");
        return false;
    }
    if (!broker_free(call->broker, membership, &request->handles, &call->answer->error))
        return false;
    reply->freed = (uint32_t)(request->handles.size / HANDLE_WIRE_SIZE);
    return true;
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

union request {
#define DISPATCH_MEMBER(NAME, name, wire) struct name##_request name;
    PROTOCOL_METHODS(DISPATCH_MEMBER)
};

static bool handle(const struct call *call, const union request *request)
{
    switch (call->answer->method) {
#define DISPATCH_CASE(NAME, name, wire)                                                            \
    case METHOD_##NAME:                                                                            \
        return on_##name(call, &request->name, &call->answer->reply.name);
        PROTOCOL_METHODS(DISPATCH_CASE)
    case METHOD_COUNT:
        break;
    }
    return false;
}

static bool find_method(const struct caller *caller, const struct envelope *request,
                        struct answer *answer)
{
    answer->method = method_find((const char *)request->method.data, request->method.size);
    if (answer->method == METHOD_COUNT) {
        error_set(&answer->error, ERROR_UNKNOWN_METHOD,
                  "there is no such method; docs/protocol.md lists those of version %u",
                  PROTOCOL_VERSION);
        return false;
    }
    if (!caller->session && answer->method != METHOD_HELLO) {
        error_set(&answer->error, ERROR_HELLO_REQUIRED,
                  "the first request of a connection must be hello, not %s",
                  method_table[answer->method].name);
        return false;
    }
    return true;
}

bool dispatch_gives_descriptors(const struct envelope *envelope)
{
    enum method method = method_find((const char *)envelope->method.data, envelope->method.size);
    return method == METHOD_HELLO || method == METHOD_POOL_OPEN;
}

void dispatch(struct dispatch *dispatch, struct caller *caller, const struct envelope *envelope,
              int64_t now, struct answer *answer)
{
    union request request;
    struct call call = {dispatch, dispatch->broker, caller, answer, envelope->msgid, now};

    answer->kind = ANSWER_ERROR;
    answer->descriptor_count = 0;
    if (find_method(caller, envelope, answer) &&
        message_decode(method_table[answer->method].request, envelope->params, true, &request,
                       &answer->error) &&
        handle(&call, &request))
        answer->kind = ANSWER_REPLY;
}
