/* SPDX-License-Identifier: MIT */
/* An instance without its sockets: a broker, dispatch, and clients who call it in wire form. */
#ifndef TESTS_FUZZ_INSTANCE_H
#define TESTS_FUZZ_INSTANCE_H

#include <unistd.h>

#include "daemon/dispatch.h"
#include "daemon/recovery.h"
#include "proto/scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/image.h"

#define REGISTRY "/dev/shm/registry" /* an image has it too */
#define DAEMON_UID 300u

struct client {
    struct caller caller; /* connected while it has a session */
    uint64_t session;     /* 0 = it never had one */
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    uint64_t request; /* the last allocate */
    uint32_t change;  /* the last one */
    int witness;      /* open, as it would be mapped; -1 */
};

extern struct broker broker;
extern struct answer answer; /* to the call that was last; its descriptors are closed */
extern int64_t moment;

/* With the registry that is there, or a new one; broker_init()'s status. */
int instance_begin(const struct broker_rim *rim);

/* As it comes from the wire: encoded, scanned and decoded. */
enum answer_kind instance_call(struct client *client, enum method method, const void *request);

#define CALL(client, NAME, name, ...)                                                              \
    instance_call(client, METHOD_##NAME, &(struct name##_request){__VA_ARGS__})

/* Says hello for it. Whether it got a session. */
bool instance_greet(struct client *client, bool witness);

/* Its connection is gone. */
void instance_hang_up(struct client *client);

/* Its process is. */
void instance_let_die(struct client *client);

#endif
