/* SPDX-License-Identifier: MIT */
#include "daemon/notice.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/listening.h"
#include "daemon/log.h"
#include "daemon/name.h"
#include "daemon/tally.h"
#include "shm/order.h"

#define DESCRIBED_MAX 3u
#define LOOKED_AT_MAX 256u
#define DURATION_SIZE 48

static enum log_level level_of(enum event_kind kind)
{
    switch (kind) {
    case EVENT_WATERMARK_FALLEN:
    case EVENT_GROWN:
    case EVENT_RECLAIMED:
    case EVENT_DESTROYED:
        return LOG_LEVEL_INFO;
    default:
        return LOG_LEVEL_WARNING;
    }
}

static void add_event(struct broker *broker, const struct pool *pool, enum event_kind kind,
                      uint64_t count, uint64_t session)
{
    struct event event = {
        .kind = kind,
        .pool = pool->id,
        .uid = pool->ctl->uid,
        .gid = pool->ctl->gid,
        .mode = pool->ctl->mode,
        .time = broker->now,
        .capacity = pool_capacity(pool),
        .allocated = pool_usage(pool),
        .count = count,
        .session = session,
    };
    name_copy(event.name, pool->ctl->name);
    events_add(&broker->events, &event);
    listening_tell(broker);
}

void notice_event(struct broker *broker, const struct pool *pool, enum event_kind kind,
                  uint64_t count, uint64_t session)
{
    log_peer(
        level_of(kind),
        "%s pool=%s count=%" PRIu64 " allocated=%" PRIu32 " capacity=%" PRIu32 " session=%" PRIu64,
        event_name(kind), pool->ctl->name, count, pool_usage(pool), pool_capacity(pool), session);
    add_event(broker, pool, kind, count, session);
}

static enum watermark_change update(const struct pool *pool, struct watermark *watermark)
{
    bool grows = pool->growth.kind != GROWTH_NONE;
    return watermark_update(watermark, pool_usage(pool),
                            grows ? pool_capacity_max(pool) : pool_capacity(pool));
}

void notice_usage(struct broker *broker, struct pool *pool)
{
    struct layout_counters *counters = &pool->ctl->counters;
    switch (update(pool, &pool->watermark)) {
    case WATERMARK_REACHED:
        tally_add(counters, &counters->watermarks, 1);
        notice_event(broker, pool, EVENT_WATERMARK_REACHED, pool_usage(pool), 0);
        break;
    case WATERMARK_FALLEN:
        notice_event(broker, pool, EVENT_WATERMARK_FALLEN, pool_usage(pool), 0);
        break;
    case WATERMARK_SAME:
        break;
    }
}

void notice_resume(struct pool *pool)
{
    update(pool, &pool->watermark);
}

void notice_check(const struct pool *pool)
{
    struct watermark watermark = pool->watermark;
    enum watermark_change change = update(pool, &watermark);
    assert(change == WATERMARK_SAME);
    (void)change;
}

void notice_damage(struct broker *broker, struct pool *pool)
{
    bool whole = pool->growing.active || store_is_whole(&pool->store);
    if (field32_load(&pool->ctl->damage) == LAYOUT_DAMAGE_SAID || (whole && !pool_is_damaged(pool)))
        return;
    notice_event(broker, pool, EVENT_DAMAGED, pool->lease.damage, 0);
    field32_store(&pool->ctl->damage, LAYOUT_DAMAGE_SAID);
}

void notice_exhausted(struct broker *broker, struct pool *pool, uint32_t count)
{
    char text[PROTOCOL_HOLDERS_MAX + 1];
    if (pool->exhausted)
        return;
    pool->exhausted = true;
    notice_describe_holders(broker, pool, text);
    log_peer(LOG_LEVEL_WARNING,
             "exhausted pool=%s asked=%" PRIu32 " allocated=%" PRIu32 " capacity=%" PRIu32
             " waiting=%" PRIu32 " held by: %s",
             pool->ctl->name, count, pool_usage(pool), pool_capacity(pool), pool->waiters.count,
             text);
    add_event(broker, pool, EVENT_EXHAUSTED, count, 0);
}

/* ---- Holders --------------------------------------------------------------------------------- */

/*
 * In a leased pool what a member was granted first may be what it allocated last, or never: the oldest
 * of its objects, as far as they are among the first so many slots that it was granted.
 */
static int64_t leased_since(const struct broker *broker, const struct pool *pool, uint32_t member)
{
    int64_t since = broker->now;
    uint32_t at = ledger_oldest(&pool->ledger, member);
    for (uint32_t i = 0; i < LOOKED_AT_MAX && at != LEDGER_NONE; i++) {
        if (slot_is_allocated(pool->lease.seen[at]) && pool->ages.since[at] < since)
            since = pool->ages.since[at];
        at = pool->ledger.links[at].next;
    }
    return since;
}

