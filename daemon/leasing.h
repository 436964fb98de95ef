/* SPDX-License-Identifier: MIT */
/*
 * Leasing: how the broker's leased pools give slots ahead of need, get them back when somebody
 * else needs them, and learn what members did without asking. Pools of the other kind are left as
 * they are by all of it.
 */
#ifndef DAEMON_LEASING_H
#define DAEMON_LEASING_H

#include "daemon/broker.h"

/*
 * A look at all words takes some 12 ns a slot. With up to so many slots that is what a few requests
 * take; with more, glances are so many ns a slot apart, which is a tenth of the time.
 */
#define LEASING_GLANCE_FREE 4096u
#define LEASING_GLANCE_NS 128u

/*
 * Grants slots ahead, up to `count`: fewer as the pool fills, none while it is tight, none beyond
 * a quota. If `thread` isn't 0 they are that thread's of the member. Their numbers point into the broker.
 */
struct bytes leasing_grant(struct broker *broker, const struct membership *membership,
                           uint32_t thread, uint32_t count);

/*
 * A request of that priority has no room for `count` slots: takes back what members don't use. If
 * it `waits` when that isn't enough, they are told to tell of what they free. Whether there is room.
 */
bool leasing_gather(struct broker *broker, struct pool *pool, enum priority priority,
                    uint32_t count, bool waits);

/*
 * Slots were granted, perhaps of the reserve: then what is cached fills it up again, and until it is
 * full nothing is cached.
 */
void leasing_keep_reserve(struct broker *broker, struct pool *pool);

/* The session's process freed slots in a pool in which somebody waits. */
void leasing_ring(struct broker *broker, const struct session *session);

/* Brings the pool's numbers up to now. */
void leasing_look(struct broker *broker, struct pool *pool);

/* Nanoseconds between looks at its words, so that these take a tenth of the time. */
int64_t leasing_pause(const struct pool *pool);

/*
 * The same for who may ask for them without any right to the pool: not if it has many slots and was
 * looked at just before.
 */
void leasing_glance(struct broker *broker, struct pool *pool);
/* The same for who settles by himself. */
void leasing_peek(const struct broker *broker, struct pool *pool);

/* Before some are counted as held for too long: members may have freed them since they were seen. */
void leasing_check_held(struct broker *broker, struct pool *pool);

/* Says what was seen of the pool: its usage, its damage. */
void leasing_tell(struct broker *broker, struct pool *pool);

/* Its words were looked at: says so, and serves who waits, if slots were taken back. */
void leasing_settle(struct broker *broker, struct pool *pool);

/* For the broker: the pool begins, may have something to look at, ends. */
void leasing_begin(struct pool *pool);
void leasing_arm(struct broker *broker, struct pool *pool);
void leasing_end(struct broker *broker, struct pool *pool);

#endif
