/* SPDX-License-Identifier: MIT */
#include "daemon/demand.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/growing.h"
#include "daemon/leasing.h"
#include "daemon/name.h"
#include "daemon/notice.h"
#include "daemon/tally.h"
#include "shm/order.h"

/* What is asked for: the request's own part of a waiter. */
struct demand {
    uint32_t member;
    uint32_t count;
    enum priority priority;
    bool evictable;
    bool waits; /* if there is no room */
    uint64_t request;
};

/* ---- Room ------------------------------------------------------------------------------------ */

enum room { ROOM_YES, ROOM_SOON, ROOM_NO, ROOM_NEVER };

/* The capacity that leaves room for it where so many are idle, with what is reserved still free. */
static uint64_t needed_capacity(const struct pool *pool, const struct demand *demand, uint32_t idle)
{
    uint32_t used = pool_capacity(pool) - idle;
    return (uint64_t)used + pool_reserved(pool, demand->priority) + demand->count;
}

/* ROOM_SOON: a growth is under way. `why` is set when one was tried and failed. */
static enum room grow(struct broker *broker, struct pool *pool, const struct demand *demand,
                      struct error *why)
{
    uint32_t capacity = pool_capacity(pool);
    uint64_t needed = needed_capacity(pool, demand, ledger_count(&pool->ledger, SLOT_MEMBER_NONE));
    if (pool->growing.active)
        return ROOM_SOON;
    if (needed > pool_capacity_max(pool))
        return ROOM_NO;
    uint32_t target = growth_next(&pool->growth, capacity, needed, pool_capacity_max(pool));
    if (target <= capacity)
        return ROOM_NO;
    switch (growing_start(broker, pool, target, why)) {
    case GROWING_DONE:
        return ROOM_YES;
    case GROWING_UNDER_WAY:
        return ROOM_SOON;
    default:
        return ROOM_NO;
    }
}

/*
 * Something has to be dropped, for a critical request; but not before the slots that it gets beside
 * are ready, since it may yet fail by them.
 */
static bool evict(struct broker *broker, struct pool *pool, const struct demand *demand,
                  struct error *why)
{
    uint32_t room = pool_room(pool, demand->priority), missing = demand->count - room;
    if (demand->priority != PRIORITY_CRITICAL || pool->evictable.count < missing ||
        !pool_prepare(pool, room, true, why) || !pool_evict(pool, missing, broker->now))
        return false;
    notice_event(broker, pool, EVENT_EVICTED, missing, 0);
    return pool_room(pool, demand->priority) >= demand->count; /* unless some are used up */
}

static enum room make_room(struct broker *broker, struct pool *pool, const struct demand *demand,
                           bool may_grow, struct error *why)
{
    if (pool_room(pool, demand->priority) >= demand->count ||
        leasing_gather(broker, pool, demand->priority, demand->count, demand->waits))
        return ROOM_YES;
    enum room room = may_grow ? grow(broker, pool, demand, why) : ROOM_NO;
    if (room == ROOM_NO && evict(broker, pool, demand, why))
        return ROOM_YES;
    return room;
}

/* Whether there could ever be enough, as the pool is now. */
static bool can_ever_fit(const struct pool *pool, const struct demand *demand)
{
    uint64_t most =
        pool->growth.kind == GROWTH_NONE ? pool_capacity(pool) : pool_capacity_max(pool);
    return (uint64_t)demand->count + pool_reserved(pool, demand->priority) <= most;
}

/* ---- Refusing -------------------------------------------------------------------------------- */

/* For people: what members have cached isn't taken back for what there can never be. */
static uint32_t idle_or_cached(const struct pool *pool)
{
    return ledger_count(&pool->ledger, SLOT_MEMBER_NONE) + pool_cached(pool);
}

static void fill_fields(const struct broker *broker, struct error *error, const struct pool *pool,
                        const struct demand *demand)
{
    uint32_t idle = idle_or_cached(pool), reserved = pool_reserved(pool, demand->priority);
    name_copy(error->pool, pool->ctl->name);
    notice_describe_holders(broker, pool, error->holders);
    error->capacity = pool_capacity(pool);
    error->allocated = pool_usage(pool);
    error->requested = demand->count;
    error->waiters = pool->waiters.count;
    error->reserved = idle < reserved ? idle : reserved;
}

