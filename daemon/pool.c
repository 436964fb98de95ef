/* SPDX-License-Identifier: MIT */
#include "daemon/pool_part.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/name.h"
#include "daemon/tally.h"
#include "shm/order.h"

/* ---- Creation -------------------------------------------------------------------------------- */

static void fill_policy(struct layout_policy *policy, const struct pool_config *config,
                        const struct pool_plan *plan)
{
    snprintf(policy->growth, sizeof(policy->growth), "%s", config->growth ? config->growth : "");
    snprintf(policy->watermark, sizeof(policy->watermark), "%s",
             config->watermark ? config->watermark : "");
    policy->capacity_first = plan->capacity;
    policy->reserve_critical = (uint32_t)config->reserve_critical;
    policy->reserve_normal = (uint32_t)config->reserve_normal;
    policy->grow_ahead = (uint32_t)config->grow_ahead;
    policy->session_slots = (uint32_t)config->session_slots;
    policy->user_slots = (uint32_t)config->user_slots;
    policy->template_size = (uint32_t)config->content.size;
    policy->hold_limit = config->hold_limit;
    policy->trim_after = config->trim_after;
}

static void fill_ctl(const struct pool *pool, const struct pool_config *config,
                     const struct pool_plan *plan, int64_t now)
{
    const struct geometry *geometry = &plan->geometry;
    struct layout_ctl *ctl = pool->ctl;

    ctl->magic = LAYOUT_MAGIC;
    ctl->pool = pool->id;
    ctl->nonce = pool->nonce;
    ctl->kind = config->kind == LAYOUT_LEASED ? LAYOUT_LEASED : LAYOUT_BROKERED;
    ctl->object_size = geometry->object_size;
    ctl->stride = geometry->stride;
    ctl->alignment = geometry->alignment;
    ctl->capacity_max = plan->capacity_max;
    ctl->reserve = geometry->reserve;
    ctl->uid = config->uid;
    ctl->gid = config->gid;
    ctl->mode = config->mode;
    ctl->flags = config->flags;
    name_copy(ctl->name, config->name);
    name_copy(ctl->type, config->type);
    ctl->capacity = plan->capacity;
    fill_policy(&ctl->policy, config, plan);
    tally_reset(&ctl->counters, now);
}

/* What the attempt had made is gone already, so that the space left is the whole of it. */
static bool refuse_space(const char *name, const char *what, uint64_t needed, int status,
                         struct error *error)
{
    uint64_t available = segment_space();

    if (status == -ENOSPC && needed <= available) {
        error_set(error, ERROR_SHARED_MEMORY_FULL,
                  "pool '%s' needs more files in /dev/shm%s, which takes no more; destroy pools,"
                  " or let it take more (mount -o remount,nr_inodes=... /dev/shm)",
                  name, what);
        error->needed = needed;
        error->available = available;
    } else if (status == -ENOSPC) {
        error_set(error, ERROR_SHARED_MEMORY_FULL,
                  "pool '%s' needs %" PRIu64 " bytes of shared memory%s, /dev/shm has %" PRIu64
                  " left; choose fewer or smaller slots, or enlarge it"
                  " (mount -o remount,size=... /dev/shm; docker run --shm-size)",
                  name, needed, what, available);
        error->needed = needed;
        error->available = available;
    } else if (status == -ENOMEM) {
        error_set(error, ERROR_OUT_OF_MEMORY, "pool '%s': the daemon has no memory%s", name, what);
    } else {
        error_set(error, ERROR_SYSTEM, "pool '%s': shared memory%s could not be had: %s", name,
                  what, strerror(-status));
        error->system_error = (uint32_t)-status;
    }
    return false;
}

bool pool_refuse_memory(const struct pool *pool, const char *what, uint64_t needed, int status,
                        struct error *error)
{
    refuse_space(pool->ctl->name, what, needed, status, error);
    name_copy(error->pool, pool->ctl->name);
    return false;
}

void pool_refuse_growth(const struct pool *pool, uint32_t capacity, int status, struct error *error)
{
    const struct geometry *geometry = &pool->store.geometry;
    uint64_t needed = store_size(geometry, capacity) - store_size(geometry, pool_capacity(pool));
    pool_refuse_memory(pool, " to grow", needed, status, error);
}

