/* SPDX-License-Identifier: MIT */
/* Opening, mapping and closing pools of a scripted daemon: what is right, and what is refused. */
#include <fastalloc/admin.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/connection.h"
#include "tests/lib/fd_count.h"
#include "tests/lib/peer_pool.h"
#include "tests/unit/suite.h"

static fastalloc_connection_t *connect_to(const struct test_peer *test)
{
    fastalloc_connection_t *connection;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = test->socket;
    ck_assert_int_eq(fastalloc_connect(&options, &connection, NULL), 0);
    return connection;
}

/* The library's call of pread(), with a descriptor just arrived, comes here. */
static int kept_over_exec;

__attribute__((visibility("default"))) ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
    kept_over_exec += !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return syscall(SYS_pread64, fd, buf, nbytes, offset);
}

/* ---- What is right --------------------------------------------------------------------------- */

static void serve_one(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    peer_pool_close(peer);
}

START_TEST(test_an_open_pool_knows_what_it_is_and_keeps_no_descriptor)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    test_peer_start(&test, serve_one);
    fastalloc_connection_t *connection = connect_to(&test);
    unsigned before = test_fd_count();
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    ck_assert_uint_eq(test_fd_count(), before);
    ck_assert_int_eq(kept_over_exec, 0);
    ck_assert_str_eq(fastalloc_pool_name(pool), "pool");
    ck_assert_str_eq(fastalloc_pool_type(pool), "");
    ck_assert_uint_eq(fastalloc_pool_object_size(pool), PEER_POOL_OBJECT);
    ck_assert_uint_eq(fastalloc_pool_stride(pool), PEER_POOL_OBJECT);
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), PEER_POOL_CAPACITY);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_no_close(struct peer *peer)
{
    const struct ping_reply pong = {.pid = 1, .release = "0", .instance = "test"};
    const struct pool_close_reply closed = {.freed = 0};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_POOL_CLOSE, NULL);
    uint32_t msgid = peer->msgid;
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &pong);
    peer_reply_to(peer, msgid, METHOD_POOL_CLOSE, &closed); /* long after it was given up */
    peer_receive(peer, METHOD_PING, NULL);
    peer_reply(peer, METHOD_PING, &pong);
}

START_TEST(test_a_close_that_is_not_answered_is_not_waited_for_for_ever)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    test_peer_start(&test, serve_no_close);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    time_t start = time(NULL);
    fastalloc_close(pool);
    ck_assert_int_lt(time(NULL) - start, 10); /* a second, and what a busy machine adds */
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fastalloc_ping(connection, &info, NULL), 0);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

#define OPENERS 4

static int told[2]; /* that all have begun */
static atomic_int openers;

static void serve_last(struct peer *peer)
{
    char byte;
    peer_greet(peer);
    struct peer_pool pool;
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_require(read(told[0], &byte, 1) == 1);
    peer_pool_reply(&pool, peer);
    peer_pool_close(peer); /* no other open comes before it */
}

struct opener {
    pthread_t thread;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    int result;
};

static void *open_last(void *argument)
{
    struct opener *opener = argument;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    if (atomic_fetch_add(&openers, 1) + 1 == OPENERS)
        ck_assert(write(told[1], "", 1) == 1);
    opener->result = fastalloc_open(opener->connection, "pool", NULL, &opener->pool, &error);
    ck_assert_uint_eq(error.max, opener->result < 0 ? RESUME_POOLS_MAX : 0);
    return NULL;
}

START_TEST(test_of_several_that_open_the_last_pool_at_once_one_does)
{
    struct test_peer test;
    struct opener all[OPENERS];
    fastalloc_pool_t *pool = NULL;
    ck_assert_int_eq(pipe(told), 0);
    test_peer_start(&test, serve_last);
    fastalloc_connection_t *connection = connect_to(&test);
    connection->channel.resume.count = RESUME_POOLS_MAX - 1;
    for (int i = 0; i < OPENERS; i++) {
        all[i] = (struct opener){.connection = connection};
        ck_assert_int_eq(pthread_create(&all[i].thread, NULL, open_last, &all[i]), 0);
    }
    for (int i = 0; i < OPENERS; i++) {
        ck_assert_int_eq(pthread_join(all[i].thread, NULL), 0);
        if (all[i].result == 0)
            pool = all[i].pool;
        else
            ck_assert_int_eq(all[i].result, FASTALLOC_ERR_LIMIT_EXCEEDED);
    }
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
    close(told[0]);
    close(told[1]);
}
END_TEST

