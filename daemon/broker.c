/* SPDX-License-Identifier: MIT */
#include "daemon/broker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/name.h"
#include "shm/order.h"

/* ---- Waiting --------------------------------------------------------------------------------- */

static void remove_waiter(struct broker *broker, struct waiter *waiter)
{
    deadlines_remove(&broker->deadlines, waiter);
    TAILQ_REMOVE(&waiter->pool->waiters, waiter, in_pool);
    LIST_REMOVE(waiter, in_session);
    waiter->pool->waiter_count--;
    waiter->session->waiter_count--;
    broker->waiter_count--;
}

static void answer_waiter(struct broker *broker, struct waiter *waiter,
                          const struct allocate_reply *reply, const struct error *error)
{
    remove_waiter(broker, waiter);
    broker->answer(waiter->session->connection, waiter->msgid, reply, error);
    free(waiter);
}

static void allocate_now(struct broker *broker, struct pool *pool, uint32_t member,
                         uint64_t request, uint32_t count, struct allocate_reply *reply)
{
    pool_allocate(pool, member, request, count, broker->handles);
    reply->handles = (struct bytes){broker->handles, (size_t)count * HANDLE_WIRE_SIZE};
}

/* Slots came free, or a request left the queue: whoever is first in it and fits, gets. */
static void serve(struct broker *broker, struct pool *pool)
{
    struct waiter *waiter;
    while ((waiter = TAILQ_FIRST(&pool->waiters)) && pool_has_room(pool, waiter->count)) {
        struct allocate_reply reply;
        allocate_now(broker, pool, waiter->member, waiter->request, waiter->count, &reply);
        answer_waiter(broker, waiter, &reply, NULL);
    }
}

static void fill_exhausted(struct error *error, const struct pool *pool, uint32_t count)
{
    name_copy(error->pool, pool->ctl->name);
    error->capacity = pool_capacity(pool);
    error->allocated = pool_usage(pool);
    error->requested = count;
    error->waiters = pool->waiter_count;
}

static void set_exhausted(struct error *error, const struct pool *pool, uint32_t count)
{
    uint32_t capacity = pool_capacity(pool), usage = pool_usage(pool);
    const char *advice = count > capacity
                             ? "it never has that many; ask for fewer or make a larger pool"
                         : pool->waiter_count > 0
                             ? "others wait for what is left; free objects or wait with a timeout"
                             : "free objects, wait with a timeout, or make a larger pool";
    error_set(error, ERROR_POOL_EXHAUSTED,
              "pool '%s' is exhausted: %" PRIu32 " of %" PRIu32 " slots allocated, %" PRIu32
              " asked for, %" PRIu32 " requests waiting; %s",
              pool->ctl->name, usage, capacity, count, pool->waiter_count, advice);
    fill_exhausted(error, pool, count);
}

static void set_timeout(struct error *error, const struct waiter *waiter)
{
    const struct pool *pool = waiter->pool;
    error_set(error, ERROR_TIMEOUT,
              "pool '%s' had no room for %" PRIu32 " slots in time: %" PRIu32 " of %" PRIu32
              " allocated; free objects, wait longer, or make a larger pool",
              pool->ctl->name, waiter->count, pool_usage(pool), pool_capacity(pool));
    fill_exhausted(error, pool, waiter->count);
    error->waiters--; /* without this one */
}

static bool may_wait(const struct broker *broker, const struct session *session,
                     struct error *error)
{
    bool all = broker->waiter_count >= BROKER_WAITERS;
    uint32_t limit = all ? BROKER_WAITERS : BROKER_SESSION_WAITERS;
    if (!all && session->waiter_count < limit)
        return true;
    error_set(error, ERROR_LIMIT_EXCEEDED,
              "%" PRIu32 " requests of %s wait already, which is the limit; let some end first",
              limit, all ? "this instance" : "this session");
    error->max = limit;
    return false;
}

static enum broker_outcome wait_for_room(struct broker *broker, struct session *session,
                                         const struct waiter *wanted, struct error *error)
{
    if (!may_wait(broker, session, error))
        return BROKER_REFUSED;

    struct waiter *waiter = malloc(sizeof(*waiter));
    if (waiter)
        *waiter = *wanted;
    if (!waiter || deadlines_add(&broker->deadlines, waiter) < 0) {
        free(waiter);
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory to let a request wait");
        return BROKER_REFUSED;
    }
    TAILQ_INSERT_TAIL(&waiter->pool->waiters, waiter, in_pool);
    LIST_INSERT_HEAD(&session->waiters, waiter, in_session);
    waiter->pool->waiter_count++;
    session->waiter_count++;
    broker->waiter_count++;
    return BROKER_WAITS;
}

