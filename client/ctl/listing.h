/* SPDX-License-Identifier: MIT */
/*
 * A command that lists things: as a table, or with --json as a list in an object.
 */
#ifndef CTL_LISTING_H
#define CTL_LISTING_H

#include <jansson.h>

#include "call.h"
#include "table.h"

/* Where the things go: to the list, or to the table if that is NULL. */
struct listing_output {
    json_t *list;
    struct table table;
};

struct listing {
    const char *key; /* of the list in the object */
    const struct table_column *columns;
    size_t column_count;
    const char *none; /* what is said when there is nothing; NULL: an empty table */

    /* Asks the daemon, with a visitor that adds each thing to the output. As of the library. */
    int (*ask)(const struct call *call, fastalloc_connection_t *connection,
               struct listing_output *output, fastalloc_error_t *error);
};

/* The cells SESSION, NAME, PID and UID of a session. */
void listing_add_session(struct table *table, uint64_t id, const char *name, pid_t pid, uid_t uid);

/* Connects, asks and writes; the exit status. */
int listing_run(const struct listing *listing, const struct call *call);

#endif