START_TEST(test_handles_to_nothing_are_null)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    test_peer_start(&test, serve_one);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    uint64_t tag = (uint64_t)PEER_POOL_NONCE << 48 | SLOT_GENERATION_FIRST;
    ck_assert_ptr_null(fastalloc_get(pool, FASTALLOC_HANDLE_NONE));
    ck_assert_ptr_null(fastalloc_get(pool, (fastalloc_handle_t){PEER_POOL_ID, 0, tag}));
    ck_assert_ptr_null(fastalloc_get(pool, (fastalloc_handle_t){PEER_POOL_ID, 10, tag}));
    ck_assert_ptr_null(fastalloc_get(pool, (fastalloc_handle_t){PEER_POOL_ID, UINT32_MAX, tag}));
    ck_assert(!fastalloc_still_valid(pool, (fastalloc_handle_t){PEER_POOL_ID, 0, tag}));
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_request(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    peer_require(strcmp(pool.request.name, "pool") == 0);
    peer_require(strcmp(pool.request.type, "particle") == 0);
    peer_require(!pool.request.write && pool.request.map && pool.request.create);
    peer_require(pool.request.object_size == 48 && pool.request.alignment == 16);
    peer_require(pool.request.capacity == 10 && pool.request.mode == 0640);
    peer_pool_reply(&pool, peer);
    peer_pool_close(peer);
}

START_TEST(test_the_options_are_asked_for)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    options.create = true;
    options.object_size = 48;
    options.alignment = 16;
    options.mode = 0640;
    options.capacity = 10;
    options.type = "particle";
    test_peer_start(&test, serve_request);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &pool, NULL), 0);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* The files are as long as for the one slot, in a page each but the first: the rest may come. */
static void serve_one_slot(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    pool.head.capacity = 1;
    pool.head.capacity_max = pool.head.reserve;
    pool.reply.capacity = 1;
    pool.sizes[0] = geometry_ctl_size(&pool.geometry, 1);
    pool.sizes[1] = geometry_slots_size(&pool.geometry, 1);
    pool.sizes[2] = geometry_data_size(&pool.geometry, 1);
    peer_pool_reply(&pool, peer);
}

START_TEST(test_a_pool_may_be_as_small_as_one_slot)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    test_peer_start(&test, serve_one_slot);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    ck_assert_uint_eq(fastalloc_pool_capacity(pool), 1);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Twice ----------------------------------------------------------------------------------- */

static void serve_twice(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
    peer_pool_open(peer);
    peer_pool_close(peer); /* once, and nothing after it */
}

START_TEST(test_a_pool_opened_twice_is_one_and_closed_at_the_second_close)
{
    struct test_peer test;
    fastalloc_pool_t *pool, *again;
    test_peer_start(&test, serve_twice);
    fastalloc_connection_t *connection = connect_to(&test);
    unsigned before = test_fd_count();
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &again, NULL), 0);
    ck_assert_uint_eq(test_fd_count(), before);
    ck_assert_ptr_eq(pool, again);
    fastalloc_close(pool);
    ck_assert_str_eq(fastalloc_pool_name(again), "pool");
    fastalloc_close(again);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

START_TEST(test_another_access_is_another_pool_and_the_last_close_tells_the_daemon)
{
    struct test_peer test;
    fastalloc_pool_t *writer, *reader;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    test_peer_start(&test, serve_twice);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &writer, NULL), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &reader, NULL), 0);
    ck_assert_ptr_ne(writer, reader);
    fastalloc_close(writer);
    ck_assert_str_eq(fastalloc_pool_name(reader), "pool");
    fastalloc_close(reader);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_without_close(struct peer *peer)
{
    peer_greet(peer);
    peer_pool_open(peer);
}

START_TEST(test_disconnecting_closes_what_is_open)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    test_peer_start(&test, serve_without_close);
    unsigned before = test_fd_count();
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------- */

static void (*spoil)(struct peer_pool *pool);

