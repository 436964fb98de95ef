/* SPDX-License-Identifier: MIT */
#include "daemon/broker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/demand.h"
#include "daemon/growing.h"
#include "daemon/leasing.h"
#include "daemon/listening.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "daemon/notice.h"
#include "daemon/strays.h"
#include "daemon/tally.h"
#include "shm/order.h"

/* ---- Limits ---------------------------------------------------------------------------------- */

bool broker_may_wait(const struct broker *broker, const struct session *session,
                     struct charge *waiting, struct error *error)
{
    bool all = broker->waiter_count >= BROKER_WAITERS;
    uint32_t limit = all ? BROKER_WAITERS : BROKER_SESSION_WAITERS;
    if (!all && session->waiter_count < limit)
        return user_charge(session->user, USER_WAITERS, 1, waiting, error);
    error_set(error, ERROR_LIMIT_EXCEEDED,
              "%" PRIu32 " requests of %s wait already, which is the limit; let some end first",
              limit, all ? "this instance" : "this session");
    error->max = limit;
    return false;
}

/* ---- Time ------------------------------------------------------------------------------------ */

void broker_set_time(struct broker *broker, int64_t now)
{
    if (now > broker->now)
        broker->now = now;
}

int64_t broker_deadline(const struct broker *broker, int64_t timeout)
{
    return timeout < 0 || timeout > DEADLINE_NEVER - broker->now ? DEADLINE_NEVER
                                                                 : broker->now + timeout;
}

int64_t broker_next_deadline(const struct broker *broker)
{
    return deadlines_next(&broker->deadlines);
}

