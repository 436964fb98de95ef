/* SPDX-License-Identifier: MIT */
/*
 * Members that write what they like to the words, hint bits and threads' lines of a leased pool. Nothing of it
 * harms the daemon, another pool, or an object whose word was left alone; and the pool is damaged, once.
 *
 * FASTALLOC_SEED and FASTALLOC_STEPS choose the run of the random test; the seed is printed.
 */
#include "daemon/leasing.h"

#include "tests/unit/leasing_case.h"

#define CLEAN_SLOTS 8u
#define HONEST 4u /* slots of carol's, whose words nobody spoils */

/* libcheck's own assertions write a note each time, which is too slow here. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s: %s", described, #condition);                                         \
    } while (0)

static char described[200];
static struct session *carol;
static struct pool *clean; /* leased too, and left alone */
static uint8_t live_in_clean[HANDLE_WIRE_SIZE];
static uint32_t c; /* carol's number in `leased` */
static uint32_t
    threads[2]; /* a thread of alice's, one of bob's; SLOT_MEMBER_NONE where there is no barrier */

/* ---- What must hold nevertheless ------------------------------------------------------------- */

static uint64_t honest[HONEST];

static void check_honest(void)
{
    for (uint32_t i = 0; i < HONEST; i++)
        must(member_word(leased, i) == honest[i] && holder_of(i) == c);
}

/* The laws are about words as well: these are as the daemon saw them last, for as long as it takes. */
static void check_despite(void)
{
    static uint64_t spoilt[4 * LEASE_BLOCK];
    size_t size = pool_capacity(leased) * sizeof(spoilt[0]);
    must(size <= sizeof(spoilt));
    memcpy(spoilt, leased->words, size);
    memcpy(leased->words, leased->lease.seen, size);
    broker_check(&broker);
    memcpy(leased->words, spoilt, size);
    check_honest();
    must(pool_is_damaged(leased) == (leased->lease.damage > 0));
}

/* Since that event. */
static unsigned times_damaged(uint64_t after)
{
    unsigned times = 0;
    while (after < *broker.events.last) {
        const struct event *event = events_after(&broker.events, after);
        times += event->kind == EVENT_DAMAGED;
        after = event->number;
    }
    return times;
}

static uint8_t *copy_of_clean;

static size_t clean_size(unsigned part)
{
    const struct geometry *geometry = &clean->store.geometry;
    return part == 0 ? geometry_ctl_size(geometry, CLEAN_SLOTS)
                     : geometry_slots_size(geometry, CLEAN_SLOTS);
}

static void keep_clean(void)
{
    memcpy(copy_of_clean, clean->ctl, clean_size(0));
    memcpy(copy_of_clean + clean_size(0), clean->store.slots, clean_size(1));
}

static void check_clean(void)
{
    must(memcmp(copy_of_clean, clean->ctl, clean_size(0)) == 0);
    must(memcmp(copy_of_clean + clean_size(0), clean->store.slots, clean_size(1)) == 0);
    must(!pool_is_damaged(clean) && !pool_is_damaged(pool));
}

/*
 * All that isn't in use can be had, each slot once; but for those that were spoilt, which may be lost.
 * Returns whether that one could.
 */
static bool check_what_is_left(uint32_t spoilt, uint32_t index)
{
    bool had[2 * SLOTS] = {false};
    uint32_t count = 0, capacity = pool_capacity(leased), used = pool_usage(leased);
    while (ASK_UNCHECKED(carol, leased, 0, .count = 1) == BROKER_DONE) {
        fastalloc_handle_t handle = handle_from_wire(reply.handles.data);
        must(handle.pool == leased->id && handle.index < capacity);
        must(handle.index >= HONEST && !had[handle.index]);
        must(member_word(leased, handle.index) ==
             slot_word(handle_generation(handle), c, SLOT_LIVE));
        had[handle.index] = true;
        must(++count <= capacity - used);
    }
    must(error.code == ERROR_POOL_EXHAUSTED);
    must(count + spoilt >= capacity - used);
    check_despite();
    return had[index];
}

/* ---- The stage ------------------------------------------------------------------------------- */

