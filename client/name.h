/* SPDX-License-Identifier: MIT */
/*
 * Names of pools, types and clients, and other text, as they go into requests.
 */
#ifndef CLIENT_NAME_H
#define CLIENT_NAME_H

#include <stddef.h>

#include <fastalloc/fastalloc.h>

/*
 * Copies the text, for the request's field of that name, to an array of so many bytes. NULL is an
 * empty one. FASTALLOC_ERR_INVALID_ARGUMENT, naming the field, if it is too long.
 */
int text_copy(char *to, size_t size, const char *text, const char *field, fastalloc_error_t *error);

/* The same for names. */
int name_copy(char to[FASTALLOC_NAME_MAX + 1], const char *name, const char *field,
              fastalloc_error_t *error);

/* The program's name; as much of it as fits, and '?' for what isn't plain ASCII. */
void name_of_program(char to[FASTALLOC_NAME_MAX + 1]);

#endif
