/* SPDX-License-Identifier: MIT */
#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "listing.h"
#include "text.h"

static const struct table_column columns[] = {
    {"SESSION", TABLE_RIGHT}, {"NAME", TABLE_LEFT}, {"PID", TABLE_RIGHT}, {"UID", TABLE_RIGHT},
    {"SLOTS", TABLE_RIGHT},   {"%", TABLE_RIGHT},   {"FOR", TABLE_RIGHT}, {"STATE", TABLE_LEFT},
};

struct walk {
    struct listing_output *output;
    uint64_t capacity;
};

/* The pool itself is no process. */
static void add_who(struct table *table, const fastalloc_holder_info_t *info)
{
    if (info->session == 0) {
        table_add(table, "-");
        table_add(table, "(detached)");
        table_add(table, "-");
        table_add(table, "-");
        return;
    }
    listing_add_session(table, info->session, info->name, info->pid, info->uid);
}

static void add_to_table(const struct walk *walk, const fastalloc_holder_info_t *info)
{
    struct table *table = &walk->output->table;
    double share = walk->capacity ? (double)info->slots / (double)walk->capacity : 0;
    char duration[TEXT_NUMBER_SIZE];

    add_who(table, info);
    table_add_number(table, info->slots);
    table_add(table, "%.0f", share * 100);
    table_add(table, "%s", text_duration(info->oldest, duration));
    if (info->session == 0)
        table_add(table, "-");
    else
        table_add(table, "%s", info->connected ? "connected" : "away");
}

static int add(const fastalloc_holder_info_t *info, void *context)
{
    const struct walk *walk = context;

    if (walk->output->list)
        json_append(walk->output->list, holder_to_json(info, walk->capacity));
    else
        add_to_table(walk, info);
    return 0;
}

static int ask(const struct call *call, fastalloc_connection_t *connection,
               struct listing_output *output, fastalloc_error_t *error)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    int result = fastalloc_pool_show(connection, call->operands[0], &info, error);
    struct walk walk = {.output = output, .capacity = info.capacity};

    if (result < 0)
        return result;
    return fastalloc_holder_list(connection, call->operands[0], add, &walk, error);
}

static const struct listing listing = {
    .key = "holders",
    .columns = columns,
    .column_count = sizeof(columns) / sizeof(columns[0]),
    .none = "Nobody holds a slot of it.\n",
    .ask = ask,
};

static int run(const struct call *call)
{
    return listing_run(&listing, call);
}

const struct command command_holders = {
    .name = "holders",
    .operands = "POOL",
    .summary = "Show who holds most of a pool, and for how long",
    .description =
        "Most first. \"For\" is how long what the session holds longest is held, be it with others.\n"
        "\"Detached\" is what outlived its session. In a leased pool slots are counted as of when the\n"
        "daemon last looked, without those that are only cached, and \"for\" is the time since it first\n"
        "saw an object. In JSON the share of the capacity is a ratio.\n",
    .run = run,
};
