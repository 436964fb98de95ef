/* SPDX-License-Identifier: MIT */
/*
 * Watching a pool: its statistics, read in place; what is left, before it is needed; and the events
 * that tell when it fills up, without asking again and again.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <fastalloc/admin.h>

#define CAPACITY 10

static int print_event(const fastalloc_event_t *event, void *context)
{
    (void)context;
    printf("event: %s, %" PRIu64 " of %" PRIu64 "\n", event->kind, event->allocated,
           event->capacity);
    return 0;
}

static void print_stats(const fastalloc_stats_t *stats)
{
    printf("current usage: %" PRIu64 "/%" PRIu64 ", peak %" PRIu64 ", %.0f%% full\n",
           stats->current_usage, stats->capacity, stats->peak_usage,
           fastalloc_stats_utilization_rate(stats) * 100);
    printf("total allocations: %" PRIu64 ", hit rate %.2f\n", stats->total_allocations,
           fastalloc_stats_hit_rate(stats));
    if (stats->available < 2)
        printf("nearly exhausted: %" PRIu64 " of %" PRIu64 " slots left\n", stats->available,
               stats->capacity);
}

int main(void)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handles[CAPACITY];
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    uint64_t after = 0;
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.watermark = "90%";
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "watched", &options, &pool, &error) < 0)
        errx(1, "%s", error.message);

    FASTALLOC_ASSERT_LEFT(pool, CAPACITY); /* while developing */
    if (fastalloc_allocate_many(pool, CAPACITY - 1, FASTALLOC_NOWAIT, handles, &error) < 0 ||
        fastalloc_stats(pool, &stats, &error) < 0)
        errx(1, "%s", error.message);
    print_stats(&stats);
    if (fastalloc_events(connection, "watched", FASTALLOC_SECOND, &after, NULL, print_event, NULL,
                         &error) < 0)
        errx(1, "%s", error.message);
    fastalloc_disconnect(connection);
    return 0;
}