static int copy_template(struct pool *pool, const struct bytes *content)
{
    if (content->size == 0)
        return 0;
    pool->content = malloc(content->size);
    if (!pool->content)
        return -ENOMEM;
    memcpy(pool->content, content->data, content->size);
    return store_write_template(&pool->store, content->data, content->size);
}

/* What an object of so many bytes takes. */
static uint64_t whole_pages(uint64_t size)
{
    return (size + 4095) / 4096 * 4096;
}

/* For that many slots, of which those are new that weren't prepared. */
static int reserve_seen(struct pool *pool, uint32_t capacity)
{
    uint64_t *seen = realloc(pool->lease.seen, capacity * sizeof(seen[0]));
    if (!seen)
        return -ENOMEM;
    for (uint32_t i = pool->prepared; i < capacity; i++)
        seen[i] = slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE);
    pool->lease.seen = seen;
    return 0;
}

int pool_take_memory(struct pool *pool, uint32_t capacity, bool leased)
{
    uint64_t *marks = calloc((capacity + 63) / 64, sizeof(marks[0]));
    int status = marks ? ledger_init(&pool->ledger, pool->store.ledger, capacity) : -ENOMEM;
    pool->marks = marks;
    if (status == 0 && leased)
        status = reserve_seen(pool, capacity);
    pool->prepared = capacity;
    return status < 0 ? status : ages_reserve(&pool->ages, capacity);
}

struct pool *pool_new(const struct pool_config *config, const struct pool_plan *plan, uint32_t id,
                      uint16_t nonce)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->id = id;
    pool->nonce = nonce;
    pool->growth = plan->growth;
    pool->watermark = plan->watermark;
    pool->evictable = CHAIN_EMPTY;
    pool->store.data_fd = -1;
    TAILQ_INIT(&pool->growing.growers);
    ages_init(&pool->ages, (int64_t)config->hold_limit);
    users_init(&pool->users);
    if (config->user_slots > 0)
        pool->users.max[USER_SLOTS] = config->user_slots;
    waitqueue_init(&pool->waiters);
    return pool;
}

void pool_begin(struct pool *pool)
{
    char name[SEGMENT_NAME_SIZE];
    store_name(&pool->store, STORE_HOLDERS, name);
    holders_init(&pool->holders, name);
    pool->ctl = pool->store.ctl;
    pool->words = pool->store.words;
}

bool pool_create(const struct pool_config *config, uint32_t id, uint16_t nonce,
                 const uint8_t key[SEGMENT_KEY_SIZE], int64_t now, struct pool **result,
                 struct error *error)
{
    struct pool_plan plan;
    if (!pool_config_check(config, &plan, error))
        return false;

    /* What can't fit isn't begun: reserving takes a while, and starves others until it has failed. */
    uint64_t needed = pool_planned_size(config, &plan);
    uint64_t space = segment_space();
    if (space > 0 && needed > space)
        return refuse_space(config->name, "", needed, -ENOSPC, error);

    struct pool *pool = pool_new(config, &plan, id, nonce);
    int status = pool ? store_create(&pool->store, key, &plan.geometry, plan.capacity) : -ENOMEM;
    if (status < 0) {
        free(pool);
        return refuse_space(config->name, "", needed, status, error);
    }
    pool_begin(pool);
    status = pool_take_memory(pool, plan.capacity, config->kind == LAYOUT_LEASED);
    if (status == 0 && (config->flags & LAYOUT_ZERO_FREE))
        status = store_open_data(&pool->store);
    if (status == 0)
        status = copy_template(pool, &config->content);
    if (status < 0) {
        store_unlink(key);
        pool_free(pool);
        return refuse_space(config->name, "", needed, status, error);
    }
    fill_ctl(pool, config, &plan, now);
    field32_store(&pool->ctl->version, LAYOUT_VERSION);
    *result = pool;
    return true;
}

/* ---- Damage ---------------------------------------------------------------------------------- */

bool pool_is_damaged(const struct pool *pool)
{
    return field32_load(&pool->ctl->damage) != LAYOUT_DAMAGE_NONE;
}

void pool_note_damage(struct pool *pool)
{
    pool->lease.damage++;
    if (!pool_is_damaged(pool))
        field32_store(&pool->ctl->damage, LAYOUT_DAMAGE_SEEN);
}