static int64_t alone_since(const struct broker *broker, const struct pool *pool, uint32_t member)
{
    uint32_t oldest = ledger_oldest(&pool->ledger, member);
    if (pool_is_leased(pool))
        return leased_since(broker, pool, member);
    return oldest == LEDGER_NONE ? broker->now : pool->ages.since[oldest];
}

/* Of what the member holds by itself and of what it holds with others, each in its order. */
static int64_t held_since(const struct broker *broker, const struct pool *pool, uint32_t member)
{
    int64_t since = alone_since(broker, pool, member);
    uint32_t shared = holders_oldest(&pool->holders, member);
    if (shared != HOLDERS_NONE && pool->ages.since[shared] < since)
        since = pool->ages.since[shared];
    return since;
}

static void fill_holder(const struct broker *broker, const struct pool *pool, uint32_t member,
                        struct holder_info *holder)
{
    const struct session *session =
        member == SLOT_MEMBER_POOL ? NULL : pool->accounts[member]->session;

    *holder = (struct holder_info){
        .slots = pool_objects(pool, member),
        .oldest = (uint64_t)(broker->now - held_since(broker, pool, member)),
    };
    if (!session)
        return;
    holder->session = session->id;
    holder->pid = (uint32_t)session->peer.pid;
    holder->uid = session->peer.uid;
    holder->connected = session->connection != NULL;
    name_copy(holder->name, session->name);
}

/* The members that hold most, by insertion: `max` is small. */
static uint32_t find_most(const struct pool *pool, uint32_t *members, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t member = 1; member < pool->ledger.chain_count; member++) {
        uint32_t held = pool_objects(pool, member), at = count;
        if (held == 0 || (count == max && held <= pool_objects(pool, members[max - 1])))
            continue;
        if (count == max)
            at--;
        else
            count++;
        for (; at > 0 && pool_objects(pool, members[at - 1]) < held; at--)
            members[at] = members[at - 1];
        members[at] = member;
    }
    return count;
}

uint32_t notice_holders(const struct broker *broker, const struct pool *pool,
                        struct holder_info *holders, uint32_t max)
{
    uint32_t members[PROTOCOL_LIST_MAX];
    uint32_t count = find_most(pool, members, max);
    for (uint32_t i = 0; i < count; i++)
        fill_holder(broker, pool, members[i], &holders[i]);
    return count;
}

/* "90 ns", "34.2 us", "2.5 s", "3.0 min": to a tenth, cut off, of the largest unit that it has. */
static void write_duration(uint64_t nanoseconds, char text[DURATION_SIZE])
{
    static const struct {
        uint64_t nanoseconds;
        const char *name;
    } units[] = {{UINT64_C(86400000000000), "d"}, {UINT64_C(3600000000000), "h"},
                 {UINT64_C(60000000000), "min"},  {UINT64_C(1000000000), "s"},
                 {UINT64_C(1000000), "ms"},       {UINT64_C(1000), "us"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        uint64_t unit = units[i].nanoseconds;
        if (nanoseconds < unit)
            continue;
        snprintf(text, DURATION_SIZE, "%" PRIu64 ".%" PRIu64 " %s", nanoseconds / unit,
                 nanoseconds % unit / (unit / 10), units[i].name);
        return;
    }
    snprintf(text, DURATION_SIZE, "%" PRIu64 " ns", nanoseconds);
}

static int describe(const struct holder_info *holder, char *text, size_t room)
{
    char duration[DURATION_SIZE] = ""; /* what was seen just now, of a leased pool, has none yet */
    const char *many = holder->slots == 1 ? "" : "s";
    if (holder->session == 0)
        return snprintf(text, room, "the pool itself (detached): %" PRIu64 " slot%s", holder->slots,
                        many);
    if (holder->oldest > 0)
        write_duration(holder->oldest, duration);
    return snprintf(text, room,
                    "session %" PRIu64 " '%s' (pid %" PRIu32 ", uid %" PRIu32 "): %" PRIu64
                    " slot%s%s%s",
                    holder->session, holder->name, holder->pid, holder->uid, holder->slots, many,
                    holder->oldest > 0 ? ", for up to " : "", duration);
}

void notice_describe_holders(const struct broker *broker, const struct pool *pool,
                             char text[PROTOCOL_HOLDERS_MAX + 1])
{
    struct holder_info holders[DESCRIBED_MAX];
    uint32_t count = notice_holders(broker, pool, holders, DESCRIBED_MAX);
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        char one[PROTOCOL_HOLDERS_MAX / DESCRIBED_MAX];
        describe(&holders[i], one, sizeof(one));
        used += (size_t)snprintf(text + used, PROTOCOL_HOLDERS_MAX + 1 - used, "%s%s",
                                 i > 0 ? "; " : "", one);
        if (used > PROTOCOL_HOLDERS_MAX)
            break;
    }
}
