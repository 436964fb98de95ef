/* SPDX-License-Identifier: MIT */
/*
 * A leased pool in one process, which ThreadSanitizer can look at: the broker; members, whose
 * threads run the library's own code for leased pools; and in place of the socket a lock, under
 * which requests are done, and nothing else. The daemon hears of frees by bells alone: its time
 * stands still, so it never looks by itself at what nobody told it of.
 *
 * FASTALLOC_SEED chooses the run, FASTALLOC_STEPS its length; the seed is printed.
 */
#include <sched.h>
#include <unistd.h>

#include "shm/bias.h"
#include "shm/lease.h"

/* ---- Pauses ---------------------------------------------------------------------------------- */

/*
 * Between any two steps of the library's code others may do whatever they like: a thread stays behind
 * there now and then, or, if it is told to, until it is let go on.
 */
static _Thread_local uint64_t pauses;
static _Thread_local bool held_up; /* where it would ring */
static bool at_bell, let_go_on;
static bool no_barrier; /* the system has it no more */

static void pause_now(void)
{
    pauses = pauses * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    for (unsigned turns = pauses >> 60 == 0 ? 1 + (pauses >> 57) % 4 : 0; turns > 0; turns--)
        sched_yield();
}

static ssize_t ring_late(int bell, const void *data, size_t size)
{
    if (held_up)
        __atomic_store_n(&at_bell, true, __ATOMIC_RELEASE);
    while (held_up && !__atomic_load_n(&let_go_on, __ATOMIC_ACQUIRE))
        sched_yield();
    return write(bell, data, size);
}

#define word_exchange(...) (pause_now(), word_exchange(__VA_ARGS__))
#define word_load(...) (pause_now(), word_load(__VA_ARGS__))
#define epoch_load(...) (pause_now(), epoch_load(__VA_ARGS__))
#define lease_hint(...) (pause_now(), lease_hint(__VA_ARGS__))
#define lease_allocate(...) (pause_now(), lease_allocate(__VA_ARGS__))
#define lease_recover(...) (pause_now(), lease_recover(__VA_ARGS__))
#define lease_stand_aside(...) (pause_now(), lease_stand_aside(__VA_ARGS__))
#define bias_announce(...) (pause_now(), bias_announce(__VA_ARGS__))
#define bias_store(...) (pause_now(), bias_store(__VA_ARGS__))
#define bias_withdraw(...) (pause_now(), bias_withdraw(__VA_ARGS__))
#define bias_is_revoked(...) (pause_now(), bias_is_revoked(__VA_ARGS__))
#define bias_revoke(...) (pause_now(), bias_revoke(__VA_ARGS__))
#define bias_settle(...) (pause_now(), bias_settle(__VA_ARGS__))
#define bias_barrier(...) (pause_now(), !no_barrier && bias_barrier(__VA_ARGS__))
#define bias_is_amid(...) (pause_now(), bias_is_amid(__VA_ARGS__))
#define write(...) (pause_now(), ring_late(__VA_ARGS__))
#define lease member_lease   /* the library's struct, of which name the daemon has another one */
#include "client/cache.c"    // NOLINT(bugprone-suspicious-include): hidden in the library
#include "client/deadline.c" // NOLINT(bugprone-suspicious-include)
#include "client/guard.c"    // NOLINT(bugprone-suspicious-include)
#include "client/lease.c"    // NOLINT(bugprone-suspicious-include)
#undef lease
#undef word_exchange
#undef word_load
#undef epoch_load
#undef lease_hint
#undef lease_allocate
#undef lease_recover
#undef lease_stand_aside
#undef bias_announce
#undef bias_store
#undef bias_withdraw
#undef bias_is_revoked
#undef bias_revoke
#undef bias_settle
#undef bias_barrier
#undef bias_is_amid
#undef write

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "docs/examples/ring.h"
/* It says nothing. (Here, where no other thing is called `error` yet.) */
int error_raise(fastalloc_error_t *error, int code, const char *format, ...)
{
    return code;
}

int error_raise_wire(fastalloc_error_t *error, const struct error *wire)
{
    return -10000 - (int)wire->code;
}

