/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <string.h>

#include "help.h"
#include "parse.h"
#include "report.h"

const struct command *const command_table[] = {
    &command_pool_create, &command_pool_list,    &command_pool_show, &command_pool_grow,
    &command_pool_trim,   &command_pool_destroy, &command_stats,     &command_advise,
    &command_holders,     &command_events,       &command_sessions,  &command_check,
    &command_ping,        &command_demo,         &command_help,      NULL,
};

const struct command *command_find(const char *first, const char *second)
{
    size_t length = strlen(first);

    for (size_t i = 0; command_table[i]; i++) {
        const char *name = command_table[i]->name;
        if (strncmp(name, first, length) != 0)
            continue;
        if (!second ? name[length] == '\0'
                    : name[length] == ' ' && strcmp(name + length + 1, second) == 0)
            return command_table[i];
    }
    return NULL;
}

bool command_is_group(const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; command_table[i]; i++) {
        const char *name = command_table[i]->name;
        if (strncmp(name, word, length) == 0 && name[length] == ' ')
            return true;
    }
    return false;
}

const char *command_option(const struct call *call, const char *name)
{
    const struct option *options = call->command->options;

    for (size_t i = 0; options && options[i].name; i++) {
        if (strcmp(options[i].name, name) == 0)
            return call->values[i];
    }
    return NULL;
}

int command_main(int argc, char **argv)
{
    struct call call;
    int status = parse_arguments(argc, argv, &call);

    if (status != STATUS_OK)
        return status;
    if (call.version)
        return help_version(&call);
    if (call.help)
        return help_write(&call, call.command);
    return call.command->run(&call);
}
