/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "report.h"
#include "table.h"

static const struct table_column columns[] = {
    {"POOL", TABLE_LEFT},       {"TYPE", TABLE_LEFT},    {"SIZE", TABLE_RIGHT},
    {"CAPACITY", TABLE_RIGHT},  {"IN USE", TABLE_RIGHT}, {"%", TABLE_RIGHT},
    {"PROCESSES", TABLE_RIGHT}, {"MEMORY", TABLE_RIGHT}, {"MODE", TABLE_LEFT},
};

#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

static int add_to_table(const fastalloc_pool_info_t *info, void *context)
{
    struct table *table = context;
    double share = info->capacity ? (double)info->allocated / (double)info->capacity : 0;

    table_add(table, "%s", info->name);
    table_add(table, "%s", info->type[0] ? info->type : "-");
    table_add_size(table, info->object_size);
    table_add_number(table, info->capacity);
    table_add_number(table, info->allocated);
    table_add(table, "%.0f", share * 100);
    table_add_number(table, info->members);
    table_add_size(table, info->memory);
    table_add(table, "%04o", info->mode & 07777);
    return 0;
}

static int add_to_json(const fastalloc_pool_info_t *info, void *context)
{
    json_append(context, pool_to_json(info));
    return 0;
}

static int list_json(const struct call *call, fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    json_t *document = json_new();
    json_t *list = json_new_list();

    json_set(document, "pools", list);
    if (fastalloc_pool_list(connection, add_to_json, list, &error) < 0) {
        json_decref(document);
        return report_error(call, &error);
    }
    json_write(document);
    return STATUS_OK;
}

static int list_table(const struct call *call, fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct table table;
    int status = STATUS_OK;

    table_init(&table, columns, COLUMN_COUNT);
    if (fastalloc_pool_list(connection, add_to_table, &table, &error) < 0)
        status = report_error(call, &error);
    else if (table.cell_count == 0)
        printf("There are no pools. Make one with: fastallocctl pool create NAME --size BYTES "
               "--capacity SLOTS\n");
    else
        table_write(&table, stdout, 0);
    table_deinit(&table);
    return status;
}

static int run(const struct call *call)
{
    fastalloc_connection_t *connection = NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    status = call->json ? list_json(call, connection) : list_table(call, connection);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_list = {
    .name = "pool list",
    .operands = "",
    .summary = "List all pools",
    .run = run,
};
