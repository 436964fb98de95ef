/* SPDX-License-Identifier: MIT */
/*
 * The library and a daemon that keeps to no protocol. connect() and send() of the library are
 * functions of these names here, by the linker: the first makes a pair of sockets, the second has the
 * request answered before it returns. The answer is what a good daemon would say, if no more is left
 * of the input; else fields of it are others, or its bytes, or its descriptors, or there is none.
 * Whatever it is, each call comes to an end, and disconnecting leaves nothing behind: no memory, no
 * descriptor, no mapping.
 *
 * There is one thread, and nobody else for whom it would wait: its clock stands, but for what it waits.
 *
 * An input is calls and answers, in the order in which they come.
 */
#include <dirent.h>
#include <errno.h>
#include <fastalloc/admin.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/deadline.h"
#include "client/inbox.h"
#include "client/reconnect.h"
#include "proto/envelope.h"
#include "proto/scan.h"
#include "shm/layout.h"
#include "tests/fuzz/fuzz.h"

#define LIMIT INT64_C(100000000) /* ns that the library waits for anything */
#define CALLS_MAX 16u
#define CONNECTIONS_MAX 8u
#define CAPACITY 8u
#define POOL 5u
#define NONCE 0x1234u
#define MEMBER 1u
#define HANDLES 4u
#define SENT_MAX 6u
#define ELEMENT_MAX 1024u

/* How a request is answered. */
enum reply_way {
    REPLY_GOOD, /* the most of them, or the library would get nowhere */
    REPLY_FIELDS = 4,
    REPLY_BYTES = 6, /* of a good one, changed */
    REPLY_ERROR,
    REPLY_RAW,
    REPLY_TWICE,
    REPLY_TO_ANOTHER,
    REPLY_FAREWELL,
    REPLY_CUT,
    REPLY_NONE,
    REPLY_CLOSE,
    REPLY_WAYS,
};

#define UNION_MEMBER(NAME, name, wire) struct name##_reply name;
union reply {
    PROTOCOL_METHODS(UNION_MEMBER)
};

static struct fuzz_input *input;
static struct {
    int fd; /* its end of the connection; -1 */
    unsigned connections;
    uint8_t bytes[2 * SCAN_MESSAGE_MAX]; /* of requests */
    size_t size;
    struct decoder decoder;
    int slots; /* of the pool that was opened last; -1 */
    struct geometry geometry;
    uint32_t next; /* slot to be granted */
} peer = {.fd = -1, .slots = -1};

/* ---- Answers --------------------------------------------------------------------------------- */

struct answer {
    union reply reply;
    int fds[SENT_MAX];
    unsigned fd_count;
};

static void add_fd(struct answer *answer, int fd)
{
    FUZZ_REQUIRE(fd >= 0 && answer->fd_count < SENT_MAX);
    answer->fds[answer->fd_count++] = fd;
}

static int memory(size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* Of another kind, or another size. */
static int wrong_descriptor(unsigned which)
{
    int pair[2];
    switch (which % 8) {
    case 0:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 1:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 2:
        return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    case 3:
        FUZZ_REQUIRE(pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0);
        close(pair[which / 8 % 2]);
        return pair[1 - which / 8 % 2];
    case 4:
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    case 5:
        return memory(0);
    case 6:
        return memory(4096);
    default:
        return memory(which * UINT64_C(1000));
    }
}

static void answer_hello(struct answer *answer)
{
    static const uint8_t token[PROTOCOL_TOKEN_SIZE];
    answer->reply.hello = (struct hello_reply){
        .version = PROTOCOL_VERSION,
        .release = "0",
        .session = 7,
        .token = {token, sizeof(token)},
        .message_max = SCAN_MESSAGE_MAX,
        .batch_max = PROTOCOL_BATCH_MAX,
        .descriptors = 1,
    };
    add_fd(answer, memory(4096));
}

/* The head of ctl is a good one, but for a field of it. */
static int make_ctl(const struct pool_open_request *request, enum layout_kind kind)
{
    const struct geometry *geometry = &peer.geometry;
    struct layout_ctl head = {
        .magic = LAYOUT_MAGIC,
        .version = LAYOUT_VERSION,
        .pool = POOL,
        .nonce = NONCE,
        .kind = kind,
        .object_size = geometry->object_size,
        .stride = geometry->stride,
        .alignment = geometry->alignment,
        .capacity_max = CAPACITY,
        .reserve = geometry->reserve,
        .capacity = CAPACITY,
    };
    memcpy(head.name, request->name, sizeof(head.name));
    unsigned field = fuzz_choose(input, 256);
    uint64_t value = field > 128 ? fuzz_take(input, 4) : 0;
    if (field > 128)
        memcpy((char *)&head + (size_t)4 * ((field - 129) % 66), &value, 4);
    int fd = memory(geometry_ctl_size(geometry, CAPACITY));
    FUZZ_REQUIRE(pwrite(fd, &head, sizeof(head), 0) == sizeof(head));
    return fd;
}

static int make_slots(void)
{
    uint64_t words[CAPACITY];
    int fd = memory(geometry_slots_size(&peer.geometry, CAPACITY));
    for (size_t i = 0; i < CAPACITY; i++)
        words[i] = slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE);
    FUZZ_REQUIRE(pwrite(fd, words, sizeof(words), (off_t)peer.geometry.words_offset) ==
                 sizeof(words));
    if (peer.slots >= 0)
        close(peer.slots);
    peer.slots = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    peer.next = 0;
    return fd;
}

