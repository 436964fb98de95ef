/* SPDX-License-Identifier: MIT */
#include "shm/bias.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool bias_register(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

bool bias_barrier(void)
{
    return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
