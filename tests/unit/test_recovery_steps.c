/* SPDX-License-Identifier: MIT */
/*
 * A daemon that is killed between any two instructions. A child does one thing to the broker, and is
 * stopped after each instruction; whenever that has changed a shared byte, another daemon takes over
 * a copy of all that is shared, twice, and the laws must hold. Between two changes the bytes, and so
 * what is found, are the same: so each instruction counts as a position. Then what the client had
 * asked for is asked again, as it would be after a lost reply, and must have been done once.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "daemon/recovery.h"

#define SUITE_TIMEOUT 100
#include "tests/unit/broker_case.h"

#define SHM "/dev/shm"
#define STEPS_MAX 3000000u
#define CHANGE 7u /* the number of the change that is asked for */

/* ---- What is shared -------------------------------------------------------------------------- */

#define PARTS_MAX 32

/* Those bytes of the shared ones that a change in this test can concern. */
static struct part {
    const void *bytes;
    void *copy;
    size_t size;
} parts[PARTS_MAX];
static unsigned part_count;
static uint64_t room; /* in /dev/shm, which files take when they are made, grow, or go */

static uint64_t room_left(void)
{
    struct statvfs status;
    ck_assert_int_eq(statvfs(SHM, &status), 0);
    return (uint64_t)status.f_bfree << 32 | status.f_ffree;
}

static void watch(const void *bytes, size_t size)
{
    ck_assert_uint_lt(part_count, PARTS_MAX);
    parts[part_count] = (struct part){bytes, malloc(size), size};
    memcpy(parts[part_count].copy, bytes, size);
    part_count++;
}

static void watch_pool(const struct pool *watched)
{
    const struct store *store = &watched->store;
    watch(store->ctl, offsetof(struct layout_ctl, pad5));
    watch(store->members, 64 * sizeof(uint64_t));
    watch(store->ledger, store->capacity * sizeof(uint64_t));
    watch(store->slots, geometry_slots_size(&store->geometry, store->capacity));
    if (watched->holders.room > 0)
        watch(watched->holders.entries, 64 * sizeof(uint64_t));
}

static void watch_all(void)
{
    struct registry_file *file = broker.registry.file;
    const struct pool *watched;
    watch(file, offsetof(struct registry_file, pools[8]));
    watch(file->sessions, 8 * sizeof(file->sessions[0]));
    watch(&file->change, offsetof(struct registry_change, handles[8 * HANDLE_WIRE_SIZE]));
    TAILQ_FOREACH (watched, &broker.pools, in_broker)
        watch_pool(watched);
    room = room_left();
}

static void forget_all(void)
{
    while (part_count > 0)
        free(parts[--part_count].copy);
}

static bool has_changed(void)
{
    bool changed = false;
    for (unsigned i = 0; i < part_count; i++)
        if (memcmp(parts[i].bytes, parts[i].copy, parts[i].size) != 0) {
            memcpy(parts[i].copy, parts[i].bytes, parts[i].size);
            changed = true;
        }
    uint64_t now = room_left();
    changed |= now != room;
    room = now;
    return changed;
}

/* ---- Another daemon -------------------------------------------------------------------------- */

static uint64_t alice_id, bob_id;
static int witnesses[2]; /* alice's and bob's: who is to live */
static uint8_t asked[64 * HANDLE_WIRE_SIZE];
static uint32_t asked_count;
static struct recovery found;

