/* SPDX-License-Identifier: MIT */
/*
 * A whole instance in use: several clients ask, act as members of leased pools, leave and die; the
 * daemon is killed, or ends, and takes over. An input is a list of steps: a byte that says what (enum
 * step), and what that takes. The laws hold after each few; at a kill even members' nonsense may
 * stand in leased pools.
 */
#include <inttypes.h>

#include "daemon/audit.h"
#include "daemon/leasing.h"
#include "tests/fuzz/instance.h"
#include "tests/unit/member.h"

#define SHM_SIZE (32u << 20)
#define STEPS_MAX 120u
#define STEPS_UNCHECKED 4u
#define CLIENTS 4u
#define NAMES 3u
#define HANDLES_MAX 32u
#define JOBS_MAX 4u
#define BATCH_MAX 4u

enum step {
    STEP_HELLO,
    STEP_RESUME,
    STEP_HANG_UP,
    STEP_DIE,
    STEP_CREATE,
    STEP_OPEN,
    STEP_CLOSE,
    STEP_DESTROY,
    STEP_GROW,
    STEP_TRIM,
    STEP_LEASE,
    STEP_ALLOCATE,
    STEP_CANCEL,
    STEP_SETTLE,
    STEP_OPERATE,
    STEP_REPEAT, /* the last change, whose reply was lost */
    STEP_ASK,    /* for numbers and lists */
    STEP_EVENTS,
    STEP_TIME,
    STEP_MEMBER, /* without the daemon */
    STEP_JOB,
    STEP_KILL,
    STEP_RESTART,
    STEPS,
};

/* ---- The clients ----------------------------------------------------------------------------- */

/* The last change that a client asked for. */
struct change {
    size_t size; /* of the handles */
    enum method method;
    uint32_t pool;
    uint32_t number; /* 0 = none */
    bool done;
    uint8_t handles[BATCH_MAX * HANDLE_WIRE_SIZE];
};

/* A client has one after the other; the broker may know of one that is gone. */
struct connection {
    struct client *client;
};

static struct client clients[CLIENTS];
static struct connection connections[STEPS_MAX];
static unsigned connection_count;
static struct change changes[CLIENTS];
static uint32_t threads[CLIENTS][NAMES];
static uint8_t handles[HANDLES_MAX][HANDLE_WIRE_SIZE]; /* those that were granted last */
static unsigned handle_count;
static struct job *jobs[JOBS_MAX];
static unsigned job_count;
static struct image empty;

static const char *const pool_names[NAMES] = {"brokered", "leased", "other"};

static void begin_clients(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        uid_t uid = i == 0 ? 0 : 1000 + i / 3;
        clients[i] = (struct client){.caller = {.who.peer = {10 + (pid_t)i, uid, uid}, .bell = -1},
                                     .witness = -1};
        changes[i] = (struct change){.number = 0};
    }
    memset(threads, 0, sizeof(threads));
    connection_count = 0;
    handle_count = 0;
}

static void keep_handles(const struct bytes *wire)
{
    for (size_t at = 0; at < wire->size; at += HANDLE_WIRE_SIZE)
        memcpy(handles[handle_count++ % HANDLES_MAX], wire->data + at, HANDLE_WIRE_SIZE);
}

/* ---- The rim --------------------------------------------------------------------------------- */

static void take_answer(void *connection, uint32_t msgid, enum method method, const void *reply,
                        const struct error *error)
{
    const struct client *client = ((const struct connection *)connection)->client;
    FUZZ_REQUIRE(client->caller.connection == connection && client->caller.session && msgid == 42);
    FUZZ_REQUIRE((reply == NULL) != (error == NULL));
    if (reply && method == METHOD_ALLOCATE)
        keep_handles(&((const struct allocate_reply *)reply)->handles);
}

static void let_go(void *connection)
{
    struct client *client = connection ? ((struct connection *)connection)->client : NULL;
    if (client && client->caller.connection == connection)
        client->caller.session = NULL;
}

static int take_job(void *context, struct job *job)
{
    (void)context;
    if (job_count == JOBS_MAX)
        return -1;
    jobs[job_count++] = job;
    return 0;
}

