/* SPDX-License-Identifier: MIT */
/* Numbers that a request names, sorted, of which it is asked many times whether one is among them. */
#ifndef DAEMON_NUMBERS_H
#define DAEMON_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct numbers {
    const uint64_t *sorted;
    size_t count;
};

/*
 * Those in the bytes, each of `width` bytes, 8 at most, little-endian, put into `room`, which is to
 * last as long.
 */
struct numbers numbers_from_wire(const uint8_t *wire, size_t size, size_t width, uint64_t *room);

bool numbers_have(const struct numbers *numbers, uint64_t number);

#endif