static const char *advise(const struct pool *pool, const struct demand *demand)
{
    uint32_t idle = pool_capacity(pool) - pool_usage(pool);
    if (!can_ever_fit(pool, demand) && pool_reserved(pool, demand->priority) > 0)
        return "beside its reserve it never has that many; give the request a higher priority, or "
               "have its maximum raised";
    if (!can_ever_fit(pool, demand))
        return "it never has that many to give; ask for fewer, or have its maximum raised";
    if (idle >= demand->count && pool_room(pool, demand->priority) < demand->count)
        return pool_is_damaged(pool) && pool_reserved(pool, demand->priority) == 0
                   ? "what is left is out of use, since members damaged it; have it enlarged, or "
                     "made anew"
                   : "what is left is reserved for more important requests";
    return pool->waiters.count > 0 ? "others wait for what is left; free objects or wait"
                                   : "free objects, wait with a timeout, or have it enlarged";
}

static void set_exhausted(const struct broker *broker, struct error *error, const struct pool *pool,
                          const struct demand *demand)
{
    uint32_t capacity = pool_capacity(pool), usage = pool_usage(pool);
    uint64_t needed = needed_capacity(pool, demand, idle_or_cached(pool));
    bool grows = pool->growth.kind != GROWTH_NONE && needed > pool_capacity_max(pool);
    error_set(error, grows ? ERROR_MAX_CAPACITY_EXCEEDED : ERROR_POOL_EXHAUSTED,
              "pool '%s' is exhausted%s: %" PRIu32 " of %" PRIu32 " slots allocated, %" PRIu32
              " asked for, %" PRIu32 " request%s waiting; %s",
              pool->ctl->name, grows ? " and can't grow any more" : "", usage, capacity,
              demand->count, pool->waiters.count, pool->waiters.count == 1 ? "" : "s",
              advise(pool, demand));
    fill_fields(broker, error, pool, demand);
    if (!grows)
        return;
    error->current = capacity;
    error->requested = needed;
    error->max = pool_capacity_max(pool);
}

static void set_timeout(const struct broker *broker, struct error *error, const struct pool *pool,
                        const struct demand *demand)
{
    error_set(error, ERROR_TIMEOUT,
              "pool '%s' had no room for %" PRIu32 " slot%s in time: %" PRIu32 " of %" PRIu32
              " allocated; free objects, wait longer, or have it enlarged",
              pool->ctl->name, demand->count, demand->count == 1 ? "" : "s", pool_usage(pool),
              pool_capacity(pool));
    fill_fields(broker, error, pool, demand);
}

/* `why` is that of a growth that failed, if one was tried; it says more. */
static enum broker_outcome refuse(struct broker *broker, struct pool *pool,
                                  const struct demand *demand, const struct error *why,
                                  struct error *error)
{
    struct layout_counters *counters = &pool->ctl->counters;
    tally_add(counters, &counters->allocation_failures, 1);
    if (why->code != ERROR_NONE)
        *error = *why;
    else
        set_exhausted(broker, error, pool, demand);
    notice_exhausted(broker, pool, demand->count);
    return BROKER_REFUSED;
}

/* ---- Granting -------------------------------------------------------------------------------- */

