/* SPDX-License-Identifier: MIT */
/*
 * Handlers: one for each method, on_hello(call, request, reply), ..., and what they share. They
 * belong to dispatch.h, which finds the one for a request; a handler returns whether there is a
 * reply. If not, it has set the error, or the answer is ANSWER_LATER.
 */
#ifndef DAEMON_HANDLER_H
#define DAEMON_HANDLER_H

#include <stdbool.h>

#include "daemon/dispatch.h"

struct call {
    struct dispatch *dispatch;
    struct broker *broker;
    struct caller *caller;
    struct answer *answer;
    uint32_t msgid;
};

#define HANDLER_DECLARE(NAME, name, wire)                                                          \
    bool on_##name(const struct call *call, const struct name##_request *request,                  \
                   struct name##_reply *reply);
PROTOCOL_METHODS(HANDLER_DECLARE)

/* ---- Refusals: each sets the answer's error */

/* "pool 'name' what". Returns the error, for more fields. */
struct error *call_refuse_pool(const struct call *call, enum error_code code, const char *name,
                               const char *what);
/* INVALID_ARGUMENT: "field 'name' what". */
void call_refuse_argument(const struct call *call, const char *field, const char *what);

/* ---- What a request names, or NULL and the error */

struct pool *call_find_pool(const struct call *call, const char *name);
/* If the caller may administer it, too. */
struct pool *call_find_own_pool(const struct call *call, const char *name);
struct membership *call_find_membership(const struct call *call, uint32_t pool);
/* That may write. */
struct membership *call_find_writer(const struct call *call, uint32_t pool);

/* ---- Changes */

/*
 * Whether the change of that number was carried out already, so that its reply was lost. If not, what
 * the request does now is that change.
 */
bool call_is_repeated(const struct call *call, uint32_t change);

/* ---- Answers */

/* Takes over a descriptor, or its negated errno: then false and the error, and none is left. */
bool call_add_descriptor(const struct call *call, int descriptor);
void call_drop_descriptors(const struct call *call);
/* The caller's bell, which is made when it is asked for first. As above. */
bool call_add_bell(const struct call *call);
/* What the broker's outcome means for the answer. */
bool call_conclude(const struct call *call, enum broker_outcome outcome);

#endif
