/* SPDX-License-Identifier: MIT */
#include "daemon/pool.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/name.h"
#include "shm/order.h"

static const char *const object_names[POOL_OBJECT_COUNT] = {"ctl", "slots", "data"};

/* ---- Creation -------------------------------------------------------------------------------- */

bool pool_geometry(const struct pool_config *config, struct geometry *geometry, struct error *error)
{
    uint32_t capacity = config->capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)config->capacity;

    switch (geometry_init(geometry, config->object_size, config->alignment, capacity)) {
    case GEOMETRY_OK:
        return true;
    case GEOMETRY_BAD_SIZE:
        error_set(error, ERROR_INVALID_OBJECT_SIZE,
                  "pool '%s': an object size of %" PRIu64
                  " bytes is not possible; choose 1 to %" PRIu64,
                  config->name, config->object_size, GEOMETRY_OBJECT_MAX);
        error->requested = config->object_size;
        error->max = GEOMETRY_OBJECT_MAX;
        return false;
    case GEOMETRY_BAD_ALIGNMENT:
        error_set(error, ERROR_INVALID_ALIGNMENT,
                  "pool '%s': an alignment of %" PRIu32
                  " is not possible; choose a power of two up to %u",
                  config->name, config->alignment, GEOMETRY_ALIGNMENT_MAX);
        error->alignment = config->alignment;
        error->max = GEOMETRY_ALIGNMENT_MAX;
        return false;
    case GEOMETRY_BAD_CAPACITY:
        break;
    }
    uint32_t limit = geometry_capacity_limit(config->object_size, config->alignment);
    error_set(error, ERROR_INVALID_CAPACITY,
              "pool '%s': a capacity of %" PRIu64 " slots of %" PRIu64
              " bytes is not possible; choose 1 to %" PRIu32,
              config->name, config->capacity, config->object_size, limit);
    error->capacity = config->capacity;
    error->max = limit;
    return false;
}

static size_t object_size(const struct geometry *geometry, enum pool_object object,
                          uint32_t capacity)
{
    switch (object) {
    case POOL_CTL:
        return geometry_ctl_size(geometry, capacity);
    case POOL_SLOTS:
        return geometry_slots_size(geometry, capacity);
    default:
        return geometry_data_size(geometry, capacity);
    }
}

static uint64_t total_size(const struct geometry *geometry, uint32_t capacity)
{
    uint64_t total = 0;
    for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++)
        total += object_size(geometry, object, capacity);
    return total;
}

/* Creates one object and maps it, but for data, which the daemon never looks at. */
static int create_object(struct pool *pool, enum pool_object object, void **base)
{
    char name[SEGMENT_NAME_SIZE];
    size_t size = object_size(&pool->geometry, object, pool->geometry.capacity_max);
    segment_name(pool->key, object_names[object], name);
    int fd = segment_create(name, size);
    if (fd < 0 || object == POOL_DATA) {
        if (fd >= 0)
            close(fd);
        return fd < 0 ? fd : 0;
    }

    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int result = mapping == MAP_FAILED ? -errno : 0;
    close(fd);
    if (result == 0)
        *base = mapping;
    return result;
}

static int create_objects(struct pool *pool)
{
    void *ctl = NULL;
    int result = create_object(pool, POOL_CTL, &ctl);
    if (result == 0) {
        pool->ctl = ctl;
        pool->ctl_mapped = geometry_ctl_size(&pool->geometry, pool->geometry.capacity_max);
        result = create_object(pool, POOL_SLOTS, &pool->slots);
    }
    if (result == 0) {
        pool->slots_mapped = geometry_slots_size(&pool->geometry, pool->geometry.capacity_max);
        result = create_object(pool, POOL_DATA, NULL);
    }
    return result;
}

static void fill_ctl(struct pool *pool, const struct pool_config *config)
{
    const struct geometry *geometry = &pool->geometry;
    struct layout_ctl *ctl = pool->ctl;

    assert(ctl);
    ctl->magic = LAYOUT_MAGIC;
    ctl->pool = pool->id;
    ctl->nonce = pool->nonce;
    ctl->kind = LAYOUT_BROKERED;
    ctl->object_size = geometry->object_size;
    ctl->stride = geometry->stride;
    ctl->alignment = geometry->alignment;
    ctl->capacity_max = geometry->capacity_max;
    ctl->reserve = geometry->reserve;
    ctl->holders_max = geometry->holders_max;
    ctl->uid = config->uid;
    ctl->gid = config->gid;
    ctl->mode = config->mode;
    name_copy(ctl->name, config->name);
    name_copy(ctl->type, config->type);
    ctl->capacity = geometry->capacity_max;
}

