/* SPDX-License-Identifier: MIT */
/* Recovery beside members that do harm, and where the system has nothing left to give. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/attempt.h"
#include "daemon/sigbus.h"
#include "shm/lease.h"
#include "tests/unit/recovery_case.h"

/* What a member of a leased pool freed by itself is counted once, however often the daemon dies. */
START_TEST(test_counts_what_was_freed_once)
{
    if (test_kind() == LAYOUT_BROKERED)
        return;
    take(alice, pool, 2);
    fastalloc_handle_t handle = handle_from_wire(held);
    uint64_t *word = &pool->words[handle.index];
    word_replace(word, lease_freed(word_load(word), SLOT_CACHED));
    crash();
    uint64_t allocated = pool->ctl->counters.total_allocations;
    uint64_t freed = pool->ctl->counters.total_deallocations;
    ck_assert_uint_eq(allocated, 2);
    ck_assert_uint_eq(freed, 1);
    crash();
    ck_assert_uint_eq(pool->ctl->counters.total_allocations, allocated);
    ck_assert_uint_eq(pool->ctl->counters.total_deallocations, freed);
}
END_TEST

/* There is no loop yet that could do a job. */
START_TEST(test_gives_no_jobs_away)
{
    struct pool *large = MAKE(.name = "large", .object_size = MIB, .capacity = 4,
                              .capacity_max = 32, .growth = "linear:8", .watermark = "off");
    join(bob, large);
    large->ctl->policy.grow_ahead = 6; /* as if it hadn't come to that, or failed */
    crash();
    ck_assert_uint_eq(found.ended, 1);
    ck_assert_uint_eq(job_count, 0);
}
END_TEST

/* A member may inflate the data at any time: here, when it was just brought to its size. */
static off_t inflated;

int __real_holders_load(struct holders *holders, uint32_t capacity, uint32_t member,
                        holders_keep keep, void *context);
int __wrap_holders_load(struct holders *holders, uint32_t capacity, uint32_t member,
                        holders_keep keep, void *context);

int __wrap_holders_load(struct holders *holders, uint32_t capacity, uint32_t member,
                        holders_keep keep, void *context)
{
    if (inflated > 0) {
        const struct pool *recovered = context;
        int fd = store_descriptor(&recovered->store, STORE_DATA, true);
        ck_assert_int_eq(ftruncate(fd, inflated), 0);
        close(fd);
    }
    return __real_holders_load(holders, capacity, member, keep, context);
}

START_TEST(test_finds_no_holes_beyond_the_end)
{
    inflated = (off_t)1 << 40;
    crash();
    inflated = 0;
    ck_assert_uint_le(store_trimmed_size(&pool->store), pool_size(pool));
}
END_TEST

/* A member comes between, wherever the daemon gives up the holds of a slot. */
static uint64_t *hit, meanwhile;

uint32_t __real_holders_clear(struct holders *holders, uint32_t index);
uint32_t __wrap_holders_clear(struct holders *holders, uint32_t index);

uint32_t __wrap_holders_clear(struct holders *holders, uint32_t index)
{
    uint32_t count = __real_holders_clear(holders, index);
    if (hit)
        __atomic_store_n(hit, meanwhile, __ATOMIC_RELEASE);
    return count;
}

static void change_while_it_recovers(uint32_t index, uint64_t word)
{
    int fd = store_descriptor(&pool->store, STORE_SLOTS, true);
    size_t size = geometry_slots_size(&pool->store.geometry, CAPACITY);
    size_t offset = pool->store.geometry.words_offset + index * sizeof(uint64_t);
    char *slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    hit = (uint64_t *)(void *)(slots + offset);
    *hit = meanwhile = word;
    broker_forget(&broker);
    begin_anew();
    ck_assert_msg(recovery_run(&broker, false, &found, &error), "%s", error.message);
    ck_assert_uint_eq(broker_find_pool(&broker, "frames")->ctl->counters.current_usage, 0);
    hit = NULL;
    munmap(slots, size);
    crash();
}

START_TEST(test_of_words_that_a_member_makes_cached)
{
    if (test_kind() == LAYOUT_LEASED)
        change_while_it_recovers(1, slot_word(5, member_of(alice, pool), SLOT_CACHED));
}
END_TEST

START_TEST(test_of_words_that_a_member_makes_live)
{
    if (test_kind() == LAYOUT_LEASED)
        change_while_it_recovers(1, slot_word(5, member_of(alice, pool), SLOT_LIVE));
}
END_TEST

