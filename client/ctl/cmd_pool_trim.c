/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "report.h"
#include "text.h"

static void write_trimmed(const struct call *call, uint64_t bytes)
{
    char size[TEXT_NUMBER_SIZE];

    if (call->json) {
        json_t *object = json_new();
        json_set_string(object, "pool", call->operands[0]);
        json_set_number(object, "bytes", bytes);
        json_write(object);
        return;
    }
    printf("Gave back %s of pool ", text_size(bytes, size));
    text_write(stdout, call->operands[0]);
    printf(".\n");
}

static int run(const struct call *call)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    uint64_t bytes = 0;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_trim(connection, call->operands[0], &bytes, &error) < 0)
        status = report_error(call, &error);
    else
        write_trimmed(call, bytes);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_trim = {
    .name = "pool trim",
    .operands = "NAME",
    .summary = "Give the memory of a pool's free slots back",
    .description = "It is taken again before such a slot is allocated. The capacity stays.\n",
    .run = run,
};
