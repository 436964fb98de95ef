/* SPDX-License-Identifier: MIT */
#include "shm/handle.h"

#include <inttypes.h>
#include <stdio.h>

void handle_format(fastalloc_handle_t handle, char text[FASTALLOC_HANDLE_TEXT_SIZE])
{
    snprintf(text, FASTALLOC_HANDLE_TEXT_SIZE, "%" PRIu32 ":%" PRIu32 ":%016" PRIx64, handle.pool,
             handle.index, handle.tag);
}

/*
 * Digits of the base up to the terminator; no sign, no blank, no more than fits in max. Decimal
 * numbers have no zeros in front: a handle has one text form.
 */
static bool parse_number(const char **text, unsigned base, char terminator, uint64_t max,
                         uint64_t *number)
{
    uint64_t value = 0;
    const char *p = *text;
    for (; *p != terminator; p++) {
        unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
                                                  : base;
        if (digit >= base || value > (max - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (p == *text || (base == 10 && **text == '0' && p > *text + 1))
        return false;
    *text = terminator ? p + 1 : p;
    *number = value;
    return true;
}

bool handle_parse(const char *text, fastalloc_handle_t *handle)
{
    uint64_t pool, index, tag;
    if (!parse_number(&text, 10, ':', UINT32_MAX, &pool) ||
        !parse_number(&text, 10, ':', UINT32_MAX, &index) || strlen(text) != 16 ||
        !parse_number(&text, 16, '\0', UINT64_MAX, &tag))
        return false;
    *handle = (fastalloc_handle_t){(uint32_t)pool, (uint32_t)index, tag};
    return true;
}