/* The daemon takes the client for a member, so the client gives that back. */
static void serve_spoiled(struct peer *peer)
{
    struct peer_pool pool;
    struct pool_close_reply reply = {.freed = 0};
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    spoil(&pool);
    peer_pool_reply(&pool, peer);
    peer_receive(peer, METHOD_POOL_CLOSE, NULL);
    peer_reply(peer, METHOD_POOL_CLOSE, &reply);
    peer_pool_open(peer);
    peer_pool_close(peer);
}

/* The open fails; the connection is as good as before. */
static void expect_refused(void (*how)(struct peer_pool *), int code, const char *reason)
{
    struct test_peer test;
    fastalloc_pool_t *pool = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    spoil = how;
    test_peer_start(&test, serve_spoiled);
    fastalloc_connection_t *connection = connect_to(&test);
    unsigned before = test_fd_count();
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, &error), code);
    ck_assert_msg(strstr(error.message, reason), "'%s' doesn't say '%s'", error.message, reason);
    ck_assert_ptr_nonnull(strstr(error.message, "'pool'"));
    ck_assert_ptr_null(pool);
    ck_assert_uint_eq(test_fd_count(), before);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, &error), 0);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}

#define REFUSED(name, statement, code, reason)                                                     \
    static void name##_spoil(struct peer_pool *pool)                                               \
    {                                                                                              \
        statement;                                                                                 \
    }                                                                                              \
    START_TEST(name)                                                                               \
    {                                                                                              \
        expect_refused(name##_spoil, code, reason);                                                \
    }                                                                                              \
    END_TEST

#define MALFORMED(name, statement, reason) REFUSED(name, statement, FASTALLOC_ERR_MALFORMED, reason)

MALFORMED(test_another_magic_is_refused, pool->head.magic++, "isn't a pool")
MALFORMED(test_another_layout_is_refused, pool->head.version++, "version")
MALFORMED(test_another_kind_is_refused, pool->head.kind = 9, "kind")
MALFORMED(test_another_pools_id_is_refused, pool->head.pool++, "another pool")
MALFORMED(test_another_nonce_is_refused, pool->head.nonce++, "another pool")
MALFORMED(test_another_name_is_refused, pool->head.name[0] = 'x', "another pool")
MALFORMED(test_objects_of_no_size_are_refused, pool->head.object_size = 0, "impossible")
MALFORMED(test_an_impossible_alignment_is_refused, pool->head.alignment = 3, "impossible")
MALFORMED(test_no_alignment_is_refused, pool->head.alignment = 0, "impossible")
MALFORMED(test_an_impossible_maximum_is_refused, pool->head.capacity_max = UINT32_MAX, "contradict")
MALFORMED(test_an_impossible_stride_is_refused, pool->head.stride = UINT64_MAX, "contradict")
MALFORMED(test_an_impossible_reserve_is_refused, pool->head.reserve = UINT32_MAX, "impossible")
MALFORMED(test_no_reserve_is_refused, pool->head.reserve = 0, "impossible")
MALFORMED(test_a_maximum_above_the_reserve_is_refused, pool->head.reserve = 9, "contradict")
MALFORMED(test_a_pool_without_slots_is_refused, pool->head.capacity = 0, "capacity")
MALFORMED(test_more_slots_than_the_maximum_are_refused, pool->head.capacity = 11, "capacity")
MALFORMED(test_a_reply_of_another_size_is_refused, pool->reply.object_size = 47, "reply")
MALFORMED(test_a_reply_of_another_stride_is_refused, pool->reply.stride = 64, "reply")
MALFORMED(test_a_reply_of_another_alignment_is_refused, pool->reply.alignment = 32, "reply")
MALFORMED(test_a_head_that_is_cut_off_is_refused, pool->sizes[0] = 511, "too short")
MALFORMED(test_state_that_is_cut_off_is_refused, pool->sizes[0]--, "state")
MALFORMED(test_slots_that_are_cut_off_are_refused, pool->sizes[1]--, "slots")
MALFORMED(test_objects_that_are_cut_off_are_refused, pool->sizes[2]--, "objects")
MALFORMED(test_empty_files_are_refused, memset(pool->sizes, 0, sizeof(pool->sizes)), "too short")
REFUSED(test_a_pool_destroyed_meanwhile_is_said_to_be, pool->head.version = 0,
        FASTALLOC_ERR_POOL_DESTROYED, "destroyed")

/* Of the daemon's making or not: what the system says is reported. */
static void serve_folder(struct peer *peer)
{
    struct peer_pool pool;
    struct pool_close_reply reply = {.freed = 0};
    int fds[3] = {open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    for (size_t i = 1; i < 3; i++)
        fds[i] = peer_memory(pool.sizes[i]);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool.reply, fds, 3);
    peer_receive(peer, METHOD_POOL_CLOSE, NULL);
    peer_reply(peer, METHOD_POOL_CLOSE, &reply);
}

START_TEST(test_a_head_that_cant_be_read_says_why)
{
    struct test_peer test;
    fastalloc_pool_t *pool = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, serve_folder);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, &error), -EISDIR);
    ck_assert_ptr_nonnull(strstr(error.message, "cannot read the head of pool 'pool'"));
    ck_assert_ptr_null(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

static void serve_two_descriptors(struct peer *peer)
{
    struct peer_pool pool;
    int fds[2];
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    for (size_t i = 0; i < 2; i++)
        fds[i] = peer_memory(pool.sizes[i]);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool.reply, fds, 2);
}

