/* SPDX-License-Identifier: MIT */
/*
 * The calls that are under way on a channel, in the order in which they began, and how long each may
 * take. The channel is locked.
 */
#ifndef CLIENT_PENDING_H
#define CLIENT_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "client/channel.h"

void pending_add(struct channel *channel, struct call *call);

/* The thread that waits for the call may return as soon as the lock is free. */
void pending_end(struct channel *channel, struct call *call, int result);

/* Or NULL. */
struct call *pending_find(struct channel *channel, uint32_t msgid);

/* The request is in the socket; or it has to be sent again, on another connection. */
void pending_is_sent(struct channel *channel, struct call *call);
void pending_is_lost(struct channel *channel, struct call *call);

/* Whether it is this call's turn to be sent. */
bool pending_is_next(const struct channel *channel, const struct call *call);

/* The number of the next change: 0 is none. */
uint32_t pending_next_change(const struct channel *channel);

/* Wakes whoever is to send next, and somebody who is to read, if nobody does. */
void pending_hand_on(struct channel *channel);

/* Wakes all: what they wait for is something else now. */
void pending_wake_all(struct channel *channel);

/* The point of time from which on the call is late, as things stand. */
int64_t pending_limit(const struct channel *channel, const struct call *call);

#endif
