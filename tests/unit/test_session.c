/* SPDX-License-Identifier: MIT */
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

#define PAGE 4096u

static const struct peer peer = {12, 34, 56};
static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static struct registry registry;
static struct registry_session *entry;
static struct session *session;

static void set_up(void)
{
    char path[64];
    test_private_shm(1 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
    ck_assert_int_eq(registry_create(&registry, path), 0);
    entry = registry_add_session(&registry, peer.uid);
}

static void tear_down(void)
{
    if (session) {
        session_remove(session);
        ck_assert_int_eq(entry->state, REGISTRY_FREE);
        session_free(session);
    }
    registry_close(&registry);
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

static void begin(bool witnessed)
{
    ck_assert_int_eq(session_new(&session, entry, &peer, "reader", witnessed), 0);
}

static struct pool *make_pool(uint32_t id)
{
    struct pool_config config = {.name = "p", .type = "", .object_size = 8, .capacity = 4};
    uint8_t key[SEGMENT_KEY_SIZE] = {(uint8_t)id};
    struct error error;
    struct pool *pool;
    ck_assert(pool_create(&config, id, 1, key, 0, &pool, &error));
    return pool;
}

static void allocate(struct pool *pool, uint32_t member, uint32_t count, uint8_t *handles)
{
    struct slots_charge charge = {.session = CHARGE_NONE};
    struct error error;
    ck_assert(pool_charge(pool, member, count, &charge, &error));
    pool_allocate(pool, member, 1, false, count, &charge, 0, handles);
}

static void remove_pool(struct pool *pool)
{
    pool_check(pool);
    pool_destroy(pool);
    pool_free(pool);
}

/* As a client does it. */
static void *map_witness(void)
{
    int fd = session_witness(session);
    ck_assert_int_ge(fd, 0);
    void *mapping = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
    close(fd);
    return mapping;
}

/* ---- Begin ----------------------------------------------------------------------------------- */

START_TEST(test_session_begins_with_nothing)
{
    begin(false);
    ck_assert_uint_eq(session->id, entry->id);
    ck_assert_int_eq(session->peer.pid, peer.pid);
    ck_assert_str_eq(session->name, "reader");
    ck_assert_uint_eq(session->membership_count + session->waiter_count, 0);
    ck_assert_uint_eq(session_usage(session), 0);
    ck_assert_ptr_null(session_membership(session, 1));
}
END_TEST

START_TEST(test_session_keeps_a_name_of_sixty_three_bytes)
{
    char name[PROTOCOL_NAME_MAX + 1];
    memset(name, 'n', PROTOCOL_NAME_MAX);
    name[PROTOCOL_NAME_MAX] = '\0';
    ck_assert_int_eq(session_new(&session, entry, &peer, name, false), 0);
    ck_assert_str_eq(session->name, name);
}
END_TEST

START_TEST(test_session_has_a_witness_if_asked)
{
    begin(true);
    ck_assert_uint_eq(test_shm_files(), 1);
    int fd = session_witness(session);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), PAGE);
    close(fd);
}
END_TEST

START_TEST(test_session_without_a_witness_makes_no_object)
{
    begin(false);
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_int_eq(session_witness(session), -ENOENT);
}
END_TEST

START_TEST(test_session_without_room_for_its_witness_leaves_nothing)
{
    test_shm_fill(0);
    ck_assert_int_eq(session_new(&session, entry, &peer, "x", true), -ENOSPC);
    ck_assert_ptr_null(session);
    ck_assert_uint_eq(test_shm_files(), 1); /* what fills it */
    ck_assert_int_eq(session_new(&session, entry, &peer, "x", false), 0);
    test_shm_unfill();
}
END_TEST

