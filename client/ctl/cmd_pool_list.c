/* SPDX-License-Identifier: MIT */
#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "listing.h"
#include "pool_options.h"

static const struct table_column columns[] = {
    {"POOL", TABLE_LEFT},  {"TYPE", TABLE_LEFT},       {"KIND", TABLE_LEFT},
    {"SIZE", TABLE_RIGHT}, {"CAPACITY", TABLE_RIGHT},  {"IN USE", TABLE_RIGHT},
    {"%", TABLE_RIGHT},    {"PROCESSES", TABLE_RIGHT}, {"MEMORY", TABLE_RIGHT},
    {"MODE", TABLE_LEFT},
};

static void add_to_table(struct table *table, const fastalloc_pool_info_t *info)
{
    double share = info->capacity ? (double)info->allocated / (double)info->capacity : 0;

    table_add(table, "%s", info->name);
    table_add(table, "%s", info->type[0] ? info->type : "-");
    table_add(table, "%s", kind_name(info->kind));
    table_add_size(table, info->object_size);
    table_add_number(table, info->capacity);
    table_add_number(table, info->allocated);
    table_add(table, "%.0f", share * 100);
    table_add_number(table, info->members);
    table_add_size(table, info->memory);
    table_add(table, "%04o", info->mode & 07777);
}

static int add(const fastalloc_pool_info_t *info, void *context)
{
    struct listing_output *output = context;

    if (output->list)
        json_append(output->list, pool_to_json(info));
    else
        add_to_table(&output->table, info);
    return 0;
}

static int ask(const struct call *call, fastalloc_connection_t *connection,
               struct listing_output *output, fastalloc_error_t *error)
{
    (void)call;
    return fastalloc_pool_list(connection, add, output, error);
}

static const struct listing listing = {
    .key = "pools",
    .columns = columns,
    .column_count = sizeof(columns) / sizeof(columns[0]),
    .none = "There are no pools. Make one with: fastallocctl pool create NAME --size BYTES "
            "--capacity SLOTS\n",
    .ask = ask,
};

static int run(const struct call *call)
{
    return listing_run(&listing, call);
}

const struct command command_pool_list = {
    .name = "pool list",
    .operands = "",
    .summary = "List all pools",
    .run = run,
};