const char *error_text(int system_error)
{
    return strerror(system_error);
}

#include "tests/unit/broker_case.h"

#define STEPS 4000u /* that each thread allocates and frees */
#define SLOTS 16u
#define MEMBERS 2u
#define THREADS 2u    /* of a member */
#define PATIENCE_S 60 /* for a request that waits */

enum { WORKERS = MEMBERS * THREADS };

/* The session of a process, and the pool that it has open. */
struct member {
    struct fastalloc_connection connection;
    struct fastalloc_pool pool;
    struct pool_guarded guarded;
    struct session *session;
};

/* A request that waits; of its thread, by whose number it goes. */
struct wait {
    bool answered;
    enum error_code code;
    fastalloc_handle_t handle;
};

/* Written and read without any order but the slots' own. */
struct object {
    uint64_t owner;
    uint64_t number;
};

static pthread_mutex_t loop = PTHREAD_MUTEX_INITIALIZER; /* the broker's */
static pthread_cond_t answer_came = PTHREAD_COND_INITIALIZER;
static struct wait waits[WORKERS + 1];
static struct member members[MEMBERS + 1];
static struct object objects[SLOTS * GEOMETRY_RESERVE_FACTOR];
static struct ring rings[WORKERS + 1]; /* to the next worker */
static uint64_t steps, seed;

/* Not libcheck's, which is for one thread. */
static void must_line(bool condition, const char *text, int line)
{
    if (condition)
        return;
    fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, line, text);
    abort();
}
#define must(condition) must_line(condition, #condition, __LINE__)

/* ---- What the library's code finds in the place of the socket -------------------------------- */

static struct member *member_of_connection(struct fastalloc_connection *connection)
{
    return (struct member *)(void *)((char *)connection - offsetof(struct member, connection));
}

static struct membership *membership_of(const struct member *member)
{
    return session_membership(member->session, pool->id);
}

/* The one request that lease.c makes. The slots stand in the broker, hence under the lock. */
static int grant(struct fastalloc_connection *connection, struct call *call)
{
    const struct lease_request *request = call->request;
    struct lease_reply *granted = call->reply;
    must(call->method == METHOD_LEASE);
    pthread_mutex_lock(&loop);
    const struct membership *membership = membership_of(member_of_connection(connection));
    granted->thread = request->thread == LEASE_THREAD_NEW
                          ? pool_add_thread(pool, membership->member)
                          : request->thread;
    granted->slots = leasing_grant(&broker, membership, granted->thread, request->count);
    int result = call->take(call, NULL);
    pthread_mutex_unlock(&loop);
    return result;
}

/* It is done before anybody looks for the reply. */
void channel_revive(struct channel *channel)
{
}

bool channel_start(struct channel *channel, struct call *call, unsigned most)
{
    void *connection = (char *)channel - offsetof(struct fastalloc_connection, channel);
    call->result = grant(connection, call);
    return true;
}

bool channel_wait(struct channel *channel, struct call *call, int64_t since, int64_t timeout)
{
    return true;
}

/* The reply was on its way: what it granted stays in nobody's cache. */
bool channel_abandon(struct channel *channel, struct call *call)
{
    return true;
}

bool channel_leave(struct channel *channel, struct call *call, call_take_t take_late)
{
    return false;
}

bool channel_is_over(struct channel *channel, struct call *call)
{
    return true;
}

/* The daemon's pause, between what it has looked at and what it is about to say. */
void __real_pool_tighten(struct pool *of, bool waiting, int64_t now);
void __wrap_pool_tighten(struct pool *of, bool waiting, int64_t now);
void __wrap_pool_tighten(struct pool *of, bool waiting, int64_t now)
{
    pause_now();
    __real_pool_tighten(of, waiting, now);
}

/* ---- Members --------------------------------------------------------------------------------- */

static void on_answer(void *connection, uint32_t msgid, enum method method, const void *given,
                      const struct error *refusal)
{
    const struct allocate_reply *allocated = given;
    struct wait *wait = &waits[msgid];
    wait->answered = true;
    wait->code = refusal ? refusal->code : ERROR_NONE;
    if (allocated)
        wait->handle = handle_from_wire(allocated->handles.data);
    pthread_cond_broadcast(&answer_came);
}

