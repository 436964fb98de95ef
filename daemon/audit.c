/* SPDX-License-Identifier: MIT */
#include "daemon/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/strays.h"
#include "proto/text.h"

/* ---- Findings -------------------------------------------------------------------------------- */

static void report(struct audit *audit, enum audit_kind kind, const char *format, va_list arguments)
{
    char text[AUDIT_TEXT_SIZE];
    vsnprintf(text, sizeof(text), format, arguments);
    if (kind == AUDIT_VIOLATION)
        audit->violations++;
    else
        audit->notes++;
    audit->report(audit->context, kind, text);
}

void audit_report(struct audit *audit, enum audit_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report(audit, kind, format, arguments);
    va_end(arguments);
}

void audit_under_way(struct audit *audit, const char *format, ...)
{
    char what[AUDIT_TEXT_SIZE - 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (audit->live)
        audit_report(audit, AUDIT_VIOLATION, "%s, and nobody is about to finish it", what);
    else
        audit_report(audit, AUDIT_NOTE, "%s; the next start finishes it", what);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

/* Sorts them. Each was given out once, and none above the last. */
static void judge_ids(struct audit *audit, const char *what, uint64_t *ids, uint32_t count,
                      uint64_t last)
{
    qsort(ids, count, sizeof(ids[0]), compare);
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == 0 || ids[i] > last)
            audit_report(audit, AUDIT_VIOLATION,
                         "registry: %s %" PRIu64 " was never given out, the last one is %" PRIu64,
                         what, ids[i], last);
        if (i > 0 && ids[i] == ids[i - 1])
            audit_report(audit, AUDIT_VIOLATION, "registry: %s %" PRIu64 " stands there twice",
                         what, ids[i]);
    }
}

int audit_find_session(const struct audit_sessions *sessions, uint64_t id)
{
    const uint64_t *found = bsearch(&id, sessions->ids, sessions->count, sizeof(id), compare);
    return found ? (int)(found - sessions->ids) : -1;
}

/* ---- The registry ---------------------------------------------------------------------------- */

/* What is zero to its end, or was never reached by the version, is a registry that was being made. */
static bool is_unfinished(const struct registry_file *file, uint64_t size)
{
    static const uint8_t blank[offsetof(struct registry_file, last_pool)];
    uint64_t head = size < sizeof(blank) ? size : sizeof(blank);
    if (size < sizeof(*file))
        return memcmp(file, blank, head) == 0;
    return file->version == 0;
}

static bool judge_head(struct audit *audit, const struct registry_file *file, uint64_t size)
{
    if (is_unfinished(file, size)) {
        audit_under_way(audit, "registry: it was being made, when there was nothing else yet");
        return false;
    }
    if (size != sizeof(*file) || file->magic != REGISTRY_MAGIC ||
        file->version != REGISTRY_VERSION) {
        audit_report(audit, AUDIT_VIOLATION,
                     "registry: it is none of version %u, which this fastallocd reads; the "
                     "version that wrote it can judge it",
                     REGISTRY_VERSION);
        return false;
    }
    if (strays_went_with_machine(file)) {
        audit_under_way(audit, "registry: the machine was started since, so that nothing that it "
                               "lists is there");
        return false;
    }
    if (file->nonce == 0 || file->nonce > UINT16_MAX)
        audit_report(audit, AUDIT_VIOLATION, "registry: its nonce %" PRIu32 " can't be one",
                     file->nonce);
    return true;
}

static void report_state(struct audit *audit, const char *what, uint64_t id, uint32_t state)
{
    audit_report(audit, AUDIT_VIOLATION,
                 "registry: %s %" PRIu64 " is in state %" PRIu32 ", which there isn't", what, id,
                 state);
}

static void judge_key(struct audit *audit, const struct registry_file *file, const char *what,
                      uint64_t id, const uint8_t key[SEGMENT_KEY_SIZE])
{
    if (memcmp(key, &file->prefix, sizeof(file->prefix)) != 0)
        audit_report(audit, AUDIT_VIOLATION,
                     "registry: the key of %s %" PRIu64 " doesn't begin as all of them do", what,
                     id);
}

