/* SPDX-License-Identifier: MIT */
#include "command.h"
#include "standard.h"

int main(int argc, char **argv)
{
    standard_init();
    return standard_finish(command_main(argc, argv));
}