static void begin_member(struct member *member, struct session *session)
{
    static uint32_t alive = 1;
    struct mapping *mapping = &member->pool.mapping;
    memset(member, 0, sizeof(*member));
    member->session = session;
    member->connection.alive = &alive;
    mapping->parts[MAPPING_CTL].address = pool->ctl;
    mapping->parts[MAPPING_SLOTS].address = pool->store.slots;
    mapping->geometry = pool->store.geometry;
    mapping->identity = (uint64_t)pool->id << 16 | pool->nonce;
    member->pool.id = pool->id;
    member->pool.connection = &member->connection;
    member->pool.guarded = &member->guarded;
    member->pool.bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    must(member->pool.bell >= 0);
    must(lease_init(&member->guarded.member_lease, &member->pool, member_of(session, pool), NULL) ==
         0);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    return given ? strtoull(given, NULL, 0) : otherwise;
}

static void set_up(void)
{
    seed = number_from("FASTALLOC_SEED", 1);
    steps = number_from("FASTALLOC_STEPS", STEPS);
    printf("FASTALLOC_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    broker_set_up();
    broker.rim.answer = on_answer;
}

/* All members do with one pool of so many slots; the broker's own thread is the test's. */
static void use_pool(uint32_t capacity)
{
    pool = MAKE(.name = "leased", .kind = LAYOUT_LEASED, .capacity = capacity, .watermark = "off");
    join(alice, pool);
    join(bob, pool);
    begin_member(&members[0], alice);
    begin_member(&members[1], bob);
}

static void tear_down(void)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        lease_deinit(&members[i].guarded.member_lease);
        close(members[i].pool.bell);
    }
    broker_check(&broker);
    end(&alice);
    end(&bob);
    pool = broker_find_pool(&broker, "leased");
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(ledger_count(&pool->ledger, SLOT_MEMBER_NONE), pool_capacity(pool));
    ck_assert_uint_eq(pool->lease.damage, 0);
    broker_tear_down();
}

/* ---- Workers --------------------------------------------------------------------------------- */

struct worker {
    pthread_t id;
    struct member *member;
    void *(*work)(void *worker);
    unsigned number;
    unsigned most; /* objects that it has at most */
    uint64_t random;
    unsigned held;
    unsigned left; /* that it passed on, and nobody may have freed yet */
    fastalloc_handle_t handles[SLOTS];
};

static struct worker workers[WORKERS + 1];
static unsigned started, ended; /* workers */
static uint64_t turns;          /* objects that anybody got */
static bool all_done;

static uint64_t draw(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random >> 11;
}

static void await_answer(struct wait *wait)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_S;
    while (!wait->answered)
        must(pthread_cond_timedwait(&answer_came, &loop, &deadline) == 0);
}

/* As ask_to_allocate() in client/object.c, and the daemon's answer to it. */
static bool ask_for_one(struct worker *worker, int64_t timeout, fastalloc_handle_t *handle)
{
    struct wait *wait = &waits[worker->number];
    struct allocate_reply granted;
    struct error refusal;
    struct allocate_request request = {.pool = pool->id, .timeout = timeout};
    pthread_mutex_lock(&loop);
    request.request = ++requests;
    wait->answered = false;
    enum broker_outcome outcome =
        demand_request(&broker, worker->member->session, membership_of(worker->member), &request,
                       worker->number, &granted, &refusal);
    if (outcome == BROKER_WAITS) {
        await_answer(wait);
        *handle = wait->handle;
    } else if (outcome == BROKER_DONE) {
        *handle = handle_from_wire(granted.handles.data);
    }
    bool done = outcome == BROKER_DONE || (outcome == BROKER_WAITS && wait->code == ERROR_NONE);
    pthread_mutex_unlock(&loop);
    return done;
}

/* As fastalloc_allocate(). */
static bool allocate(struct worker *worker, int64_t timeout, fastalloc_handle_t *handle)
{
    struct pool_guarded *guarded = &worker->member->guarded;
    struct lease_wait wait = {.timeout = timeout};
    return lease_take(&guarded->member_lease, handle) ||
           lease_allocate_many(&guarded->member_lease, 1, handle, &wait) ||
           ask_for_one(worker, timeout, handle);
}

