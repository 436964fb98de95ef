/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "report.h"
#include "stats_table.h"
#include "text.h"

static const struct option options[] = {
    {"--reset", NULL, "begin the statistics of POOL anew; by those who may administer it", false},
    {NULL, NULL, NULL, false},
};

/* A walk over all pools: each one's statistics go to the list or to the table. */
struct walk {
    fastalloc_connection_t *connection;
    json_t *list; /* NULL: to the table */
    struct table table;
    fastalloc_error_t error;
};

static void add(struct walk *walk, const fastalloc_pool_info_t *info,
                const fastalloc_stats_t *stats)
{
    if (walk->list)
        json_append(walk->list, stats_to_json(info->name, info->capacity_max, stats));
    else
        stats_table_add(&walk->table, info, stats);
}

/* A pool that was destroyed since it was listed is left out. */
static int visit(const fastalloc_pool_info_t *info, void *context)
{
    struct walk *walk = context;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    int result = fastalloc_pool_stats(walk->connection, info->name, &stats, &error);

    if (result == 0)
        add(walk, info, &stats);
    if (result == 0 || result == FASTALLOC_ERR_NO_SUCH_POOL)
        return 0;
    walk->error = error;
    return result;
}

static int collect_all(struct walk *walk)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    int result = fastalloc_pool_list(walk->connection, visit, walk, &error);

    if (result < 0 && walk->error.code == 0)
        walk->error = error;
    return result;
}

static int collect(struct walk *walk, const struct call *call)
{
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;

    if (call->operand_count == 0)
        return collect_all(walk);
    int result = fastalloc_pool_stats(walk->connection, call->operands[0], &stats, &walk->error);
    if (result == 0)
        result = fastalloc_pool_show(walk->connection, call->operands[0], &info, &walk->error);
    if (result < 0)
        return result;
    if (walk->list)
        add(walk, &info, &stats);
    else
        stats_write(info.name, info.capacity_max, &stats, stdout, 0);
    return 0;
}

static int stats_json(const struct call *call, struct walk *walk)
{
    json_t *document = json_new();

    walk->list = json_new_list();
    json_set(document, "stats", walk->list);
    if (collect(walk, call) < 0) {
        json_decref(document);
        return report_error(call, &walk->error);
    }
    json_write(document);
    return STATUS_OK;
}

static int stats_people(const struct call *call, struct walk *walk)
{
    int status = STATUS_OK;

    stats_table_init(&walk->table);
    if (collect(walk, call) < 0)
        status = report_error(call, &walk->error);
    else if (walk->table.cell_count > 0)
        table_write(&walk->table, stdout, 0);
    else if (call->operand_count == 0)
        printf("There are no pools.\n");
    table_deinit(&walk->table);
    return status;
}

static int reset(const struct call *call, fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;

    if (fastalloc_pool_reset_stats(connection, call->operands[0], &error) < 0)
        return report_error(call, &error);
    if (call->json) {
        json_t *object = json_new();
        json_set_string(object, "reset", call->operands[0]);
        json_write(object);
        return STATUS_OK;
    }
    printf("The statistics of pool ");
    text_write(stdout, call->operands[0]);
    printf(" begin anew.\n");
    return STATUS_OK;
}

static int run(const struct call *call)
{
    struct walk walk = {.error = FASTALLOC_ERROR_INIT};
    bool resets = command_option(call, "--reset") != NULL;

    if (resets && call->operand_count == 0)
        return report_usage(call, "stats --reset needs POOL; see fastallocctl stats --help");
    int status = call_connect(call, &walk.connection);
    if (status != STATUS_OK)
        return status;
    if (resets)
        status = reset(call, walk.connection);
    else
        status = call->json ? stats_json(call, &walk) : stats_people(call, &walk);
    fastalloc_disconnect(walk.connection);
    return status;
}

const struct command command_stats = {
    .name = "stats",
    .operands = "[POOL]",
    .summary = "Show the statistics of a pool, or of all",
    .description =
        "With --json the share of the capacity that is in use and that of the requests that were\n"
        "granted are ratios, 0 to 1, and times are in ns; for people they are in percent and in\n"
        "readable units. \"Cached\" slots are granted to members of a leased pool, which may allocate\n"
        "them; in a brokered one (\"-\") there are none. \"Reclaimed\" are slots whose process ended\n"
        "without freeing them. p50 and p99 are exact to a quarter. How long objects of a leased pool\n"
        "were held is the time between those looks of the daemon that saw them.\n",
    .options = options,
    .run = run,
};
