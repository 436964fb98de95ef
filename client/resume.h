/* SPDX-License-Identifier: MIT */
/*
 * What a session needs to go on over another connection: its number and token, and the pools that
 * it has open, with the bells of those where it has one.
 */
#ifndef CLIENT_RESUME_H
#define CLIENT_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include <fastalloc/fastalloc.h>

#include "client/call.h"

/* Pools that one session can have open. */
#define RESUME_POOLS_MAX ((unsigned)(PROTOCOL_OPEN_MAX / sizeof(uint32_t)))

struct resume_pool {
    uint32_t id;
    int bell; /* -1 = none */
};

struct resume {
    uint64_t session; /* 0 = there is none that could go on */
    unsigned count;
    struct resume_pool pools[RESUME_POOLS_MAX];

    /* The call, while it is made. */
    struct call call;
    struct resume_request request;
    struct resume_reply reply;
    fastalloc_error_t error;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    uint8_t numbers[PROTOCOL_OPEN_MAX];
};

/* From now on the session can go on. */
void resume_begin(struct resume *resume, uint64_t session,
                  const uint8_t token[PROTOCOL_TOKEN_SIZE]);

/*
 * The pool is open. Its bell, -1 = none, is good until resume_forget_bell(): it is replaced, under
 * its number, by that of a new connection. There is room unless RESUME_POOLS_MAX others are open.
 */
void resume_add(struct resume *resume, uint32_t pool, int bell);
void resume_forget(struct resume *resume, uint32_t pool);
void resume_forget_bell(struct resume *resume, uint32_t pool);

/* Makes resume->call ready to be sent. */
void resume_prepare(struct resume *resume);

#endif
