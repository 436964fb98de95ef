/* SPDX-License-Identifier: MIT */
/*
 * From a channel whose connection is lost to one that is up again. Whoever reads does it, for all;
 * how far it has come is the channel's, so that another can go on with it. It is locked, but where
 * something is waited for.
 */
#ifndef CLIENT_RECONNECT_H
#define CLIENT_RECONNECT_H

#include "client/channel.h"

/* The reader's next step while the channel is down: a try to connect, or a wait for the next one. */
void reconnect_step(struct channel *channel, struct call *reader);

/* The channel is down: whoever reads is to try at once, for a call that isn't to wait for later. */
void reconnect_hasten(struct channel *channel);

/* The daemon has answered what it was asked to resume the session, and the call is over. */
void reconnect_conclude(struct channel *channel, struct call *reader);

/* Blocking receives on it end after so long, ns. 0 or a negated errno. */
#define RECONNECT_PATIENCE INT64_C(20000000)
int reconnect_limit_receives(int fd);

/* Of who listens there. */
uid_t reconnect_peer(int fd);

#endif
