/* SPDX-License-Identifier: MIT */
/* What members do with handles: who may, and how objects change hands. */
#include "daemon/pool_part.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "daemon/name.h"
#include "daemon/tally.h"
#include "shm/order.h"

/* ---- Change of hands ------------------------------------------------------------------------- */

/*
 * Announces the change that the word is to show at once, and the ledger after it. A daemon that
 * starts finds here what it has to finish, or that it hadn't begun.
 */
static void begin_change(struct pool *pool, enum layout_intent_kind kind, uint32_t index,
                         uint32_t from, uint32_t to, uint64_t generation, uint64_t entry)
{
    struct layout_intent *intent = &pool->ctl->intent;
    field32_store(&intent->index, index);
    field32_store(&intent->from, from);
    field32_store(&intent->to, to);
    field_store(&intent->generation, generation);
    field_store(&intent->entry, entry);
    field32_store(&intent->kind, kind);
}

static void end_change(struct pool *pool)
{
    field32_store(&pool->ctl->intent.kind, LAYOUT_INTENT_NONE);
}

/*
 * The word's part of a change of hands. In a leased pool a member may free the object first: then
 * nothing is changed.
 */
static bool change_word(struct pool *pool, uint32_t index, uint32_t member, enum slot_state state,
                        uint64_t generation)
{
    bool changed = slot_change_hands(&pool->words[index], generation, member, state);
    assert(changed || pool_is_leased(pool));
    if (changed && pool_is_leased(pool))
        pool->lease.seen[index] = slot_word(generation, member, state);
    return changed;
}

/* LIVE of one member to LIVE of another, or of the pool; the charges are the caller's to see to. */
static bool move_live(struct pool *pool, uint32_t index, uint32_t to, uint64_t generation,
                      int64_t now)
{
    uint32_t from = ledger_holder(&pool->ledger, index);
    uint64_t entry = layout_ledger_entry(0, to);
    begin_change(pool, LAYOUT_INTENT_MOVE, index, from, to, generation, entry);
    bool changed = change_word(pool, index, to, SLOT_LIVE, generation);
    if (changed) {
        pool_forget_evictable(pool, index);
        ledger_move(&pool->ledger, index, entry);
    }
    end_change(pool);
    if (!changed)
        return false;
    tally_handed_on(&pool->ctl->counters, pool_end_age(pool, index, now));
    ages_begin(&pool->ages, index, now);
    return true;
}

/* LIVE of one member to SHARED by it and by another. */
static bool share_live(struct pool *pool, uint32_t index, uint32_t with, uint64_t generation)
{
    uint32_t from = ledger_holder(&pool->ledger, index);
    uint64_t entry = layout_ledger_entry(0, SLOT_MEMBER_POOL);
    begin_change(pool, LAYOUT_INTENT_SHARE, index, from, with, generation, entry);
    bool changed = change_word(pool, index, SLOT_MEMBER_POOL, SLOT_SHARED, generation);
    if (changed) {
        holders_add(&pool->holders, index, generation, from);
        holders_add(&pool->holders, index, generation, with);
        pool_forget_evictable(pool, index);
        ledger_move(&pool->ledger, index, entry);
    }
    end_change(pool);
    return changed;
}

/* ---- Operations on handles ------------------------------------------------------------------- */

/*
 * One operation, on one slot whose handle is good: whether the member may, and how it is done;
 * which is false if a member of a leased pool has just freed the object.
 */
struct operation {
    enum error_code (*problem)(const struct pool *pool, uint32_t index, uint32_t member);
    bool (*apply)(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                  int64_t now);
};

static bool is_shared(const struct pool *pool, uint32_t index)
{
    return holders_count(&pool->holders, index) > 0;
}

static bool holds(const struct pool *pool, uint32_t index, uint32_t member)
{
    return is_shared(pool, index) ? holders_has(&pool->holders, index, member)
                                  : ledger_holder(&pool->ledger, index) == member;
}

static bool only_owner(const struct pool *pool)
{
    return pool->ctl->flags & LAYOUT_OWNER_FREES;
}

static enum error_code free_problem(const struct pool *pool, uint32_t index, uint32_t member)
{
    if (is_shared(pool, index))
        return holders_has_all(&pool->holders, index, member) ? ERROR_NONE : ERROR_OBJECT_SHARED;
    return only_owner(pool) && !holds(pool, index, member) ? ERROR_NOT_HOLDER : ERROR_NONE;
}

