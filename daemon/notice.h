/* SPDX-License-Identifier: MIT */
/*
 * Notices: what the broker lets people know of its pools, as a line in the log, as an event, and in
 * the errors that it gives.
 */
#ifndef DAEMON_NOTICE_H
#define DAEMON_NOTICE_H

#include "daemon/broker.h"

/*
 * Usage or capacity changed: the watermark may have been reached, or be below again. That of a pool
 * that grows by itself concerns its maximum: before that, growing helps.
 */
void notice_usage(struct broker *broker, struct pool *pool);

/* The pool is taken over: what its usage and its watermark are by now was said before. */
void notice_resume(struct pool *pool);

/* Asserts that nothing of it is left to be said. */
void notice_check(const struct pool *pool);

/* A request for `count` slots was refused; said once, until one fits. */
void notice_exhausted(struct broker *broker, struct pool *pool, uint32_t count);

/*
 * Looks whether a member changed the size of the pool's data, or, of a leased one, made a word what
 * it can't be, which is to be expected of broken ones alone; said once. For when a session leaves the pool, and before its memory is changed.
 */
void notice_damage(struct broker *broker, struct pool *pool);

/* `kind` happened, to so many slots; `session` 0 = nobody's. The log gets a line. */
void notice_event(struct broker *broker, const struct pool *pool, enum event_kind kind,
                  uint64_t count, uint64_t session);

/* The sessions that hold most of the pool's slots, most first; at most `max`. Returns how many. */
uint32_t notice_holders(const struct broker *broker, const struct pool *pool,
                        struct holder_info *holders, uint32_t max);

/* The first few of them in words, for an error. */
void notice_describe_holders(const struct broker *broker, const struct pool *pool,
                             char text[PROTOCOL_HOLDERS_MAX + 1]);

#endif
