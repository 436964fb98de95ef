/* SPDX-License-Identifier: MIT */
#include "client/lease.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/deadline.h"
#include "client/error.h"
#include "client/pool.h"
#include "shm/handle.h"

/* Slots that are asked for first, and again after fewer were to be had. */
#define WANTED_FIRST 32u

/* From grants of so many on, the next one is asked for when no more than a share is left. */
#define AHEAD_LEAST 64u
#define AHEAD_SHARE 4u

/*
 * Slots to get back at once, and the most blocks to look at for them: reading one that another core
 * has written to costs about half a microsecond.
 */
#define RECOVERED_ENOUGH 32u
#define RECOVERED_BLOCKS 4u

/* Operations of a revoked thread after which it asks for its bias, at first and at last. */
#define LOCKED_FIRST 512u
#define LOCKED_MOST (1u << 20)

/* When whoever waits for it is late already. */
#define LONG_AGO INT64_C(1)

/* Objects change hands beside a free, but not as often as that. */
#define FREE_ATTEMPTS 8u

/* Those of one call, by index. Twice as many places as it has handles, at least. */
#define SEEN_MAX (2 * PROTOCOL_BATCH_MAX)

/* ---- Telling the daemon ---------------------------------------------------------------------- */

/*
 * Something was returned, and has its hint. Once for each epoch; marked afterwards, so that nobody
 * relies on a thread that hasn't done it yet.
 */
static void ring_if_awaited(struct lease *lease)
{
    static const uint64_t one = 1;
    uint64_t epoch = epoch_load(lease->epoch);
    if (!lease_somebody_waits(epoch) || __atomic_load_n(&lease->rung, __ATOMIC_RELAXED) == epoch)
        return;
    /* It fails only when it rings already. Nobody else may ring for a thread that ends here. */
    CANCEL_DISABLED;
    ssize_t written = write(lease->pool->bell, &one, sizeof(one));
    (void)written;
    __atomic_store_n(&lease->rung, epoch, __ATOMIC_RELAXED);
    channel_revive(&lease->pool->connection->channel);
}

/* What is CACHED at this word is nobody's to use any more. */
static void return_slot(struct lease *lease, uint32_t index, uint64_t word)
{
    if (lease_stand_aside(&lease->words[index], word))
        lease_hint(lease->hints, index);
}

/* Of those that the cache's thread has. */
static void return_slots(struct lease *lease, const struct cache *cache, const uint32_t *slots,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = word_load(&lease->words[slots[i]]);
        if ((word & LEASE_STATE_MASK) == cache->cached)
            return_slot(lease, slots[i], word);
    }
    ring_if_awaited(lease);
}

static void put_aside(struct lease *lease, uint32_t index, uint64_t word)
{
    return_slot(lease, index, word);
    ring_if_awaited(lease);
}

/* ---- The short ways -------------------------------------------------------------------------- */

/* They are open while the thread isn't revoked, and where nothing is to be done beside the words. */
static void open_ways(const struct lease *lease, struct cache *cache)
{
    bool revoked = bias_is_revoked(cache->line);
    cache->floor = revoked || lease->fills ? LEASE_MAX : cache->low;
    cache->ceiling = revoked || !lease->frees ? 0 : LEASE_MAX;
}

/* One ended in the middle: what it announced it hasn't done; and there may be more slots by now. */
static void begin_slowly(const struct lease *lease, struct cache *cache)
{
    bias_withdraw(cache->line);
    cache->capacity = field32_load(lease->capacity);
    open_ways(lease, cache);
}

/* ---- Numbers of threads ---------------------------------------------------------------------- */

/* Of words that are the cache's: CACHED, and LIVE. */
static void use_states(const struct lease *lease, struct cache *cache, uint64_t cached,
                       uint64_t live)
{
    cache->cached = cached;
    cache->key = live ^ lease->nonce >> (64 - FASTALLOC_WORD_GENERATION_SHIFT);
}

/* They are those of that member, or of a thread of it. */
static void use_number(const struct lease *lease, struct cache *cache, uint32_t number)
{
    use_states(lease, cache, lease_state(number, SLOT_CACHED),
               lease->frees ? lease_state(number, SLOT_LIVE) : LEASE_STATE_NONE);
}

