/* SPDX-License-Identifier: MIT */
/*
 * A pool that a dead daemon left. First all that stands in shared memory is brought into a state in
 * which the laws hold, slot by slot, so that being killed here is no different from being killed
 * before; then the daemon's own memory follows from it. Members of leased pools run on meanwhile.
 */
#include "daemon/pool_part.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/name.h"
#include "daemon/tally.h"
#include "shm/lease.h"
#include "shm/order.h"

/* A word may change under our hands: CACHED, LIVE, RETURNED, and then it is nobody's to change. */
#define ATTEMPTS 3u

/* ---- Taking over ----------------------------------------------------------------------------- */

static bool refuse(uint32_t id, const char *why, struct error *error)
{
    error_set(error, ERROR_SYSTEM, "pool %" PRIu32 ": %s", id, why);
    return false;
}

static bool check_head(const struct layout_ctl *head, uint32_t id, uint16_t nonce, bool destroyed,
                       struct error *error)
{
    uint32_t version = head->version;
    if (head->magic != LAYOUT_MAGIC)
        return refuse(id, "what stands in the place of its ctl isn't one", error);
    if (version != LAYOUT_VERSION && (version != 0 || !destroyed)) {
        error_set(error, ERROR_SYSTEM,
                  "pool %" PRIu32 " is of layout version %" PRIu32 ", this fastallocd reads %u; "
                  "run the release that made it",
                  id, version, LAYOUT_VERSION);
        error->actual = version;
        error->requested = LAYOUT_VERSION;
        return false;
    }
    if (head->pool != id || head->nonce != nonce)
        return refuse(id, "its ctl is another pool's", error);
    return true;
}

static bool read_head(const uint8_t key[SEGMENT_KEY_SIZE], uint32_t id, uint16_t nonce,
                      bool destroyed, struct layout_ctl *head, struct error *error)
{
    int status = store_read_head(key, head);
    if (status == -ENODATA)
        return refuse(id, "its ctl is too short", error);
    if (status < 0) {
        error_set(error, ERROR_SYSTEM, "pool %" PRIu32 ": its ctl can't be read: %s", id,
                  strerror(-status));
        error->system_error = (uint32_t)-status;
        return false;
    }
    return check_head(head, id, nonce, destroyed, error);
}

static int read_template(struct pool *pool, size_t size)
{
    if (size == 0)
        return 0;
    pool->content = malloc(size);
    return pool->content ? store_read_template(&pool->store, pool->content, size) : -ENOMEM;
}

/* The session's own number, whose entry a thread's repeats. */
static uint32_t member_with(const struct pool *pool, uint64_t entry)
{
    uint32_t member = 1;
    while (member <= POOL_MEMBER_MAX && field_load(&pool->store.members[member]) != entry)
        member++;
    return member <= POOL_MEMBER_MAX ? member : SLOT_MEMBER_NONE;
}

/*
 * Whoever has a number that isn't free may store plainly, until all are revoked. Entries that are
 * nobody's are still there, but are no session's, so that none is found for them.
 */
static void take_threads(struct pool *pool)
{
    for (uint32_t number = LAYOUT_THREAD_FIRST; number < SLOT_MEMBER_POOL; number++) {
        uint64_t entry = field_load(&pool->store.members[number]);
        uint32_t member =
            layout_member_session(entry) != 0 ? member_with(pool, entry) : SLOT_MEMBER_NONE;
        if (member != SLOT_MEMBER_NONE)
            pool_take_thread(pool, member, number);
    }
}

bool pool_take_over(uint32_t id, uint16_t nonce, const uint8_t key[SEGMENT_KEY_SIZE],
                    bool destroyed, struct pool **result, struct error *error)
{
    struct layout_ctl head;
    struct pool_config config;
    struct pool_plan plan;
    if (!read_head(key, id, nonce, destroyed, &head, error))
        return false;
    if (!pool_config_of(&head, &config, &plan, error)) {
        struct error why = *error;
        error_set(error, ERROR_SYSTEM, "pool %" PRIu32 " can't be: %s", id, why.message);
        return false;
    }
    struct pool *pool = pool_new(&config, &plan, id, nonce);
    int status = pool ? store_open(&pool->store, key, &plan.geometry, plan.capacity) : -ENOMEM;
    if (status == 0) {
        pool_begin(pool);
        status = pool_take_memory(pool, plan.capacity, config.kind == LAYOUT_LEASED);
    }
    if (status == 0)
        status = read_template(pool, config.content.size);
    if (status == 0 && pool_is_leased(pool))
        take_threads(pool);
    if (status < 0) {
        error_set(error, ERROR_SYSTEM, "pool '%s': it can't be taken over: %s", head.name,
                  strerror(-status));
        error->system_error = (uint32_t)-status;
        pool_free(pool);
        return false;
    }
    *result = pool;
    return true;
}

