/* SPDX-License-Identifier: MIT */
/* Clients come, misbehave and go; the daemon stays as it was. What is left of them the stage counts. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/bare.h"
#include "tests/lib/stage.h"

#define CLIENTS 200

/* The signals that the daemon ignores, as a mask. */
static uint64_t ignored_signals(void)
{
    char path[64], line[256];
    uint64_t mask = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", stage.daemon.pid);
    FILE *status = fopen(path, "re");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, "SigIgn:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    fclose(status);
    return mask;
}

START_TEST(test_daemon_ignores_what_a_peer_can_raise)
{
    static const int signals[] = {SIGPIPE, SIGXFSZ, SIGIO};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        ck_assert(ignored_signals() >> (signals[i] - 1) & 1);
        ck_assert_int_eq(kill(stage.daemon.pid, signals[i]), 0);
    }
    stage_take_all(); /* it still serves */
}
END_TEST

/* Sends so many requests in one piece and hangs up, without reading a byte. */
static void ask_and_hang_up(unsigned requests)
{
    uint8_t data[8192];
    size_t size = 0;
    struct hello_request hello = {.version = 1, .witness = true};
    struct pool_open_request open = {.name = STAGE_POOL, .write = true, .map = true};
    struct bare bare;

    bare_connect(&bare, stage.daemon.socket);
    size += bare_encode(&bare, METHOD_HELLO, &hello, data, sizeof(data));
    size += bare_encode(&bare, METHOD_POOL_OPEN, &open, data + size, sizeof(data) - size);
    for (unsigned i = 0; i < requests; i++)
        size += bare_encode(&bare, METHOD_POOL_LIST, &(struct pool_list_request){0}, data + size,
                            sizeof(data) - size);
    send(bare.fd, data, size, MSG_NOSIGNAL);
    bare_close(&bare);
}

START_TEST(test_daemon_survives_clients_that_hang_up_before_the_reply)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        ask_and_hang_up(i % 50);
    stage_take_all();
}
END_TEST

/* The teardown finds the descriptors as they were. */
START_TEST(test_daemon_keeps_no_descriptor_of_clients_that_went)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct bare bare;
        fastalloc_connection_t *connection = test_daemon_connect(&stage.daemon);
        fastalloc_pool_t *pool = test_daemon_pool(connection, STAGE_POOL, 64, 0);
        bare_connect(&bare, stage.daemon.socket);
        if (i % 3 > 0)
            bare_hello(&bare, i % 2);
        if (i % 3 > 1)
            bare_open(&bare, STAGE_POOL, i % 2);
        if (i % 3 > 1)
            bare_allocate(&bare, 2);
        bare_close(&bare);
        fastalloc_close(pool);
        fastalloc_disconnect(connection);
    }
    stage_settle();
}
END_TEST

STAGE_MAIN("daemon_clients", test_daemon_ignores_what_a_peer_can_raise,
           test_daemon_survives_clients_that_hang_up_before_the_reply,
           test_daemon_keeps_no_descriptor_of_clients_that_went)
