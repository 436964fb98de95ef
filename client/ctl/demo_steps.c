/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <fastalloc/admin.h>

#include "demo.h"
#include "demo_wc.h"

static int try_connect(struct demo *demo, const char *socket, int64_t limit)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;

    options.socket = socket;
    options.name = "demo";
    options.connect_limit = limit;
    options.reply_limit = options.reconnect_limit = DEMO_REPLY_LIMIT;
    return fastalloc_connect(&options, &demo->connection, &demo->error);
}

/* A daemon that was named must be there; otherwise one of the demo's own will do. */
int demo_connect(struct demo *demo)
{
    const char *named = demo->call->socket;
    fastalloc_connect_options_t defaults = FASTALLOC_CONNECT_OPTIONS_INIT;
    int result = try_connect(demo, named, named ? defaults.connect_limit : FASTALLOC_NOWAIT);

    if (named || result != FASTALLOC_ERR_UNREACHABLE)
        return result;
    demo->error = FASTALLOC_ERROR_INIT;
    result = private_daemon_start(&demo->daemon, &demo->signals, &demo->error);
    demo->daemon_is_private = result == 0;
    return result < 0 ? result : try_connect(demo, demo->daemon.socket, defaults.connect_limit);
}

int demo_make_pool(struct demo *demo)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    uint32_t number = 0;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return demo_fail(demo, -errno, "cannot find a name for the pool: %s", strerror(errno));
    snprintf(demo->pool_name, sizeof(demo->pool_name), "demo-%06x", number & 0xffffff);
    options.create = true;
    options.object_size = LINE_SLOT_SIZE;
    options.capacity = DEMO_CAPACITY;
    options.type = "line";
    int result =
        fastalloc_open(demo->connection, demo->pool_name, &options, &demo->pool, &demo->error);
    demo->pool_made = result == 0;
    return result;
}

/* Takes every slot, asks for one more to be refused, and gives all back. */
int demo_exhaust(struct demo *demo)
{
    fastalloc_handle_t handles[DEMO_CAPACITY];
    fastalloc_handle_t none;

    for (size_t i = 0; i < DEMO_CAPACITY; i += FASTALLOC_BATCH_MAX) {
        int result = fastalloc_allocate_many(demo->pool, FASTALLOC_BATCH_MAX, FASTALLOC_NOWAIT,
                                             handles + i, &demo->error);
        if (result < 0)
            return result;
    }
    int refused = fastalloc_try_allocate(demo->pool, &none, &demo->exhausted);
    if (refused != FASTALLOC_ERR_POOL_EXHAUSTED)
        return demo_fail(demo, refused < 0 ? refused : -EPROTO,
                         "a full pool was to refuse one more slot, but: %s",
                         refused < 0 ? demo->exhausted.message : "it gave one");
    for (size_t i = 0; i < DEMO_CAPACITY; i += FASTALLOC_BATCH_MAX) {
        int result =
            fastalloc_free_many(demo->pool, handles + i, FASTALLOC_BATCH_MAX, &demo->error);
        if (result < 0)
            return result;
    }
    return 0;
}

int demo_count(struct demo *demo)
{
    int result = wc_count(&demo->signals, demo->fd, &demo->wc, &demo->error);

    if (result < 0)
        return result;
    demo->agree = counts_equal(&demo->total, &demo->wc);
    return 0;
}

/* Everybody leaves; what the pool's statistics say then is the last word. */
int demo_leave(struct demo *demo)
{
    team_dismiss(&demo->team);
    return fastalloc_pool_stats(demo->connection, demo->pool_name, &demo->stats, &demo->error);
}
