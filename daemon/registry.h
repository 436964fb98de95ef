/* SPDX-License-Identifier: MIT */
/*
 * The registry: what an instance owns, in a file of its private folder that outlives the process.
 * The names of all shared-memory objects follow from the keys in it, so that a daemon which starts
 * knows what a dead one left. An entry is written before the objects exist and cleared after they
 * are gone.
 *
 * Only the daemon reads and writes it.
 */
#ifndef DAEMON_REGISTRY_H
#define DAEMON_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/messages.h"
#include "shm/handle.h"
#include "shm/segment.h"

#define REGISTRY_MAGIC UINT64_C(0x7972747369676572) /* "registry" in memory */
#define REGISTRY_VERSION 2u
#define REGISTRY_POOLS 1024u
#define REGISTRY_SESSIONS 4096u
#define REGISTRY_BOOT_SIZE 16u
#define REGISTRY_WITNESS "witness" /* the part that a session has of its key */

enum registry_state {
    REGISTRY_FREE = 0,
    REGISTRY_MAKING = 1, /* its objects may exist or not; of pools alone */
    REGISTRY_READY = 2,
    REGISTRY_ENDING = 3, /* its objects may still exist or not; of pools alone */
};

struct registry_pool {
    uint32_t state; /* stored last when it is made, first when it is cleared */
    uint32_t id;
    uint8_t key[SEGMENT_KEY_SIZE];
};

struct registry_session {
    uint32_t state;
    uint32_t uid;
    uint64_t id;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    uint8_t witness[SEGMENT_KEY_SIZE];
    uint64_t changes; /* carried out (daemon/journal.h): the last one's number : 32 | which : 32 */
    uint32_t pid;     /* for people, as is the name */
    uint32_t pad;
    char name[PROTOCOL_NAME_MAX + 1];
};

/*
 * The change that a session asked for, while it is under way: a daemon that starts and finds one
 * carries out the rest of it.
 */
struct registry_change {
    uint32_t kind; /* enum journal_kind (daemon/journal.h); stored last, cleared first */
    uint32_t pool;
    uint64_t session;
    uint32_t number; /* the session's, 0 = none */
    uint32_t member;
    uint32_t count; /* of handles */
    uint32_t pad;
    uint64_t progress; /* which handle is next : 32 | holds that the member had on it : 32 */
    uint8_t handles[PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE];
};

struct registry_file {
    uint64_t magic;
    uint32_t version; /* stored last */
    uint32_t nonce;
    uint32_t last_pool; /* ids are never used again */
    uint32_t failures;  /* of recoveries, one after the other */
    uint64_t last_session;
    uint64_t prefix; /* what the keys of all its objects begin with, so that a stray one is known */
    uint64_t last_event;
    uint8_t boot[REGISTRY_BOOT_SIZE]; /* the machine's when it was written; zero: not known */
    struct registry_pool pools[REGISTRY_POOLS];
    struct registry_session sessions[REGISTRY_SESSIONS];
    struct registry_change change;
};

_Static_assert(offsetof(struct registry_file, pools) == 64, "registry layout");
_Static_assert(offsetof(struct registry_file, failures) == 20, "registry layout");
_Static_assert(offsetof(struct registry_file, boot) == 48, "registry layout");
_Static_assert(sizeof(struct registry_pool) == 24, "registry layout");
_Static_assert(sizeof(struct registry_session) == 128, "registry layout");
_Static_assert(offsetof(struct registry_change, progress) == 32, "registry layout");

struct registry {
    struct registry_file *file;
};

/*
 * Takes over the one that is there. -ENOENT if there is none, -ENODATA if it wasn't finished, so
 * that nothing is in it: then it is removed; -EPROTO if it is no registry of this version; or
 * another negated errno.
 */
int registry_open(struct registry *registry, const char *path);

/* Makes a new one, with a new nonce. 0 or a negated errno; then nothing is left behind. */
int registry_create(struct registry *registry, const char *path);
void registry_close(struct registry *registry);

/*
 * Whether the machine was started since it was last noted: the file may lie on a disk, shared memory
 * doesn't. A container may have such a number of its own. False as well if it can't be told.
 */
bool registry_is_of_another_boot(const struct registry_file *file);
void registry_note_boot(struct registry *registry);

/*
 * It lists nothing any more; *listed: it did. The numbers go on, under another nonce, since the last
 * of them may not have come to the disk. 0 or a negated errno.
 */
int registry_empty(struct registry *registry, bool *listed);

uint16_t registry_nonce(const struct registry *registry);

/* Whether there are numbers left for new pools: none is ever used again. */
bool registry_has_numbers(const struct registry *registry);

/*
 * A new entry with a new id and random key, in the state MAKING; NULL when there is no more room,
 * or no number left. (Nor without random bytes, which a kernel that gave some once always has.)
 */
struct registry_pool *registry_add_pool(struct registry *registry);
/* A new entry with a new id and random token and key, READY; NULL when there is no more room. */
struct registry_session *registry_add_session(struct registry *registry, uint32_t uid);

void registry_set_state(uint32_t *state, enum registry_state value);

/* The name of a session's witness. */
void registry_witness_name(const struct registry_session *session, char name[SEGMENT_NAME_SIZE]);

#endif