START_TEST(test_session_takes_the_last_page_for_its_witness)
{
    test_shm_fill(PAGE);
    begin(true);
    ck_assert_uint_eq(segment_space(), 0);
    test_shm_unfill();
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_session_joins_a_pool_once)
{
    begin(false);
    struct pool *pool = make_pool(1);
    struct membership *membership = session_join(session, pool, false);

    ck_assert_ptr_eq(session_membership(session, 1), membership);
    ck_assert_ptr_eq(membership->pool, pool);
    ck_assert_ptr_eq(session_join(session, pool, false), membership);
    ck_assert_uint_eq(session->membership_count, 1);
    ck_assert_uint_eq(pool->member_count, 1);
    ck_assert_uint_eq(session_leave(session, membership, 0), 0);
    ck_assert_ptr_null(session_membership(session, 1));
    ck_assert_uint_eq(pool->member_count, 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_that_may_write_once_may_write)
{
    begin(false);
    struct pool *pool = make_pool(1);
    ck_assert(!session_join(session, pool, false)->write);
    ck_assert(session_join(session, pool, true)->write);
    ck_assert(session_join(session, pool, false)->write);
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_join_has_no_room_in_a_full_pool)
{
    begin(false);
    struct pool *pool = make_pool(1);
    for (uint32_t member = 1; member <= POOL_MEMBER_MAX; member++)
        ck_assert_uint_eq(pool_join(pool, 1000 + member, 0), member);

    ck_assert_ptr_null(session_join(session, pool, true));
    ck_assert_uint_eq(session->membership_count, 0);
    pool_leave(pool, 5, 0);
    ck_assert_uint_eq(session_join(session, pool, true)->member, 5);
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_usage_is_that_of_all_its_pools)
{
    uint8_t wire[4 * HANDLE_WIRE_SIZE];
    begin(false);
    struct pool *first = make_pool(1), *second = make_pool(2);
    allocate(first, session_join(session, first, true)->member, 3, wire);
    allocate(second, session_join(session, second, true)->member, 2, wire);
    uint32_t other = pool_join(second, 99, 0);
    allocate(second, other, 1, wire); /* somebody else's */

    ck_assert_uint_eq(session_usage(session), 5);
    ck_assert_uint_eq(session_leave(session, session_membership(session, 1), 0), 3);
    ck_assert_uint_eq(session_usage(session), 2);
    ck_assert_uint_eq(session_leave(session, session_membership(session, 2), 0), 2);
    ck_assert_uint_eq(pool_usage(second), 1);
    ck_assert_uint_eq(pool_leave(second, other, 0), 1);
    remove_pool(first);
    remove_pool(second);
}
END_TEST

/* What it holds with others counts as its own, for as long as it holds it. */
START_TEST(test_session_usage_counts_each_hold)
{
    uint8_t wire[HANDLE_WIRE_SIZE];
    struct error error;
    begin(false);
    struct pool *pool = make_pool(1);
    uint32_t member = session_join(session, pool, true)->member, other = pool_join(pool, 99, 0);
    allocate(pool, other, 1, wire);
    ck_assert(pool_operate(pool, POOL_RETAIN, member, wire, 1, 0, &error));
    ck_assert(pool_operate(pool, POOL_RETAIN, member, wire, 1, 0, &error));

    ck_assert_uint_eq(session_usage(session), 2);
    ck_assert_uint_eq(session_leave(session, session_membership(session, 1), 0), 0);
    ck_assert_uint_eq(pool_usage(pool), 1);
    ck_assert_uint_eq(pool_leave(pool, other, 0), 1);
    remove_pool(pool);
}
END_TEST

/* All sessions of one uid in a pool share its quota. */
START_TEST(test_session_joins_as_its_peers_user)
{
    begin(false);
    struct pool *pool = make_pool(1);
    struct membership *membership = session_join(session, pool, true);
    ck_assert_uint_eq(pool->accounts[membership->member]->user->uid, peer.uid);
    session_leave(session, membership, 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_forgets_a_pool_that_goes)
{
    begin(false);
    struct pool *pool = make_pool(1);
    struct membership *membership = session_join(session, pool, true);
    remove_pool(pool);
    session_forget(session, membership);
    ck_assert_uint_eq(session->membership_count, 0);
    ck_assert_ptr_null(session_membership(session, 1));
}
END_TEST

/* ---- Alive? ---------------------------------------------------------------------------------- */

START_TEST(test_session_without_a_witness_is_never_alive)
{
    begin(false);
    struct pool *pool = make_pool(1);
    session_join(session, pool, true);
    ck_assert(!session_is_alive(session));
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_is_alive_while_its_witness_is_mapped)
{
    begin(true);
    struct pool *pool = make_pool(1);
    session_join(session, pool, true);
    ck_assert(!session_is_alive(session)); /* not mapped yet */
    void *mapping = map_witness();

    ck_assert(session_is_alive(session));
    munmap(mapping, PAGE);
    ck_assert(!session_is_alive(session));
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_is_alive_while_its_witness_is_under_way)
{
    begin(true);
    struct pool *pool = make_pool(1);
    session_join(session, pool, true);
    int fd = session_witness(session);

    ck_assert(session_is_alive(session));
    close(fd);
    ck_assert(!session_is_alive(session));
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_in_no_pool_lives_as_long_as_its_witness)
{
    begin(true);
    void *mapping = map_witness();
    ck_assert(session_is_alive(session));
    munmap(mapping, PAGE);
    ck_assert(!session_is_alive(session));
}
END_TEST

START_TEST(test_session_without_its_witness_ends_with_its_connection)
{
    char name[SEGMENT_NAME_SIZE];
    begin(true);
    struct pool *pool = make_pool(1);
    session_join(session, pool, true);
    void *mapping = map_witness();
    registry_witness_name(entry, name);
    ck_assert_int_eq(segment_unlink(name), 0); /* whoever does so */
    log_set_level(LOG_LEVEL_ERROR);

    session->connection = &registry;
    ck_assert(session_is_alive(session));
    session->connection = NULL;
    ck_assert(!session_is_alive(session));
    munmap(mapping, PAGE);
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

START_TEST(test_session_is_alive_while_its_witness_cannot_be_asked)
{
    char path[SEGMENT_NAME_SIZE + 16], name[SEGMENT_NAME_SIZE];
    begin(true);
    struct pool *pool = make_pool(1);
    session_join(session, pool, true);
    registry_witness_name(entry, name);
    snprintf(path, sizeof(path), "/dev/shm%s", name);
    log_set_level(LOG_LEVEL_ERROR);

    ck_assert_int_eq(chmod(path, 0644), 0); /* not as ours are */
    ck_assert(session_is_alive(session));
    ck_assert(session->doubted);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert(!session_is_alive(session));
    session_leave(session, session_membership(session, 1), 0);
    remove_pool(pool);
}
END_TEST

SUITE_MAIN_WITH("session", set_up, tear_down, test_session_begins_with_nothing,
                test_session_keeps_a_name_of_sixty_three_bytes, test_session_has_a_witness_if_asked,
                test_session_without_a_witness_makes_no_object,
                test_session_without_room_for_its_witness_leaves_nothing,
                test_session_takes_the_last_page_for_its_witness, test_session_joins_a_pool_once,
                test_session_that_may_write_once_may_write,
                test_session_join_has_no_room_in_a_full_pool,
                test_session_usage_is_that_of_all_its_pools, test_session_usage_counts_each_hold,
                test_session_joins_as_its_peers_user, test_session_forgets_a_pool_that_goes,
                test_session_without_a_witness_is_never_alive,
                test_session_is_alive_while_its_witness_is_mapped,
                test_session_is_alive_while_its_witness_is_under_way,
                test_session_in_no_pool_lives_as_long_as_its_witness,
                test_session_without_its_witness_ends_with_its_connection,
                test_session_is_alive_while_its_witness_cannot_be_asked)
