/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "number.h"
#include "report.h"
#include "text.h"

static const struct option options[] = {
    {"--max", "SLOTS", "raise how many slots there may ever be, before it grows", false},
    {NULL, NULL, NULL, false},
};

static int parse(const struct call *call, uint64_t *capacity, uint64_t *max)
{
    const char *to = call->operands[1];
    const char *most = command_option(call, "--max");

    if (!to && !most)
        return report_usage(call, "pool grow needs TO or --max SLOTS; see fastallocctl pool grow "
                                  "--help");
    if (to && (number_parse(to, UINT32_MAX, capacity) < 0 || *capacity == 0))
        return report_usage(call, "TO %s: must be a number of slots, 1 to 2^32 - 1", to);
    if (most && (number_parse(most, UINT32_MAX, max) < 0 || *max == 0))
        return report_usage(call, "--max %s: must be a number of slots, 1 to 2^32 - 1", most);
    return STATUS_OK;
}

static void write_grown(const struct call *call, const fastalloc_pool_info_t *info)
{
    char capacity[TEXT_NUMBER_SIZE];
    char max[TEXT_NUMBER_SIZE];
    char memory[TEXT_NUMBER_SIZE];

    if (call->json) {
        json_write(pool_to_json(info));
        return;
    }
    printf("Pool ");
    text_write(stdout, info->name);
    printf(" has %s slot%s, %s at most; %s of shared memory.\n",
           text_number(info->capacity, capacity), info->capacity == 1 ? "" : "s",
           text_number(info->capacity_max, max), text_size(info->memory, memory));
}

static int run(const struct call *call)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    const char *name = call->operands[0];
    uint64_t capacity = 0;
    uint64_t max = 0;
    int status = parse(call, &capacity, &max);

    if (status == STATUS_OK)
        status = call_connect(call, &connection);
    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_grow(connection, name, capacity, max, &error) < 0 ||
        fastalloc_pool_show(connection, name, &info, &error) < 0)
        status = report_error(call, &error);
    else
        write_grown(call, &info);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_grow = {
    .name = "pool grow",
    .operands = "NAME [TO]",
    .summary = "Have a pool grow to TO slots, or let it grow further",
    .description =
        "Who has it open needn't do anything. A pool that has as many slots already stays as it\n"
        "is: pools don't shrink, but `pool trim` gives the memory of free slots back.\n",
    .options = options,
    .run = run,
};