static const struct broker_rim rim = {.answer = take_answer, .let_go = let_go, .offload = take_job};

static void finish_job(bool run)
{
    if (job_count == 0)
        return;
    struct job *job = jobs[0];
    memmove(jobs, jobs + 1, --job_count * sizeof(struct job *));
    if (run)
        job->run(job);
    job->done(&broker, job);
}

/* ---- Laws ------------------------------------------------------------------------------------ */

static void hear(void *context, enum audit_kind kind, const char *text)
{
    const struct audit *audit = context;
    if (kind == AUDIT_VIOLATION)
        fprintf(stderr, "%s (of %" PRIu64 ")\n", text, audit->violations);
}

static void audit(void)
{
    struct audit audit = {.live = true, .report = hear, .context = &audit};
    audit_broker(&audit, &broker);
    FUZZ_REQUIRE(audit.violations == 0);
}

static uint64_t usage(void)
{
    const struct pool *pool;
    uint64_t sum = 0;
    TAILQ_FOREACH (pool, &broker.pools, in_broker)
        sum += 1000 + pool_usage(pool);
    return sum;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

/* As the server does when a connection is gone, and when a process is. */
static void end_session(struct client *client)
{
    struct session *session = broker_find_session(&broker, client->session);
    if (session && !session->connection)
        broker_end_session(&broker, session);
}

static void hang_up(struct client *client)
{
    instance_hang_up(client);
    end_session(client);
}

static void connect_anew(struct client *client)
{
    struct connection *connection = &connections[connection_count++];
    connection->client = client;
    client->caller.connection = connection;
}

static void say_hello(struct client *client, struct fuzz_input *input)
{
    bool witness = fuzz_choose(input, 4) > 0;
    if (client->caller.session)
        return;
    instance_let_die(client);
    end_session(client);
    connect_anew(client);
    instance_greet(client, witness);
    changes[client - clients].number = 0;
}

/* Its own session, or another's, whose witness it has then. */
static void resume(struct client *client, struct fuzz_input *input)
{
    struct client *other = &clients[fuzz_choose(input, CLIENTS)];
    unsigned named = fuzz_choose(input, 16);
    uint8_t pools[4 * sizeof(uint32_t)];
    for (uint32_t i = 0; i < 4; i++)
        lease_to_wire(i + 1, pools + i * sizeof(uint32_t));
    bool spoil = named == 15;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    memcpy(token, other->token, sizeof(token));
    token[3] ^= spoil;
    uint64_t session = other->session;
    if (!client->caller.session)
        connect_anew(client);
    if (CALL(client, RESUME, resume, .version = PROTOCOL_VERSION, .session = session,
             .token = {token, sizeof(token)},
             .pools = {pools, named % 5 * sizeof(uint32_t)}) != ANSWER_REPLY)
        return;
    FUZZ_REQUIRE(!spoil && client->caller.session->id == session);
    if (other == client)
        return;
    instance_let_die(client);
    end_session(client);
    client->session = session;
    memcpy(client->token, token, sizeof(token));
    client->change = other->change;
    client->request = other->request;
    client->witness = other->witness;
    changes[client - clients] = changes[other - clients];
    other->session = 0;
    other->witness = -1;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static void choose_name(struct fuzz_input *input, char name[PROTOCOL_NAME_MAX + 1])
{
    const char *chosen = pool_names[fuzz_choose(input, NAMES)];
    memcpy(name, chosen, strlen(chosen) + 1);
}

/* The number of a pool that there is, or may have been. */
static uint32_t choose_pool(struct fuzz_input *input)
{
    unsigned which = fuzz_choose(input, 8);
    const struct pool *pool =
        which < 6 ? broker_find_pool(&broker, pool_names[which % NAMES]) : NULL;
    return pool ? pool->id : which;
}

static struct pool_create_request choose_config(struct fuzz_input *input)
{
    static const uint64_t sizes[] = {8, 40, 64, 0, 5000};
    static const char *const growths[] = {"", "linear:4", "exponential:2", "custom:6,9,30"};
    static const char *const watermarks[] = {"", "off", "50%", "3"};
    unsigned policies = (unsigned)fuzz_take(input, 2), bits = (unsigned)fuzz_take(input, 1);
    struct pool_create_request request = {
        .kind = policies % 3,
        .object_size = sizes[policies / 3 % 5],
        .alignment = bits & 1 ? 64 : 0,
        .capacity = fuzz_choose(input, 20),
        .capacity_max = fuzz_choose(input, 64),
        .mode = bits & 2 ? 0666 : 0600,
        .owner_frees = bits & 4,
        .zero = policies / 15 % 3,
        .hold_limit = bits & 8 ? 1000 : 0,
        .trim_after = bits & 16 ? 5000 : 0,
        .session_slots = bits & 32 ? 5 : 0,
        .user_slots = bits & 64 ? 7 : 0,
        .reserve_critical = bits & 128 ? 2 : 0,
        .reserve_normal = bits & 128 ? 1 : 0,
        .grow_ahead = policies / 720 % 3,
    };
    memcpy(request.growth, growths[policies / 45 % 4], strlen(growths[policies / 45 % 4]) + 1);
    memcpy(request.watermark, watermarks[policies / 180 % 4],
           strlen(watermarks[policies / 180 % 4]) + 1);
    if (policies / 2160 % 2)
        request.template = (struct bytes){(const uint8_t *)"template", 8};
    return request;
}

static void note_change(struct client *client, enum method method, uint32_t pool,
                        const struct bytes *named, enum answer_kind kind)
{
    struct change *change = &changes[client - clients];
    *change = (struct change){.method = method, .pool = pool, .number = client->change};
    change->done = kind == ANSWER_REPLY;
    change->size = named ? named->size : 0;
    if (change->size > 0)
        memcpy(change->handles, named->data, change->size);
}

static void create(struct client *client, struct fuzz_input *input)
{
    struct pool_create_request request = choose_config(input);
    choose_name(input, request.name);
    request.change = ++client->change;
    instance_call(client, METHOD_POOL_CREATE, &request);
    changes[client - clients].number = 0;
}

static void open_pool(struct client *client, struct fuzz_input *input)
{
    unsigned bits = fuzz_choose(input, 8);
    struct pool_open_request request = {.write = bits != 0, .map = bits & 1, .create = bits & 4};
    choose_name(input, request.name);
    if (request.create) {
        request.object_size = 16;
        request.capacity = 4;
        request.mode = 0666;
        request.kind = bits & 2 ? LAYOUT_LEASED : LAYOUT_BROKERED;
    }
    instance_call(client, METHOD_POOL_OPEN, &request);
}

static void destroy(struct client *client, struct fuzz_input *input)
{
    struct pool_destroy_request request = {.force = fuzz_choose(input, 2)};
    choose_name(input, request.name);
    request.change = ++client->change;
    instance_call(client, METHOD_POOL_DESTROY, &request);
    changes[client - clients].number = 0;
}

static void grow(struct client *client, struct fuzz_input *input)
{
    struct pool_grow_request request = {.capacity = fuzz_choose(input, 80),
                                        .capacity_max = fuzz_choose(input, 100)};
    choose_name(input, request.name);
    instance_call(client, METHOD_POOL_GROW, &request);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static void allocate(struct client *client, struct fuzz_input *input)
{
    unsigned bits = fuzz_choose(input, 256);
    if (CALL(client, ALLOCATE, allocate, .pool = choose_pool(input), .request = ++client->request,
             .count = bits & 7, .timeout = bits & 8 ? (bits & 16 ? -1 : 2000) : 0,
             .priority = bits / 32 % 3, .evictable = bits & 128) == ANSWER_REPLY)
        keep_handles(&answer.reply.allocate.handles);
}

static void lease(struct client *client, struct fuzz_input *input)
{
    unsigned name = fuzz_choose(input, NAMES), which = fuzz_choose(input, 32);
    const struct pool *pool = broker_find_pool(&broker, pool_names[name]);
    uint32_t *thread = &threads[client - clients][name];
    uint32_t asked = which & 16 ? 0 : which & 8 ? LEASE_THREAD_NEW : *thread;
    if (CALL(client, LEASE, lease, .pool = pool ? pool->id : 1, .count = which & 7,
             .thread = asked) == ANSWER_REPLY &&
        answer.reply.lease.thread != 0)
        *thread = answer.reply.lease.thread;
}

/* Some of the handles, or one twice, or nonsense. */
static struct bytes choose_handles(struct fuzz_input *input)
{
    static uint8_t chosen[BATCH_MAX * HANDLE_WIRE_SIZE];
    unsigned count = fuzz_choose(input, BATCH_MAX) + 1;
    for (unsigned i = 0; i < count; i++)
        memcpy(chosen + (size_t)i * HANDLE_WIRE_SIZE, handles[fuzz_choose(input, HANDLES_MAX)],
               HANDLE_WIRE_SIZE);
    return (struct bytes){chosen, (size_t)count * HANDLE_WIRE_SIZE};
}

/* The five methods have the same request. */
static enum answer_kind change_by(struct client *client, enum method method, uint32_t pool,
                                  const struct bytes *named, uint32_t number)
{
    const struct free_request request = {.pool = pool, .handles = *named, .change = number};
    return instance_call(client, method, &request);
}

static void operate(struct client *client, struct fuzz_input *input)
{
    static const enum method methods[] = {METHOD_FREE, METHOD_RELEASE, METHOD_RETAIN, METHOD_ADOPT,
                                          METHOD_DETACH};
    unsigned which = fuzz_choose(input, 10);
    struct bytes named = choose_handles(input);
    /* The pool of the first of them. */
    uint32_t pool = handle_from_wire(named.data).pool;
    client->change++;
    enum answer_kind kind =
        change_by(client, methods[which % 5], pool, &named, which < 5 ? client->change : 0);
    if (which < 5)
        note_change(client, methods[which % 5], pool, &named, kind);
}

/* What was carried out isn't again. */
static void repeat(struct client *client)
{
    struct change *change = &changes[client - clients];
    const struct bytes named = {change->handles, change->size};
    uint64_t before = usage();
    if (change->number == 0 || !client->caller.session)
        return;
    enum answer_kind kind = change_by(client, change->method, change->pool, &named, change->number);
    if (change->done)
        FUZZ_REQUIRE(usage() == before);
    if (change->done && kind == ANSWER_REPLY)
        FUZZ_REQUIRE(answer.reply.free.freed == change->size / HANDLE_WIRE_SIZE);
    change->done |= kind == ANSWER_REPLY;
}

/* The last requests, as many as the bits say. */
static void settle(struct client *client, struct fuzz_input *input)
{
    uint8_t requests[8 * sizeof(uint64_t)];
    unsigned bits = fuzz_choose(input, 256), count = 0;
    for (unsigned i = 0; i < 8; i++)
        if (bits >> i & 1 && client->request > i) {
            const uint64_t number = htole64(client->request - i);
            memcpy(requests + sizeof(number) * count++, &number, sizeof(number));
        }
    CALL(client, SETTLE, settle, .requests = {requests, count * sizeof(uint64_t)});
}

/* ---- Without the daemon ---------------------------------------------------------------------- */

static void keep_live(const struct pool *pool, uint32_t index)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    handle_to_wire(
        handle_make(pool->id, index, pool->nonce, slot_generation(member_word(pool, index))), wire);
    keep_handles(&(struct bytes){wire, sizeof(wire)});
}

static void act_as_thread(struct pool *pool, uint32_t thread, uint32_t index, unsigned what)
{
    if (!pool_has_thread(pool, pool_member_of(pool, thread), thread))
        return;
    if (member_change(pool, thread, index, what ? BIAS_ALLOCATES : BIAS_FREES) && what)
        keep_live(pool, index);
    bias_announce(member_line(pool, thread), BIAS_NOTHING);
}

static void act(struct client *client, struct fuzz_input *input)
{
    unsigned name = fuzz_choose(input, NAMES), what = fuzz_choose(input, 6);
    struct pool *pool = broker_find_pool(&broker, pool_names[name]);
    uint32_t index = fuzz_choose(input, 256), thread = threads[client - clients][name];
    const struct membership *membership = pool && client->caller.session
                                              ? session_membership(client->caller.session, pool->id)
                                              : NULL;
    if (!membership || !membership->write || !pool_is_leased(pool))
        return;
    index %= pool_capacity(pool);
    bool biased = slot_member(member_word(pool, index)) >= LAYOUT_THREAD_FIRST;
    if (what >= 4 && thread != 0)
        act_as_thread(pool, thread, index, what - 4);
    else if (what == 0 && member_allocate(pool, membership->member, index))
        keep_live(pool, index);
    else if (what == 1 && !biased)
        member_free(pool, membership->member, index);
    else if (what == 2)
        member_give_back(pool, membership->member, index);
    else if (what == 3)
        leasing_ring(&broker, client->caller.session);
}

/* Whoever has a leased pool mapped can write anything to its words. */
static void spoil(struct fuzz_input *input)
{
    unsigned count = fuzz_choose(input, 8);
    for (unsigned i = 0; i + 4 < count; i++) {
        struct pool *pool = broker_find_pool(&broker, pool_names[fuzz_choose(input, NAMES)]);
        uint32_t index = fuzz_choose(input, 64), member = fuzz_choose(input, 6);
        unsigned rest = fuzz_choose(input, 256);
        if (!pool || !pool_is_leased(pool))
            continue;
        index %= pool_capacity(pool);
        uint64_t generation = slot_generation(member_word(pool, index)) + rest / 8 % 4 - 1;
        word_replace(&pool->words[index],
                     slot_word(generation, member == 5 ? SLOT_MEMBER_POOL : member,
                               (enum slot_state)(rest % 8)));
    }
}

/* ---- The daemon's end ------------------------------------------------------------------------ */

static void recover(void)
{
    struct recovery found;
    struct error error;
    FUZZ_REQUIRE(instance_begin(&rim) == 0);
    if (!recovery_run(&broker, false, &found, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
}

static void take_over(void)
{
    recover();
    broker_check(&broker);
    audit();
}

static void let_daemon_go(void)
{
    while (job_count > 0)
        finish_job(true);
    for (unsigned i = 0; i < CLIENTS; i++)
        instance_hang_up(&clients[i]);
    while (job_count > 0)
        finish_job(true);
}

/* All is found as it was in that moment, whatever this one does to come to its end here. */
static void kill_daemon(struct fuzz_input *input)
{
    static struct image image;
    bool amid_growth = fuzz_choose(input, 2);
    if (amid_growth && job_count > 0)
        jobs[0]->run(jobs[0]);
    spoil(input);
    image_take(&image);
    if (amid_growth && job_count > 0)
        finish_job(false);
    let_daemon_go();
    broker_forget(&broker);
    image_put(&image);
    take_over();
}

static void restart_daemon(void)
{
    uint32_t pools, sessions;
    let_daemon_go();
    broker_deinit(&broker, &pools, &sessions);
    take_over();
    FUZZ_REQUIRE(broker.pool_count == pools && broker.session_count == sessions);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void ask(struct client *client, struct fuzz_input *input)
{
    unsigned what = fuzz_choose(input, 8);
    struct stats_request named = {.name = ""};
    struct holders_request holders = {.name = ""};
    choose_name(input, named.name);
    memcpy(holders.name, named.name, sizeof(named.name));
    if (what == 0)
        instance_call(client, METHOD_STATS, &named);
    else if (what == 1)
        instance_call(client, METHOD_STATS_RESET, &named);
    else if (what == 2)
        instance_call(client, METHOD_HOLDERS, &holders);
    else if (what == 3)
        CALL(client, SESSIONS, sessions, .after = 0);
    else if (what == 4)
        CALL(client, POOL_LIST, pool_list, .after = 0);
    else if (what == 5)
        CALL(client, PING, ping, .none = {});
    else if (what == 6 && CALL(client, CHECK, check, .none = {}) == ANSWER_REPLY)
        FUZZ_REQUIRE(answer.reply.check.violations == 0);
    else
        instance_call(client, METHOD_POOL_TRIM, &named);
}

static void pass_time(struct fuzz_input *input)
{
    moment += 1 + (int64_t)fuzz_take(input, 2);
    broker_set_time(&broker, moment);
    broker_pass_time(&broker);
}

static void take_step(struct fuzz_input *input)
{
    enum step step = (enum step)fuzz_choose(input, STEPS);
    struct client *client =
        &clients[step < STEP_TIME || step == STEP_MEMBER ? fuzz_choose(input, CLIENTS) : 0];
    switch (step) {
    case STEP_HELLO:
        say_hello(client, input);
        break;
    case STEP_RESUME:
        resume(client, input);
        break;
    case STEP_HANG_UP:
        hang_up(client);
        break;
    case STEP_DIE:
        instance_let_die(client);
        hang_up(client);
        break;
    case STEP_CREATE:
        create(client, input);
        break;
    case STEP_OPEN:
        open_pool(client, input);
        break;
    case STEP_CLOSE:
        CALL(client, POOL_CLOSE, pool_close, .pool = choose_pool(input));
        break;
    case STEP_DESTROY:
        destroy(client, input);
        break;
    case STEP_GROW:
        grow(client, input);
        break;
    case STEP_TRIM: {
        struct pool_trim_request request;
        choose_name(input, request.name);
        instance_call(client, METHOD_POOL_TRIM, &request);
        break;
    }
    case STEP_LEASE:
        lease(client, input);
        break;
    case STEP_ALLOCATE:
        allocate(client, input);
        break;
    case STEP_CANCEL:
        CALL(client, CANCEL, cancel, .pool = choose_pool(input),
             .request = fuzz_choose(input, 2) ? client->request : 0);
        break;
    case STEP_SETTLE:
        settle(client, input);
        break;
    case STEP_OPERATE:
        operate(client, input);
        break;
    case STEP_REPEAT:
        repeat(client);
        break;
    case STEP_ASK:
        ask(client, input);
        break;
    case STEP_EVENTS:
        CALL(client, EVENTS, events, .after = fuzz_choose(input, 16),
             .timeout = fuzz_choose(input, 2) ? 3000 : 0);
        break;
    case STEP_TIME:
        pass_time(input);
        break;
    case STEP_MEMBER:
        act(client, input);
        break;
    case STEP_JOB:
        finish_job(true);
        break;
    case STEP_KILL:
        kill_daemon(input);
        break;
    case STEP_RESTART:
    case STEPS:
        restart_daemon();
        break;
    }
}

/* ---- All of it ------------------------------------------------------------------------------- */

static void begin(void)
{
    image_begin(SHM_SIZE);
    image_watch_faults();
    moment = 1000;
    begin_clients();
    if (empty.count == 0) {
        FUZZ_REQUIRE(instance_begin(&rim) == 0);
        broker_forget(&broker);
        image_take(&empty);
    }
    image_put(&empty);
    image_restart_random();
    recover();
}

/* Nobody is left, and so nothing is. */
static void end(void)
{
    uint32_t pools, sessions;
    let_daemon_go();
    for (unsigned i = 0; i < CLIENTS; i++) {
        instance_let_die(&clients[i]);
        end_session(&clients[i]);
    }
    FUZZ_REQUIRE(broker.session_count == 0);
    broker_check(&broker);
    audit();
    while (!TAILQ_EMPTY(&broker.pools)) /* some hold what is detached */
        broker_destroy_pool(&broker, TAILQ_FIRST(&broker.pools));
    while (job_count > 0)
        finish_job(true);
    FUZZ_REQUIRE(broker_next_deadline(&broker) == DEADLINE_NEVER);
    FUZZ_REQUIRE(broker_deinit(&broker, &pools, &sessions));
    FUZZ_REQUIRE(image_files() == empty.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    begin();
    for (unsigned i = 1; i <= STEPS_MAX && input.size > 0; i++) {
        take_step(&input);
        if (i % STEPS_UNCHECKED == 0)
            broker_check(&broker);
    }
    end();
    return 0;
}
