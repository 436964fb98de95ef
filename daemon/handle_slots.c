/* SPDX-License-Identifier: MIT */
/* Of a pool's slots: to allocate and free them, and to hand them on. */
#include "daemon/demand.h"
#include "daemon/handler.h"
#include "daemon/leasing.h"
#include "daemon/name.h"

bool on_allocate(const struct call *call, const struct allocate_request *request,
                 struct allocate_reply *reply)
{
    const struct membership *membership = call_find_writer(call, request->pool);
    return membership &&
           call_conclude(call, demand_request(call->broker, call->caller->session, membership,
                                              request, call->msgid, reply, &call->answer->error));
}

/* The number of a thread that is to have the slots; 0 = they are the member's. False if it is refused. */
static bool find_thread(const struct call *call, const struct membership *membership,
                        uint32_t asked, uint32_t *thread)
{
    struct pool *pool = membership->pool;
    *thread = asked == LEASE_THREAD_NEW ? pool_add_thread(pool, membership->member) : asked;
    if (*thread == 0 || pool_has_thread(pool, membership->member, *thread))
        return true;
    call_refuse_argument(call, "thread", "isn't a thread of this session in this pool");
    return false;
}

bool on_lease(const struct call *call, const struct lease_request *request,
              struct lease_reply *reply)
{
    const struct membership *membership = call_find_writer(call, request->pool);
    if (!membership)
        return false;
    if (!pool_is_leased(membership->pool)) {
        call_refuse_argument(call, "pool", "is that of a brokered pool; ask it to allocate");
        return false;
    }
    if (!find_thread(call, membership, request->thread, &reply->thread))
        return false;
    reply->slots = leasing_grant(call->broker, membership, reply->thread, request->count);
    return true;
}

bool on_cancel(const struct call *call, const struct cancel_request *request,
               struct cancel_reply *reply)
{
    const struct membership *membership = call_find_membership(call, request->pool);
    struct error error;
    if (!membership)
        return false;
    error_set(&error, ERROR_CANCELLED, "the request was cancelled while it waited in pool '%s'",
              membership->pool->ctl->name);
    name_copy(error.pool, membership->pool->ctl->name);
    reply->cancelled = demand_cancel(call->broker, call->caller->session, membership->pool,
                                     request->request, &error);
    demand_serve(call->broker, membership->pool);
    return true;
}

/*
 * Returns how many; 0 if it is refused. What was carried out already is answered before anything is
 * asked of the pool, which the session may have closed since, or somebody destroyed.
 */
static uint32_t operate(const struct call *call, enum pool_operation operation, uint32_t pool,
                        const struct bytes *handles, uint32_t change)
{
    uint32_t count = (uint32_t)(handles->size / HANDLE_WIRE_SIZE);
    if (handles->size == 0 || handles->size % HANDLE_WIRE_SIZE != 0) {
        call_refuse_argument(call, "handles", "must be one or more handles of 16 bytes each");
        return 0;
    }
    if (call_is_repeated(call, change))
        return count;
    const struct membership *membership = call_find_writer(call, pool);
    if (!membership)
        return 0;
    bool done = pool_operate(membership->pool, operation, membership->member, handles->data, count,
                             call->broker->now, &call->answer->error);
    if (done)
        demand_serve(call->broker, membership->pool);
    else
        leasing_settle(call->broker, membership->pool);
    return done ? count : 0;
}

bool on_free(const struct call *call, const struct free_request *request, struct free_reply *reply)
{
    reply->freed = operate(call, POOL_FREE, request->pool, &request->handles, request->change);
    return reply->freed > 0;
}

bool on_release(const struct call *call, const struct release_request *request,
                struct release_reply *reply)
{
    reply->released =
        operate(call, POOL_RELEASE, request->pool, &request->handles, request->change);
    return reply->released > 0;
}

bool on_retain(const struct call *call, const struct retain_request *request,
               struct retain_reply *reply)
{
    reply->retained = operate(call, POOL_RETAIN, request->pool, &request->handles, request->change);
    return reply->retained > 0;
}

bool on_adopt(const struct call *call, const struct adopt_request *request,
              struct adopt_reply *reply)
{
    reply->adopted = operate(call, POOL_ADOPT, request->pool, &request->handles, request->change);
    return reply->adopted > 0;
}

bool on_detach(const struct call *call, const struct detach_request *request,
               struct detach_reply *reply)
{
    reply->detached = operate(call, POOL_DETACH, request->pool, &request->handles, request->change);
    return reply->detached > 0;
}
