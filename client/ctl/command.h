/* SPDX-License-Identifier: MIT */
/*
 * The table of commands and the reading of a command line. Each command has a file of its own,
 * cmd_<name>.c, with its entry of this table and its function.
 */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include "call.h"

struct option {
    const char *name;  /* "--size"; "": the help goes on; NULL ends the list */
    const char *value; /* "BYTES"; NULL: a flag */
    const char *help;
    bool required;
};

struct command {
    const char *name; /* of one word or two */
    const char
        *operands; /* as in the help: "NAME"; optional: "[NAME]"; optional words: "[NAME...]" */
    const char *summary;
    const char *description; /* NULL, or lines that follow the summary in the command's help */
    const struct option *options;
    int (*run)(const struct call *call); /* the exit status */
};

extern const struct command command_pool_create;
extern const struct command command_pool_list;
extern const struct command command_pool_show;
extern const struct command command_pool_grow;
extern const struct command command_pool_trim;
extern const struct command command_pool_destroy;
extern const struct command command_stats;
extern const struct command command_advise;
extern const struct command command_holders;
extern const struct command command_events;
extern const struct command command_sessions;
extern const struct command command_check;
extern const struct command command_ping;
extern const struct command command_demo;
extern const struct command command_help;

/* All of them, in the order of the help; NULL ends the list. */
extern const struct command *const command_table[];

/* The command of that name (`second` may be NULL), or NULL. */
const struct command *command_find(const char *first, const char *second);

/* Whether the word begins commands of two words ("pool"). */
bool command_is_group(const char *word);

/* What was given for an option of the call's command; "" for a flag, NULL if it wasn't given. */
const char *command_option(const struct call *call, const char *name);

/* Does what the command line says; the exit status. */
int command_main(int argc, char **argv);

#endif
