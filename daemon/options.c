/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_IDLE_MAX 31536000L /* a year of seconds */
#define GROUP_PREFIX "group:"

static const char usage[] =
    "Usage: fastallocd [OPTION]...\n"
    "Serve pools of fixed-size objects in shared memory to the processes of this machine.\n"
    "\n"
    "  --socket PATH        listen at PATH, for this user alone unless its mode is\n"
    "                       changed; what the daemon keeps stands beside it,\n"
    "                       in PATH without .sock, with .d\n"
    "  --instance NAME      the instance's name (default); its socket is\n"
    "                       /run/fastalloc/NAME.sock, unless --socket says another:\n"
    "                       then it is but what the log and ping say\n"
    "  --user               an instance of your own, in $XDG_RUNTIME_DIR/fastalloc\n"
    "  --create WHO         who may make pools: anyone (default); owner, that is this\n"
    "                       user and root alone; or group:NAME-or-GID, that is they\n"
    "                       and the members of the group\n"
    "  --user-sessions N    what each user may have, unlimited unless said: sessions,\n"
    "                       of which this user and root may have any number;\n"
    "  --user-pools N       pools;\n"
    "  --user-bytes N       shared memory in its pools, as in 512M or 2G;\n"
    "  --user-waiters N     requests that wait\n"
    "  --exit-idle SECONDS  exit after that long without any session\n"
    "  --check              serve nothing, but look through what the instance left in\n"
    "                       /dev/shm, if no daemon has it, and change nothing there:\n"
    "                       a line for each violation, which no daemon leaves,\n"
    "                       and each note, such as of a change that was under way; exit\n"
    "                       with 0 if there is no violation, 1 if there is one, 3 if\n"
    "                       there is nothing to look at, or a daemon has it\n"
    "  --purge              remove what an instance that died left behind, whoever still\n"
    "                       uses it, and exit\n"
    "  --retry              take it over although that has failed three times\n"
    "  --log-level LEVEL    error, warning, info (default) or debug\n"
    "  --version            print the version\n"
    "  --help               print this\n"
    "\n"
    "With SIGTERM or SIGINT it ends: what it owns in /dev/shm is removed if nobody uses it,\n"
    "else kept. The next fastallocd with the same --socket, --instance or --user goes on with\n"
    "what was kept, or left by one that was killed. If it can't, all of it stays as it is; after\n"
    "three failures, or where the registry can't be read, the exit status is 4.\n";

enum {
    OPTION_SOCKET,
    OPTION_INSTANCE,
    OPTION_USER,
    OPTION_CREATE,
    OPTION_USER_SESSIONS, /* in the order of enum user_quota */
    OPTION_USER_POOLS,
    OPTION_USER_BYTES,
    OPTION_USER_WAITERS,
    OPTION_EXIT_IDLE,
    OPTION_CHECK,
    OPTION_PURGE,
    OPTION_RETRY,
    OPTION_LOG_LEVEL,
    OPTION_VERSION,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"instance", required_argument, NULL, OPTION_INSTANCE},
    {"user", no_argument, NULL, OPTION_USER},
    {"create", required_argument, NULL, OPTION_CREATE},
    {"user-sessions", required_argument, NULL, OPTION_USER_SESSIONS},
    {"user-pools", required_argument, NULL, OPTION_USER_POOLS},
    {"user-bytes", required_argument, NULL, OPTION_USER_BYTES},
    {"user-waiters", required_argument, NULL, OPTION_USER_WAITERS},
    {"exit-idle", required_argument, NULL, OPTION_EXIT_IDLE},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"purge", no_argument, NULL, OPTION_PURGE},
    {"retry", no_argument, NULL, OPTION_RETRY},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

/* A group's name, or its number, of digits alone. */
static bool find_group(const char *text, gid_t *gid)
{
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
        const struct group *group = getgrnam(text);
        if (group)
            *gid = group->gr_gid;
        return group;
    }
    errno = 0;
    unsigned long number = strtoul(text, NULL, 10);
    *gid = (gid_t)number;
    return errno == 0 && number < (gid_t)-1; /* which chown() takes for none */
}

static enum options_result parse_create(struct options *options, const char *text)
{
    struct create_rule rule = {.text = text};
    if (strcmp(text, "anyone") == 0) {
        rule.creators = CREATORS_ANYONE;
    } else if (strcmp(text, "owner") == 0) {
        rule.creators = CREATORS_OWNER;
    } else if (strncmp(text, GROUP_PREFIX, strlen(GROUP_PREFIX)) != 0) {
        fprintf(stderr, "fastallocd: --create takes anyone, owner or group:NAME-or-GID, not '%s'\n",
                text);
        return OPTIONS_USAGE;
    } else if (find_group(text + strlen(GROUP_PREFIX), &rule.gid)) {
        rule.creators = CREATORS_GROUP;
    } else {
        fprintf(stderr, "fastallocd: --create takes a group of this machine, not '%s'\n",
                text + strlen(GROUP_PREFIX));
        return OPTIONS_USAGE;
    }
    options->create = rule;
    return OPTIONS_RUN;
}

