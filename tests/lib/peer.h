/* SPDX-License-Identifier: MIT */
/*
 * A scripted daemon: a child process that accepts one client and then does what a test's function
 * says, right or wrong. It ends with the test.
 *
 * The script runs in the child, where libcheck's assertions can't be used: peer_require() instead.
 */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/envelope.h"
#include "proto/scan.h"

/* In the child: the accepted connection. */
struct peer {
    int fd;
    int listener;
    bool may_lose_client; /* the script goes on when nobody is there to send to */
    uint32_t msgid;       /* of the request received last */
    struct envelope request;
    struct decoder decoder;
    struct scan scan;
    size_t taken; /* bytes of the request received last */
    size_t size;
    uint8_t data[4 * SCAN_MESSAGE_MAX];
};

typedef void (*peer_script_t)(struct peer *peer);

/* In the test. */
struct test_peer {
    pid_t pid;
    int listener;
    char directory[64];
    char socket[96];
};

/* Binds the socket, without a peer behind it yet. */
void test_peer_bind(struct test_peer *test, int backlog);

/*
 * Starts the peer behind the bound socket. After the script it reads on until the client closes.
 * The descriptor of the socket is the child's from now on.
 */
void test_peer_run(struct test_peer *test, peer_script_t script);

/* Both. */
void test_peer_start(struct test_peer *test, peer_script_t script);

/* Waits for its end, and fails the test if something that the script required wasn't so. */
void test_peer_join(struct test_peer *test);

/* ---- For scripts ----------------------------------------------------------------------------- */

#define peer_require(condition) peer_require_line(condition, #condition, __FILE__, __LINE__)
void peer_require_line(bool condition, const char *text, const char *file, int line);

/* Receives a request, which must be of this method, and decodes it unless `request` is NULL. */
void peer_receive(struct peer *peer, enum method method, void *request);

/* Whether the next request, which is waited for, is of this method. */
bool peer_is_next(struct peer *peer, enum method method);

/* Answers the request received last. */
void peer_reply(struct peer *peer, enum method method, const void *reply);
void peer_reply_to(struct peer *peer, uint32_t msgid, enum method method, const void *reply);
void peer_reply_error(struct peer *peer, const struct error *error);

/* Answers with descriptors, which are closed afterwards. */
void peer_reply_with(struct peer *peer, enum method method, const void *reply, const int *fds,
                     size_t count);

/* Sends anything. */
void peer_send(struct peer *peer, const void *data, size_t size);
void peer_send_with(struct peer *peer, const void *data, size_t size, const int *fds, size_t count);

/* Receives the hello and answers it as a good daemon does. */
void peer_greet(struct peer *peer);

/* Ends the connection; and lets the client come again. */
void peer_cut(struct peer *peer);
void peer_accept(struct peer *peer);

/* Cuts the connection, accepts the next one, and receives the resume on it. */
void peer_receive_resume(struct peer *peer, struct resume_request *request);

/* The same, which must be for the session of peer_greet(), and answers it as a good daemon does. */
void peer_resume(struct peer *peer);

/* Receives a settle, which must name just these allocates, and answers it. */
void peer_settle(struct peer *peer, const uint64_t *numbers, size_t count);

/* A file of zeroed memory. */
int peer_memory(size_t size);

/* Reads until the client closes. */
void peer_wait_for_end(struct peer *peer);

#endif
