/* SPDX-License-Identifier: MIT */
/* Of the instance as a whole: who is there, and what happened. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "daemon/demand.h"
#include "daemon/handler.h"
#include "daemon/leasing.h"
#include "daemon/listening.h"
#include "daemon/name.h"
#include "proto/scan.h"

/* Whether the connection may begin so, by the method of that name. */
static bool may_begin(const struct call *call, const char *method, uint32_t version)
{
    struct error *error = &call->answer->error;
    if (version != PROTOCOL_VERSION) {
        error_set(error, ERROR_PROTOCOL_MISMATCH,
                  "this daemon speaks version %u of the protocol, the client version %" PRIu32
                  "; bring both to the same release",
                  PROTOCOL_VERSION, version);
        error->requested = version;
        error->actual = PROTOCOL_VERSION;
        return false;
    }
    if (!call->caller->session)
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT,
              "this connection has a session already; %s is the first request of another", method);
    return false;
}

bool on_hello(const struct call *call, const struct hello_request *request,
              struct hello_reply *reply)
{
    struct caller *caller = call->caller;
    struct error *error = &call->answer->error;
    struct session *session;

    if (!may_begin(call, "hello", request->version))
        return false;
    if (!broker_begin_session(call->broker, &caller->who.peer, request->name, request->witness,
                              caller->connection, &session, error))
        return false;
    if (request->witness && !call_add_descriptor(call, session_witness(session))) {
        broker_withdraw_session(call->broker, session);
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

/* It isn't told what is wrong: who guesses learns nothing. */
static struct session *find_own_session(const struct call *call,
                                        const struct resume_request *request)
{
    struct session *session = broker_find_session(call->broker, request->session);
    if (session && session->peer.uid == call->caller->who.peer.uid &&
        session_has_token(session, request->token.data, request->token.size))
        return session;
    error_set(&call->answer->error, ERROR_NO_SUCH_SESSION,
              "there is no such session of this user's with this token; if it ended, all that it "
              "had is gone: say hello, and open the pools anew");
    return NULL;
}

static bool needs_bell(const struct session *session, const struct numbers *pools)
{
    const struct membership *membership;
    LIST_FOREACH (membership, &session->memberships, in_session)
        if (membership->write && pool_is_leased(membership->pool) &&
            numbers_have(pools, membership->pool->id))
            return true;
    return false;
}

/* Opened by a request whose reply was lost, or closed by one that was. */
static void leave_others(struct broker *broker, struct session *session,
                         const struct numbers *pools)
{
    struct membership *membership, *next;
    for (membership = LIST_FIRST(&session->memberships); membership; membership = next) {
        next = LIST_NEXT(membership, in_session);
        if (!numbers_have(pools, membership->pool->id))
            broker_close_pool(broker, session, membership);
    }
}

bool on_resume(const struct call *call, const struct resume_request *request,
               struct resume_reply *reply)
{
    struct caller *caller = call->caller;
    if (!may_begin(call, "resume", request->version))
        return false;
    if (request->pools.size % sizeof(uint32_t) != 0) {
        call_refuse_argument(call, "pools", "must be numbers of pools, 4 bytes each");
        return false;
    }
    const struct numbers pools = numbers_from_wire(request->pools.data, request->pools.size,
                                                   sizeof(uint32_t), call->dispatch->numbers);
    struct session *session = find_own_session(call, request);
    if (!session || (needs_bell(session, &pools) && !call_add_bell(call)))
        return false;
    caller->session = session;
    broker_resume(call->broker, session, &caller->who.peer, caller->connection);
    leave_others(call->broker, session, &pools);
    leasing_ring(call->broker, session); /* nobody heard it meanwhile */
    *reply = (struct resume_reply){
        .release = FASTALLOC_VERSION,
        .descriptors = call->answer->descriptor_count,
    };
    return true;
}

bool on_settle(const struct call *call, const struct settle_request *request,
               struct settle_reply *reply)
{
    const struct bytes *wire = &request->requests;
    const struct numbers requests =
        numbers_from_wire(wire->data, wire->size, sizeof(uint64_t), call->dispatch->numbers);
    if (requests.count == 0 || wire->size % sizeof(uint64_t) != 0 || numbers_have(&requests, 0)) {
        call_refuse_argument(
            call, "requests",
            "must be one or more numbers of requests, 8 bytes each, none of them 0");
        return false;
    }
    demand_settle(call->broker, call->caller->session, &requests, reply);
    return true;
}

bool on_ping(const struct call *call, const struct ping_request *request, struct ping_reply *reply)
{
    (void)request;
    *reply = (struct ping_reply){.pid = (uint32_t)getpid(), .release = FASTALLOC_VERSION};
    name_copy(reply->instance, call->dispatch->instance);
    return true;
}

bool on_sessions(const struct call *call, const struct sessions_request *request,
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

bool on_events(const struct call *call, const struct events_request *request,
               struct events_reply *reply)
{
    struct error *error = &call->answer->error;
    const struct pool *pool = request->name[0] ? call_find_pool(call, request->name) : NULL;
    if (request->name[0] && !pool)
        return false;
    if (pool && !access_is_allowed(pool->ctl, &call->caller->who, call->broker->uid, ACCESS_READ)) {
        call_refuse_pool(call, ERROR_NOT_PERMITTED, request->name,
                         "may not be read by this user; ask its owner for a mode that allows it");
        return false;
    }
    return call_conclude(call,
                         listening_request(call->broker, call->caller->session, &call->caller->who,
                                           request, call->msgid, reply, error));
}