static void copy_file(int from_folder, const char *from, int to_folder, const char *to)
{
    static char bytes[65536];
    int in = openat(from_folder, from, O_RDONLY | O_CLOEXEC);
    int out = openat(to_folder, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert(in >= 0 && out >= 0);
    struct stat status;
    ck_assert_int_eq(fstat(in, &status), 0);
    for (ssize_t size; (size = read(in, bytes, sizeof(bytes))) > 0;)
        ck_assert_int_eq(write(out, bytes, (size_t)size), size);
    ck_assert_int_eq(ftruncate(out, status.st_size), 0);
    close(in);
    close(out);
}

/* In a /dev/shm of our own. */
static void copy_all(void)
{
    int shared = open(SHM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", SHM, "tmpfs", 0, "mode=1777"), 0);
    int own = open(SHM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fdopendir(dup(shared));
    for (const struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            copy_file(shared, entry->d_name, own, entry->d_name);
    closedir(directory);
    copy_file(AT_FDCWD, path, own, "registry");
    snprintf(path, sizeof(path), SHM "/registry");
    close(shared);
    close(own);
}

/* The clients live on, and have mapped the witness that a copy stands for now. */
static void let_live(uint64_t id)
{
    const struct registry_file *file = broker.registry.file;
    char name[SEGMENT_NAME_SIZE];
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++)
        if (file->sessions[i].state == REGISTRY_READY && file->sessions[i].id == id) {
            registry_witness_name(&file->sessions[i], name);
            segment_open(name, false);
        }
}

/* No slot was given up to bring a pool into order. */
static void check_undamaged(void)
{
    const struct pool *each;
    TAILQ_FOREACH (each, &broker.pools, in_broker)
        ck_assert_uint_eq(each->lease.damage, 0);
}

static void take_over(void)
{
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    broker.uid = DAEMON_UID;
    ck_assert_msg(recovery_run(&broker, false, &found, &error), "%s", error.message);
    broker_check(&broker);
    check_undamaged();
    alice = broker_find_session(&broker, alice_id);
    bob = broker_find_session(&broker, bob_id);
    pool = broker_find_pool(&broker, "frames");
}

/* Exits with 0 if all is well. */
static void judge_copy(void (*judge)(void))
{
    copy_all();
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    if (witnesses[0] >= 0)
        let_live(alice_id);
    if (witnesses[1] >= 0)
        let_live(bob_id);
    broker_forget(&broker);
    take_over();
    broker_forget(&broker);
    take_over();
    judge();
    broker_check(&broker);
    _exit(0);
}

/* ---- Stepping -------------------------------------------------------------------------------- */

static pid_t stepped;
static unsigned steps, changes;

static void let_judge(void (*judge)(void))
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        judge_copy(judge);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "after instruction %u, which made the change %u", steps, changes);
}

/* False at the end. */
static bool step(void)
{
    int status;
    ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, stepped, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(stepped, &status, 0), stepped);
    ck_assert(WIFSTOPPED(status));
    return WSTOPSIG(status) == SIGTRAP;
}

static void (*prepare)(void); /* what the child does before, unless it is NULL */

static void start(void (*act)(void))
{
    int status;
    stepped = fork();
    ck_assert_int_ge(stepped, 0);
    if (stepped == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        if (prepare)
            prepare();
        raise(SIGSTOP);
        act();
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(stepped, &status, 0), stepped);
    ck_assert(WIFSTOPPED(status));
}

/* At each change of what is shared that `act` makes, in a child, `judge` is called, in another. */
static void step_through(const char *name, void (*act)(void), void (*judge)(void))
{
    watch_all();
    start(act);
    let_judge(judge);
    for (steps = changes = 0; step(); steps++) {
        ck_assert_uint_lt(steps, STEPS_MAX);
        if (!has_changed())
            continue;
        changes++;
        let_judge(judge);
    }
    kill(stepped, SIGKILL);
    ck_assert_int_eq(waitpid(stepped, NULL, 0), stepped);
    ck_assert_uint_gt(changes, 0);
    printf("%s: killed after each of %u instructions, in %u states\n", name, steps, changes + 1);
    forget_all();
    broker_forget(&broker);
    take_over();
}

/* ---- The stage ------------------------------------------------------------------------------- */

/* On one processor, where to stop and to go on is quick. */
static void stay(void)
{
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((unsigned)sched_getcpu(), &here);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(here), &here), 0);
}

static void set_up(void)
{
    stay();
    broker_set_up();
    end(&bob);
    bob = begin(bob_name, true);
    join(bob, pool);
    witnesses[0] = session_witness(alice);
    witnesses[1] = session_witness(bob);
    alice_id = alice->id;
    bob_id = bob->id;
}

static void let_die(unsigned which)
{
    close(witnesses[which]);
    witnesses[which] = -1;
}

static void tear_down(void)
{
    for (unsigned i = 0; i < 2; i++)
        if (witnesses[i] >= 0)
            let_die(i);
    for (unsigned i = 0; i < 2; i++) {
        struct session *session = broker_find_session(&broker, i == 0 ? alice_id : bob_id);
        if (session)
            broker_end_session(&broker, session);
    }
    alice = bob = NULL;
    broker_tear_down();
}

