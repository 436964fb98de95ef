/* SPDX-License-Identifier: MIT */
/*
 * Who knows which cache: the thread's own places, without a lock; its list, and the pool's, under
 * one lock of the process, held while a cache begins or ends.
 *
 * A fork can come at any moment, and what other threads were doing then stays half done in the child.
 * Hence the lock and all lists are in guarded memory, and zeroed there: a free lock, empty lists. A
 * thread's record isn't, but what it names in a child is a cache that isn't alive.
 */
#include "client/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/cancel.h"
#include "client/guard.h"

_Thread_local struct cache_place cache_places[CACHE_PLACES];

/* The value of the key: the thread's record, of all its caches. */
struct cache_thread {
    struct cache_list caches;
};

/* All zero is a mutex that is free, as PTHREAD_MUTEX_INITIALIZER. */
static pthread_mutex_t *lock;
static pthread_key_t key;
static int begin_result;
static pthread_once_t begun = PTHREAD_ONCE_INIT;
static uint64_t last_serial;

/* ---- Ending ---------------------------------------------------------------------------------- */

static void cache_leave(struct cache *cache)
{
    cache->pool->user->leave(cache);
    LIST_REMOVE(cache, in_pool);
    LIST_REMOVE(cache, in_thread);
    LIST_INSERT_HEAD(&cache->pool->left, cache, in_pool);
}

static void end_all(struct cache_pool *pool, struct cache_list *caches)
{
    while (!LIST_EMPTY(caches)) {
        struct cache *cache = LIST_FIRST(caches);
        pool->user->end(cache);
        LIST_REMOVE(cache, in_pool);
        guard_free(cache, sizeof(*cache));
    }
}

/* Whether the thread has caches, of this process. */
static bool has_caches(struct cache_thread *thread)
{
    struct cache *first = LIST_FIRST(&thread->caches);
    if (first && !first->alive)
        LIST_INIT(&thread->caches);
    return !LIST_EMPTY(&thread->caches);
}

static void on_thread_end(void *value)
{
    CANCEL_DISABLED;
    struct cache_thread *thread = value;
    memset(cache_places, 0, sizeof(cache_places));
    pthread_mutex_lock(lock);
    while (has_caches(thread))
        cache_leave(LIST_FIRST(&thread->caches));
    pthread_mutex_unlock(lock);
    free(thread);
}

void cache_pool_deinit(struct cache_pool *pool)
{
    CANCEL_DISABLED;
    if (pool->serial == 0)
        return;
    struct cache *cache;
    pthread_mutex_lock(lock);
    LIST_FOREACH (cache, &pool->caches, in_pool)
        LIST_REMOVE(cache, in_thread);
    end_all(pool, &pool->caches);
    end_all(pool, &pool->left);
    pthread_mutex_unlock(lock);
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void begin_process(void)
{
    void *memory = NULL;
    begin_result = guard_new(sizeof(*lock), &memory);
    lock = memory;
    if (begin_result == 0)
        begin_result = -pthread_key_create(&key, on_thread_end);
}

int cache_pool_init(struct cache_pool *pool, const struct cache_user *user)
{
    pthread_once(&begun, begin_process);
    if (begin_result < 0)
        return begin_result;
    pool->serial = __atomic_add_fetch(&last_serial, 1, __ATOMIC_RELAXED);
    pool->user = user;
    LIST_INIT(&pool->caches);
    LIST_INIT(&pool->left);
    return 0;
}

static struct cache_thread *this_thread(void)
{
    struct cache_thread *thread = pthread_getspecific(key);
    if (thread)
        return thread;
    thread = calloc(1, sizeof(*thread));
    if (thread && pthread_setspecific(key, thread) != 0) {
        free(thread);
        return NULL;
    }
    return thread;
}

static struct cache *find(struct cache_thread *thread, const struct cache_pool *pool)
{
    struct cache *cache = has_caches(thread) ? LIST_FIRST(&thread->caches) : NULL;
    while (cache && cache->pool != pool)
        cache = LIST_NEXT(cache, in_thread);
    return cache;
}

static struct cache *make(struct cache_pool *pool)
{
    void *memory = NULL;
    if (guard_new(sizeof(struct cache), &memory) < 0 || !memory)
        return NULL;
    struct cache *cache = memory;
    cache->alive = true;
    cache->pool = pool;
    pool->user->begin(cache);
    return cache;
}

/* One that was left, or a new one. */
static struct cache *take_or_make(struct cache_thread *thread, struct cache_pool *pool)
{
    struct cache *cache = LIST_FIRST(&pool->left);
    while (cache && !pool->user->take_over(cache))
        cache = LIST_NEXT(cache, in_pool);
    if (cache)
        LIST_REMOVE(cache, in_pool);
    else
        cache = make(pool);
    if (!cache)
        return NULL;
    LIST_INSERT_HEAD(&pool->caches, cache, in_pool);
    LIST_INSERT_HEAD(&thread->caches, cache, in_thread);
    return cache;
}

static struct cache *find_or_make(struct cache_pool *pool)
{
    CANCEL_DISABLED;
    struct cache_thread *thread = this_thread();
    if (!thread)
        return NULL;
    pthread_mutex_lock(lock);
    struct cache *cache = find(thread, pool);
    if (!cache)
        cache = take_or_make(thread, pool);
    pthread_mutex_unlock(lock);
    if (cache)
        cache_places[pool->serial % CACHE_PLACES] = (struct cache_place){pool->serial, cache};
    return cache;
}

struct cache *cache_get(struct cache_pool *pool)
{
    struct cache *cache = cache_find(pool->serial);
    return cache ? cache : find_or_make(pool);
}
