/* SPDX-License-Identifier: MIT */
/*
 * A server that begins with sessions which have no connection: as one does that starts where another
 * died. Here it is the same process, which serves once more.
 */
#include <endian.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/connection.h"
#include "daemon/leasing.h"
#include "daemon/log.h"
#include "daemon/server.h"
#include "shm/geometry.h"
#include "shm/lease.h"
#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define PAGE 4096u
#define CAPACITY 4u
#define FOREVER (-1)

static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static char registry[64];
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listener;
static struct test_child child;
static struct server server;
static struct broker broker;
static struct bare mine, others;
static struct hello_reply hello;
static uint8_t token[PROTOCOL_TOKEN_SIZE];
static void *witness;
static struct bare before; /* that of `mine` until it was lost */

/* What members do isn't found out by looking now and then. */
static void look_at_nothing(void)
{
    struct pool *pool;
    TAILQ_FOREACH (pool, &broker.pools, in_broker) {
        leasing_end(&broker, pool);
        pool->look_after = INT64_C(1) << 60;
    }
}

/* Until it is told to end; then until nobody is there any more. */
static void serve_twice(int control, const void *argument)
{
    static const struct broker_rim rim = {connection_answer, connection_let_go, server_offload,
                                          &server};
    uint32_t pools, sessions;
    (void)argument;
    log_set_level(LOG_LEVEL_ERROR);
    server_hold_signals(true);
    child_require(broker_init(&broker, registry, &rim, (int64_t)uv_hrtime()) == 0);
    child_require(server_run(&server, &broker, "test", listener, OPTIONS_NEVER) == 0);
    child_say(control, 'e');
    child_listen(control);
    broker.ending = false;
    look_at_nothing();
    child_require(server_run(&server, &broker, "test", listener, 0) == 0);
    child_require(broker.session_count == 0);
    while (!TAILQ_EMPTY(&broker.pools))
        broker_destroy_pool(&broker, TAILQ_FIRST(&broker.pools));
    child_require(broker_deinit(&broker, &pools, &sessions));
}

static void greet(struct bare *bare)
{
    struct hello_request request = {.version = PROTOCOL_VERSION, .witness = true};
    bare_connect(bare, address.sun_path);
    bare_call(bare, METHOD_HELLO, &request, &hello);
    memcpy(token, hello.token.data, sizeof(token));
}

static void make_pool(struct bare *bare)
{
    struct pool_open_request request = {.name = "leased",
                                        .write = true,
                                        .map = true,
                                        .create = true,
                                        .kind = LAYOUT_LEASED,
                                        .object_size = 8,
                                        .capacity = CAPACITY};
    struct pool_open_reply reply;
    bare_call(bare, METHOD_POOL_OPEN, &request, &reply);
    bare->pool = reply.pool;
}

/* A session with all slots of a pool, whose daemon then ends and is about to start again. */
static void set_up(void)
{
    test_private_shm(16 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(registry, sizeof(registry), "%s/registry", folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    test_child_start(&child, serve_twice, NULL);

    greet(&mine);
    witness = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, mine.fds[0], 0);
    ck_assert_ptr_ne(witness, MAP_FAILED);
    make_pool(&mine);
    bare_allocate(&mine, CAPACITY);
    before = mine;
    ck_assert_int_eq(kill(child.pid, SIGTERM), 0);
    test_child_hear(&child, 'e');
    test_child_tell(&child, 'g');
}

static void leave(void)
{
    munmap(witness, PAGE);
    witness = NULL;
}

/* The daemon ends by itself, since nobody is there. */
static void tear_down(void)
{
    bare_close(&before);
    if (witness)
        leave();
    ck_assert_int_eq(test_child_join(&child), 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    close(listener);
    test_remove_folder(folder);
}

static struct stats_reply stats(struct bare *bare)
{
    struct stats_request request = {.name = "leased"};
    struct stats_reply reply;
    bare_call(bare, METHOD_STATS, &request, &reply);
    return reply;
}

static struct resume_reply resume(struct bare *bare)
{
    uint32_t pool = htole32(before.pool);
    const struct resume_request request = {.version = PROTOCOL_VERSION,
                                           .session = hello.session,
                                           .token = {token, sizeof(token)},
                                           .pools = {(const uint8_t *)&pool, sizeof(pool)}};
    struct resume_reply reply;
    bare_connect(bare, address.sun_path);
    bare_call(bare, METHOD_RESUME, &request, &reply);
    bare->pool = before.pool;
    bare->request = before.request;
    return reply;
}

START_TEST(test_adopt_keeps_a_session_until_it_is_resumed)
{
    ck_assert_uint_eq(resume(&mine).descriptors, 1);
    ck_assert_uint_eq(stats(&mine).current_usage, CAPACITY);
    uint64_t number = htole64(before.request);
    struct settle_request request = {.requests = {(const uint8_t *)&number, sizeof(number)}};
    struct settle_reply reply;
    bare_call(&mine, METHOD_SETTLE, &request, &reply);
    ck_assert_uint_eq(reply.freed, CAPACITY);
    bare_allocate(&mine, CAPACITY);
    leave();
    bare_close(&mine);
}
END_TEST

START_TEST(test_adopt_ends_a_session_that_nobody_resumes)
{
    leave(); /* then the daemon is idle, and ends: as the teardown waits for */
}
END_TEST

/* As a member does it that has lost its daemon. */
static void free_one(void)
{
    struct geometry geometry;
    uint32_t reserve = geometry_reserve(8, 0, CAPACITY);
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_LEASED, 8, 0, reserve), GEOMETRY_OK);
    size_t size = geometry_slots_size(&geometry, CAPACITY);
    char *slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, before.fds[1], 0);
    ck_assert_ptr_ne(slots, MAP_FAILED);
    uint64_t *words = (uint64_t *)(slots + geometry.words_offset), live = words[0];
    ck_assert_int_eq(slot_state(live), SLOT_LIVE);
    ck_assert(word_exchange(&words[0], live, lease_freed(live, SLOT_RETURNED)));
    lease_hint((uint64_t *)slots, 0);
    munmap(slots, size);
}

START_TEST(test_adopt_hears_what_a_session_frees_that_has_no_bell)
{
    bare_connect(&others, address.sun_path);
    bare_hello(&others, false);
    bare_open(&others, "leased", false);
    struct allocate_request request = bare_allocation(&others, 1, FOREVER);
    struct allocate_reply reply;
    bare_send(&others, METHOD_ALLOCATE, &request);
    bare_connect(&mine, address.sun_path);
    bare_hello(&mine, false);
    while (stats(&mine).waiters == 0)
        ;
    free_one();
    bare_receive(&others, METHOD_ALLOCATE, &reply);
    bare_close(&mine);
    bare_close(&others);
}
END_TEST

SUITE_MAIN_WITH("adopt", set_up, tear_down, test_adopt_keeps_a_session_until_it_is_resumed,
                test_adopt_ends_a_session_that_nobody_resumes,
                test_adopt_hears_what_a_session_frees_that_has_no_bell)
