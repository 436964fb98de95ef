/* SPDX-License-Identifier: MIT */
/* The caches of threads by themselves: who finds which, and when they end. */
#include "client/cache.c" // NOLINT(bugprone-suspicious-include): hidden in the library
#include "client/guard.c" // NOLINT(bugprone-suspicious-include): hidden in the library

#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define POOLS (3 * CACHE_PLACES) /* more than a thread has places */

static struct cache *left[64];
static unsigned left_count, ended_count;
static bool refuses; /* to be taken over */

/* Once, with a cache that is empty and knows its pool. */
static void note_begin(struct cache *cache)
{
    cache->cursor += cache->count == 0 && cache->pool;
}

static void note_leave(struct cache *cache)
{
    left[left_count++] = cache;
}

static bool note_take_over(struct cache *cache)
{
    return cache->alive && !refuses;
}

static void note_end(struct cache *cache)
{
    ended_count += cache->alive;
}

static const struct cache_user user = {note_begin, note_leave, note_take_over, note_end};

/* In guarded memory, as those of pools. */
static struct cache_pool *pool_new(void)
{
    void *memory = NULL;
    ck_assert_int_eq(guard_new(sizeof(struct cache_pool), &memory), 0);
    ck_assert_ptr_nonnull(memory);
    ck_assert_int_eq(cache_pool_init(memory, &user), 0);
    return memory;
}

static void pool_free(struct cache_pool *pool)
{
    cache_pool_deinit(pool);
    guard_free(pool, sizeof(*pool));
}

static struct cache *get(struct cache_pool *pool)
{
    struct cache *cache = cache_get(pool);
    ck_assert_ptr_nonnull(cache);
    ck_assert_ptr_eq(cache_find(pool->serial), cache);
    ck_assert_uint_eq(cache->cursor, 1);
    return cache;
}

/* ---- One thread ------------------------------------------------------------------------------ */

START_TEST(test_what_was_pushed_last_is_popped_first)
{
    struct cache_pool *pool = pool_new();
    struct cache *cache = get(pool);
    for (uint32_t i = 0; i < LEASE_MAX; i++) {
        ck_assert(!cache_is_full(cache));
        cache_push(cache, i);
    }
    ck_assert(cache_is_full(cache));
    for (uint32_t i = LEASE_MAX; i > 0; i--)
        ck_assert_uint_eq(cache_pop(cache), i - 1);
    ck_assert_uint_eq(cache->count, 0);
    pool_free(pool);
}
END_TEST

START_TEST(test_a_pool_has_no_cache_before_it_is_got)
{
    struct cache_pool *pool = pool_new();
    ck_assert_ptr_null(cache_find(pool->serial));
    ck_assert_ptr_null(cache_find(0));
    get(pool);
    ck_assert_ptr_null(cache_find(0));
    pool_free(pool);
}
END_TEST

START_TEST(test_each_of_many_pools_keeps_its_cache)
{
    struct cache_pool *pools[POOLS];
    struct cache *caches[POOLS];
    for (unsigned i = 0; i < POOLS; i++) {
        pools[i] = pool_new();
        caches[i] = get(pools[i]);
        cache_push(caches[i], i);
    }
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < POOLS; i++) {
            ck_assert_ptr_eq(get(pools[i]), caches[i]);
            ck_assert_uint_eq(caches[i]->slots[0], i);
        }
    for (unsigned i = 0; i < POOLS; i++)
        pool_free(pools[i]);
    ck_assert(ended_count == POOLS);
}
END_TEST

START_TEST(test_a_pool_in_the_place_of_another_has_nothing_of_it)
{
    struct cache_pool *pool = pool_new();
    uint64_t serial = pool->serial;
    cache_push(get(pool), 7);
    cache_pool_deinit(pool);
    ck_assert_uint_eq(ended_count, 1);
    ck_assert_int_eq(cache_pool_init(pool, &user), 0);
    ck_assert_uint_ne(pool->serial, serial);
    ck_assert_ptr_null(cache_find(pool->serial));
    ck_assert_uint_eq(get(pool)->count, 0);
    pool_free(pool);
}
END_TEST

