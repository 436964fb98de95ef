/* SPDX-License-Identifier: MIT */
/*
 * Random operations on the broker beside a model of it, as plain as can be: arrays, searched from end to
 * end. After every operation both must agree on the outcome, on every answer and their order, on who holds
 * what, and on every number; and the broker's laws must hold.
 *
 * FASTALLOC_SEED and FASTALLOC_STEPS choose the run; the seed is printed.
 */
#include "daemon/broker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define STEPS 300000u
#define PAGE 4096u

#define POOLS 3u
#define SESSIONS 5u
#define SLOTS 10u
#define WAITERS 300u
#define FREED 6u  /* handles remembered to be freed once more */
#define ASKED 12u /* slots asked for at most: more than a pool ever has */

/* ---- Chance ---------------------------------------------------------------------------------- */

static uint64_t seed, state;
static uint64_t step;

static uint32_t chance(uint32_t below)
{
    uint64_t value = (state += UINT64_C(0x9e3779b97f4a7c15));
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((value ^ value >> 31) % below);
}

/* libcheck's own assertions write a note each time, which is too slow here. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("seed %" PRIu64 ", step %" PRIu64 ": %s", seed, step, #condition);        \
    } while (0)

/* ---- The model ------------------------------------------------------------------------------- */

struct model_slot {
    int holder; /* a session's place, or -1 */
    uint64_t generation;
};

struct model_pool {
    struct pool *pool; /* NULL: there is none */
    uint32_t capacity;
    struct model_slot slots[SLOTS];
    uint64_t allocations, deallocations, failures, timeouts, reclaimed, peak;
};

struct model_session {
    struct session *session; /* NULL: there is none */
    bool connected;
    void *witness; /* as the client has it mapped */
    struct membership *memberships[POOLS];
};

/* In the order of arrival; pools don't see each other's. */
struct model_waiter {
    bool waits;
    unsigned pool, session;
    uint32_t count, msgid;
    int64_t deadline;
};

static struct broker broker;
static struct model_pool pools[POOLS];
static struct model_session sessions[SESSIONS];
static struct model_waiter waiters[WAITERS];
static unsigned waiter_count; /* ever */
static fastalloc_handle_t freed[FREED];
static int64_t now;
static uint32_t last_msgid;
static uint64_t last_request;

static uint32_t usage_of(const struct model_pool *model)
{
    uint32_t usage = 0;
    for (uint32_t i = 0; i < model->capacity; i++)
        usage += model->slots[i].holder >= 0;
    return usage;
}

static bool has_room(const struct model_pool *model, uint32_t count)
{
    return model->capacity - usage_of(model) >= count;
}

static struct model_waiter *first_waiter(unsigned pool)
{
    for (unsigned i = 0; i < waiter_count; i++)
        if (waiters[i].waits && waiters[i].pool == pool)
            return &waiters[i];
    return NULL;
}

static unsigned count_waiters(unsigned pool)
{
    unsigned count = 0;
    for (unsigned i = 0; i < waiter_count; i++)
        count += waiters[i].waits && waiters[i].pool == pool;
    return count;
}

/* The handles must be of slots that were free; now they are the session's. */
static void model_take(unsigned pool, unsigned session, const struct bytes *handles, uint32_t count)
{
    struct model_pool *model = &pools[pool];
    must(handles->size == (size_t)count * HANDLE_WIRE_SIZE);
    for (uint32_t i = 0; i < count; i++) {
        fastalloc_handle_t handle = handle_from_wire(handles->data + (size_t)i * HANDLE_WIRE_SIZE);
        must(handle.pool == model->pool->id && handle.index < model->capacity);
        must(handle_nonce(handle) == registry_nonce(&broker.registry));
        struct model_slot *slot = &model->slots[handle.index];
        must(slot->holder < 0 && slot->generation == handle_generation(handle));
        slot->holder = (int)session;
    }
    model->allocations += count;
    if (usage_of(model) > model->peak)
        model->peak = usage_of(model);
}

