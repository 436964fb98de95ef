/* SPDX-License-Identifier: MIT */
/*
 * What a pool is, or is to be: from the caller's options to the fields of a request. Text is
 * copied, but the template stays the caller's.
 */
#ifndef CLIENT_CONFIGURATION_H
#define CLIENT_CONFIGURATION_H

#include <fastalloc/fastalloc.h>

#include "proto/message.h"

/*
 * Fills the whole request; `options` may be NULL for an open. 0, or FASTALLOC_ERR_INVALID_ARGUMENT
 * for what can't be sent, naming the field.
 */
int configuration_to_open(struct pool_open_request *request, const char *name,
                          const fastalloc_open_options_t *options, fastalloc_error_t *error);
int configuration_to_create(struct pool_create_request *request, const char *name,
                            const fastalloc_open_options_t *options, fastalloc_error_t *error);

#endif