/* As fastalloc_free(). */
static bool free_it(struct worker *worker, fastalloc_handle_t handle)
{
    struct pool_guarded *guarded = &worker->member->guarded;
    return lease_give(&guarded->member_lease, handle) ||
           lease_free_many(&guarded->member_lease, &handle, 1, NULL) == 0;
}

static void take_object(struct worker *worker, int64_t timeout)
{
    fastalloc_handle_t *handle = &worker->handles[worker->held++];
    must(allocate(worker, timeout, handle));
    struct object *object = &objects[handle->index];
    object->owner = worker->number;
    object->number++;
    __atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED);
}

static fastalloc_handle_t let_go(struct worker *worker)
{
    unsigned which = (unsigned)(draw(worker) % worker->held);
    fastalloc_handle_t handle = worker->handles[which];
    worker->handles[which] = worker->handles[--worker->held];
    must(objects[handle.index].owner == worker->number);
    return handle;
}

/* Whoever doesn't wait at first makes the daemon look, with nobody to be told. */
static fastalloc_handle_t try_and_take(struct worker *worker)
{
    fastalloc_handle_t handle;
    for (uint64_t tries = draw(worker) % 4; tries > 0; tries--)
        if (allocate(worker, 0, &handle))
            return handle;
    take_object(worker, FOREVER);
    return let_go(worker);
}

/* All begin together. */
static void *begin_work(void *argument)
{
    struct worker *worker = argument;
    pauses = worker->random;
    __atomic_fetch_add(&started, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < WORKERS)
        sched_yield();
    return worker->work(worker);
}

static void start(unsigned number, unsigned most, void *(*work)(void *worker))
{
    struct worker *worker = &workers[number];
    *worker = (struct worker){
        .member = &members[number / THREADS],
        .number = number,
        .work = work,
        .most = most,
        .random = seed * 2654435761u + (number + 1) * UINT64_C(0x9e3779b97f4a7c15),
    };
    ck_assert_int_eq(pthread_create(&worker->id, NULL, begin_work, worker), 0);
}

/* ---- The daemon's loop ----------------------------------------------------------------------- */

static bool is_done(void)
{
    return __atomic_load_n(&all_done, __ATOMIC_ACQUIRE);
}

static void hear(struct member *member)
{
    uint64_t rings_heard;
    if (read(member->pool.bell, &rings_heard, sizeof(rings_heard)) < 0)
        return;
    pthread_mutex_lock(&loop);
    leasing_ring(&broker, member->session);
    pthread_mutex_unlock(&loop);
}

/* Bells, and what people ask for now and then, if that isn't to hide that a bell was forgotten. */
static void *run_loop(void *looks)
{
    struct pollfd bells[MEMBERS];
    for (unsigned i = 0; i < MEMBERS; i++)
        bells[i] = (struct pollfd){.fd = members[i].pool.bell, .events = POLLIN};
    for (unsigned turn = 0; !is_done(); turn++) {
        poll(bells, MEMBERS, *(const bool *)looks ? 0 : 1);
        for (unsigned i = 0; i < MEMBERS; i++)
            hear(&members[i]);
        if (!*(const bool *)looks)
            continue;
        pthread_mutex_lock(&loop);
        if (turn % 4 != 0)
            broker_trim(&broker, pool);
        else
            leasing_look(&broker, pool);
        if (turn % 64 == 0)
            broker_check(&broker);
        pthread_mutex_unlock(&loop);
        sched_yield();
    }
    return NULL;
}

static void join_all(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_join(workers[i].id, NULL), 0);
}

/* `work` by all workers, in a pool of which they may have so many each. */
static void run_workers(uint32_t capacity, unsigned most, bool looks, void *(*work)(void *worker))
{
    pthread_t daemon;
    use_pool(capacity);
    ck_assert_int_eq(pthread_create(&daemon, NULL, run_loop, &looks), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        start(i, most, work);
    join_all();
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(daemon, NULL), 0);
    leasing_look(&broker, pool);
    ck_assert_uint_eq(pool_usage(pool), 0);
    ck_assert_uint_eq(pool->waiters.count, 0);
}

