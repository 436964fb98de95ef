/* SPDX-License-Identifier: MIT */
#include "call.h"

#include <fastalloc/admin.h>

#include "report.h"

int call_connect(const struct call *call, fastalloc_connection_t **connection)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;

    options.socket = call->socket;
    options.name = "fastallocctl";
    options.reconnect_limit = options.connect_limit; /* a person waits, as at the beginning */
    if (fastalloc_connect(&options, connection, &error) < 0)
        return report_error(call, &error);
    return 0;
}

bool call_is_to_be_repeated(fastalloc_connection_t *connection, int result)
{
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    return (result == FASTALLOC_ERR_UNREACHABLE || result == FASTALLOC_ERR_NO_REPLY) &&
           fastalloc_ping(connection, &info, NULL) == 0;
}
