/* SPDX-License-Identifier: MIT */
#include "daemon/decimal.h"

bool decimal_take(const char **text, uint32_t *number)
{
    const char *at = *text;
    uint32_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint32_t)(*at - '0'), &value))
            return false;
    if (at == *text || (**text == '0' && at > *text + 1))
        return false;
    *text = at;
    *number = value;
    return true;
}
