/* SPDX-License-Identifier: MIT */
/* What comes in on a channel, and which call it is for. The channel is locked, but in a receive. */
#ifndef CLIENT_READING_H
#define CLIENT_READING_H

#include "client/channel.h"

/*
 * Reads for all, and gets the channel up again when its connection is lost, until the call is over,
 * or could be sent.
 */
void reading_for_all(struct channel *channel, struct call *call);

#endif
