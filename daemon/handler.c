/* SPDX-License-Identifier: MIT */
#include "daemon/handler.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/name.h"

/* ---- Refusals -------------------------------------------------------------------------------- */

struct error *call_refuse_pool(const struct call *call, enum error_code code, const char *name,
                               const char *what)
{
    struct error *error = error_set(&call->answer->error, code, "pool '%s' %s", name, what);
    name_copy(error->pool, name);
    return error;
}

void call_refuse_argument(const struct call *call, const char *field, const char *what)
{
    struct error *error = &call->answer->error;
    error_set(error, ERROR_INVALID_ARGUMENT, "field '%s' %s", field, what);
    name_copy(error->field, field);
}

/* ---- What a request names -------------------------------------------------------------------- */

struct pool *call_find_pool(const struct call *call, const char *name)
{
    struct pool *pool = broker_find_pool(call->broker, name);
    if (!pool)
        call_refuse_pool(call, ERROR_NO_SUCH_POOL, name,
                         "does not exist here; `fastallocctl pool list` shows those that do");
    return pool;
}

struct pool *call_find_own_pool(const struct call *call, const char *name)
{
    struct pool *pool = call_find_pool(call, name);
    if (!pool || access_is_allowed(pool->ctl, &call->caller->who, call->broker->uid, ACCESS_ADMIN))
        return pool;
    call_refuse_pool(call, ERROR_NOT_PERMITTED, name,
                     "may not be administered by this user; ask its owner, or for a mode with the "
                     "x bit");
    return NULL;
}

struct membership *call_find_membership(const struct call *call, uint32_t pool)
{
    struct membership *membership = session_membership(call->caller->session, pool);
    if (!membership)
        error_set(&call->answer->error, ERROR_NOT_A_MEMBER,
                  "this session hasn't opened pool %" PRIu32 ", or it was destroyed", pool);
    return membership;
}

struct membership *call_find_writer(const struct call *call, uint32_t pool)
{
    struct membership *membership = call_find_membership(call, pool);
    if (!membership || membership->write)
        return membership;
    call_refuse_pool(call, ERROR_NOT_A_MEMBER, membership->pool->ctl->name,
                     "was opened for reading only; open it for writing");
    return NULL;
}

/* ---- Answers --------------------------------------------------------------------------------- */

void call_drop_descriptors(const struct call *call)
{
    struct answer *answer = call->answer;
    while (answer->descriptor_count > 0)
        close(answer->descriptors[--answer->descriptor_count]);
}

bool call_add_descriptor(const struct call *call, int descriptor)
{
    struct answer *answer = call->answer;
    if (descriptor >= 0) {
        answer->descriptors[answer->descriptor_count++] = descriptor;
        return true;
    }
    error_set(&answer->error, ERROR_SYSTEM, "the daemon can't open a descriptor for this: %s",
              strerror(-descriptor));
    answer->error.system_error = (uint32_t)-descriptor;
    call_drop_descriptors(call);
    return false;
}

/* A negated errno instead. */
static int bell_descriptor(struct caller *caller)
{
    if (caller->bell < 0)
        caller->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int descriptor = caller->bell < 0 ? -1 : fcntl(caller->bell, F_DUPFD_CLOEXEC, 0);
    return descriptor < 0 ? -errno : descriptor;
}

bool call_add_bell(const struct call *call)
{
    return call_add_descriptor(call, bell_descriptor(call->caller));
}

bool call_conclude(const struct call *call, enum broker_outcome outcome)
{
    if (outcome == BROKER_WAITS)
        call->answer->kind = ANSWER_LATER;
    return outcome == BROKER_DONE;
}

bool call_is_repeated(const struct call *call, uint32_t change)
{
    struct registry_session *entry = call->caller->session->entry;
    if (journal_is_done(entry, change))
        return true;
    journal_announce(&call->broker->journal, entry, change);
    return false;
}
