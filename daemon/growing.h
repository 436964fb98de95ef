/* SPDX-License-Identifier: MIT */
/*
 * Growing: how the broker's pools get more slots, by their policy, ahead of need, or because an
 * administrator says so. What takes long goes on beside the loop, one growth of a pool at a time.
 */
#ifndef DAEMON_GROWING_H
#define DAEMON_GROWING_H

#include "daemon/broker.h"

/* More than this is taken beside the loop: reserving takes about a quarter of a ms a MiB. */
#define GROWING_AT_ONCE_MAX (UINT64_C(4) << 20)

enum growing_outcome { GROWING_DONE, GROWING_UNDER_WAY, GROWING_FAILED };

/*
 * Grows to that capacity, which is above the pool's and within its maximum. SHARED_MEMORY_FULL,
 * QUOTA_EXCEEDED, OUT_OF_MEMORY, SYSTEM.
 */
enum growing_outcome growing_start(struct broker *broker, struct pool *pool, uint32_t capacity,
                                   struct error *error);

/*
 * Slots were taken: grows if fewer are left than the pool wants to have ahead. Whether it did, at
 * once: then somebody may wait for what is new.
 */
bool growing_look_ahead(struct broker *broker, struct pool *pool);

/*
 * Raises the maximum (0 = leaves it), then grows to the capacity (0 = doesn't). What a session asks
 * for may have to wait for a growth. MAX_CAPACITY_EXCEEDED, INVALID_CAPACITY, LIMIT_EXCEEDED,
 * QUOTA_EXCEEDED, and what growing_start() says; the maximum stays raised then.
 */
enum broker_outcome growing_request(struct broker *broker, struct session *session,
                                    struct pool *pool, const struct pool_grow_request *request,
                                    uint32_t msgid, struct pool_grow_reply *reply,
                                    struct error *error);

/* Forgets what the session had asked for; what all had asked of the pool, with an answer. */
void growing_forget(struct broker *broker, struct session *session);
void growing_refuse(struct broker *broker, struct pool *pool, const struct error *error);

#endif