/* Who cut its data and takes the room elsewhere harms its own pool. */
START_TEST(test_of_data_that_was_cut_where_there_is_no_room)
{
    struct pool *other = MAKE(.name = "other", .object_size = MIB, .capacity = 8);
    take(alice, pool, 1);
    int fd = store_descriptor(&other->store, STORE_DATA, true);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    close(fd);
    test_shm_fill(MIB);
    broker_forget(&broker);
    begin_anew();
    bool recovered = recovery_run(&broker, false, &found, &error);
    test_shm_unfill();
    ck_assert_msg(recovered, "%s", error.message);
    alice = broker_find_session(&broker, alice_id);
    bob = NULL;
    pool = broker_find_pool(&broker, "frames");
    ck_assert_uint_eq(pool_usage(pool), 1);
}
END_TEST

/* Nor who punched holes into it. */
START_TEST(test_of_holes_where_there_is_no_room)
{
    struct pool *other = MAKE(.name = "other", .object_size = MIB, .capacity = 8);
    join(alice, other);
    take(alice, other, 8);
    size_t size = geometry_data_size(&other->store.geometry, 8);
    int fd = store_descriptor(&other->store, STORE_DATA, true);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
    test_shm_fill(MIB);
    broker_forget(&broker);
    begin_anew();
    bool recovered = recovery_run(&broker, false, &found, &error);
    test_shm_unfill();
    ck_assert_msg(recovered, "%s", error.message);
    alice = broker_find_session(&broker, alice_id);
    bob = NULL;
    pool = broker_find_pool(&broker, "frames");
}
END_TEST

/* As many pools as it had made before: none keeps a descriptor. */
START_TEST(test_of_more_pools_than_descriptors)
{
    struct rlimit limit = {64, 64}, before;
    char names[100][16];
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "pool%d", i);
        MAKE(.name = names[i], .capacity = 1);
    }
    broker_forget(&broker);
    getrlimit(RLIMIT_NOFILE, &before);
    limit.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    begin_anew();
    bool recovered = recovery_run(&broker, false, &found, &error);
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_msg(recovered, "%s", error.message);
    alice = broker_find_session(&broker, alice_id);
    bob = NULL;
    pool = broker_find_pool(&broker, "frames");
}
END_TEST

static int no_memory_for_holds; /* so often there is none */

int __real_holders_reserve(struct holders *holders, uint32_t more, uint32_t capacity,
                           uint32_t members);
int __wrap_holders_reserve(struct holders *holders, uint32_t more, uint32_t capacity,
                           uint32_t members);

int __wrap_holders_reserve(struct holders *holders, uint32_t more, uint32_t capacity,
                           uint32_t members)
{
    if (no_memory_for_holds > 0 && --no_memory_for_holds == 0)
        return -ENOMEM;
    return __real_holders_reserve(holders, more, capacity, members);
}

/* Then all of a change that was begun is carried out by the next that has some. */
START_TEST(test_of_a_change_for_which_there_is_no_memory)
{
    take(alice, pool, 2);
    for (int failing = 1; failing <= 2; failing++) {
        struct registry_change *record = broker.journal.record;
        *record = (struct registry_change){.kind = JOURNAL_OPERATE + POOL_RETAIN,
                                           .pool = pool->id,
                                           .session = alice->id,
                                           .member = member_of(alice, pool),
                                           .number = (uint32_t)failing,
                                           .count = 2,
                                           .progress = JOURNAL_HOLDS_NONE};
        memcpy(record->handles, held, sizeof(record->handles[0]) * 2 * HANDLE_WIRE_SIZE);
        broker_forget(&broker);
        begin_anew();
        no_memory_for_holds = failing;
        ck_assert(!recovery_run(&broker, false, &found, &error));
        ck_assert_ptr_nonnull(strstr(error.message, "what was under way can't be carried out"));
        ck_assert_uint_eq(broker.registry.file->failures, 1);
        crash();
        ck_assert(journal_is_done(alice->entry, (uint32_t)failing));
        ck_assert_uint_eq(pool_held(pool, member_of(alice, pool)), 2 + 2 * (uint32_t)failing);
    }
}
END_TEST

/* ---- What fails ------------------------------------------------------------------------------ */

static int failing_open, failing_memory; /* after so many calls; 0 = none */

static bool fails(int *failing)
{
    return *failing > 0 && --*failing == 0;
}

int __real_segment_open(const char *name, bool writable);
int __wrap_segment_open(const char *name, bool writable);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

int __wrap_segment_open(const char *name, bool writable)
{
    return fails(&failing_open) ? -EMFILE : __real_segment_open(name, writable);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(&failing_memory) ? NULL : __real_calloc(count, size);
}

