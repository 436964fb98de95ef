/* SPDX-License-Identifier: MIT */
/* A pool's statistics: from its shared memory, and from the daemon. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cancel.h"
#include "client/deadline.h"
#include "client/error.h"
#include "client/name.h"
#include "client/pool.h"
#include "client/sized.h"
#include "shm/counters.h"
#include "shm/order.h"

#define THOUSANDTHS 1000.0
#define P50 0.5
#define P99 0.99

/* ---- By request ------------------------------------------------------------------------------ */

static int ask(fastalloc_connection_t *connection, const char *name, struct stats_reply *reply,
               fastalloc_error_t *error)
{
    struct stats_request request;
    struct call call = {
        .method = METHOD_STATS, .request = &request, .reply = reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}

/* ---- Of an open pool ------------------------------------------------------------------------- */

static const struct layout_ctl *ctl_of(const fastalloc_pool_t *pool)
{
    return pool->mapping.parts[MAPPING_CTL].address;
}

/* The capacity may have grown since, and never shrinks: it isn't below the usage. */
static fastalloc_stats_t stats_of(const struct layout_counters *counters, uint32_t capacity)
{
    int64_t time = deadline_in(0); /* now */
    return (fastalloc_stats_t){
        .capacity = capacity,
        .current_usage = counters->current_usage,
        .available = capacity - counters->current_usage,
        .peak_usage = counters->peak_usage,
        .average_usage = counters_average_usage(counters, time),
        .total_allocations = counters->total_allocations,
        .total_deallocations = counters->total_deallocations,
        .allocation_failures = counters->allocation_failures,
        .growth_count = counters->growth_count,
        .timeouts = counters->timeouts,
        .reclaimed = counters->reclaimed,
        .evictions = counters->evictions,
        .watermarks = counters->watermarks,
        .waiters = counters->waiters,
        .total_waits = counters->total_waits,
        .wait_p50 = histogram_percentile(&counters->waits, P50),
        .wait_p99 = histogram_percentile(&counters->waits, P99),
        .wait_max = counters->waits.max,
        .held_long = counters->held_long,
        .total_held_long = counters->total_held_long,
        .hold_p50 = histogram_percentile(&counters->holds, P50),
        .hold_p99 = histogram_percentile(&counters->holds, P99),
        .hold_max = counters->holds.max,
        .age = (uint64_t)time - counters->reset_at,
    };
}

int fastalloc_stats(const fastalloc_pool_t *pool, fastalloc_stats_t *stats,
                    fastalloc_error_t *error)
{
    struct layout_counters counters;
    if (connection_is_forked(pool->connection))
        return connection_raise_forked(error);
    const struct layout_ctl *ctl = ctl_of(pool);
    if (pool_is_destroyed(pool))
        return pool_raise_destroyed(pool, error);
    if (!counters_read(&ctl->counters, &counters))
        return error_raise(error, -EAGAIN,
                           "the statistics of pool '%s' were being changed all the time: the "
                           "daemon is very busy, or died; try again, or ask it by name "
                           "(fastalloc_pool_stats)",
                           pool->name);
    fastalloc_stats_t own = stats_of(&counters, field32_load(&ctl->capacity));
    sized_write(stats, &own, sizeof(own));
    return 0;
}

/* What stands in a leased pool is as of the daemon's last look. To be asked makes it look. */
static void have_looked_at(const fastalloc_pool_t *pool)
{
    struct stats_reply reply;
    if (ctl_of(pool)->kind == LAYOUT_LEASED)
        (void)ask(pool->connection, pool->name, &reply, NULL);
}

void fastalloc_check_left(const fastalloc_pool_t *pool, uint64_t least, bool aborts,
                          const char *file, int line)
{
    CANCEL_DISABLED;
    if (connection_is_forked(pool->connection))
        return;
    have_looked_at(pool);
    const struct layout_ctl *ctl = ctl_of(pool);
    uint64_t usage = counter_load(&ctl->counters.current_usage);
    uint64_t capacity = field32_load(&ctl->capacity);
    uint64_t left = capacity > usage ? capacity - usage : 0;
    if (left >= least)
        return;
    fprintf(stderr,
            "%s:%d: pool '%s' has %" PRIu64 " of %" PRIu64 " slots left, fewer than %" PRIu64 "\n",
            file, line, pool->name, left, capacity, least);
    if (aborts)
        abort();
}

/* ---- Of any pool ----------------------------------------------------------------------------- */

int fastalloc_pool_stats(fastalloc_connection_t *connection, const char *name,
                         fastalloc_stats_t *stats, fastalloc_error_t *error)
{
    struct stats_reply reply = {.pool = 0};
    int result = ask(connection, name, &reply, error);
    if (result < 0)
        return result;

    const fastalloc_stats_t own = {
        .capacity = reply.capacity,
        .current_usage = reply.current_usage,
        .available = reply.available,
        .peak_usage = reply.peak_usage,
        .average_usage = (double)reply.average_usage / THOUSANDTHS,
        .total_allocations = reply.total_allocations,
        .total_deallocations = reply.total_deallocations,
        .allocation_failures = reply.allocation_failures,
        .growth_count = reply.growth_count,
        .timeouts = reply.timeouts,
        .reclaimed = reply.reclaimed,
        .evictions = reply.evictions,
        .watermarks = reply.watermarks,
        .waiters = reply.waiters,
        .total_waits = reply.total_waits,
        .wait_p50 = reply.wait_p50,
        .wait_p99 = reply.wait_p99,
        .wait_max = reply.wait_max,
        .held_long = reply.held_long,
        .total_held_long = reply.total_held_long,
        .hold_p50 = reply.hold_p50,
        .hold_p99 = reply.hold_p99,
        .hold_max = reply.hold_max,
        .age = reply.age,
        .cached = reply.cached,
    };
    sized_write(stats, &own, sizeof(own));
    return 0;
}

int fastalloc_pool_reset_stats(fastalloc_connection_t *connection, const char *name,
                               fastalloc_error_t *error)
{
    struct stats_reset_request request;
    struct stats_reset_reply reply;
    struct call call = {
        .method = METHOD_STATS_RESET, .request = &request, .reply = &reply, .error = error};
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}
