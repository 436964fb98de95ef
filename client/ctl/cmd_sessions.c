/* SPDX-License-Identifier: MIT */
#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "listing.h"

static const struct table_column columns[] = {
    {"SESSION", TABLE_RIGHT}, {"NAME", TABLE_LEFT},   {"PID", TABLE_RIGHT},
    {"UID", TABLE_RIGHT},     {"POOLS", TABLE_RIGHT}, {"GRANTED", TABLE_RIGHT},
    {"WAITING", TABLE_RIGHT}, {"STATE", TABLE_LEFT},
};

static void add_to_table(struct table *table, const fastalloc_session_info_t *info)
{
    listing_add_session(table, info->id, info->name, info->pid, info->uid);
    table_add_number(table, info->pools);
    table_add_number(table, info->allocated);
    table_add_number(table, info->waiting);
    table_add(table, "%s", info->connected ? "connected" : "away");
}

static int add(const fastalloc_session_info_t *info, void *context)
{
    struct listing_output *output = context;

    if (output->list)
        json_append(output->list, session_to_json(info));
    else
        add_to_table(&output->table, info);
    return 0;
}

static int ask(const struct call *call, fastalloc_connection_t *connection,
               struct listing_output *output, fastalloc_error_t *error)
{
    (void)call;
    return fastalloc_session_list(connection, add, output, error);
}

static const struct listing listing = {
    .key = "sessions",
    .columns = columns,
    .column_count = sizeof(columns) / sizeof(columns[0]),
    .ask = ask,
};

static int run(const struct call *call)
{
    return listing_run(&listing, call);
}

const struct command command_sessions = {
    .name = "sessions",
    .operands = "",
    .summary = "List the processes that are connected, this one included",
    .description =
        "\"Lost\" is a session whose connection is gone while its process still has pools mapped:\n"
        "what it allocated stays allocated until that process ends. The pid is for people only.\n"
        "\"Granted\" are the slots that it has allocated in all pools, and those that it has cached\n"
        "in leased ones; `holders POOL` has the former alone.\n",
    .run = run,
};