static bool apply_free(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                       int64_t now)
{
    if (!is_shared(pool, index))
        return pool_free_live(pool, index, generation, now);
    for (uint32_t holds = holders_clear(&pool->holders, index); holds > 0; holds--)
        pool_discharge(pool, member);
    return pool_take_back(pool, index, generation, now);
}

static enum error_code release_problem(const struct pool *pool, uint32_t index, uint32_t member)
{
    return holds(pool, index, member) ? ERROR_NONE : ERROR_NOT_HOLDER;
}

static bool apply_release(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                          int64_t now)
{
    if (!is_shared(pool, index))
        return pool_free_live(pool, index, generation, now);
    holders_remove(&pool->holders, index, member);
    pool_discharge(pool, member);
    return holders_count(&pool->holders, index) > 0 || pool_take_back(pool, index, generation, now);
}

static enum error_code no_problem(const struct pool *pool, uint32_t index, uint32_t member)
{
    (void)pool;
    (void)index;
    (void)member;
    return ERROR_NONE;
}

static bool apply_retain(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                         int64_t now)
{
    (void)now;
    if (is_shared(pool, index)) {
        holders_add(&pool->holders, index, generation, member);
        return true;
    }
    if (share_live(pool, index, member, generation))
        return true;
    pool_discharge(pool, member);
    return false;
}

/* Where only the owner may free, he has to let go first. */
static enum error_code adopt_problem(const struct pool *pool, uint32_t index, uint32_t member)
{
    if (holds(pool, index, SLOT_MEMBER_POOL))
        return ERROR_NONE;
    if (is_shared(pool, index))
        return ERROR_OBJECT_SHARED;
    return only_owner(pool) && !holds(pool, index, member) ? ERROR_NOT_HOLDER : ERROR_NONE;
}

/* One slot is charged to the member again, of which it was discharged just now. */
static void recharge(struct pool *pool, uint32_t member)
{
    if (member == SLOT_MEMBER_POOL)
        return;
    struct pool_account *account = pool->accounts[member];
    charge_take(&account->held.session, &account->quota, 1);
    charge_take(&account->held.user, &account->user->quotas[USER_SLOTS], 1);
}

static bool apply_adopt(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                        int64_t now)
{
    if (is_shared(pool, index)) {
        holders_move(&pool->holders, index, SLOT_MEMBER_POOL, member);
        return true;
    }
    if (move_live(pool, index, member, generation, now))
        return true;
    pool_discharge(pool, member);
    recharge(pool, ledger_holder(&pool->ledger, index));
    return false;
}

static enum error_code detach_problem(const struct pool *pool, uint32_t index, uint32_t member)
{
    if (holds(pool, index, member))
        return ERROR_NONE;
    if (is_shared(pool, index))
        return ERROR_OBJECT_SHARED;
    return only_owner(pool) ? ERROR_NOT_HOLDER : ERROR_NONE;
}

static bool apply_detach(struct pool *pool, uint32_t index, uint32_t member, uint64_t generation,
                         int64_t now)
{
    uint32_t holder = ledger_holder(&pool->ledger, index);
    if (is_shared(pool, index)) {
        holders_move(&pool->holders, index, member, SLOT_MEMBER_POOL);
        pool_discharge(pool, member);
        return true;
    }
    if (!move_live(pool, index, SLOT_MEMBER_POOL, generation, now))
        return false;
    pool_discharge(pool, holder);
    return true;
}

static const struct operation operations[] = {
    [POOL_FREE] = {free_problem, apply_free},
    [POOL_RELEASE] = {release_problem, apply_release},
    [POOL_RETAIN] = {no_problem, apply_retain},
    [POOL_ADOPT] = {adopt_problem, apply_adopt},
    [POOL_DETACH] = {detach_problem, apply_detach},
};

/* Nobody stores plainly to the object's word any more, but for a free that is under way. */
static bool revoke_for(struct pool *pool, fastalloc_handle_t handle)
{
    uint64_t word = word_load(&pool->words[handle.index]);
    return slot_state(word) != SLOT_LIVE || slot_generation(word) != handle_generation(handle) ||
           pool_revoke(pool, slot_member(word));
}

/* Sees the slot's word: whether it holds an object, which no thread is in the middle of freeing. */
static enum error_code check_leased(struct pool *pool, fastalloc_handle_t handle, int64_t now)
{
    if (!revoke_for(pool, handle))
        return ERROR_OUT_OF_MEMORY;
    bool holds = pool_check_word(pool, handle.index, now) &&
                 !pool_is_amid(pool, handle.index, pool->lease.seen[handle.index]);
    return holds ? ERROR_NONE : ERROR_STALE_HANDLE;
}