/* ---- Changes that a client asks for ---------------------------------------------------------- */

static enum pool_operation operation;
static uint64_t usage_before, usage_after, held_before, held_after;

/* As the handler does. */
static bool change(void)
{
    if (journal_is_done(alice->entry, CHANGE))
        return true;
    journal_announce(&broker.journal, alice->entry, CHANGE);
    bool done = pool_operate(pool, operation, member_of(alice, pool), asked, asked_count,
                             broker.now, &error);
    journal_announce(&broker.journal, NULL, 0);
    return done;
}

static void act_change(void)
{
    change();
}

static uint64_t holds_of_alice(void)
{
    return pool_held(pool, member_of(alice, pool));
}

/* It is asked for again, and is done once then: whatever had been done of it when the daemon died. */
static void judge_change(void)
{
    uint64_t usage = pool_usage(pool), holds = holds_of_alice();
    ck_assert(usage == usage_before || usage == usage_after);
    ck_assert(holds == held_before || holds == held_after);
    ck_assert_msg(change(), "%s", error.message);
    broker_check(&broker);
    ck_assert_uint_eq(pool_usage(pool), usage_after);
    ck_assert_uint_eq(holds_of_alice(), held_after);
}

static void ask_for(const char *name, enum pool_operation what, uint32_t count, int64_t usage,
                    int64_t holds)
{
    operation = what;
    asked_count = count;
    memcpy(asked, held, (size_t)count * HANDLE_WIRE_SIZE);
    usage_before = pool_usage(pool);
    usage_after = usage_before + (uint64_t)usage;
    held_before = holds_of_alice();
    held_after = held_before + (uint64_t)holds;
    step_through(name, act_change, judge_change);
}

START_TEST(test_free)
{
    take(alice, pool, 3);
    ask_for("free", POOL_FREE, 3, -3, -3);
}
END_TEST

START_TEST(test_free_of_what_others_hold)
{
    take(bob, pool, 2);
    ask_for("free of another's", POOL_FREE, 2, -2, 0);
}
END_TEST

START_TEST(test_free_of_what_one_has_shared_with_oneself)
{
    take(alice, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2));
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ask_for("free of shared ones", POOL_FREE, 2, -2, -5);
}
END_TEST

START_TEST(test_retain)
{
    take(bob, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ask_for("retain", POOL_RETAIN, 3, 0, 3);
}
END_TEST

START_TEST(test_retain_of_one_s_own)
{
    take(alice, pool, 2);
    ask_for("retain of one's own", POOL_RETAIN, 2, 0, 2);
}
END_TEST

START_TEST(test_release)
{
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2));
    ck_assert(operate(pool, POOL_RETAIN, 1, 1));
    ask_for("release", POOL_RELEASE, 3, -1, -3);
}
END_TEST

START_TEST(test_release_of_the_last_hold)
{
    take(alice, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2));
    ck_assert(operate(pool, POOL_RELEASE, 0, 2));
    ask_for("release of the last hold", POOL_RELEASE, 2, -2, -2);
}
END_TEST

START_TEST(test_adopt)
{
    take(bob, pool, 3);
    ask_for("adopt", POOL_ADOPT, 3, 0, 3);
}
END_TEST

START_TEST(test_adopt_of_what_was_detached)
{
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert(operate(pool, POOL_DETACH, 0, 3));
    ask_for("adopt of detached ones", POOL_ADOPT, 3, 0, 3);
}
END_TEST

START_TEST(test_detach)
{
    take(alice, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 2));
    ask_for("detach", POOL_DETACH, 3, 0, -3);
}
END_TEST

/* ---- Allocating ------------------------------------------------------------------------------ */

static uint32_t allocated_by(uint64_t request)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool_capacity(pool); i++)
        count += layout_ledger_request(ledger_entry(&pool->ledger, i)) == request;
    return count;
}

static void allocate(void)
{
    ASK_UNCHECKED(alice, pool, 1, .count = 3, .request = 99);
}