static void serve_four_descriptors(struct peer *peer)
{
    struct peer_pool pool;
    int fds[4];
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    for (size_t i = 0; i < 4; i++)
        fds[i] = peer_memory(pool.sizes[i % 3]);
    peer_reply_with(peer, METHOD_POOL_OPEN, &pool.reply, fds, 4);
}

static void serve_no_descriptors(struct peer *peer)
{
    struct peer_pool pool;
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    pool.reply.descriptors = 0;
    peer_reply(peer, METHOD_POOL_OPEN, &pool.reply);
}

static void expect_broken(peer_script_t script)
{
    struct test_peer test;
    fastalloc_pool_t *pool = NULL;
    test_peer_start(&test, script);
    unsigned before = test_fd_count();
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL),
                     FASTALLOC_ERR_MALFORMED);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL),
                     FASTALLOC_ERR_DISCONNECTED);
    ck_assert_ptr_null(pool);
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    test_peer_join(&test);
}

START_TEST(test_too_few_descriptors_break_the_connection)
{
    expect_broken(serve_two_descriptors);
}
END_TEST

START_TEST(test_too_many_descriptors_break_the_connection)
{
    expect_broken(serve_four_descriptors);
}
END_TEST

START_TEST(test_no_descriptors_break_the_connection)
{
    expect_broken(serve_no_descriptors);
}
END_TEST

/* ---- No room --------------------------------------------------------------------------------- */

static void nothing(struct peer_pool *pool)
{
}

START_TEST(test_an_open_without_free_descriptors_is_emfile_and_breaks_nothing)
{
    struct test_peer test;
    struct rlimit old, limit;
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    spoil = nothing;
    test_peer_start(&test, serve_spoiled);
    fastalloc_connection_t *connection = connect_to(&test);

    int next = dup(0);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = (struct rlimit){(rlim_t)next + 2, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, &error), -EMFILE);
    ck_assert_ptr_nonnull(strstr(error.message, "ulimit"));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);

    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, &error), 0);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- What the library refuses itself --------------------------------------------------------- */

static void only_greet(struct peer *peer)
{
    peer_greet(peer);
}

START_TEST(test_arguments_that_cant_be_sent_are_refused)
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    char name[FASTALLOC_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FASTALLOC_NAME_MAX + 1] = '\0';
    test_peer_start(&test, only_greet);
    fastalloc_connection_t *connection = connect_to(&test);

    ck_assert_int_eq(fastalloc_open(connection, name, NULL, &pool, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "name");
    options.type = name;
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "type");
    options.access = (enum fastalloc_access)2;
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "access");
    options.size = 0;
    ck_assert_int_eq(fastalloc_open(connection, "pool", &options, &pool, &error),
                     FASTALLOC_ERR_INVALID_ARGUMENT);
    ck_assert_str_eq(error.field, "size");
    fastalloc_disconnect(connection);
    test_peer_join(&test);
}
END_TEST

/* ---- Handles --------------------------------------------------------------------------------- */

#define HANDLE_BYTES ((size_t)HANDLE_WIRE_SIZE)

static size_t handles_sent; /* bytes */