/* 0, or why nothing can be done with the handle. */
static enum error_code handle_problem(struct pool *pool, fastalloc_handle_t handle, int64_t now)
{
    if (handle.pool != pool->id)
        return ERROR_WRONG_POOL;
    if (handle_nonce(handle) != pool->nonce || handle.index >= pool_capacity(pool))
        return ERROR_STALE_HANDLE;
    bool leased = pool_is_leased(pool);
    enum error_code problem = leased ? check_leased(pool, handle, now) : ERROR_NONE;
    if (problem != ERROR_NONE)
        return problem;
    uint64_t word = leased ? pool->lease.seen[handle.index] : word_load(&pool->words[handle.index]);
    if (!slot_is_allocated(word) || slot_generation(word) != handle_generation(handle))
        return ERROR_STALE_HANDLE;
    return ERROR_NONE;
}

/* Sets or clears the mark of the slot; returns whether it was set. */
static bool swap_mark(struct pool *pool, uint32_t index, bool set)
{
    uint64_t bit = UINT64_C(1) << index % 64;
    uint64_t *marks = &pool->marks[index / 64];
    bool was_set = *marks & bit;
    *marks = set ? *marks | bit : *marks & ~bit;
    return was_set;
}

static uint32_t index_at(const uint8_t *handles, uint32_t position)
{
    return handle_from_wire(handles + (size_t)position * HANDLE_WIRE_SIZE).index;
}

/* Whether the operation is possible for all of them. */
static bool check_handles(struct pool *pool, const struct operation *operation, uint32_t member,
                          const uint8_t *handles, uint32_t count, int64_t now, struct error *error)
{
    enum error_code problem = ERROR_NONE;
    uint32_t marked = 0;

    for (uint32_t i = 0; problem == ERROR_NONE && i < count; i++) {
        fastalloc_handle_t handle = handle_from_wire(handles + (size_t)i * HANDLE_WIRE_SIZE);
        problem = handle_problem(pool, handle, now);
        if (problem == ERROR_NONE && swap_mark(pool, handle.index, true))
            problem = ERROR_DUPLICATE_HANDLE;
        else if (problem == ERROR_NONE)
            marked++;
        if (problem == ERROR_NONE)
            problem = operation->problem(pool, handle.index, member);
        if (problem != ERROR_NONE)
            error_set_handle(error, problem, pool->ctl->name, i, handle);
    }
    for (uint32_t i = 0; i < marked; i++)
        swap_mark(pool, index_at(handles, i), false);
    return problem == ERROR_NONE;
}

/* A LIVE one becomes two holds, the holder's and the new one. */
static uint32_t new_holds(const struct pool *pool, const uint8_t *handles, uint32_t count)
{
    uint32_t holds = count;
    for (uint32_t i = 0; i < count; i++)
        holds += !is_shared(pool, index_at(handles, i));
    return holds;
}

/* Bytes by which the holders' object grows for so many more: it is doubled until they fit. */
static uint64_t holders_memory(const struct pool *pool, uint32_t more)
{
    uint64_t room = pool->holders.room, needed = holders_total(&pool->holders) + (uint64_t)more;
    uint64_t grown = room > 0 ? room : HOLDERS_FIRST;
    while (grown < needed)
        grown *= 2;
    return (grown - room) * sizeof(uint64_t);
}

static bool refuse_holds(const struct pool *pool, uint32_t limit, struct error *error)
{
    error_set(error, ERROR_LIMIT_EXCEEDED,
              "pool '%s' keeps %" PRIu32 " holds of shared objects at most; release some",
              pool->ctl->name, limit);
    error->max = limit;
    return false;
}

/* Room that is made stays, and stays charged to the pool's user: as a part of the pool. */
static bool reserve_holds(struct pool *pool, const uint8_t *handles, uint32_t count,
                          struct error *error)
{
    uint32_t more = new_holds(pool, handles, count), limit = holders_limit(pool_capacity(pool));
    if (holders_total(&pool->holders) + (uint64_t)more > limit)
        return refuse_holds(pool, limit, error);
    uint64_t memory = holders_memory(pool, more), before = holders_size(&pool->holders);
    struct charge bytes = CHARGE_NONE;
    if (pool->user && !user_charge(pool->user, USER_BYTES, memory, &bytes, error))
        return false;
    int status = holders_reserve(&pool->holders, more, pool_capacity(pool), SLOT_MEMBER_POOL);
    if (status == 0)
        status = ledger_add_member(&pool->ledger, SLOT_MEMBER_POOL);
    if (holders_size(&pool->holders) > before)
        charge_move(&bytes, &pool->bytes);
    charge_deinit(&bytes);
    return status == 0 ||
           pool_refuse_memory(pool, " for holders of shared objects", memory, status, error);
}