static void answer_open(struct answer *answer, const struct pool_open_request *request)
{
    enum layout_kind kind = request->kind == LAYOUT_LEASED ? LAYOUT_LEASED : LAYOUT_BROKERED;
    bool bell = kind == LAYOUT_LEASED && request->write;
    FUZZ_REQUIRE(geometry_init(&peer.geometry, kind, 48, 16, 4 * CAPACITY) == GEOMETRY_OK);
    answer->reply.pool_open = (struct pool_open_reply){
        .pool = POOL,
        .nonce = NONCE,
        .member = MEMBER,
        .object_size = peer.geometry.object_size,
        .stride = peer.geometry.stride,
        .alignment = peer.geometry.alignment,
        .capacity = CAPACITY,
        .kind = kind,
        .descriptors = 3 + bell,
    };
    add_fd(answer, make_ctl(request, kind));
    add_fd(answer, make_slots());
    add_fd(answer, memory(geometry_data_size(&peer.geometry, CAPACITY)));
    if (bell)
        add_fd(answer, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* The next slot is so now. */
static uint32_t grant(enum slot_state state)
{
    uint32_t index = peer.next++ % CAPACITY;
    uint64_t word = slot_word(SLOT_GENERATION_FIRST, MEMBER, state);
    if (peer.slots >= 0)
        FUZZ_REQUIRE(pwrite(peer.slots, &word, sizeof(word),
                            (off_t)(peer.geometry.words_offset + index * sizeof(word))) ==
                     sizeof(word));
    return index;
}

static void answer_allocate(struct answer *answer, uint32_t count)
{
    static uint8_t wire[HANDLES * HANDLE_WIRE_SIZE];
    count = count < HANDLES ? count : HANDLES;
    for (uint32_t i = 0; i < count; i++)
        handle_to_wire(handle_make(POOL, grant(SLOT_LIVE), NONCE, SLOT_GENERATION_FIRST),
                       wire + (size_t)i * HANDLE_WIRE_SIZE);
    answer->reply.allocate.handles = (struct bytes){wire, (size_t)count * HANDLE_WIRE_SIZE};
}

static void answer_lease(struct answer *answer, uint32_t count)
{
    static uint8_t wire[HANDLES * LEASE_WIRE_SIZE];
    count = count < HANDLES ? count : HANDLES;
    for (uint32_t i = 0; i < count; i++)
        lease_to_wire(grant(SLOT_CACHED), wire + (size_t)i * LEASE_WIRE_SIZE);
    answer->reply.lease.slots = (struct bytes){wire, (size_t)count * LEASE_WIRE_SIZE};
}

static void make_good(struct answer *answer, enum method method, const struct envelope *envelope)
{
    union {
        struct pool_open_request open;
        struct allocate_request allocate;
        struct lease_request lease;
        struct free_request handles;
        uint8_t room[2 * PROTOCOL_TEXT_MAX];
    } request;
    struct error error;
    memset(answer, 0, sizeof(*answer));
    if (method == METHOD_HELLO)
        answer_hello(answer);
    if (method != METHOD_POOL_OPEN && method != METHOD_ALLOCATE && method != METHOD_LEASE &&
        method != METHOD_FREE)
        return;
    FUZZ_REQUIRE(
        message_decode(method_table[method].request, envelope->params, true, &request, &error));
    if (method == METHOD_POOL_OPEN)
        answer_open(answer, &request.open);
    else if (method == METHOD_ALLOCATE)
        answer_allocate(answer, request.allocate.count);
    else if (method == METHOD_LEASE)
        answer_lease(answer, request.lease.count);
    else
        answer->reply.free.freed = (uint32_t)(request.handles.handles.size / HANDLE_WIRE_SIZE);
}

/* ---- Made wrong ------------------------------------------------------------------------------ */

static uint64_t some_number(void)
{
    static const uint64_t some[] = {0,          1,         CAPACITY,   CAPACITY + 1,
                                    UINT16_MAX, INT32_MAX, UINT32_MAX, UINT64_MAX};
    unsigned which = fuzz_choose(input, 16);
    return which < 8 ? some[which] : fuzz_take(input, which - 7);
}

static void change_text(char *text, size_t limit)
{
    size_t length = fuzz_take(input, 2) % (limit + 1);
    memset(text, 'a' + (int)(length % 26), length);
    text[length] = '\0';
}

static void change_list(const struct message_field *field, struct list *list)
{
    static uint8_t elements[PROTOCOL_LIST_MAX * ELEMENT_MAX];
    FUZZ_REQUIRE(field->element->size <= ELEMENT_MAX);
    list->items = elements;
    list->count = fuzz_choose(input, 256) % (PROTOCOL_LIST_MAX + 1);
}

static void change_field(const struct message_field *field, void *place)
{
    static const uint8_t bytes[PROTOCOL_TEMPLATE_MAX];
    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        *(uint32_t *)place = (uint32_t)some_number();
        break;
    case FIELD_U64:
    case FIELD_I64:
        *(uint64_t *)place = some_number();
        break;
    case FIELD_BOOL:
        *(bool *)place = fuzz_choose(input, 2);
        break;
    case FIELD_STR:
        change_text(place, field->limit);
        break;
    case FIELD_BIN:
        *(struct bytes *)place = (struct bytes){bytes, fuzz_take(input, 2) % (sizeof(bytes) + 1)};
        break;
    case FIELD_LIST:
        change_list(field, place);
        break;
    }
}

static void change_descriptors(struct answer *answer)
{
    unsigned which = fuzz_choose(input, 256);
    unsigned at = which / 64;
    if (which % 4 == 1 && at < answer->fd_count) {
        close(answer->fds[at]);
        answer->fds[at] = wrong_descriptor(which / 4);
    } else if (which % 4 == 2) {
        for (unsigned i = 0; i <= at && answer->fd_count < SENT_MAX; i++)
            add_fd(answer, wrong_descriptor(which / 4));
    } else if (which % 4 == 3 && answer->fd_count > 0) {
        close(answer->fds[--answer->fd_count]);
    }
}

static void make_wrong(struct answer *answer, const struct message_type *type)
{
    unsigned count = fuzz_choose(input, 4);
    for (unsigned i = 0; i < count && type->field_count > 0; i++) {
        const struct message_field *field =
            &type->fields[fuzz_choose(input, (unsigned)type->field_count)];
        change_field(field, (char *)&answer->reply + field->offset);
    }
    change_descriptors(answer);
}

static void make_error(struct error *error)
{
    static const enum error_code codes[] = {
#define CODE_OF(NAME, number, fields) ERROR_##NAME,
        PROTOCOL_ERRORS(CODE_OF)};
    error_set(error, codes[fuzz_choose(input, sizeof(codes) / sizeof(codes[0]))], "no");
    error->requested = some_number();
    error->system_error = fuzz_choose(input, 200);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void send_all(const void *data, size_t size, struct answer *answer)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(SENT_MAX * sizeof(int))];
    } control;
    struct iovec bytes = {.iov_len = size};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    size_t room = answer->fd_count * sizeof(int);
    memcpy(&bytes.iov_base, &data, sizeof(data)); /* const is all that differs */
    memset(&control, 0, sizeof(control));
    if (room > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(room);
        memcpy(CMSG_DATA(&control.header), answer->fds, room);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(room);
    }
    if (size > 0 && peer.fd >= 0)
        sendmsg(peer.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (answer->fd_count > 0)
        close(answer->fds[--answer->fd_count]);
}

