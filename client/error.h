/* SPDX-License-Identifier: MIT */
/*
 * Filling the caller's fastalloc_error_t, and the one table that maps numbers on the wire to public
 * codes: public = -(10000 + wire).
 *
 * A function that fails raises where it failed, and its callers pass the code on.
 */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

#include <fastalloc/fastalloc.h>

#include "proto/error.h"

/*
 * Fills *error (which may be NULL) with the code and the line; all other fields are zero. A code
 * that is a negated errno also stands in system_error. Returns the code.
 */
int error_raise(fastalloc_error_t *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with fields, the code among them. Returns the code. */
int error_raise_with(fastalloc_error_t *error, const fastalloc_error_t *fields, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* FASTALLOC_ERR_INVALID_ARGUMENT for the field, which is returned. */
int error_raise_argument(fastalloc_error_t *error, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What the daemon replied: its line, its fields, and the public code, which is returned. */
int error_raise_wire(fastalloc_error_t *error, const struct error *wire);

/*
 * The public code of a number on the wire; FASTALLOC_ERR_SYSTEM for one that this library doesn't
 * know.
 */
int error_public_code(enum error_code code);

/* "No such file or directory": never NULL, never to be freed, the same in every locale. */
const char *error_text(int system_error);

#endif
