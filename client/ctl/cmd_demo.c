/* SPDX-License-Identifier: MIT */
#include "command.h"
#include "demo.h"

const struct command command_demo = {
    .name = "demo",
    .operands = "[FILE]",
    .summary = "Show the service at work: pass a text file through a pool",
    .description =
        "\n"
        "A writer puts every line of FILE (default: the GPL) into a slot of shared memory and\n"
        "sends only its handle on; three readers, processes of their own, adopt the lines, count\n"
        "lines, words and bytes in place, and free them. One of them is killed on the way: what\n"
        "it had adopted is free again, and the writer sends it to the others. The totals still\n"
        "agree with those of wc.\n"
        "\n"
        "When no daemon answers, and none is named with --socket, it starts one of its own,\n"
        "which needs no rights. It leaves nothing behind: no process, no shared memory, no\n"
        "file. Only when it is killed with SIGKILL does its pool, demo-*, stay at a daemon that\n"
        "was there before.\n",
    .run = demo_run,
};
