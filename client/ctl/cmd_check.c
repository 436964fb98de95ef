/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <fastalloc/admin.h>

#include "command.h"
#include "json.h"
#include "listing.h"
#include "report.h"
#include "text.h"

static const struct table_column columns[] = {{"KIND", TABLE_LEFT}, {"FINDING", TABLE_LEFT}};

static int add(const fastalloc_finding_t *finding, void *context)
{
    struct listing_output *output = context;

    if (output->list) {
        json_t *object = json_new();
        json_set(object, "violation", json_boolean(finding->violation));
        json_set_string(object, "text", finding->text);
        json_append(output->list, object);
        return 0;
    }
    table_add(&output->table, "%s", finding->violation ? "violation" : "note");
    table_add(&output->table, "%s", finding->text);
    return 0;
}

/* Takes the list over. */
static void write_json(const fastalloc_check_info_t *check, json_t *findings)
{
    json_t *document = json_new();

    json_set_number(document, "pools", check->pools);
    json_set_number(document, "sessions", check->sessions);
    json_set_number(document, "slots", check->slots);
    json_set_number(document, "violations", check->violations);
    json_set_number(document, "notes", check->notes);
    json_set(document, "findings", findings);
    json_write(document);
}

static void write_count(uint64_t count, const char *what)
{
    char number[TEXT_NUMBER_SIZE];

    printf("%s %s%s", text_number(count, number), what, count == 1 ? "" : "s");
}

static void write_text(const fastalloc_check_info_t *check, const struct table *table)
{
    uint64_t shown = table->cell_count / table->column_count;

    if (shown > 0)
        table_write(table, stdout, 0);
    if (shown < check->violations + check->notes)
        printf("These are the first of them.\n");
    printf("Looked through ");
    write_count(check->pools, "pool");
    printf(", ");
    write_count(check->sessions, "session");
    printf(" and ");
    write_count(check->slots, "slot");
    printf(": ");
    write_count(check->violations, "violation");
    printf(", ");
    write_count(check->notes, "note");
    printf(".\n");
}

static int ask(const struct call *call, fastalloc_connection_t *connection)
{
    fastalloc_check_info_t check = FASTALLOC_CHECK_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    struct listing_output output = {.list = call->json ? json_new_list() : NULL};
    int status = STATUS_OK;

    table_init(&output.table, columns, sizeof(columns) / sizeof(columns[0]));
    if (fastalloc_check(connection, &check, add, &output, &error) < 0) {
        json_decref(output.list);
        status = report_error(call, &error);
    } else if (output.list) {
        write_json(&check, output.list);
    } else {
        write_text(&check, &output.table);
    }
    table_deinit(&output.table);
    return status == STATUS_OK && check.violations > 0 ? STATUS_FAILED : status;
}

static int run(const struct call *call)
{
    fastalloc_connection_t *connection = NULL;
    int status = call_connect(call, &connection);

    if (status != STATUS_OK)
        return status;
    status = ask(call, connection);
    fastalloc_disconnect(connection);
    return status;
}

const struct command command_check = {
    .name = "check",
    .operands = "",
    .summary = "Have the daemon check all that it keeps in shared memory",
    .description =
        "A violation is what no daemon leaves: a fault of it, or of a member that wrote where it must\n"
        "not; with one the exit status is 1. A note is worth to be known, as that members of a leased\n"
        "pool broke words of it, which were put right. Nothing is changed. It takes the daemon\n"
        "some 20 ms for a million slots, in which it answers nobody. By its user and root alone. What a\n"
        "daemon left that died is looked through by `fastallocd --check`.\n",
    .run = run,
};
