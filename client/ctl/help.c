/* SPDX-License-Identifier: MIT */
#include "help.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "report.h"

#define HELP_NAME_WIDTH 20 /* at least */

static const char about[] = "\n"
                            "Looks after fastallocd's pools of shared memory.\n"
                            "\n"
                            "Commands:\n";

static const char options_text[] =
    "\n"
    "Options, before or after the command:\n"
    "  --socket PATH       the daemon's socket; without it $FASTALLOC_SOCKET, else\n"
    "                      $XDG_RUNTIME_DIR/fastalloc/default.sock if there is one, else\n"
    "                      /run/fastalloc/default.sock\n"
    "  --json              JSON instead of text, except for help; a failure is {\"error\":\n"
    "                      {\"code\", \"name\", \"message\", \"status\", ...}} on standard\n"
    "                      output, besides the message on standard error\n"
    "  --help              this text, or that of a command\n"
    "  --version           the version\n";

static const char status_text[] =
    "\n"
    "Exit status:\n"
    "  0 done   1 failed   2 wrong usage   3 no daemon reachable   4 no such pool\n"
    "  5 not permitted   6 daemon and tool don't speak the same protocol\n";

static int entry_width(const char *name, const char *value)
{
    return (int)(strlen(name) + (*value ? 1 : 0) + strlen(value));
}

static void write_entry(const char *name, const char *value, const char *help, int width)
{
    printf("  %s%s%s%*s%s\n", name, *value ? " " : "", value, width + 2 - entry_width(name, value),
           "", help);
}

static void write_tool(void)
{
    int width = HELP_NAME_WIDTH;

    printf("usage: fastallocctl [--socket PATH] [--json] COMMAND ...\n");
    fputs(about, stdout);
    for (size_t i = 0; command_table[i]; i++) {
        int own = entry_width(command_table[i]->name, command_table[i]->operands);
        width = own > width ? own : width;
    }
    for (size_t i = 0; command_table[i]; i++)
        write_entry(command_table[i]->name, command_table[i]->operands, command_table[i]->summary,
                    width);
    fputs(options_text, stdout);
    fputs(status_text, stdout);
}

static void write_usage(const struct command *command)
{
    const struct option *options = command->options;

    printf("usage: fastallocctl %s%s%s", command->name, *command->operands ? " " : "",
           command->operands);
    for (size_t i = 0; options && options[i].name; i++) {
        if (options[i].required)
            printf(" %s %s", options[i].name, options[i].value);
    }
    printf("%s\n", options ? " [OPTIONS]" : "");
}

static const char *value_of(const struct option *option)
{
    return option->value ? option->value : "";
}

static void write_options(const struct option *options)
{
    int width = HELP_NAME_WIDTH;

    printf("\nOptions:\n");
    for (size_t i = 0; options[i].name; i++) {
        int own = entry_width(options[i].name, value_of(&options[i]));
        width = own > width ? own : width;
    }
    for (size_t i = 0; options[i].name; i++)
        write_entry(options[i].name, value_of(&options[i]), options[i].help, width);
}

static void write_command(const struct command *command)
{
    const struct option *options = command->options;

    write_usage(command);
    printf("\n%s.\n", command->summary);
    if (command->description)
        fputs(command->description, stdout);
    if (options)
        write_options(options);
    printf("\nSee fastallocctl --help for --socket, --json and the exit status.\n");
}

int help_write(const struct call *call, const struct command *command)
{
    (void)call;
    if (command)
        write_command(command);
    else
        write_tool();
    return STATUS_OK;
}

int help_version(const struct call *call)
{
    if (call->json) {
        json_t *object = json_new();
        json_set_string(object, "version", FASTALLOC_VERSION);
        json_write(object);
        return STATUS_OK;
    }
    printf("fastallocctl %s\n", FASTALLOC_VERSION);
    return STATUS_OK;
}
