/* SPDX-License-Identifier: MIT */
/*
 * A manager that keeps the objects of one kind below a number of its own, and makes room by freeing
 * its oldest one. A ring is all that it needs.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <fastalloc/fastalloc.h>

#define MAX_ACTIVE 3
#define SPAWNS 5

struct shot {
    unsigned number;
};

struct manager {
    fastalloc_pool_t *pool;
    fastalloc_handle_t active[MAX_ACTIVE]; /* FASTALLOC_HANDLE_NONE where there is none */
    unsigned next;
};

static int try_spawn(struct manager *manager, unsigned number, fastalloc_error_t *error)
{
    fastalloc_handle_t *place = &manager->active[manager->next];
    int result = 0;
    if (!fastalloc_handle_is_none(*place))
        result = fastalloc_free(manager->pool, *place, error); /* the oldest */
    if (result == 0)
        result = fastalloc_allocate(manager->pool, FASTALLOC_NOWAIT, place, error);
    if (result < 0)
        return result;
    struct shot *shot = fastalloc_get(manager->pool, *place);
    shot->number = number;
    manager->next = (manager->next + 1) % MAX_ACTIVE;
    return 0;
}

int main(void)
{
    fastalloc_connection_t *connection;
    struct manager manager = {.next = 0};
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = sizeof(struct shot);
    options.capacity = 100;
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "shots", &options, &manager.pool, &error) < 0)
        errx(1, "%s", error.message);
    for (unsigned i = 1; i <= SPAWNS; i++)
        if (try_spawn(&manager, i, &error) < 0)
            errx(1, "%s", error.message);
    if (fastalloc_stats(manager.pool, &stats, &error) < 0)
        errx(1, "%s", error.message);
    printf("%" PRIu64 " shots of %d are left, the oldest is number %u\n", stats.current_usage,
           SPAWNS,
           ((struct shot *)fastalloc_get(manager.pool, manager.active[manager.next]))->number);
    fastalloc_disconnect(connection);
    return 0;
}
