/* SPDX-License-Identifier: MIT */
/*
 * Names of pools, types and clients, as they go into requests.
 */
#ifndef CLIENT_NAME_H
#define CLIENT_NAME_H

#include <fastalloc/fastalloc.h>

/*
 * Copies the name, for the request's field of that name. NULL is an empty one.
 * FASTALLOC_ERR_INVALID_ARGUMENT, naming the field, if it is too long.
 */
int name_copy(char to[FASTALLOC_NAME_MAX + 1], const char *name, const char *field,
              fastalloc_error_t *error);

/* The program's name; as much of it as fits, and '?' for what isn't plain ASCII. */
void name_of_program(char to[FASTALLOC_NAME_MAX + 1]);

#endif
