/* SPDX-License-Identifier: MIT */
/* Of the laws: whether what the instance keeps obeys them. */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/access.h"
#include "daemon/audit.h"
#include "daemon/handler.h"

struct kept {
    struct check_finding *findings;
    uint32_t count;
};

/* Where the next finding goes: violations take the place of notes. */
static struct check_finding *find_room(struct kept *kept, bool violation)
{
    if (kept->count < PROTOCOL_LIST_MAX)
        return &kept->findings[kept->count++];
    for (uint32_t i = kept->count; violation && i-- > 0;)
        if (!kept->findings[i].violation)
            return &kept->findings[i];
    return NULL;
}

static void keep(void *context, enum audit_kind kind, const char *text)
{
    struct check_finding *finding = find_room(context, kind == AUDIT_VIOLATION);
    if (!finding)
        return;
    finding->violation = kind == AUDIT_VIOLATION;
    snprintf(finding->text, sizeof(finding->text), "%s", text);
}

bool on_check(const struct call *call, const struct check_request *request,
              struct check_reply *reply)
{
    struct kept kept = {.findings = call->dispatch->findings};
    struct audit audit = {.live = true, .report = keep, .context = &kept};
    (void)request;
    if (!access_may_everything(call->caller->who.peer.uid, call->broker->uid)) {
        error_set(&call->answer->error, ERROR_NOT_PERMITTED,
                  "only root and uid %" PRIu32
                  ", as whom the daemon runs, may check it: it takes a look at every slot",
                  call->broker->uid);
        return false;
    }
    audit_broker(&audit, call->broker);
    *reply = (struct check_reply){
        .pools = audit.pools,
        .sessions = audit.sessions,
        .slots = audit.slots,
        .violations = audit.violations,
        .notes = audit.notes,
        .findings = {kept.findings, kept.count},
    };
    return true;
}
