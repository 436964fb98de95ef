/* SPDX-License-Identifier: MIT */
#include "listing.h"

#include <stdio.h>

#include "json.h"
#include "report.h"

static int write_json(const struct listing *listing, const struct call *call,
                      fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct listing_output output = {.list = json_new_list()};
    json_t *document = json_new();

    json_set(document, listing->key, output.list);
    if (listing->ask(call, connection, &output, &error) < 0) {
        json_decref(document);
        return report_error(call, &error);
    }
    json_write(document);
    return STATUS_OK;
}

static int write_table(const struct listing *listing, const struct call *call,
                       fastalloc_connection_t *connection)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct listing_output output = {.list = NULL};
    int status = STATUS_OK;

    table_init(&output.table, listing->columns, listing->column_count);
    if (listing->ask(call, connection, &output, &error) < 0)
        status = report_error(call, &error);
    else if (output.table.cell_count == 0 && listing->none)
        fputs(listing->none, stdout);
    else
        table_write(&output.table, stdout, 0);
    table_deinit(&output.table);
    return status;
}

void listing_add_session(struct table *table, uint64_t id, const char *name, pid_t pid, uid_t uid)
{
    table_add(table, "%llu", (unsigned long long)id);
    table_add(table, "%s", name[0] ? name : "-");
    if (pid)
        table_add(table, "%d", (int)pid);
    else
        table_add(table, "-");
    table_add(table, "%u", uid);
}

int listing_run(const struct listing *listing, const struct call *call)
{
    fastalloc_connection_t *connection = NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    status =
        call->json ? write_json(listing, call, connection) : write_table(listing, call, connection);
    fastalloc_disconnect(connection);
    return status;
}
