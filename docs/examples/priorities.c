/* SPDX-License-Identifier: MIT */
/*
 * More and less important objects in one pool. Of its four slots one is kept for critical requests,
 * and decoration is allocated as evictable: it may be dropped for them, the oldest first.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <fastalloc/fastalloc.h>

struct particle {
    float x, y, z;
};

static int spawn(fastalloc_pool_t *pool, enum fastalloc_priority priority, bool evictable,
                 fastalloc_handle_t *handle, fastalloc_error_t *error)
{
    fastalloc_allocate_options_t options = FASTALLOC_ALLOCATE_OPTIONS_INIT;
    options.priority = priority;
    options.evictable = evictable;
    return fastalloc_allocate_with(pool, &options, handle, error);
}

int main(void)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t sparks[3], player, boss, another;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = sizeof(struct particle);
    options.capacity = 4;
    options.reserve_critical = 1;
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "effects", &options, &pool, &error) < 0)
        errx(1, "%s", error.message);

    for (int i = 0; i < 3; i++)
        if (spawn(pool, FASTALLOC_BEST_EFFORT, true, &sparks[i], &error) < 0)
            errx(1, "%s", error.message);
    if (spawn(pool, FASTALLOC_NORMAL, false, &another, &error) == FASTALLOC_ERR_POOL_EXHAUSTED)
        printf("normal: refused, %" PRIu64 " slot is reserved\n", error.reserved);
    if (spawn(pool, FASTALLOC_CRITICAL, false, &player, &error) < 0)
        errx(1, "%s", error.message);
    printf("critical: has the reserve\n");
    if (spawn(pool, FASTALLOC_CRITICAL, false, &boss, &error) < 0)
        errx(1, "%s", error.message);
    printf("critical: the oldest spark is %s, the next one %s\n",
           fastalloc_get(pool, sparks[0]) ? "there" : "gone",
           fastalloc_get(pool, sparks[1]) ? "there" : "gone");
    fastalloc_disconnect(connection);
    return 0;
}
