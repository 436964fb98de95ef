/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "number.h"
#include "report.h"
#include "text.h"

static const struct option options[] = {
    {"--size", "BYTES", "of an object; K, M or G behind the number for 1024, 1024^2, 1024^3", true},
    {"--capacity", "SLOTS", "how many objects there is room for", true},
    {"--align", "BYTES", "a power of two up to 4096 (default: 16)", false},
    {"--type", "TYPE", "a name for what the objects are; who opens the pool can ask for it", false},
    {"--mode", "MODE", "who may use it, as of a file, in octal (default: 0600)", false},
    {NULL, NULL, NULL, false},
};

static int wrong_number(const struct call *call, const char *option, const char *allowed)
{
    return report_usage(call, "%s %s: must be %s", option, command_option(call, option), allowed);
}

static int parse_sizes(const struct call *call, fastalloc_pool_config_t *config)
{
    const char *size = command_option(call, "--size");
    const char *capacity = command_option(call, "--capacity");

    if (number_parse_size(size, INT64_MAX, &config->object_size) < 0)
        return wrong_number(
            call, "--size",
            "a number of bytes below 2^63, with K, M or G for 1024, 1024^2, 1024^3");
    if (number_parse(capacity, UINT32_MAX, &config->capacity) < 0)
        return wrong_number(call, "--capacity", "a number of slots below 2^32");
    return STATUS_OK;
}

static int parse_config(const struct call *call, fastalloc_pool_config_t *config)
{
    const char *align = command_option(call, "--align");
    const char *mode = command_option(call, "--mode");
    uint64_t alignment = 0;
    int status = parse_sizes(call, config);

    if (status != STATUS_OK)
        return status;
    if (align && (number_parse_size(align, UINT32_MAX, &alignment) < 0 || alignment == 0))
        return wrong_number(call, "--align", "a power of two up to 4096");
    config->alignment = (uint32_t)alignment;
    if (mode && number_parse_mode(mode, &config->mode) < 0)
        return wrong_number(call, "--mode", "octal, 0 to 0777");
    config->type = command_option(call, "--type");
    return STATUS_OK;
}

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
    printf(": %s slots of %s, %s of shared memory.\n", text_number(info->capacity, capacity),
           text_size(info->object_size, size), text_size(info->memory, memory));
}

static int run(const struct call *call)
{
    fastalloc_pool_config_t config = FASTALLOC_POOL_CONFIG_INIT;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    const char *name = call->operands[0];
    int status = parse_config(call, &config);

    if (status == STATUS_OK)
        status = call_connect(call, &connection);
    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_create(connection, name, &config, &error) < 0 ||
        fastalloc_pool_show(connection, name, &info, &error) < 0)
        status = report_error(call, &error);
    else
        write_created(call, &info);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_create = {
    .name = "pool create",
    .operands = "NAME",
    .summary = "Make a pool",
    .options = options,
    .run = run,
};
