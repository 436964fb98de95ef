/* SPDX-License-Identifier: MIT */
/*
 * An error of the tool's own, in the library's struct: a code and a line that says what failed.
 */
#ifndef CTL_FAILURE_H
#define CTL_FAILURE_H

#include <stdarg.h>

#include <fastalloc/fastalloc.h>

/* Fills `error` in, from nothing. Returns `result`. */
int failure_set(fastalloc_error_t *error, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int failure_set_list(fastalloc_error_t *error, int result, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#endif
