/* SPDX-License-Identifier: MIT */
#include "daemon/dispatch.h"

#include "daemon/handler.h"

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
    if (!caller->session && answer->method != METHOD_HELLO && answer->method != METHOD_RESUME) {
        error_set(&answer->error, ERROR_HELLO_REQUIRED,
                  "the first request of a connection must be hello or resume, not %s",
                  method_table[answer->method].name);
        return false;
    }
    return true;
}

bool dispatch_gives_descriptors(const struct envelope *envelope)
{
    enum method method = method_find((const char *)envelope->method.data, envelope->method.size);
    return method == METHOD_HELLO || method == METHOD_RESUME || method == METHOD_POOL_OPEN;
}

void dispatch(struct dispatch *dispatch, struct caller *caller, const struct envelope *envelope,
              int64_t now, struct answer *answer)
{
    union request request;
    struct call call = {dispatch, dispatch->broker, caller, answer, envelope->msgid};

    broker_set_time(dispatch->broker, now);
    journal_announce(&dispatch->broker->journal, NULL, 0);
    answer->kind = ANSWER_ERROR;
    answer->descriptor_count = 0;
    if (find_method(caller, envelope, answer) &&
        message_decode(method_table[answer->method].request, envelope->params, true, &request,
                       &answer->error) &&
        handle(&call, &request))
        answer->kind = ANSWER_REPLY;
}
