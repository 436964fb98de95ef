/* SPDX-License-Identifier: MIT */
#include "daemon/growing.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "daemon/demand.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "daemon/notice.h"
#include "shm/order.h"

/* ---- Growing --------------------------------------------------------------------------------- */

static void run(struct job *job)
{
    struct pool_growing *growing =
        (struct pool_growing *)((char *)job - offsetof(struct pool_growing, job));
    growing->status = store_grow(&growing->pool->store, growing->capacity);
}

/* What it came to: the new capacity stands, or the error says why not. */
static bool conclude(struct broker *broker, struct pool *pool, struct error *error)
{
    struct pool_growing *growing = &pool->growing;
    if (growing->status < 0) {
        charge_deinit(&growing->bytes);
        pool_refuse_growth(pool, growing->capacity, growing->status, error);
        return false;
    }
    uint32_t before = pool_capacity(pool);
    growing->failed = false;
    charge_move(&growing->bytes, &pool->bytes);
    pool_grown(pool);
    notice_event(broker, pool, EVENT_GROWN, pool_capacity(pool) - before, 0);
    notice_usage(broker, pool);
    return true;
}

/* Who grows ahead tries again with each object: it is said once, until one doesn't fail. */
static enum growing_outcome fail(struct broker *broker, struct pool *pool, uint32_t capacity)
{
    if (!pool->growing.failed)
        notice_event(broker, pool, EVENT_GROWTH_FAILED, capacity, 0);
    pool->growing.failed = true;
    return GROWING_FAILED;
}

static void serve_growers(struct broker *broker, struct pool *pool, const struct error *failed);

static void on_done(void *context, struct job *job)
{
    struct broker *broker = context;
    struct pool_growing *growing =
        (struct pool_growing *)((char *)job - offsetof(struct pool_growing, job));
    struct pool *pool = growing->pool;
    struct error error;

    broker->job_count--;
    growing->active = false;
    if (pool->destroyed) {
        charge_deinit(&growing->bytes);
        broker_release_pool(pool);
        return;
    }
    bool grown = conclude(broker, pool, &error);
    if (!grown)
        fail(broker, pool, growing->capacity);
    serve_growers(broker, pool, grown ? NULL : &error);
    demand_growth_over(broker, pool, grown ? NULL : &error);
}

static bool refuse_memory(const struct pool *pool, struct error *error)
{
    error_set(error, ERROR_OUT_OF_MEMORY, "pool '%s': the daemon has no memory to let it grow",
              pool->ctl->name);
    return false;
}

/* What can't fit isn't begun. */
static bool may_grow(struct pool *pool, uint32_t capacity, struct error *error)
{
    struct pool_growing *growing = &pool->growing;
    const struct geometry *geometry = &pool->store.geometry;
    uint64_t bytes = store_size(geometry, capacity) - store_size(geometry, pool_capacity(pool));
    uint64_t space = segment_space();
    if (space > 0 && bytes > space) {
        pool_refuse_growth(pool, capacity, -ENOSPC, error);
        return false;
    }
    if (!user_charge(pool->user, USER_BYTES, bytes, &growing->bytes, error))
        return false;
    if (pool_prepare_growth(pool, capacity) == 0)
        return true;
    charge_deinit(&growing->bytes);
    return refuse_memory(pool, error);
}

/* Whether so much is taken beside the loop. */
static bool takes_long(const struct broker *broker, const struct pool *pool, uint32_t capacity)
{
    const struct geometry *geometry = &pool->store.geometry;
    uint64_t bytes = store_size(geometry, capacity) - store_size(geometry, pool_capacity(pool));
    return bytes > GROWING_AT_ONCE_MAX && broker->rim.offload;
}

