/* SPDX-License-Identifier: MIT */
#include "call.h"

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
