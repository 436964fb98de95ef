/* SPDX-License-Identifier: MIT */
/*
 * Numbers as people type them: nothing before, after or between the digits, no sign, no overflow.
 * Pure. Each returns 0, -EINVAL (no such number) or -ERANGE (too large).
 */
#ifndef CTL_NUMBER_H
#define CTL_NUMBER_H

#include <stdint.h>

/* Decimal, 0 to max. */
int number_parse(const char *text, uint64_t max, uint64_t *number);

/* The same, with K, M or G behind it for 1024, 1024^2 and 1024^3. */
int number_parse_size(const char *text, uint64_t max, uint64_t *bytes);

/* Nanoseconds, of a number with ns, us, ms, s, m (minutes) or h behind it; 0 needs no unit. */
#define NUMBER_DURATION_ALLOWED "a duration, as in 500ms, 10s, 5m or 2h"
int number_parse_duration(const char *text, uint64_t max, uint64_t *nanoseconds);

/* Octal, 1 to 0777: the library takes 0 for the default. */
int number_parse_mode(const char *text, uint32_t *mode);

#endif