static void change_bytes(msgpack_sbuffer *buffer)
{
    unsigned count = fuzz_choose(input, 4) + 1;
    for (unsigned i = 0; i < count; i++) {
        size_t at = fuzz_take(input, 2) % buffer->size;
        buffer->data[at] = (char)fuzz_take(input, 1);
    }
}

static void let_peer_go(void)
{
    if (peer.fd >= 0)
        close(peer.fd);
    peer.fd = -1;
    peer.size = 0;
}

static void encode(msgpack_sbuffer *buffer, enum reply_way way, uint32_t msgid, enum method method,
                   const struct answer *answer)
{
    struct error error;
    if (way == REPLY_ERROR || way == REPLY_FAREWELL)
        make_error(&error);
    if (way == REPLY_ERROR)
        FUZZ_REQUIRE(envelope_encode_error(buffer, msgid, &error) == 0);
    else if (way == REPLY_FAREWELL)
        FUZZ_REQUIRE(envelope_encode_farewell(buffer, &error) == 0);
    else
        FUZZ_REQUIRE(envelope_encode_reply(buffer, msgid, method, &answer->reply) == 0);
}

static void respond(const struct envelope *envelope)
{
    static struct answer answer;
    msgpack_sbuffer buffer;
    enum method method = method_find((const char *)envelope->method.data, envelope->method.size);
    enum reply_way way = (enum reply_way)fuzz_choose(input, REPLY_WAYS);
    FUZZ_REQUIRE(method != METHOD_COUNT);
    msgpack_sbuffer_init(&buffer);
    make_good(&answer, method, envelope);
    if (way == REPLY_FIELDS || way == REPLY_FIELDS + 1)
        make_wrong(&answer, method_table[method].reply);
    encode(&buffer, way, envelope->msgid + (way == REPLY_TO_ANOTHER), method, &answer);
    size_t size = buffer.size;
    if (way == REPLY_BYTES)
        change_bytes(&buffer);
    if (way == REPLY_CUT)
        size = fuzz_take(input, 2) % size;
    if (way == REPLY_NONE || way == REPLY_CLOSE)
        size = 0;
    if (way == REPLY_RAW) {
        struct fuzz_input raw = fuzz_take_bytes(input, fuzz_choose(input, 256));
        send_all(raw.data, raw.size, &answer);
    } else {
        send_all(buffer.data, size, &answer);
    }
    if (way == REPLY_TWICE)
        send_all(buffer.data, size, &answer);
    msgpack_sbuffer_destroy(&buffer);
    if (way == REPLY_CLOSE || way == REPLY_CUT || way == REPLY_FAREWELL)
        let_peer_go();
}