static void fill_words(struct pool *pool)
{
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        pool->words[i] = slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE);
}

/* What the attempt had made is gone already, so that the space left is the whole of it. */
static bool refuse_creation(const struct geometry *geometry, const struct pool_config *config,
                            int result, struct error *error)
{
    uint64_t needed = total_size(geometry, geometry->capacity_max);
    uint64_t available = segment_space();

    if (result == -ENOSPC && needed <= available) {
        error_set(error, ERROR_SHARED_MEMORY_FULL,
                  "pool '%s' needs %u files in /dev/shm, which takes no more; destroy pools,"
                  " or let it take more (mount -o remount,nr_inodes=... /dev/shm)",
                  config->name, POOL_OBJECT_COUNT);
        error->needed = needed;
        error->available = available;
    } else if (result == -ENOSPC) {
        error_set(error, ERROR_SHARED_MEMORY_FULL,
                  "pool '%s' needs %" PRIu64 " bytes of shared memory, /dev/shm has %" PRIu64
                  " left; choose fewer or smaller slots, or enlarge it"
                  " (mount -o remount,size=... /dev/shm; docker run --shm-size)",
                  config->name, needed, available);
        error->needed = needed;
        error->available = available;
    } else if (result == -ENOMEM) {
        error_set(error, ERROR_OUT_OF_MEMORY, "pool '%s': the daemon has no memory for it",
                  config->name);
    } else {
        error_set(error, ERROR_SYSTEM, "pool '%s': its shared memory could not be made: %s",
                  config->name, strerror(-result));
        error->system_error = (uint32_t)-result;
    }
    return false;
}

bool pool_create(const struct pool_config *config, uint32_t id, uint16_t nonce,
                 const uint8_t key[SEGMENT_KEY_SIZE], struct pool **result, struct error *error)
{
    struct geometry geometry;
    if (!pool_geometry(config, &geometry, error))
        return false;

    /* What can't fit isn't begun: reserving takes a while, and starves others until it has failed. */
    uint64_t space = segment_space();
    if (space > 0 && total_size(&geometry, geometry.capacity_max) > space)
        return refuse_creation(&geometry, config, -ENOSPC, error);

    struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory for another pool");
        return false;
    }
    pool->id = id;
    pool->nonce = nonce;
    pool->geometry = geometry;
    memcpy(pool->key, key, sizeof(pool->key));
    TAILQ_INIT(&pool->waiters);

    int status = create_objects(pool);
    if (status == 0) {
        pool->members = (uint64_t *)((char *)pool->ctl + geometry.members_offset);
        pool->words = (uint64_t *)((char *)pool->slots + geometry.words_offset);
        status =
            ledger_init(&pool->ledger, (uint64_t *)((char *)pool->ctl + geometry.ledger_offset),
                        geometry.capacity_max);
    }
    if (status == 0) {
        pool->marks = calloc((geometry.capacity_max + 63) / 64, sizeof(pool->marks[0]));
        status = pool->marks ? 0 : -ENOMEM;
    }
    if (status < 0) {
        pool_unlink_objects(key);
        pool_free(pool);
        return refuse_creation(&geometry, config, status, error);
    }
    fill_ctl(pool, config);
    fill_words(pool);
    field32_store(&pool->ctl->version, LAYOUT_VERSION);
    *result = pool;
    return true;
}

/* ---- End ------------------------------------------------------------------------------------- */

unsigned pool_unlink_objects(const uint8_t key[SEGMENT_KEY_SIZE])
{
    unsigned removed = 0;
    for (enum pool_object object = 0; object < POOL_OBJECT_COUNT; object++) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(key, object_names[object], name);
        removed += segment_unlink(name) == 0;
    }
    return removed;
}