void *__wrap_malloc(size_t size)
{
    return fails(&failing_memory) ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails(&failing_memory) ? NULL : __real_realloc(old, size);
}

/* With something of all that there can be in a pool. */
static void fill_pools(void)
{
    static const uint8_t content[] = "begin";
    struct pool *other = MAKE(.name = "other", .object_size = 4096, .capacity = 8,
                              .flags = LAYOUT_ZERO_FREE, .content = {content, sizeof(content)});
    join(alice, other);
    join(bob, other);
    take(bob, other, 1);
    take(alice, other, 2);
    ck_assert(operate(other, POOL_DETACH, 0, 1));
    broker_trim(&broker, other);
    if (test_kind() == LAYOUT_BROKERED)
        GETS(alice, pool, 1, .count = 1, .evictable = true);
    take(alice, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
}

/* Each call in its turn: it goes on without, or says that it can't, and the next one can. */
static void fail_each(int *failing)
{
    bool over = false;
    fill_pools();
    crash(); /* bob is gone */
    uint32_t usage = pool_usage(pool);
    for (int at = 1; !over; at++) {
        broker_forget(&broker);
        begin_anew();
        *failing = at;
        bool done = recovery_run(&broker, true, &found, &error);
        over = *failing > 0;
        *failing = 0;
        ck_assert(done || !over);
        ck_assert(done || broker.registry.file->failures == 1);
        broker.registry.file->failures = 0;
    }
    crash();
    ck_assert_uint_eq(pool_usage(pool), usage);
    ck_assert_uint_eq(pool_held(pool, member_of(alice, pool)), usage + 1);
    ck_assert_uint_eq(pool_usage(broker_find_pool(&broker, "other")), 2);
}

START_TEST(test_of_objects_that_can_not_be_opened)
{
    fail_each(&failing_open);
}
END_TEST

START_TEST(test_of_memory_that_there_is_not)
{
    fail_each(&failing_memory);
}
END_TEST

/* Nothing is said to be done that wasn't: somebody freed the object before it came to that. */
START_TEST(test_marks_only_what_it_did)
{
    if (test_kind() == LAYOUT_BROKERED)
        return;
    take(alice, pool, 1);
    fastalloc_handle_t handle = handle_from_wire(held);
    struct registry_change *record = broker.journal.record;
    *record = (struct registry_change){.kind = JOURNAL_OPERATE + POOL_RETAIN,
                                       .pool = pool->id,
                                       .session = alice->id,
                                       .member = member_of(alice, pool),
                                       .number = 5,
                                       .count = 1,
                                       .progress = JOURNAL_HOLDS_NONE};
    memcpy(record->handles, held, HANDLE_WIRE_SIZE);
    uint64_t *word = &pool->words[handle.index];
    word_replace(word, lease_freed(word_load(word), SLOT_CACHED));
    crash();
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert(!journal_is_done(alice->entry, 5));
}
END_TEST

/* It isn't one that was being made: something stands in it. */
START_TEST(test_of_a_registry_that_lost_its_version)
{
    broker.registry.file->version = 0;
    broker_forget(&broker);
    int status = broker_init(&broker, path, &rim, 0);
    ck_assert_int_eq(status, -EPROTO);
    _exit(0); /* what is left isn't ours to remove */
}
END_TEST

/* A fault is a fault. */
START_TEST(test_counts_a_bus_error)
{
    uint32_t *failures = &broker.registry.file->failures;
    sigbus_install();
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open("/dev/shm/short", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        volatile char *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        unlink("/dev/shm/short");
        attempt_begin(failures);
        (void)*bytes;
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    ck_assert(WIFSIGNALED(status));
    ck_assert_uint_eq(*failures, 1);
    *failures = 0;
}
END_TEST

SUITE_MAIN_WITH("recovery_harm", set_up, tear_down, test_counts_what_was_freed_once,
                test_gives_no_jobs_away, test_finds_no_holes_beyond_the_end,
                test_of_words_that_a_member_makes_cached, test_of_words_that_a_member_makes_live,
                test_of_data_that_was_cut_where_there_is_no_room,
                test_of_holes_where_there_is_no_room, test_of_more_pools_than_descriptors,
                test_of_a_change_for_which_there_is_no_memory,
                test_of_objects_that_can_not_be_opened, test_of_memory_that_there_is_not,
                test_marks_only_what_it_did, test_of_a_registry_that_lost_its_version,
                test_counts_a_bus_error)
