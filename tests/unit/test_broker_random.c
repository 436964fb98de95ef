/* SPDX-License-Identifier: MIT */
/*
 * Random operations on the broker beside a model of it, as plain as can be: arrays, searched from end to
 * end. All policies are mixed: growth, reserves, priorities, eviction, quotas, ownership, initialisation,
 * trimming; brokered and leased pools, in which members allocate and free without a request. After every operation both must agree on the outcome, on every answer and their order, on who
 * holds what, on every number and on the bytes of every object; and the broker's laws must hold.
 *
 * FASTALLOC_SEED and FASTALLOC_STEPS choose the run; the seed is printed.
 */
#include "daemon/broker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/demand.h"
#include "daemon/growing.h"
#include "daemon/leasing.h"
#include "daemon/log.h"
#include "shm/counters.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/holds.h"
#include "tests/unit/member.h"

#define SUITE_TIMEOUT 400 /* on a machine that has other things to do */
#include "tests/unit/suite.h"

/* Fewer where each takes longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define STEPS 200000u
#else
#define STEPS 1000000u
#endif
#define PAGE 4096u

#define POOLS 3u
#define SESSIONS 5u
#define SLOTS 24u /* that a pool ever has */
#define WAITERS 300u
#define FREED 6u    /* handles remembered to be used once more */
#define ASKED 12u   /* slots asked for at most at once */
#define OBJECT 700u /* bytes: so that pages are shared by slots */

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

#define NOBODY (-1)
#define THE_POOL ((int)SESSIONS) /* the holder of what is detached */

struct model_slot {
    bool live;
    bool shared;
    bool evictable;
    bool is_new;                  /* allocated by the operation at hand */
    int holder;                   /* unless it is shared */
    uint32_t holds[SESSIONS + 1]; /* if it is */
    uint64_t since;               /* how many were allocated before */
    uint64_t generation;
    uint32_t tag; /* stands in its bytes */
};

struct model_pool {
    struct pool *pool; /* NULL: there is none */
    bool leased;
    uint8_t *data; /* as a member has it mapped */
    uint32_t capacity, max, reserve;
    unsigned growth; /* 0 none, 1 linear, 2 exponential, 3 custom */
    uint32_t step;
    uint32_t ahead, critical, normal, session_slots, user_slots;
    uint32_t flags;
    uint32_t template_size;
    struct model_slot slots[SLOTS];
    uint64_t allocations, deallocations, failures, timeouts, reclaimed, peak, grown, evicted, waits;
    unsigned __int128 area; /* usage times ns */
};

struct model_session {
    struct session *session; /* NULL: there is none */
    void *witness;           /* as the client has it mapped */
    struct membership *memberships[POOLS];
    uint32_t threads[POOLS]; /* the number of a thread of its, in leased ones; 0 = it has none */
    uint64_t told[POOLS];    /* the epoch of which it told the daemon, in those */
    uint32_t uid;
    bool connected;
    bool rang; /* which the daemon hasn't heard yet */
};

/* In the order of arrival; pools don't see each other's. */
struct model_waiter {
    bool waits, evictable;
    unsigned pool, session;
    enum priority priority;
    uint32_t count, msgid;
    uint64_t request;
    int64_t deadline;
};

static const uint8_t content[] = {'t', 'e', 'm', 'p', 'l'};
static struct broker broker;
static struct model_pool pools[POOLS];
static struct model_session sessions[SESSIONS];
static struct model_waiter waiters[WAITERS];
static unsigned waiter_count; /* ever */
static fastalloc_handle_t freed[FREED];
static int64_t now;
static uint32_t last_msgid, last_tag;
static uint64_t last_request, last_taken;

static uint32_t usage_of(const struct model_pool *model)
{
    uint32_t usage = 0;
    for (uint32_t i = 0; i < model->capacity; i++)
        usage += model->slots[i].live;
    return usage;
}

static uint32_t reserved_from(const struct model_pool *model, enum priority priority)
{
    switch (priority) {
    case PRIORITY_CRITICAL:
        return 0;
    case PRIORITY_NORMAL:
        return model->critical;
    default:
        return model->critical + model->normal;
    }
}

static uint32_t room_for(const struct model_pool *model, enum priority priority)
{
    uint32_t idle = model->capacity - usage_of(model), kept = reserved_from(model, priority);
    return idle > kept ? idle - kept : 0;
}

