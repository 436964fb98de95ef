/* SPDX-License-Identifier: MIT */
#include "daemon/leasing.h"

#include <stddef.h>

#include "daemon/demand.h"
#include "daemon/growing.h"
#include "daemon/notice.h"

/* Of what anybody may have, one in so many is granted ahead at once. */
#define AHEAD_SHARE 4u

/* Between looks at a pool in which nobody asks for anything: doubled each time nothing was new. */
#define LOOK_FIRST INT64_C(1000000000)
#define LOOK_LAST (64 * LOOK_FIRST)

/* ---- Looking --------------------------------------------------------------------------------- */

void leasing_tell(struct broker *broker, struct pool *pool)
{
    notice_usage(broker, pool);
    if (field32_load(&pool->ctl->damage) == LAYOUT_DAMAGE_SEEN)
        notice_damage(broker, pool);
}

void leasing_settle(struct broker *broker, struct pool *pool)
{
    if (!pool_is_leased(pool))
        return;
    const struct waiter *first = waitqueue_first(&pool->waiters);
    leasing_tell(broker, pool);
    if (first && pool_room(pool, first->priority) >= first->count)
        demand_serve(broker, pool);
    broker_arm_pool(broker, pool);
}

int64_t leasing_pause(const struct pool *pool)
{
    return pool_is_leased(pool) ? (int64_t)pool_capacity(pool) * LEASING_GLANCE_NS : 0;
}

static void sweep(const struct broker *broker, struct pool *pool)
{
    pool_sweep(pool, broker->now);
    pool->glanced_at = broker->now;
}

void leasing_look(struct broker *broker, struct pool *pool)
{
    if (!pool_is_leased(pool))
        return;
    sweep(broker, pool);
    leasing_settle(broker, pool);
}

void leasing_peek(const struct broker *broker, struct pool *pool)
{
    if (pool_is_leased(pool) && (pool_capacity(pool) <= LEASING_GLANCE_FREE ||
                                 broker->now - pool->glanced_at >= leasing_pause(pool)))
        sweep(broker, pool);
}

void leasing_glance(struct broker *broker, struct pool *pool)
{
    leasing_peek(broker, pool);
    leasing_settle(broker, pool);
}

void leasing_check_held(struct broker *broker, struct pool *pool)
{
    if (!pool_is_leased(pool))
        return;
    pool_check_held(pool, broker->now);
    leasing_tell(broker, pool);
}

static void on_look(void *context, struct deadline *deadline)
{
    struct broker *broker = context;
    struct pool *pool = (struct pool *)((char *)deadline - offsetof(struct pool, look));
    bool changed = pool_sweep(pool, broker->now);
    if (changed)
        pool->look_after = LOOK_FIRST;
    else if (pool->look_after < LOOK_LAST)
        pool->look_after *= 2;
    demand_serve(broker, pool);
}

void leasing_begin(struct pool *pool)
{
    deadline_init(&pool->look, on_look);
    pool->look_after = LOOK_FIRST;
}

void leasing_arm(struct broker *broker, struct pool *pool)
{
    if (!pool_is_leased(pool) || !pool->mapped || pool->look.at != DEADLINE_NEVER)
        return;
    if (ledger_count(&pool->ledger, SLOT_MEMBER_NONE) < pool_capacity(pool))
        deadline_set(&broker->deadlines, &pool->look, broker->now + pool->look_after);
}

void leasing_end(struct broker *broker, struct pool *pool)
{
    deadline_set(&broker->deadlines, &pool->look, DEADLINE_NEVER);
}

/* ---- Granting -------------------------------------------------------------------------------- */

/* How many of the `count` may be granted now. */
static uint32_t share(const struct pool *pool, uint32_t member, uint32_t count)
{
    const struct pool_account *account = pool->accounts[member];
    uint64_t session = quota_left(&account->quota);
    uint64_t user = quota_left(&account->user->quotas[USER_SLOTS]);
    uint32_t room = pool_room(pool, PRIORITY_BEST_EFFORT);
    uint64_t most = room / AHEAD_SHARE > 0 ? room / AHEAD_SHARE : room;
    most = most < count ? most : count;
    most = most < session ? most : session;
    return (uint32_t)(most < user ? most : user);
}

static uint32_t grant(struct broker *broker, const struct membership *membership, uint32_t thread,
                      uint32_t count)
{
    struct pool *pool = membership->pool;
    struct slots_charge charge = {.session = CHARGE_NONE};
    struct error error;

    uint32_t granted = pool_is_tight(pool) ? 0 : share(pool, membership->member, count);
    if (granted == 0 || !pool_prepare(pool, granted, false, &error) ||
        !pool_charge(pool, membership->member, granted, &charge, &error))
        return 0;
    pool_lease(pool, membership->member, thread, granted, &charge, broker->handles);
    pool->look_after = LOOK_FIRST;
    growing_look_ahead(broker, pool);
    return granted;
}

struct bytes leasing_grant(struct broker *broker, const struct membership *membership,
                           uint32_t thread, uint32_t count)
{
    struct pool *pool = membership->pool;
    if (pool_is_tight(pool) || pool_room(pool, PRIORITY_BEST_EFFORT) == 0)
        pool_harvest(pool, broker->now);
    pool_relax(pool);
    uint32_t granted = grant(broker, membership, thread, count);
    leasing_settle(broker, pool);
    return (struct bytes){broker->handles, (size_t)granted * LEASE_WIRE_SIZE};
}

/* ---- Gathering ------------------------------------------------------------------------------- */

bool leasing_gather(struct broker *broker, struct pool *pool, enum priority priority,
                    uint32_t count, bool waits)
{
    if (!pool_is_leased(pool))
        return false;
    pool_harvest(pool, broker->now);
    if (pool_room(pool, priority) < count)
        pool_tighten(pool, waits || pool->waiters.count > 0, broker->now);
    leasing_tell(broker, pool);
    return pool_room(pool, priority) >= count;
}

void leasing_keep_reserve(struct broker *broker, struct pool *pool)
{
    uint32_t idle = ledger_count(&pool->ledger, SLOT_MEMBER_NONE);
    if (pool_is_leased(pool) && !pool_is_tight(pool) &&
        idle < pool_reserved(pool, PRIORITY_BEST_EFFORT))
        pool_tighten(pool, false, broker->now);
}

void leasing_ring(struct broker *broker, const struct session *session)
{
    struct membership *membership;
    LIST_FOREACH (membership, &session->memberships, in_session)
        if (pool_is_leased(membership->pool) && membership->pool->waiters.count > 0)
            demand_serve(broker, membership->pool);
}
