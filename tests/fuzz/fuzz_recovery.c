/* SPDX-License-Identifier: MIT */
/*
 * Recovery of what was spoilt: an instance with a brokered and a leased pool was killed; then bytes of
 * its registry and its objects change, objects are cut or go. Whatever is left, the audit and recovery
 * come to an end and touch nothing else; where recovery says that it succeeded the laws hold, clients
 * are served, and it succeeds once more. An input is
 *
 *   found : 1     what the daemon was killed in the middle of, and who lives (enum found)
 *   the edits, of 13 bytes each: what (enum edit), where : 4, value : 8
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/audit.h"
#include "shm/lease.h"
#include "tests/fuzz/instance.h"

#define SHM_SIZE (32u << 20)
#define EDITS_MAX 24u
#define CAPACITY 8u
#define GROWN_MAX (1u << 16) /* bytes that an object is made longer at most */
/* No edit alone makes its key the registry's: whose keys those are, the daemon's objects are. */
#define STRANGER "/dev/shm/fastalloc.0123456789abcdeffedcba9876543210.data"
#define OWNER 1000u

enum { BROKERED, LEASED, POOLS };

/* Bits. */
enum found {
    FOUND_MOVE = 1,         /* an intent, in the brokered pool */
    FOUND_SHARE = 2,        /* another, in the leased pool */
    FOUND_CHANGE = 4,       /* a record of a free of several handles */
    FOUND_ENDING = 8,       /* the leased pool is being destroyed */
    FOUND_MAKING = 16,      /* it is being made */
    FOUND_ALICE_DEAD = 32,  /* her process is gone */
    FOUND_BOB_DEAD = 64,    /* and his */
    FOUND_NO_WITNESS = 128, /* his witness too */
};

enum edit {
    EDIT_BYTE,  /* of an object, at an offset */
    EDIT_SHORT, /* 32 bits */
    EDIT_LONG,  /* 64 */
    EDIT_ADD,   /* to what stands there, 64 bits */
    EDIT_CUT,   /* the object ends there */
    EDIT_FILL,  /* the rest of the page */
    EDIT_REMOVE,
    EDIT_WORD, /* a slot's, of parts that make sense */
    EDIT_LEDGER,
    EDIT_HOLDER,
    EDIT_MEMBER,
    EDIT_INTENT,
    EDIT_RECORD,
    EDIT_REGISTRY, /* 32 bits of its head, or of the first entries */
    EDIT_HEAD,     /* 32 bits of a ctl's head */
    EDITS,
};

/* ---- The instance ---------------------------------------------------------------------------- */

#define OBJECTS (1 + POOLS * STORE_OBJECTS + 2)

static struct image image;
static char names[OBJECTS][SEGMENT_NAME_SIZE + 16]; /* "": there is no such object */
static struct geometry geometries[POOLS];
static struct client alice = {.caller = {.who.peer = {11, OWNER, OWNER}, .bell = -1},
                              .witness = -1};
static struct client bob = {.caller = {.who.peer = {12, OWNER, OWNER}, .bell = -1}, .witness = -1};
static struct client carol = {.caller = {.who.peer = {13, 2000, 2000}, .bell = -1}, .witness = -1};
static uint32_t ids[POOLS], members[POOLS][2]; /* hers and his */
static uint8_t held[POOLS][CAPACITY * HANDLE_WIRE_SIZE];

static void drop_answer(void *connection, uint32_t msgid, enum method method, const void *reply,
                        const struct error *error)
{
    (void)connection;
    (void)msgid;
    (void)method;
    (void)reply;
    (void)error;
}

static void drop_connection(void *connection)
{
    (void)connection;
}

static const struct broker_rim rim = {.answer = drop_answer, .let_go = drop_connection};

static void make_pools(void)
{
    struct pool_create_request request = {.name = "brokered",
                                          .object_size = 40,
                                          .capacity = CAPACITY,
                                          .capacity_max = UINT64_C(2) * CAPACITY,
                                          .growth = "linear:4",
                                          .mode = 0666,
                                          .zero = 2,
                                          .hold_limit = 1000,
                                          .template = {(const uint8_t *)"template", 8}};
    FUZZ_REQUIRE(instance_call(&alice, METHOD_POOL_CREATE, &request) == ANSWER_REPLY);
    ids[BROKERED] = answer.reply.pool_create.pool;
    request.kind = LAYOUT_LEASED;
    request.zero = 0;
    memcpy(request.name, "leased", sizeof("leased"));
    FUZZ_REQUIRE(instance_call(&alice, METHOD_POOL_CREATE, &request) == ANSWER_REPLY);
    ids[LEASED] = answer.reply.pool_create.pool;
}