/* The handles go to that buffer, which the reply then points to. */
static bool grant(struct broker *broker, struct pool *pool, const struct demand *demand,
                  struct slots_charge *charge, uint8_t *handles, struct allocate_reply *reply,
                  struct error *error)
{
    if (!pool_prepare(pool, demand->count, true, error))
        return false;
    pool_allocate(pool, demand->member, demand->request, demand->evictable, demand->count, charge,
                  broker->now, handles);
    reply->handles = (struct bytes){handles, (size_t)demand->count * HANDLE_WIRE_SIZE};
    pool->exhausted = false;
    leasing_keep_reserve(broker, pool);
    broker_arm_pool(broker, pool);
    leasing_tell(broker, pool);
    return true;
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void count_waiters(struct pool *pool)
{
    struct layout_counters *counters = &pool->ctl->counters;
    tally_set(counters, &counters->waiters, pool->waiters.count);
}

static void remove_waiter(struct broker *broker, struct waiter *waiter)
{
    deadline_set(&broker->deadlines, &waiter->deadline, DEADLINE_NEVER);
    waitqueue_remove(&waiter->pool->waiters, waiter);
    LIST_REMOVE(waiter, in_session);
    waiter->session->waiter_count--;
    broker->waiter_count--;
    count_waiters(waiter->pool);
    slots_charge_deinit(&waiter->slots);
    charge_deinit(&waiter->waiting);
}

static void answer_waiter(struct broker *broker, struct waiter *waiter,
                          const struct allocate_reply *reply, const struct error *error)
{
    remove_waiter(broker, waiter);
    broker->rim.answer(waiter->session->connection, waiter->msgid, METHOD_ALLOCATE, reply, error);
    free(waiter);
}

static struct demand demand_of(const struct waiter *waiter)
{
    return (struct demand){
        .member = waiter->member,
        .count = waiter->count,
        .priority = waiter->priority,
        .evictable = waiter->evictable,
        .waits = true,
        .request = waiter->request,
    };
}

/* In a leased pool what was returned just now may be enough. */
static bool is_served_at_last(struct broker *broker, struct pool *pool, const struct waiter *waiter)
{
    if (!pool_is_leased(pool))
        return false;
    demand_serve(broker, pool);
    return !waitqueue_has(&pool->waiters, waiter);
}

static void on_timeout(void *context, struct deadline *deadline)
{
    struct broker *broker = context;
    struct waiter *waiter = (struct waiter *)((char *)deadline - offsetof(struct waiter, deadline));
    struct pool *pool = waiter->pool;
    struct layout_counters *counters = &pool->ctl->counters;
    struct demand demand = demand_of(waiter);
    struct error error;

    if (is_served_at_last(broker, pool, waiter))
        return;
    tally_add(counters, &counters->allocation_failures, 1);
    tally_add(counters, &counters->timeouts, 1);
    tally_waited(counters, broker->now - waiter->since);
    set_timeout(broker, &error, pool, &demand);
    error.waiters--; /* without this one */
    answer_waiter(broker, waiter, NULL, &error);
    demand_serve(broker, pool);
}

static enum broker_outcome wait_for_room(struct broker *broker, const struct waiter *wanted,
                                         int64_t timeout, struct error *error)
{
    struct session *session = wanted->session;
    struct charge waiting = CHARGE_NONE;
    if (!broker_may_wait(broker, session, &waiting, error))
        return BROKER_REFUSED;

    struct waiter *waiter = malloc(sizeof(*waiter));
    int64_t at = wanted->growth_only ? DEADLINE_NEVER : broker_deadline(broker, timeout);
    if (waiter) {
        *waiter = *wanted;
        deadline_init(&waiter->deadline, on_timeout);
    }
    if (!waiter || deadline_set(&broker->deadlines, &waiter->deadline, at) < 0) {
        free(waiter);
        charge_deinit(&waiting);
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory to let a request wait");
        return BROKER_REFUSED;
    }
    charge_move(&waiting, &waiter->waiting);
    waitqueue_add(&waiter->pool->waiters, waiter);
    LIST_INSERT_HEAD(&session->waiters, waiter, in_session);
    session->waiter_count++;
    broker->waiter_count++;
    struct layout_counters *counters = &waiter->pool->ctl->counters;
    tally_add(counters, &counters->total_waits, 1);
    count_waiters(waiter->pool);
    return BROKER_WAITS;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static enum priority priority_of(const struct allocate_request *request)
{
    static const enum priority priorities[] = {PRIORITY_NORMAL, PRIORITY_CRITICAL,
                                               PRIORITY_BEST_EFFORT};
    return priorities[request->priority];
}

static void serve(struct broker *broker, struct pool *pool, bool may_grow);

/*
 * Whether others are in front of it: not if that is because the pool couldn't grow yet, or because
 * nobody told yet of what was returned.
 */
static bool is_queued(struct broker *broker, struct pool *pool, const struct demand *demand)
{
    if (pool->growing.failed && waitqueue_is_ahead(&pool->waiters, demand->priority))
        serve(broker, pool, true);
    if (pool_is_leased(pool) && waitqueue_is_ahead(&pool->waiters, demand->priority)) {
        pool_harvest(pool, broker->now);
        leasing_settle(broker, pool);
    }
    return waitqueue_is_ahead(&pool->waiters, demand->priority);
}

static enum room find_room(struct broker *broker, struct pool *pool, const struct demand *demand,
                           struct error *why)
{
    bool queued = is_queued(broker, pool, demand);
    if (!can_ever_fit(pool, demand)) {
        leasing_peek(broker, pool);
        return ROOM_NEVER;
    }
    if (queued)
        return pool->growing.active ? ROOM_SOON : ROOM_NO;
    enum room room = make_room(broker, pool, demand, true, why);
    /* It will wait for the growth, which members didn't know when they were looked at. */
    if (room == ROOM_SOON && !demand->waits &&
        leasing_gather(broker, pool, demand->priority, demand->count, true))
        return ROOM_YES;
    return room;
}

/* With the slots charged; whoever isn't granted any gives the charge back. */
static enum broker_outcome decide(struct broker *broker, struct waiter *wanted,
                                  const struct demand *demand, int64_t timeout,
                                  struct allocate_reply *reply, struct error *error)
{
    struct pool *pool = wanted->pool;
    struct error why; /* a kilobyte, of which nothing is needed unless something fails */
    why.code = ERROR_NONE;
    enum room room = find_room(broker, pool, demand, &why);
    bool may_wait = room == ROOM_SOON || (room == ROOM_NO && demand->waits);

    if (room == ROOM_YES &&
        grant(broker, pool, demand, &wanted->slots, broker->handles, reply, &why))
        return BROKER_DONE;
    if (!may_wait)
        return refuse(broker, pool, demand, &why, error);
    wanted->growth_only = !demand->waits;
    return wait_for_room(broker, wanted, timeout, error);
}

/* What its own caches hold counts against a quota, but is given up before that refuses. */
static bool charge(struct broker *broker, struct pool *pool, const struct demand *demand,
                   struct slots_charge *slots, struct error *error)
{
    if (pool_charge(pool, demand->member, demand->count, slots, error))
        return true;
    if (!pool_is_leased(pool))
        return false;
    pool_harvest_all(pool, broker->now);
    if (!pool_charge(pool, demand->member, demand->count, slots, error))
        return false;
    error->code = ERROR_NONE;
    return true;
}

static struct demand demand_from(const struct membership *membership,
                                 const struct allocate_request *request)
{
    return (struct demand){
        .member = membership->member,
        .count = request->count ? request->count : 1,
        .priority = priority_of(request),
        .evictable = request->evictable,
        .waits = request->timeout != 0,
        .request = request->request,
    };
}

static bool allow_evictable(struct pool *pool, struct error *error)
{
    if (pool_is_leased(pool)) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "pool '%s' is leased, its objects can't be evictable; make it brokered, or leave "
                  "that out",
                  pool->ctl->name);
        name_copy(error->field, "evictable");
        return false;
    }
    if (pool_allow_evictable(pool) == 0)
        return true;
    error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory for evictable objects");
    return false;
}