/* ---- Nothing is refused that is there -------------------------------------------------------- */

static void *hammer(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t i = 0; i < steps;) {
        bool more = worker->held == 0 || (worker->held < worker->most && draw(worker) % 2);
        if (more)
            take_object(worker, 0);
        else
            must(free_it(worker, let_go(worker)));
        i += more;
    }
    while (worker->held > 0)
        must(free_it(worker, let_go(worker)));
    return NULL;
}

START_TEST(test_threads_use_a_pool_up)
{
    run_workers(SLOTS, SLOTS / WORKERS, true, hammer);
    ck_assert_uint_eq(pool->ctl->counters.allocation_failures, 0);
    ck_assert_uint_eq(pool->ctl->counters.total_allocations, steps * WORKERS);
}
END_TEST

/* ---- Waiting --------------------------------------------------------------------------------- */

static bool somebody_waits(void)
{
    pthread_mutex_lock(&loop);
    bool waiting = pool->waiters.count > 0;
    pthread_mutex_unlock(&loop);
    return waiting;
}

/* Every other worker waits for slots, which one of another process frees, who never waits; the
 * first of them only once somebody waits for it. */
static void *wait_or_free(void *argument)
{
    struct worker *worker = argument;
    bool waits_for_it = worker->number % THREADS == 0;
    struct ring *ring = &rings[waits_for_it ? worker->number : (worker->number + 1) % WORKERS];
    fastalloc_handle_t handle;
    while (!waits_for_it && !somebody_waits())
        sched_yield();
    for (uint64_t i = 0; i < steps;) {
        bool got = !waits_for_it && ring_take(ring, &handle);
        if (got)
            must(free_it(worker, handle));
        else if (waits_for_it)
            must(ring_put(ring, try_and_take(worker)));
        else
            sched_yield();
        i += got || waits_for_it;
    }
    return NULL;
}

START_TEST(test_who_waits_is_told)
{
    run_workers(1, 1, false, wait_or_free);
}
END_TEST

/* Whether somebody does; or nobody else is left who could. */
static bool keep_until_somebody_waits(void)
{
    bool waiting = false;
    while (!waiting && __atomic_load_n(&ended, __ATOMIC_ACQUIRE) < WORKERS - 1) {
        sched_yield();
        waiting = somebody_waits();
    }
    return waiting;
}

/* It is another one's turn, whatever this one has in its cache. */
static void free_for_another(struct worker *worker)
{
    uint64_t turn = __atomic_load_n(&turns, __ATOMIC_RELAXED);
    must(free_it(worker, let_go(worker)));
    while (__atomic_load_n(&turns, __ATOMIC_RELAXED) == turn)
        sched_yield();
}

static void *wait_for_one(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t i = 0; i < steps; i++) {
        take_object(worker, FOREVER);
        if (draw(worker) % 4 == 0 && keep_until_somebody_waits())
            free_for_another(worker);
        else
            must(free_it(worker, let_go(worker)));
    }
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

START_TEST(test_one_slot_goes_round)
{
    run_workers(1, 1, false, wait_for_one);
    ck_assert_uint_gt(pool->ctl->counters.total_waits, 0);
}
END_TEST

/* ---- Without a barrier ------------------------------------------------------------------------ */

/* The daemon is to be asked, and nobody is told that it was settled. */
START_TEST(test_nobody_frees_for_a_thread_that_cannot_be_revoked)
{
    use_pool(SLOTS);
    struct worker alices = {.member = &members[0], .random = 1}, bobs = {.member = &members[1]};
    take_object(&alices, 0);
    take_object(&alices, 0); /* now a biased thread's */
    fastalloc_handle_t handle = alices.handles[1];
    uint32_t thread = slot_member(pool->words[handle.index]);
    ck_assert(bias_is_thread(thread));
    no_barrier = true;
    struct member_lease *bob_lease = &bobs.member->guarded.member_lease;
    ck_assert_int_eq(lease_free_many(bob_lease, &handle, 1, NULL), LEASE_ASK);
    ck_assert_int_eq(lease_free_many(bob_lease, alices.handles, 2, NULL), LEASE_ASK);
    ck_assert_uint_eq(slot_member(pool->words[handle.index]), thread);
    no_barrier = false;
    must(free_it(&bobs, handle));
    must(free_it(&alices, alices.handles[0]));
}
END_TEST

