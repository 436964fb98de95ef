/* SPDX-License-Identifier: MIT */
/*
 * The audit of an instance that is served: what stands in shared memory, and whether the broker's own
 * memory, which is derived from it, says the same. It counts everything anew, and follows none of the
 * broker's lists further than there can be elements.
 */
#include "daemon/audit.h"

#include <errno.h>
#include <inttypes.h>

#include "daemon/broker.h"
#include "shm/lease.h"
#include "shm/order.h"

/* ---- Pools: what there is of each member ----------------------------------------------------- */

struct counted {
    uint32_t granted; /* in the ledger */
    uint32_t held;    /* alone or with others */
    uint64_t waited;  /* its requests wait for, as the broker keeps them */
};

/* What is in shared memory of one pool, counted anew. */
struct recount {
    struct audit *audit;
    const struct pool *pool;
    uint32_t members;
    uint32_t evictable;
    uint32_t shared; /* slots */
    uint32_t holds;
    struct counted of[LAYOUT_MEMBERS];
};

static void must_be(const struct recount *recount, const char *what, uint64_t kept,
                    uint64_t counted)
{
    if (kept != counted)
        audit_report(recount->audit, AUDIT_VIOLATION,
                     "pool %" PRIu32 ": the daemon keeps %s as %" PRIu64
                     ", counted anew it is %" PRIu64,
                     recount->pool->id, what, kept, counted);
}

static void must_be_of(const struct recount *recount, uint32_t member, const char *what,
                       uint64_t kept, uint64_t counted)
{
    if (kept != counted)
        audit_report(recount->audit, AUDIT_VIOLATION,
                     "pool %" PRIu32 ": the daemon keeps %s of member %" PRIu32 " as %" PRIu64
                     ", counted anew it is %" PRIu64,
                     recount->pool->id, what, member, kept, counted);
}

static void count_slots(struct recount *recount)
{
    const struct pool *pool = recount->pool;
    for (uint32_t i = 0; i < pool_capacity(pool); i++) {
        uint64_t entry = ledger_entry(&pool->ledger, i);
        uint32_t member = layout_ledger_member(entry);
        bool shared =
            member == SLOT_MEMBER_POOL && slot_state(word_load(&pool->words[i])) == SLOT_SHARED;
        recount->of[member].granted++;
        recount->of[member].held += !shared;
        recount->shared += shared;
        recount->evictable += (entry & LAYOUT_EVICTABLE) != 0;
    }
    for (uint32_t at = 0; at < pool->holders.room; at++) {
        uint64_t hold = field_load(&pool->holders.entries[at]);
        recount->of[layout_ledger_member(hold)].held += hold != 0;
        recount->holds += hold != 0;
    }
}

static void count_waiters(struct recount *recount)
{
    const struct waiter *waiter;
    for (enum priority priority = 0; priority < PRIORITIES; priority++)
        TAILQ_FOREACH (waiter, &recount->pool->waiters.waiting[priority], in_pool)
            recount->of[waiter->member & SLOT_MEMBER_POOL].waited += waiter->count;
}

/* ---- Pools: what is kept --------------------------------------------------------------------- */

/* Whether the list holds together, from its first slot to its last, and each is the member's. */
static bool is_whole(const struct ledger *ledger, uint32_t member)
{
    const struct chain *chain = &ledger->chains[member];
    uint32_t previous = CHAIN_END, i = chain->first;
    for (uint32_t count = chain->count; count > 0; count--) {
        if (i >= ledger->fresh || ledger_holder(ledger, i) != member ||
            ledger->links[i].previous != previous)
            return false;
        previous = i;
        i = ledger->links[i].next;
    }
    return i == CHAIN_END && chain->last == previous;
}

static uint64_t retired(const struct pool *pool)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < pool->ledger.fresh && i < pool_capacity(pool); i++)
        count += pool->ledger.links[i].next == i;
    return count;
}

static void judge_ledger(const struct recount *recount)
{
    const struct ledger *ledger = &recount->pool->ledger;
    uint32_t capacity = ledger->capacity, free = recount->of[SLOT_MEMBER_NONE].granted;
    must_be(recount, "the slots that somebody has", ledger->held, capacity - free);
    must_be(recount, "the slots that nobody has",
            ledger_count(ledger, SLOT_MEMBER_NONE) + retired(recount->pool), free);
    for (uint32_t member = 0; member < ledger->chain_count; member++) {
        uint32_t count = ledger->chains[member].count;
        if (member != SLOT_MEMBER_NONE)
            must_be_of(recount, member, "the slots", count, recount->of[member].granted);
        if (!is_whole(ledger, member))
            audit_report(recount->audit, AUDIT_VIOLATION,
                         "pool %" PRIu32 ": the daemon has a broken list of the slots of "
                         "member %" PRIu32,
                         recount->pool->id, member);
    }
}

