/* SPDX-License-Identifier: MIT */
/*
 * The library's end of a scripted daemon: connected, with the scripted pool open.
 */
#ifndef TESTS_LIB_PEER_CLIENT_H
#define TESTS_LIB_PEER_CLIENT_H

#include <fastalloc/fastalloc.h>

#include "tests/lib/peer_pool.h"

struct peer_client {
    struct test_peer test;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool; /* NULL: none was opened */
    fastalloc_error_t error;
};

/* Starts the script, which greets, and connects. */
void peer_client_connect(struct peer_client *client, peer_script_t script);

/* Also opens "pool" for writing: the script goes on with peer_pool_open(). */
void peer_client_open(struct peer_client *client, peer_script_t script);

/* Disconnects, and fails the test if something that the script required wasn't so. */
void peer_client_end(struct peer_client *client);

#endif