/* Until its thread has a number, none is, so that none is the session's that could be the thread's. */
static void ask_for_number(const struct lease *lease, struct cache *cache)
{
    cache->thread = LEASE_THREAD_NEW;
    use_states(lease, cache, LEASE_STATE_NONE, LEASE_STATE_NONE);
}

static bool has_number(const struct cache *cache)
{
    return cache->thread != LEASE_THREAD_NEW;
}

static void use_thread(const struct lease *lease, struct cache *cache, uint32_t thread)
{
    cache->thread = thread;
    cache->line = &lease->lines[thread - LAYOUT_THREAD_FIRST];
    use_number(lease, cache, thread);
}

/* Of our session: its member number, or that of a thread. */
static bool is_our_number(const struct lease *lease, uint32_t number)
{
    return field_load(&lease->members[number]) == lease->session;
}

static bool is_ours(const struct lease *lease, uint64_t word)
{
    return is_our_number(lease, slot_member(word));
}

static struct layout_thread *line_of(const struct lease *lease, uint64_t word)
{
    return &lease->lines[slot_member(word) - LAYOUT_THREAD_FIRST];
}

/* Whether the word is that of a biased thread other than ours. */
static bool is_others_thread(const struct cache *cache, uint64_t word)
{
    uint32_t number = slot_member(word);
    return bias_is_thread(number) && (!cache || cache->thread != number);
}

/*
 * From now on its thread stores none of its words plainly, but for what it has announced. False: the
 * system doesn't let us, so it is the daemon's to do.
 */
static bool revoke_thread(const struct lease *lease, struct layout_thread *line)
{
    if (bias_is_settled(line))
        return true;
    if (!lease->biased)
        return false;
    uint32_t revoked = bias_revoke(line, BIAS_BY_MEMBER);
    if (!bias_barrier())
        return false;
    bias_settle(line, revoked);
    return true;
}

/* ---- Getting back ---------------------------------------------------------------------------- */

/* What is returned of our own in the block is ours again, unless the pool becomes tight meanwhile. */
static void recover_block(struct lease *lease, struct cache *cache, uint32_t first)
{
    uint32_t end = first + LEASE_BLOCK, capacity = field32_load(lease->capacity);
    for (uint32_t index = first; index < end && index < capacity; index++) {
        uint64_t word = word_load(&lease->words[index]);
        if (slot_state(word) != SLOT_RETURNED || !is_ours(lease, word) || cache_is_full(cache) ||
            !lease_recover(&lease->words[index], word, cache->cached))
            continue;
        if (epoch_load(lease->epoch) != 0) {
            put_aside(lease, index, lease_with_state(word, cache->cached));
            return;
        }
        cache_push(cache, index);
    }
}

/* The next block with a hint from that one on, going round once; `blocks` if there is none. */
static uint32_t next_hinted(const struct lease *lease, uint32_t from, uint32_t blocks)
{
    for (uint32_t i = 0, at = from < blocks ? from : 0; i < blocks;) {
        uint64_t hints = bits_load(&lease->hints[at / 64]) >> at % 64;
        uint32_t skipped = hints ? (uint32_t)__builtin_ctzll(hints) : 64 - at % 64;
        at += skipped;
        i += skipped;
        if (hints && at < blocks)
            return at;
        if (at >= blocks)
            at = 0;
    }
    return blocks;
}

/*
 * What others freed of our slots is got back without the daemon, as long as the pool is roomy: from
 * the blocks with hints, one round after the other. Hints stay: only the daemon, which looks at all
 * of a block, clears them. Enough is enough: an allocation waits for it.
 */
static bool recover(struct lease *lease, struct cache *cache)
{
    uint32_t before = cache->count;
    uint32_t blocks = (field32_load(lease->capacity) + LEASE_BLOCK - 1) / LEASE_BLOCK;
    for (unsigned i = 0; i < RECOVERED_BLOCKS && cache->count - before < RECOVERED_ENOUGH; i++) {
        uint32_t block =
            epoch_load(lease->epoch) == 0 ? next_hinted(lease, cache->cursor, blocks) : blocks;
        if (block == blocks)
            break;
        recover_block(lease, cache, block * LEASE_BLOCK);
        cache->cursor = block + 1;
    }
    return cache->count > before;
}

/* ---- Getting more ---------------------------------------------------------------------------- */