/* A number, of digits and perhaps one of K, M, G and T. */
static bool parse_amount(const char *text, uint64_t *amount)
{
    static const char units[] = "KMGT";
    size_t digits = strspn(text, "0123456789");
    const char *unit = strchr(units, text[digits]);
    unsigned shift = text[digits] == '\0' ? 0 : unit ? 10 * (unsigned)(unit - units + 1) : 64;
    errno = 0;
    uint64_t number = strtoull(text, NULL, 10);
    if (digits == 0 || errno != 0 || shift == 64 || (shift > 0 && text[digits + 1] != '\0') ||
        number > UINT64_MAX >> shift)
        return false;
    *amount = number << shift;
    return true;
}

static enum options_result parse_user_max(struct options *options, int option, const char *text)
{
    if (parse_amount(text, &options->user_max[USER_SESSIONS + option - OPTION_USER_SESSIONS]))
        return OPTIONS_RUN;
    fprintf(stderr, "fastallocd: --%s takes a number, as in 100, 512M or 2G, not '%s'\n",
            long_options[option].name, text);
    return OPTIONS_USAGE;
}

static enum options_result parse_exit_idle(struct options *options, const char *text)
{
    char *end;
    errno = 0;
    long seconds = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || seconds < 0 || seconds > EXIT_IDLE_MAX) {
        fprintf(stderr, "fastallocd: --exit-idle takes seconds, 0 to %ld, not '%s'\n",
                EXIT_IDLE_MAX, text);
        return OPTIONS_USAGE;
    }
    options->exit_idle = seconds;
    return OPTIONS_RUN;
}

static enum options_result parse_log_level(struct options *options, const char *text)
{
    int level = log_level_parse(text);
    if (level < 0) {
        fprintf(stderr, "fastallocd: --log-level takes error, warning, info or debug, not '%s'\n",
                text);
        return OPTIONS_USAGE;
    }
    options->log_level = (enum log_level)level;
    return OPTIONS_RUN;
}

static enum options_result print_and_finish(const char *text)
{
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? OPTIONS_USAGE : OPTIONS_DONE;
}

static enum options_result take_option(struct options *options, int option)
{
    switch (option) {
    case OPTION_SOCKET:
        options->socket = optarg;
        return OPTIONS_RUN;
    case OPTION_INSTANCE:
        options->instance = optarg;
        return OPTIONS_RUN;
    case OPTION_USER:
        options->user = true;
        return OPTIONS_RUN;
    case OPTION_CREATE:
        return parse_create(options, optarg);
    case OPTION_USER_SESSIONS:
    case OPTION_USER_POOLS:
    case OPTION_USER_BYTES:
    case OPTION_USER_WAITERS:
        return parse_user_max(options, option, optarg);
    case OPTION_EXIT_IDLE:
        return parse_exit_idle(options, optarg);
    case OPTION_PURGE:
        options->purge = true;
        return OPTIONS_RUN;
    case OPTION_RETRY:
        options->retry = true;
        return OPTIONS_RUN;
    case OPTION_CHECK:
        options->check = true;
        return OPTIONS_RUN;
    case OPTION_LOG_LEVEL:
        return parse_log_level(options, optarg);
    case OPTION_VERSION:
        return print_and_finish("fastallocd " FASTALLOC_VERSION "\n");
    case OPTION_HELP:
        return print_and_finish(usage);
    default:
        fprintf(stderr, "Try 'fastallocd --help'.\n");
        return OPTIONS_USAGE;
    }
}

enum options_result options_parse(struct options *options, int argc, char *argv[])
{
    enum options_result result = OPTIONS_RUN;
    int option;

    *options = (struct options){.exit_idle = OPTIONS_NEVER, .log_level = LOG_LEVEL_INFO};
    for (enum user_quota quota = 0; quota < USER_QUOTAS; quota++)
        options->user_max[quota] = QUOTA_UNLIMITED;
    optind = 1;
    while (result == OPTIONS_RUN && (option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        result = take_option(options, option);

    if (result == OPTIONS_RUN && optind < argc) {
        fprintf(stderr, "fastallocd: '%s' is no option. Try 'fastallocd --help'.\n", argv[optind]);
        return OPTIONS_USAGE;
    }
    return result;
}
