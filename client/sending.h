/* SPDX-License-Identifier: MIT */
/*
 * Requests on their way into a channel's socket, one after the other; and the calls that are given
 * up, which the daemon is told of. The channel is locked, but where something is waited for.
 */
#ifndef CLIENT_SENDING_H
#define CLIENT_SENDING_H

#include "client/channel.h"

/* Sends the call's request, whose turn it is. Afterwards it is sent, ended, or to be sent again. */
void sending_send(struct channel *channel, struct call *call);

/*
 * Adds the call, and sends its request as far as that can be done without waiting; whoever sends next
 * sends the rest. False: nothing of it can be sent now, and nothing will be.
 */
bool sending_start(struct channel *channel, struct call *call);

/* Sends the channel's own request to resume the session, for this call. */
void sending_resume(struct channel *channel, struct call *call);

/*
 * Sends what is left of another's request. The call waits for room in the socket. Whether all is
 * sent.
 */
bool sending_flush(struct channel *channel, struct call *call);

/* Whether there is something left of a request, which whoever sends next sends first. */
bool sending_has_rest(const struct channel *channel);

/* Tells the daemon which allocates are given up, if any, and if that can be done without waiting. */
void sending_settle(struct channel *channel);

/* Ends a call that is late, as things stand; one that was started goes on without who waits. */
void sending_give_up_if_late(struct channel *channel, struct call *call);

#endif
