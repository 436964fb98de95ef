/* SPDX-License-Identifier: MIT */
/* The daemon's command line. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>

#include "daemon/access.h"
#include "daemon/log.h"
#include "daemon/quota.h"

#define OPTIONS_NEVER (-1)

struct options {
    const char *socket;   /* NULL: by instance and user */
    const char *instance; /* NULL: "default", or after the socket */
    bool user;            /* an instance of this user's own */
    struct create_rule create;
    uint64_t user_max[USER_QUOTAS]; /* what each uid may have, or QUOTA_UNLIMITED */
    long exit_idle;                 /* seconds without any session, or OPTIONS_NEVER */
    bool check;                     /* instead of serving */
    enum log_level log_level;
    bool purge; /* remove what a dead instance left, and exit */
    bool retry; /* recover although that has failed so often */
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_DONE,  /* --help or --version: it was printed, exit with 0 */
    OPTIONS_USAGE, /* it was said on stderr what is wrong, exit with 2 */
};

enum options_result options_parse(struct options *options, int argc, char *argv[]);

#endif