/* ---- In place of the C library's, by the linker ---------------------------------------------- */

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int pair[2];
    (void)address;
    (void)size;
    let_peer_go();
    if (peer.connections++ == CONNECTIONS_MAX || fuzz_choose(input, 32) == 31) {
        errno = ECONNREFUSED;
        return -1;
    }
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    FUZZ_REQUIRE(dup3(pair[0], fd, O_CLOEXEC) == fd);
    close(pair[0]);
    peer.fd = pair[1];
    return 0;
}

/* All that is whole of what was sent so far is answered. */
static void answer_requests(void)
{
    static struct scan scan;
    struct envelope envelope;
    struct error error;
    for (;;) {
        scan_init(&scan);
        enum scan_result result = scan_continue(&scan, peer.bytes, peer.size);
        FUZZ_REQUIRE(result == SCAN_DONE || result == SCAN_MORE);
        if (result == SCAN_MORE)
            return;
        FUZZ_REQUIRE(envelope_decode(&peer.decoder, peer.bytes, scan.position, &envelope, &error));
        FUZZ_REQUIRE(envelope.kind == ENVELOPE_REQUEST);
        size_t taken = scan.position;
        respond(&envelope);
        if (peer.fd < 0)
            return;
        peer.size -= taken;
        memmove(peer.bytes, peer.bytes + taken, peer.size);
    }
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
    (void)fd;
    FUZZ_REQUIRE(flags & MSG_NOSIGNAL);
    if (peer.fd < 0) {
        errno = EPIPE;
        return -1;
    }
    FUZZ_REQUIRE(peer.size + size <= sizeof(peer.bytes));
    memcpy(peer.bytes + peer.size, data, size);
    peer.size += size;
    answer_requests();
    return (ssize_t)size;
}

/* Bytes that are mapped, and weren't when the input began. */
static size_t mapped;

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *memory = __real_mmap(address, size, protection, flags, fd, offset);
    mapped += memory == MAP_FAILED ? 0 : size;
    return memory;
}