/* ---- End ------------------------------------------------------------------------------------- */

void pool_destroy(struct pool *pool)
{
    assert(pool->waiters.count == 0);
    field32_store(&pool->ctl->version, 0);
    pool_revoke_all(pool);
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        word_replace(&pool->words[i],
                     slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_RETIRED));
    store_unlink(pool->store.key);
}

void pool_free_account(struct pool *pool, uint32_t member)
{
    struct pool_account *account = pool->accounts[member];
    pool->accounts[member] = NULL;
    if (!account)
        return;
    slots_charge_deinit(&account->held);
    quota_deinit(&account->quota);
    user_put(account->user);
    free(account);
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    assert(pool->waiters.count == 0);
    for (uint32_t member = 0; member < pool->account_count; member++)
        pool_free_account(pool, member);
    free(pool->accounts);
    users_deinit(&pool->users);
    ledger_deinit(&pool->ledger);
    holders_deinit(&pool->holders);
    ages_deinit(&pool->ages);
    free(pool->evictable_links);
    free(pool->lease.seen);
    free(pool->marks);
    free(pool->content);
    store_close(&pool->store);
    free(pool);
}

/* ---- Capacity -------------------------------------------------------------------------------- */

uint32_t pool_capacity(const struct pool *pool)
{
    return pool->ledger.capacity;
}

uint32_t pool_capacity_max(const struct pool *pool)
{
    return pool->ctl->capacity_max;
}

uint32_t pool_usage(const struct pool *pool)
{
    return (uint32_t)counter_load(&pool->ctl->counters.current_usage);
}

uint64_t pool_planned_size(const struct pool_config *config, const struct pool_plan *plan)
{
    return store_size(&plan->geometry, plan->capacity) + whole_pages(config->content.size);
}

uint64_t pool_size(const struct pool *pool)
{
    return store_size(&pool->store.geometry, pool_capacity(pool)) +
           whole_pages(pool->ctl->policy.template_size) + holders_size(&pool->holders);
}

uint64_t pool_memory(const struct pool *pool)
{
    return pool_size(pool) - store_trimmed_size(&pool->store);
}

/* With room for the slots there are and those to come; what is new is zero. */
static int grow_marks(struct pool *pool, uint32_t capacity)
{
    size_t before = (pool_capacity(pool) + 63) / 64, after = (capacity + 63) / 64;
    uint64_t *marks = realloc(pool->marks, after * sizeof(marks[0]));
    if (!marks)
        return -ENOMEM;
    memset(marks + before, 0, (after - before) * sizeof(marks[0]));
    pool->marks = marks;
    return 0;
}

int pool_reserve_evictable(struct pool *pool, uint32_t capacity)
{
    struct chain_link *links = realloc(pool->evictable_links, capacity * sizeof(links[0]));
    if (!links)
        return -ENOMEM;
    pool->evictable_links = links;
    return 0;
}

int pool_prepare_growth(struct pool *pool, uint32_t capacity)
{
    int status = ledger_reserve(&pool->ledger, capacity);
    if (status == 0)
        status = ages_reserve(&pool->ages, capacity);
    if (status == 0)
        status = grow_marks(pool, capacity);
    if (status == 0 && pool->evictable_links)
        status = pool_reserve_evictable(pool, capacity);
    if (status == 0 && pool_is_leased(pool))
        status = reserve_seen(pool, capacity);
    if (status == 0)
        pool->prepared = capacity;
    return status;
}

void pool_grown(struct pool *pool)
{
    ledger_grow(&pool->ledger, pool->store.capacity);
    field32_store(&pool->ctl->capacity, pool->store.capacity);
    tally_add(&pool->ctl->counters, &pool->ctl->counters.growth_count, 1);
}

/* ---- Members --------------------------------------------------------------------------------- */

static int make_room_for_member(struct pool *pool, uint32_t member)
{
    if (member >= pool->account_count) {
        struct pool_account **accounts =
            realloc(pool->accounts, (member + 1) * sizeof(struct pool_account *));
        if (!accounts)
            return -ENOMEM;
        pool->accounts = accounts;
        while (pool->account_count <= member)
            pool->accounts[pool->account_count++] = NULL;
    }
    return ledger_add_member(&pool->ledger, member);
}