/* ---- The change under way -------------------------------------------------------------------- */

static bool is_member(const struct pool *pool, uint32_t member)
{
    return member == SLOT_MEMBER_POOL || (member < pool->account_count && pool->accounts[member]);
}

/*
 * LIVE of one, LIVE of the other; and what the other's process, or anybody, made of it since. So
 * it isn't the word's number that chooses, but whose that is.
 */
static void finish_move(struct pool *pool, const struct layout_intent *intent, uint64_t word)
{
    if (pool_member_of(pool, slot_member(word)) == intent->to && intent->to != intent->from)
        field_store(&pool->store.ledger[intent->index], intent->entry);
}

/* Nobody but the daemon changes what is SHARED; its holders may be there already. */
static void finish_share(struct pool *pool, const struct layout_intent *intent, uint64_t word)
{
    struct holders *holders = &pool->holders;
    if (word != slot_word(intent->generation, SLOT_MEMBER_POOL, SLOT_SHARED))
        return;
    holders_clear(holders, intent->index);
    if (holders->free.count < 2)
        return;
    holders_add(holders, intent->index, intent->generation, intent->from);
    holders_add(holders, intent->index, intent->generation, intent->to);
    field_store(&pool->store.ledger[intent->index], intent->entry);
}

static void finish_intent(struct pool *pool)
{
    struct layout_intent *intent = &pool->ctl->intent;
    uint32_t kind = field32_load(&intent->kind);
    if (kind != LAYOUT_INTENT_NONE && intent->index < pool_capacity(pool) &&
        is_member(pool, intent->from) && is_member(pool, intent->to)) {
        uint64_t word = word_load(&pool->words[intent->index]);
        if (kind == LAYOUT_INTENT_MOVE)
            finish_move(pool, intent, word);
        else if (kind == LAYOUT_INTENT_SHARE)
            finish_share(pool, intent, word);
    }
    field32_store(&intent->kind, LAYOUT_INTENT_NONE);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

enum verdict {
    VERDICT_KEEP,    /* as it is */
    VERDICT_DROP,    /* a grant, or taking it back, hadn't come to its end */
    VERDICT_END,     /* the last hold on it was given up */
    VERDICT_COLLECT, /* it is a member's, but free */
    VERDICT_RETIRE,  /* nobody could have brought it to this who keeps the rules */
};

/* After its last life; or it was broken, and that was noted before. */
static bool may_be_retired(const struct pool *pool, uint64_t word)
{
    return slot_generation(word) == SLOT_GENERATION_LAST || pool_is_damaged(pool);
}

static enum verdict judge_granted(const struct pool *pool, uint32_t index, uint32_t holder,
                                  uint64_t word)
{
    bool own = pool_member_of(pool, slot_member(word)) == holder;
    switch (slot_state(word)) {
    case SLOT_IDLE:
        return VERDICT_DROP;
    case SLOT_RETIRED:
        return may_be_retired(pool, word) ? VERDICT_DROP : VERDICT_RETIRE;
    case SLOT_LIVE:
        return own ? VERDICT_KEEP : VERDICT_RETIRE;
    case SLOT_SHARED:
        if (!own || holder != SLOT_MEMBER_POOL)
            return VERDICT_RETIRE;
        return holders_count(&pool->holders, index) > 0 ? VERDICT_KEEP : VERDICT_END;
    case SLOT_CACHED:
        own = own && holder != SLOT_MEMBER_POOL;
        break;
    case SLOT_RETURNED:
        break;
    default:
        own = false;
    }
    return own && pool_is_leased(pool) ? VERDICT_COLLECT : VERDICT_RETIRE;
}

/* Of objects of leased pools, and of those that are the pool's own, none is evictable. */
static bool is_possible_entry(const struct pool *pool, uint64_t entry)
{
    uint32_t holder = layout_ledger_member(entry);
    bool evictable = entry & LAYOUT_EVICTABLE;
    return is_member(pool, holder) &&
           !(evictable && (pool_is_leased(pool) || holder == SLOT_MEMBER_POOL));
}

static enum verdict judge(const struct pool *pool, uint32_t index, uint64_t word)
{
    uint64_t entry = field_load(&pool->store.ledger[index]);
    enum slot_state state = slot_state(word);
    bool unused = state == SLOT_IDLE || (state == SLOT_RETIRED && may_be_retired(pool, word));
    if (slot_generation(word) < SLOT_GENERATION_FIRST)
        return VERDICT_RETIRE;
    if (entry == 0)
        return unused && slot_member(word) == SLOT_MEMBER_NONE ? VERDICT_KEEP : VERDICT_RETIRE;
    return is_possible_entry(pool, entry)
               ? judge_granted(pool, index, layout_ledger_member(entry), word)
               : VERDICT_RETIRE;
}

/* What was counted on the way. */
struct count {
    uint64_t ended;   /* objects, of all time, as the words tell */
    uint64_t dropped; /* of these there was none */
    uint32_t live;    /* slots with one */
    uint32_t fresh;   /* from here on none was ever granted */
    bool pools;       /* some are the pool's own */
};

static bool is_granted(const struct pool *pool, uint32_t index)
{
    return field_load(&pool->store.ledger[index]) != 0;
}

/* What has no room now had some: a member gave it back, and harms this pool alone. */
static int forgive(struct pool *pool, int status)
{
    if (status != -ENOSPC)
        return status;
    pool_note_damage(pool);
    return 0;
}

/*
 * The slot is nobody's at this word, which is stored first. It may have holds, if a member changed
 * the word since they were loaded.
 */
static int give_back(struct pool *pool, uint32_t index, uint64_t word)
{
    int status = 0;
    word_replace(&pool->words[index], word);
    holders_clear(&pool->holders, index);
    if (is_granted(pool, index) && (pool->ctl->flags & LAYOUT_ZERO_FREE))
        status = forgive(pool, store_zero(&pool->store, index, 0));
    if (status == 0)
        field_store(&pool->store.ledger[index], 0);
    return status;
}

/* Of a slot that is out of use, at the generation that it is at. */
static uint64_t retired_word(uint64_t word)
{
    uint64_t generation = slot_generation(word);
    if (generation < SLOT_GENERATION_FIRST)
        generation = SLOT_GENERATION_FIRST;
    return slot_word(generation, SLOT_MEMBER_NONE, SLOT_RETIRED);
}

/*
 * One step towards a state in which the laws hold. A slot that isn't granted yet, or not any more,
 * goes on with the next generation: a member may have stored the word, and keep the handle.
 */
static int take_step(struct pool *pool, uint32_t index, uint64_t word, enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_DROP:
    case VERDICT_END:
        return give_back(pool, index,
                         slot_state(word) == SLOT_RETIRED ? retired_word(word)
                                                          : slot_idle_after(slot_generation(word)));
    case VERDICT_COLLECT:
        if (lease_take_back(&pool->words[index], word))
            field_store(&pool->store.ledger[index], 0);
        return 0;
    case VERDICT_RETIRE:
        pool_note_damage(pool);
        return give_back(pool, index, retired_word(word));
    default:
        return 0;
    }
}