static void open_pools(struct client *client, unsigned which)
{
    static const char *const pool_names[POOLS] = {"brokered", "leased"};
    for (unsigned i = 0; i < POOLS; i++) {
        struct pool_open_request request = {.write = true, .map = true};
        memcpy(request.name, pool_names[i], strlen(pool_names[i]) + 1);
        FUZZ_REQUIRE(instance_call(client, METHOD_POOL_OPEN, &request) == ANSWER_REPLY);
        members[i][which] = answer.reply.pool_open.member;
    }
}

/* Keeps the handles behind those that are there. */
static void allocate(struct client *client, unsigned pool, unsigned first, uint32_t count,
                     bool evictable)
{
    FUZZ_REQUIRE(CALL(client, ALLOCATE, allocate, .pool = ids[pool], .request = ++client->request,
                      .count = count, .evictable = evictable) == ANSWER_REPLY);
    const struct bytes *handles = &answer.reply.allocate.handles;
    memcpy(held[pool] + (size_t)first * HANDLE_WIRE_SIZE, handles->data, handles->size);
}

#define HANDLES(of, first, count)                                                                  \
    .pool = ids[of],                                                                               \
    .handles = {held[of] + (size_t)(first)*HANDLE_WIRE_SIZE, (size_t)(count)*HANDLE_WIRE_SIZE}

/* Some of each: LIVE, SHARED, detached, evictable; in the leased one CACHED and RETURNED too. */
static void use_brokered(void)
{
    allocate(&alice, BROKERED, 0, 3, false);
    allocate(&alice, BROKERED, 3, 1, true);
    allocate(&bob, BROKERED, 4, 1, false);
    FUZZ_REQUIRE(CALL(&bob, RETAIN, retain, HANDLES(BROKERED, 0, 2), .change = ++bob.change) ==
                 ANSWER_REPLY);
    FUZZ_REQUIRE(CALL(&bob, RETAIN, retain, HANDLES(BROKERED, 1, 1)) == ANSWER_REPLY);
    FUZZ_REQUIRE(CALL(&alice, DETACH, detach, HANDLES(BROKERED, 2, 1), .change = ++alice.change) ==
                 ANSWER_REPLY);
}

static void use_leased(void)
{
    struct pool *pool = broker_find_pool(&broker, "leased");
    allocate(&alice, LEASED, 0, 1, false);
    FUZZ_REQUIRE(CALL(&bob, RETAIN, retain, HANDLES(LEASED, 0, 1)) == ANSWER_REPLY);
    FUZZ_REQUIRE(CALL(&alice, LEASE, lease, .pool = ids[LEASED], .count = 3) == ANSWER_REPLY);
    FUZZ_REQUIRE(CALL(&bob, LEASE, lease, .pool = ids[LEASED], .count = 2,
                      .thread = LEASE_THREAD_NEW) == ANSWER_REPLY);
    uint32_t thread = answer.reply.lease.thread;
    for (uint32_t i = 0; i < CAPACITY; i++) {
        uint64_t live, word = word_load(&pool->words[i]);
        bool threads = slot_member(word) == thread;
        if (slot_state(word) != SLOT_CACHED || i % 3 == 2)
            continue;
        FUZZ_REQUIRE(lease_allocate(&pool->words[i], word & LEASE_STATE_MASK, &live));
        if (!threads && i % 3 == 1)
            word_replace(&pool->words[i], lease_freed(live, SLOT_RETURNED));
    }
}

static void name_objects(void)
{
    static const char *const pool_names[POOLS] = {"brokered", "leased"};
    snprintf(names[0], sizeof(names[0]), REGISTRY);
    for (unsigned i = 0; i < POOLS; i++) {
        const struct pool *pool = broker_find_pool(&broker, pool_names[i]);
        geometries[i] = pool->store.geometry;
        for (enum store_object object = 0; object < STORE_OBJECTS; object++) {
            char name[SEGMENT_NAME_SIZE];
            store_name(&pool->store, object, name);
            snprintf(names[1 + i * STORE_OBJECTS + object], sizeof(names[0]), "/dev/shm%s", name);
        }
    }
    const struct client *clients[] = {&alice, &bob};
    for (unsigned i = 0; i < 2; i++) {
        char name[SEGMENT_NAME_SIZE];
        registry_witness_name(clients[i]->caller.session->entry, name);
        snprintf(names[OBJECTS - 2 + i], sizeof(names[0]), "/dev/shm%s", name);
    }
}