/* ---- Deaths ---------------------------------------------------------------------------------- */

static char carol_name[] = "carol";
static struct session *carol;

/* The words that a dead process changes no more. */
static void leave_all(struct cache *cache)
{
    (void)cache;
}

static const struct cache_user dead_user = {
    .begin = on_cache_begin,
    .leave = leave_all,
    .take_over = on_cache_take_over,
    .end = leave_all,
};

/* Some go to those who free them, now or when she is gone; some she leaves. */
static void *live_shortly(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < 32; i++) {
        if (worker->held == worker->most)
            must(free_it(worker, let_go(worker)));
        take_object(worker, 0);
        if (draw(worker) % 4 == 0 && worker->left++ < SLOTS - worker->most)
            ring_put(&rings[WORKERS], let_go(worker)); /* or it is left to her death */
    }
    return NULL;
}

static void begin_carol(struct member *member)
{
    pthread_mutex_lock(&loop);
    carol = begin(carol_name, false);
    join(carol, pool);
    pthread_mutex_unlock(&loop);
    begin_member(member, carol);
    member->guarded.member_lease.caches.user = &dead_user;
}

static void end_carol(struct member *member)
{
    pthread_mutex_lock(&loop);
    end(&carol);
    pthread_mutex_unlock(&loop);
    close(member->pool.bell);
}

/* The first worker frees what carol passed on, if it is there still, the others do as ever. */
static void *free_carols(void *argument)
{
    struct worker *worker = argument;
    fastalloc_handle_t handle;
    if (worker->number != 0)
        return hammer(worker);
    while (!is_done()) {
        if (ring_take(&rings[WORKERS], &handle))
            free_it(worker, handle);
        else
            sched_yield();
    }
    return NULL;
}

START_TEST(test_members_die_while_others_free_what_they_had)
{
    struct member *member = &members[MEMBERS];
    use_pool(2 * SLOTS);
    for (unsigned i = 0; i < WORKERS; i++)
        start(i, SLOTS / WORKERS, free_carols);
    for (uint64_t life = 0; life < steps / 40; life++) {
        begin_carol(member);
        start(WORKERS, 4, live_shortly);
        ck_assert_int_eq(pthread_join(workers[WORKERS].id, NULL), 0);
        end_carol(member);
    }
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    join_all();
    leasing_look(&broker, pool);
    ck_assert_uint_eq(pool_usage(pool), 0);
}
END_TEST

/* ---- At one moment --------------------------------------------------------------------------- */

/* What a worker begins and doesn't finish, as if it died, or stood still, there. */
static void *allocate_all(void *argument)
{
    struct worker *worker = argument;
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        take_object(worker, 0);
    return NULL;
}

static void *wait_for_all(void *argument)
{
    struct worker *worker = argument;
    while (worker->held < worker->most)
        take_object(worker, FOREVER);
    while (worker->held > 0)
        must(free_it(worker, let_go(worker)));
    return NULL;
}

static void await_waiter(void)
{
    uint32_t waiting = 0;
    while (waiting == 0) {
        sched_yield();
        pthread_mutex_lock(&loop);
        waiting = pool->waiters.count;
        pthread_mutex_unlock(&loop);
    }
}

static fastalloc_handle_t pop_handle(struct worker *worker)
{
    return worker->handles[--worker->held];
}

/* By carol, up to there: the word says so, the hint doesn't, or nobody is told. */
static void free_partly(fastalloc_handle_t handle, bool hint)
{
    uint64_t *word = &pool->words[handle.index], live = word_load(word);
    must(word_exchange(word, live, lease_freed(live, SLOT_RETURNED)));
    if (hint)
        lease_hint(pool->store.slots, handle.index);
}

