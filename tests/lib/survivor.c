/* SPDX-License-Identifier: MIT */
#include "tests/lib/survivor.h"

#include <check.h>
#include <endian.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shm/handle.h"
#include "shm/lease.h"
#include "tests/lib/kind.h"

#define WITNESS_SIZE 4096
#define OBJECTS 64u
#define POOL_ITSELF SURVIVORS /* which holds what was detached */

/* What they hold, all together. */
struct object {
    fastalloc_handle_t handle;
    uint32_t holds[SURVIVORS + 1];
};

struct survivor survivors[SURVIVORS];
static struct object objects[OBJECTS];
static unsigned object_count, survivor_count;
static uint64_t answers;
static const char *path;

/* ---- Objects --------------------------------------------------------------------------------- */

static uint32_t count_holds(const struct object *object)
{
    uint32_t count = 0;
    for (unsigned i = 0; i <= SURVIVORS; i++)
        count += object->holds[i];
    return count;
}

static struct object *find_object(uint32_t pool, uint32_t index)
{
    for (unsigned i = 0; i < object_count; i++)
        if (objects[i].handle.pool == pool && objects[i].handle.index == index)
            return &objects[i];
    return NULL;
}

/* NULL: its slot has been granted anew already, whose answer came before. */
static struct object *object_of(const uint8_t *wire)
{
    fastalloc_handle_t handle = handle_from_wire(wire);
    struct object *object = find_object(handle.pool, handle.index);
    return object && fastalloc_handle_equal(object->handle, handle) ? object : NULL;
}

static bool ends(const struct asked *asked, const struct object *object)
{
    if (!asked->waits || (asked->method != METHOD_FREE && asked->method != METHOD_RELEASE))
        return false;
    for (size_t i = 0; i < asked->request.handles.handles.size; i += HANDLE_WIRE_SIZE)
        if (object_of(asked->wire + i) == object)
            return true;
    return false;
}

/* Whether somebody has asked for that, and has no answer yet. */
static bool may_have_ended(const struct object *object)
{
    for (unsigned i = 0; i < survivor_count; i++)
        for (unsigned k = 0; k < SURVIVOR_ASKED; k++)
            if (ends(&survivors[i].asked[k], object))
                return true;
    return false;
}

/* That are held no more. */
static void forget_objects(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < object_count; i++)
        if (count_holds(&objects[i]) > 0)
            objects[kept++] = objects[i];
    object_count = kept;
}

/* Each object is full of what tells it from all others. */
static uint64_t mark_of(fastalloc_handle_t handle)
{
    return handle.tag ^ (uint64_t)handle.pool << 32 ^ handle.index;
}

static uint64_t *bytes_of(const struct opened *opened, fastalloc_handle_t handle)
{
    return (uint64_t *)(void *)(opened->data + opened->geometry.stride * handle.index);
}

static void check_zero(const struct opened *opened, fastalloc_handle_t handle, size_t from)
{
    const uint8_t *bytes = (const uint8_t *)bytes_of(opened, handle);
    for (size_t i = from; i < opened->geometry.object_size; i++)
        ck_assert_msg(bytes[i] == 0, "slot %u has byte %zu of an object that is gone", handle.index,
                      i);
}

static void add_object(const struct survivor *survivor, const struct opened *opened,
                       fastalloc_handle_t handle)
{
    struct object *before = find_object(handle.pool, handle.index);
    if (before) {
        ck_assert_msg(may_have_ended(before), "slot %u has an object already", handle.index);
        ck_assert_uint_gt(handle.tag, before->handle.tag);
        memset(before->holds, 0, sizeof(before->holds));
        forget_objects();
    }
    ck_assert_uint_lt(object_count, OBJECTS);
    objects[object_count] = (struct object){.handle = handle};
    objects[object_count++].holds[survivor->number] = 1;
    for (size_t i = 0; i < opened->geometry.object_size / sizeof(uint64_t); i++)
        bytes_of(opened, handle)[i] = mark_of(handle);
}