static bool is_thread_of_ours(const struct lease *lease, uint32_t number)
{
    return bias_is_thread(number) && is_our_number(lease, number);
}

static int take_slots(struct call *call, struct descriptors *arrived)
{
    struct cache *cache = call->context;
    struct cache_refill *refill = &cache->refill;
    const struct lease *lease = (const struct lease *)cache->pool;
    const struct bytes *slots = &refill->reply.slots;
    uint32_t count = (uint32_t)(slots->size / LEASE_WIRE_SIZE);
    uint32_t capacity = field32_load(lease->capacity);
    bool valid = slots->size % LEASE_WIRE_SIZE == 0 && count <= refill->request.count;
    for (uint32_t i = 0; valid && i < count; i++) {
        refill->slots[i] = lease_from_wire(slots->data + (size_t)i * LEASE_WIRE_SIZE);
        valid = refill->slots[i] < capacity;
    }
    if (refill->request.thread == LEASE_THREAD_NEW)
        valid =
            valid && (refill->reply.thread == 0 || is_thread_of_ours(lease, refill->reply.thread));
    call->complaint = "slots that there aren't, or more than were asked for, or another's thread";
    refill->count = valid ? count : 0;
    return valid ? 0 : FASTALLOC_ERR_MALFORMED;
}

static void prepare_refill(const struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    if (cache->wanted == 0)
        cache->wanted = WANTED_FIRST;
    refill->count = 0;
    refill->request = (struct lease_request){
        .pool = lease->id,
        .count = cache->wanted,
        .thread = cache->thread,
    };
    refill->call = (struct call){
        .method = METHOD_LEASE,
        .request = &refill->request,
        .reply = &refill->reply,
        .take = take_slots,
        .context = cache,
        .bounded = true,
    };
}

/* Such that they are used in rising order, if they came in that or its reverse. */
static void push_all(struct lease *lease, struct cache *cache, const uint32_t *slots,
                     uint32_t count)
{
    uint32_t room = LEASE_MAX - cache->count, taken = count < room ? count : room;
    bool rising = count > 0 && slots[0] < slots[count - 1];
    for (uint32_t i = 0; i < taken; i++)
        cache_push(cache, slots[rising ? count - 1 - i : i]);
    return_slots(lease, cache, rising ? slots : slots + taken, count - taken);
}

/* As it was given: 0 = there are none left. */
static void take_number(struct lease *lease, struct cache *cache, uint32_t thread)
{
    cache->thread = 0;
    if (thread != 0)
        use_thread(lease, cache, thread);
    else
        use_number(lease, cache, lease->member);
}

/* How many are wanted next, and when. One slot, asked for for the bias, says nothing about that. */
static void learn_from_refill(struct cache *cache)
{
    const struct cache_refill *refill = &cache->refill;
    if (refill->count < refill->request.count)
        cache->wanted = WANTED_FIRST;
    else if (cache->wanted < LEASE_MAX)
        cache->wanted *= 2;
    cache->low = refill->count < AHEAD_LEAST ? 0 : refill->count / AHEAD_SHARE;
}

/* It is over. */
static void take_refill(struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    refill->started = false;
    if (refill->call.result < 0)
        return;
    if (!has_number(cache))
        take_number(lease, cache, refill->reply.thread);
    push_all(lease, cache, refill->slots, refill->count);
    if (refill->request.count == cache->wanted)
        learn_from_refill(cache);
}

/* Of a cache that isn't empty yet: the reply is taken when it is. */
static void refill_ahead(struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    if (!refill->started && recover(lease, cache))
        return;
    cache->low = 0;
    if (refill->started || epoch_load(lease->epoch) != 0)
        return;
    prepare_refill(lease, cache);
    refill->started =
        channel_start(&lease->pool->connection->channel, &refill->call, CHANNEL_AHEAD_MAX);
}

/* Of an empty cache. One request at a time: while one isn't answered it is what is waited for. */
static void start_refill(struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    if (refill->started || epoch_load(lease->epoch) != 0)
        return;
    prepare_refill(lease, cache);
    refill->started = channel_start(&lease->pool->connection->channel, &refill->call, UINT_MAX);
}

