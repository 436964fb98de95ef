/* SPDX-License-Identifier: MIT */
#include "demo_worker.h"

int worker_begin(const struct worker_job *job, fastalloc_connection_t **connection,
                 fastalloc_pool_t **pool)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct message start;

    if (channel_wait(job->control) < 0 ||
        channel_receive(job->control, &start, sizeof(start)) != sizeof(start))
        return 1;
    options.socket = start.socket[0] ? start.socket : NULL;
    options.name = job->name;
    options.reply_limit = options.reconnect_limit = DEMO_REPLY_LIMIT;
    if (fastalloc_connect(&options, connection, &error) < 0)
        return channel_fail(job->control, &error);
    if (fastalloc_open(*connection, start.pool, NULL, pool, &error) < 0) {
        fastalloc_disconnect(*connection);
        return channel_fail(job->control, &error);
    }
    return 0;
}
