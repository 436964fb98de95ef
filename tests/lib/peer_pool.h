/* SPDX-License-Identifier: MIT */
/*
 * A pool as a scripted daemon shows it: the three objects, and the reply to an open; right at
 * first, to be made wrong.
 */
#ifndef TESTS_LIB_PEER_POOL_H
#define TESTS_LIB_PEER_POOL_H

#include "shm/geometry.h"
#include "shm/layout.h"
#include "tests/lib/peer.h"

#define PEER_POOL_ID 5u
#define PEER_POOL_NONCE 0x1234u
#define PEER_POOL_OBJECT 48u
#define PEER_POOL_CAPACITY 10u

struct peer_pool {
    struct pool_open_request request;
    struct pool_open_reply reply;
    struct geometry geometry;
    struct layout_ctl head;
    size_t sizes[3]; /* of ctl, slots, data */
};

/* Receives an open and fills the rest with what a good daemon would answer. */
void peer_pool_receive(struct peer_pool *pool, enum layout_kind kind, struct peer *peer);

/* Makes the objects, and sends the reply with them. Slots are IDLE at their first generation. */
void peer_pool_reply(const struct peer_pool *pool, struct peer *peer);

/* Both. */
void peer_pool_open(struct peer *peer);

/* Receives a close and answers it. */
void peer_pool_close(struct peer *peer);

#endif
