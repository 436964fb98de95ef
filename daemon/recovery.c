/* SPDX-License-Identifier: MIT */
#include "daemon/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attempt.h"
#include "daemon/notice.h"
#include "daemon/strays.h"

/* A pool of the registry's, while it is being taken over. */
struct candidate {
    struct registry_pool *entry;
    struct pool *pool; /* NULL: it is to be removed, and there is too little of it left to open */
};

struct candidates {
    struct candidate list[REGISTRY_POOLS];
    uint32_t count;
};

/* The sessions that were taken over, by their ids, which rise. */
struct sessions {
    struct session *list[REGISTRY_SESSIONS];
    uint32_t count;
};

static bool refuse(int status, const char *what, struct error *error)
{
    error_set(error, ERROR_SYSTEM, "%s: %s", what, strerror(-status));
    error->system_error = (uint32_t)-status;
    return false;
}

static bool refuse_registry(struct error *error)
{
    error_set(error, ERROR_SYSTEM, "the registry says what can't be");
    return false;
}

/* ---- Looking --------------------------------------------------------------------------------- */

static bool is_own_key(const struct registry_file *file, const uint8_t key[SEGMENT_KEY_SIZE])
{
    return memcmp(key, &file->prefix, sizeof(file->prefix)) == 0;
}

static int compare_pools(const void *a, const void *b)
{
    const struct candidate *one = a, *other = b;
    return (one->entry->id > other->entry->id) - (one->entry->id < other->entry->id);
}

/* In the order in which they were made. */
static bool list_pools(struct broker *broker, struct candidates *candidates, struct error *error)
{
    struct registry_file *file = broker->registry.file;
    candidates->count = 0;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++) {
        struct registry_pool *entry = &file->pools[i];
        if (entry->state == REGISTRY_FREE)
            continue;
        if (entry->state > REGISTRY_ENDING || entry->id == 0 || entry->id > file->last_pool ||
            !is_own_key(file, entry->key))
            return refuse_registry(error);
        candidates->list[candidates->count++] = (struct candidate){.entry = entry};
    }
    qsort(candidates->list, candidates->count, sizeof(candidates->list[0]), compare_pools);
    for (uint32_t i = 1; i < candidates->count; i++)
        if (candidates->list[i].entry->id == candidates->list[i - 1].entry->id)
            return refuse_registry(error);
    return true;
}

/*
 * Of a pool whose destruction is under way some objects may be gone; of one whose making is, none
 * may be there yet.
 */
static bool take_over(const struct broker *broker, struct candidate *candidate, struct error *error)
{
    struct registry_pool *entry = candidate->entry;
    if (entry->state == REGISTRY_MAKING)
        return true;
    bool ending = entry->state == REGISTRY_ENDING;
    bool taken = pool_take_over(entry->id, registry_nonce(&broker->registry), entry->key, ending,
                                &candidate->pool, error);
    return taken || (ending && error->system_error == ENOENT);
}

static bool take_over_all(const struct broker *broker, struct candidates *candidates,
                          struct error *error)
{
    for (uint32_t i = 0; i < candidates->count; i++)
        if (!take_over(broker, &candidates->list[i], error))
            return false;
    return true;
}

static void let_go(struct candidates *candidates)
{
    for (uint32_t i = 0; i < candidates->count; i++)
        pool_free(candidates->list[i].pool);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static int compare_sessions(const void *a, const void *b)
{
    const struct registry_session *const *one = a, *const *other = b;
    return ((*one)->id > (*other)->id) - ((*one)->id < (*other)->id);
}

/* In the order in which they began. Returns how many; UINT32_MAX if they can't be. */
static uint32_t list_sessions(struct registry_file *file,
                              struct registry_session *sessions[REGISTRY_SESSIONS])
{
    uint32_t count = 0;
    if (file->last_session >= LAYOUT_MEMBER_WRITES) /* where they stand there is no more room */
        return UINT32_MAX;
    if (file->last_event > INT64_MAX) /* nobody can have counted that far */
        return UINT32_MAX;
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++) {
        struct registry_session *entry = &file->sessions[i];
        if (entry->state == REGISTRY_FREE)
            continue;
        if (entry->state != REGISTRY_READY || entry->id == 0 || entry->id > file->last_session ||
            !is_own_key(file, entry->witness))
            return UINT32_MAX;
        sessions[count++] = entry;
    }
    qsort(sessions, count, sizeof(struct registry_session *), compare_sessions);
    for (uint32_t i = 1; i < count; i++)
        if (sessions[i]->id == sessions[i - 1]->id)
            return UINT32_MAX;
    return count;
}