int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size)
{
    mapped -= size;
    return __real_munmap(address, size);
}

/* ---- Time, in place of client/deadline.c ----------------------------------------------------- */

static int64_t now;

int64_t deadline_in(int64_t duration)
{
    return deadline_extend(now, duration);
}

int64_t deadline_extend(int64_t deadline, int64_t duration)
{
    int64_t sum;
    return duration < 0 || __builtin_add_overflow(deadline, duration, &sum) ? DEADLINE_NEVER : sum;
}

int64_t deadline_left(int64_t deadline)
{
    return deadline > now ? deadline - now : 0;
}

static void wait_until(int64_t deadline)
{
    FUZZ_REQUIRE(deadline != DEADLINE_NEVER);
    if (deadline > now)
        now = deadline;
}

void deadline_poll(int fd, short events, int64_t deadline)
{
    struct pollfd entry = {.fd = fd, .events = events};
    if (poll(&entry, 1, 0) == 0)
        wait_until(deadline);
}

void deadline_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline)
{
    (void)condition;
    (void)mutex;
    wait_until(deadline);
}

/* As long as the socket's own patience lasts. */
ssize_t __real_inbox_receive(struct inbox *inbox, int fd, int flags);
ssize_t __wrap_inbox_receive(struct inbox *inbox, int fd, int flags);
ssize_t __wrap_inbox_receive(struct inbox *inbox, int fd, int flags)
{
    ssize_t size = __real_inbox_receive(inbox, fd, flags | MSG_DONTWAIT);
    if (size == -EAGAIN && !(flags & MSG_DONTWAIT))
        now += RECONNECT_PATIENCE;
    return size;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static fastalloc_connection_t *connection;
static fastalloc_pool_t *pool;
static fastalloc_handle_t handles[HANDLES];
static fastalloc_error_t failure;

static int connect_to_peer(void)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = "/nowhere";
    options.name = "fuzz";
    /* And what limits come behind it. */
    for (size_t at = offsetof(fastalloc_connect_options_t, connect_limit); at < sizeof(options);
         at += sizeof(int64_t))
        memcpy((char *)&options + at, &(int64_t){LIMIT}, sizeof(int64_t));
    return fastalloc_connect(&options, &connection, &failure);
}

static int open_pool(unsigned how)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.kind = how & 1 ? FASTALLOC_LEASED : FASTALLOC_BROKERED;
    options.access = how & 2 ? FASTALLOC_READ : FASTALLOC_WRITE;
    options.create = how & 4;
    options.object_size = how & 4 ? 48 : 0;
    options.capacity = how & 4 ? CAPACITY : 0;
    options.prefault = how & 8;
    return fastalloc_open(connection, how & 16 ? "other" : "pool", how & 32 ? NULL : &options,
                          &pool, &failure);
}

/* What is an object can be read and written. */
static void use_objects(void)
{
    for (unsigned i = 0; i < HANDLES; i++) {
        volatile uint8_t *object = fastalloc_get(pool, handles[i]);
        uint64_t size = fastalloc_pool_object_size(pool);
        if (!object || size == 0)
            continue;
        object[0];
        object[size - 1];
    }
}

static int visit_pool(const fastalloc_pool_info_t *info, void *context)
{
    *(size_t *)context += strlen(info->name);
    return 0;
}

static int visit_session(const fastalloc_session_info_t *info, void *context)
{
    *(size_t *)context += info->pools;
    return 0;
}

static int visit_holder(const fastalloc_holder_info_t *info, void *context)
{
    *(size_t *)context += info->slots;
    return 0;
}

static int visit_event(const fastalloc_event_t *event, void *context)
{
    *(size_t *)context += event->count;
    return 0;
}

static int visit_finding(const fastalloc_finding_t *finding, void *context)
{
    *(size_t *)context += strlen(finding->text);
    return 0;
}

static int ask_for_lists(unsigned what)
{
    fastalloc_check_info_t check = FASTALLOC_SIZED(fastalloc_check_info_t);
    uint64_t after = 0, lost;
    size_t sum = 0;
    switch (what % 5) {
    case 0:
        return fastalloc_pool_list(connection, visit_pool, &sum, &failure);
    case 1:
        return fastalloc_session_list(connection, visit_session, &sum, &failure);
    case 2:
        return fastalloc_holder_list(connection, "pool", visit_holder, &sum, &failure);
    case 3:
        return fastalloc_events(connection, NULL, FASTALLOC_NOWAIT, &after, &lost, visit_event,
                                &sum, &failure);
    default:
        return fastalloc_check(connection, &check, visit_finding, &sum, &failure);
    }
}