/* False: there is nothing to be had, or not in time, or not without waiting in turn. */
static bool refill(struct lease *lease, struct cache *cache, struct lease_wait *wait)
{
    struct cache_refill *refill = &cache->refill;
    if (!refill->started && has_number(cache) && recover(lease, cache))
        return true;
    wait->begun = deadline_in(0);
    start_refill(lease, cache);
    if (!refill->started ||
        !channel_wait(&lease->pool->connection->channel, &refill->call, wait->begun, wait->timeout))
        return false;
    if (wait->timeout == 0) /* answered, or over with its connection: the next one has its time */
        wait->begun = 0;
    take_refill(lease, cache);
    return cache->count > 0;
}

/* ---- Getting the bias back ------------------------------------------------------------------- */

/* The daemon took it, and no member. */
static bool is_revoked_for_now(const struct cache *cache)
{
    return bias_is_thread(cache->thread) &&
           (field32_load(&cache->line->revoked) & BIAS_REVOKED) == BIAS_BY_DAEMON;
}

/* What was asked for before is taken, if it came, or if it is over with its connection. */
static bool is_free_to_ask(struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    if (!refill->started)
        return true;
    if (!channel_wait(&lease->pool->connection->channel, &refill->call, LONG_AGO, 0))
        return false;
    take_refill(lease, cache);
    return true;
}

/*
 * The bias comes back with a grant, and a thread that lives on what it frees itself needs none: so it
 * asks for one slot. That may be in vain, or not last; so it asks ever more rarely.
 */
static void note_locked(struct lease *lease, struct cache *cache)
{
    struct cache_refill *refill = &cache->refill;
    struct channel *channel = &lease->pool->connection->channel;
    if (++cache->locked <= cache->patience || !is_revoked_for_now(cache))
        return;
    cache->locked = 0;
    if (epoch_load(lease->epoch) != 0 || !is_free_to_ask(lease, cache))
        return;
    channel_revive(channel);
    prepare_refill(lease, cache);
    refill->request.count = 1;
    refill->started = channel_start(channel, &refill->call, CHANNEL_AHEAD_MAX);
    if (cache->patience < LOCKED_MOST)
        cache->patience *= 2;
}

/* ---- Freeing --------------------------------------------------------------------------------- */

/* Whoever frees more than it allocates: the half that was cached first goes to others. */
static void make_room(struct lease *lease, struct cache *cache)
{
    uint32_t half = cache->count / 2;
    return_slots(lease, cache, cache->slots, half);
    memmove(cache->slots, cache->slots + half, (cache->count - half) * sizeof(cache->slots[0]));
    cache->count -= half;
}

/* Freed, and CACHED at this word. */
static void keep(struct lease *lease, struct cache *cache, uint32_t index, uint64_t word)
{
    if (epoch_load(lease->epoch) != 0) {
        put_aside(lease, index, word);
        return;
    }
    if (cache_is_full(cache))
        make_room(lease, cache);
    cache_push(cache, index);
}

/* What was freed, and is at this word now, goes where it belongs. */
static void settle(struct lease *lease, struct cache *cache, uint32_t index, uint64_t word)
{
    if (cache && slot_state(word) == SLOT_CACHED) {
        keep(lease, cache, index, word);
        return;
    }
    lease_hint(lease->hints, index);
    ring_if_awaited(lease);
}

bool lease_give_locked(struct lease *lease, fastalloc_handle_t handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    if (!cache || handle.pool != lease->id || handle.index >= field32_load(lease->capacity))
        return false;
    uint64_t *word = &lease->words[handle.index], live = word_load(word);
    uint64_t freed = lease_freed(live, SLOT_CACHED);
    bool given = (live ^ lease_rotated(handle)) == cache->key && word_exchange(word, live, freed);
    begin_slowly(lease, cache); /* not before: to others it was the thread's to free */
    if (given)
        settle(lease, cache, handle.index, freed);
    note_locked(lease, cache);
    return given;
}

void lease_settle_last(struct lease *lease, struct cache *cache)
{
    uint32_t index = cache_pop(cache);
    order_fence(); /* no barrier is issued any more for who is revoked */
    uint64_t word = word_load(&lease->words[index]);
    if ((word & LEASE_STATE_MASK) == cache->cached)
        keep(lease, cache, index, word);
}

