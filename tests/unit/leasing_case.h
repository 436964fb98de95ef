/* SPDX-License-Identifier: MIT */
/* The stage for tests of leased pools: the broker's, with a leased pool beside that alice and bob are in. */
#ifndef TESTS_UNIT_LEASING_CASE_H
#define TESTS_UNIT_LEASING_CASE_H

#include "daemon/leasing.h"
#include "tests/unit/broker_case.h"
#include "tests/unit/member.h"

#define SLOTS 16u

static struct pool *leased; /* of SLOTS, if the test doesn't make another */
static uint32_t a, b;       /* alice's and bob's numbers in it */
static uint32_t slots[LEASE_MAX];
static uint64_t told[2]; /* of which epochs each has told */

/* Another one in its place. USE(.capacity = 7) */
#define USE(...) use((struct pool_config){__VA_ARGS__})

static inline void use(struct pool_config config)
{
    if (leased)
        broker_destroy_pool(&broker, leased);
    config.name = "leased";
    config.kind = LAYOUT_LEASED;
    if (!config.watermark)
        config.watermark = "off";
    leased = make_pool(config);
    join(alice, leased);
    join(bob, leased);
    a = member_of(alice, leased);
    b = member_of(bob, leased);
    told[0] = told[1] = 0;
}

static inline void leasing_set_up(void)
{
    broker_set_up();
    USE(.capacity = SLOTS);
}

/* How many were granted, whose numbers stand in slots then. A thread's of the session's, or its own. */
static inline uint32_t lease_as(struct session *session, uint32_t thread, uint32_t count)
{
    struct bytes granted =
        leasing_grant(&broker, session_membership(session, leased->id), thread, count);
    uint32_t number = (uint32_t)(granted.size / sizeof(uint32_t));
    ck_assert_uint_le(number, count);
    for (uint32_t i = 0; i < number; i++) {
        const uint8_t *wire = granted.data + i * sizeof(uint32_t);
        slots[i] =
            wire[0] | (uint32_t)wire[1] << 8 | (uint32_t)wire[2] << 16 | (uint32_t)wire[3] << 24;
        ck_assert_uint_eq(member_word(leased, slots[i]) & LEASE_STATE_MASK,
                          lease_state(thread ? thread : member_of(session, leased), SLOT_CACHED));
    }
    broker_check(&broker);
    return number;
}

static inline uint32_t lease(struct session *session, uint32_t count)
{
    return lease_as(session, 0, count);
}

/* All that there is: so much that nothing is left to be granted ahead. */
static inline uint32_t lease_all(struct session *session)
{
    uint32_t sum = 0, more;
    static uint32_t all[LEASE_MAX];
    while ((more = lease(session, LEASE_MAX - sum)) > 0) {
        memcpy(all + sum, slots, more * sizeof(slots[0]));
        sum += more;
    }
    memcpy(slots, all, sum * sizeof(slots[0]));
    return sum;
}

/* The first so many of `slots`, from the member's cache. */
static inline void allocate(uint32_t member, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        ck_assert(member_allocate(leased, member, slots[i]));
    broker_check(&broker);
}

static inline fastalloc_handle_t handle_of(uint32_t index)
{
    return handle_make(leased->id, index, leased->nonce,
                       slot_generation(member_word(leased, index)));
}

/* That slot's handle as the one at the position of `held`. */
static inline void hold(uint32_t position, uint32_t index)
{
    handle_to_wire(handle_of(index), held + (size_t)position * HANDLE_WIRE_SIZE);
}

static inline enum slot_state state_of(uint32_t index)
{
    return slot_state(member_word(leased, index));
}

static inline uint32_t holder_of(uint32_t index)
{
    return ledger_holder(&leased->ledger, index);
}

/* The object there is freed by that session's process. Whether the daemon is to be told. */
static inline bool free_quietly(struct session *session, uint32_t index)
{
    ck_assert(member_free(leased, member_of(session, leased), index));
    broker_check(&broker);
    return member_rings(leased, &told[session == bob]);
}

static inline void ring(const struct session *session)
{
    leasing_ring(&broker, session);
    broker_check(&broker);
}

/* And the daemon is told, if so. Whether it was. */
static inline bool free_aloud(struct session *session, uint32_t index)
{
    bool rings = free_quietly(session, index);
    if (rings)
        ring(session);
    return rings;
}

#endif