/* All slots are alice's; bob waits for two, which carol frees, dying meanwhile. */
START_TEST(test_a_death_amid_a_free_keeps_nobody_waiting)
{
    struct worker *holder = &workers[0];
    use_pool(SLOTS);
    started = WORKERS;
    start(0, SLOTS, allocate_all);
    ck_assert_int_eq(pthread_join(workers[0].id, NULL), 0);
    for (unsigned hint = 0; hint < 2; hint++) {
        begin_carol(&members[MEMBERS]);
        start(THREADS, 2, wait_for_all);
        await_waiter();
        free_partly(pop_handle(holder), hint);
        free_partly(pop_handle(holder), hint);
        end_carol(&members[MEMBERS]);
        ck_assert_int_eq(pthread_join(workers[THREADS].id, NULL), 0);
        pthread_mutex_lock(&loop);
        pool_harvest_all(pool, broker.now);
        pthread_mutex_unlock(&loop);
        take_object(holder, 0);
        take_object(holder, 0);
    }
    while (holder->held > 0)
        must(free_it(holder, pop_handle(holder)));
}
END_TEST

/* Nobody waits: then it is found by whoever asks next. */
START_TEST(test_a_death_amid_a_free_hides_nothing)
{
    struct worker *holder = &workers[0];
    use_pool(SLOTS);
    started = WORKERS;
    start(0, SLOTS, allocate_all);
    ck_assert_int_eq(pthread_join(workers[0].id, NULL), 0);
    struct worker other = {.member = &members[1], .number = 1, .random = seed};
    fastalloc_handle_t handle;
    ck_assert(!allocate(&other, 0, &handle)); /* it is tight from now on */
    begin_carol(&members[MEMBERS]);
    free_partly(pop_handle(holder), false);
    end_carol(&members[MEMBERS]);
    take_object(&other, 0);
    must(free_it(&other, pop_handle(&other)));
    while (holder->held > 0)
        must(free_it(holder, pop_handle(holder)));
}
END_TEST

static void *free_and_stop(void *argument)
{
    struct worker *worker = argument;
    held_up = true;
    must(free_it(worker, pop_handle(worker)));
    return NULL;
}

static void *free_one_more(void *argument)
{
    struct worker *worker = argument;
    must(free_it(worker, pop_handle(worker)));
    return NULL;
}

/* Where one thread is about to ring and doesn't get to it, another one of its process rings. */
START_TEST(test_nobody_relies_on_a_bell_that_isnt_rung_yet)
{
    pthread_t daemon, slow, quick;
    bool looks = false;
    struct worker *holder = &workers[0];
    use_pool(SLOTS);
    started = WORKERS;
    start(0, SLOTS, allocate_all);
    ck_assert_int_eq(pthread_join(workers[0].id, NULL), 0);
    struct worker other = *holder;
    other.held--;
    start(THREADS, 2, wait_for_all);
    await_waiter();
    ck_assert_int_eq(pthread_create(&slow, NULL, free_and_stop, holder), 0);
    while (!__atomic_load_n(&at_bell, __ATOMIC_ACQUIRE))
        sched_yield();
    ck_assert_int_eq(pthread_create(&daemon, NULL, run_loop, &looks), 0);
    ck_assert_int_eq(pthread_create(&quick, NULL, free_one_more, &other), 0);
    ck_assert_int_eq(pthread_join(quick, NULL), 0);
    ck_assert_int_eq(pthread_join(workers[THREADS].id, NULL), 0);
    __atomic_store_n(&let_go_on, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(slow, NULL), 0);
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(daemon, NULL), 0);
    while (other.held > 0)
        must(free_it(&other, pop_handle(&other)));
}
END_TEST

SUITE_MAIN_WITH("lease_threads", set_up, tear_down, test_threads_use_a_pool_up,
                test_who_waits_is_told, test_one_slot_goes_round,
                test_nobody_frees_for_a_thread_that_cannot_be_revoked,
                test_members_die_while_others_free_what_they_had,
                test_a_death_amid_a_free_keeps_nobody_waiting,
                test_a_death_amid_a_free_hides_nothing,
                test_nobody_relies_on_a_bell_that_isnt_rung_yet)