/* What it got is known by its number, so that whoever got no answer can have it taken back. */
static void judge_allocate(void)
{
    ck_assert_uint_le(pool_usage(pool), 3);
    ck_assert_uint_eq(allocated_by(99), pool_usage(pool));
}

START_TEST(test_allocate)
{
    step_through("allocate", allocate, judge_allocate);
}
END_TEST

static void allocate_critical(void)
{
    ASK_UNCHECKED(alice, pool, 1, .count = 2, .request = 99, .priority = CRITICAL);
}

static void judge_evict(void)
{
    ck_assert_uint_le(pool_usage(pool), CAPACITY);
    ck_assert_uint_ge(pool_usage(pool), CAPACITY - 2);
    ck_assert(pool->evictable.count == 1 || allocated_by(99) == 0);
}

START_TEST(test_evict)
{
    if (test_kind() == LAYOUT_LEASED) { /* which have nothing evictable */
        broker_forget(&broker);
        take_over();
        return;
    }
    GETS(bob, pool, 1, .count = 3, .evictable = true);
    take(bob, pool, 1);
    step_through("evict", allocate_critical, judge_evict);
}
END_TEST

/* ---- Sessions -------------------------------------------------------------------------------- */

static void reap(void)
{
    broker_disconnect(&broker, bob);
    broker_end_session(&broker, bob);
}

static void judge_reap(void)
{
    ck_assert_ptr_null(bob);
    ck_assert_uint_eq(pool_usage(pool), 2); /* one that alice holds too */
    ck_assert_uint_eq(pool->member_count, 1);
}

START_TEST(test_reap)
{
    take(alice, pool, 1);
    take(bob, pool, 3);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    let_die(1);
    step_through("reap", reap, judge_reap);
}
END_TEST

static void open_and_close(void)
{
    struct pool *other = broker_find_pool(&broker, "other");
    struct membership *membership = session_join(alice, other, true);
    broker_close_pool(&broker, alice, membership);
}

static void judge_nothing(void)
{
    ck_assert_ptr_nonnull(alice);
    ck_assert_ptr_nonnull(bob);
}

START_TEST(test_open_and_close)
{
    MAKE(.name = "other", .capacity = 2);
    step_through("open and close", open_and_close, judge_nothing);
}
END_TEST

static void connect_anew(void)
{
    struct session *session;
    const struct peer who = {1, 2, 3};
    static char carol[] = "carol";
    broker_begin_session(&broker, &who, carol, true, carol, &session, &error);
}

static void judge_connect(void)
{
    ck_assert_uint_eq(broker.session_count, 2); /* she has mapped nothing, or died */
}