static void model_free(unsigned pool, uint32_t index)
{
    struct model_slot *slot = &pools[pool].slots[index];
    slot->holder = -1;
    slot->generation++;
    pools[pool].deallocations++;
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* What the operation at hand was answered, in order. */
static struct answered {
    void *connection;
    struct bytes handles; /* if it was served */
    uint64_t allocated, waiters;
    uint32_t msgid;
    enum error_code code;
    uint8_t bytes[ASKED * HANDLE_WIRE_SIZE];
} answers[WAITERS];
static unsigned answer_count, answers_seen;

static void take_answer(void *connection, uint32_t msgid, const struct allocate_reply *reply,
                        const struct error *error)
{
    struct answered *answer = &answers[answer_count++];
    *answer = (struct answered){.connection = connection, .msgid = msgid};
    must((reply == NULL) != (error == NULL));
    if (error) {
        answer->code = error->code;
        answer->allocated = error->allocated;
        answer->waiters = error->waiters;
        return;
    }
    memcpy(answer->bytes, reply->handles.data, reply->handles.size);
    answer->handles = (struct bytes){answer->bytes, reply->handles.size};
}

/* The next answer must be this waiter's. */
static const struct answered *expect_answer(struct model_waiter *waiter, enum error_code code)
{
    must(answers_seen < answer_count);
    const struct answered *answer = &answers[answers_seen++];
    must(answer->connection == &sessions[waiter->session]);
    must(answer->msgid == waiter->msgid);
    must(answer->code == code);
    waiter->waits = false;
    return answer;
}

/* First come, first served, all or nothing. */
static void expect_service(unsigned pool)
{
    struct model_waiter *waiter;
    while ((waiter = first_waiter(pool)) && has_room(&pools[pool], waiter->count)) {
        const struct answered *answer = expect_answer(waiter, ERROR_NONE);
        model_take(pool, waiter->session, &answer->handles, waiter->count);
    }
}

/* Nothing is promised about the order of pools, so the answers say it. */
static void expect_service_everywhere(void)
{
    while (answers_seen < answer_count) {
        unsigned before = answers_seen;
        for (unsigned i = 0; i < waiter_count; i++)
            if (waiters[i].waits && waiters[i].msgid == answers[answers_seen].msgid) {
                expect_service(waiters[i].pool);
                break;
            }
        must(answers_seen > before);
    }
    for (unsigned pool = 0; pool < POOLS; pool++)
        expect_service(pool);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void compare_pool(unsigned place)
{
    const struct model_pool *model = &pools[place];
    const struct layout_counters *counters = &model->pool->ctl->counters;
    const struct pool *pool = model->pool;

    must(counters->total_allocations == model->allocations);
    must(counters->total_deallocations == model->deallocations);
    must(counters->allocation_failures == model->failures);
    must(counters->timeouts == model->timeouts);
    must(counters->reclaimed == model->reclaimed);
    must(counters->peak_usage == model->peak);
    must(pool_usage(pool) == usage_of(model));
    must(pool->waiter_count == count_waiters(place));
    for (uint32_t i = 0; i < model->capacity; i++) {
        const struct model_slot *slot = &model->slots[i];
        must(slot_generation(pool->words[i]) == slot->generation);
        must(slot_is_allocated(pool->words[i]) == (slot->holder >= 0));
        must(ledger_holder(&pool->ledger, i) ==
             (slot->holder < 0 ? SLOT_MEMBER_NONE
                               : sessions[slot->holder].memberships[place]->member));
    }
}

static void compare_session(unsigned place)
{
    const struct model_session *model = &sessions[place];
    uint32_t memberships = 0, waiting = 0;
    for (unsigned i = 0; i < POOLS; i++) {
        memberships += model->memberships[i] != NULL;
        if (pools[i].pool)
            must(session_membership(model->session, pools[i].pool->id) == model->memberships[i]);
    }
    for (unsigned i = 0; i < waiter_count; i++)
        waiting += waiters[i].waits && waiters[i].session == place;
    must(model->session->membership_count == memberships);
    must(model->session->waiter_count == waiting);
}

static void compare(void)
{
    int64_t deadline = WAITER_FOREVER;
    uint32_t session_count = 0;

    must(answers_seen == answer_count);
    for (unsigned i = 0; i < POOLS; i++)
        if (pools[i].pool)
            compare_pool(i);
    for (unsigned i = 0; i < SESSIONS; i++)
        if (sessions[i].session) {
            compare_session(i);
            session_count++;
        }
    for (unsigned i = 0; i < waiter_count; i++)
        if (waiters[i].waits && waiters[i].deadline < deadline)
            deadline = waiters[i].deadline;
    must(broker_next_deadline(&broker) == deadline);
    must(broker.session_count == session_count);
    broker_check(&broker);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static unsigned any_pool(void)
{
    return chance(POOLS);
}

static unsigned any_session(void)
{
    return chance(SESSIONS);
}

static void create_pool(void)
{
    unsigned place = any_pool();
    struct model_pool *model = &pools[place];
    char name[16];
    struct pool *pool;
    struct error error;
    snprintf(name, sizeof(name), "pool-%u", place);
    struct pool_config config = {
        .name = name, .type = "", .object_size = 1 + chance(40), .capacity = 1 + chance(SLOTS)};

    bool created = broker_create_pool(&broker, &config, &pool, &error);
    must(created == !model->pool);
    if (!created) {
        must(error.code == ERROR_POOL_EXISTS && strcmp(error.pool, name) == 0);
        return;
    }
    *model = (struct model_pool){.pool = pool, .capacity = (uint32_t)config.capacity};
    for (uint32_t i = 0; i < SLOTS; i++)
        model->slots[i] = (struct model_slot){-1, SLOT_GENERATION_FIRST};
}

static void destroy_pool(void)
{
    unsigned place = any_pool();
    if (!pools[place].pool)
        return;
    must(broker_destroy_pool(&broker, pools[place].pool) == usage_of(&pools[place]));
    for (struct model_waiter *waiter; (waiter = first_waiter(place));)
        expect_answer(waiter, ERROR_POOL_DESTROYED);
    pools[place].pool = NULL;
    for (unsigned i = 0; i < SESSIONS; i++)
        sessions[i].memberships[place] = NULL;
}

static void begin_session(void)
{
    struct model_session *model = &sessions[any_session()];
    struct peer peer = {1, 2, 3};
    struct session *session;
    struct error error;
    if (model->session)
        return;
    bool witnessed = chance(2);
    must(broker_begin_session(&broker, &peer, "x", witnessed, model, &session, &error));
    *model = (struct model_session){.session = session, .connected = true};
    if (!witnessed)
        return;
    int fd = session_witness(session);
    model->witness = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    must(model->witness != MAP_FAILED);
    close(fd);
}

static void join(void)
{
    unsigned place = any_pool();
    struct model_session *model = &sessions[any_session()];
    if (!model->connected || !pools[place].pool)
        return;
    struct membership *membership = session_join(model->session, pools[place].pool, true);
    must(membership);
    must(!model->memberships[place] || model->memberships[place] == membership);
    model->memberships[place] = membership;
}

/* Its slots in the pool are free again, in the order in which it got them. */
static uint32_t leave(unsigned place, unsigned pool)
{
    uint32_t count = 0;
    sessions[place].memberships[pool] = NULL;
    for (uint32_t i = 0; i < pools[pool].capacity; i++)
        if (pools[pool].slots[i].holder == (int)place) {
            model_free(pool, i);
            count++;
        }
    return count;
}

/* Newest first: the order in which a session's own requests are refused is not promised. */
static void expect_refusals(unsigned place, unsigned pool)
{
    for (unsigned i = waiter_count; i-- > 0;)
        if (waiters[i].waits && waiters[i].session == place && waiters[i].pool == pool)
            expect_answer(&waiters[i], ERROR_NOT_A_MEMBER);
}

static void close_pool(void)
{
    unsigned place = any_session(), pool = any_pool();
    struct model_session *model = &sessions[place];
    if (!model->connected || !model->memberships[pool])
        return;
    uint32_t count = broker_close_pool(&broker, model->session, model->memberships[pool]);
    expect_refusals(place, pool);
    must(count == leave(place, pool));
    expect_service(pool);
}

static void expect_exhausted(const struct error *error, unsigned pool, uint32_t count)
{
    must(error->code == ERROR_POOL_EXHAUSTED);
    must(error->capacity == pools[pool].capacity && error->requested == count);
    must(error->allocated == usage_of(&pools[pool]));
    must(error->waiters == count_waiters(pool));
    pools[pool].failures++;
}

static int64_t any_timeout(void)
{
    switch (chance(4)) {
    case 0:
        return 0;
    case 1:
        return -1;
    default:
        return 1 + chance(chance(2) ? 100 : 2000000);
    }
}

/* Each deadline is another one, so that their order is clear. */
static bool deadline_is_taken(int64_t deadline)
{
    for (unsigned i = 0; i < waiter_count; i++)
        if (waiters[i].waits && waiters[i].deadline == deadline)
            return true;
    return false;
}

static void allocate(void)
{
    unsigned place = any_session(), pool = any_pool();
    struct model_session *model = &sessions[place];
    struct allocate_reply reply;
    struct error error;
    if (!model->connected || !model->memberships[pool] || waiter_count == WAITERS)
        return;
    struct allocate_request request = {.request = ++last_request,
                                       .count = chance(3) ? chance(4) : chance(ASKED + 1),
                                       .timeout = any_timeout()};
    uint32_t count = request.count ? request.count : 1;
    int64_t deadline = request.timeout < 0 ? WAITER_FOREVER : now + request.timeout;
    if (deadline != WAITER_FOREVER && deadline_is_taken(deadline))
        return;

    enum broker_outcome outcome = broker_allocate(&broker, model->session, model->memberships[pool],
                                                  &request, ++last_msgid, now, &reply, &error);
    if (!first_waiter(pool) && has_room(&pools[pool], count)) {
        must(outcome == BROKER_DONE);
        model_take(pool, place, &reply.handles, count);
    } else if (request.timeout == 0 || count > pools[pool].capacity) {
        must(outcome == BROKER_REFUSED);
        expect_exhausted(&error, pool, count);
    } else {
        must(outcome == BROKER_WAITS);
        waiters[waiter_count++] =
            (struct model_waiter){true, pool, place, count, last_msgid, deadline};
    }
}

/* A handle that is good, or was, or never will be. */
static fastalloc_handle_t any_handle(unsigned pool)
{
    const struct model_pool *model = &pools[pool];
    uint32_t index = chance(model->capacity);
    uint16_t nonce = registry_nonce(&broker.registry);
    uint64_t generation = model->slots[index].generation;

    switch (chance(24)) {
    case 0:
        return freed[chance(FREED)];
    case 1:
        return handle_make(model->pool->id, index, nonce, generation - chance(2));
    case 2:
        return handle_make(model->pool->id, index, nonce, generation + 1);
    case 3:
        return handle_make(model->pool->id, index, (uint16_t)(nonce + 1), generation);
    case 4:
        return handle_make(model->pool->id, model->capacity + chance(5), nonce, generation);
    case 5:
        return handle_make(model->pool->id + 1 + chance(3), index, nonce, generation);
    default:
        for (uint32_t i = 0; i < model->capacity; i++) {
            index = (index + 1) % model->capacity;
            if (model->slots[index].holder >= 0)
                break;
        }
        return handle_make(model->pool->id, index, nonce, model->slots[index].generation);
    }
}

static enum error_code judge(unsigned pool, const fastalloc_handle_t *handles, uint32_t position)
{
    fastalloc_handle_t handle = handles[position];
    if (handle.pool != pools[pool].pool->id)
        return ERROR_WRONG_POOL;
    if (handle_nonce(handle) != registry_nonce(&broker.registry) ||
        handle.index >= pools[pool].capacity || pools[pool].slots[handle.index].holder < 0 ||
        pools[pool].slots[handle.index].generation != handle_generation(handle))
        return ERROR_STALE_HANDLE;
    for (uint32_t i = 0; i < position; i++)
        if (fastalloc_handle_equal(handles[i], handle))
            return ERROR_DUPLICATE_HANDLE;
    return ERROR_NONE;
}

static void free_handles(void)
{
    unsigned pool = any_pool();
    struct model_session *model = &sessions[any_session()];
    fastalloc_handle_t handles[4];
    uint8_t wire[4 * HANDLE_WIRE_SIZE];
    uint32_t count = 1 + chance(4), position = 0;
    enum error_code code = ERROR_NONE;
    struct error error;
    if (!model->connected || !model->memberships[pool])
        return;

    for (uint32_t i = 0; i < count; i++) {
        handles[i] = i > 0 && chance(16) == 0 ? handles[chance(i)] : any_handle(pool);
        handle_to_wire(handles[i], wire + (size_t)i * HANDLE_WIRE_SIZE);
    }
    while (position < count && (code = judge(pool, handles, position)) == ERROR_NONE)
        position++;

    struct bytes bytes = {wire, (size_t)count * HANDLE_WIRE_SIZE};
    bool done = broker_free(&broker, model->memberships[pool], &bytes, &error);
    must(done == (code == ERROR_NONE));
    if (!done) {
        must(error.code == code && error.position == position);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        model_free(pool, handles[i].index);
        freed[chance(FREED)] = handles[i];
    }
    expect_service(pool);
}

static void disconnect(unsigned place)
{
    struct model_session *model = &sessions[place];
    if (!model->connected)
        return;
    broker_disconnect(&broker, model->session);
    model->connected = false;
    for (unsigned i = 0; i < waiter_count; i++)
        waiters[i].waits &= waiters[i].session != place;
    expect_service_everywhere();
}

static void unmap(unsigned place)
{
    if (sessions[place].witness)
        munmap(sessions[place].witness, PAGE);
    sessions[place].witness = NULL;
}

static void end_session(unsigned place)
{
    struct model_session *model = &sessions[place];
    bool member = false;
    if (!model->session || model->connected)
        return;
    for (unsigned i = 0; i < POOLS; i++)
        member |= model->memberships[i] != NULL;

    bool ended = broker_end_session(&broker, model->session);
    must(ended == !(model->witness && member));
    if (!ended)
        return;
    for (unsigned i = 0; i < POOLS; i++)
        if (model->memberships[i])
            pools[i].reclaimed += leave(place, i);
    expect_service_everywhere();
    unmap(place);
    model->session = NULL;
}

/* Whose deadline has passed is told so, earliest first; each that goes may let the next ones through. */
static void expire(void)
{
    now += chance(3) == 0 ? 1000000 : chance(20);
    broker_expire(&broker, now);
    for (;;) {
        struct model_waiter *first = NULL;
        for (unsigned i = 0; i < waiter_count; i++)
            if (waiters[i].waits && waiters[i].deadline <= now &&
                (!first || waiters[i].deadline < first->deadline))
                first = &waiters[i];
        if (!first)
            return;
        const struct answered *answer = expect_answer(first, ERROR_TIMEOUT);
        must(answer->allocated == usage_of(&pools[first->pool]));
        must(answer->waiters == count_waiters(first->pool));
        pools[first->pool].failures++;
        pools[first->pool].timeouts++;
        expect_service(first->pool);
    }
}

/* Those that no longer wait leave the array. */
static void forget_waiters(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < waiter_count; i++)
        if (waiters[i].waits)
            waiters[kept++] = waiters[i];
    waiter_count = kept;
}

static void operate(void)
{
    uint32_t which = chance(1000);

    answer_count = answers_seen = 0;
    if (which < 6)
        create_pool();
    else if (which < 8)
        destroy_pool();
    else if (which < 28)
        begin_session();
    else if (which < 60)
        join();
    else if (which < 70)
        close_pool();
    else if (which < 80)
        disconnect(any_session());
    else if (which < 85)
        unmap(any_session());
    else if (which < 110)
        end_session(any_session());
    else if (which < 200)
        expire();
    else if (which < 620)
        allocate();
    else
        free_handles();
    compare();
    forget_waiters();
}

/* ---- Running --------------------------------------------------------------------------------- */

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void end_all(void)
{
    uint32_t kept_pools, kept_sessions;
    answer_count = answers_seen = 0;
    for (unsigned i = 0; i < SESSIONS; i++) {
        disconnect(i);
        unmap(i);
        end_session(i);
        compare();
    }
    must(broker_deinit(&broker, &kept_pools, &kept_sessions));
    must(kept_pools == 0 && kept_sessions == 0);
    must(test_shm_files() == 0);
}

START_TEST(test_broker_does_what_its_model_does)
{
    char folder[] = "/tmp/fastalloc-test.XXXXXX", path[64];
    uint64_t steps = number_from("FASTALLOC_STEPS", STEPS);
    seed = state = number_from("FASTALLOC_SEED", 1);
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);

    test_private_shm(16 << 20);
    log_set_level(LOG_LEVEL_ERROR);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, take_answer), 0);
    for (step = 0; step < steps; step++)
        operate();
    end_all();
    test_remove_folder(folder);
}
END_TEST

SUITE_MAIN("broker_random", test_broker_does_what_its_model_does)
