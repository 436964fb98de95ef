/* SPDX-License-Identifier: MIT */
/*
 * A pool that grows as it is needed, up to a limit, and what to do there. It begins with two slots,
 * doubles, and ends at five.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <fastalloc/fastalloc.h>

#define OBJECTS 6

struct sprite {
    float x, y;
};

int main(void)
{
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handles[OBJECTS];
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = sizeof(struct sprite);
    options.capacity = 2;
    options.growth = "exponential:2";
    options.capacity_max = 5; /* a pool that grows must have a limit */
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "sprites", &options, &pool, &error) < 0 ||
        fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handles[0], &error) < 0)
        errx(1, "%s", error.message);
    struct sprite *first = fastalloc_get(pool, handles[0]);
    *first = (struct sprite){1.0f, 2.0f};

    for (int i = 1; i < OBJECTS; i++) {
        int result = fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handles[i], &error);
        if (result == FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED)
            printf("at the limit: %" PRIu64 " slots, %" PRIu64 " needed, %" PRIu64 " at most\n",
                   error.current, error.requested, error.max);
        else if (result < 0)
            errx(1, "%s", error.message);
        else
            printf("%d objects in %" PRIu64 " slots\n", i + 1, fastalloc_pool_capacity(pool));
    }
    /* Growing moves nothing: pointers stay as good as they were. */
    printf("the first one is still at %.0f, %.0f\n", first->x, first->y);
    fastalloc_disconnect(connection);
    return 0;
}