START_TEST(test_connect)
{
    step_through("connect", connect_anew, judge_connect);
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

static bool create(void)
{
    const struct pool_config config = {
        .name = "new",
        .type = "",
        .object_size = 8,
        .capacity = 2,
        .kind = test_kind(),
        .mode = 0600,
        .content = {(const uint8_t *)"x", 1},
    };
    struct pool *made;
    if (journal_is_done(alice->entry, CHANGE))
        return true;
    journal_announce(&broker.journal, alice->entry, CHANGE);
    return broker_create_pool(&broker, &config, &made, &error);
}

static void act_create(void)
{
    create();
}

static void judge_create(void)
{
    bool there = broker_find_pool(&broker, "new");
    ck_assert_int_eq(there, journal_is_done(alice->entry, CHANGE));
    ck_assert(create());
    ck_assert_ptr_nonnull(broker_find_pool(&broker, "new"));
}

START_TEST(test_create)
{
    step_through("create", act_create, judge_create);
}
END_TEST

static void destroy(void)
{
    struct pool *other = broker_find_pool(&broker, "other");
    if (journal_is_done(alice->entry, CHANGE))
        return;
    journal_announce(&broker.journal, alice->entry, CHANGE);
    broker_destroy_pool(&broker, other);
}

static void judge_destroy(void)
{
    bool there = broker_find_pool(&broker, "other");
    ck_assert_int_ne(there, journal_is_done(alice->entry, CHANGE));
    destroy();
    ck_assert_ptr_null(broker_find_pool(&broker, "other"));
}

START_TEST(test_destroy)
{
    struct pool *other = MAKE(.name = "other", .capacity = 2);
    join(alice, other);
    take(alice, other, 1);
    step_through("destroy", destroy, judge_destroy);
}
END_TEST

static void grow(void)
{
    struct pool *other = broker_find_pool(&broker, "other");
    growing_start(&broker, other, 4000, &error);
}

static void judge_grow(void)
{
    struct pool *other = broker_find_pool(&broker, "other");
    ck_assert(pool_capacity(other) == 2 || pool_capacity(other) == 4000);
    ck_assert(store_is_whole(&other->store));
    ck_assert_uint_eq(pool_usage(other), 1);
    ck_assert_uint_eq(other->lease.damage, 0);
}

START_TEST(test_grow)
{
    struct pool *other = MAKE(.name = "other", .capacity = 2, .capacity_max = 4000);
    join(alice, other);
    take(alice, other, 1);
    step_through("grow", grow, judge_grow);
}
END_TEST

/* ---- Leased pools ---------------------------------------------------------------------------- */

/* A thread gets a number and slots, and all that is cached is taken back. */
static void lease(void)
{
    const struct membership *membership = session_membership(alice, pool->id);
    uint32_t thread = pool_add_thread(pool, membership->member);
    leasing_grant(&broker, membership, thread, 2);
    pool_tighten(pool, false, broker.now);
}

static void judge_lease(void)
{
    ck_assert_uint_eq(pool_usage(pool), 1);
    ck_assert_uint_eq(pool_cached(pool), 0);
    ck_assert_uint_eq(pool->lease.damage, 0);
    ck_assert(pool_is_tight(pool) || pool->ctl->waiters == 0);
}

START_TEST(test_lease)
{
    if (test_kind() == LAYOUT_LEASED) {
        take(alice, pool, 1);
        step_through("lease", lease, judge_lease);
        return;
    }
    broker_forget(&broker);
    take_over();
}
END_TEST

/* ---- Recovery itself ------------------------------------------------------------------------- */

static void prepare_recovery(void)
{
    broker_forget(&broker);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
}

static void recover(void)
{
    recovery_run(&broker, false, &found, &error);
}

static void judge_recovery(void)
{
    ck_assert_ptr_null(bob);
    ck_assert_uint_eq(found.removed + broker.pool_count, broker.pool_count);
    ck_assert_uint_eq(broker.pool_count, 1);
    ck_assert_uint_eq(pool_usage(pool), 2);
    ck_assert_uint_eq(holds_of_alice(), 3); /* one is shared with herself, what she freed is free */
    ck_assert(journal_is_done(alice->entry, CHANGE));
}

/* All that there can be to do at once. */
START_TEST(test_recovery)
{
    take(bob, pool, 1);
    take(alice, pool, 3);
    struct pool *making = MAKE(.name = "making", .capacity = 2);
    struct pool *ending = MAKE(.name = "ending", .capacity = 2);
    registry_set_state(&making->entry->state, REGISTRY_MAKING);
    registry_set_state(&ending->entry->state, REGISTRY_ENDING);
    ck_assert(operate(pool, POOL_RETAIN, 1, 1));
    journal_announce(&broker.journal, alice->entry, CHANGE);
    journal_begin(&broker.journal, JOURNAL_OPERATE + POOL_FREE, pool->id, member_of(alice, pool),
                  held, 1);
    let_die(1);
    prepare = prepare_recovery;
    step_through("recovery", recover, judge_recovery);
}
END_TEST

static void purge(void)
{
    broker_forget(&broker);
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    recovery_purge(&broker, &found);
}

/* It is whole, or gone. */
static void judge_purge(void)
{
    ck_assert(!pool || pool_usage(pool) == 2);
}

START_TEST(test_purge)
{
    take(alice, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    step_through("purge", purge, judge_purge);
}
END_TEST

SUITE_MAIN_WITH("recovery in steps", set_up, tear_down, test_free, test_free_of_what_others_hold,
                test_free_of_what_one_has_shared_with_oneself, test_retain,
                test_retain_of_one_s_own, test_release, test_release_of_the_last_hold, test_adopt,
                test_adopt_of_what_was_detached, test_detach, test_allocate, test_evict, test_reap,
                test_open_and_close, test_connect, test_create, test_destroy, test_grow, test_lease,
                test_recovery, test_purge)
