/* SPDX-License-Identifier: MIT */
#include "tests/lib/peer_pool.h"

#include <string.h>
#include <unistd.h>

void peer_pool_receive(struct peer_pool *pool, enum layout_kind kind, struct peer *peer)
{
    memset(pool, 0, sizeof(*pool));
    peer_receive(peer, METHOD_POOL_OPEN, &pool->request);
    struct geometry *geometry = &pool->geometry;
    peer_require(geometry_init(geometry, kind, PEER_POOL_OBJECT, 16, 4 * PEER_POOL_CAPACITY) ==
                 GEOMETRY_OK);
    pool->head = (struct layout_ctl){
        .magic = LAYOUT_MAGIC,
        .version = LAYOUT_VERSION,
        .pool = PEER_POOL_ID,
        .nonce = PEER_POOL_NONCE,
        .kind = kind,
        .object_size = geometry->object_size,
        .stride = geometry->stride,
        .alignment = geometry->alignment,
        .capacity_max = PEER_POOL_CAPACITY,
        .reserve = geometry->reserve,
        .capacity = PEER_POOL_CAPACITY,
    };
    memcpy(pool->head.name, pool->request.name, sizeof(pool->head.name));
    pool->reply = (struct pool_open_reply){
        .pool = PEER_POOL_ID,
        .nonce = PEER_POOL_NONCE,
        .member = 1,
        .object_size = geometry->object_size,
        .stride = geometry->stride,
        .alignment = geometry->alignment,
        .capacity = PEER_POOL_CAPACITY,
        .kind = kind,
        .descriptors = 3,
    };
    pool->sizes[0] = geometry_ctl_size(geometry, PEER_POOL_CAPACITY);
    pool->sizes[1] = geometry_slots_size(geometry, PEER_POOL_CAPACITY);
    pool->sizes[2] = geometry_data_size(geometry, PEER_POOL_CAPACITY);
}

static void write_words(const struct peer_pool *pool, int fd)
{
    uint64_t words[PEER_POOL_CAPACITY];
    for (size_t i = 0; i < PEER_POOL_CAPACITY; i++)
        words[i] = slot_word(SLOT_GENERATION_FIRST, 0, SLOT_IDLE);
    off_t offset = (off_t)pool->geometry.words_offset;
    peer_require(pwrite(fd, words, sizeof(words), offset) == (ssize_t)sizeof(words));
}

void peer_pool_reply(const struct peer_pool *pool, struct peer *peer)
{
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = peer_memory(pool->sizes[i]);
    if (pool->sizes[0] >= sizeof(pool->head))
        peer_require(pwrite(fds[0], &pool->head, sizeof(pool->head), 0) > 0);
    if (pool->sizes[1] >= pool->geometry.words_offset + PEER_POOL_CAPACITY * sizeof(uint64_t))
        write_words(pool, fds[1]);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool->reply, fds, 3);
}

void peer_pool_open(struct peer *peer)
{
    struct peer_pool pool;
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_pool_reply(&pool, peer);
}

void peer_pool_close(struct peer *peer)
{
    struct pool_close_request request;
    struct pool_close_reply reply = {.freed = 0};
    peer_receive(peer, METHOD_POOL_CLOSE, &request);
    peer_require(request.pool == PEER_POOL_ID);
    peer_reply(peer, METHOD_POOL_CLOSE, &reply);
}