static bool is_settled(const struct pool *pool, uint32_t index, uint64_t word, enum verdict verdict)
{
    return verdict == VERDICT_KEEP ||
           (verdict == VERDICT_COLLECT && pool_is_amid(pool, index, word));
}

static void count_slot(struct pool *pool, uint32_t index, uint64_t word, struct count *count)
{
    bool granted = is_granted(pool, index);
    count->ended += pool_freed_until(word);
    count->live += slot_is_allocated(word);
    count->pools |=
        layout_ledger_member(field_load(&pool->store.ledger[index])) == SLOT_MEMBER_POOL;
    if (granted || word != slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE))
        count->fresh = index + 1;
    if (pool_is_leased(pool))
        pool->lease.seen[index] = word;
}

/* Whatever a member makes of it after the last attempt: the slot is out of use. */
static uint64_t word_after(const struct pool *pool, uint32_t index, uint64_t word, bool last)
{
    return last ? retired_word(word) : word_load(&pool->words[index]);
}

static int settle_slot(struct pool *pool, uint32_t index, struct count *count)
{
    uint64_t word = word_load(&pool->words[index]);
    enum verdict verdict = judge(pool, index, word);
    for (unsigned i = 0; !is_settled(pool, index, word, verdict); i++) {
        int status = take_step(pool, index, word, i < ATTEMPTS ? verdict : VERDICT_RETIRE);
        if (status < 0)
            return status;
        count->dropped += verdict == VERDICT_DROP && slot_state(word) == SLOT_IDLE;
        word = word_after(pool, index, word, i == ATTEMPTS);
        verdict = i < ATTEMPTS ? judge(pool, index, word) : VERDICT_KEEP;
    }
    count_slot(pool, index, word, count);
    return 0;
}

/* ---- Holders --------------------------------------------------------------------------------- */

static bool is_held(void *context, uint64_t generation, uint32_t index, uint32_t member)
{
    const struct pool *pool = context;
    uint64_t word = word_load(&pool->words[index]);
    uint64_t low = layout_holder_entry(slot_generation(word), 0, 0) >> 45;
    return is_member(pool, member) && slot_state(word) == SLOT_SHARED && low == generation;
}

static int load_holders(struct pool *pool)
{
    return holders_load(&pool->holders, pool_capacity(pool), SLOT_MEMBER_POOL, is_held, pool);
}

/* ---- The daemon's own memory ----------------------------------------------------------------- */

