/* SPDX-License-Identifier: MIT */
/*
 * Demand: requests for slots of the broker's pools. One is granted at once, or refused, or waits in
 * its pool's queue until there is room, its time is over, or it is cancelled.
 *
 * Room is what is free, less what is kept for more important requests; then what the pool grows by;
 * then, for critical requests, what can be evicted.
 */
#ifndef DAEMON_DEMAND_H
#define DAEMON_DEMAND_H

#include "daemon/broker.h"

/*
 * Grants, lets wait, or refuses: POOL_EXHAUSTED, MAX_CAPACITY_EXCEEDED (of a pool that grows),
 * SHARED_MEMORY_FULL (it couldn't), QUOTA_EXCEEDED, LIMIT_EXCEEDED, OUT_OF_MEMORY. When it is done
 * the reply's handles point into the broker.
 */
enum broker_outcome demand_request(struct broker *broker, struct session *session,
                                   const struct membership *membership,
                                   const struct allocate_request *request, uint32_t msgid,
                                   struct allocate_reply *reply, struct error *error);

/* Slots may have come free, or a request left the queue: whoever is first and fits, gets. */
void demand_serve(struct broker *broker, struct pool *pool);

/* Those that only waited for a growth, which is over. `why` is its error, or NULL. */
void demand_growth_over(struct broker *broker, struct pool *pool, const struct error *why);

/* Refuses all that wait for the pool. */
void demand_refuse(struct broker *broker, struct pool *pool, const struct error *error);

/*
 * Ends the session's waiting requests in the pool (NULL: anywhere): that of the number, or with 0
 * all. They get the error; NULL: no answer. Returns how many.
 */
uint32_t demand_cancel(struct broker *broker, struct session *session, const struct pool *pool,
                       uint64_t request, const struct error *error);

/*
 * Nobody waits for the outcome of these requests of the session's any more: those that wait end,
 * without an answer, and what they were granted is freed.
 */
void demand_settle(struct broker *broker, struct session *session, const struct numbers *requests,
                   struct settle_reply *reply);

#endif