/* Why the object can't be freed here; *word is its slot's. Its thread is revoked, if it isn't ours. */
static enum error_code problem_of(const struct lease *lease, const struct cache *cache,
                                  fastalloc_handle_t handle, uint64_t *word)
{
    if (handle.pool != lease->id)
        return ERROR_WRONG_POOL;
    if ((uint64_t)handle_nonce(handle) << 48 != lease->nonce ||
        handle.index >= field32_load(lease->capacity))
        return ERROR_STALE_HANDLE;
    *word = word_load(&lease->words[handle.index]);
    if (!slot_is_allocated(*word) || slot_generation(*word) != handle_generation(handle))
        return ERROR_STALE_HANDLE;
    if (slot_state(*word) == SLOT_SHARED)
        return ERROR_OBJECT_SHARED;
    if (lease->owner_frees && !is_ours(lease, *word))
        return ERROR_NOT_HOLDER;
    bool revoked = !is_others_thread(cache, *word) || revoke_thread(lease, line_of(lease, *word));
    return revoked ? ERROR_NONE : ERROR_OBJECT_SHARED;
}

/* What the slot's word is once this object is freed: ours go into the cache, if there is one. */
static uint64_t freed_word(const struct lease *lease, const struct cache *cache, uint64_t live)
{
    if (!cache || !has_number(cache) || !is_ours(lease, live))
        return lease_freed(live, SLOT_RETURNED);
    uint64_t freed = lease_freed(live, SLOT_CACHED);
    return slot_state(freed) == SLOT_CACHED ? lease_with_state(freed, cache->cached) : freed;
}

static enum error_code free_one(struct lease *lease, fastalloc_handle_t handle)
{
    struct cache *cache = cache_get(&lease->caches);
    if (cache)
        begin_slowly(lease, cache);
    for (unsigned attempt = 0; attempt < FREE_ATTEMPTS; attempt++) {
        uint64_t word;
        enum error_code problem = problem_of(lease, cache, handle, &word);
        if (problem != ERROR_NONE)
            return problem;
        if (is_others_thread(cache, word) && bias_is_amid(line_of(lease, word), handle.index, word))
            return ERROR_STALE_HANDLE;
        uint64_t freed = freed_word(lease, cache, word);
        if (word_exchange(&lease->words[handle.index], word, freed)) {
            settle(lease, cache, handle.index, freed);
            return ERROR_NONE;
        }
    }
    return ERROR_OBJECT_SHARED;
}

/* The handles of one call that were seen, by their slots: an open hash table. */
struct seen {
    uint32_t mask;
    uint32_t slots[SEEN_MAX]; /* index + 1; 0 = free */
};

static void seen_init(struct seen *seen, size_t count)
{
    seen->mask = 1;
    while (seen->mask < 2 * count)
        seen->mask *= 2;
    memset(seen->slots, 0, seen->mask * sizeof(seen->slots[0]));
    seen->mask--;
}

/* Whether the slot was seen before. */
static bool seen_add(struct seen *seen, uint32_t index)
{
    uint32_t place = index & seen->mask;
    while (seen->slots[place] != 0 && seen->slots[place] != index + 1)
        place = (place + 1) & seen->mask;
    bool before = seen->slots[place] != 0;
    seen->slots[place] = index + 1;
    return before;
}

static int raise_handle(const struct lease *lease, enum error_code problem, size_t position,
                        fastalloc_handle_t handle, fastalloc_error_t *error)
{
    struct error wire;
    return error_raise_wire(
        error, error_set_handle(&wire, problem, lease->pool->name, (uint32_t)position, handle));
}

/*
 * A code that is raised. What is shared is the daemon's, which knows who holds it; and it says what
 * there is to say of a pool that was destroyed.
 */
static int refuse(const struct lease *lease, enum error_code problem, size_t position,
                  fastalloc_handle_t handle, fastalloc_error_t *error)
{
    if (problem == ERROR_OBJECT_SHARED || pool_is_destroyed(lease->pool))
        return LEASE_ASK;
    return raise_handle(lease, problem, position, handle, error);
}

