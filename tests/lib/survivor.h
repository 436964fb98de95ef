/* SPDX-License-Identifier: MIT */
/*
 * Clients on the bare protocol that live on when their daemon doesn't, and what they hold. They ask without
 * waiting, take what answers there are, and when the daemon was killed resume, settle and ask again, as
 * docs/protocol.md says. What they were answered is all that they know; by that what stands in their
 * mappings is judged.
 *
 * They live in the test's own process, and fail the test.
 */
#ifndef TESTS_LIB_SURVIVOR_H
#define TESTS_LIB_SURVIVOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <fastalloc/handle.h>

#include "shm/geometry.h"
#include "tests/lib/bare.h"

#define SURVIVORS 2u
#define SURVIVOR_POOLS 2u
#define SURVIVOR_ASKED 8u
#define SURVIVOR_BATCH 16u

union request {
    struct hello_request hello;
    struct resume_request resume;
    struct settle_request settle;
    struct pool_create_request create;
    struct pool_open_request open;
    struct pool_close_request close;
    struct pool_destroy_request destroy;
    struct pool_grow_request grow;
    struct pool_trim_request trim;
    struct lease_request lease;
    struct allocate_request allocate;
    struct free_request handles; /* as of release, retain, adopt and detach */
};

/* A request that isn't answered yet. */
struct asked {
    bool waits;
    enum method method;
    uint32_t msgid;
    union request request;
    uint8_t wire[SURVIVOR_BATCH * 16];
};

/* A pool that it has open. */
struct opened {
    uint32_t pool; /* its number; 0 = none */
    bool leaves;   /* its close is on the way */
    char name[PROTOCOL_NAME_MAX + 1];
    uint32_t nonce;
    uint32_t member;
    struct geometry geometry;
    struct layout_ctl *ctl;
    uint8_t *slots;
    uint8_t *data;
};

struct survivor {
    unsigned number; /* among survivors */
    bool greeted;
    struct bare bare;
    uint64_t session;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    void *witness;
    int bell;          /* of its leased pools; -1 = none */
    uint64_t requests; /* the last one's number */
    uint32_t changes;
    struct opened pools[SURVIVOR_POOLS];
    struct asked asked[SURVIVOR_ASKED];
};

extern struct survivor survivors[SURVIVORS];

/* Forgets all; then the first `count` connect and begin sessions. */
void survivors_begin(const char *socket, unsigned count);

/* One more connects, and asks for a session. */
void survivors_add(void);

/* ---- Asking ---------------------------------------------------------------------------------- */

void survivor_ask(struct survivor *survivor, enum method method, const union request *request);

/* The usual ones; the pool is one that it has open. What is created is of the test's kind. */
void survivor_create(struct survivor *survivor, const struct pool_create_request *create);
void survivor_open(struct survivor *survivor, const char *name);
void survivor_close(struct survivor *survivor, const char *name);
void survivor_allocate(struct survivor *survivor, const char *name, uint32_t count,
                       int64_t timeout);

/* free, release, retain, adopt or detach of so many objects of the pool, those there are from `first` on. */
void survivor_change(struct survivor *survivor, enum method method, const char *name,
                     unsigned first, uint32_t count);

/* Takes the answers that are there, or of all that was asked. */
void survivors_take(bool wait);
bool survivors_wait(void);      /* whether any does for an answer */
uint64_t survivors_heard(void); /* bytes of answers that have reached them */

/* ---- By itself, in a leased pool ------------------------------------------------------------- */

/* So many of the slots in its cache become objects, or all; a daemon may have taken them back. */
void survivor_make(struct survivor *survivor, const char *name, uint32_t count);
/* The pool's object at that place is freed, and the daemon told if somebody waits. */
void survivor_drop(struct survivor *survivor, const char *name, unsigned place);

/* ---- After the daemon's death ---------------------------------------------------------------- */

/* Takes what answers had come, and gives up the connections. */
void survivors_lose(void);

/* Connects to the next daemon: resumes, settles, and asks again what has no answer. */
void survivors_resume(void);

/* ---- What there is --------------------------------------------------------------------------- */

/* Whether the slots of the pool are what they know of, and all bytes as they were written. */
void survivors_compare(void);

/* From now on it is another process, which can be killed; that is all it does. Returns its pid. */
pid_t survivor_move(struct survivor *survivor);
/* It was killed. */
void survivor_bury(struct survivor *survivor);

/* All of them, at once, with whatever they hold. */
void survivors_die(void);

/* Gives up each hold, which must be there, closes all and ends. */
void survivors_end(void);

/* Must be open. */
struct opened *survivor_pool(struct survivor *survivor, const char *name);

#endif
