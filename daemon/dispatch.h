/* SPDX-License-Identifier: MIT */
/*
 * Dispatch: a decoded request in, an answer as a struct out. It checks what the list of messages
 * can't say, asks the broker, and knows no socket.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include <stdint.h>

#include "daemon/access.h"
#include "daemon/broker.h"
#include "daemon/session.h"
#include "proto/envelope.h"
#include "proto/message.h"

/* The most descriptors that go with one reply. */
#define DISPATCH_DESCRIPTORS 4

struct dispatch {
    struct broker *broker;
    const char *instance;                      /* its name */
    struct pool_info pools[PROTOCOL_LIST_MAX]; /* of the reply that is being made */
    struct session_info sessions[PROTOCOL_LIST_MAX];
    struct holder_info holders[PROTOCOL_LIST_MAX];
    uint64_t numbers[PROTOCOL_SETTLE_MAX]; /* that the request names */
    struct check_finding findings[PROTOCOL_LIST_MAX];
};

/* The connection that a request came on. */
struct caller {
    struct credentials who;
    struct session *session; /* NULL before hello or resume, set by them */
    void *connection;        /* for answers that come later */
    int bell;                /* an eventfd, which its process rings when others wait for what it
                                freed; -1 until it opens or resumes a leased pool. The connection closes
                                it */
};

enum answer_kind {
    ANSWER_REPLY,
    ANSWER_ERROR,
    ANSWER_LATER, /* the request waits; the broker's answer function will get it */
};

struct answer {
    enum answer_kind kind;
    enum method method;
    struct error error;
    union {
#define ANSWER_MEMBER(NAME, name, wire) struct name##_reply name;
        PROTOCOL_METHODS(ANSWER_MEMBER)
    } reply;                               /* good until the next request */
    int descriptors[DISPATCH_DESCRIPTORS]; /* the receiver's, to send and close */
    unsigned descriptor_count;
};

/* Whether the reply to the request may carry descriptors. */
bool dispatch_gives_descriptors(const struct envelope *envelope);

/* `now` is in ns of the monotonic clock. */
void dispatch(struct dispatch *dispatch, struct caller *caller, const struct envelope *envelope,
              int64_t now, struct answer *answer);

#endif
