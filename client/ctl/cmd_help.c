/* SPDX-License-Identifier: MIT */
#include "command.h"
#include "help.h"
#include "report.h"

static int run(const struct call *call)
{
    const char *first = call->operand_count > 0 ? call->operands[0] : NULL;
    const char *second = call->operand_count > 1 ? call->operands[1] : NULL;
    const struct command *command = first ? command_find(first, second) : NULL;

    if (first && !command && !(command_is_group(first) && !second))
        return report_usage(call, "unknown command \"%s%s%s\"; see fastallocctl --help", first,
                            second ? " " : "", second ? second : "");
    return help_write(call, command);
}

const struct command command_help = {
    .name = "help",
    .operands = "[COMMAND...]",
    .summary = "Explain the tool or a command",
    .run = run,
};
