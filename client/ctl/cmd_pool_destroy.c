/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "report.h"
#include "text.h"

static const struct option options[] = {
    {"--force", NULL, "even while processes use it: their handles are stale at once", false},
    {NULL, NULL, NULL, false},
};

static void write_destroyed(const struct call *call)
{
    if (call->json) {
        json_t *object = json_new();
        json_set_string(object, "destroyed", call->operands[0]);
        json_write(object);
        return;
    }
    printf("Destroyed pool ");
    text_write(stdout, call->operands[0]);
    printf(".\n");
}

static int run(const struct call *call)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    bool force = command_option(call, "--force") != NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_destroy(connection, call->operands[0], force, &error) < 0)
        status = report_error(call, &error);
    else
        write_destroyed(call);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_destroy = {
    .name = "pool destroy",
    .operands = "NAME",
    .summary = "Destroy a pool that nobody uses (--force: in any case)",
    .options = options,
    .run = run,
};
