/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "report.h"
#include "table.h"

static const struct table_column columns[] = {
    {"SESSION", TABLE_RIGHT}, {"NAME", TABLE_LEFT},   {"PID", TABLE_RIGHT},
    {"UID", TABLE_RIGHT},     {"POOLS", TABLE_RIGHT}, {"IN USE", TABLE_RIGHT},
    {"WAITING", TABLE_RIGHT}, {"STATE", TABLE_LEFT},
};

static int add_to_table(const fastalloc_session_info_t *info, void *context)
{
    struct table *table = context;

    table_add(table, "%llu", (unsigned long long)info->id);
    table_add(table, "%s", info->name[0] ? info->name : "-");
    if (info->pid)
        table_add(table, "%d", (int)info->pid);
    else
        table_add(table, "-");
    table_add(table, "%u", info->uid);
    table_add_number(table, info->pools);
    table_add_number(table, info->allocated);
    table_add_number(table, info->waiting);
    table_add(table, "%s", info->connected ? "connected" : "lost");
    return 0;
}

static int add_to_json(const fastalloc_session_info_t *info, void *context)
{
    json_append(context, session_to_json(info));
    return 0;
}

static int list_json(const struct call *call, fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    json_t *document = json_new();
    json_t *list = json_new_list();

    json_set(document, "sessions", list);
    if (fastalloc_session_list(connection, add_to_json, list, &error) < 0) {
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

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    if (fastalloc_session_list(connection, add_to_table, &table, &error) < 0)
        status = report_error(call, &error);
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

const struct command command_sessions = {
    .name = "sessions",
    .operands = "",
    .summary = "List the processes that are connected, this one included",
    .description =
        "\"Lost\" is a session whose connection is gone while its process still has pools mapped:\n"
        "what it allocated stays allocated until that process ends. The pid is for people only.\n",
    .run = run,
};
