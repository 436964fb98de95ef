/* SPDX-License-Identifier: MIT */
#include "parse.h"

#include <string.h>

#include "command.h"
#include "report.h"

struct parser {
    char **next; /* what is left of argv */
    struct call *call;
    const char *group; /* the first word of a command of two */
    bool operands_only;
};

/* What stands behind `name` in the argument: its '=' or its end; NULL if that is another option. */
static const char *behind_name(const char *argument, const char *name)
{
    size_t length = strlen(name);

    if (strncmp(argument, name, length) != 0)
        return NULL;
    return argument[length] == '=' || argument[length] == '\0' ? argument + length : NULL;
}

/* Takes the value of an option from behind its '=' or from the next argument. */
static int take_value(struct parser *parser, const struct option *option, const char *behind,
                      const char **value)
{
    if (*value)
        return report_usage(parser->call, "%s is given twice", option->name);
    if (!option->value) {
        if (*behind)
            return report_usage(parser->call, "%s takes no value", option->name);
        *value = "";
        return STATUS_OK;
    }
    if (*behind)
        *value = behind + 1;
    else if (*parser->next)
        *value = *parser->next++;
    else
        return report_usage(parser->call, "%s needs a value: %s %s", option->name, option->name,
                            option->value);
    return STATUS_OK;
}

/* -1: it is no global option. */
static int parse_global(struct parser *parser, const char *argument)
{
    static const struct option socket_option = {"--socket", "PATH", NULL, false};
    struct call *call = parser->call;
    const char *behind = behind_name(argument, socket_option.name);

    if (behind)
        return take_value(parser, &socket_option, behind, &call->socket);
    if (strcmp(argument, "--json") == 0)
        call->json = true;
    else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        call->help = true;
    else if (strcmp(argument, "--version") == 0)
        call->version = true;
    else
        return -1;
    return STATUS_OK;
}

static int parse_option(struct parser *parser, const char *argument)
{
    struct call *call = parser->call;
    const struct option *options = call->command ? call->command->options : NULL;
    int status = parse_global(parser, argument);

    if (status >= 0)
        return status;
    for (size_t i = 0; options && options[i].name; i++) {
        const char *behind = behind_name(argument, options[i].name);
        if (behind)
            return take_value(parser, &options[i], behind, &call->values[i]);
    }
    if (!call->command)
        return report_usage(call, "unknown option %s; see fastallocctl --help", argument);
    return report_usage(call, "%s has no option %s; see fastallocctl %s --help",
                        call->command->name, argument, call->command->name);
}

static int parse_command(struct parser *parser, const char *word)
{
    struct call *call = parser->call;

    if (!parser->group && command_is_group(word)) {
        parser->group = word;
        return STATUS_OK;
    }
    call->command = parser->group ? command_find(parser->group, word) : command_find(word, NULL);
    if (call->command)
        return STATUS_OK;
    return report_usage(call, "unknown command \"%s%s%s\"; see fastallocctl --help",
                        parser->group ? parser->group : "", parser->group ? " " : "", word);
}

static int parse_operand(struct parser *parser, const char *word)
{
    struct call *call = parser->call;

    if (!call->command)
        return parse_command(parser, word);
    if (call->operand_count == CALL_OPERANDS_MAX)
        return report_usage(call, "too many arguments: \"%s\"; see fastallocctl %s --help", word,
                            call->command->name);
    call->operands[call->operand_count++] = word;
    return STATUS_OK;
}

/*
 * Counts the operands that the command's help names: all of them, and those that aren't in
 * brackets.
 */
static void count_operands(const struct command *command, size_t *least, size_t *most)
{
    *least = 0;
    *most = 0;
    for (const char *at = command->operands; *at; at += strcspn(at, " ")) {
        at += strspn(at, " ");
        *most += 1;
        *least += *at != '[';
    }
    if (strstr(command->operands, "..."))
        *most = CALL_OPERANDS_MAX;
}

static int check_required(const struct call *call)
{
    const struct option *options = call->command->options;

    for (size_t i = 0; options && options[i].name; i++) {
        if (options[i].required && !call->values[i])
            return report_usage(call, "%s needs %s %s; see fastallocctl %s --help",
                                call->command->name, options[i].name, options[i].value,
                                call->command->name);
    }
    return STATUS_OK;
}

static int check_complete(struct parser *parser)
{
    struct call *call = parser->call;
    size_t least = 0;
    size_t most = 0;

    if (call->help || call->version)
        return STATUS_OK;
    if (!call->command && parser->group)
        return report_usage(
            call, "%s: create, list, show, grow, trim or destroy? See fastallocctl --help",
            parser->group);
    if (!call->command)
        return report_usage(call, "no command given; see fastallocctl --help");
    count_operands(call->command, &least, &most);
    if (call->operand_count < least)
        return report_usage(call, "%s needs %s; see fastallocctl %s --help", call->command->name,
                            call->command->operands, call->command->name);
    if (call->operand_count > most)
        return report_usage(call, "too many arguments: \"%s\"; see fastallocctl %s --help",
                            call->operands[most], call->command->name);
    return check_required(call);
}

/* Errors on the command line are told as JSON too, wherever --json stands in it. */
static bool wants_json(char **argv)
{
    for (; *argv && strcmp(*argv, "--") != 0; argv++) {
        if (strcmp(*argv, "--json") == 0)
            return true;
    }
    return false;
}

int parse_arguments(int argc, char **argv, struct call *call)
{
    struct parser parser = {.next = argc > 0 ? argv + 1 : argv, .call = call};
    int status = STATUS_OK;

    *call = (struct call){
        .program = argc > 0 ? argv[0] : "fastallocctl",
        .json = wants_json(parser.next),
    };
    while (status == STATUS_OK && *parser.next) {
        const char *argument = *parser.next++;
        if (!parser.operands_only && strcmp(argument, "--") == 0)
            parser.operands_only = true;
        else if (!parser.operands_only && argument[0] == '-' && argument[1])
            status = parse_option(&parser, argument);
        else
            status = parse_operand(&parser, argument);
    }
    return status == STATUS_OK ? check_complete(&parser) : status;
}