static void begin_spoiling(void)
{
    USE(.capacity = SLOTS);
    join(carol, leased);
    c = member_of(carol, leased);
    take(carol, leased, HONEST);
    for (uint32_t i = 0; i < HONEST; i++)
        honest[i] = member_word(leased, i);
    threads[0] = pool_add_thread(leased, a);
    threads[1] = pool_add_thread(leased, b);
}

static void set_up(void)
{
    leasing_set_up();
    carol = begin(bob_name, false);
    clean =
        MAKE(.name = "clean", .capacity = CLEAN_SLOTS, .kind = LAYOUT_LEASED, .watermark = "off");
    join(alice, clean);
    join(bob, clean);
    take(alice, clean, CLEAN_SLOTS / 2);
    memcpy(live_in_clean, held, sizeof(live_in_clean));
    leasing_grant(&broker, session_membership(bob, clean->id), 0, 2);
    copy_of_clean = malloc(clean_size(0) + clean_size(1));
    ck_assert_ptr_nonnull(copy_of_clean);
    begin_spoiling();
    keep_clean();
}

static void tear_down(void)
{
    broker_destroy_pool(&broker, leased); /* its laws can't be checked any more */
    check_clean();
    free(copy_of_clean);
    broker_tear_down();
}

/* ---- Each word, in each kind of slot, before each operation ---------------------------------- */

enum kind {
    IDLE,
    FRESH,
    CACHED,
    THREADS, /* CACHED under the number of bob's thread */
    LIVE,
    LIVE_UNSEEN,
    RETURNED,
    SHARED,
    DETACHED,
    USED_UP,
    KINDS
};

static const char *const kind_names[] = {
    "IDLE",        "FRESH",    "CACHED", "THREADS",  "LIVE",
    "LIVE_UNSEEN", "RETURNED", "SHARED", "DETACHED", "USED_UP",
};

static bool on_one(enum pool_operation operation, uint32_t member, uint32_t index)
{
    hold(0, index);
    return pool_operate(leased, operation, member, held, 1, broker.now, &error);
}

/* Bob's, if anybody's, at generation 2; all others that aren't carol's are free. */
static uint32_t bring_about(enum kind kind)
{
    uint32_t index = HONEST;
    if (kind == FRESH)
        return SLOTS - 1;
    take(bob, leased, 1); /* a generation to go back to */
    ck_assert_uint_eq(handle_from_wire(held).index, index);
    ck_assert(on_one(POOL_FREE, b, index));
    if (kind == USED_UP)
        leased->words[index] = leased->lease.seen[index] =
            slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    if (kind == IDLE)
        return index;
    ck_assert_uint_eq(lease_as(bob, kind == THREADS ? threads[1] : 0, 1), 1);
    ck_assert_uint_eq(slots[0], index);
    if (kind == CACHED || kind == THREADS)
        return index;
    ck_assert(member_allocate(leased, b, index));
    if (kind == LIVE_UNSEEN)
        return index;
    leasing_look(&broker, leased);
    if (kind == RETURNED)
        ck_assert(member_free(leased, a, index));
    if (kind == SHARED)
        ck_assert(on_one(POOL_RETAIN, a, index));
    if (kind == DETACHED)
        ck_assert(on_one(POOL_DETACH, b, index));
    if (kind == USED_UP)
        ck_assert(on_one(POOL_FREE, b, index));
    broker_check(&broker);
    return index;
}

/* Whether honest members could have made that of it; USED_UP nobody ever looks at again. */
static bool is_possible(enum kind kind, uint64_t was, uint64_t word)
{
    bool bobs = slot_member(word) == b || (slot_member(word) == threads[1] && threads[1] != 0);
    enum slot_state state = slot_state(word);
    uint64_t generation = slot_generation(word), seen = 2;
    switch (kind) {
    case IDLE:
    case FRESH:
    case SHARED:
        return word == was;
    case DETACHED:
        return word == was || word == slot_word(seen + 1, SLOT_MEMBER_POOL, SLOT_RETURNED);
    case USED_UP:
        return true;
    default:
        break;
    }
    if (!bobs || generation < seen)
        return false;
    if (state == SLOT_RETIRED)
        return generation == SLOT_GENERATION_LAST;
    if (state != SLOT_CACHED && state != SLOT_LIVE && state != SLOT_RETURNED)
        return false;
    return generation > seen || kind == CACHED || kind == THREADS || kind == LIVE_UNSEEN ||
           state == SLOT_LIVE;
}

