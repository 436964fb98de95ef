/* SPDX-License-Identifier: MIT */
/*
 * Failures, told to the user: one line on standard error, and a second one when the library says who
 * holds what is missing; with --json the same as an object on standard output. Each function returns the exit status that goes with what it reported.
 */
#ifndef CTL_REPORT_H
#define CTL_REPORT_H

#include <jansson.h>

#include <fastalloc/fastalloc.h>

#include "call.h"

enum exit_status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_UNREACHABLE = 3,
    STATUS_NO_SUCH_POOL = 4,
    STATUS_NOT_PERMITTED = 5,
    STATUS_PROTOCOL = 6,
};

/* The exit status that goes with an error of the library. */
int status_of(const fastalloc_error_t *error);

/* An error of the library. */
int report_error(const struct call *call, const fastalloc_error_t *error);

/* Something the user typed; STATUS_USAGE. */
int report_usage(const struct call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Anything else, with a negated errno (0: none fits); STATUS_FAILED. */
int report_failure(const struct call *call, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The object of an error, with the fields that its code has. */
json_t *error_to_json(const fastalloc_error_t *error);

#endif
