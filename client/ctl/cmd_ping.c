/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "clock.h"
#include "command.h"
#include "json.h"
#include "report.h"
#include "text.h"

static void write_json(const fastalloc_daemon_info_t *info, uint64_t duration)
{
    json_t *object = json_new();

    json_set_number(object, "pid", (uint64_t)info->pid);
    json_set_string(object, "release", info->release);
    json_set_string(object, "instance", info->instance);
    json_set_number(object, "round_trip_ns", duration);
    json_write(object);
}

static void write_line(const fastalloc_daemon_info_t *info, uint64_t duration)
{
    char buffer[TEXT_NUMBER_SIZE];

    printf("fastallocd ");
    text_write(stdout, info->release);
    printf(", instance ");
    text_write(stdout, info->instance);
    printf(", pid %d, answered in %s.\n", (int)info->pid, text_duration(duration, buffer));
}

static int run(const struct call *call)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    uint64_t start = clock_now();
    if (fastalloc_ping(connection, &info, &error) < 0)
        status = report_error(call, &error);
    else if (call->json)
        write_json(&info, clock_now() - start);
    else
        write_line(&info, clock_now() - start);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_ping = {
    .name = "ping",
    .operands = "",
    .summary = "Ask the daemon who it is",
    .run = run,
};
