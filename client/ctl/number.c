/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Reads digits of the base as far as they go; `end` is where they stop. */
static int parse_digits(const char *text, unsigned base, const char **end, uint64_t *number)
{
    uint64_t value = 0;
    int result = 0;
    const char *at = text;

    for (; *at >= '0' && *at < (char)('0' + base); at++) {
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            result = -ERANGE;
    }
    if (at == text)
        return -EINVAL;
    *end = at;
    *number = value;
    return result;
}

int number_parse(const char *text, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    const char *end = text;
    int result = parse_digits(text, 10, &end, &value);

    if (result == -EINVAL || *end)
        return -EINVAL;
    if (result < 0 || value > max)
        return -ERANGE;
    *number = value;
    return 0;
}

int number_parse_size(const char *text, uint64_t max, uint64_t *bytes)
{
    static const char suffixes[] = "KMGkmg";
    uint64_t value = 0;
    const char *end = text;
    int result = parse_digits(text, 10, &end, &value);

    if (result == -EINVAL)
        return -EINVAL;
    if (*end) {
        const char *suffix = strchr(suffixes, *end);
        if (!suffix || end[1])
            return -EINVAL;
        unsigned shift = 10 * ((unsigned)(suffix - suffixes) % 3 + 1);
        if (value > UINT64_MAX >> shift)
            return -ERANGE;
        value <<= shift;
    }
    if (result < 0 || value > max)
        return -ERANGE;
    *bytes = value;
    return 0;
}

static uint64_t unit_length(const char *unit)
{
    static const struct {
        const char *name;
        uint64_t length;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", UINT64_C(60000000000)},
        {"h", UINT64_C(3600000000000)},
    };

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].name) == 0)
            return units[i].length;
    }
    return 0;
}

int number_parse_duration(const char *text, uint64_t max, uint64_t *nanoseconds)
{
    uint64_t value = 0;
    const char *end = text;
    int result = parse_digits(text, 10, &end, &value);

    if (result == -EINVAL)
        return -EINVAL;
    uint64_t unit = *end ? unit_length(end) : value == 0;
    if (unit == 0)
        return -EINVAL;
    if (result < 0 || __builtin_mul_overflow(value, unit, &value) || value > max)
        return -ERANGE;
    *nanoseconds = value;
    return 0;
}

int number_parse_mode(const char *text, uint32_t *mode)
{
    uint64_t value = 0;
    const char *end = text;
    int result = parse_digits(text, 8, &end, &value);

    if (result == -EINVAL || *end)
        return -EINVAL;
    if (result < 0 || value == 0 || value > 0777)
        return -ERANGE;
    *mode = (uint32_t)value;
    return 0;
}