enum growing_outcome growing_start(struct broker *broker, struct pool *pool, uint32_t capacity,
                                   struct error *error)
{
    struct pool_growing *growing = &pool->growing;
    if (!may_grow(pool, capacity, error))
        return fail(broker, pool, capacity);
    notice_damage(broker, pool);
    growing->pool = pool;
    growing->capacity = capacity;
    growing->job = (struct job){run, on_done};
    if (takes_long(broker, pool, capacity) &&
        broker->rim.offload(broker->rim.context, &growing->job) == 0) {
        growing->active = true;
        broker->job_count++;
        return GROWING_UNDER_WAY;
    }
    run(&growing->job);
    return conclude(broker, pool, error) ? GROWING_DONE : fail(broker, pool, capacity);
}

bool growing_look_ahead(struct broker *broker, struct pool *pool)
{
    uint32_t capacity = pool_capacity(pool), ahead = pool->ctl->policy.grow_ahead;
    uint32_t idle = ledger_count(&pool->ledger, SLOT_MEMBER_NONE);
    struct error error;
    if (idle >= ahead || pool->growing.active || broker->ending || broker->recovering)
        return false;
    uint32_t target = growth_next(&pool->growth, capacity, (uint64_t)capacity + ahead - idle,
                                  pool_capacity_max(pool));
    return target > capacity && growing_start(broker, pool, target, &error) == GROWING_DONE;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static bool refuse_maximum(const struct pool *pool, uint64_t requested, uint64_t max,
                           const char *what, struct error *error)
{
    error_set(error, ERROR_MAX_CAPACITY_EXCEEDED,
              "pool '%s' can't have %" PRIu64 " slots: it has %" PRIu32 ", %s %" PRIu64,
              pool->ctl->name, requested, pool_capacity(pool), what, max);
    name_copy(error->pool, pool->ctl->name);
    error->current = pool_capacity(pool);
    error->requested = requested;
    error->max = max;
    return false;
}

static bool check_request(const struct pool *pool, const struct pool_grow_request *request,
                          struct error *error)
{
    uint32_t reserve = pool->store.geometry.reserve;
    uint64_t max = request->capacity_max ? request->capacity_max : pool_capacity_max(pool);
    if (request->capacity_max > reserve)
        return refuse_maximum(pool, request->capacity_max, reserve,
                              "and addresses were reserved for", error);
    if (request->capacity_max > 0 && request->capacity_max < pool_capacity_max(pool)) {
        error_set(error, ERROR_INVALID_CAPACITY,
                  "pool '%s' may grow to %" PRIu32 " slots, which can't be lowered, to %" PRIu64,
                  pool->ctl->name, pool_capacity_max(pool), request->capacity_max);
        error->capacity = request->capacity_max;
        error->max = reserve;
        return false;
    }
    if (request->capacity > max)
        return refuse_maximum(pool, request->capacity, max,
                              "and its maximum, which an administrator may raise, is", error);
    return true;
}

static void fill_reply(const struct pool *pool, struct pool_grow_reply *reply)
{
    *reply = (struct pool_grow_reply){
        .capacity = pool_capacity(pool),
        .capacity_max = pool_capacity_max(pool),
    };
}

/* Nobody's yet, and charged. NULL if the session may not wait, or there is no memory. */
static struct grower *make_grower(const struct broker *broker, struct session *session,
                                  struct pool *pool, uint32_t capacity, uint32_t msgid,
                                  struct error *error)
{
    struct charge waiting = CHARGE_NONE;
    if (!broker_may_wait(broker, session, &waiting, error))
        return NULL;
    struct grower *grower = malloc(sizeof(*grower));
    if (!grower) {
        charge_deinit(&waiting);
        refuse_memory(pool, error);
        return NULL;
    }
    *grower = (struct grower){
        .pool = pool,
        .session = session,
        .msgid = msgid,
        .capacity = capacity,
    };
    charge_move(&waiting, &grower->waiting);
    return grower;
}

static void add_grower(struct broker *broker, struct grower *grower)
{
    TAILQ_INSERT_TAIL(&grower->pool->growing.growers, grower, in_pool);
    LIST_INSERT_HEAD(&grower->session->growers, grower, in_session);
    grower->session->waiter_count++;
    broker->waiter_count++;
}

/* What nobody could wait for isn't begun. */
static enum growing_outcome start_for(struct broker *broker, struct session *session,
                                      struct pool *pool, uint32_t capacity, uint32_t msgid,
                                      struct error *error)
{
    bool active = pool->growing.active, long_one = active || takes_long(broker, pool, capacity);
    struct grower *grower =
        long_one ? make_grower(broker, session, pool, capacity, msgid, error) : NULL;
    if (long_one && !grower)
        return GROWING_FAILED;
    enum growing_outcome outcome =
        active ? GROWING_UNDER_WAY : growing_start(broker, pool, capacity, error);
    if (outcome == GROWING_UNDER_WAY) {
        add_grower(broker, grower);
    } else if (grower) {
        charge_deinit(&grower->waiting);
        free(grower);
    }
    return outcome;
}

static void remove_grower(struct broker *broker, struct grower *grower)
{
    TAILQ_REMOVE(&grower->pool->growing.growers, grower, in_pool);
    LIST_REMOVE(grower, in_session);
    grower->session->waiter_count--;
    broker->waiter_count--;
    charge_deinit(&grower->waiting);
}

enum broker_outcome growing_request(struct broker *broker, struct session *session,
                                    struct pool *pool, const struct pool_grow_request *request,
                                    uint32_t msgid, struct pool_grow_reply *reply,
                                    struct error *error)
{
    if (!check_request(pool, request, error))
        return BROKER_REFUSED;
    if (request->capacity_max > 0) {
        field32_store(&pool->ctl->capacity_max, (uint32_t)request->capacity_max);
        notice_usage(broker, pool);
    }
    uint32_t capacity = (uint32_t)request->capacity;
    if (capacity > pool_capacity(pool)) {
        enum growing_outcome outcome = start_for(broker, session, pool, capacity, msgid, error);
        if (outcome == GROWING_FAILED) {
            demand_serve(broker, pool); /* by less, if the maximum was raised */
            return BROKER_REFUSED;
        }
        if (outcome == GROWING_UNDER_WAY)
            return BROKER_WAITS;
    }
    demand_serve(broker, pool);
    fill_reply(pool, reply);
    return BROKER_DONE;
}

static void answer_grower(struct broker *broker, struct grower *grower,
                          const struct pool_grow_reply *reply, const struct error *error)
{
    remove_grower(broker, grower);
    broker->rim.answer(grower->session->connection, grower->msgid, METHOD_POOL_GROW, reply, error);
    free(grower);
}

/* One after the other: each may ask for more than the one before, or for less than what failed. */
static void serve_growers(struct broker *broker, struct pool *pool, const struct error *failed)
{
    uint32_t too_much = pool->growing.capacity;
    struct grower *grower, *next;
    for (grower = TAILQ_FIRST(&pool->growing.growers); grower; grower = next) {
        const struct error *refused = failed && grower->capacity >= too_much ? failed : NULL;
        struct pool_grow_reply reply;
        struct error error;
        next = TAILQ_NEXT(grower, in_pool);
        if (!refused && grower->capacity > pool_capacity(pool)) {
            enum growing_outcome outcome = growing_start(broker, pool, grower->capacity, &error);
            if (outcome == GROWING_UNDER_WAY)
                return;
            refused = outcome == GROWING_FAILED ? &error : NULL;
        }
        fill_reply(pool, &reply);
        answer_grower(broker, grower, refused ? NULL : &reply, refused);
    }
}

void growing_forget(struct broker *broker, struct session *session)
{
    struct grower *grower, *next;
    for (grower = LIST_FIRST(&session->growers); grower; grower = next) {
        next = LIST_NEXT(grower, in_session);
        remove_grower(broker, grower);
        free(grower);
    }
}

void growing_refuse(struct broker *broker, struct pool *pool, const struct error *error)
{
    struct grower *grower, *next;
    for (grower = TAILQ_FIRST(&pool->growing.growers); grower; grower = next) {
        next = TAILQ_NEXT(grower, in_pool);
        answer_grower(broker, grower, NULL, error);
    }
}
