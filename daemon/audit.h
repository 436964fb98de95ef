/* SPDX-License-Identifier: MIT */
/*
 * An audit: whether what an instance keeps, its registry and its objects in shared memory, obeys the
 * laws that shm/layout.h and daemon/pool.h are about. It changes nothing. It trusts no byte of what it
 * judges, only the sizes that it is told: whatever stands there, it comes to an end and says so.
 *
 * What it finds is a violation, which no daemon can have left, or a note. Most notes are of a change
 * in the middle of which a daemon was killed: the order of stores lets it be told apart, and the next
 * start finishes it. In a live instance, between two requests, nothing is under way, so that there
 * the same is a violation.
 */
#ifndef DAEMON_AUDIT_H
#define DAEMON_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/registry.h"
#include "daemon/store.h"

#define AUDIT_TEXT_SIZE (PROTOCOL_TEXT_MAX + 1)

struct broker;

enum audit_kind { AUDIT_VIOLATION, AUDIT_NOTE };

struct audit {
    bool live; /* of an instance that is served, between two requests */
    /* One line of ASCII for each finding; nothing in it is what a member wrote. */
    void (*report)(void *context, enum audit_kind kind, const char *text);
    void *context;
    /* What was judged, and what was found. */
    uint64_t pools;
    uint64_t sessions;
    uint64_t slots;
    uint64_t violations;
    uint64_t notes;
};

/* ---- The parts: bytes in, findings out ------------------------------------------------------- */

void audit_report(struct audit *audit, enum audit_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A note; of a live instance a violation. "what; the next start finishes it" */
void audit_under_way(struct audit *audit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The sessions that are READY, by their ids, which rise. */
struct audit_sessions {
    uint32_t count;
    uint64_t ids[REGISTRY_SESSIONS];
};

/* Where the session stands among them; -1. */
int audit_find_session(const struct audit_sessions *sessions, uint64_t id);

/*
 * The registry, of so many bytes, and who its sessions are. False if it is none, or not yet: then
 * nothing is known of what the instance has.
 */
bool audit_registry(struct audit *audit, const struct registry_file *file, uint64_t size,
                    struct audit_sessions *sessions);

/* A name in /dev/shm, which must be of an object that the registry knows, if it is of this instance. */
void audit_name(struct audit *audit, const struct registry_file *file, const char *name,
                const uint8_t key[SEGMENT_KEY_SIZE], const char *part);

struct audit_object {
    int status;  /* 0, or why it can't be looked at, as a negated errno: -ENOENT = there is none */
    void *start; /* its content, which isn't changed; NULL: nothing of that is judged */
    uint64_t mapped; /* bytes that can be read there, all of it or less */
    uint64_t size;
};

struct audit_subject {
    uint32_t id;
    uint32_t nonce;
    uint32_t state; /* as the registry says */
    const struct audit_sessions *sessions;
    struct audit_object objects[STORE_OBJECTS];
};

void audit_pool(struct audit *audit, const struct audit_subject *subject);

/* ---- The whole ------------------------------------------------------------------------------- */

/*
 * What the instance with the registry at the path left, which nobody serves. 0, -ENOENT if there is
 * no registry, or another negated errno.
 */
int audit_instance(struct audit *audit, const char *path);

/*
 * What the broker serves, and whether what it keeps of that in its own memory is the same. Takes some
 * 20 ms for a million slots.
 */
void audit_broker(struct audit *audit, const struct broker *broker);

/* ---- Of both --------------------------------------------------------------------------------- */

/* Opens the object of that name, for its size; or with its content, until it is forgotten. */
struct audit_object audit_take_object(const char *name, bool with_content);
void audit_forget_object(const struct audit_object *object);

/* All names in /dev/shm. */
void audit_names(struct audit *audit, const struct registry_file *file);

#endif