static void drop_holds(unsigned number, uint32_t pool)
{
    for (unsigned i = 0; i < object_count; i++)
        if (pool == 0 || objects[i].handle.pool == pool)
            objects[i].holds[number] = 0;
    forget_objects();
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static struct opened *find_pool(struct survivor *survivor, const char *name)
{
    for (unsigned i = 0; i < SURVIVOR_POOLS; i++)
        if (survivor->pools[i].pool != 0 && strcmp(survivor->pools[i].name, name) == 0)
            return &survivor->pools[i];
    return NULL;
}

struct opened *survivor_pool(struct survivor *survivor, const char *name)
{
    struct opened *opened = find_pool(survivor, name);
    ck_assert_msg(opened, "%s isn't open", name);
    return opened;
}

static struct opened *find_number(struct survivor *survivor, uint32_t pool)
{
    for (unsigned i = 0; i < SURVIVOR_POOLS; i++)
        if (survivor->pools[i].pool == pool)
            return &survivor->pools[i];
    return NULL;
}

static uint64_t *word_of(const struct opened *opened, uint32_t index)
{
    return (uint64_t *)(void *)(opened->slots + opened->geometry.words_offset) + index;
}

static void unmap_pool(struct opened *opened)
{
    const struct geometry *geometry = &opened->geometry;
    munmap(opened->data, geometry_data_size(geometry, geometry->reserve));
    munmap(opened->slots, geometry_slots_size(geometry, geometry->reserve));
    munmap(opened->ctl, geometry_ctl_size(geometry, geometry->reserve));
    *opened = (struct opened){0};
}

static void *map(int fd, size_t size, bool write)
{
    void *address = mmap(NULL, size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(address, MAP_FAILED);
    return address;
}

static void close_descriptors(struct bare *bare)
{
    while (bare->fd_count > 0)
        close(bare->fds[--bare->fd_count]);
}

/* The last of the descriptors; the one before means nothing any more. */
static void take_bell(struct survivor *survivor)
{
    if (survivor->bell >= 0)
        close(survivor->bell);
    survivor->bell = survivor->bare.fds[--survivor->bare.fd_count];
}

static void map_pool(struct survivor *survivor, const struct pool_open_request *request,
                     const struct pool_open_reply *reply)
{
    struct opened *opened = find_number(survivor, 0);
    struct geometry *geometry = &opened->geometry;
    const int *fds = survivor->bare.fds;
    ck_assert_ptr_nonnull(opened);
    ck_assert_uint_eq(survivor->bare.fd_count, reply->descriptors);
    *opened = (struct opened){.pool = reply->pool, .nonce = reply->nonce, .member = reply->member};
    memcpy(opened->name, request->name, sizeof(opened->name));

    const struct layout_ctl *head = map(fds[0], sizeof(*head), false);
    ck_assert_int_eq(geometry_init(geometry, (enum layout_kind)head->kind, head->object_size,
                                   head->alignment, head->reserve),
                     GEOMETRY_OK);
    munmap((void *)(uintptr_t)head, sizeof(*head)); // NOLINT(performance-no-int-to-ptr): const
    opened->ctl = map(fds[0], geometry_ctl_size(geometry, geometry->reserve), false);
    opened->slots =
        map(fds[1], geometry_slots_size(geometry, geometry->reserve), reply->descriptors == 4);
    opened->data = map(fds[2], geometry_data_size(geometry, geometry->reserve), true);
    if (reply->descriptors == 4)
        take_bell(survivor);
    close_descriptors(&survivor->bare);
}

static void leave_pool(struct survivor *survivor, struct opened *opened)
{
    drop_holds(survivor->number, opened->pool);
    unmap_pool(opened);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void learn_session(struct survivor *survivor, const struct hello_reply *reply)
{
    ck_assert_uint_eq(survivor->bare.fd_count, 1);
    survivor->witness = map(survivor->bare.fds[0], WITNESS_SIZE, false);
    close_descriptors(&survivor->bare);
    survivor->session = reply->session;
    memcpy(survivor->token, reply->token.data, PROTOCOL_TOKEN_SIZE);
    survivor->greeted = true;
}

static void learn_handles(struct survivor *survivor, uint32_t pool, const struct bytes *handles)
{
    const struct opened *opened = find_number(survivor, pool);
    for (size_t i = 0; i < handles->size; i += HANDLE_WIRE_SIZE) {
        fastalloc_handle_t handle = handle_from_wire(handles->data + i);
        if (opened->ctl->flags & LAYOUT_ZERO_ALLOCATE)
            check_zero(opened, handle, opened->ctl->policy.template_size);
        add_object(survivor, opened, handle);
    }
}

static void learn_destroyed(const char *name)
{
    for (unsigned i = 0; i < survivor_count; i++) {
        struct opened *opened = find_pool(&survivors[i], name);
        if (!opened)
            continue;
        drop_holds(POOL_ITSELF, opened->pool);
        leave_pool(&survivors[i], opened);
    }
}

static unsigned only_holder(const struct object *object)
{
    unsigned number = 0;
    while (object->holds[number] == 0)
        number++;
    return number;
}

static void move_hold(struct object *object, unsigned from, unsigned to)
{
    ck_assert_uint_gt(object->holds[from], 0);
    object->holds[from]--;
    object->holds[to]++;
}

static void learn_change(const struct survivor *survivor, enum method method, struct object *object)
{
    uint32_t *holds = object->holds;
    bool single = count_holds(object) == 1, detached = holds[POOL_ITSELF] > 0;
    switch (method) {
    case METHOD_FREE:
        memset(holds, 0, sizeof(object->holds));
        break;
    case METHOD_RELEASE:
        holds[survivor->number]--;
        break;
    case METHOD_RETAIN:
        holds[survivor->number]++;
        break;
    case METHOD_ADOPT:
        move_hold(object, detached ? POOL_ITSELF : only_holder(object), survivor->number);
        break;
    default:
        move_hold(object, single ? only_holder(object) : survivor->number, POOL_ITSELF);
    }
}

static void learn_changes(const struct survivor *survivor, const struct asked *asked)
{
    const struct bytes *handles = &asked->request.handles.handles;
    for (size_t i = 0; i < handles->size; i += HANDLE_WIRE_SIZE) {
        struct object *object = object_of(asked->wire + i);
        if (object)
            learn_change(survivor, asked->method, object);
    }
    forget_objects();
}

static void learn(struct survivor *survivor, const struct asked *asked, const void *reply)
{
    const union request *request = &asked->request;
    switch (asked->method) {
    case METHOD_HELLO:
        learn_session(survivor, reply);
        break;
    case METHOD_RESUME:
        if (survivor->bare.fd_count == 1)
            take_bell(survivor);
        break;
    case METHOD_POOL_OPEN:
        map_pool(survivor, &request->open, reply);
        break;
    case METHOD_POOL_CLOSE:
        leave_pool(survivor, find_number(survivor, request->close.pool));
        break;
    case METHOD_POOL_DESTROY:
        learn_destroyed(request->destroy.name);
        break;
    case METHOD_ALLOCATE:
        learn_handles(survivor, request->allocate.pool,
                      &((const struct allocate_reply *)reply)->handles);
        break;
    case METHOD_FREE:
    case METHOD_RELEASE:
    case METHOD_RETAIN:
    case METHOD_ADOPT:
    case METHOD_DETACH:
        learn_changes(survivor, asked);
        break;
    default:
        break;
    }
}

/* Nothing that they ask for is refused, but for what is to be asked of the next daemon. */
static bool is_accepted(const struct asked *asked, const struct envelope *envelope)
{
    struct error error = {.code = ERROR_NONE};
    if (envelope->error->type == MSGPACK_OBJECT_NIL)
        return true;
    envelope_decode_error(envelope->error, &error);
    ck_assert_msg(error.code == ERROR_SHUTTING_DOWN, "%s was refused: %s",
                  method_table[asked->method].name, error.message);
    return false;
}

static void take_answer(struct survivor *survivor, const struct envelope *envelope)
{
    static union {
        struct hello_reply hello;
        struct pool_open_reply open;
        struct allocate_reply allocate;
        uint8_t room[1024];
    } reply;
    struct error error;
    struct asked *asked = survivor->asked;
    while (asked < survivor->asked + SURVIVOR_ASKED &&
           (!asked->waits || asked->msgid != envelope->msgid))
        asked++;
    ck_assert(asked < survivor->asked + SURVIVOR_ASKED);
    answers++;
    if (!is_accepted(asked, envelope))
        return;
    const struct message_type *type = method_table[asked->method].reply;
    ck_assert_uint_le(type->size, sizeof(reply));
    ck_assert(message_decode(type, envelope->result, false, &reply, &error));
    asked->waits = false;
    learn(survivor, asked, &reply);
}

static bool waits(const struct survivor *survivor)
{
    if (survivor->bare.fd < 0)
        return false;
    for (unsigned i = 0; i < SURVIVOR_ASKED; i++)
        if (survivor->asked[i].waits)
            return true;
    return false;
}

bool survivors_wait(void)
{
    for (unsigned i = 0; i < survivor_count; i++)
        if (waits(&survivors[i]))
            return true;
    return false;
}

void survivors_take(bool wait)
{
    for (unsigned i = 0; i < survivor_count; i++) {
        struct survivor *survivor = &survivors[i];
        struct envelope envelope;
        while (waits(survivor) && bare_next(&survivor->bare, wait, &envelope))
            take_answer(survivor, &envelope);
        ck_assert_msg(!wait || !waits(survivor), "survivor %u has no answer", i);
    }
}

uint64_t survivors_heard(void)
{
    uint64_t heard = answers << 32;
    for (unsigned i = 0; i < survivor_count; i++) {
        int unread = 0;
        if (survivors[i].bare.fd >= 0)
            ck_assert_int_eq(ioctl(survivors[i].bare.fd, FIONREAD, &unread), 0);
        heard += (uint64_t)unread;
    }
    return heard;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void send_again(struct survivor *survivor, struct asked *asked)
{
    bare_send(&survivor->bare, asked->method, &asked->request);
    asked->msgid = survivor->bare.msgid;
}

static struct asked *new_asked(struct survivor *survivor, enum method method,
                               const union request *request)
{
    struct asked *asked = survivor->asked;
    while (asked->waits)
        asked++;
    ck_assert(asked < survivor->asked + SURVIVOR_ASKED);
    *asked = (struct asked){.waits = true, .method = method, .request = *request};
    return asked;
}

void survivor_ask(struct survivor *survivor, enum method method, const union request *request)
{
    send_again(survivor, new_asked(survivor, method, request));
}

void survivor_create(struct survivor *survivor, const struct pool_create_request *create)
{
    union request request = {.create = *create};
    request.create.kind = test_kind();
    request.create.change = ++survivor->changes;
    survivor_ask(survivor, METHOD_POOL_CREATE, &request);
}

void survivor_open(struct survivor *survivor, const char *name)
{
    union request request = {.open = {.write = true, .map = true}};
    strncpy(request.open.name, name, PROTOCOL_NAME_MAX);
    survivor_ask(survivor, METHOD_POOL_OPEN, &request);
}

void survivor_close(struct survivor *survivor, const char *name)
{
    struct opened *opened = survivor_pool(survivor, name);
    opened->leaves = true;
    survivor_ask(survivor, METHOD_POOL_CLOSE, &(union request){.close = {.pool = opened->pool}});
}

void survivor_allocate(struct survivor *survivor, const char *name, uint32_t count, int64_t timeout)
{
    union request request = {.allocate = {.pool = survivor_pool(survivor, name)->pool,
                                          .request = ++survivor->requests,
                                          .count = count,
                                          .timeout = timeout}};
    survivor_ask(survivor, METHOD_ALLOCATE, &request);
}

static void change(struct survivor *survivor, enum method method, uint32_t pool,
                   const uint8_t *wire, uint32_t count)
{
    union request request = {.handles = {.pool = pool, .change = ++survivor->changes}};
    struct asked *asked = new_asked(survivor, method, &request);
    ck_assert_uint_le(count, SURVIVOR_BATCH);
    memcpy(asked->wire, wire, (size_t)count * HANDLE_WIRE_SIZE);
    asked->request.handles.handles = (struct bytes){asked->wire, (size_t)count * HANDLE_WIRE_SIZE};
    send_again(survivor, asked);
}

void survivor_change(struct survivor *survivor, enum method method, const char *name,
                     unsigned first, uint32_t count)
{
    uint32_t pool = survivor_pool(survivor, name)->pool, found = 0;
    uint8_t wire[SURVIVOR_BATCH * HANDLE_WIRE_SIZE];
    for (unsigned i = 0, place = 0; i < object_count && found < count; i++)
        if (objects[i].handle.pool == pool && place++ >= first)
            handle_to_wire(objects[i].handle, wire + (size_t)found++ * HANDLE_WIRE_SIZE);
    ck_assert_uint_eq(found, count);
    change(survivor, method, pool, wire, count);
}

/* ---- By itself, in a leased pool ------------------------------------------------------------- */

void survivor_make(struct survivor *survivor, const char *name, uint32_t count)
{
    const struct opened *opened = survivor_pool(survivor, name);
    uint64_t cached = lease_state(opened->member, SLOT_CACHED), live;
    uint32_t capacity = opened->ctl->capacity;
    for (uint32_t index = 0; count > 0 && index < capacity; index++)
        if (lease_allocate(word_of(opened, index), cached, &live)) {
            add_object(
                survivor, opened,
                handle_make(opened->pool, index, (uint16_t)opened->nonce, slot_generation(live)));
            count--;
        }
}

void survivor_drop(struct survivor *survivor, const char *name, unsigned place)
{
    const struct opened *opened = survivor_pool(survivor, name);
    unsigned i = 0;
    while (objects[i].handle.pool != opened->pool || place-- > 0)
        ck_assert_uint_lt(++i, object_count);
    uint32_t index = objects[i].handle.index;
    uint64_t live = slot_word(handle_generation(objects[i].handle), opened->member, SLOT_LIVE);
    ck_assert(word_exchange(word_of(opened, index), live, lease_freed(live, SLOT_RETURNED)));
    lease_hint((uint64_t *)(void *)opened->slots, index);
    if (lease_somebody_waits(epoch_load(&opened->ctl->waiters)))
        ck_assert_int_eq(write(survivor->bell, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
    memset(objects[i].holds, 0, sizeof(objects[i].holds));
    forget_objects();
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void ask_for_session(struct survivor *survivor)
{
    union request request = {.hello = {.version = PROTOCOL_VERSION, .witness = true}};
    strcpy(request.hello.name, "survivor");
    bare_connect(&survivor->bare, path);
    survivor_ask(survivor, METHOD_HELLO, &request);
}

void survivors_add(void)
{
    struct survivor *survivor = &survivors[survivor_count];
    ck_assert_uint_lt(survivor_count, SURVIVORS);
    *survivor = (struct survivor){.number = survivor_count, .bell = -1};
    survivor_count++;
    ask_for_session(survivor);
}

void survivors_begin(const char *socket, unsigned count)
{
    path = socket;
    survivor_count = object_count = 0;
    while (survivor_count < count)
        survivors_add();
    survivors_take(true);
}

static void disconnect(struct survivor *survivor)
{
    if (survivor->bare.fd >= 0)
        bare_close(&survivor->bare);
    survivor->bare.fd = -1;
}

void survivors_lose(void)
{
    survivors_take(false);
    for (unsigned i = 0; i < survivor_count; i++)
        disconnect(&survivors[i]);
}

static struct bytes list_pools(struct survivor *survivor, uint8_t wire[])
{
    size_t size = 0;
    for (unsigned i = 0; i < SURVIVOR_POOLS; i++) {
        struct opened *opened = &survivor->pools[i];
        uint32_t number = htole32(opened->pool);
        if (opened->leaves)
            leave_pool(survivor, opened);
        if (opened->pool == 0)
            continue;
        memcpy(wire + size, &number, sizeof(number));
        size += sizeof(number);
    }
    return (struct bytes){wire, size};
}

static void ask_to_resume(struct survivor *survivor)
{
    union request request = {.resume = {.version = PROTOCOL_VERSION,
                                        .session = survivor->session,
                                        .token = {survivor->token, PROTOCOL_TOKEN_SIZE}}};
    struct asked *asked = new_asked(survivor, METHOD_RESUME, &request);
    asked->request.resume.pools = list_pools(survivor, asked->wire);
}

/* Of the allocates that have no answer; they get new numbers. */
static void ask_to_settle(struct survivor *survivor)
{
    uint64_t numbers[SURVIVOR_ASKED];
    size_t count = 0;
    for (unsigned i = 0; i < SURVIVOR_ASKED; i++)
        if (survivor->asked[i].waits && survivor->asked[i].method == METHOD_ALLOCATE) {
            numbers[count++] = htole64(survivor->asked[i].request.allocate.request);
            survivor->asked[i].request.allocate.request = ++survivor->requests;
        }
    if (count == 0)
        return;
    struct asked *asked = new_asked(survivor, METHOD_SETTLE, &(union request){.settle = {{0}}});
    memcpy(asked->wire, numbers, count * sizeof(numbers[0]));
    asked->request.settle.requests = (struct bytes){asked->wire, count * sizeof(numbers[0])};
}

/* What needs no repeating: a session is resumed anew each time, and who resumes has left the pool. */
static void forget_needless(struct survivor *survivor)
{
    for (unsigned i = 0; i < SURVIVOR_ASKED; i++) {
        struct asked *asked = &survivor->asked[i];
        asked->waits &= asked->method != METHOD_RESUME && asked->method != METHOD_POOL_CLOSE;
    }
}

static unsigned rank_of(enum method method)
{
    return method == METHOD_RESUME ? 0 : method == METHOD_SETTLE ? 1 : 2;
}

/* These two first; the rest in the order in which it was asked. */
static void ask_again(struct survivor *survivor)
{
    for (unsigned rank = 0; rank <= 2; rank++)
        for (unsigned i = 0; i < SURVIVOR_ASKED; i++) {
            struct asked *asked = &survivor->asked[i];
            if (asked->waits && rank_of(asked->method) == rank)
                send_again(survivor, asked);
        }
}

void survivors_resume(void)
{
    for (unsigned i = 0; i < survivor_count; i++) {
        struct survivor *survivor = &survivors[i];
        forget_needless(survivor);
        if (survivor->greeted) {
            ask_to_resume(survivor);
            ask_to_settle(survivor);
        }
        bare_connect(&survivor->bare, path);
        ask_again(survivor);
    }
}

/* ---- What there is --------------------------------------------------------------------------- */

static uint32_t member_of(unsigned number, uint32_t pool)
{
    return number == POOL_ITSELF ? SLOT_MEMBER_POOL : find_number(&survivors[number], pool)->member;
}

static void compare_slot(const struct opened *opened, uint32_t index)
{
    uint64_t word = word_load(word_of(opened, index));
    const struct object *object = find_object(opened->pool, index);
    ck_assert_msg(slot_is_allocated(word) == (object != NULL), "slot %u is %#lx, and %s known",
                  index, word, object ? "is" : "isn't");
    if (!object && opened->ctl->flags & LAYOUT_ZERO_FREE)
        check_zero(opened, handle_make(opened->pool, index, 0, 0), 0);
    if (!object)
        return;
    ck_assert_uint_eq(slot_generation(word), handle_generation(object->handle));
    if (slot_state(word) == SLOT_LIVE) {
        ck_assert_uint_eq(count_holds(object), 1);
        ck_assert_uint_eq(slot_member(word), member_of(only_holder(object), opened->pool));
    }
    for (size_t i = 0; i < opened->geometry.object_size / sizeof(uint64_t); i++)
        ck_assert_uint_eq(bytes_of(opened, object->handle)[i], mark_of(object->handle));
}

static void compare_pool(const struct opened *opened)
{
    uint32_t capacity = opened->ctl->capacity;
    for (uint32_t index = 0; index < capacity; index++)
        compare_slot(opened, index);
}

void survivors_compare(void)
{
    for (unsigned i = 0; i < survivor_count; i++)
        for (unsigned k = 0; k < SURVIVOR_POOLS; k++)
            if (survivors[i].pools[k].pool != 0)
                compare_pool(&survivors[i].pools[k]);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

/* All that a process has at its end. */
static void let_go(struct survivor *survivor)
{
    for (unsigned i = 0; i < SURVIVOR_POOLS; i++)
        if (survivor->pools[i].pool != 0)
            unmap_pool(&survivor->pools[i]);
    if (survivor->greeted)
        munmap(survivor->witness, WITNESS_SIZE);
    if (survivor->bell >= 0)
        close(survivor->bell);
    disconnect(survivor);
    survivor->bell = -1;
    survivor->greeted = false;
}

pid_t survivor_move(struct survivor *survivor)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    let_go(survivor);
    return pid;
}

void survivor_bury(struct survivor *survivor)
{
    drop_holds(survivor->number, 0);
    survivor_count = survivor->number;
}

void survivors_die(void)
{
    while (survivor_count > 0)
        let_go(&survivors[--survivor_count]);
    object_count = 0;
}

static void give_up(const struct object *object)
{
    struct object known = *object;
    uint8_t wire[HANDLE_WIRE_SIZE];
    uint32_t pool = known.handle.pool;
    handle_to_wire(known.handle, wire);
    for (uint32_t i = 0; i < known.holds[POOL_ITSELF]; i++, known.holds[0]++)
        change(&survivors[0], METHOD_ADOPT, pool, wire, 1);
    for (unsigned number = 0; number < survivor_count; number++)
        for (uint32_t i = 0; i < known.holds[number]; i++) {
            change(&survivors[number], METHOD_RELEASE, pool, wire, 1);
            survivors_take(true);
        }
}

void survivors_end(void)
{
    while (object_count > 0)
        give_up(&objects[0]);
    survivors_compare();
    for (unsigned i = 0; i < survivor_count; i++) {
        struct survivor *survivor = &survivors[i];
        for (unsigned k = 0; k < SURVIVOR_POOLS; k++)
            if (survivor->pools[k].pool != 0)
                survivor_close(survivor, survivor->pools[k].name);
        survivors_take(true);
        let_go(survivor);
    }
}