static void judge_account(const struct recount *recount, uint32_t member)
{
    const struct pool *pool = recount->pool;
    const struct pool_account *account = pool->accounts[member];
    uint64_t held = recount->of[member].held;
    must_be_of(recount, member, "the slots charged to the session", account->held.session.amount,
               held);
    must_be_of(recount, member, "the slots charged to the user", account->held.user.amount, held);
    must_be_of(recount, member, "the session's quota in use", account->quota.used,
               held + recount->of[member].waited);
    must_be_of(recount, member, "the session", account->session ? account->session->id : 0,
               pool_session(pool, member));
}

static void judge_members(struct recount *recount)
{
    const struct pool *pool = recount->pool;
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++) {
        bool known = member < pool->account_count && pool->accounts[member];
        bool is = pool_session(pool, member) != 0;
        recount->members += is;
        must_be_of(recount, member, "the membership", known, is);
        if (known && is)
            judge_account(recount, member);
    }
    must_be(recount, "the members", pool->member_count, recount->members);
}

/* What the sessions of each uid have together. */
static void judge_users(const struct recount *recount)
{
    const struct pool *pool = recount->pool;
    const struct user *user;
    LIST_FOREACH (user, &pool->users.list, in_users) {
        uint64_t used = 0;
        for (uint32_t member = 1; member < pool->account_count; member++)
            if (pool->accounts[member] && pool->accounts[member]->user == user)
                used += recount->of[member].held + recount->of[member].waited;
        must_be(recount, "a user's quota in use", user->quotas[USER_SLOTS].used, used);
    }
}

/* What the daemon saw last; members may have done more since, but can't undo a generation. */
static void judge_seen(const struct recount *recount)
{
    const struct pool *pool = recount->pool;
    uint64_t allocated = 0, back = 0;
    for (uint32_t i = 0; i < pool_capacity(pool); i++) {
        uint64_t seen = pool->lease.seen[i];
        allocated += slot_is_allocated(seen);
        back += slot_generation(word_load(&pool->words[i])) < slot_generation(seen);
    }
    must_be(recount, "the objects it saw", pool_usage(pool), allocated);
    must_be(recount, "no slot that went back to a generation", 0, back);
    if (pool->lease.damage > 0)
        audit_report(recount->audit, AUDIT_NOTE,
                     "pool %" PRIu32 ": its words or its size were damaged in %" PRIu32
                     " place%s since the daemon started; slots were put right, or out of use",
                     pool->id, pool->lease.damage, pool->lease.damage == 1 ? "" : "s");
}

static void judge_rest(const struct recount *recount)
{
    const struct pool *pool = recount->pool;
    const struct layout_ctl *ctl = pool->ctl;
    must_be(recount, "the capacity", pool_capacity(pool), field32_load(&ctl->capacity));
    must_be(recount, "the requests that wait", pool->waiters.count, ctl->counters.waiters);
    must_be(recount, "the objects held", pool->ages.held.count, ctl->counters.current_usage);
    must_be(recount, "those held for too long", pool->ages.too_long, ctl->counters.held_long);
    must_be(recount, "the evictable objects", pool->evictable.count, recount->evictable);
    must_be(recount, "the holds", holders_total(&pool->holders), recount->holds);
    must_be(recount, "the shared objects", holders_shared(&pool->holders), recount->shared);
    must_be(recount, "the bytes charged", pool->bytes.amount, pool_size(pool));
    must_be(recount, "the pools charged", pool->counted.amount, 1);
    must_be(recount, "the last epoch", pool->lease.number, field_load(&ctl->epochs));
    must_be(recount, "the epoch",
            pool->lease.tight ? lease_epoch(pool->lease.number, pool->lease.waiting) : 0,
            epoch_load(&ctl->waiters));
}

