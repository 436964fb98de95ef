/* SPDX-License-Identifier: MIT */
#include "daemon/checking.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/audit.h"
#include "daemon/log.h"

static void print_finding(void *context, enum audit_kind kind, const char *text)
{
    (void)context;
    printf("%s: %s\n", kind == AUDIT_VIOLATION ? "violation" : "note", text);
}

static enum checking_status judge(const struct instance *instance)
{
    struct audit audit = {.report = print_finding};
    int status = audit_instance(&audit, instance->registry);
    if (status == -ENOENT) {
        log_error("there is nothing of an instance of %s: no %s", instance->socket,
                  instance->registry);
        return CHECKING_IMPOSSIBLE;
    }
    if (status < 0) {
        log_error("cannot read %s: %s", instance->registry, strerror(-status));
        return CHECKING_IMPOSSIBLE;
    }
    printf("checked pools=%" PRIu64 " sessions=%" PRIu64 " slots=%" PRIu64 " violations=%" PRIu64
           " notes=%" PRIu64 "\n",
           audit.pools, audit.sessions, audit.slots, audit.violations, audit.notes);
    if (fflush(stdout) != 0) {
        log_error("cannot print what was found: %s", strerror(errno));
        return CHECKING_IMPOSSIBLE;
    }
    return audit.violations > 0 ? CHECKING_VIOLATED : CHECKING_SOUND;
}

enum checking_status checking_run(struct instance *instance)
{
    char text[INSTANCE_TEXT_SIZE];
    if (!instance_lock_remains(instance, text)) {
        log_error("%s; a daemon that runs is asked by `fastallocctl check`", text);
        return CHECKING_IMPOSSIBLE;
    }
    enum checking_status status = judge(instance);
    instance_unlock(instance, false);
    return status;
}
