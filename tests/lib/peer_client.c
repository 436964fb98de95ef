/* SPDX-License-Identifier: MIT */
#include "tests/lib/peer_client.h"

#include <check.h>

void peer_client_connect(struct peer_client *client, peer_script_t script)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    *client = (struct peer_client){.error = FASTALLOC_ERROR_INIT};
    test_peer_start(&client->test, script);
    options.socket = client->test.socket;
    ck_assert_int_eq(fastalloc_connect(&options, &client->connection, NULL), 0);
}

void peer_client_open(struct peer_client *client, peer_script_t script)
{
    peer_client_connect(client, script);
    ck_assert_msg(fastalloc_open(client->connection, "pool", NULL, &client->pool, &client->error) ==
                      0,
                  "%s", client->error.message);
}

void peer_client_end(struct peer_client *client)
{
    fastalloc_disconnect(client->connection);
    test_peer_join(&client->test);
}