static void charge(struct pool *pool, uint32_t member, uint32_t count)
{
    struct pool_account *account = pool->accounts[member];
    if (count == 0)
        return;
    charge_put(&account->held.session, &account->quota, count);
    charge_put(&account->held.user, &account->user->quotas[USER_SLOTS], count);
}

static void charge_members(struct pool *pool)
{
    for (uint32_t member = 1; member < pool->account_count; member++)
        if (pool->accounts[member])
            charge(pool, member, pool_held(pool, member));
}

static int take_slot(struct pool *pool, uint32_t index, int64_t now)
{
    uint64_t word = pool_is_leased(pool) ? pool->lease.seen[index] : word_load(&pool->words[index]);
    uint64_t entry = ledger_entry(&pool->ledger, index);
    uint32_t holder = layout_ledger_member(entry);
    if (slot_state(word) == SLOT_RETIRED)
        ledger_retire(&pool->ledger, index);
    if (slot_state(word) == SLOT_CACHED)
        pool->accounts[holder]->cached++;
    if (slot_is_allocated(word))
        ages_begin(&pool->ages, index, now);
    int status = entry & LAYOUT_EVICTABLE ? pool_allow_evictable(pool) : 0;
    if (status == 0 && entry & LAYOUT_EVICTABLE)
        chain_append(&pool->evictable, pool->evictable_links, index);
    if (status == 0 && entry != 0)
        status = forgive(pool, store_untrim(&pool->store, index));
    if (entry != 0)
        store_forget_trimmed(&pool->store, index);
    return status;
}

static int load_memory(struct pool *pool, const struct count *count, int64_t now)
{
    int status = count->pools ? ledger_add_member(&pool->ledger, SLOT_MEMBER_POOL) : 0;
    if (status == 0)
        status = store_find_trimmed(&pool->store);
    if (status == 0)
        ledger_load(&pool->ledger, count->fresh);
    for (uint32_t index = 0; status == 0 && index < count->fresh; index++)
        status = take_slot(pool, index, now);
    if (status == 0)
        charge_members(pool);
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* Those that a member left behind when it was about to be gone too. */
static void drop_threads(struct pool *pool)
{
    for (uint32_t number = LAYOUT_THREAD_FIRST; number < SLOT_MEMBER_POOL; number++)
        if (pool_member_of(pool, number) == SLOT_MEMBER_NONE)
            field_store(&pool->store.members[number], 0);
}

/* A number is free, or a session's. */
static void drop_nobodys(struct pool *pool)
{
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++)
        if (field_load(&pool->store.members[member]) == LAYOUT_MEMBER_WRITES)
            field_store(&pool->store.members[member], 0);
}

/* Slots that are yet to come are nobody's. */
static void clear_beyond(struct pool *pool)
{
    const struct geometry *geometry = &pool->store.geometry;
    size_t size = geometry_ctl_size(geometry, pool_capacity(pool)) - geometry->ledger_offset;
    for (size_t index = pool_capacity(pool); index < size / sizeof(uint64_t); index++)
        if (pool->store.ledger[index] != 0)
            field_store(&pool->store.ledger[index], 0);
}

static bool has_writer(const struct pool *pool)
{
    bool writes = false;
    for (uint32_t member = 1; member < pool->account_count; member++)
        writes |= pool->accounts[member] && pool_may_write(pool, member);
    return writes;
}

/* Objects that members ended since the dead daemon looked. */
static uint64_t unseen(const struct pool *pool, const struct count *count)
{
    uint64_t seen = counter_load(&pool->ctl->counters.freed) + count->dropped;
    return pool_is_leased(pool) && count->ended > seen ? count->ended - seen : 0;
}

int pool_recover(struct pool *pool, int64_t now)
{
    struct layout_counters *counters = &pool->ctl->counters;
    struct count count = {0};
    bool cut;
    int status = store_restore(&pool->store, &cut);
    if (status == 0 && cut)
        pool_note_damage(pool);
    drop_nobodys(pool);
    drop_threads(pool);
    pool_revoke_all(pool);
    if (status == 0)
        status = load_holders(pool);
    if (status == 0)
        finish_intent(pool);
    if (status == 0)
        clear_beyond(pool);
    for (uint32_t index = 0; status == 0 && index < pool_capacity(pool); index++)
        status = settle_slot(pool, index, &count);
    if (status == 0)
        status = load_memory(pool, &count, now);
    if (status < 0)
        return status;
    tally_recover(counters, count.live, unseen(pool, &count),
                  pool_is_leased(pool) ? count.ended : 0, now);
    pool_recover_epoch(pool);
    pool->mapped = has_writer(pool);
    /* Who overwrites or gives back memory has it open, so that this can't fail for it. */
    if (!(pool->ctl->flags & LAYOUT_ZERO_FREE) && store_trimmed_size(&pool->store) == 0)
        store_close_data(&pool->store);
    return 0;
}
