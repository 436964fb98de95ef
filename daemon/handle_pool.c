/* SPDX-License-Identifier: MIT */
/* Of pools: to make, open, list, change and destroy them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/growing.h"
#include "daemon/handler.h"
#include "daemon/leasing.h"
#include "daemon/name.h"

static uint32_t zero_flag(uint32_t zero)
{
    static const uint32_t flags[] = {0, LAYOUT_ZERO_ALLOCATE, LAYOUT_ZERO_FREE};
    return flags[zero];
}

/* What a pool.create and a pool.open say of it alike. */
#define POOL_CONFIG(request)                                                                       \
    (struct pool_config)                                                                           \
    {                                                                                              \
        .name = (request)->name, .type = (request)->type, .object_size = (request)->object_size,   \
        .capacity = (request)->capacity, .capacity_max = (request)->capacity_max,                  \
        .alignment = (request)->alignment, .mode = (request)->mode, .gid = (request)->gid,         \
        .kind = (request)->kind,                                                                   \
        .flags = ((request)->owner_frees ? LAYOUT_OWNER_FREES : 0u) | zero_flag((request)->zero) | \
                 ((request)->prefault ? LAYOUT_PREFAULT : 0u) |                                    \
                 ((request)->lock ? LAYOUT_LOCK : 0u) | ((request)->huge ? LAYOUT_HUGE : 0u),      \
        .growth = (request)->growth, .watermark = (request)->watermark,                            \
        .reserve_critical = (request)->reserve_critical,                                           \
        .reserve_normal = (request)->reserve_normal, .grow_ahead = (request)->grow_ahead,          \
        .session_slots = (request)->session_slots, .user_slots = (request)->user_slots,            \
        .hold_limit = (request)->hold_limit, .trim_after = (request)->trim_after,                  \
        .content = (request)->template,                                                            \
    }

static bool may_create(const struct call *call, const char *name)
{
    const struct create_rule *rule = &call->broker->create;
    if (access_may_create(rule, &call->caller->who, call->broker->uid))
        return true;
    struct error *error = error_set(
        &call->answer->error, ERROR_NOT_PERMITTED,
        "pool '%s' may be made by %sthe daemon's user and root alone, as fastallocd runs "
        "with --create %s; start it with another --create to let others",
        name, rule->creators == CREATORS_GROUP ? "members of the group, " : "", rule->text);
    name_copy(error->pool, name);
    return false;
}

static bool create_pool(const struct call *call, struct pool_config config, struct pool **pool)
{
    if (!name_is_valid(config.name)) {
        call_refuse_argument(call, "name", "is no name for a pool: " NAME_RULE);
        return false;
    }
    if (!may_create(call, config.name))
        return false;
    if (config.mode == 0)
        config.mode = ACCESS_MODE_DEFAULT;
    config.uid = call->caller->who.peer.uid;
    if (config.gid == 0)
        config.gid = call->caller->who.peer.gid;
    if (!access_may_give(&call->caller->who, call->broker->uid, config.gid)) {
        call_refuse_argument(call, "gid", "is a group that the caller isn't in");
        return false;
    }
    return broker_create_pool(call->broker, &config, pool, &call->answer->error);
}

bool on_pool_create(const struct call *call, const struct pool_create_request *request,
                    struct pool_create_reply *reply)
{
    struct pool *pool;
    if (call_is_repeated(call, request->change)) {
        pool = broker_find_pool(call->broker, request->name);
        reply->pool = pool ? pool->id : 0;
        return true;
    }
    if (!create_pool(call, POOL_CONFIG(request), &pool))
        return false;
    reply->pool = pool->id;
    return true;
}

static bool may_open(const struct call *call, const struct pool *pool,
                     const struct pool_open_request *request)
{
    if (!access_is_allowed(pool->ctl, &call->caller->who, call->broker->uid,
                           request->write ? ACCESS_WRITE : ACCESS_READ)) {
        call_refuse_pool(call, ERROR_NOT_PERMITTED, request->name,
                         request->write
                             ? "may not be written by this user; ask its owner for a mode "
                               "that allows it"
                             : "may not be read by this user; ask its owner for a mode that "
                               "allows it");
        return false;
    }
    const struct pool_config asked = POOL_CONFIG(request);
    return pool_config_matches(&asked, pool->ctl, pool->content, &call->answer->error);
}

