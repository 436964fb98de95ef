/* SPDX-License-Identifier: MIT */
/* Listening: the broker's events, for those who ask for them, of the pools that they may read. */
#ifndef DAEMON_LISTENING_H
#define DAEMON_LISTENING_H

#include "daemon/broker.h"

/*
 * Replies with the events there are, or lets the request wait for one; when its time is over it
 * gets none. NO_SUCH_POOL, LIMIT_EXCEEDED, QUOTA_EXCEEDED, OUT_OF_MEMORY. What the reply lists
 * points into the broker.
 */
enum broker_outcome listening_request(struct broker *broker, struct session *session,
                                      const struct credentials *who,
                                      const struct events_request *request, uint32_t msgid,
                                      struct events_reply *reply, struct error *error);

/* Events were added: whoever waits for them gets them. */
void listening_tell(struct broker *broker);

/* The session's connection is gone. */
void listening_forget(struct broker *broker, struct session *session);

/* Refuses all that wait. */
void listening_refuse(struct broker *broker, const struct error *error);

#endif
