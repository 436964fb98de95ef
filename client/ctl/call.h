/* SPDX-License-Identifier: MIT */
/*
 * A call: what the user typed, understood. It is made by parse_arguments() and handed to the
 * command.
 *
 * It owns nothing: the strings are those of argv.
 */
#ifndef CTL_CALL_H
#define CTL_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include <fastalloc/fastalloc.h>

#define CALL_OPERANDS_MAX 2
#define CALL_OPTIONS_MAX 32

struct command;

struct call {
    const char *program;           /* as it was called */
    const struct command *command; /* NULL: none was named */
    const char *socket;            /* NULL: the library's default */
    bool json;
    bool help;
    bool version;
    size_t operand_count;
    const char *operands[CALL_OPERANDS_MAX];
    const char
        *values[CALL_OPTIONS_MAX]; /* of the command's options, in its order; NULL: not given */
};

/* Connects to the daemon that the call names. Reports a failure; 0 or an exit status. */
int call_connect(const struct call *call, fastalloc_connection_t **connection);

/*
 * Whether to ask again for events, whose time was over with this result: no daemon answered by then, but
 * one does while a person waits.
 */
bool call_is_to_be_repeated(fastalloc_connection_t *connection, int result);

#endif