/* The waiter who is before all others of the pool; or of those at least that important. */
static struct model_waiter *first_waiter(unsigned pool, enum priority least)
{
    for (enum priority priority = 0; priority <= least; priority++)
        for (unsigned i = 0; i < waiter_count; i++)
            if (waiters[i].waits && waiters[i].pool == pool && waiters[i].priority == priority)
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

/* Slots and holds, and what is waited for. */
static uint32_t charged_to(unsigned pool, unsigned session)
{
    uint32_t charged = 0;
    for (uint32_t i = 0; i < pools[pool].capacity; i++) {
        const struct model_slot *slot = &pools[pool].slots[i];
        if (slot->live)
            charged += slot->shared ? slot->holds[session] : slot->holder == (int)session;
    }
    for (unsigned i = 0; i < waiter_count; i++)
        if (waiters[i].waits && waiters[i].pool == pool && waiters[i].session == session)
            charged += waiters[i].count;
    return charged;
}

/* `own` of them are charged to it already, `users_own` to its user. */
static bool may_charge(unsigned pool, unsigned session, uint32_t count, uint32_t own,
                       uint32_t users_own)
{
    const struct model_pool *model = &pools[pool];
    uint32_t user = 0;
    for (unsigned i = 0; i < SESSIONS; i++)
        if (sessions[i].memberships[pool] && sessions[i].uid == sessions[session].uid)
            user += charged_to(pool, i);
    return (model->session_slots == 0 ||
            charged_to(pool, session) + count - own <= model->session_slots) &&
           (model->user_slots == 0 || user + count - users_own <= model->user_slots);
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static uint8_t *object_at(unsigned pool, uint32_t index)
{
    return pools[pool].data + index * pools[pool].pool->store.geometry.stride;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void check_new_object(unsigned pool, uint32_t index)
{
    const struct model_pool *model = &pools[pool];
    const uint8_t *object = object_at(pool, index);
    must(memcmp(object, content, model->template_size) == 0);
    if (model->flags & (LAYOUT_ZERO_ALLOCATE | LAYOUT_ZERO_FREE))
        must(is_zero(object + model->template_size, OBJECT - model->template_size));
}

static void tag_object(unsigned pool, uint32_t index)
{
    uint8_t *object = object_at(pool, index);
    uint32_t tag = ++last_tag;
    pools[pool].slots[index].tag = tag;
    memcpy(object, &tag, sizeof(tag));
    memcpy(object + OBJECT - sizeof(tag), &tag, sizeof(tag));
}

static void check_object(unsigned pool, uint32_t index)
{
    const uint8_t *object = object_at(pool, index);
    uint32_t tag = pools[pool].slots[index].tag;
    must(memcmp(object, &tag, sizeof(tag)) == 0);
    must(memcmp(object + OBJECT - sizeof(tag), &tag, sizeof(tag)) == 0);
}

/* ---- What the model does --------------------------------------------------------------------- */

static void model_free(unsigned pool, uint32_t index)
{
    struct model_slot *slot = &pools[pool].slots[index];
    *slot = (struct model_slot){.holder = NOBODY, .generation = slot->generation + 1};
    pools[pool].deallocations++;
}

/* One step after the other, until it is enough or the maximum. */
static uint32_t next_capacity(const struct model_pool *model, uint32_t needed)
{
    static const uint32_t custom[] = {3, 7, 12};
    uint32_t capacity = model->capacity;
    while (model->growth > 0 && capacity < needed && capacity < model->max) {
        uint32_t next = model->max;
        if (model->growth == 1)
            next = capacity + model->step;
        if (model->growth == 2)
            next = capacity * 3 / 2 > capacity ? capacity * 3 / 2 : capacity + 1;
        for (unsigned i = 0; i < 3 && model->growth == 3; i++)
            if (custom[i] > capacity && custom[i] < next)
                next = custom[i];
        capacity = next < model->max ? next : model->max;
    }
    return capacity;
}

static void model_grow(struct model_pool *model, uint32_t capacity)
{
    if (capacity <= model->capacity)
        return;
    model->capacity = capacity;
    model->grown++;
}

/* Whether it grew. */
static bool look_ahead(struct model_pool *model)
{
    uint32_t idle = model->capacity - usage_of(model), before = model->capacity;
    if (idle < model->ahead)
        model_grow(model, next_capacity(model, model->capacity + model->ahead - idle));
    return model->capacity > before;
}

static bool evict(unsigned pool, uint32_t missing)
{
    struct model_pool *model = &pools[pool];
    uint32_t evictable = 0;
    for (uint32_t i = 0; i < model->capacity; i++)
        evictable += model->slots[i].evictable;
    if (evictable < missing)
        return false;
    for (uint32_t freed_now = 0; freed_now < missing; freed_now++) {
        uint32_t oldest = SLOTS;
        for (uint32_t i = 0; i < model->capacity; i++)
            if (model->slots[i].evictable &&
                (oldest == SLOTS || model->slots[i].since < model->slots[oldest].since))
                oldest = i;
        model_free(pool, oldest);
    }
    model->evicted += missing;
    return true;
}

static bool make_room(unsigned pool, uint32_t count, enum priority priority)
{
    struct model_pool *model = &pools[pool];
    uint32_t room = room_for(model, priority);
    if (room >= count)
        return true;
    uint32_t needed = usage_of(model) + reserved_from(model, priority) + count;
    if (needed <= model->max && model->growth > 0) {
        model_grow(model, next_capacity(model, needed));
        return true;
    }
    return priority == PRIORITY_CRITICAL && evict(pool, count - room);
}

/* The handles must be of slots that were free; now they are the session's. */
static void model_take(unsigned pool, unsigned session, const struct bytes *handles, uint32_t count,
                       bool evictable)
{
    struct model_pool *model = &pools[pool];
    must(handles->size == (size_t)count * HANDLE_WIRE_SIZE);
    for (uint32_t i = 0; i < count; i++) {
        fastalloc_handle_t handle = handle_from_wire(handles->data + (size_t)i * HANDLE_WIRE_SIZE);
        must(handle.pool == model->pool->id && handle.index < model->capacity);
        must(handle_nonce(handle) == registry_nonce(&broker.registry));
        struct model_slot *slot = &model->slots[handle.index];
        must(!slot->live && slot->generation == handle_generation(handle));
        slot->live = true;
        slot->holder = (int)session;
        slot->evictable = evictable;
        slot->since = ++last_taken;
        slot->is_new = true;
    }
    model->allocations += count;
    if (usage_of(model) > model->peak)
        model->peak = usage_of(model);
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

static void take_answer(void *connection, uint32_t msgid, enum method method, const void *body,
                        const struct error *error)
{
    const struct allocate_reply *reply = body;
    must(method == METHOD_ALLOCATE);
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

/* Highest priority first, then first come, first served, all or nothing. */
static void expect_service(unsigned pool)
{
    struct model_waiter *waiter;
    do
        while ((waiter = first_waiter(pool, PRIORITY_BEST_EFFORT)) &&
               make_room(pool, waiter->count, waiter->priority)) {
            const struct answered *answer = expect_answer(waiter, ERROR_NONE);
            model_take(pool, waiter->session, &answer->handles, waiter->count, waiter->evictable);
        }
    while (look_ahead(&pools[pool]));
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
        if (pools[pool].pool)
            expect_service(pool);
}

/* Of slots that members returned, somebody may have been given some, or not yet. */
static void perhaps_service(unsigned pool)
{
    if (answers_seen < answer_count)
        expect_service(pool);
}

static bool has_room_for(const struct model_waiter *waiter)
{
    return waiter && room_for(&pools[waiter->pool], waiter->priority) >= waiter->count;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* Of usage, and of what it had been: in a leased pool the daemon knows it after a sweep. */
static void compare_usage(const struct model_pool *model)
{
    const struct layout_counters *counters = &model->pool->ctl->counters;
    must(counters->total_allocations == model->allocations);
    must(counters->total_deallocations == model->deallocations);
    must(counters->current_usage == usage_of(model));
    must(pool_usage(model->pool) == usage_of(model));
}

static void compare_area(const struct model_pool *model)
{
    const struct layout_counters *counters = &model->pool->ctl->counters;
    unsigned __int128 area = (unsigned __int128)counters->area_high << 64 | counters->area_low;
    area += (unsigned __int128)counters->current_usage * ((uint64_t)now - counters->changed_at);

    must(area == model->area);
    must(counters->peak_usage == model->peak);
}

static void compare_counters(const struct model_pool *model)
{
    const struct layout_counters *counters = &model->pool->ctl->counters;
    must(counters->allocation_failures == model->failures);
    must(counters->timeouts == model->timeouts);
    must(counters->reclaimed == model->reclaimed);
    must(counters->peak_usage <= model->capacity);
    must(counters->growth_count == model->grown);
    must(counters->evictions == model->evicted);
    must(counters->total_waits == model->waits);
    if (model->leased)
        return;
    compare_usage(model);
    compare_area(model);
}

static uint32_t member_of(unsigned pool, int holder)
{
    return holder == THE_POOL ? SLOT_MEMBER_POOL : sessions[holder].memberships[pool]->member;
}

static void compare_slot(unsigned place, uint32_t index)
{
    const struct model_slot *slot = &pools[place].slots[index];
    const struct pool *pool = pools[place].pool;
    uint64_t word = pool->words[index];
    uint32_t holder = ledger_holder(&pool->ledger, index), holds = 0;

    must(slot_generation(word) == slot->generation);
    must(slot_is_allocated(word) == slot->live);
    must((slot_state(word) == SLOT_SHARED) == slot->shared);
    if (!slot->live)
        must(holder == SLOT_MEMBER_NONE || pools[place].leased);
    else if (!slot->shared)
        must(holder == member_of(place, slot->holder));
    for (int i = 0; i <= THE_POOL; i++) {
        holds += slot->holds[i];
        if (slot->holds[i] > 0)
            must(count_holds(&pool->holders, index, member_of(place, i)) == slot->holds[i]);
    }
    must(holders_count(&pool->holders, index) == holds);
}

/* Objects that are new have what they should begin with; the others what was written to them. */
static void compare_bytes(unsigned place)
{
    struct model_pool *model = &pools[place];
    for (uint32_t i = 0; i < model->capacity; i++) {
        struct model_slot *slot = &model->slots[i];
        if (slot->live && slot->is_new)
            check_new_object(place, i);
        else if (slot->live)
            check_object(place, i);
        if (slot->is_new)
            tag_object(place, i);
        slot->is_new = false;
    }
}

static void compare_pool(unsigned place)
{
    const struct model_pool *model = &pools[place];
    must(pool_capacity(model->pool) == model->capacity);
    must(pool_capacity_max(model->pool) == model->max);
    must(model->pool->waiters.count == count_waiters(place));
    compare_counters(model);
    for (uint32_t i = 0; i < model->capacity; i++)
        compare_slot(place, i);
    compare_bytes(place);
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
    int64_t deadline = DEADLINE_NEVER;
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
    must(broker_next_deadline(&broker) <= deadline); /* pools have some too */
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

/* Something at all only every other time. */
static uint32_t perhaps(uint32_t below)
{
    return chance(2) ? chance(below) : 0;
}

static void map_data(struct model_pool *model)
{
    int fd = store_descriptor(&model->pool->store, STORE_DATA, true);
    model->data = mmap(NULL, geometry_data_size(&model->pool->store.geometry, model->reserve),
                       PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(model->data != MAP_FAILED);
    close(fd);
}

static void unmap_data(struct model_pool *model, size_t size)
{
    munmap(model->data, size);
}

static void describe_pool(struct model_pool *model, struct pool_config *config, char *growth,
                          size_t room)
{
    static const uint32_t flags[] = {0, LAYOUT_ZERO_ALLOCATE, LAYOUT_ZERO_FREE};
    model->capacity = 1 + chance(SLOTS / 2);
    model->growth = chance(4);
    model->step = 1 + chance(4);
    model->max =
        model->growth ? model->capacity + chance(SLOTS - model->capacity + 1) : model->capacity;
    model->critical = perhaps(model->max / 2 + 1);
    model->normal = perhaps(model->max / 3 + 1);
    model->leased = chance(2);
    /* What is cached isn't ahead, but may be taken back: the model doesn't know when. */
    model->ahead = model->leased ? 0 : perhaps(model->capacity + 1);
    model->session_slots = perhaps(SLOTS);
    model->user_slots = perhaps(SLOTS);
    model->flags = flags[chance(3)] | (chance(4) ? 0 : LAYOUT_OWNER_FREES);
    /* What is zero on free begins as a hole after the template, which isn't written again. */
    model->template_size = model->flags & LAYOUT_ZERO_FREE ? 0 : perhaps(sizeof(content) + 1);
    static const char *const watermarks[] = {NULL, "off", "50%", "100%", "1"};
    static const char *const texts[] = {"none", NULL, "exponential:1.5", "custom:3,7,12"};
    snprintf(growth, room, "linear:%u", model->step);
    *config = (struct pool_config){
        .type = "",
        .kind = model->leased ? LAYOUT_LEASED : LAYOUT_BROKERED,
        .object_size = OBJECT,
        .capacity = model->capacity,
        .capacity_max = model->max,
        .growth = texts[model->growth] ? texts[model->growth] : growth,
        .grow_ahead = model->ahead,
        .flags = model->flags,
        .reserve_critical = model->critical,
        .reserve_normal = model->normal,
        .session_slots = model->session_slots,
        .user_slots = model->user_slots,
        .watermark = watermarks[chance(5)],
        .hold_limit = perhaps(2000),
        .trim_after = perhaps(2000),
        .content = {content, model->template_size},
    };
}

static void create_pool(void)
{
    unsigned place = any_pool();
    struct model_pool model = {.pool = NULL};
    struct pool_config config;
    struct error error;
    char name[16], growth[32];
    describe_pool(&model, &config, growth, sizeof(growth));
    snprintf(name, sizeof(name), "pool-%u", place);
    config.name = name;

    bool created = broker_create_pool(&broker, &config, &model.pool, &error);
    must(created == !pools[place].pool);
    if (!created) {
        must(error.code == ERROR_POOL_EXISTS && strcmp(error.pool, name) == 0);
        return;
    }
    model.reserve = model.pool->store.geometry.reserve;
    for (uint32_t i = 0; i < SLOTS; i++)
        model.slots[i] = (struct model_slot){.holder = NOBODY, .generation = SLOT_GENERATION_FIRST};
    model.pool->mapped = model.leased;
    pools[place] = model;
    map_data(&pools[place]);
}

static void destroy_pool(void)
{
    unsigned place = any_pool();
    struct model_pool *model = &pools[place];
    if (!model->pool)
        return;
    size_t size = geometry_data_size(&model->pool->store.geometry, model->reserve);
    must(broker_destroy_pool(&broker, model->pool) == usage_of(model));
    for (struct model_waiter *waiter; (waiter = first_waiter(place, PRIORITY_BEST_EFFORT));)
        expect_answer(waiter, ERROR_POOL_DESTROYED);
    unmap_data(model, size);
    model->pool = NULL;
    for (unsigned i = 0; i < SESSIONS; i++)
        sessions[i].memberships[place] = NULL;
}

static void grow_pool(void)
{
    unsigned place = any_pool();
    struct model_pool *model = &pools[place];
    struct pool_grow_reply reply;
    struct error error;
    if (!model->pool)
        return;
    uint32_t most = model->reserve < SLOTS ? model->reserve : SLOTS;
    struct pool_grow_request request = {.capacity = perhaps(SLOTS + 1),
                                        .capacity_max = chance(4) ? 0 : 1 + chance(most)};
    uint32_t max = request.capacity_max ? (uint32_t)request.capacity_max : model->max;
    enum broker_outcome outcome =
        growing_request(&broker, NULL, model->pool, &request, 0, &reply, &error);
    if (max < model->max || request.capacity > max) {
        must(outcome == BROKER_REFUSED);
        must(error.code ==
             (max < model->max ? ERROR_INVALID_CAPACITY : ERROR_MAX_CAPACITY_EXCEEDED));
        return;
    }
    must(outcome == BROKER_DONE);
    model->max = max;
    model_grow(model, (uint32_t)request.capacity);
    expect_service(place);
    must(reply.capacity == model->capacity && reply.capacity_max == model->max);
}

static void trim_pool(void)
{
    struct model_pool *model = &pools[any_pool()];
    if (model->pool)
        broker_trim(&broker, model->pool);
}

static void begin_session(void)
{
    unsigned place = any_session();
    struct model_session *model = &sessions[place];
    struct peer peer = {1, 2 + place % 2, 3};
    struct session *session;
    struct error error;
    if (model->session)
        return;
    bool witnessed = chance(2);
    must(broker_begin_session(&broker, &peer, "x", witnessed, model, &session, &error));
    *model = (struct model_session){.session = session, .connected = true, .uid = peer.uid};
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
    if (!model->memberships[place])
        model->told[place] = model->threads[place] = 0;
    model->memberships[place] = membership;
}

static bool is_held(const struct model_slot *slot)
{
    for (int i = 0; i <= THE_POOL; i++)
        if (slot->holds[i] > 0)
            return true;
    return false;
}

/* Its slots in the pool are free again, and those that it held last. */
static uint32_t leave(unsigned place, unsigned pool)
{
    uint32_t count = 0;
    sessions[place].memberships[pool] = NULL;
    for (uint32_t i = 0; i < pools[pool].capacity; i++) {
        struct model_slot *slot = &pools[pool].slots[i];
        bool held = slot->shared ? slot->holds[place] > 0 : slot->holder == (int)place;
        slot->holds[place] = 0;
        if (held && (!slot->shared || !is_held(slot))) {
            model_free(pool, i);
            count++;
        }
    }
    return count;
}

/* Newest first: the order in which a session's own requests are refused is not promised. */
static uint32_t expect_refusals(unsigned place, unsigned pool, uint64_t request,
                                enum error_code code)
{
    uint32_t count = 0;
    for (unsigned i = waiter_count; i-- > 0;)
        if (waiters[i].waits && waiters[i].session == place && waiters[i].pool == pool &&
            (request == 0 || waiters[i].request == request)) {
            expect_answer(&waiters[i], code);
            count++;
        }
    return count;
}

static void close_pool(void)
{
    unsigned place = any_session(), pool = any_pool();
    struct model_session *model = &sessions[place];
    if (!model->connected || !model->memberships[pool])
        return;
    uint32_t count = broker_close_pool(&broker, model->session, model->memberships[pool]);
    expect_refusals(place, pool, 0, ERROR_NOT_A_MEMBER);
    must(count == leave(place, pool));
    expect_service(pool);
}

static void cancel(void)
{
    unsigned place = any_session(), pool = any_pool();
    struct model_session *model = &sessions[place];
    struct error error;
    if (!model->connected || !model->memberships[pool])
        return;
    uint64_t request = waiter_count > 0 && chance(2) ? waiters[chance(waiter_count)].request : 0;
    error_set(&error, ERROR_CANCELLED, "cancelled");
    uint32_t count = demand_cancel(&broker, model->session, pools[pool].pool, request, &error);
    demand_serve(&broker, pools[pool].pool);
    must(count == expect_refusals(place, pool, request, ERROR_CANCELLED));
    expect_service(pool);
}

static void expect_exhausted(const struct error *error, unsigned pool, uint32_t count,
                             enum priority priority)
{
    const struct model_pool *model = &pools[pool];
    uint32_t reserved = model->capacity - usage_of(model) - room_for(model, priority);
    uint32_t needed = usage_of(model) + reserved_from(model, priority) + count;
    must(error->allocated == usage_of(model) && error->reserved == reserved);
    must(error->waiters == count_waiters(pool));
    if (model->growth > 0 && needed > model->max) {
        must(error->code == ERROR_MAX_CAPACITY_EXCEEDED);
        must(error->current == model->capacity && error->max == model->max);
        must(error->requested == needed);
    } else {
        must(error->code == ERROR_POOL_EXHAUSTED);
        must(error->capacity == model->capacity && error->requested == count);
    }
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
    static const enum priority priorities[] = {PRIORITY_NORMAL, PRIORITY_CRITICAL,
                                               PRIORITY_BEST_EFFORT};
    unsigned place = any_session(), pool = any_pool();
    struct model_session *model = &sessions[place];
    struct allocate_reply reply;
    struct error error;
    if (!model->connected || !model->memberships[pool] || waiter_count == WAITERS)
        return;
    struct allocate_request request = {.request = ++last_request,
                                       .count = chance(3) ? chance(4) : chance(ASKED + 1),
                                       .timeout = any_timeout(),
                                       .priority = chance(3),
                                       .evictable = chance(3) == 0};
    if (pools[pool].leased)
        request.evictable = false;
    enum priority priority = priorities[request.priority];
    uint32_t count = request.count ? request.count : 1;
    int64_t deadline = request.timeout < 0 ? DEADLINE_NEVER : now + request.timeout;
    if (deadline != DEADLINE_NEVER && deadline_is_taken(deadline))
        return;

    uint32_t most = pools[pool].growth ? pools[pool].max : pools[pool].capacity;
    bool possible = count + reserved_from(&pools[pool], priority) <= most;
    bool charged = may_charge(pool, place, count, 0, 0);
    uint32_t capacity = pools[pool].capacity;
    enum broker_outcome outcome = demand_request(&broker, model->session, model->memberships[pool],
                                                 &request, ++last_msgid, &reply, &error);
    if (!charged) {
        must(outcome == BROKER_REFUSED && error.code == ERROR_QUOTA_EXCEEDED);
        perhaps_service(pool);
        return;
    }
    /* Nobody is refused, or waits, behind others who needn't wait any more. */
    if (first_waiter(pool, priority) && has_room_for(first_waiter(pool, PRIORITY_BEST_EFFORT)))
        expect_service(pool);
    if (!first_waiter(pool, priority) && make_room(pool, count, priority)) {
        must(outcome == BROKER_DONE);
        model_take(pool, place, &reply.handles, count, request.evictable);
        bool grown = look_ahead(&pools[pool]);
        if (grown || pools[pool].capacity > capacity)
            expect_service(pool);
    } else if (request.timeout == 0 || !possible) {
        must(outcome == BROKER_REFUSED);
        expect_exhausted(&error, pool, count, priority);
    } else {
        must(outcome == BROKER_WAITS);
        pools[pool].waits++;
        waiters[waiter_count++] =
            (struct model_waiter){true,  request.evictable, pool,         place,   priority,
                                  count, last_msgid,        last_request, deadline};
    }
    perhaps_service(pool);
}

/* ---- Operations on handles ------------------------------------------------------------------- */

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
            if (model->slots[index].live)
                break;
        }
        return handle_make(model->pool->id, index, nonce, model->slots[index].generation);
    }
}

static uint32_t holds_of(const struct model_slot *slot, int who)
{
    return slot->shared ? slot->holds[who] : slot->holder == who;
}

static uint32_t all_holds(const struct model_slot *slot)
{
    uint32_t holds = 0;
    for (int i = 0; i <= THE_POOL; i++)
        holds += holds_of(slot, i);
    return holds;
}

static enum error_code judge_operation(unsigned pool, const struct model_slot *slot,
                                       enum pool_operation operation, unsigned session)
{
    bool owner_frees = pools[pool].flags & LAYOUT_OWNER_FREES;
    uint32_t own = holds_of(slot, (int)session), pools_own = holds_of(slot, THE_POOL);
    switch (operation) {
    case POOL_FREE:
        if (slot->shared && own < all_holds(slot))
            return ERROR_OBJECT_SHARED;
        return own == 0 && owner_frees ? ERROR_NOT_HOLDER : ERROR_NONE;
    case POOL_RELEASE:
        return own == 0 ? ERROR_NOT_HOLDER : ERROR_NONE;
    case POOL_RETAIN:
        return ERROR_NONE;
    case POOL_ADOPT:
        if (slot->shared && pools_own == 0)
            return ERROR_OBJECT_SHARED;
        return owner_frees && own + pools_own == 0 ? ERROR_NOT_HOLDER : ERROR_NONE;
    case POOL_DETACH:
        if (slot->shared && own == 0)
            return ERROR_OBJECT_SHARED;
        return owner_frees && own == 0 ? ERROR_NOT_HOLDER : ERROR_NONE;
    }
    return ERROR_NONE;
}

static enum error_code judge(unsigned pool, const fastalloc_handle_t *handles, uint32_t position,
                             enum pool_operation operation, unsigned session)
{
    fastalloc_handle_t handle = handles[position];
    if (handle.pool != pools[pool].pool->id)
        return ERROR_WRONG_POOL;
    if (handle_nonce(handle) != registry_nonce(&broker.registry) ||
        handle.index >= pools[pool].capacity || !pools[pool].slots[handle.index].live ||
        pools[pool].slots[handle.index].generation != handle_generation(handle))
        return ERROR_STALE_HANDLE;
    for (uint32_t i = 0; i < position; i++)
        if (fastalloc_handle_equal(handles[i], handle))
            return ERROR_DUPLICATE_HANDLE;
    return judge_operation(pool, &pools[pool].slots[handle.index], operation, session);
}

static void share(struct model_slot *slot)
{
    if (slot->shared)
        return;
    slot->shared = true;
    slot->evictable = false;
    slot->holds[slot->holder]++;
    slot->holder = NOBODY;
}

static void model_operate(unsigned pool, fastalloc_handle_t handle, enum pool_operation operation,
                          unsigned session)
{
    struct model_slot *slot = &pools[pool].slots[handle.index];
    int from = operation == POOL_ADOPT ? THE_POOL : (int)session;
    int to = operation == POOL_ADOPT ? (int)session : THE_POOL;
    switch (operation) {
    case POOL_FREE:
        model_free(pool, handle.index);
        break;
    case POOL_RELEASE:
        if (slot->shared)
            slot->holds[session]--;
        if (!slot->shared || !is_held(slot))
            model_free(pool, handle.index);
        break;
    case POOL_RETAIN:
        share(slot);
        slot->holds[session]++;
        break;
    case POOL_ADOPT:
    case POOL_DETACH:
        slot->evictable = false;
        if (slot->shared) {
            slot->holds[from]--;
            slot->holds[to]++;
        } else {
            slot->holder = to;
        }
        break;
    }
    freed[chance(FREED)] = handle;
}

/* What it takes beside the handles. */
static enum error_code judge_means(unsigned pool, enum pool_operation operation, unsigned session,
                                   const fastalloc_handle_t *handles, uint32_t count)
{
    const struct model_pool *model = &pools[pool];
    uint32_t own = 0, users_own = 0;
    for (uint32_t i = 0; operation == POOL_ADOPT && i < count; i++) {
        const struct model_slot *slot = &model->slots[handles[i].index];
        bool held = !slot->shared && slot->holder != THE_POOL;
        own += held && slot->holder == (int)session;
        users_own += held && sessions[slot->holder].uid == sessions[session].uid;
    }
    if (operation == POOL_DETACH && (model->session_slots > 0 || model->user_slots > 0))
        return ERROR_NOT_PERMITTED;
    if ((operation == POOL_ADOPT || operation == POOL_RETAIN) &&
        !may_charge(pool, session, count, own, users_own))
        return ERROR_QUOTA_EXCEEDED;
    return ERROR_NONE;
}

static enum pool_operation any_operation(void)
{
    static const enum pool_operation operations[] = {POOL_FREE,    POOL_FREE,    POOL_FREE,
                                                     POOL_RELEASE, POOL_RELEASE, POOL_RELEASE,
                                                     POOL_RETAIN,  POOL_ADOPT,   POOL_DETACH};
    return operations[chance(sizeof(operations) / sizeof(operations[0]))];
}

static void operate_on_handles(void)
{
    unsigned pool = any_pool(), place = any_session();
    struct model_session *model = &sessions[place];
    enum pool_operation operation = any_operation();
    fastalloc_handle_t handles[4];
    uint8_t wire[4 * HANDLE_WIRE_SIZE];
    uint32_t count = 1 + chance(4), position = 0;
    enum error_code code = ERROR_NONE;
    struct error error;
    if (!model->connected || !model->memberships[pool])
        return;
    if (holders_total(&pools[pool].pool->holders) > HOLDERS_LEAST / 2 && operation == POOL_RETAIN)
        operation = POOL_RELEASE;

    for (uint32_t i = 0; i < count; i++) {
        handles[i] = i > 0 && chance(16) == 0 ? handles[chance(i)] : any_handle(pool);
        handle_to_wire(handles[i], wire + (size_t)i * HANDLE_WIRE_SIZE);
    }
    while (position < count &&
           (code = judge(pool, handles, position, operation, place)) == ERROR_NONE)
        position++;
    if (code == ERROR_NONE) {
        code = judge_means(pool, operation, place, handles, count);
        position = 0;
    }

    bool done = pool_operate(pools[pool].pool, operation, model->memberships[pool]->member, wire,
                             count, now, &error);
    must(done == (code == ERROR_NONE));
    if (!done) {
        must(error.code == code && error.position == position);
        leasing_settle(&broker, pools[pool].pool);
        perhaps_service(pool);
        return;
    }
    demand_serve(&broker, pools[pool].pool);
    for (uint32_t i = 0; i < count; i++)
        model_operate(pool, handles[i], operation, place);
    expect_service(pool);
}

/* ---- Without a request ----------------------------------------------------------------------- */

/* A session that may do that in a leased pool. False if chance has found none. */
static bool find_member(unsigned *place, unsigned *pool)
{
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        *place = any_session();
        *pool = any_pool();
        if (pools[*pool].pool && pools[*pool].leased && sessions[*place].connected &&
            sessions[*place].memberships[*pool])
            return true;
    }
    return false;
}

/* That of the session, which may be a new one, or 0. */
static uint32_t any_thread(unsigned place, unsigned pool)
{
    uint32_t *thread = &sessions[place].threads[pool];
    if (chance(2))
        return 0;
    if (*thread == 0)
        *thread = pool_add_thread(pools[pool].pool, sessions[place].memberships[pool]->member);
    return *thread;
}

static void lease(void)
{
    unsigned place, pool;
    if (!find_member(&place, &pool))
        return;
    const struct model_pool *model = &pools[pool];
    const struct membership *membership = sessions[place].memberships[pool];
    uint32_t count = 1 + chance(ASKED), thread = any_thread(place, pool);
    struct bytes slots = leasing_grant(&broker, membership, thread, count);
    must(slots.size <= count * sizeof(uint32_t));
    must(slots.size == 0 || epoch_load(&model->pool->ctl->waiters) == 0);
    for (size_t i = 0; i < slots.size; i += sizeof(uint32_t)) {
        uint32_t index = slots.data[i]; /* the others are 0 */
        must(index < model->capacity && !model->slots[index].live);
        must(member_word(model->pool, index) == slot_word(model->slots[index].generation,
                                                          thread ? thread : membership->member,
                                                          SLOT_CACHED));
    }
    const struct quota *quota = &model->pool->accounts[membership->member]->quota;
    must(model->session_slots == 0 || quota->used <= model->session_slots);
    must(slots.size == 0 ||
         pool_room(model->pool, PRIORITY_CRITICAL) >= reserved_from(model, PRIORITY_BEST_EFFORT));
    perhaps_service(pool);
}

/* What the library would fill is filled by the tag. */
static void take_cached(unsigned place, unsigned pool, uint32_t index)
{
    struct model_pool *model = &pools[pool];
    struct model_slot *slot = &model->slots[index];
    must(!slot->live && slot_generation(member_word(model->pool, index)) == slot->generation);
    slot->live = true;
    slot->holder = (int)place;
    slot->since = ++last_taken;
    model->allocations++;
    if (model->flags & LAYOUT_ZERO_FREE)
        check_new_object(pool, index);
    tag_object(pool, index);
}

/* By the session, or by its thread, plainly if that isn't revoked. */
static bool allocate_word(unsigned place, unsigned pool, uint32_t index)
{
    struct pool *of = pools[pool].pool;
    uint32_t thread = sessions[place].threads[pool];
    return (thread != 0 && (member_change(of, thread, index, BIAS_ALLOCATES) ||
                            member_allocate(of, thread, index))) ||
           member_allocate(of, sessions[place].memberships[pool]->member, index);
}

/* Nobody is in the middle of anything here, so others needn't revoke the thread whose object it is. */
static void free_word(unsigned place, unsigned pool, uint32_t index)
{
    struct pool *of = pools[pool].pool;
    uint32_t thread = sessions[place].threads[pool];
    uint32_t member = sessions[place].memberships[pool]->member;
    bool own = thread != 0 && slot_member(member_word(of, index)) == thread;
    if (own && member_change(of, thread, index, BIAS_FREES))
        member_after_free(of, index);
    else
        must(member_free(of, own ? thread : member, index));
}

/* Only while the pool is roomy: else it asks the daemon, behind those who wait. */
static void allocate_cached(unsigned place, unsigned pool)
{
    struct model_pool *model = &pools[pool];
    uint32_t first = chance(model->capacity);
    if (epoch_load(&model->pool->ctl->waiters) != 0)
        return;
    for (uint32_t i = 0; i < model->capacity; i++) {
        uint32_t index = (first + i) % model->capacity;
        if (!allocate_word(place, pool, index))
            continue;
        take_cached(place, pool, index);
        return;
    }
}

static void free_directly(unsigned place, unsigned pool)
{
    struct model_pool *model = &pools[pool];
    uint32_t index = chance(model->capacity);
    const struct model_slot *slot = &model->slots[index];
    if (!slot->live || slot->shared || (model->flags & LAYOUT_ZERO_FREE) ||
        ((model->flags & LAYOUT_OWNER_FREES) && slot->holder != (int)place))
        return;
    freed[chance(FREED)] =
        handle_make(model->pool->id, index, model->pool->nonce, slot->generation);
    free_word(place, pool, index);
    model_free(pool, index);
    sessions[place].rang |= member_rings(model->pool, &sessions[place].told[pool]);
}

/* A thread of it ends, which had everything of it cached. */
static void give_cache_back(unsigned place, unsigned pool)
{
    const struct model_session *model = &sessions[place];
    for (uint32_t i = 0; i < pools[pool].capacity; i++) {
        member_give_back(pools[pool].pool, model->memberships[pool]->member, i);
        if (model->threads[pool] != 0)
            member_give_back(pools[pool].pool, model->threads[pool], i);
    }
}

static void act_as_member(void)
{
    unsigned place, pool;
    if (!find_member(&place, &pool))
        return;
    uint32_t which = chance(32);
    if (which == 0)
        give_cache_back(place, pool);
    else if (which < 14)
        allocate_cached(place, pool);
    else
        for (uint32_t i = chance(4); i < 4; i++)
            free_directly(place, pool);
}

/* The daemon hears the session's bell. */
static void hear(unsigned place)
{
    struct model_session *model = &sessions[place];
    if (!model->rang)
        return;
    model->rang = false;
    leasing_ring(&broker, model->session);
    while (answers_seen < answer_count) {
        unsigned before = answers_seen;
        for (unsigned i = 0; i < waiter_count && answers_seen == before; i++)
            if (waiters[i].waits && waiters[i].msgid == answers[answers_seen].msgid)
                expect_service(waiters[i].pool);
        must(answers_seen > before);
    }
    for (unsigned pool = 0; pool < POOLS; pool++)
        if (model->memberships[pool] && pools[pool].leased)
            expect_service(pool);
}

/* And then nobody waits beside what is free. */
static void hear_all(void)
{
    for (unsigned place = 0; place < SESSIONS; place++)
        hear(place);
    for (unsigned pool = 0; pool < POOLS; pool++)
        if (pools[pool].pool)
            must(!has_room_for(first_waiter(pool, PRIORITY_BEST_EFFORT)));
}

static void look(void)
{
    unsigned pool = any_pool();
    if (!pools[pool].pool)
        return;
    leasing_look(&broker, pools[pool].pool);
    perhaps_service(pool);
    compare_usage(&pools[pool]);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

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
    if (!model->session || model->connected)
        return;

    bool ended = broker_end_session(&broker, model->session);
    must(ended == !model->witness);
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
    int64_t before = now;
    now += chance(3) == 0 ? 1000000 : chance(20);
    for (unsigned i = 0; i < POOLS; i++)
        pools[i].area += (unsigned __int128)usage_of(&pools[i]) * (uint64_t)(now - before);
    broker_set_time(&broker, now);
    broker_pass_time(&broker);
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
    if (which < 200)
        hear_all();
    if (which < 6)
        create_pool();
    else if (which < 8)
        destroy_pool();
    else if (which < 12)
        grow_pool();
    else if (which < 16)
        trim_pool();
    else if (which < 20)
        cancel();
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
    else if (which < 500)
        allocate();
    else if (which < 730)
        operate_on_handles();
    else if (which < 770)
        lease();
    else if (which < 790)
        look();
    else if (which < 820)
        hear(any_session());
    else
        act_as_member();
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
    hear_all();
    for (unsigned i = 0; i < SESSIONS; i++) {
        disconnect(i);
        unmap(i);
        end_session(i);
        compare();
    }
    /* What is left was detached; it would be kept for the next start. */
    for (unsigned i = 0; i < POOLS; i++)
        if (pools[i].pool && usage_of(&pools[i]) > 0)
            broker_destroy_pool(&broker, pools[i].pool);
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

    static const struct broker_rim rim = {.answer = take_answer};
    test_private_shm(16 << 20);
    log_set_level(LOG_LEVEL_ERROR);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(broker_init(&broker, path, &rim, now), 0);
    for (step = 0; step < steps; step++)
        operate();
    end_all();
    test_remove_folder(folder);
}
END_TEST

SUITE_MAIN("broker_random", test_broker_does_what_its_model_does)