/* Members of leased pools may change words, and wake the daemon when they did. */
static bool add_pool_descriptors(const struct call *call, const struct pool *pool, bool write)
{
    const bool writable[] = {
        [STORE_SLOTS] = write && pool_is_leased(pool),
        [STORE_DATA] = write,
    };
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++)
        if (!call_add_descriptor(call, store_descriptor(&pool->store, object, writable[object])))
            return false;
    return !writable[STORE_SLOTS] || call_add_bell(call);
}

static struct membership *join(const struct call *call, struct pool *pool,
                               const struct pool_open_request *request)
{
    if (request->map && !add_pool_descriptors(call, pool, request->write))
        return NULL;
    struct membership *membership = session_join(call->caller->session, pool, request->write);
    if (membership) {
        pool->mapped |= request->map && request->write;
        return membership;
    }
    call_drop_descriptors(call);
    if (pool->member_count == POOL_MEMBER_MAX)
        call_refuse_pool(call, ERROR_LIMIT_EXCEEDED, request->name,
                         "is open in as many sessions as it can be; let some close it")
            ->max = POOL_MEMBER_MAX;
    else
        call_refuse_pool(call, ERROR_OUT_OF_MEMORY, request->name,
                         "can't be opened: the daemon has no memory for another member");
    return NULL;
}

bool on_pool_open(const struct call *call, const struct pool_open_request *request,
                  struct pool_open_reply *reply)
{
    if (request->map && !call->caller->session->witnessed) {
        call_refuse_argument(call, "map", "needs a session with a witness; ask for one in hello");
        return false;
    }
    struct pool *pool = request->create ? broker_find_pool(call->broker, request->name)
                                        : call_find_pool(call, request->name);
    bool create = !pool && request->create;
    if (create ? !create_pool(call, POOL_CONFIG(request), &pool) : !pool)
        return false;

    /* As with open(2), who makes it gets what he asks for, whatever the mode lets him have later. */
    struct membership *membership =
        create || may_open(call, pool, request) ? join(call, pool, request) : NULL;
    if (!membership && create)
        broker_destroy_pool(call->broker, pool);
    if (!membership)
        return false;

    *reply = (struct pool_open_reply){
        .pool = pool->id,
        .nonce = pool->nonce,
        .member = membership->member,
        .created = create,
        .object_size = pool->store.geometry.object_size,
        .stride = pool->store.geometry.stride,
        .alignment = pool->store.geometry.alignment,
        .capacity = pool_capacity(pool),
        .kind = pool->ctl->kind,
        .descriptors = call->answer->descriptor_count,
    };
    name_copy(reply->type, pool->ctl->type);
    if (pool_is_leased(pool) && request->write)
        reply->template = (struct bytes){pool->content, pool->ctl->policy.template_size};
    return true;
}

static void fill_pool_info(const struct pool *pool, struct pool_info *info)
{
    const struct layout_ctl *ctl = pool->ctl;
    const struct layout_policy *policy = &ctl->policy;
    *info = (struct pool_info){
        .pool = pool->id,
        .kind = ctl->kind,
        .object_size = pool->store.geometry.object_size,
        .alignment = pool->store.geometry.alignment,
        .stride = pool->store.geometry.stride,
        .capacity = pool_capacity(pool),
        .capacity_max = pool_capacity_max(pool),
        .reserve = pool->store.geometry.reserve,
        .grow_ahead = policy->grow_ahead,
        .owner_frees = ctl->flags & LAYOUT_OWNER_FREES,
        .reserve_critical = policy->reserve_critical,
        .reserve_normal = policy->reserve_normal,
        .session_slots = policy->session_slots,
        .user_slots = policy->user_slots,
        .zero = ctl->flags & LAYOUT_ZERO_ALLOCATE ? 1
                : ctl->flags & LAYOUT_ZERO_FREE   ? 2
                                                  : 0,
        .template_size = policy->template_size,
        .hold_limit = policy->hold_limit,
        .trim_after = policy->trim_after,
        .prefault = ctl->flags & LAYOUT_PREFAULT,
        .lock = ctl->flags & LAYOUT_LOCK,
        .huge = ctl->flags & LAYOUT_HUGE,
        .allocated = pool_usage(pool),
        .members = pool->member_count,
        .uid = ctl->uid,
        .gid = ctl->gid,
        .mode = ctl->mode,
        .damaged = pool_is_damaged(pool),
        .memory = pool_memory(pool),
    };
    memcpy(info->growth, policy->growth, sizeof(info->growth));
    memcpy(info->watermark, policy->watermark, sizeof(info->watermark));
    name_copy(info->name, ctl->name);
    name_copy(info->type, ctl->type);
}

