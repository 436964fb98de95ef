/* SPDX-License-Identifier: MIT */
/* Of a pool's statistics, and of who holds it. */
#include "daemon/handler.h"
#include "daemon/leasing.h"
#include "daemon/notice.h"
#include "daemon/tally.h"
#include "shm/counters.h"

#define P50 0.5
#define P99 0.99
#define THOUSANDTHS 1000

bool on_stats(const struct call *call, const struct stats_request *request,
              struct stats_reply *reply)
{
    struct pool *pool = call_find_pool(call, request->name);
    if (!pool)
        return false;
    leasing_glance(call->broker, pool);
    const struct layout_counters *counters = &pool->ctl->counters;
    int64_t now = call->broker->now;
    *reply = (struct stats_reply){
        .pool = pool->id,
        .capacity = pool_capacity(pool),
        .current_usage = pool_usage(pool),
        .available = pool_capacity(pool) - pool_usage(pool),
        .cached = pool_cached(pool),
        .peak_usage = counters->peak_usage,
        .total_allocations = counters->total_allocations,
        .total_deallocations = counters->total_deallocations,
        .allocation_failures = counters->allocation_failures,
        .timeouts = counters->timeouts,
        .reclaimed = counters->reclaimed,
        .waiters = pool->waiters.count,
        .total_waits = counters->total_waits,
        .growth_count = counters->growth_count,
        .evictions = counters->evictions,
        .average_usage = (uint64_t)(counters_average_usage(counters, now) * THOUSANDTHS),
        .watermarks = counters->watermarks,
        .held_long = counters->held_long,
        .total_held_long = counters->total_held_long,
        .wait_p50 = histogram_percentile(&counters->waits, P50),
        .wait_p99 = histogram_percentile(&counters->waits, P99),
        .wait_max = counters->waits.max,
        .hold_p50 = histogram_percentile(&counters->holds, P50),
        .hold_p99 = histogram_percentile(&counters->holds, P99),
        .hold_max = counters->holds.max,
        .age = (uint64_t)now - counters->reset_at,
    };
    return true;
}

bool on_stats_reset(const struct call *call, const struct stats_reset_request *request,
                    struct stats_reset_reply *reply)
{
    struct pool *pool = call_find_own_pool(call, request->name);
    (void)reply;
    if (!pool)
        return false;
    leasing_look(call->broker, pool);
    tally_reset(&pool->ctl->counters, call->broker->now);
    return true;
}

bool on_holders(const struct call *call, const struct holders_request *request,
                struct holders_reply *reply)
{
    struct holder_info *holders = call->dispatch->holders;
    struct pool *pool = call_find_pool(call, request->name);
    if (!pool)
        return false;
    leasing_glance(call->broker, pool);
    uint32_t count = notice_holders(call->broker, pool, holders, PROTOCOL_LIST_MAX);
    reply->holders = (struct list){holders, count};
    return true;
}