START_TEST(test_a_pool_that_was_never_begun_can_end)
{
    struct cache_pool pool = {.serial = 0};
    cache_pool_deinit(&pool);
}
END_TEST

/* ---- Several threads ------------------------------------------------------------------------- */

/* A thread that gets its caches in two pools, waits for a word, then ends. */
struct worker {
    pthread_t thread;
    pthread_barrier_t has;
    pthread_barrier_t may_end;
    struct cache_pool *pools[2];
    struct cache *caches[2];
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < 2; i++) {
        worker->caches[i] = cache_get(worker->pools[i]);
        cache_push(worker->caches[i], i);
    }
    pthread_barrier_wait(&worker->has);
    pthread_barrier_wait(&worker->may_end);
    return NULL;
}

static void worker_start(struct worker *worker, struct cache_pool *a, struct cache_pool *b)
{
    *worker = (struct worker){.pools = {a, b}};
    pthread_barrier_init(&worker->has, NULL, 2);
    pthread_barrier_init(&worker->may_end, NULL, 2);
    ck_assert_int_eq(pthread_create(&worker->thread, NULL, work, worker), 0);
    pthread_barrier_wait(&worker->has);
}

static void worker_end(struct worker *worker)
{
    pthread_barrier_wait(&worker->may_end);
    ck_assert_int_eq(pthread_join(worker->thread, NULL), 0);
    pthread_barrier_destroy(&worker->has);
    pthread_barrier_destroy(&worker->may_end);
}

START_TEST(test_each_thread_has_a_cache_of_its_own_which_it_leaves)
{
    struct cache_pool *a = pool_new(), *b = pool_new();
    struct worker worker;
    struct cache *mine = get(a);
    worker_start(&worker, a, b);
    ck_assert_ptr_ne(worker.caches[0], mine);
    ck_assert_ptr_ne(worker.caches[0], worker.caches[1]);
    ck_assert_ptr_eq(get(a), mine);
    ck_assert_uint_eq(ended_count, 0);
    worker_end(&worker);
    ck_assert_uint_eq(left_count, 2);
    ck_assert(left[0] != mine && left[1] != mine);
    ck_assert_uint_eq(ended_count, 0);
    pool_free(a);
    ck_assert_uint_eq(ended_count, 2);
    pool_free(b);
    ck_assert_uint_eq(ended_count, 3);
}
END_TEST

START_TEST(test_a_pool_ends_with_the_caches_of_all_threads)
{
    struct cache_pool *a = pool_new(), *b = pool_new();
    struct worker workers[3];
    for (unsigned i = 0; i < 3; i++)
        worker_start(&workers[i], a, b);
    get(a);
    pool_free(a);
    ck_assert_uint_eq(ended_count, 4);
    worker_end(&workers[0]); /* has its cache in b still */
    ck_assert_uint_eq(left_count, 1);
    pool_free(b);
    ck_assert_uint_eq(ended_count, 7);
    worker_end(&workers[1]); /* has none any more */
    worker_end(&workers[2]);
    ck_assert_uint_eq(left_count, 1);
    ck_assert_uint_eq(ended_count, 7);
}
END_TEST

/* The next thread has it, if that can be. */
START_TEST(test_what_a_thread_left_another_takes_over)
{
    struct cache_pool *a = pool_new(), *b = pool_new();
    struct worker workers[3];
    worker_start(&workers[0], a, b);
    struct cache *first = workers[0].caches[0];
    worker_end(&workers[0]);
    worker_start(&workers[1], a, b);
    ck_assert_ptr_eq(workers[1].caches[0], first);
    ck_assert_uint_eq(first->cursor, 1);
    refuses = true;
    worker_end(&workers[1]);
    worker_start(&workers[2], a, b);
    ck_assert_ptr_ne(workers[2].caches[0], first);
    worker_end(&workers[2]);
    pool_free(a);
    pool_free(b);
    ck_assert_uint_eq(ended_count, 4);
}
END_TEST

static void ignore(struct cache *cache)
{
    ck_assert(cache->alive);
}

struct meeting {
    struct cache_pool *pools[2];
    pthread_barrier_t barrier;
};