/* What a decision may have changed for others; the pool had that capacity before. */
static void follow_up(struct broker *broker, struct pool *pool, enum broker_outcome outcome,
                      uint32_t capacity)
{
    bool grown = outcome == BROKER_DONE && growing_look_ahead(broker, pool);
    if (grown || pool_capacity(pool) > capacity)
        demand_serve(broker, pool); /* less important ones */
    pool_relax(pool);
    leasing_settle(broker, pool); /* whom this one overtook, or took back the slots for */
}

enum broker_outcome demand_request(struct broker *broker, struct session *session,
                                   const struct membership *membership,
                                   const struct allocate_request *request, uint32_t msgid,
                                   struct allocate_reply *reply, struct error *error)
{
    struct pool *pool = membership->pool;
    uint32_t capacity = pool_capacity(pool);
    struct demand demand = demand_from(membership, request);
    struct waiter wanted = {
        .since = broker->now,
        .pool = pool,
        .session = session,
        .member = demand.member,
        .priority = demand.priority,
        .count = demand.count,
        .evictable = demand.evictable,
        .request = demand.request,
        .msgid = msgid,
    };
    if (demand.evictable && !allow_evictable(pool, error))
        return BROKER_REFUSED;
    if (!charge(broker, pool, &demand, &wanted.slots, error)) {
        leasing_settle(broker, pool);
        return BROKER_REFUSED;
    }
    enum broker_outcome outcome = decide(broker, &wanted, &demand, request->timeout, reply, error);
    if (outcome == BROKER_REFUSED)
        slots_charge_deinit(&wanted.slots);
    follow_up(broker, pool, outcome, capacity);
    return outcome;
}

