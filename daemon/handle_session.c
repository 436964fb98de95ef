/* SPDX-License-Identifier: MIT */
/* Of the instance as a whole: who is there, and what happened. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "daemon/handler.h"
#include "daemon/listening.h"
#include "daemon/name.h"
#include "proto/scan.h"

bool on_hello(const struct call *call, const struct hello_request *request,
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
    if (request->witness && !call_add_descriptor(call, session_witness(session))) {
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

bool on_resume(const struct call *call, const struct resume_request *request,
               struct resume_reply *reply)
{
    (void)request;
    (void)reply;
    error_set(&call->answer->error, ERROR_NO_SUCH_SESSION, "there is no such session");
    return false;
}

bool on_settle(const struct call *call, const struct settle_request *request,
               struct settle_reply *reply)
{
    (void)call;
    (void)request;
    *reply = (struct settle_reply){0};
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