static int64_t deadline_of(int64_t now, int64_t timeout)
{
    return timeout < 0 || timeout > WAITER_FOREVER - now ? WAITER_FOREVER : now + timeout;
}

enum broker_outcome broker_allocate(struct broker *broker, struct session *session,
                                    const struct membership *membership,
                                    const struct allocate_request *request, uint32_t msgid,
                                    int64_t now, struct allocate_reply *reply, struct error *error)
{
    struct pool *pool = membership->pool;
    uint32_t count = request->count ? request->count : 1;

    if (TAILQ_EMPTY(&pool->waiters) && pool_has_room(pool, count)) {
        allocate_now(broker, pool, membership->member, request->request, count, reply);
        return BROKER_DONE;
    }
    if (request->timeout == 0 || count > pool_capacity(pool)) {
        pool_count_failure(pool, false);
        set_exhausted(error, pool, count);
        return BROKER_REFUSED;
    }
    struct waiter wanted = {
        .deadline = deadline_of(now, request->timeout),
        .pool = pool,
        .session = session,
        .member = membership->member,
        .count = count,
        .request = request->request,
        .msgid = msgid,
    };
    return wait_for_room(broker, session, &wanted, error);
}

bool broker_free(struct broker *broker, const struct membership *membership,
                 const struct bytes *handles, struct error *error)
{
    uint32_t count = (uint32_t)(handles->size / HANDLE_WIRE_SIZE);
    if (!pool_free_handles(membership->pool, handles->data, count, error))
        return false;
    serve(broker, membership->pool);
    return true;
}

int64_t broker_next_deadline(const struct broker *broker)
{
    const struct waiter *first = deadlines_first(&broker->deadlines);
    return first ? first->deadline : WAITER_FOREVER;
}

void broker_expire(struct broker *broker, int64_t now)
{
    struct waiter *waiter;
    while ((waiter = deadlines_first(&broker->deadlines)) && waiter->deadline <= now) {
        struct pool *pool = waiter->pool;
        struct error error;
        pool_count_failure(pool, true);
        set_timeout(&error, waiter);
        answer_waiter(broker, waiter, NULL, &error);
        serve(broker, pool);
    }
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static bool refuse_session(int status, struct error *error)
{
    if (status == -ENOSPC) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), space = segment_space();
        if (page <= space)
            error_set(error, ERROR_SHARED_MEMORY_FULL,
                      "a session needs a file in /dev/shm, which takes no more; destroy pools, or "
                      "let it take more (mount -o remount,nr_inodes=... /dev/shm)");
        else
            error_set(error, ERROR_SHARED_MEMORY_FULL,
                      "a session needs one page of shared memory, /dev/shm has %" PRIu64
                      " bytes left; enlarge it or destroy pools",
                      space);
        error->needed = page;
        error->available = space;
    } else if (status == -ENOMEM) {
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory for another session");
    } else {
        error_set(error, ERROR_SYSTEM, "the session's witness could not be made: %s",
                  strerror(-status));
        error->system_error = (uint32_t)-status;
    }
    return false;
}

bool broker_begin_session(struct broker *broker, const struct peer *peer, const char *name,
                          bool witnessed, void *connection, struct session **session,
                          struct error *error)
{
    struct registry_session *entry = registry_add_session(&broker->registry, peer->uid);
    if (!entry) {
        error_set(error, ERROR_LIMIT_EXCEEDED,
                  "the daemon has %u sessions, which is its limit; let some end first",
                  REGISTRY_SESSIONS);
        error->max = REGISTRY_SESSIONS;
        return false;
    }
    struct session *new;
    int status = session_new(&new, entry, peer, name, witnessed);
    if (status < 0) {
        registry_set_state(&entry->state, REGISTRY_FREE);
        return refuse_session(status, error);
    }
    new->connection = connection;
    TAILQ_INSERT_TAIL(&broker->sessions, new, in_broker);
    broker->session_count++;
    *session = new;
    return true;
}

void broker_disconnect(struct broker *broker, struct session *session)
{
    struct waiter *waiter, *next;
    struct membership *membership;

    session->connection = NULL;
    for (waiter = LIST_FIRST(&session->waiters); waiter; waiter = next) {
        next = LIST_NEXT(waiter, in_session);
        remove_waiter(broker, waiter);
        free(waiter);
    }
    /* Only now that none of its own is left there. */
    LIST_FOREACH (membership, &session->memberships, in_session)
        serve(broker, membership->pool);
}