static int check_all(const struct lease *lease, const fastalloc_handle_t *handles, size_t count,
                     fastalloc_error_t *error)
{
    const struct cache *cache = cache_find(lease->caches.serial);
    struct seen seen;
    seen_init(&seen, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t word;
        enum error_code problem = problem_of(lease, cache, handles[i], &word);
        if (problem != ERROR_STALE_HANDLE && problem != ERROR_WRONG_POOL &&
            seen_add(&seen, handles[i].index))
            problem = ERROR_DUPLICATE_HANDLE;
        if (problem != ERROR_NONE)
            return refuse(lease, problem, i, handles[i], error);
    }
    return 0;
}

static int free_only(struct lease *lease, fastalloc_handle_t handle, fastalloc_error_t *error)
{
    enum error_code problem = free_one(lease, handle);
    return problem == ERROR_NONE ? 0 : refuse(lease, problem, 0, handle, error);
}

int lease_free_many(struct lease *lease, const fastalloc_handle_t *handles, size_t count,
                    fastalloc_error_t *error)
{
    int result = lease->frees ? 0 : LEASE_ASK;
    if (result == 0)
        result = count > 1 ? check_all(lease, handles, count, error)
                           : free_only(lease, handles[0], error);
    if (result != 0 || count == 1)
        return result;
    for (size_t i = 0; i < count; i++) {
        enum error_code problem =
            lease_give(lease, handles[i]) || lease_give_locked(lease, handles[i])
                ? ERROR_NONE
                : free_one(lease, handles[i]);
        if (problem != ERROR_NONE && result == 0)
            result = raise_handle(lease, problem, i, handles[i], error);
    }
    return result;
}

/* ---- Allocating ------------------------------------------------------------------------------ */

static void fill(const struct lease *lease, uint32_t index)
{
    const struct fastalloc_pool *pool = lease->pool;
    const struct geometry *geometry = &pool->mapping.geometry;
    unsigned char *object = pool->view->data + index * geometry->stride;
    if (pool->content_size > 0)
        memcpy(object, pool->content, pool->content_size);
    if (pool->mapping.flags & LAYOUT_ZERO_ALLOCATE)
        memset(object + pool->content_size, 0, geometry->object_size - pool->content_size);
}

/* One out of a cache that may have some that it hasn't. */
static bool take_one(const struct lease *lease, struct cache *cache, fastalloc_handle_t *handle)
{
    while (cache->count > 0) {
        uint64_t live;
        uint32_t index = cache_pop(cache);
        if (!lease_allocate(&lease->words[index], cache->cached, &live))
            continue;
        if (lease->fills)
            fill(lease, index);
        lease_write_handle(lease, index, live, handle);
        return true;
    }
    return false;
}

bool lease_take_locked(struct lease *lease, fastalloc_handle_t *handle)
{
    struct cache *cache = cache_find(lease->caches.serial);
    uint64_t live;
    if (!cache || cache->count <= cache->low || lease->fills || pool_is_destroyed(lease->pool))
        return false;
    begin_slowly(lease, cache); /* before the word is looked at: it may be granted anew meanwhile */
    uint32_t index = cache_pop(cache);
    if (!lease_allocate(&lease->words[index], cache->cached, &live))
        return false;
    lease_write_handle(lease, index, live, handle);
    note_locked(lease, cache);
    return true;
}

/* Refilled once: what is taken back at once is asked for in turn. */
static bool allocate_one(struct lease *lease, struct cache *cache, fastalloc_handle_t *handle,
                         struct lease_wait *wait)
{
    if (cache->count > 0 && cache->count <= cache->low)
        refill_ahead(lease, cache);
    return take_one(lease, cache, handle) ||
           (refill(lease, cache, wait) && take_one(lease, cache, handle));
}

static bool allocate_several(struct lease *lease, struct cache *cache, size_t count,
                             fastalloc_handle_t *handles, struct lease_wait *wait)
{
    size_t taken = 0;
    if (!has_number(cache))
        refill(lease, cache, wait);
    if (cache->count < count)
        return false;
    while (taken < count && take_one(lease, cache, &handles[taken]))
        taken++;
    for (size_t i = taken; taken < count && i > 0; i--)
        free_one(lease, handles[i - 1]);
    return taken == count;
}