void broker_pass_time(struct broker *broker)
{
    deadlines_pass(&broker->deadlines, broker->now, broker);
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

/* Who is to see who uses up the sessions must get one. */
struct user *broker_get_session_user(struct broker *broker, uid_t uid)
{
    struct user *user = users_get(&broker->users, uid);
    if (user && access_may_everything(uid, broker->uid))
        user->quotas[USER_SESSIONS].max = QUOTA_UNLIMITED;
    return user;
}

void broker_add_session(struct broker *broker, struct session *session, struct user *user)
{
    session->user = user;
    TAILQ_INSERT_TAIL(&broker->sessions, session, in_broker);
    broker->session_count++;
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
    struct user *user = broker_get_session_user(broker, peer->uid);
    struct charge counted = CHARGE_NONE;
    struct session *new;
    int status = user ? 0 : -ENOMEM;
    bool allowed = user && user_charge(user, USER_SESSIONS, 1, &counted, error);
    if (allowed)
        status = session_new(&new, entry, peer, name, witnessed);
    if (!allowed || status < 0) {
        charge_deinit(&counted);
        user_put(user);
        registry_set_state(&entry->state, REGISTRY_FREE);
        return status < 0 ? refuse_session(status, error) : false;
    }
    charge_move(&counted, &new->counted);
    new->connection = new->keeper = connection;
    broker_add_session(broker, new, user);
    *session = new;
    return true;
}

void broker_disconnect(struct broker *broker, struct session *session)
{
    struct membership *membership;

    session->connection = NULL;
    listening_forget(broker, session);
    growing_forget(broker, session);
    demand_cancel(broker, session, NULL, 0, NULL);
    /* Only now that none of its own is left there. */
    LIST_FOREACH (membership, &session->memberships, in_session)
        demand_serve(broker, membership->pool);
}

struct session *broker_find_session(const struct broker *broker, uint64_t id)
{
    struct session *session;
    TAILQ_FOREACH (session, &broker->sessions, in_broker)
        if (session->id == id)
            return session;
    return NULL;
}

void broker_resume(struct broker *broker, struct session *session, const struct peer *peer,
                   void *connection)
{
    if (session->connection)
        broker_disconnect(broker, session);
    broker->rim.let_go(session->keeper);
    session_set_peer(session, peer);
    session->connection = session->keeper = connection;
    log_peer(LOG_LEVEL_INFO, "session resumed session=%" PRIu64 " pid=%d uid=%u", session->id,
             peer->pid, peer->uid);
}

/* The session's slots in the pool are free; whoever waits for some gets them. */
static uint32_t leave(struct broker *broker, struct session *session, struct membership *membership)
{
    struct pool *pool = membership->pool;
    bool wrote = membership->write;
    uint32_t freed = session_leave(session, membership, broker->now);
    if (wrote)
        notice_damage(broker, pool);
    demand_serve(broker, pool);
    return freed;
}

static void forget_session(struct session *session)
{
    charge_deinit(&session->counted);
    user_put(session->user);
    session_free(session);
}

static void remove_session(struct broker *broker, struct session *session)
{
    TAILQ_REMOVE(&broker->sessions, session, in_broker);
    broker->session_count--;
    session_remove(session);
    forget_session(session);
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
        struct layout_counters *counters = &pool->ctl->counters;
        uint32_t freed = leave(broker, session, membership);
        if (freed == 0)
            continue;
        tally_add(counters, &counters->reclaimed, freed);
        notice_event(broker, pool, EVENT_RECLAIMED, freed, session->id);
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
    remove_session(broker, session);
    return true;
}

void broker_withdraw_session(struct broker *broker, struct session *session)
{
    assert(session->membership_count == 0 && session->waiter_count == 0);
    remove_session(broker, session);
}

uint32_t broker_close_pool(struct broker *broker, struct session *session,
                           struct membership *membership)
{
    const struct pool *pool = membership->pool;
    struct error error;
    error_set(&error, ERROR_NOT_A_MEMBER, "this session closed pool '%s' while the request waited",
              pool->ctl->name);
    name_copy(error.pool, pool->ctl->name);
    demand_cancel(broker, session, pool, 0, &error);
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

static void on_long_held(void *context, struct deadline *deadline)
{
    struct broker *broker = context;
    struct pool *pool = (struct pool *)((char *)deadline - offsetof(struct pool, long_held));
    struct layout_counters *counters = &pool->ctl->counters;
    uint32_t first;
    leasing_check_held(broker, pool);
    uint32_t count = ages_count(&pool->ages, broker->now, &first);
    if (count > 0) {
        uint32_t holder = ledger_holder(&pool->ledger, first);
        uint64_t session = holder == SLOT_MEMBER_POOL ? 0 : pool_session(pool, holder);
        tally_add(counters, &counters->total_held_long, count);
        notice_event(broker, pool, EVENT_HELD_LONG, count, session);
    }
    tally_set(counters, &counters->held_long, pool->ages.too_long);
    deadline_set(&broker->deadlines, deadline, ages_next(&pool->ages));
}

static int64_t quiet_until(const struct pool *pool)
{
    int64_t after = (int64_t)pool->ctl->policy.trim_after;
    int64_t since = (int64_t)pool->ctl->counters.changed_at;
    if (after == 0 || since < pool->trimmed_at)
        return DEADLINE_NEVER;
    return after > DEADLINE_NEVER - since ? DEADLINE_NEVER : since + after;
}

/* The same with what members of a leased pool did meanwhile. Not too soon again, if they were busy. */
static int64_t look_whether_quiet(struct broker *broker, struct pool *pool)
{
    leasing_look(broker, pool);
    int64_t until = quiet_until(pool), pause = leasing_pause(pool);
    return until > broker->now && until - broker->now < pause ? broker->now + pause : until;
}

static void on_trim(void *context, struct deadline *deadline)
{
    struct broker *broker = context;
    struct pool *pool = (struct pool *)((char *)deadline - offsetof(struct pool, trim));
    int64_t until = quiet_until(pool);
    if (until <= broker->now)
        until = look_whether_quiet(broker, pool);
    if (until <= broker->now) {
        pool->trimmed_at = broker->now;
        broker_trim(broker, pool);
        until = quiet_until(pool);
    }
    deadline_set(&broker->deadlines, deadline, until);
}

uint64_t broker_trim(struct broker *broker, struct pool *pool)
{
    notice_damage(broker, pool);
    uint64_t bytes = pool_trim(pool, broker->now);
    if (bytes > 0)
        log_info("trimmed pool=%s bytes=%" PRIu64, pool->ctl->name, bytes);
    leasing_settle(broker, pool);
    return bytes;
}

/* Deadlines are set once and looked at when they pass: setting them at each change costs more. */
void broker_arm_pool(struct broker *broker, struct pool *pool)
{
    if (pool->long_held.at == DEADLINE_NEVER)
        deadline_set(&broker->deadlines, &pool->long_held, ages_next(&pool->ages));
    if (pool->trim.at == DEADLINE_NEVER)
        deadline_set(&broker->deadlines, &pool->trim, quiet_until(pool));
    leasing_arm(broker, pool);
}

static bool charge_pool(struct broker *broker, const struct pool_config *config,
                        const struct pool_plan *plan, struct pool *charged, struct error *error)
{
    charged->user = users_get(&broker->users, config->uid);
    if (!charged->user) {
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory for another pool");
        return false;
    }
    if (user_charge(charged->user, USER_POOLS, 1, &charged->counted, error) &&
        user_charge(charged->user, USER_BYTES, pool_planned_size(config, plan), &charged->bytes,
                    error))
        return true;
    charge_deinit(&charged->counted);
    user_put(charged->user);
    return false;
}

void broker_add_pool(struct broker *broker, struct pool *pool, struct registry_pool *entry)
{
    pool->entry = entry;
    pool->journal = &broker->journal;
    deadline_init(&pool->long_held, on_long_held);
    deadline_init(&pool->trim, on_trim);
    leasing_begin(pool);
    pool->trimmed_at = INT64_MIN;
    broker_arm_pool(broker, pool);
    TAILQ_INSERT_TAIL(&broker->pools, pool, in_broker);
    broker->pool_count++;
}

bool broker_create_pool(struct broker *broker, const struct pool_config *config, struct pool **pool,
                        struct error *error)
{
    struct pool charged = {.user = NULL};
    struct pool_plan plan;
    if (broker_find_pool(broker, config->name)) {
        error_set(error, ERROR_POOL_EXISTS,
                  "pool '%s' exists already; open it, or destroy it first", config->name);
        name_copy(error->pool, config->name);
        return false;
    }
    if (!pool_config_check(config, &plan, error) ||
        !charge_pool(broker, config, &plan, &charged, error))
        return false;
    struct registry_pool *entry = registry_add_pool(&broker->registry);
    journal_begin(&broker->journal, JOURNAL_CREATE, entry ? entry->id : 0, 0, NULL, 0);
    bool made = entry ? pool_create(config, entry->id, registry_nonce(&broker->registry),
                                    entry->key, broker->now, pool, error)
                      : refuse_pool(broker, error);
    if (!made) {
        journal_end(&broker->journal, false);
        if (entry)
            registry_set_state(&entry->state, REGISTRY_FREE);
        charge_deinit(&charged.counted);
        charge_deinit(&charged.bytes);
        user_put(charged.user);
        return false;
    }
    (*pool)->user = charged.user;
    charge_move(&charged.counted, &(*pool)->counted);
    charge_move(&charged.bytes, &(*pool)->bytes);
    broker_add_pool(broker, *pool, entry);
    registry_set_state(&entry->state, REGISTRY_READY);
    journal_end(&broker->journal, true);
    notice_usage(broker, *pool);
    return true;
}

void broker_release_pool(struct pool *pool)
{
    charge_deinit(&pool->bytes);
    charge_deinit(&pool->counted);
    user_put(pool->user);
    pool_free(pool);
}

/* What hangs on the pool but isn't its own. */
static void unhook_pool(struct broker *broker, struct pool *pool)
{
    deadline_set(&broker->deadlines, &pool->long_held, DEADLINE_NEVER);
    deadline_set(&broker->deadlines, &pool->trim, DEADLINE_NEVER);
    leasing_end(broker, pool);
    TAILQ_REMOVE(&broker->pools, pool, in_broker);
    broker->pool_count--;
}

uint32_t broker_destroy_pool(struct broker *broker, struct pool *pool)
{
    struct session *session;
    struct error error;

    leasing_look(broker, pool);
    uint32_t usage = pool_usage(pool);
    error_set(&error, ERROR_POOL_DESTROYED, "pool '%s' was destroyed while this request waited",
              pool->ctl->name);
    name_copy(error.pool, pool->ctl->name);
    journal_begin(&broker->journal, JOURNAL_DESTROY, pool->id, 0, NULL, 0);
    registry_set_state(&pool->entry->state, REGISTRY_ENDING);
    demand_refuse(broker, pool, &error);
    growing_refuse(broker, pool, &error);
    pool_destroy(pool);
    TAILQ_FOREACH (session, &broker->sessions, in_broker) {
        struct membership *membership = session_membership(session, pool->id);
        if (membership)
            session_forget(session, membership);
    }
    registry_set_state(&pool->entry->state, REGISTRY_FREE);
    journal_end(&broker->journal, true);
    unhook_pool(broker, pool);
    if (!broker->ending) /* nobody would hear of it */
        notice_event(broker, pool, EVENT_DESTROYED, usage, 0);
    pool->destroyed = true;
    if (!pool->growing.active)
        broker_release_pool(pool);
    return usage;
}

/* ---- Life ------------------------------------------------------------------------------------ */

int broker_init(struct broker *broker, const char *registry, const struct broker_rim *rim,
                int64_t now)
{
    *broker = (struct broker){.rim = *rim, .now = now, .uid = geteuid()};
    TAILQ_INIT(&broker->pools);
    TAILQ_INIT(&broker->sessions);
    TAILQ_INIT(&broker->listeners);
    users_init(&broker->users);
    int status = registry_open(&broker->registry, registry);
    if (status == -ENOENT || status == -ENODATA)
        status = registry_create(&broker->registry, registry);
    if (status == 0)
        journal_init(&broker->journal, &broker->registry);
    if (status == 0)
        events_init(&broker->events, &broker->registry.file->last_event);
    return status;
}

void broker_refuse_all(struct broker *broker)
{
    struct pool *pool;
    struct error error;
    broker->ending = true;
    error_set(&error, ERROR_SHUTTING_DOWN, "the daemon ended while this request waited");
    listening_refuse(broker, &error);
    TAILQ_FOREACH (pool, &broker->pools, in_broker) {
        demand_refuse(broker, pool, &error);
        growing_refuse(broker, pool, &error);
    }
}

static void end_sessions(struct broker *broker)
{
    struct session *session, *next;
    for (session = TAILQ_FIRST(&broker->sessions); session; session = next) {
        next = TAILQ_NEXT(session, in_broker);
        broker_end_session(broker, session);
    }
}

static bool is_in_use(struct broker *broker)
{
    struct pool *pool;
    TAILQ_FOREACH (pool, &broker->pools, in_broker) {
        leasing_look(broker, pool);
        if (pool_usage(pool) > 0)
            return true;
    }
    return broker->session_count > 0;
}

static void remove_pools(struct broker *broker)
{
    struct pool *pool;
    while ((pool = TAILQ_FIRST(&broker->pools)))
        broker_destroy_pool(broker, pool);
}

void broker_forget(struct broker *broker)
{
    struct session *session;
    struct membership *membership;
    struct pool *pool;

    while ((session = TAILQ_FIRST(&broker->sessions))) {
        while ((membership = LIST_FIRST(&session->memberships)))
            session_forget(session, membership);
        TAILQ_REMOVE(&broker->sessions, session, in_broker);
        forget_session(session);
    }
    while ((pool = TAILQ_FIRST(&broker->pools))) {
        unhook_pool(broker, pool);
        broker_release_pool(pool);
    }
    assert(broker->waiter_count == 0 && broker->job_count == 0);
    users_deinit(&broker->users);
    deadlines_deinit(&broker->deadlines);
    registry_close(&broker->registry);
}

bool broker_deinit(struct broker *broker, uint32_t *kept_pools, uint32_t *kept_sessions)
{
    broker->ending = true;
    journal_announce(&broker->journal, NULL, 0);
    end_sessions(broker);
    bool keep = is_in_use(broker);
    if (!keep) {
        remove_pools(broker);
        keep = strays_remove(broker->registry.file) < 0;
    }
    *kept_sessions = broker->session_count;
    *kept_pools = broker->pool_count;
    broker_forget(broker);
    return !keep;
}

/* ---- Laws ------------------------------------------------------------------------------------ */

static void check_session(const struct session *session)
{
    struct membership *membership;
    struct listener *listener;
    struct waiter *waiter;
    struct grower *grower;
    uint32_t memberships = 0, waiters = 0;

    LIST_FOREACH (membership, &session->memberships, in_session) {
        assert(pool_session(membership->pool, membership->member) == session->id);
        assert(membership->pool->accounts[membership->member]->session == session);
        memberships++;
    }
    LIST_FOREACH (waiter, &session->waiters, in_session) {
        assert(waiter->session == session && session->connection);
        assert(waiter->waiting.quota == &session->user->quotas[USER_WAITERS]);
        /* One that waits for a growth has no other end. */
        assert(!waiter->growth_only ||
               (waiter->pool->growing.active && waiter->deadline.at == DEADLINE_NEVER));
        waiters++;
    }
    LIST_FOREACH (listener, &session->listeners, in_session) {
        assert(listener->session == session && session->connection);
        assert(listener->waiting.quota == &session->user->quotas[USER_WAITERS]);
        waiters++;
    }
    LIST_FOREACH (grower, &session->growers, in_session) {
        assert(grower->session == session && session->connection);
        assert(grower->waiting.quota == &session->user->quotas[USER_WAITERS]);
        waiters++;
    }
    assert(memberships == session->membership_count && waiters == session->waiter_count);
}

static void check_pool(const struct pool *pool)
{
    const struct waiter *first = waitqueue_first(&pool->waiters);
    pool_check(pool);
    notice_check(pool);
    assert(!first || pool_room(pool, first->priority) < first->count);
    assert(pool->growing.active || TAILQ_EMPTY(&pool->growing.growers));
    assert(pool->growing.active || pool->growing.bytes.amount == 0);
    assert(!pool->destroyed);
    assert(pool->counted.amount == 1);
    assert(pool->bytes.amount == pool_size(pool));
}

/* Nothing is charged that isn't there; what grows, or is destroyed while it grew, still is. */
static void check_users(const struct broker *broker)
{
    const struct user *user;
    uint64_t sessions = 0, waiters = 0, pools = 0;
    const struct pool *pool;
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        pools++;
    LIST_FOREACH (user, &broker->users.list, in_users) {
        sessions += user->quotas[USER_SESSIONS].used;
        waiters += user->quotas[USER_WAITERS].used;
        pools -= user->quotas[USER_POOLS].used;
    }
    assert(sessions == broker->session_count && waiters == broker->waiter_count);
    assert(0 - pools <= broker->job_count);
}

void broker_check(const struct broker *broker)
{
    const struct session *session;
    const struct listener *listener;
    const struct grower *grower;
    const struct pool *pool;
    uint32_t sessions = 0, memberships = 0, members = 0, waiting = 0, waiters = 0;

    TAILQ_FOREACH (session, &broker->sessions, in_broker) {
        check_session(session);
        sessions++;
        memberships += session->membership_count;
        waiting += session->waiter_count;
    }
    TAILQ_FOREACH (pool, &broker->pools, in_broker) {
        check_pool(pool);
        members += pool->member_count;
        waiters += pool->waiters.count;
        TAILQ_FOREACH (grower, &pool->growing.growers, in_pool)
            waiters++;
    }
    TAILQ_FOREACH (listener, &broker->listeners, in_broker)
        waiters++;
    assert(sessions == broker->session_count && members == memberships);
    assert(waiting == waiters && waiters == broker->waiter_count);
    check_users(broker);
}