/* The session's slots in the pool are free; whoever waits for some gets them. */
static uint32_t leave(struct broker *broker, struct session *session, struct membership *membership)
{
    struct pool *pool = membership->pool;
    uint32_t freed = session_leave(session, membership);
    serve(broker, pool);
    return freed;
}

bool broker_end_session(struct broker *broker, struct session *session)
{
    struct membership *membership;
    uint32_t reclaimed = 0;

    assert(!session->connection);
    if (session_is_alive(session))
        return false;

    while ((membership = LIST_FIRST(&session->memberships))) {
        struct pool *pool = membership->pool;
        uint32_t freed = leave(broker, session, membership);
        pool_count_reclaimed(pool, freed);
        reclaimed += freed;
    }
    if (reclaimed > 0) {
        char name[LOG_QUOTED_SIZE];
        log_peer(LOG_LEVEL_INFO,
                 "session ended, its slots are free again session=%" PRIu64
                 " name=%s pid=%d uid=%u slots=%" PRIu32,
                 session->id, log_quote(session->name, name), session->peer.pid, session->peer.uid,
                 reclaimed);
    }
    TAILQ_REMOVE(&broker->sessions, session, in_broker);
    broker->session_count--;
    session_remove(session);
    session_free(session);
    return true;
}

static void cancel_waiters(struct broker *broker, struct session *session, const struct pool *pool)
{
    struct waiter *waiter, *next;
    struct error error;
    error_set(&error, ERROR_NOT_A_MEMBER, "this session closed pool '%s' while the request waited",
              pool->ctl->name);
    name_copy(error.pool, pool->ctl->name);
    for (waiter = LIST_FIRST(&session->waiters); waiter; waiter = next) {
        next = LIST_NEXT(waiter, in_session);
        if (waiter->pool == pool)
            answer_waiter(broker, waiter, NULL, &error);
    }
}