/*
 * The objects are charged to the member instead of to their holders, who may be of the same user.
 */
static bool charge_instead(struct pool *pool, uint32_t member, const uint8_t *handles,
                           uint32_t count, struct slots_charge *charge, struct error *error)
{
    for (uint32_t i = 0; i < count; i++)
        pool_discharge(pool, ledger_holder(&pool->ledger, index_at(handles, i)));
    if (pool_charge(pool, member, count, charge, error))
        return true;
    for (uint32_t i = 0; i < count; i++)
        recharge(pool, ledger_holder(&pool->ledger, index_at(handles, i)));
    return false;
}

/* What the operation takes besides the handles: charges of the member's, room for holds. */
static bool take_means(struct pool *pool, enum pool_operation operation, uint32_t member,
                       const uint8_t *handles, uint32_t count, struct slots_charge *charge,
                       struct error *error)
{
    const struct layout_policy *policy = &pool->ctl->policy;
    if (operation == POOL_DETACH && (policy->session_slots > 0 || policy->user_slots > 0)) {
        error_set(
            error, ERROR_NOT_PERMITTED,
            "pool '%s' has quotas, which objects that nobody holds would escape; hand them on "
            "by adopt",
            pool->ctl->name);
        name_copy(error->pool, pool->ctl->name);
        return false;
    }
    if (operation == POOL_DETACH && ledger_add_member(&pool->ledger, SLOT_MEMBER_POOL) < 0)
        return pool_refuse_memory(pool, " to detach objects", 0, -ENOMEM, error);
    if (operation == POOL_ADOPT)
        return charge_instead(pool, member, handles, count, charge, error);
    return operation != POOL_RETAIN || (reserve_holds(pool, handles, count, error) &&
                                        pool_charge(pool, member, count, charge, error));
}

static bool prepare(struct pool *pool, enum pool_operation operation, uint32_t member,
                    const uint8_t *handles, uint32_t count, struct slots_charge *charge,
                    int64_t now, struct error *error)
{
    return check_handles(pool, &operations[operation], member, handles, count, now, error) &&
           take_means(pool, operation, member, handles, count, charge, error);
}

/*
 * The holds of the member, by which the step can be told that was taken from the one that wasn't.
 */
static void note_step(struct pool *pool, uint32_t position, uint32_t index, uint32_t member)
{
    if (pool->journal)
        journal_step(pool->journal, position, holders_count_of(&pool->holders, index, member));
}

/* All that can be done yet. False: not all of it, since somebody has freed an object meanwhile. */
static bool apply_all(struct pool *pool, enum pool_operation operation, uint32_t member,
                      const uint8_t *handles, uint32_t count, int64_t now, struct error *error)
{
    bool done = true;
    for (uint32_t i = 0; i < count; i++) {
        fastalloc_handle_t handle = handle_from_wire(handles + (size_t)i * HANDLE_WIRE_SIZE);
        note_step(pool, i, handle.index, member);
        if (operations[operation].apply(pool, handle.index, member, handle_generation(handle), now))
            continue;
        if (done)
            error_set_handle(error, ERROR_STALE_HANDLE, pool->ctl->name, i, handle);
        done = false;
    }
    return done;
}

bool pool_operate(struct pool *pool, enum pool_operation operation, uint32_t member,
                  const uint8_t *handles, uint32_t count, int64_t now, struct error *error)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    error->code = ERROR_NONE;
    bool done = prepare(pool, operation, member, handles, count, &charge, now, error);
    if (!done && error->code == ERROR_QUOTA_EXCEEDED && pool_is_leased(pool)) {
        /* Caches are given up before a quota refuses; which changes what the handles are of. */
        pool_harvest_all(pool, now);
        done = prepare(pool, operation, member, handles, count, &charge, now, error);
    }
    if (done) {
        pool_charge_holder(pool, member, &charge);
        error->code = ERROR_NONE;
        if (pool->journal)
            journal_begin(pool->journal, (enum journal_kind)(JOURNAL_OPERATE + operation), pool->id,
                          member, handles, count);
        done = apply_all(pool, operation, member, handles, count, now, error);
        if (pool->journal)
            journal_end(pool->journal, done);
    }
    slots_charge_deinit(&charge);
    return done;
}