enum act {
    LEASES,
    THREAD_LEASES,
    ALLOCATES,
    WAITS_AND_IS_TOLD,
    FREES,
    ADOPTS,
    DETACHES,
    RETAINS,
    RELEASES,
    HARVESTS,
    HARVESTS_ALL,
    SWEEPS,
    BOB_LEAVES,
    ALICE_LEAVES,
    TRIMS,
    GROWS,
    DESTROYS,
    ACTS,
};

static void leave(struct session *session)
{
    broker_close_pool(&broker, session, session_membership(session, leased->id));
}

/* What a request on handles does, by alice and then by bob; the daemon may think of it what it likes. */
static void try_operation(enum pool_operation operation)
{
    for (unsigned i = 0; i < 2; i++) {
        if (pool_operate(leased, operation, i == 0 ? a : b, held, 1, broker.now, &error))
            demand_serve(&broker, leased);
        else
            leasing_settle(&broker, leased);
        check_despite();
    }
}

/* Nobody waits any more when it returns. */
static void wait_and_tell(void)
{
    uint32_t room = pool_room(leased, PRIORITY_NORMAL);
    answer_count = 0;
    if (room > 0)
        ck_assert_int_eq(ASK_UNCHECKED(carol, leased, 0, .count = room), BROKER_DONE);
    if (ASK_UNCHECKED(alice, leased, 1, .timeout = FOREVER) != BROKER_WAITS)
        return;
    leasing_ring(&broker, bob);
    check_despite();
    demand_cancel(&broker, alice, leased, 0, NULL);
    demand_serve(&broker, leased);
}

static void grow(void)
{
    const struct pool_grow_request request = {.capacity = SLOTS + 4, .capacity_max = SLOTS + 4};
    struct pool_grow_reply grown;
    ck_assert_int_eq(growing_request(&broker, NULL, leased, &request, 0, &grown, &error),
                     BROKER_DONE);
}

static void act(enum act what)
{
    static const enum pool_operation operations[] = {
        [FREES] = POOL_FREE,     [ADOPTS] = POOL_ADOPT,     [DETACHES] = POOL_DETACH,
        [RETAINS] = POOL_RETAIN, [RELEASES] = POOL_RELEASE,
    };
    switch (what) {
    case LEASES:
        leasing_grant(&broker, session_membership(alice, leased->id), 0, SLOTS);
        break;
    case THREAD_LEASES:
        leasing_grant(&broker, session_membership(alice, leased->id), threads[0], SLOTS);
        break;
    case ALLOCATES:
        ck_assert_int_eq(ASK_UNCHECKED(alice, leased, 0, .count = 1), BROKER_DONE);
        break;
    case WAITS_AND_IS_TOLD:
        wait_and_tell();
        break;
    case HARVESTS:
        pool_harvest(leased, broker.now);
        break;
    case HARVESTS_ALL:
        pool_harvest_all(leased, broker.now);
        break;
    case SWEEPS:
        leasing_look(&broker, leased);
        break;
    case BOB_LEAVES:
        leave(bob);
        break;
    case ALICE_LEAVES:
        leave(alice);
        break;
    case TRIMS:
        broker_trim(&broker, leased);
        break;
    case GROWS:
        grow();
        break;
    case DESTROYS:
    case ACTS:
        break;
    default:
        try_operation(operations[what]);
    }
    leasing_settle(&broker, leased);
}

/*
 * All that could have found it has looked then; and the pool is damaged if that word can't be. The slot
 * is out of use then, if it was granted: somebody may still take it for his.
 */
static void find_damage(enum kind kind, uint32_t index, uint64_t was, uint64_t word)
{
    bool granted = kind != IDLE && kind != FRESH && kind != SHARED;
    leasing_look(&broker, leased);
    check_despite();
    bool had = check_what_is_left(1, index);
    must(pool_is_damaged(leased) == !is_possible(kind, was, word));
    must(!(had && granted && pool_is_damaged(leased)));
}