uint32_t broker_close_pool(struct broker *broker, struct session *session,
                           struct membership *membership)
{
    cancel_waiters(broker, session, membership->pool);
    return leave(broker, session, membership);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

struct pool *broker_find_pool(const struct broker *broker, const char *name)
{
    struct pool *pool;
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        if (strcmp(pool->ctl->name, name) == 0)
            return pool;
    return NULL;
}

static bool refuse_pool(const struct broker *broker, struct error *error)
{
    if (registry_has_numbers(&broker->registry)) {
        error_set(error, ERROR_LIMIT_EXCEEDED,
                  "the daemon has %u pools, which is its limit; destroy some first",
                  REGISTRY_POOLS);
        error->max = REGISTRY_POOLS;
    } else {
        error_set(error, ERROR_LIMIT_EXCEEDED,
                  "the daemon has no numbers left for pools, which aren't used twice; start it "
                  "again");
        error->max = UINT32_MAX;
    }
    return false;
}

bool broker_create_pool(struct broker *broker, const struct pool_config *config, struct pool **pool,
                        struct error *error)
{
    if (broker_find_pool(broker, config->name)) {
        error_set(error, ERROR_POOL_EXISTS,
                  "pool '%s' exists already; open it, or destroy it first", config->name);
        name_copy(error->pool, config->name);
        return false;
    }
    struct registry_pool *entry = registry_add_pool(&broker->registry);
    if (!entry)
        return refuse_pool(broker, error);
    if (!pool_create(config, entry->id, registry_nonce(&broker->registry), entry->key, pool,
                     error)) {
        registry_set_state(&entry->state, REGISTRY_FREE);
        return false;
    }
    (*pool)->entry = entry;
    TAILQ_INSERT_TAIL(&broker->pools, *pool, in_broker);
    registry_set_state(&entry->state, REGISTRY_READY);
    return true;
}

static void refuse_waiters(struct broker *broker, struct pool *pool, const struct error *error)
{
    struct waiter *waiter, *next;
    for (waiter = TAILQ_FIRST(&pool->waiters); waiter; waiter = next) {
        next = TAILQ_NEXT(waiter, in_pool);
        answer_waiter(broker, waiter, NULL, error);
    }
}

uint32_t broker_destroy_pool(struct broker *broker, struct pool *pool)
{
    uint32_t usage = pool_usage(pool);
    struct session *session;
    struct error error;

    error_set(&error, ERROR_POOL_DESTROYED, "pool '%s' was destroyed while this request waited",
              pool->ctl->name);
    name_copy(error.pool, pool->ctl->name);
    registry_set_state(&pool->entry->state, REGISTRY_ENDING);
    refuse_waiters(broker, pool, &error);
    pool_destroy(pool);
    TAILQ_FOREACH (session, &broker->sessions, in_broker) {
        struct membership *membership = session_membership(session, pool->id);
        if (membership)
            session_forget(session, membership);
    }
    registry_set_state(&pool->entry->state, REGISTRY_FREE);
    TAILQ_REMOVE(&broker->pools, pool, in_broker);
    pool_free(pool);
    return usage;
}

/* ---- Life ------------------------------------------------------------------------------------ */

int broker_init(struct broker *broker, const char *registry, broker_answer answer)
{
    *broker = (struct broker){.answer = answer, .uid = geteuid()};
    TAILQ_INIT(&broker->pools);
    TAILQ_INIT(&broker->sessions);
    return registry_create(&broker->registry, registry);
}

void broker_refuse_all(struct broker *broker)
{
    struct pool *pool;
    struct error error;
    error_set(&error, ERROR_SHUTTING_DOWN, "the daemon ended while this request waited");
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        refuse_waiters(broker, pool, &error);
}

static void end_sessions(struct broker *broker)
{
    struct session *session, *next;
    for (session = TAILQ_FIRST(&broker->sessions); session; session = next) {
        next = TAILQ_NEXT(session, in_broker);
        broker_end_session(broker, session);
    }
}

static bool is_in_use(const struct broker *broker)
{
    struct pool *pool;
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        if (pool_usage(pool) > 0)
            return true;
    return broker->session_count > 0;
}

static void remove_pools(struct broker *broker)
{
    struct pool *pool;
    while ((pool = TAILQ_FIRST(&broker->pools)))
        broker_destroy_pool(broker, pool);
}

/* Frees what this process knows of it; the objects and the registry stay. */
static void forget_all(struct broker *broker)
{
    struct session *session;
    struct membership *membership;
    struct pool *pool;

    while ((session = TAILQ_FIRST(&broker->sessions))) {
        while ((membership = LIST_FIRST(&session->memberships)))
            session_forget(session, membership);
        TAILQ_REMOVE(&broker->sessions, session, in_broker);
        session_free(session);
    }
    while ((pool = TAILQ_FIRST(&broker->pools))) {
        TAILQ_REMOVE(&broker->pools, pool, in_broker);
        pool_free(pool);
    }
}

bool broker_deinit(struct broker *broker, uint32_t *kept_pools, uint32_t *kept_sessions)
{
    struct pool *pool;

    end_sessions(broker);
    bool keep = is_in_use(broker);
    if (!keep)
        remove_pools(broker);
    *kept_sessions = broker->session_count;
    *kept_pools = 0;
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        ++*kept_pools;
    forget_all(broker);
    assert(broker->waiter_count == 0);
    deadlines_deinit(&broker->deadlines);
    registry_close(&broker->registry);
    return !keep;
}

/* ---- Laws ------------------------------------------------------------------------------------ */

static void check_session(const struct session *session)
{
    struct membership *membership;
    struct waiter *waiter;
    uint32_t memberships = 0, waiters = 0;

    LIST_FOREACH (membership, &session->memberships, in_session) {
        assert(field_load(&membership->pool->members[membership->member]) == session->id);
        memberships++;
    }
    LIST_FOREACH (waiter, &session->waiters, in_session) {
        assert(waiter->session == session && session->connection);
        waiters++;
    }
    assert(memberships == session->membership_count && waiters == session->waiter_count);
}

void broker_check(const struct broker *broker)
{
    struct session *session;
    struct pool *pool;
    uint32_t sessions = 0, memberships = 0, members = 0, waiting = 0, waiters = 0;

    TAILQ_FOREACH (session, &broker->sessions, in_broker) {
        check_session(session);
        sessions++;
        memberships += session->membership_count;
        waiting += session->waiter_count;
    }
    TAILQ_FOREACH (pool, &broker->pools, in_broker) {
        struct waiter *first = TAILQ_FIRST(&pool->waiters);
        pool_check(pool);
        assert(!first || !pool_has_room(pool, first->count));
        members += pool->member_count;
        waiters += pool->waiter_count;
    }
    assert(sessions == broker->session_count && members == memberships);
    assert(waiting == waiters && waiters == broker->waiter_count);
}