bool lease_allocate_many(struct lease *lease, size_t count, fastalloc_handle_t *handles,
                         struct lease_wait *wait)
{
    struct cache *cache = pool_is_destroyed(lease->pool) ? NULL : cache_get(&lease->caches);
    if (!cache)
        return false;
    begin_slowly(lease, cache);
    bool done = count == 1 ? allocate_one(lease, cache, handles, wait)
                           : allocate_several(lease, cache, count, handles, wait);
    open_ways(lease, cache);
    return done;
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static void on_cache_begin(struct cache *cache)
{
    struct lease *lease = (struct lease *)cache->pool;
    cache->capacity = field32_load(lease->capacity);
    cache->patience = LOCKED_FIRST;
    cache->line = &cache->unbiased;
    bias_revoke(cache->line, BIAS_BY_MEMBER);
    if (lease->biased)
        ask_for_number(lease, cache);
    else
        use_number(lease, cache, lease->member);
}

/* The slots are its thread's, and that is the next one's: its number is kept. */
static void return_refill(struct lease *lease, struct cache *cache, int result)
{
    if (result < 0)
        return;
    if (!has_number(cache))
        take_number(lease, cache, cache->refill.reply.thread);
    return_slots(lease, cache, cache->refill.slots, cache->refill.count);
}

static void return_cache(struct lease *lease, struct cache *cache)
{
    return_slots(lease, cache, cache->slots, cache->count);
    bias_withdraw(cache->line);
    cache->count = cache->low = 0;
}

/* What a thread has asked for that isn't there any more. */
static int take_late_slots(struct call *call, struct descriptors *arrived)
{
    struct cache *cache = call->context;
    int result = take_slots(call, arrived);
    return_refill((struct lease *)cache->pool, cache, result);
    return result;
}

static void on_cache_leave(struct cache *cache)
{
    struct lease *lease = (struct lease *)cache->pool;
    struct cache_refill *refill = &cache->refill;
    return_cache(lease, cache);
    if (refill->started &&
        !channel_leave(&lease->pool->connection->channel, &refill->call, take_late_slots)) {
        refill->started = false;
        return_refill(lease, cache, refill->call.result);
    }
}

static bool on_cache_take_over(struct cache *cache)
{
    struct lease *lease = (struct lease *)cache->pool;
    struct cache_refill *refill = &cache->refill;
    if (refill->started)
        refill->started = !channel_is_over(&lease->pool->connection->channel, &refill->call);
    return !refill->started;
}

static void on_cache_end(struct cache *cache)
{
    struct lease *lease = (struct lease *)cache->pool;
    struct cache_refill *refill = &cache->refill;
    if (refill->started && !channel_abandon(&lease->pool->connection->channel, &refill->call))
        return_refill(lease, cache, refill->call.result);
    return_cache(lease, cache);
}

static const struct cache_user cache_user = {
    .begin = on_cache_begin,
    .leave = on_cache_leave,
    .take_over = on_cache_take_over,
    .end = on_cache_end,
};

int lease_init(struct lease *lease, struct fastalloc_pool *pool, uint32_t member,
               fastalloc_error_t *error)
{
    const struct mapping *mapping = &pool->mapping;
    struct layout_ctl *ctl = mapping->parts[MAPPING_CTL].address;
    char *slots = mapping->parts[MAPPING_SLOTS].address;
    int result = cache_pool_init(&lease->caches, &cache_user);
    if (result < 0)
        return error_raise(error, result, "cannot set up caches for pool '%s': %s", pool->name,
                           error_text(-result));
    lease->fills = pool->content_size > 0 || mapping->flags & LAYOUT_ZERO_ALLOCATE;
    lease->frees = !(mapping->flags & LAYOUT_ZERO_FREE);
    lease->owner_frees = mapping->flags & LAYOUT_OWNER_FREES;
    lease->biased = lease->frees && bias_register() && bias_barrier();
    lease->id = pool->id;
    lease->nonce = mapping->identity << 48;
    lease->capacity = &ctl->capacity;
    lease->words = (uint64_t *)(void *)(slots + mapping->geometry.words_offset);
    lease->hints = (uint64_t *)(void *)slots;
    lease->lines = (struct layout_thread *)(void *)(slots + mapping->geometry.threads_offset);
    lease->members = (const uint64_t *)((const char *)ctl + mapping->geometry.members_offset);
    lease->session = field_load(&lease->members[member]);
    lease->member = member;
    lease->epoch = &ctl->waiters;
    lease->pool = pool;
    return 0;
}

void lease_deinit(struct lease *lease)
{
    cache_pool_deinit(&lease->caches);
}
