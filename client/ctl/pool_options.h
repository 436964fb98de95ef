/* SPDX-License-Identifier: MIT */
/*
 * The options of `pool create`, from what the user typed to the library's struct. Growth policies,
 * watermarks and all limits are left to the daemon, which knows them.
 */
#ifndef CTL_POOL_OPTIONS_H
#define CTL_POOL_OPTIONS_H

#include <fastalloc/admin.h>

#include "command.h"

#define POOL_TEMPLATE_MAX 32768 /* bytes */

/* For the command's entry of the table. */
extern const struct option pool_options[];

struct pool_setup {
    fastalloc_open_options_t config;
    unsigned char bytes[POOL_TEMPLATE_MAX]; /* of the template */
};

/*
 * Reads them, and the template's file. `setup` must stay where it is while its config is used.
 * Reports what is wrong; the exit status.
 */
int pool_options_parse(const struct call *call, struct pool_setup *setup);

/* How a pool that was made tells what it was made of; the defaults in full. */
const char *kind_name(int32_t kind); /* "brokered" or "leased" */
const char *zero_name(int32_t zero); /* "never", "allocate" or "free" */
const char *growth_text(const fastalloc_pool_info_t *info);
const char *watermark_text(const fastalloc_pool_info_t *info);

#endif