static void serve(struct broker *broker, struct pool *pool, bool may_grow)
{
    struct layout_counters *counters = &pool->ctl->counters;
    struct waiter *waiter;
    while ((waiter = waitqueue_first(&pool->waiters))) {
        struct demand demand = demand_of(waiter);
        struct allocate_reply reply;
        struct error error;
        if (make_room(broker, pool, &demand, may_grow, &error) != ROOM_YES)
            break;
        bool granted = grant(broker, pool, &demand, &waiter->slots, broker->served, &reply, &error);
        tally_add(counters, &counters->allocation_failures, !granted);
        tally_waited(counters, broker->now - waiter->since);
        answer_waiter(broker, waiter, granted ? &reply : NULL, granted ? NULL : &error);
    }
    pool_relax(pool);
    leasing_tell(broker, pool);
    broker_arm_pool(broker, pool);
}

void demand_serve(struct broker *broker, struct pool *pool)
{
    do
        serve(broker, pool, true);
    while (growing_look_ahead(broker, pool));
}

/* What failed isn't tried again at once, or it might be for ever. */
static void serve_after_growth(struct broker *broker, struct pool *pool, const struct error *why)
{
    if (why)
        serve(broker, pool, false);
    else
        demand_serve(broker, pool);
}

static void refuse_growth_only(struct broker *broker, struct pool *pool, const struct error *why)
{
    static const struct error none;
    struct waiter *waiter, *next;
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        for (waiter = TAILQ_FIRST(&pool->waiters.waiting[priority]); waiter; waiter = next) {
            struct demand demand = demand_of(waiter);
            struct error error;
            next = TAILQ_NEXT(waiter, in_pool);
            if (!waiter->growth_only)
                continue;
            refuse(broker, pool, &demand, why ? why : &none, &error);
            answer_waiter(broker, waiter, NULL, &error);
        }
}

void demand_growth_over(struct broker *broker, struct pool *pool, const struct error *why)
{
    serve_after_growth(broker, pool, why);
    if (pool->growing.active)
        return;
    refuse_growth_only(broker, pool, why);
    serve_after_growth(broker, pool, why); /* who was behind those */
}

void demand_refuse(struct broker *broker, struct pool *pool, const struct error *error)
{
    struct waiter *waiter;
    while ((waiter = waitqueue_first(&pool->waiters)))
        answer_waiter(broker, waiter, NULL, error);
}

static void forget_waiter(struct broker *broker, struct waiter *waiter)
{
    remove_waiter(broker, waiter);
    free(waiter);
}

uint32_t demand_cancel(struct broker *broker, struct session *session, const struct pool *pool,
                       uint64_t request, const struct error *error)
{
    struct waiter *waiter, *next;
    uint32_t cancelled = 0;
    for (waiter = LIST_FIRST(&session->waiters); waiter; waiter = next) {
        next = LIST_NEXT(waiter, in_session);
        if ((pool && waiter->pool != pool) || (request != 0 && waiter->request != request))
            continue;
        cancelled++;
        if (error)
            answer_waiter(broker, waiter, NULL, error);
        else
            forget_waiter(broker, waiter);
    }
    return cancelled;
}

static uint32_t forget_waiters(struct broker *broker, struct session *session,
                               const struct numbers *requests)
{
    struct waiter *waiter, *next;
    uint32_t forgotten = 0;
    for (waiter = LIST_FIRST(&session->waiters); waiter; waiter = next) {
        next = LIST_NEXT(waiter, in_session);
        if (!numbers_have(requests, waiter->request))
            continue;
        forgotten++;
        forget_waiter(broker, waiter);
    }
    return forgotten;
}

void demand_settle(struct broker *broker, struct session *session, const struct numbers *requests,
                   struct settle_reply *reply)
{
    struct membership *membership;
    *reply = (struct settle_reply){.cancelled = forget_waiters(broker, session, requests)};
    LIST_FOREACH (membership, &session->memberships, in_session)
        reply->freed += pool_settle(membership->pool, membership->member, requests, broker->now);
    /* Only now that none of them is left anywhere. */
    LIST_FOREACH (membership, &session->memberships, in_session)
        demand_serve(broker, membership->pool);
}