static void judge_pools(struct audit *audit, const struct registry_file *file)
{
    uint64_t ids[REGISTRY_POOLS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++) {
        const struct registry_pool *pool = &file->pools[i];
        if (pool->state == REGISTRY_FREE)
            continue;
        if (pool->state > REGISTRY_ENDING)
            report_state(audit, "pool", pool->id, pool->state);
        judge_key(audit, file, "pool", pool->id, pool->key);
        ids[count++] = pool->id;
    }
    judge_ids(audit, "pool", ids, count, file->last_pool);
}

static void judge_session(struct audit *audit, const struct registry_file *file,
                          const struct registry_session *session)
{
    size_t length = strnlen(session->name, sizeof(session->name));
    if (session->state != REGISTRY_READY)
        report_state(audit, "session", session->id, session->state);
    judge_key(audit, file, "session", session->id, session->witness);
    if (length == sizeof(session->name) || !text_is_plain(session->name, length))
        audit_report(audit, AUDIT_VIOLATION, "registry: the name of session %" PRIu64 " is no text",
                     session->id);
}

static void judge_sessions(struct audit *audit, const struct registry_file *file,
                           struct audit_sessions *sessions)
{
    uint64_t ids[REGISTRY_SESSIONS];
    uint32_t count = 0;
    sessions->count = 0;
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++) {
        const struct registry_session *session = &file->sessions[i];
        if (session->state == REGISTRY_FREE)
            continue;
        judge_session(audit, file, session);
        ids[count++] = session->id;
        if (session->state == REGISTRY_READY)
            sessions->ids[sessions->count++] = session->id;
    }
    judge_ids(audit, "session", ids, count, file->last_session);
    qsort(sessions->ids, sessions->count, sizeof(sessions->ids[0]), compare);
    audit->sessions += count;
}

static void judge_change(struct audit *audit, const struct registry_change *change)
{
    if (change->kind == 0)
        return;
    audit_under_way(audit,
                    "registry: change %" PRIu32 " of session %" PRIu64 " in pool %" PRIu32
                    " was under way",
                    change->number, change->session, change->pool);
    if (change->count > PROTOCOL_BATCH_MAX)
        audit_report(audit, AUDIT_VIOLATION,
                     "registry: the change under way is of %" PRIu32
                     " handles, and %u are the most",
                     change->count, PROTOCOL_BATCH_MAX);
}

bool audit_registry(struct audit *audit, const struct registry_file *file, uint64_t size,
                    struct audit_sessions *sessions)
{
    if (!judge_head(audit, file, size))
        return false;
    judge_pools(audit, file);
    judge_sessions(audit, file, sessions);
    judge_change(audit, &file->change);
    return true;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static bool is_of_pool(const struct registry_file *file, const uint8_t key[SEGMENT_KEY_SIZE])
{
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        if (file->pools[i].state != REGISTRY_FREE &&
            memcmp(file->pools[i].key, key, SEGMENT_KEY_SIZE) == 0)
            return true;
    return false;
}

static bool is_of_session(const struct registry_file *file, const uint8_t key[SEGMENT_KEY_SIZE])
{
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++)
        if (file->sessions[i].state != REGISTRY_FREE &&
            memcmp(file->sessions[i].witness, key, SEGMENT_KEY_SIZE) == 0)
            return true;
    return false;
}

static bool is_pools(const char *part)
{
    for (enum store_object object = 0; object < STORE_OBJECTS; object++)
        if (strcmp(part, store_part(object)) == 0)
            return true;
    return false;
}

void audit_name(struct audit *audit, const struct registry_file *file, const char *name,
                const uint8_t key[SEGMENT_KEY_SIZE], const char *part)
{
    static const char shown[] = "abcdefghijklmnopqrstuvwxyz0123456789.";
    if (memcmp(key, &file->prefix, sizeof(file->prefix)) != 0)
        return;
    if (is_pools(part) ? !is_of_pool(file, key)
                       : strcmp(part, REGISTRY_WITNESS) != 0 || !is_of_session(file, key))
        audit_report(audit, AUDIT_VIOLATION,
                     "/dev/shm/%.*s is of this instance, but of nothing that it has; remove it",
                     (int)strspn(name, shown), name);
}