void pool_destroy(struct pool *pool)
{
    assert(TAILQ_EMPTY(&pool->waiters));
    field32_store(&pool->ctl->version, 0);
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        slot_make_idle(&pool->words[i], slot_generation(word_load(&pool->words[i])));
    pool_unlink_objects(pool->key);
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    assert(TAILQ_EMPTY(&pool->waiters));
    ledger_deinit(&pool->ledger);
    free(pool->marks);
    if (pool->slots)
        munmap(pool->slots, pool->slots_mapped);
    if (pool->ctl)
        munmap(pool->ctl, pool->ctl_mapped);
    free(pool);
}

int pool_descriptor(const struct pool *pool, enum pool_object object, bool writable)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(pool->key, object_names[object], name);
    return segment_open(name, writable && object == POOL_DATA);
}

/* ---- Members --------------------------------------------------------------------------------- */

uint32_t pool_join(struct pool *pool, uint64_t session)
{
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++) {
        if (field_load(&pool->members[member]) != 0)
            continue;
        if (ledger_add_member(&pool->ledger, member) < 0)
            return SLOT_MEMBER_NONE;
        field_store(&pool->members[member], session);
        pool->member_count++;
        return member;
    }
    return SLOT_MEMBER_NONE;
}

/* ---- Counters -------------------------------------------------------------------------------- */

static void count_begin(struct pool *pool)
{
    counters_begin(&pool->ctl->counters.sequence);
}

static void count_end(struct pool *pool)
{
    counters_end(&pool->ctl->counters.sequence);
}

static void count_up(uint64_t *counter, uint64_t number)
{
    counter_store(counter, *counter + number);
}

static void count_usage(struct pool *pool)
{
    struct layout_counters *counters = &pool->ctl->counters;
    uint64_t usage = counters->total_allocations - counters->total_deallocations;
    counter_store(&counters->current_usage, usage);
    if (usage > counters->peak_usage)
        counter_store(&counters->peak_usage, usage);
}

void pool_count_failure(struct pool *pool, bool timed_out)
{
    count_begin(pool);
    count_up(&pool->ctl->counters.allocation_failures, 1);
    count_up(&pool->ctl->counters.timeouts, timed_out);
    count_end(pool);
}

void pool_count_reclaimed(struct pool *pool, uint32_t slots)
{
    count_begin(pool);
    count_up(&pool->ctl->counters.reclaimed, slots);
    count_end(pool);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

bool pool_has_room(const struct pool *pool, uint32_t count)
{
    return ledger_count(&pool->ledger, SLOT_MEMBER_NONE) >= count;
}

void pool_allocate(struct pool *pool, uint32_t member, uint64_t request, uint32_t count,
                   uint8_t *handles)
{
    assert(pool_has_room(pool, count));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = ledger_grant(&pool->ledger, member, request);
        uint64_t generation = slot_generation(word_load(&pool->words[index]));
        bool live = slot_make_live(&pool->words[index], member);
        assert(live);
        (void)live;
        handle_to_wire(handle_make(pool->id, index, pool->nonce, generation),
                       handles + (size_t)i * HANDLE_WIRE_SIZE);
    }
    count_begin(pool);
    count_up(&pool->ctl->counters.total_allocations, count);
    count_usage(pool);
    count_end(pool);
}

static void take_back(struct pool *pool, uint32_t index)
{
    uint64_t *word = &pool->words[index];
    bool idle = slot_make_idle(word, slot_generation(word_load(word)));
    assert(idle);
    (void)idle;
    if (slot_state(word_load(word)) == SLOT_RETIRED)
        ledger_retire(&pool->ledger, index);
    else
        ledger_release(&pool->ledger, index);
}

static void count_freed(struct pool *pool, uint32_t count)
{
    count_begin(pool);
    count_up(&pool->ctl->counters.total_deallocations, count);
    count_usage(pool);
    count_end(pool);
}

uint32_t pool_leave(struct pool *pool, uint32_t member)
{
    uint32_t freed = 0;
    for (uint32_t index; (index = ledger_oldest(&pool->ledger, member)) != LEDGER_NONE; freed++)
        take_back(pool, index);
    count_freed(pool, freed);
    field_store(&pool->members[member], 0);
    pool->member_count--;
    return freed;
}