/* It leaves its cache, or that ends with a pool that is closed in the same moment. */
static void *use_shortly(void *argument)
{
    struct meeting *meeting = argument;
    cache_push(cache_get(meeting->pools[0]), 1);
    cache_push(cache_get(meeting->pools[1]), 1);
    pthread_barrier_wait(&meeting->barrier);
    return NULL;
}

START_TEST(test_threads_that_end_and_pools_that_are_closed_meet)
{
    struct meeting meeting;
    pthread_barrier_init(&meeting.barrier, NULL, 5);
    for (unsigned round = 0; round < 100; round++) {
        pthread_t users[4];
        for (unsigned i = 0; i < 2; i++) {
            static const struct cache_user quiet = {note_begin, ignore, note_take_over, ignore};
            meeting.pools[i] = pool_new();
            meeting.pools[i]->user = &quiet;
        }
        for (unsigned i = 0; i < 4; i++)
            ck_assert_int_eq(pthread_create(&users[i], NULL, use_shortly, &meeting), 0);
        pthread_barrier_wait(&meeting.barrier);
        pool_free(meeting.pools[0]);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(users[i], NULL);
        pool_free(meeting.pools[1]);
    }
    pthread_barrier_destroy(&meeting.barrier);
}
END_TEST

/* ---- A forked child -------------------------------------------------------------------------- */

#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            _exit(__LINE__ % 255 + 1);                                                             \
    } while (0)

/* The parent's is empty for ever; the child can have its own, and end. */
static void *be_a_child(void *argument)
{
    struct cache_pool *parents = argument;
    void *memory = NULL;
    require(parents->serial == 0);
    require(guard_new(sizeof(struct cache_pool), &memory) == 0 && memory);
    struct cache_pool *own = memory;
    require(cache_pool_init(own, &user) == 0);
    struct cache *cache = cache_get(own);
    require(cache && cache->count == 0);
    require(cache_find(own->serial) == cache);
    cache_pool_deinit(parents);
    require(ended_count == 0);
    cache_pool_deinit(own);
    require(ended_count == 1);
    require(cache_pool_init(own, &user) == 0 && cache_get(own));
    return NULL;
}

static void *fork_a_child(void *argument)
{
    struct cache_pool *pool = argument;
    uint64_t serial = pool->serial;
    struct cache *cache = cache_get(pool);
    int status;
    cache_push(cache, 3);
    pid_t pid = fork();
    if (pid == 0) {
        require(cache_find(serial) == cache && cache->count == 0 && cache->low == 0);
        be_a_child(pool);
        on_thread_end(pthread_getspecific(key)); /* as pthread_exit() does */
        require(ended_count == 1 && left_count == 1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(cache->count, 1);
    return NULL;
}

START_TEST(test_a_child_finds_caches_empty_and_can_have_its_own)
{
    struct cache_pool *pool = pool_new();
    fork_a_child(pool);
    pool_free(pool);
}
END_TEST

/* What a thread of the parent's held when it forked is held by nobody in the child. */
START_TEST(test_a_child_of_a_parent_in_the_middle_of_it_is_not_stuck)
{
    struct cache_pool *pool = pool_new();
    int status;
    get(pool);
    pthread_mutex_lock(lock);
    pid_t pid = fork();
    if (pid == 0) {
        be_a_child(pool);
        _exit(0);
    }
    pthread_mutex_unlock(lock);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    pool_free(pool);
}
END_TEST

static void setup_each(void)
{
    ended_count = 0;
}

SUITE_MAIN_WITH("client_cache", setup_each, NULL, test_what_was_pushed_last_is_popped_first,
                test_a_pool_has_no_cache_before_it_is_got, test_each_of_many_pools_keeps_its_cache,
                test_a_pool_in_the_place_of_another_has_nothing_of_it,
                test_a_pool_that_was_never_begun_can_end,
                test_each_thread_has_a_cache_of_its_own_which_it_leaves,
                test_what_a_thread_left_another_takes_over,
                test_a_pool_ends_with_the_caches_of_all_threads,
                test_threads_that_end_and_pools_that_are_closed_meet,
                test_a_child_finds_caches_empty_and_can_have_its_own,
                test_a_child_of_a_parent_in_the_middle_of_it_is_not_stuck)