static void recount_pool(struct audit *audit, const struct pool *pool)
{
    struct recount recount = {.audit = audit, .pool = pool};
    count_slots(&recount);
    count_waiters(&recount);
    judge_ledger(&recount);
    judge_members(&recount);
    judge_users(&recount);
    judge_rest(&recount);
    if (pool_is_leased(pool))
        judge_seen(&recount);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* As the daemon has it mapped, which is protected already. */
static void set_content(struct audit_object *object, void *start, uint64_t size)
{
    object->start = start;
    object->mapped = object->size < size ? object->size : size;
}

static void look_at_pool(struct audit *audit, const struct broker *broker,
                         const struct audit_sessions *sessions, const struct pool *pool)
{
    const struct store *store = &pool->store;
    const struct geometry *geometry = &store->geometry;
    struct audit_subject subject = {.id = pool->entry->id,
                                    .nonce = broker->registry.file->nonce,
                                    .state = pool->entry->state,
                                    .sessions = sessions};
    struct audit_object *objects = subject.objects;
    for (enum store_object part = 0; part < STORE_OBJECTS; part++) {
        char name[SEGMENT_NAME_SIZE];
        store_name(store, part, name);
        objects[part] = audit_take_object(name, false);
    }
    set_content(&objects[STORE_CTL], store->ctl, geometry_ctl_size(geometry, geometry->reserve));
    set_content(&objects[STORE_SLOTS], store->slots,
                geometry_slots_size(geometry, geometry->reserve));
    set_content(&objects[STORE_HOLDERS], pool->holders.entries, holders_size(&pool->holders));
    audit_pool(audit, &subject);
}

static void judge_pools(struct audit *audit, const struct broker *broker,
                        const struct audit_sessions *sessions)
{
    const struct registry_file *file = broker->registry.file;
    const struct pool *pool;
    uint64_t known = 0, listed = 0;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        listed += file->pools[i].state != REGISTRY_FREE;
    TAILQ_FOREACH (pool, &broker->pools, in_broker) {
        known++;
        look_at_pool(audit, broker, sessions, pool);
        recount_pool(audit, pool);
    }
    if (known != listed)
        audit_report(audit, AUDIT_VIOLATION,
                     "the daemon has %" PRIu64 " pools, the registry %" PRIu64, known, listed);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static void judge_membership(struct audit *audit, const struct session *session,
                             const struct membership *membership)
{
    uint64_t entry = field_load(&membership->pool->store.members[membership->member]);
    if (entry != (session->id | (membership->write ? LAYOUT_MEMBER_WRITES : 0)))
        audit_report(audit, AUDIT_VIOLATION,
                     "pool %" PRIu32 ": session %" PRIu64 " has it open%s, and its member %" PRIu32
                     " is of session %" PRIu64 "%s",
                     membership->pool->id, session->id, membership->write ? " for writing" : "",
                     membership->member, layout_member_session(entry),
                     entry & LAYOUT_MEMBER_WRITES ? ", for writing" : "");
}

static void judge_session(struct audit *audit, const struct session *session)
{
    const struct membership *membership;
    char name[SEGMENT_NAME_SIZE];
    LIST_FOREACH (membership, &session->memberships, in_session)
        judge_membership(audit, session, membership);
    registry_witness_name(session->entry, name);
    if (session->witnessed && audit_take_object(name, false).status == -ENOENT)
        audit_report(audit, AUDIT_VIOLATION,
                     "session %" PRIu64 " has no witness any more; somebody removed /dev/shm%s",
                     session->id, name);
}

static void judge_sessions(struct audit *audit, const struct broker *broker,
                           const struct audit_sessions *sessions)
{
    const struct session *session;
    const struct pool *pool;
    uint64_t known = 0, memberships = 0, members = 0;
    TAILQ_FOREACH (session, &broker->sessions, in_broker) {
        known += audit_find_session(sessions, session->id) >= 0;
        memberships += session->membership_count;
        judge_session(audit, session);
    }
    TAILQ_FOREACH (pool, &broker->pools, in_broker)
        members += pool->member_count;
    if (known != broker->session_count || known != sessions->count)
        audit_report(audit, AUDIT_VIOLATION,
                     "the daemon has %" PRIu32 " sessions, the registry %" PRIu32 ", and %" PRIu64
                     " of them are the same",
                     broker->session_count, sessions->count, known);
    if (members != memberships)
        audit_report(audit, AUDIT_VIOLATION,
                     "sessions have %" PRIu64 " pools open, which have %" PRIu64 " members",
                     memberships, members);
}

/* What grows, or is destroyed while it grew, is charged as well. */
static void judge_charges(struct audit *audit, const struct broker *broker)
{
    const struct user *user;
    uint64_t sessions = 0, waiters = 0;
    LIST_FOREACH (user, &broker->users.list, in_users) {
        sessions += user->quotas[USER_SESSIONS].used;
        waiters += user->quotas[USER_WAITERS].used;
    }
    if (sessions != broker->session_count || waiters != broker->waiter_count)
        audit_report(audit, AUDIT_VIOLATION,
                     "users are charged %" PRIu64 " sessions and %" PRIu64
                     " requests that wait, and have %" PRIu32 " and %" PRIu32,
                     sessions, waiters, broker->session_count, broker->waiter_count);
}

void audit_broker(struct audit *audit, const struct broker *broker)
{
    struct audit_sessions sessions;
    const struct registry_file *file = broker->registry.file;
    if (!audit_registry(audit, file, sizeof(*file), &sessions))
        return;
    judge_pools(audit, broker, &sessions);
    judge_sessions(audit, broker, &sessions);
    judge_charges(audit, broker);
    audit_names(audit, file);
}