bool on_pool_list(const struct call *call, const struct pool_list_request *request,
                  struct pool_list_reply *reply)
{
    struct pool_info *infos = call->dispatch->pools;
    struct pool *pool;
    uint32_t count = 0;

    *reply = (struct pool_list_reply){.pools = {infos, 0}};
    if (request->name[0] != '\0') {
        pool = call_find_pool(call, request->name);
        if (!pool)
            return false;
        leasing_glance(call->broker, pool);
        fill_pool_info(pool, &infos[0]);
        reply->pools.count = 1;
        return true;
    }
    TAILQ_FOREACH (pool, &call->broker->pools, in_broker) {
        if (pool->id <= request->after)
            continue;
        reply->more = count == PROTOCOL_LIST_MAX;
        if (reply->more)
            break;
        fill_pool_info(pool, &infos[count++]);
    }
    reply->pools.count = count;
    return true;
}

/* What stands in the way, and what to do about that. */
static bool refuse_in_use(const struct call *call, const struct pool *pool, uint32_t others)
{
    uint32_t usage = pool_usage(pool);
    char slots[48] = "", sessions[48] = "";
    if (usage > 0)
        snprintf(slots, sizeof(slots), "%" PRIu32 " slot%s allocated", usage,
                 usage == 1 ? "" : "s");
    if (others > 0)
        snprintf(sessions, sizeof(sessions), "open in %" PRIu32 " other session%s", others,
                 others == 1 ? "" : "s");
    struct error *error = error_set(&call->answer->error, ERROR_POOL_IN_USE,
                                    "pool '%s' is in use: %s%s%s; %s, or force it", pool->ctl->name,
                                    slots, usage > 0 && others > 0 ? ", " : "", sessions,
                                    others > 0 ? "let them close it" : "free what is");
    name_copy(error->pool, pool->ctl->name);
    error->allocated = usage;
    error->members = others;
    return false;
}

bool on_pool_destroy(const struct call *call, const struct pool_destroy_request *request,
                     struct pool_destroy_reply *reply)
{
    if (call_is_repeated(call, request->change)) {
        reply->freed = 0;
        return true;
    }
    struct pool *pool = call_find_own_pool(call, request->name);
    if (!pool)
        return false;
    leasing_look(call->broker, pool);
    const struct membership *own = session_membership(call->caller->session, pool->id);
    uint32_t others = pool->member_count - (own != NULL);
    if (!request->force && (pool_usage(pool) > 0 || others > 0))
        return refuse_in_use(call, pool, others);
    reply->freed = broker_destroy_pool(call->broker, pool);
    return true;
}

bool on_pool_close(const struct call *call, const struct pool_close_request *request,
                   struct pool_close_reply *reply)
{
    struct membership *membership = call_find_membership(call, request->pool);
    if (!membership)
        return false;
    reply->freed = broker_close_pool(call->broker, call->caller->session, membership);
    return true;
}

bool on_pool_grow(const struct call *call, const struct pool_grow_request *request,
                  struct pool_grow_reply *reply)
{
    struct pool *pool = call_find_own_pool(call, request->name);
    return pool &&
           call_conclude(call, growing_request(call->broker, call->caller->session, pool, request,
                                               call->msgid, reply, &call->answer->error));
}

bool on_pool_trim(const struct call *call, const struct pool_trim_request *request,
                  struct pool_trim_reply *reply)
{
    struct pool *pool = call_find_own_pool(call, request->name);
    if (pool)
        reply->bytes = broker_trim(call->broker, pool);
    return pool;
}
