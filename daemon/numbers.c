/* SPDX-License-Identifier: MIT */
#include "daemon/numbers.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

struct numbers numbers_from_wire(const uint8_t *wire, size_t size, size_t width, uint64_t *room)
{
    size_t count = size / width;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = 0;
        memcpy(&number, wire + i * width, width);
        room[i] = le64toh(number);
    }
    if (count > 0)
        qsort(room, count, sizeof(room[0]), compare);
    return (struct numbers){room, count};
}

bool numbers_have(const struct numbers *numbers, uint64_t number)
{
    return numbers->count > 0 &&
           bsearch(&number, numbers->sorted, numbers->count, sizeof(number), compare);
}
