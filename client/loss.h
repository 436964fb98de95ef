/* SPDX-License-Identifier: MIT */
/* Where a channel's connection ends, and where the channel does. It is locked. */
#ifndef CLIENT_LOSS_H
#define CLIENT_LOSS_H

#include "client/channel.h"

/*
 * Breaks the channel for the reason that the format says. The call at which it came out, if any, gets
 * the code, all others FASTALLOC_ERR_DISCONNECTED. Whoever is in a receive returns from it.
 */
void loss_break(struct channel *channel, struct call *call, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The daemon broke the protocol. */
void loss_break_malformed(struct channel *channel, struct call *call, const char *what);

/* What a call is told that begins when the channel is broken. */
int loss_refuse(const struct channel *channel, struct call *call, int code);

/*
 * The connection is gone, for the reason: what was under way on it is to be sent again. If the
 * session can't be resumed, that breaks the channel.
 */
void loss_of_connection(struct channel *channel, struct call *call, int system_error,
                        const char *reason);

/* There was no connection to be made, or none that lasted: the next try comes later. */
void loss_postpone(struct channel *channel, int system_error, const char *reason);

#endif