static void spoil(enum kind kind, uint64_t word, enum act what)
{
    begin_spoiling();
    uint32_t index = bring_about(kind);
    uint64_t was = member_word(leased, index);
    uint64_t before = *broker.events.last;
    snprintf(described, sizeof(described), "%s at %" PRIx64 " was made %" PRIx64 " before %d",
             kind_names[kind], was, word, what);
    hold(0, index);
    leased->words[index] = word;
    memset(leased->store.slots, 0xff, leased->store.geometry.words_offset);
    if (kind == THREADS && slot_generation(word) % 2) /* it says that it is in the middle of that */
        member_line(leased, threads[1])->announced =
            bias_announcement(slot_generation(word), index,
                              slot_state(word) == SLOT_CACHED ? BIAS_ALLOCATES : BIAS_FREES);
    act(what);
    if (what == DESTROYS)
        return;
    check_despite();
    find_damage(kind, index, was, word);
    must(times_damaged(before) == pool_is_damaged(leased));
    leave(carol);
    if (what != ALICE_LEAVES)
        leave(alice);
    if (what != BOB_LEAVES)
        leave(bob);
    must(leased->member_count == 0 && pool_is_damaged(leased) == (leased->lease.damage > 0));
}

static void spoil_with_each(enum kind kind)
{
    static const uint64_t generations[] = {0, 1, 2, 3, UINT64_C(1) << 40, SLOT_GENERATION_LAST};
    for (enum act what = 0; what < ACTS; what++) {
        const uint32_t members[] = {SLOT_MEMBER_NONE, a,   b,          SLOT_MEMBER_POOL,
                                    threads[0],       999, threads[1], SLOT_MEMBER_POOL - 1};
        for (unsigned i = 0; i < 6 * 8 * 8; i++) {
            uint64_t word = slot_word(generations[i / 64], members[i / 8 % 8], i % 8);
            spoil(kind, word, what);
        }
        spoil(kind, UINT64_MAX, what);
        check_clean();
    }
}

/* Handles of what nobody allocated are good until then. */
START_TEST(test_hostile_word_of_a_free_slot_is_noticed_by_a_look)
{
    uint32_t index = bring_about(IDLE);
    uint64_t idle = leased->words[index];
    leased->words[index] = slot_word(7, b, SLOT_LIVE);
    leasing_look(&broker, leased);
    check_despite();
    ck_assert(pool_is_damaged(leased));
    ck_assert_uint_eq(leased->words[index], idle);
}
END_TEST

START_TEST(test_hostile_slot_that_is_used_up_is_not_returned)
{
    uint32_t index = bring_about(IDLE);
    leased->words[index] = slot_word(SLOT_GENERATION_LAST, SLOT_MEMBER_NONE, SLOT_IDLE);
    leased->lease.seen[index] = leased->words[index];
    lease(bob, 1);
    ck_assert(member_allocate(leased, b, index) && member_free(leased, b, index));
    ck_assert(!on_one(POOL_FREE, b, index)); /* it is seen, and isn't taken back yet */
    leased->words[index] = slot_word(SLOT_GENERATION_LAST, b, SLOT_RETURNED);
    leasing_look(&broker, leased);
    check_despite();
    ck_assert(pool_is_damaged(leased));
    ck_assert(!check_what_is_left(1, index));
}
END_TEST