/* 0, or why the handle can't be freed. */
static enum error_code handle_problem(const struct pool *pool, fastalloc_handle_t handle)
{
    if (handle.pool != pool->id)
        return ERROR_WRONG_POOL;
    if (handle_nonce(handle) != pool->nonce || handle.index >= pool_capacity(pool))
        return ERROR_STALE_HANDLE;
    uint64_t word = word_load(&pool->words[handle.index]);
    if (!slot_is_allocated(word) || slot_generation(word) != handle_generation(handle))
        return ERROR_STALE_HANDLE;
    return ERROR_NONE;
}

static bool refuse_handle(const struct pool *pool, enum error_code code, uint32_t position,
                          fastalloc_handle_t handle, struct error *error)
{
    static const char *const reasons[] = {
        [ERROR_WRONG_POOL] = "belongs to another pool; free it there",
        [ERROR_STALE_HANDLE] = "is stale: its object is freed already, or never was",
        [ERROR_DUPLICATE_HANDLE] = "stands in the request before; name each handle once",
    };
    char text[FASTALLOC_HANDLE_TEXT_SIZE];
    handle_format(handle, text);
    error_set(error, code, "pool '%s': handle %s (number %" PRIu32 " of the request) %s",
              pool->ctl->name, text, position, reasons[code]);
    name_copy(error->pool, pool->ctl->name);
    error->position = position;
    return false;
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

bool pool_free_handles(struct pool *pool, const uint8_t *handles, uint32_t count,
                       struct error *error)
{
    enum error_code problem = ERROR_NONE;
    fastalloc_handle_t handle;
    uint32_t marked = 0;

    while (problem == ERROR_NONE && marked < count) {
        handle = handle_from_wire(handles + (size_t)marked * HANDLE_WIRE_SIZE);
        problem = handle_problem(pool, handle);
        if (problem == ERROR_NONE && swap_mark(pool, handle.index, true))
            problem = ERROR_DUPLICATE_HANDLE;
        marked += problem == ERROR_NONE;
    }
    if (problem != ERROR_NONE)
        refuse_handle(pool, problem, marked, handle, error);

    for (uint32_t i = 0; i < marked; i++) {
        uint32_t index = handle_from_wire(handles + (size_t)i * HANDLE_WIRE_SIZE).index;
        swap_mark(pool, index, false);
        if (problem == ERROR_NONE)
            take_back(pool, index);
    }
    if (problem == ERROR_NONE)
        count_freed(pool, count);
    return problem == ERROR_NONE;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

uint32_t pool_capacity(const struct pool *pool)
{
    return pool->geometry.capacity_max;
}

uint32_t pool_usage(const struct pool *pool)
{
    return (uint32_t)counter_load(&pool->ctl->counters.current_usage);
}

uint64_t pool_memory(const struct pool *pool)
{
    return total_size(&pool->geometry, pool_capacity(pool));
}

/* ---- Laws ------------------------------------------------------------------------------------ */

static void check_slot(const struct pool *pool, uint32_t index)
{
    uint64_t word = word_load(&pool->words[index]);
    uint32_t holder = ledger_holder(&pool->ledger, index);

    assert(slot_member(word) == holder);
    assert(slot_is_allocated(word) == (holder != SLOT_MEMBER_NONE));
    assert(slot_generation(word) >= SLOT_GENERATION_FIRST);
    assert(holder == SLOT_MEMBER_NONE || field_load(&pool->members[holder]) != 0);
    assert(!(pool->marks[index / 64] >> index % 64 & 1));
}

void pool_check(const struct pool *pool)
{
    const struct layout_counters *counters = &pool->ctl->counters;
    uint32_t members = 0, held = 0, waiters = 0;
    struct waiter *waiter;

    ledger_check(&pool->ledger);
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        check_slot(pool, i);
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++) {
        members += field_load(&pool->members[member]) != 0;
        held += ledger_count(&pool->ledger, member);
    }
    TAILQ_FOREACH (waiter, &pool->waiters, in_pool)
        waiters++;
    assert(members == pool->member_count && waiters == pool->waiter_count);
    assert(counters->sequence % 2 == 0);
    assert(held == counters->current_usage && held <= counters->peak_usage);
    assert(held == counters->total_allocations - counters->total_deallocations);
}
