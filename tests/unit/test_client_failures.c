/* SPDX-License-Identifier: MIT */
/*
 * Connecting to a daemon and opening a pool while this process is short of everything: each system
 * call and each allocation that the library makes fails in its turn.
 */
#include <fastalloc/fastalloc.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/fd_count.h"
#include "tests/lib/peer_pool.h"
#include "tests/unit/suite.h"

/* So many points at least, with what a sanitizer leaves. */
#define POINTS_MIN 7

/* ---- What fails ------------------------------------------------------------------------------ */

static bool armed;   /* outside of that, nothing fails */
static int calls;    /* since then */
static int fail_at;  /* which of them fails, from 1 */
static bool go_on;   /* whether all that follow fail as well */
static bool reached; /* whether one has failed */

static bool fails(int system_error)
{
    if (!armed)
        return false;
    calls++;
    if (calls != fail_at && !(go_on && calls > fail_at))
        return false;
    reached = true;
    errno = system_error;
    return true;
}

/* The library's calls of these functions come here, since programs go before libraries. */
#define INSTEAD __attribute__((visibility("default")))

INSTEAD int socket(int domain, int type, int protocol)
{
    return fails(EMFILE) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

INSTEAD int setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen)
{
    return fails(ENOMEM) ? -1 : (int)syscall(SYS_setsockopt, fd, level, optname, optval, optlen);
}

INSTEAD ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    return fails(ENOBUFS) ? -1 : syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

INSTEAD ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fails(ENOMEM) ? -1 : syscall(SYS_recvmsg, fd, message, flags);
}

INSTEAD ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
    return fails(EIO) ? -1 : syscall(SYS_pread64, fd, buf, nbytes, offset);
}

/* Of these some sanitizers need their own. */
#ifndef __SANITIZE_THREAD__
INSTEAD void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    long address = -1;
    if (!fails(ENOMEM))
        address = syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
    void *result;
    memcpy(&result, &address, sizeof(result));
    return result;
}

INSTEAD int madvise(void *addr, size_t len, int advice)
{
    return fails(ENOMEM) ? -1 : (int)syscall(SYS_madvise, addr, len, advice);
}
#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

INSTEAD void *malloc(size_t size)
{
    return fails(ENOMEM) ? NULL : __libc_malloc(size);
}

INSTEAD void *calloc(size_t nmemb, size_t size)
{
    return fails(ENOMEM) ? NULL : __libc_calloc(nmemb, size);
}

INSTEAD void *realloc(void *ptr, size_t size)
{
    return fails(ENOMEM) ? NULL : __libc_realloc(ptr, size);
}
#endif

/* ---- A daemon that takes it as it comes ------------------------------------------------------ */

static bool has_more(struct peer *peer)
{
    char byte;
    return peer->size > peer->taken || recv(peer->fd, &byte, 1, MSG_PEEK) > 0;
}

static void serve_as_far_as_it_goes(struct peer *peer)
{
    peer->may_lose_client = true;
    if (has_more(peer))
        peer_greet(peer);
    if (has_more(peer))
        peer_pool_open(peer);
    if (has_more(peer))
        peer_pool_close(peer);
}

/* ---- The tests ------------------------------------------------------------------------------- */

static int connect_and_open(const char *path, fastalloc_connection_t **connection,
                            fastalloc_pool_t **pool, fastalloc_error_t *error)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = path;
    options.connect_limit = 0;
    options.reply_limit = options.reconnect_limit = FASTALLOC_SECOND / 10;
    int result = fastalloc_connect(&options, connection, error);
    return result < 0 ? result : fastalloc_open(*connection, "pool", NULL, pool, error);
}

/* The daemon may still wait for a client, if it never came to that. */
static void call_in_vain(const struct test_peer *test)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, test->socket, sizeof(test->socket));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
              errno == ECONNREFUSED);
    close(fd);
}

/* Whether anything failed. Nothing may be left then, and it must be said what it was. */
static bool try_with_failure(int which, bool all_after_it)
{
    struct test_peer test;
    fastalloc_connection_t *connection = NULL;
    fastalloc_pool_t *pool = NULL;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    test_peer_start(&test, serve_as_far_as_it_goes);
    unsigned before = test_fd_count();

    fail_at = which;
    go_on = all_after_it;
    calls = 0;
    reached = false;
    armed = true;
    int result = connect_and_open(test.socket, &connection, &pool, &error);
    armed = false;

    ck_assert_int_eq(error.code, result);
    ck_assert(result == 0 || error.message[0] != '\0');
    ck_assert(reached || result == 0);
    ck_assert((pool != NULL) == (result == 0));
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    ck_assert_uint_eq(test_fd_count(), before);
    if (result < 0)
        call_in_vain(&test);
    test_peer_join(&test);
    return reached;
}

START_TEST(test_whatever_fails_once_is_reported_and_leaves_nothing)
{
    int which = 1;
    while (try_with_failure(which, false))
        which++;
    ck_assert_int_gt(which, POINTS_MIN);
}
END_TEST

START_TEST(test_whatever_fails_from_then_on_is_reported_and_leaves_nothing)
{
    int which = 1;
    while (try_with_failure(which, true))
        which++;
    ck_assert_int_gt(which, POINTS_MIN);
}
END_TEST

SUITE_MAIN("client_failures", test_whatever_fails_once_is_reported_and_leaves_nothing,
           test_whatever_fails_from_then_on_is_reported_and_leaves_nothing)