static void serve_allocation(struct peer *peer)
{
    static const uint8_t bytes[8 * HANDLE_BYTES];
    struct allocate_request request;
    struct allocate_reply reply = {.handles = {bytes, handles_sent}};
    peer_greet(peer);
    peer_pool_open(peer);
    peer_receive(peer, METHOD_ALLOCATE, &request);
    peer_require(request.pool == PEER_POOL_ID && request.count == 3 && request.timeout == 5);
    peer_require(request.request == 1);
    peer_reply(peer, METHOD_ALLOCATE, &reply);
}

static int allocate_three(size_t bytes, fastalloc_handle_t handles[8])
{
    struct test_peer test;
    fastalloc_pool_t *pool;
    handles_sent = bytes;
    test_peer_start(&test, serve_allocation);
    fastalloc_connection_t *connection = connect_to(&test);
    ck_assert_int_eq(fastalloc_open(connection, "pool", NULL, &pool, NULL), 0);
    int result = fastalloc_allocate_many(pool, 3, 5, handles, NULL);
    fastalloc_disconnect(connection);
    test_peer_join(&test);
    return result;
}

START_TEST(test_as_many_handles_as_asked_for_are_taken_and_no_more)
{
    fastalloc_handle_t handles[8], untouched = {1, 2, 3};
    for (int i = 0; i < 8; i++)
        handles[i] = untouched;
    ck_assert_int_eq(allocate_three(3 * HANDLE_BYTES, handles), 0);
    ck_assert(fastalloc_handle_is_none(handles[2]));
    ck_assert(fastalloc_handle_equal(handles[3], untouched));
}
END_TEST

START_TEST(test_another_number_of_handles_is_refused_and_none_is_taken)
{
    const size_t wrong[] = {0,
                            2 * HANDLE_BYTES,
                            3 * HANDLE_BYTES - 1,
                            3 * HANDLE_BYTES + 1,
                            4 * HANDLE_BYTES,
                            8 * HANDLE_BYTES};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        fastalloc_handle_t handles[8], untouched = {1, 2, 3};
        for (int j = 0; j < 8; j++)
            handles[j] = untouched;
        ck_assert_int_eq(allocate_three(wrong[i], handles), FASTALLOC_ERR_MALFORMED);
        for (int j = 0; j < 8; j++)
            ck_assert(fastalloc_handle_equal(handles[j], untouched));
    }
}
END_TEST

SUITE_MAIN("client_pool", test_an_open_pool_knows_what_it_is_and_keeps_no_descriptor,
           test_a_close_that_is_not_answered_is_not_waited_for_for_ever,
           test_of_several_that_open_the_last_pool_at_once_one_does,
           test_handles_to_nothing_are_null, test_the_options_are_asked_for,
           test_a_pool_opened_twice_is_one_and_closed_at_the_second_close,
           test_another_access_is_another_pool_and_the_last_close_tells_the_daemon,
           test_disconnecting_closes_what_is_open, test_another_magic_is_refused,
           test_another_layout_is_refused, test_another_kind_is_refused,
           test_another_pools_id_is_refused, test_another_nonce_is_refused,
           test_another_name_is_refused, test_objects_of_no_size_are_refused,
           test_an_impossible_alignment_is_refused, test_no_alignment_is_refused,
           test_an_impossible_maximum_is_refused, test_an_impossible_stride_is_refused,
           test_an_impossible_reserve_is_refused, test_no_reserve_is_refused,
           test_a_maximum_above_the_reserve_is_refused, test_a_pool_may_be_as_small_as_one_slot,
           test_a_pool_without_slots_is_refused, test_more_slots_than_the_maximum_are_refused,
           test_a_reply_of_another_size_is_refused, test_a_reply_of_another_stride_is_refused,
           test_a_reply_of_another_alignment_is_refused, test_a_head_that_is_cut_off_is_refused,
           test_state_that_is_cut_off_is_refused, test_slots_that_are_cut_off_are_refused,
           test_objects_that_are_cut_off_are_refused, test_empty_files_are_refused,
           test_a_pool_destroyed_meanwhile_is_said_to_be, test_a_head_that_cant_be_read_says_why,
           test_too_few_descriptors_break_the_connection,
           test_too_many_descriptors_break_the_connection, test_no_descriptors_break_the_connection,
           test_an_open_without_free_descriptors_is_emfile_and_breaks_nothing,
           test_arguments_that_cant_be_sent_are_refused,
           test_as_many_handles_as_asked_for_are_taken_and_no_more,
           test_another_number_of_handles_is_refused_and_none_is_taken)
