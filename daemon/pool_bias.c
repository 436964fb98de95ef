/* SPDX-License-Identifier: MIT */
/*
 * Biased threads of a leased pool: their numbers, and who of them may store plainly (shm/bias.h).
 *
 * Members may write anything to the threads' lines. So what the daemon does depends on them in one place
 * only: whether a slot is left to a thread that says it is in the middle of changing its word.
 */
#include "daemon/pool_part.h"

#include "shm/bias.h"
#include "shm/order.h"

static struct lease_thread *thread_of(struct pool *pool, uint32_t number)
{
    return &pool->lease.threads[number - LAYOUT_THREAD_FIRST];
}

static struct layout_thread *line_of(const struct pool *pool, uint32_t number)
{
    char *lines = (char *)pool->store.slots + pool->store.geometry.threads_offset;
    return (struct layout_thread *)lines + (number - LAYOUT_THREAD_FIRST);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Without it nobody could be revoked. It is tried once: a system doesn't come to have it. */
static bool has_barrier(void)
{
    static bool tried, has;
    if (!tried)
        has = bias_barrier();
    tried = true;
    return has;
}

static uint32_t free_number(const struct pool *pool)
{
    uint32_t number = LAYOUT_THREAD_FIRST;
    while (number < SLOT_MEMBER_POOL && pool_member_of(pool, number) != SLOT_MEMBER_NONE)
        number++;
    return number < SLOT_MEMBER_POOL ? number : SLOT_MEMBER_NONE;
}

uint32_t pool_add_thread(struct pool *pool, uint32_t member)
{
    uint64_t *members = pool->store.members;
    uint32_t number = pool_is_leased(pool) && has_barrier() ? free_number(pool) : SLOT_MEMBER_NONE;
    if (number == SLOT_MEMBER_NONE)
        return SLOT_MEMBER_NONE;
    bias_begin(line_of(pool, number));
    thread_of(pool, number)->member = member;
    field_store(&members[number], field_load(&members[member]));
    return number;
}

uint32_t pool_member_of(const struct pool *pool, uint32_t number)
{
    return bias_is_thread(number) ? pool->lease.threads[number - LAYOUT_THREAD_FIRST].member
                                  : number;
}

bool pool_has_thread(const struct pool *pool, uint32_t member, uint32_t number)
{
    return bias_is_thread(number) && pool_member_of(pool, number) == member;
}

/* ---- Revoking -------------------------------------------------------------------------------- */

static void set_biased(struct pool *pool, uint32_t number, bool biased)
{
    struct lease_thread *thread = thread_of(pool, number);
    pool->lease.biased += biased - thread->biased;
    thread->biased = biased;
}

void pool_take_thread(struct pool *pool, uint32_t member, uint32_t number)
{
    thread_of(pool, number)->member = member;
    set_biased(pool, number, true);
}

bool pool_revoke(struct pool *pool, uint32_t number)
{
    if (!bias_is_thread(number) || !thread_of(pool, number)->biased)
        return true;
    bias_revoke(line_of(pool, number), BIAS_BY_DAEMON);
    set_biased(pool, number, !bias_barrier());
    return !thread_of(pool, number)->biased;
}

void pool_revoke_all(struct pool *pool)
{
    if (pool->lease.biased == 0)
        return;
    for (uint32_t number = LAYOUT_THREAD_FIRST; number < SLOT_MEMBER_POOL; number++)
        if (thread_of(pool, number)->biased)
            bias_revoke(line_of(pool, number), BIAS_BY_DAEMON);
    if (!bias_barrier())
        return;
    for (uint32_t number = LAYOUT_THREAD_FIRST; number < SLOT_MEMBER_POOL; number++)
        set_biased(pool, number, false);
}

void pool_restore(struct pool *pool, uint32_t number)
{
    bias_restore(line_of(pool, number));
    set_biased(pool, number, true);
}

/* A thread that couldn't be revoked, for want of a barrier, may be in the middle of anything. */
bool pool_is_amid(const struct pool *pool, uint32_t index, uint64_t word)
{
    uint32_t number = slot_member(word);
    return bias_is_thread(number) && (pool->lease.threads[number - LAYOUT_THREAD_FIRST].biased ||
                                      bias_is_amid(line_of(pool, number), index, word));
}

/* ---- The end --------------------------------------------------------------------------------- */

void pool_end_threads(struct pool *pool, uint32_t member)
{
    for (uint32_t number = LAYOUT_THREAD_FIRST; number < SLOT_MEMBER_POOL; number++) {
        if (!pool_has_thread(pool, member, number))
            continue;
        set_biased(pool, number, false);
        thread_of(pool, number)->member = SLOT_MEMBER_NONE;
        field_store(&pool->store.members[number], 0);
    }
}