static void make_instance(void)
{
    int fd = open(STRANGER, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    FUZZ_REQUIRE(fd >= 0 && write(fd, "stranger", 8) == 8);
    close(fd);
    image_restart_random();
    FUZZ_REQUIRE(instance_begin(&rim) == 0);
    FUZZ_REQUIRE(instance_greet(&alice, true) && instance_greet(&bob, true) &&
                 instance_greet(&carol, false));
    make_pools();
    open_pools(&alice, 0);
    open_pools(&bob, 1);
    use_brokered();
    use_leased();
    name_objects();
    broker_check(&broker);
    image_take(&image);
    instance_hang_up(&alice);
    instance_hang_up(&bob);
    instance_hang_up(&carol);
    broker_forget(&broker);
    instance_let_die(&alice);
    instance_let_die(&bob);
}

/* ---- Edits ----------------------------------------------------------------------------------- */

/* Nothing happens to an object that isn't there. */
static void poke(unsigned object, uint64_t offset, const void *bytes, size_t size)
{
    struct stat status;
    int fd = open(names[object], O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    FUZZ_REQUIRE(fstat(fd, &status) == 0);
    if (offset + size <= (uint64_t)status.st_size)
        FUZZ_REQUIRE(pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

static uint64_t peek(unsigned object, uint64_t offset)
{
    uint64_t value = 0;
    int fd = open(names[object], O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && pread(fd, &value, sizeof(value), (off_t)offset) < 0)
        value = 0;
    if (fd >= 0)
        close(fd);
    return value;
}

static uint64_t size_of(unsigned object)
{
    struct stat status;
    return stat(names[object], &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void fill(unsigned object, uint64_t offset, uint64_t value)
{
    uint64_t page[512];
    for (size_t i = 0; i < 512; i++)
        page[i] = value;
    poke(object, offset & ~UINT64_C(4095), page, sizeof(page));
}

static void edit_raw(enum edit edit, uint32_t where, uint64_t value)
{
    unsigned object = (where >> 24) % OBJECTS;
    uint64_t size = size_of(object), offset = size > 0 ? (where & 0xffffff) % size : 0;
    switch (edit) {
    case EDIT_BYTE:
        poke(object, offset, &value, 1);
        break;
    case EDIT_SHORT:
        poke(object, offset & ~UINT64_C(3), &value, 4);
        break;
    case EDIT_ADD:
        value += peek(object, offset & ~UINT64_C(7));
        poke(object, offset & ~UINT64_C(7), &value, 8);
        break;
    case EDIT_LONG:
        poke(object, offset & ~UINT64_C(7), &value, 8);
        break;
    case EDIT_CUT:
        offset = value % 2 ? size + (where & 0xffffff) % GROWN_MAX : offset;
        FUZZ_REQUIRE(truncate(names[object], (off_t)offset) == 0 || size == 0);
        break;
    case EDIT_FILL:
        fill(object, offset, value);
        break;
    default:
        unlink(names[object]);
        break;
    }
}

/* A number of a member that there is, or of none. */
static uint32_t some_member(unsigned pool, uint32_t which)
{
    const uint32_t some[] = {SLOT_MEMBER_NONE, members[pool][0],       members[pool][1],
                             SLOT_MEMBER_POOL, LAYOUT_THREAD_FIRST,    3,
                             POOL_MEMBER_MAX,  LAYOUT_THREAD_FIRST + 1};
    return some[which % 8];
}

/* Near those that there are, or the last ones. */
static uint64_t some_generation(uint32_t which)
{
    return which % 16 < 8 ? which % 8 : SLOT_GENERATION_LAST - which % 8;
}

static void edit_slot(enum edit edit, uint32_t where, uint64_t value)
{
    unsigned pool = (where >> 24) % POOLS, first = 1 + pool * STORE_OBJECTS;
    uint32_t index = where % (CAPACITY + 1), member = some_member(pool, where >> 8);
    uint64_t generation = some_generation(where >> 16);
    if (edit == EDIT_WORD) {
        value = slot_word(generation, member, (enum slot_state)(value % 8));
        poke(first + STORE_SLOTS, geometries[pool].words_offset + (size_t)index * 8, &value, 8);
    } else if (edit == EDIT_LEDGER) {
        value = layout_ledger_entry(value & 7, member) | (value & 8 ? LAYOUT_EVICTABLE : 0);
        poke(first + STORE_CTL, geometries[pool].ledger_offset + (size_t)index * 8, &value, 8);
    } else if (edit == EDIT_HOLDER) {
        uint64_t entry = layout_holder_entry(generation, (uint32_t)value % (CAPACITY + 1), member);
        poke(first + STORE_HOLDERS, index * UINT64_C(8), &entry, 8);
    } else {
        uint64_t place = geometries[pool].members_offset + member * UINT64_C(8);
        value = value % 5 | (value & 8 ? LAYOUT_MEMBER_WRITES : 0);
        poke(first + STORE_CTL, place, &value, 8);
    }
}

static void edit_intent(unsigned pool, uint32_t where, uint64_t value)
{
    const struct layout_intent intent = {
        .kind = (uint32_t)value % 4,
        .index = where % (CAPACITY + 1),
        .from = some_member(pool, where >> 8),
        .to = some_member(pool, where >> 16),
        .generation = some_generation((uint32_t)value >> 2),
        .entry = layout_ledger_entry(value >> 8 & 7, some_member(pool, (uint32_t)value >> 16)),
    };
    poke(1 + pool * STORE_OBJECTS, offsetof(struct layout_ctl, intent), &intent, sizeof(intent));
}

static void edit_record(uint32_t where, uint64_t value)
{
    unsigned pool = (where >> 24) % POOLS;
    const struct registry_change change = {
        .kind = (uint32_t)value % 20,
        .pool = ids[pool],
        .session = 1 + (value >> 8) % 4,
        .number = (uint32_t)(value >> 16) % 8,
        .member = some_member(pool, where),
        .count = (where >> 8) % (CAPACITY + 1),
        .progress = (value >> 24 & 15) << 32 | ((value & 0x80) ? UINT32_MAX : value >> 32 & 7),
    };
    poke(0, offsetof(struct registry_file, change), &change,
         offsetof(struct registry_change, handles));
    poke(0, offsetof(struct registry_file, change.handles), held[pool], sizeof(held[pool]));
}

/* Where entries are that are used, and the head. */
static void edit_registry(uint32_t where, uint64_t value)
{
    static const struct {
        size_t offset;
        size_t size;
    } parts[] = {
        {0, offsetof(struct registry_file, pools)},
        {offsetof(struct registry_file, pools), 3 * sizeof(struct registry_pool)},
        {offsetof(struct registry_file, sessions), 4 * sizeof(struct registry_session)},
        {offsetof(struct registry_file, change), 256},
    };
    unsigned part = (where >> 24) % 4;
    poke(0, parts[part].offset + (where & 0xffffff) % (parts[part].size / 4) * 4, &value, 4);
}

static void edit(struct fuzz_input *input)
{
    enum edit what = (enum edit)fuzz_choose(input, EDITS);
    uint32_t where = (uint32_t)fuzz_take(input, 4);
    uint64_t value = fuzz_take(input, 8);
    unsigned pool = (where >> 24) % POOLS;
    switch (what) {
    case EDIT_WORD:
    case EDIT_LEDGER:
    case EDIT_HOLDER:
    case EDIT_MEMBER:
        edit_slot(what, where, value);
        break;
    case EDIT_INTENT:
        edit_intent(pool, where, value);
        break;
    case EDIT_RECORD:
        edit_record(where, value);
        break;
    case EDIT_REGISTRY:
        edit_registry(where, value);
        break;
    case EDIT_HEAD:
        poke(1 + pool * STORE_OBJECTS, where % (offsetof(struct layout_ctl, pad5) / 4) * 4, &value,
             4);
        break;
    default:
        edit_raw(what, where, value);
        break;
    }
}

/* ---- What the daemon was killed in the middle of --------------------------------------------- */

static void put_state(unsigned pool, uint32_t state)
{
    poke(0, offsetof(struct registry_file, pools[pool].state), &state, sizeof(state));
}

static void find(unsigned found)
{
    if (found & FOUND_MOVE)
        edit_intent(BROKERED, 2 | 1 << 8 | 2 << 16, LAYOUT_INTENT_MOVE | 1 << 2 | 2 << 16);
    if (found & FOUND_SHARE)
        edit_intent(LEASED, 0 | 1 << 8 | 2 << 16, LAYOUT_INTENT_SHARE | 1 << 2 | 3 << 16);
    if (found & FOUND_CHANGE)
        edit_record(1 | 3 << 8, (JOURNAL_OPERATE + POOL_FREE) | UINT64_C(1) << 24);
    if (found & FOUND_ENDING)
        put_state(LEASED, REGISTRY_ENDING);
    if (found & FOUND_MAKING)
        put_state(LEASED, REGISTRY_MAKING);
    if (found & FOUND_NO_WITNESS)
        unlink(names[OBJECTS - 1]);
    if (!(found & FOUND_ALICE_DEAD))
        alice.witness = open(names[OBJECTS - 2], O_RDONLY | O_CLOEXEC);
    if (!(found & FOUND_BOB_DEAD))
        bob.witness = open(names[OBJECTS - 1], O_RDONLY | O_CLOEXEC);
}

/* ---- What is to hold ------------------------------------------------------------------------- */

static void hear(void *context, enum audit_kind kind, const char *text)
{
    (void)context;
    (void)kind;
    FUZZ_REQUIRE(text[0] != '\0');
}

static void audit_remains(void)
{
    struct audit audit = {.report = hear};
    int status = audit_instance(&audit, REGISTRY);
    FUZZ_REQUIRE(status <= 0);
}

/*
 * The laws hold. The audit may find more: what is put out of use isn't as a daemon would have left it.
 */
static void check(void)
{
    struct audit audit = {.live = true, .report = hear};
    broker_check(&broker);
    audit_broker(&audit, &broker);
}

/* False if there is no instance any more. */
static bool recover(bool *recovered)
{
    struct recovery found;
    struct error error = {.code = ERROR_NONE};
    moment++;
    if (instance_begin(&rim) < 0)
        return false;
    *recovered = recovery_run(&broker, true, &found, &error);
    FUZZ_REQUIRE(*recovered || error.message[0] != '\0');
    if (*recovered)
        check();
    return true;
}

static void serve_pool(const char *name)
{
    struct pool_open_request request = {.write = true};
    memcpy(request.name, name, strlen(name) + 1);
    if (instance_call(&carol, METHOD_POOL_OPEN, &request) != ANSWER_REPLY)
        return;
    uint32_t pool = answer.reply.pool_open.pool;
    if (CALL(&carol, ALLOCATE, allocate, .pool = pool, .request = ++carol.request, .count = 1) ==
        ANSWER_REPLY) {
        uint8_t handle[HANDLE_WIRE_SIZE];
        memcpy(handle, answer.reply.allocate.handles.data, sizeof(handle));
        FUZZ_REQUIRE(CALL(&carol, FREE, free, .pool = pool, .handles = {handle, sizeof(handle)}) ==
                     ANSWER_REPLY);
    }
}

/* Somebody new, in what was taken over. */
static void serve(void)
{
    if (!instance_greet(&carol, false))
        return;
    serve_pool("brokered");
    serve_pool("leased");
    instance_hang_up(&carol);
    broker_check(&broker);
}

static void check_stranger(void)
{
    char bytes[16];
    int fd = open(STRANGER, O_RDONLY | O_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0 && read(fd, bytes, sizeof(bytes)) == 8);
    FUZZ_REQUIRE(memcmp(bytes, "stranger", 8) == 0);
    close(fd);
}

/* What can't be taken over can be removed. */
static void purge(void)
{
    struct recovery found;
    if (instance_begin(&rim) < 0)
        return;
    recovery_purge(&broker, &found);
    broker_forget(&broker);
}

/* ---- All of it ------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    bool recovered, again;
    image_begin(SHM_SIZE);
    image_watch_faults();
    moment = 1000;
    if (image.count == 0)
        make_instance();
    image_put(&image);
    image_restart_random();

    find((unsigned)fuzz_take(&input, 1));
    for (unsigned i = 0; i < EDITS_MAX && input.size > 0; i++)
        edit(&input);

    audit_remains();
    if (recover(&recovered)) {
        if (recovered)
            serve();
        broker_forget(&broker);
        if (recovered) {
            FUZZ_REQUIRE(recover(&again) && again);
            broker_forget(&broker);
        } else {
            purge();
        }
    }
    check_stranger();
    instance_let_die(&alice);
    instance_let_die(&bob);
    return 0;
}