static int administer(unsigned what)
{
    fastalloc_daemon_info_t daemon = FASTALLOC_DAEMON_INFO_INIT;
    fastalloc_pool_info_t info = FASTALLOC_SIZED(fastalloc_pool_info_t);
    fastalloc_stats_t stats = FASTALLOC_SIZED(fastalloc_stats_t);
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    uint64_t bytes;
    switch (what % 8) {
    case 0:
        return fastalloc_ping(connection, &daemon, &failure);
    case 1:
        return fastalloc_pool_show(connection, "pool", &info, &failure);
    case 2:
        return fastalloc_pool_stats(connection, "pool", &stats, &failure);
    case 3:
        return fastalloc_pool_grow(connection, "pool", 20, 0, &failure);
    case 4:
        return fastalloc_pool_trim(connection, "pool", &bytes, &failure);
    case 5:
        return fastalloc_pool_destroy(connection, "pool", true, &failure);
    case 6:
        return fastalloc_pool_reset_stats(connection, "pool", &failure);
    default:
        options.object_size = 8;
        options.capacity = 1;
        return fastalloc_pool_create(connection, "pool", &options, &failure);
    }
}

static int hand_on(unsigned what)
{
    size_t count = what / 8 % HANDLES + 1;
    switch (what % 8) {
    case 0:
        return fastalloc_free(pool, handles[0], &failure);
    case 1:
        return fastalloc_free_many(pool, handles, count, &failure);
    case 2:
        return fastalloc_retain(pool, handles, count, &failure);
    case 3:
        return fastalloc_release(pool, handles, count, &failure);
    case 4:
        return fastalloc_adopt(pool, handles, count, &failure);
    case 5:
        return fastalloc_detach(pool, handles, count, &failure);
    case 6:
        return fastalloc_cancel(pool, &failure);
    default:
        return fastalloc_allocate_many(pool, count, what & 64 ? LIMIT : FASTALLOC_NOWAIT, handles,
                                       &failure);
    }
}

static int close_pool(void)
{
    fastalloc_close(pool);
    pool = NULL;
    return 0;
}

static int call(void)
{
    unsigned what = fuzz_choose(input, 8), how = fuzz_choose(input, 256);
    failure = FASTALLOC_ERROR_INIT;
    if (!connection)
        return connect_to_peer();
    if (what == 0)
        return administer(how);
    if (what == 1)
        return ask_for_lists(how);
    if (!pool)
        return open_pool(how);
    if (what == 2)
        return close_pool();
    if (what == 3)
        return fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handles[how % HANDLES], &failure);
    int result = hand_on(how);
    use_objects();
    return result;
}

/* ---- What is left ---------------------------------------------------------------------------- */

static unsigned count_descriptors(void)
{
    static DIR *directory; /* stays open: it is one of them each time */
    unsigned count = 0;
    if (!directory)
        directory = opendir("/proc/self/fd");
    FUZZ_REQUIRE(directory);
    rewinddir(directory);
    while (readdir(directory))
        count++;
    return count;
}

/* ---- All of it ------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input bytes = {data, size};
    if (!peer.decoder.zone.chunk_size)
        FUZZ_REQUIRE(decoder_init(&peer.decoder) == 0);
    unsigned descriptors = count_descriptors();
    input = &bytes;
    now = LIMIT;
    mapped = 0;
    peer.connections = 0;
    memset(handles, 0, sizeof(handles));
    for (unsigned i = 0; i < CALLS_MAX && (i == 0 || bytes.size > 0); i++) {
        int result = call();
        FUZZ_REQUIRE(result >= 0 || (failure.code == result && failure.message[0] != '\0'));
    }
    fastalloc_disconnect(connection);
    connection = NULL;
    pool = NULL;
    let_peer_go();
    if (peer.slots >= 0)
        close(peer.slots);
    peer.slots = -1;
    FUZZ_REQUIRE(count_descriptors() == descriptors);
    /* The lock of a process is made when it needs one. */
    FUZZ_REQUIRE(mapped == 0 || mapped == sizeof(pthread_mutex_t));
    return 0;
}
