/* SPDX-License-Identifier: MIT */
/* A listener: a request for events that waits for one. */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stdint.h>
#include <sys/queue.h>

#include "daemon/deadline.h"
#include "daemon/quota.h"
#include "proto/messages.h"

struct credentials;
struct session;

struct listener {
    TAILQ_ENTRY(listener) in_broker;
    LIST_ENTRY(listener) in_session;
    struct deadline deadline;
    struct session *session;
    const struct credentials *who; /* the connection's, which outlives it */
    uint64_t after;
    char name[PROTOCOL_NAME_MAX + 1]; /* of the pool; empty = all */
    uint32_t msgid;
    struct charge waiting;
};

TAILQ_HEAD(listeners, listener);
LIST_HEAD(listener_list, listener);

#endif