static int recover_session(struct broker *broker, struct registry_session *entry,
                           struct sessions *sessions)
{
    struct user *user = broker_get_session_user(broker, entry->uid);
    struct session *session;
    if (!user || session_recover(&session, entry) < 0) {
        user_put(user);
        return -ENOMEM;
    }
    charge_put(&session->counted, &user->quotas[USER_SESSIONS], 1);
    broker_add_session(broker, session, user);
    sessions->list[sessions->count++] = session;
    return 0;
}

static bool recover_sessions(struct broker *broker, struct sessions *sessions, struct error *error)
{
    static struct registry_session *entries[REGISTRY_SESSIONS];
    uint32_t count = list_sessions(broker->registry.file, entries);
    sessions->count = 0;
    if (count == UINT32_MAX)
        return refuse_registry(error);
    for (uint32_t i = 0; i < count; i++)
        if (recover_session(broker, entries[i], sessions) < 0)
            return refuse(-ENOMEM, "sessions can't be taken over", error);
    return true;
}

static int compare_to_session(const void *key, const void *element)
{
    const uint64_t *id = key;
    const struct session *const *session = element;
    return (*id > (*session)->id) - (*id < (*session)->id);
}

/* Each member of each pool is looked for. */
static struct session *find_session(const struct sessions *sessions, uint64_t id)
{
    struct session *const *found =
        bsearch(&id, sessions->list, sessions->count, sizeof(struct session *), compare_to_session);
    return found ? *found : NULL;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* It was being made, or destroyed: nobody has been told of it, or nobody is to find it any more. */
static void remove_pool(struct candidate *candidate)
{
    if (candidate->pool)
        pool_destroy(candidate->pool);
    else
        store_unlink(candidate->entry->key);
    registry_set_state(&candidate->entry->state, REGISTRY_FREE);
    pool_free(candidate->pool);
    candidate->pool = NULL;
}

/* A member that no session is any more leaves as soon as its slots are known. */
static int rejoin(const struct sessions *sessions, struct pool *pool, uint32_t member)
{
    struct session *session = find_session(sessions, pool_session(pool, member));
    const struct membership *last = session ? LIST_FIRST(&session->memberships) : NULL;
    bool first = session && !(last && last->pool == pool); /* one pool comes after the other */
    return first ? session_rejoin(session, pool, member) : pool_rejoin(pool, member, 0);
}

static int rejoin_all(const struct sessions *sessions, struct pool *pool)
{
    int status = 0;
    for (uint32_t member = 1; status == 0 && member <= POOL_MEMBER_MAX; member++)
        if (pool_session(pool, member) != 0)
            status = rejoin(sessions, pool, member);
    return status;
}

static void leave_strangers(const struct broker *broker, struct pool *pool)
{
    for (uint32_t member = 1; member < pool->account_count; member++)
        if (pool->accounts[member] && !pool->accounts[member]->session)
            pool_leave(pool, member, broker->now);
}

static int charge_pool(struct broker *broker, struct pool *pool)
{
    pool->user = users_get(&broker->users, pool->ctl->uid);
    if (!pool->user)
        return -ENOMEM;
    charge_put(&pool->counted, &pool->user->quotas[USER_POOLS], 1);
    charge_put(&pool->bytes, &pool->user->quotas[USER_BYTES], pool_size(pool));
    return 0;
}

static bool recover_pool(struct broker *broker, const struct sessions *sessions,
                         struct candidate *candidate, struct error *error)
{
    struct pool *pool = candidate->pool;
    int status = rejoin_all(sessions, pool);
    if (status == 0)
        status = pool_recover(pool, broker->now);
    if (status == 0)
        status = charge_pool(broker, pool);
    if (status < 0)
        return refuse(status, pool->ctl->name, error);
    notice_resume(pool);
    leave_strangers(broker, pool);
    broker_add_pool(broker, pool, candidate->entry);
    notice_usage(broker, pool);
    notice_damage(broker, pool);
    candidate->pool = NULL;
    return true;
}

static bool recover_pools(struct broker *broker, const struct sessions *sessions,
                          struct candidates *candidates, struct recovery *recovery,
                          struct error *error)
{
    for (uint32_t i = 0; i < candidates->count; i++) {
        struct candidate *candidate = &candidates->list[i];
        if (candidate->entry->state != REGISTRY_READY) {
            remove_pool(candidate);
            recovery->removed++;
        } else if (!recover_pool(broker, sessions, candidate, error)) {
            return false;
        }
    }
    return true;
}

/* ---- The change that was under way ----------------------------------------------------------- */

static struct pool *find_pool(const struct broker *broker, uint32_t id)
{
    struct pool *pool;
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        if (pool->id == id)
            return pool;
    return NULL;
}

static bool is_operation(const struct journal *journal, const struct pool *pool)
{
    const struct registry_change *record = journal->record;
    return record->kind >= JOURNAL_OPERATE && record->kind <= JOURNAL_OPERATE + POOL_DETACH &&
           pool && record->count <= PROTOCOL_BATCH_MAX && journal_next(journal) < record->count &&
           record->member < pool->account_count && pool->accounts[record->member];
}

/* What was made is there, or what was destroyed is gone. */
static bool is_done(const struct registry_change *record, const struct pool *pool,
                    const struct registry_file *file)
{
    bool was = record->pool != 0 && record->pool <= file->last_pool;
    return (record->kind == JOURNAL_CREATE && pool) ||
           (record->kind == JOURNAL_DESTROY && was && !pool);
}

static bool finish_change(struct broker *broker, struct error *error)
{
    struct journal *journal = &broker->journal;
    const struct registry_change *record = journal->record;
    const struct session *session = broker_find_session(broker, record->session);
    struct pool *pool = find_pool(broker, record->pool);
    int status = 0;
    if (record->kind == JOURNAL_NONE)
        return true;
    journal_announce(journal, session ? session->entry : NULL, record->number);
    if (is_operation(journal, pool))
        status = pool_finish_change(pool, broker->now);
    else
        journal_end(journal, is_done(record, pool, broker->registry.file));
    journal_announce(journal, NULL, 0);
    return status == 0 || refuse(status, "what was under way can't be carried out", error);
}

/* ---- All of it ------------------------------------------------------------------------------- */

static uint32_t end_sessions(struct broker *broker)
{
    struct session *session, *next;
    uint32_t ended = 0;
    for (session = TAILQ_FIRST(&broker->sessions); session; session = next) {
        next = TAILQ_NEXT(session, in_broker);
        ended += broker_end_session(broker, session);
    }
    return ended;
}

static bool recover(struct broker *broker, struct recovery *recovery, struct error *error)
{
    static struct candidates candidates;
    static struct sessions sessions;
    bool done = list_pools(broker, &candidates, error) &&
                take_over_all(broker, &candidates, error) &&
                recover_sessions(broker, &sessions, error) &&
                recover_pools(broker, &sessions, &candidates, recovery, error) &&
                finish_change(broker, error);
    if (!done) {
        let_go(&candidates);
        return false;
    }
    recovery->ended = end_sessions(broker);
    recovery->pools = broker->pool_count;
    recovery->sessions = broker->session_count;
    recovery->strays = strays_remove(broker->registry.file);
    registry_note_boot(&broker->registry);
    return true;
}

/* Nothing is there of what is listed: the next daemon does the same, if this one doesn't come to its end. */
static bool begin_anew(struct broker *broker, struct recovery *recovery, struct error *error)
{
    if (!strays_went_with_machine(broker->registry.file))
        return true;
    int status = registry_empty(&broker->registry, &recovery->rebooted);
    return status == 0 || refuse(status, "after a start of the machine", error);
}

bool recovery_run(struct broker *broker, bool retry, struct recovery *recovery, struct error *error)
{
    uint32_t *failures = &broker->registry.file->failures;
    *recovery = (struct recovery){0};
    if (!begin_anew(broker, recovery, error))
        return false;
    if (!retry && *failures >= RECOVERY_FAILURES_MAX) {
        error_set(error, ERROR_SYSTEM, "it failed %u times, one after the other", *failures);
        return false;
    }
    attempt_begin(failures);
    broker->recovering = true;
    bool done = recover(broker, recovery, error);
    broker->recovering = false;
    attempt_end(done);
    return done;
}

/* ---- Purging --------------------------------------------------------------------------------- */

void recovery_purge(struct broker *broker, struct recovery *recovery)
{
    struct registry_file *file = broker->registry.file;
    *recovery = (struct recovery){0};
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++) {
        struct candidate candidate = {.entry = &file->pools[i]};
        struct error error;
        if (candidate.entry->state == REGISTRY_FREE)
            continue;
        if (candidate.entry->state == REGISTRY_READY) /* a daemon that starts amid this goes on */
            registry_set_state(&candidate.entry->state, REGISTRY_ENDING);
        take_over(broker, &candidate, &error);
        remove_pool(&candidate);
        recovery->pools++;
    }
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++) {
        struct registry_session *entry = &file->sessions[i];
        char name[SEGMENT_NAME_SIZE];
        if (entry->state == REGISTRY_FREE)
            continue;
        registry_witness_name(entry, name);
        segment_unlink(name);
        registry_set_state(&entry->state, REGISTRY_FREE);
        recovery->sessions++;
    }
    recovery->strays = strays_remove(file);
}