static struct pool_account *new_account(struct pool *pool, uid_t uid)
{
    uint32_t max = pool->ctl->policy.session_slots;
    struct pool_account *account = calloc(1, sizeof(*account));
    if (!account)
        return NULL;
    quota_init(&account->quota, max > 0 ? max : QUOTA_UNLIMITED);
    account->user = users_get(&pool->users, uid);
    if (!account->user) {
        free(account);
        return NULL;
    }
    return account;
}

uint32_t pool_join(struct pool *pool, uint64_t session, uid_t uid)
{
    uint64_t *members = pool->store.members;
    uint32_t member = 1;
    while (member <= POOL_MEMBER_MAX && field_load(&members[member]) != 0)
        member++;
    if (member > POOL_MEMBER_MAX || make_room_for_member(pool, member) < 0)
        return SLOT_MEMBER_NONE;
    pool->accounts[member] = new_account(pool, uid);
    if (!pool->accounts[member])
        return SLOT_MEMBER_NONE;
    field_store(&members[member], session);
    pool->member_count++;
    return member;
}

int pool_rejoin(struct pool *pool, uint32_t member, uid_t uid)
{
    if (make_room_for_member(pool, member) < 0)
        return -ENOMEM;
    pool->accounts[member] = new_account(pool, uid);
    if (!pool->accounts[member])
        return -ENOMEM;
    pool->member_count++;
    return 0;
}

void pool_allow_write(struct pool *pool, uint32_t member)
{
    uint64_t *entry = &pool->store.members[member];
    field_store(entry, field_load(entry) | LAYOUT_MEMBER_WRITES);
}

bool pool_may_write(const struct pool *pool, uint32_t member)
{
    return field_load(&pool->store.members[member]) & LAYOUT_MEMBER_WRITES;
}

uint64_t pool_session(const struct pool *pool, uint32_t member)
{
    return layout_member_session(field_load(&pool->store.members[member]));
}

/* The ledger has SHARED slots as the pool's own, the holders know whose they are. */
uint32_t pool_held(const struct pool *pool, uint32_t member)
{
    uint32_t shared = member == SLOT_MEMBER_POOL ? holders_shared(&pool->holders) : 0;
    return ledger_count(&pool->ledger, member) - shared +
           holders_member_count(&pool->holders, member);
}

uint32_t pool_objects(const struct pool *pool, uint32_t member)
{
    uint32_t held = pool_held(pool, member);
    const struct pool_account *account =
        member < pool->account_count ? pool->accounts[member] : NULL;
    uint32_t cached = account ? account->cached : 0;
    return held > cached ? held - cached : 0;
}

static bool refuse_quota(const struct pool *pool, const char *field, const struct quota *quota,
                         uint32_t count, struct error *error)
{
    error_set(error, ERROR_QUOTA_EXCEEDED,
              "pool '%s': %s allows %" PRIu64 " slot%s, with %" PRIu64
              " held or asked for already and %" PRIu32
              " asked for now; free objects, or ask the pool's owner for more",
              pool->ctl->name, field, quota->max, quota->max == 1 ? "" : "s", quota->used, count);
    name_copy(error->pool, pool->ctl->name);
    name_copy(error->field, field);
    error->requested = count;
    error->allocated = quota->used;
    error->max = quota->max;
    return false;
}

bool pool_charge(const struct pool *pool, uint32_t member, uint32_t count,
                 struct slots_charge *charge, struct error *error)
{
    struct pool_account *account = pool->accounts[member];
    struct quota *user = &account->user->quotas[USER_SLOTS];
    if (!charge_take(&charge->session, &account->quota, count))
        return refuse_quota(pool, "session_slots", &account->quota, count, error);
    if (charge_take(&charge->user, user, count))
        return true;
    charge_give(&charge->session, count);
    return refuse_quota(pool, "user_slots", user, count, error);
}

void pool_charge_holder(struct pool *pool, uint32_t member, struct slots_charge *charge)
{
    charge_move(&charge->session, &pool->accounts[member]->held.session);
    charge_move(&charge->user, &pool->accounts[member]->held.user);
}

void pool_discharge(struct pool *pool, uint32_t member)
{
    if (member == SLOT_MEMBER_POOL)
        return;
    charge_give(&pool->accounts[member]->held.session, 1);
    charge_give(&pool->accounts[member]->held.user, 1);
}
