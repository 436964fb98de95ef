/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "pool_options.h"
#include "report.h"
#include "table.h"
#include "text.h"

static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};

static void add_number(struct table *table, const char *label, uint64_t number)
{
    table_add(table, "%s", label);
    table_add_number(table, number);
}

static void add_size(struct table *table, const char *label, uint64_t bytes)
{
    table_add(table, "%s", label);
    table_add_size(table, bytes);
}

static void add_duration(struct table *table, const char *label, uint64_t duration)
{
    char buffer[TEXT_NUMBER_SIZE];

    table_add(table, "%s", label);
    table_add(table, "%s", duration ? text_duration(duration, buffer) : "-");
}

/* Of what the pool has only if it was asked for. */
static void add_if(struct table *table, const char *label, uint64_t number)
{
    table_add(table, "%s", label);
    if (number)
        table_add_number(table, number);
    else
        table_add(table, "-");
}

static void add_shape(struct table *table, const fastalloc_pool_info_t *info)
{
    table_add(table, "pool");
    table_add(table, "%s", info->name);
    add_number(table, "id", info->id);
    table_add(table, "type");
    table_add(table, "%s", info->type[0] ? info->type : "-");
    table_add(table, "kind");
    table_add(table, "%s%s", kind_name(info->kind),
              info->damaged ? ", damaged: a member broke slots, which are out of use" : "");
    add_size(table, "object size", info->object_size);
    add_size(table, "stride", info->stride);
    add_size(table, "alignment", info->alignment);
    add_number(table, "capacity", info->capacity);
    add_number(table, "in use", info->allocated);
    add_number(table, "processes", info->members);
    add_size(table, "memory", info->memory);
    table_add(table, "owner");
    table_add(table, "uid %u, gid %u", info->uid, info->gid);
    table_add(table, "mode");
    table_add(table, "%04o", info->mode & 07777);
    table_add(table, "freed by");
    table_add(table, info->owner_frees ? "its holder only" : "whoever may write");
}

static void add_limits(struct table *table, const fastalloc_pool_info_t *info)
{
    table_add(table, "growth");
    table_add(table, "%s", growth_text(info));
    add_number(table, "grows up to", info->capacity_max);
    add_number(table, "may be raised to", info->reserve);
    add_if(table, "grow ahead", info->grow_ahead);
    add_if(table, "reserve critical", info->reserve_critical);
    add_if(table, "reserve normal", info->reserve_normal);
    add_if(table, "session slots", info->session_slots);
    add_if(table, "user slots", info->user_slots);
}

static void add_rest(struct table *table, const fastalloc_pool_info_t *info)
{
    char pages[32];

    snprintf(pages, sizeof(pages), "%s%s%s", info->prefault ? " prefault" : "",
             info->lock ? " lock" : "", info->huge ? " huge" : "");
    table_add(table, "zero");
    table_add(table, "%s", zero_name(info->zero));
    table_add(table, "template");
    if (info->template_size)
        table_add_size(table, info->template_size);
    else
        table_add(table, "-");
    table_add(table, "watermark");
    table_add(table, "%s", watermark_text(info));
    add_duration(table, "hold limit", info->hold_limit);
    add_duration(table, "trim after", info->trim_after);
    table_add(table, "pages");
    if (info->prefault || info->lock || info->huge)
        table_add(table, "%s", pages + 1);
    else
        table_add(table, "-");
}

static void write_table(const fastalloc_pool_info_t *info)
{
    struct table table;

    table_init(&table, columns, 2);
    add_shape(&table, info);
    add_limits(&table, info);
    add_rest(&table, info);
    table_write(&table, stdout, 0);
    table_deinit(&table);
}

static int run(const struct call *call)
{
    fastalloc_pool_info_t info = FASTALLOC_POOL_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection = NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    if (fastalloc_pool_show(connection, call->operands[0], &info, &error) < 0)
        status = report_error(call, &error);
    else if (call->json)
        json_write(pool_to_json(&info));
    else
        write_table(&info);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_pool_show = {
    .name = "pool show",
    .operands = "NAME",
    .summary = "Show what a pool is",
    .run = run,
};