#define TEST_OF(name, kind)                                                                        \
    START_TEST(test_hostile_words_spoil_nothing_but_their_slot_##name)                             \
    {                                                                                              \
        spoil_with_each(kind);                                                                     \
    }                                                                                              \
    END_TEST

TEST_OF(idle, IDLE)
TEST_OF(fresh, FRESH)
TEST_OF(cached, CACHED)
TEST_OF(threads, THREADS)
TEST_OF(live, LIVE)
TEST_OF(live_unseen, LIVE_UNSEEN)
TEST_OF(returned, RETURNED)
TEST_OF(shared, SHARED)
TEST_OF(detached, DETACHED)
TEST_OF(used_up, USED_UP)

/* ---- At random ------------------------------------------------------------------------------- */

/* Fewer where each takes longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define STEPS UINT64_C(50000)
#else
#define STEPS UINT64_C(200000)
#endif
#define LIFETIME 300u /* steps, after which a pool has hardly a slot left */

static uint64_t seed, state;

static uint32_t chance(uint32_t below)
{
    uint64_t value = (state += UINT64_C(0x9e3779b97f4a7c15));
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((value ^ value >> 31) % below);
}

static uint64_t any_number(void)
{
    return (uint64_t)chance(UINT32_MAX) << 32 | chance(UINT32_MAX);
}

static uint32_t any_slot(void)
{
    return HONEST + chance(pool_capacity(leased) - HONEST);
}

static struct session *alice_or_bob(void)
{
    return chance(2) ? alice : bob;
}

static uint64_t any_word(uint32_t index)
{
    const uint32_t members[] = {SLOT_MEMBER_NONE, a,          b,          c,
                                SLOT_MEMBER_POOL, threads[0], threads[1], chance(8192)};
    uint64_t generation = slot_generation(leased->lease.seen[index]);
    const uint64_t generations[] = {generation - 1,     generation,
                                    generation + 1,     generation + chance(9),
                                    any_number() >> 16, SLOT_GENERATION_LAST};
    switch (chance(16)) {
    case 0:
        return UINT64_MAX;
    case 1:
        return any_number();
    default:
        return slot_word(generations[chance(6)], members[chance(8)], chance(8));
    }
}

/* The line of a thread, or of a number that nobody has; what is announced may well be so. */
static void spoil_line(uint32_t index)
{
    struct layout_thread *line = member_line(leased, LAYOUT_THREAD_FIRST + chance(4));
    uint64_t generation = slot_generation(leased->lease.seen[index]) + chance(2);
    line->announced =
        chance(4) ? bias_announcement(generation, index, 1 + chance(2)) : any_number();
    line->revoked = chance(2) ? chance(8) : chance(UINT32_MAX);
}

static void spoil_any(void)
{
    uint64_t *hints = leased->store.slots;
    uint32_t index = any_slot();
    if (chance(3) == 0)
        spoil_line(index);
    else if (chance(3) == 0)
        hints[chance((uint32_t)(leased->store.geometry.words_offset / 8))] = any_number();
    else
        leased->words[index] = any_word(index);
}

/* What a member may do without a request: it finds what the others left of the words. */
static void act_as_member(void)
{
    uint32_t index = any_slot(), member = member_of(alice_or_bob(), leased);
    uint32_t thread = threads[chance(2)];
    if (chance(2) && thread != SLOT_MEMBER_NONE)
        member_change(leased, thread, index, chance(2) ? BIAS_ALLOCATES : BIAS_FREES);
    else if (chance(2))
        member_allocate(leased, member, index);
    else if (chance(2))
        member_free(leased, member, index);
    else
        member_give_back(leased, member, index);
}

static void ask_any(void)
{
    struct session *session = alice_or_bob();
    uint32_t member = member_of(session, leased);
    int64_t timeout = chance(2) ? 0 : chance(2) ? FOREVER : 1 + chance(1000);
    if (ASK_UNCHECKED(session, leased, 1, .count = 1 + chance(4), .timeout = timeout,
                      .priority = chance(3)) != BROKER_DONE)
        return;
    for (size_t at = 0; at < reply.handles.size; at += HANDLE_WIRE_SIZE) {
        fastalloc_handle_t handle = handle_from_wire(reply.handles.data + at);
        must(handle.index >= HONEST && handle.index < pool_capacity(leased));
        must(member_word(leased, handle.index) ==
             slot_word(handle_generation(handle), member, SLOT_LIVE));
        must(holder_of(handle.index) == member);
    }
}

static void operate_any(void)
{
    uint32_t count = 1 + chance(3), member = member_of(alice_or_bob(), leased);
    enum pool_operation operation = chance(POOL_DETACH + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = any_slot();
        uint64_t word = chance(2) ? member_word(leased, index) : leased->lease.seen[index];
        handle_to_wire(handle_make(leased->id, index, leased->nonce, slot_generation(word)),
                       held + (size_t)i * HANDLE_WIRE_SIZE);
    }
    if (pool_operate(leased, operation, member, held, count, broker.now, &error))
        demand_serve(&broker, leased);
    else
        leasing_settle(&broker, leased);
}

static void leave_and_join(void)
{
    struct session *session = alice_or_bob();
    leave(session);
    session_join(session, leased, true);
    a = member_of(alice, leased);
    b = member_of(bob, leased);
    threads[session == bob] = pool_add_thread(leased, member_of(session, leased));
}

/* To a session, or to its thread. */
static void lease_any(void)
{
    struct session *session = alice_or_bob();
    leasing_grant(&broker, session_membership(session, leased->id),
                  chance(2) ? threads[session == bob] : 0, 1 + chance(5));
}

static void grow_by_one(void)
{
    const struct pool_grow_request request = {.capacity = pool_capacity(leased) + UINT64_C(1),
                                              .capacity_max = 2 * UINT64_C(16)};
    struct pool_grow_reply grown;
    if (pool_capacity(leased) < 2 * SLOTS)
        ck_assert_int_eq(growing_request(&broker, NULL, leased, &request, 0, &grown, &error),
                         BROKER_DONE);
}

/* Of the pool that nobody spoils: it works as always. */
static void use_clean(void)
{
    uint32_t member = member_of(bob, clean);
    for (uint32_t i = CLEAN_SLOTS / 2; i < CLEAN_SLOTS / 2 + 1; i++) {
        must(member_allocate(clean, member, i));
        must(member_free(clean, member, i));
    }
    must(pool_operate(clean, POOL_RELEASE, member_of(alice, clean), live_in_clean, 1, broker.now,
                      &error));
    must(ASK_UNCHECKED(alice, clean, 0, .count = 1) == BROKER_DONE);
    memcpy(live_in_clean, reply.handles.data, HANDLE_WIRE_SIZE);
    keep_clean();
}

static void act_at_random(void)
{
    switch (chance(24)) {
    case 0:
        pool_harvest(leased, broker.now);
        leasing_settle(&broker, leased);
        break;
    case 1:
        leasing_look(&broker, leased);
        break;
    case 2:
        broker_trim(&broker, leased);
        break;
    case 3:
        leave_and_join();
        break;
    case 4:
        leasing_ring(&broker, alice_or_bob());
        break;
    case 5:
        demand_cancel(&broker, alice_or_bob(), leased, 0, NULL);
        demand_serve(&broker, leased);
        break;
    case 6:
        broker_set_time(&broker, broker.now + chance(2000));
        broker_pass_time(&broker);
        break;
    case 7:
        grow_by_one();
        break;
    case 8:
        use_clean();
        break;
    case 9:
    case 10:
        lease_any();
        break;
    case 11:
    case 12:
    case 13:
        ask_any();
        break;
    case 14:
    case 15:
    case 16:
        operate_any();
        break;
    case 17:
    case 18:
        act_as_member();
        break;
    default:
        spoil_any();
    }
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

START_TEST(test_hostile_words_at_random_spoil_nothing_else)
{
    uint64_t steps = number_from("FASTALLOC_STEPS", STEPS), damaged = 0;
    seed = state = number_from("FASTALLOC_SEED", 1);
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    uint64_t before = *broker.events.last;
    for (uint64_t step = 0; step < steps; step++) {
        snprintf(described, sizeof(described), "seed %" PRIu64 ", step %" PRIu64, seed, step);
        if (step % LIFETIME == 0) {
            begin_spoiling();
            leased->mapped = true;
            before = *broker.events.last;
        }
        answer_count = 0;
        act_at_random();
        check_despite();
        check_clean();
        if (step % LIFETIME == LIFETIME - 1)
            must(times_damaged(before) == pool_is_damaged(leased));
        damaged += step % LIFETIME == LIFETIME - 1 && pool_is_damaged(leased);
    }
    must(2 * damaged > steps / LIFETIME || steps < LIFETIME);
}
END_TEST

SUITE_MAIN_WITH("leasing_hostile", set_up, tear_down,
                test_hostile_words_spoil_nothing_but_their_slot_idle,
                test_hostile_words_spoil_nothing_but_their_slot_fresh,
                test_hostile_words_spoil_nothing_but_their_slot_cached,
                test_hostile_words_spoil_nothing_but_their_slot_threads,
                test_hostile_words_spoil_nothing_but_their_slot_live,
                test_hostile_words_spoil_nothing_but_their_slot_live_unseen,
                test_hostile_words_spoil_nothing_but_their_slot_returned,
                test_hostile_words_spoil_nothing_but_their_slot_shared,
                test_hostile_words_spoil_nothing_but_their_slot_detached,
                test_hostile_words_spoil_nothing_but_their_slot_used_up,
                test_hostile_word_of_a_free_slot_is_noticed_by_a_look,
                test_hostile_slot_that_is_used_up_is_not_returned,
                test_hostile_words_at_random_spoil_nothing_else)
