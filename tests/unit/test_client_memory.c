/* SPDX-License-Identifier: MIT */
/* What an open does with a pool's memory: what is asked of the machine, and what if it refuses. */
#include <fastalloc/fastalloc.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/peer_client.h"
#include "tests/unit/suite.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ---- What the library calls, seen from here -------------------------------------------------- */

#define INSTEAD __attribute__((visibility("default")))

static struct {
    int refused; /* advice; -1 = mlock */
    int system_error;
    int interruptions;
    int advice[8]; /* in their order; -1 = mlock */
    unsigned count;
    size_t size;
} machine;

static int ask(int advice, size_t size)
{
    machine.advice[machine.count++] = advice;
    machine.size = size;
    if (machine.system_error == 0 || advice != machine.refused)
        return 0;
    if (machine.system_error == EINTR && machine.interruptions-- == 0)
        return 0;
    errno = machine.system_error;
    return -1;
}

INSTEAD int madvise(void *addr, size_t len, int advice)
{
    if (advice == MADV_HUGEPAGE || advice == MADV_COLLAPSE || advice == MADV_POPULATE_READ ||
        advice == MADV_POPULATE_WRITE)
        return ask(advice, len);
    return (int)syscall(SYS_madvise, addr, len, advice);
}

INSTEAD int mlock(const void *addr, size_t len)
{
    (void)addr;
    return ask(-1, len);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static uint32_t flags;

static void serve_flags(struct peer *peer)
{
    struct peer_pool pool;
    struct pool_close_reply reply = {.freed = 0};
    peer_greet(peer);
    peer_pool_receive(&pool, LAYOUT_BROKERED, peer);
    pool.head.flags = flags;
    peer_pool_reply(&pool, peer);
    peer_receive(peer, METHOD_POOL_CLOSE, NULL);
    peer_reply(peer, METHOD_POOL_CLOSE, &reply);
}

static void expect_asked(uint32_t with, int32_t access, const int *advice, unsigned count)
{
    struct peer_client client;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = access;
    flags = with;
    peer_client_connect(&client, serve_flags);
    machine.count = 0;
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", &options, &client.pool, NULL), 0);
    ck_assert_uint_eq(machine.count, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(machine.advice[i], advice[i]);
    if (count > 0)
        ck_assert_uint_eq(machine.size, 4096); /* that of 10 slots, not of the reserve */
    fastalloc_close(client.pool);
    peer_client_end(&client);
}

START_TEST(test_a_pool_without_options_asks_for_nothing)
{
    expect_asked(LAYOUT_OWNER_FREES | LAYOUT_ZERO_FREE, FASTALLOC_WRITE, NULL, 0);
}
END_TEST

START_TEST(test_each_option_asks_for_its_own)
{
    const int huge[] = {MADV_HUGEPAGE, MADV_COLLAPSE};
    const int populate[] = {MADV_POPULATE_WRITE};
    const int lock[] = {-1};
    expect_asked(LAYOUT_HUGE, FASTALLOC_WRITE, huge, 2);
    expect_asked(LAYOUT_PREFAULT, FASTALLOC_WRITE, populate, 1);
    expect_asked(LAYOUT_LOCK, FASTALLOC_WRITE, lock, 1);
}
END_TEST

START_TEST(test_pages_are_huge_before_they_are_mapped_and_mapped_before_they_are_locked)
{
    const int all[] = {MADV_HUGEPAGE, MADV_COLLAPSE, MADV_POPULATE_READ, -1};
    expect_asked(LAYOUT_HUGE | LAYOUT_PREFAULT | LAYOUT_LOCK, FASTALLOC_READ, all, 4);
}
END_TEST

START_TEST(test_what_is_only_better_may_fail)
{
    const int huge[] = {MADV_HUGEPAGE, MADV_COLLAPSE};
    machine.refused = MADV_COLLAPSE;
    machine.system_error = EINVAL;
    expect_asked(LAYOUT_HUGE, FASTALLOC_WRITE, huge, 2);
}
END_TEST

START_TEST(test_an_interrupted_prefault_goes_on)
{
    const int twice[] = {MADV_POPULATE_WRITE, MADV_POPULATE_WRITE};
    machine.refused = MADV_POPULATE_WRITE;
    machine.system_error = EINTR;
    machine.interruptions = 1;
    expect_asked(LAYOUT_PREFAULT, FASTALLOC_WRITE, twice, 2);
}
END_TEST

/* The open fails, and the daemon is told. */
static void expect_refused(uint32_t with, int refused, int system_error, const char *option,
                           const char *advice)
{
    struct peer_client client;
    fastalloc_error_t *error = &client.error;
    flags = with;
    machine.refused = refused;
    machine.system_error = system_error;
    peer_client_connect(&client, serve_flags);
    ck_assert_int_eq(fastalloc_open(client.connection, "pool", NULL, &client.pool, error),
                     -system_error);
    ck_assert_int_eq(error->system_error, system_error);
    ck_assert_msg(strstr(error->message, option), "'%s' doesn't say %s", error->message, option);
    ck_assert_msg(strstr(error->message, advice), "'%s' doesn't say %s", error->message, advice);
    ck_assert_ptr_nonnull(strstr(error->message, strerrordesc_np(system_error)));
    ck_assert_ptr_nonnull(strstr(error->message, "without `"));
    ck_assert_ptr_null(client.pool);
    peer_client_end(&client);
}

START_TEST(test_huge_pages_refused_fail_the_open)
{
    expect_refused(LAYOUT_HUGE, MADV_HUGEPAGE, EINVAL, "`huge`", "kernel");
    expect_refused(LAYOUT_HUGE, MADV_HUGEPAGE, EPERM, "`huge`", "");
}
END_TEST

START_TEST(test_prefaulting_refused_fails_the_open)
{
    expect_refused(LAYOUT_PREFAULT, MADV_POPULATE_WRITE, EINVAL, "`prefault`", "Linux 5.14");
    expect_refused(LAYOUT_PREFAULT, MADV_POPULATE_WRITE, ENOMEM, "`prefault`", "room");
}
END_TEST

START_TEST(test_locking_refused_fails_the_open)
{
    expect_refused(LAYOUT_LOCK, -1, ENOMEM, "`lock`", "RLIMIT_MEMLOCK");
    expect_refused(LAYOUT_LOCK, -1, EPERM, "`lock`", "ulimit -l");
}
END_TEST

SUITE_MAIN("client_memory", test_a_pool_without_options_asks_for_nothing,
           test_each_option_asks_for_its_own,
           test_pages_are_huge_before_they_are_mapped_and_mapped_before_they_are_locked,
           test_what_is_only_better_may_fail, test_an_interrupted_prefault_goes_on,
           test_huge_pages_refused_fail_the_open, test_prefaulting_refused_fails_the_open,
           test_locking_refused_fails_the_open)
