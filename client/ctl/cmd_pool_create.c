/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "must.h"
#include "pool_options.h"
#include "report.h"
#include "text.h"

static void write_created(const struct call *call, const fastalloc_pool_info_t *info)
{
    char capacity[TEXT_NUMBER_SIZE];
    char size[TEXT_NUMBER_SIZE];
    char memory[TEXT_NUMBER_SIZE];

    if (call->json) {
        json_write(pool_to_json(info));
        return;
    }
    printf("Made pool ");
    text_write(stdout, info->name);
    printf(": %s slot%s of %s, %s of shared memory.\n", text_number(info->capacity, capacity),
           info->capacity == 1 ? "" : "s", text_size(info->object_size, size),
           text_size(info->memory, memory));
    if (info->capacity_max > info->capacity && strcmp(growth_text(info), "none") == 0)
        printf("Without --growth it comes to %s only by `fastallocctl pool grow`.\n",
               text_number(info->capacity_max, capacity));
}

static int create(const struct call *call, const fastalloc_open_options_t *config)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    const char *name = call->operands[0];
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_create(connection, name, config, &error) < 0 ||
        fastalloc_pool_show(connection, name, &info, &error) < 0)
        status = report_error(call, &error);
    else
        write_created(call, &info);
    fastalloc_disconnect(connection);
    return status;
}

static int run(const struct call *call)
{
    struct pool_setup *setup = must(malloc(sizeof(*setup)));
    int status = pool_options_parse(call, setup);

    if (status == STATUS_OK)
        status = create(call, &setup->config);
    free(setup);
    return status;
}

const struct command command_pool_create = {
    .name = "pool create",
    .operands = "NAME",
    .summary = "Make a pool",
    .description =
        "What the options mean in full says the header fastalloc.h, at fastalloc_open_options_t.\n"
        "Messages may name what an option sets as that does: object_size is --size, capacity_max\n"
        "--max, alignment --align, gid --group, and the others are called like their options.\n",
    .options = pool_options,
    .run = run,
};