/* ---- What a dead daemon had begun ------------------------------------------------------------ */

/*
 * Whether the step that was under way had been taken. A change of holds is told by their number.
 * All else can be done twice: what was freed is stale by now, and what is the member's can be made
 * so.
 */
static bool was_taken(const struct pool *pool, enum pool_operation operation, uint32_t position,
                      uint32_t index, uint32_t member)
{
    uint32_t holds = journal_holds(pool->journal);
    return operation != POOL_FREE && position == journal_next(pool->journal) &&
           holds != JOURNAL_HOLDS_NONE && holders_count_of(&pool->holders, index, member) != holds;
}

/* There is no memory for it, or the system fails; not that it can't be done. */
static int lack_of(const struct error *error)
{
    bool lack = error->code == ERROR_OUT_OF_MEMORY || error->code == ERROR_SHARED_MEMORY_FULL ||
                error->code == ERROR_SYSTEM;
    return lack ? -ENOMEM : 0;
}

/*
 * As far as it can still be done: members of leased pools went on meanwhile. Sets whether it was.
 * 0, or -ENOMEM: it isn't begun.
 */
static int finish_one(struct pool *pool, enum pool_operation operation, uint32_t position,
                      int64_t now, bool *done)
{
    const struct registry_change *record = pool->journal->record;
    const uint8_t *wire = record->handles + (size_t)position * HANDLE_WIRE_SIZE;
    fastalloc_handle_t handle = handle_from_wire(wire);
    struct slots_charge charge = {.session = CHARGE_NONE};
    struct error error;
    uint32_t member = record->member;
    bool possible = check_handles(pool, &operations[operation], member, wire, 1, now, &error);
    *done = possible && take_means(pool, operation, member, wire, 1, &charge, &error);
    int status = possible && !*done ? lack_of(&error) : 0;
    if (*done) {
        pool_charge_holder(pool, member, &charge);
        note_step(pool, position, handle.index, member);
        *done =
            operations[operation].apply(pool, handle.index, member, handle_generation(handle), now);
    }
    slots_charge_deinit(&charge);
    return status;
}

/*
 * The step was begun before: then what can't be done any more may have been done by it. But for a
 * retain, of which was_taken() knows.
 */
static bool was_begun(const struct journal *journal, enum pool_operation operation,
                      uint32_t position)
{
    return operation != POOL_RETAIN && position == journal_next(journal) &&
           journal_holds(journal) != JOURNAL_HOLDS_NONE;
}

int pool_finish_change(struct pool *pool, int64_t now)
{
    const struct registry_change *record = pool->journal->record;
    enum pool_operation operation = (enum pool_operation)(record->kind - JOURNAL_OPERATE);
    bool all = true;
    for (uint32_t i = journal_next(pool->journal); i < record->count; i++) {
        uint32_t index = index_at(record->handles, i);
        bool done, begun = was_begun(pool->journal, operation, i);
        if (was_taken(pool, operation, i, index, record->member))
            continue;
        int status = finish_one(pool, operation, i, now, &done);
        if (status < 0)
            return status;
        all &= done || begun;
    }
    journal_end(pool->journal, all);
    return 0;
}

/* ---- Objects that nobody knows of ------------------------------------------------------------ */

/* In a leased pool the member may have freed it, or be about to. */
static bool settle_slot(struct pool *pool, uint32_t index, int64_t now)
{
    uint64_t generation = slot_generation(word_load(&pool->words[index]));
    fastalloc_handle_t handle = handle_make(pool->id, index, pool->nonce, generation);
    return handle_problem(pool, handle, now) == ERROR_NONE &&
           pool_free_live(pool, index, generation, now);
}

/* What was granted ahead, or changed hands since, has no number. */
uint32_t pool_settle(struct pool *pool, uint32_t member, const struct numbers *requests,
                     int64_t now)
{
    uint32_t freed = 0;
    for (uint32_t index = ledger_oldest(&pool->ledger, member), next; index != LEDGER_NONE;
         index = next) {
        uint64_t request = layout_ledger_request(ledger_entry(&pool->ledger, index));
        next = ledger_after(&pool->ledger, index);
        if (request != 0 && numbers_have(requests, request))
            freed += settle_slot(pool, index, now);
    }
    return freed;
}
