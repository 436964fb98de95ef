/* SPDX-License-Identifier: MIT */
/*
 * A session: one client as the daemon knows it, from its hello to the moment when it can no longer
 * touch any pool. It owns its memberships and its waiting requests.
 *
 * A session without a witness ends with its connection. One with a witness ends when the client's
 * mapping of it is gone, whatever else became of the process, or of this one; end of stream and the
 * pidfd only say when to look.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/listener.h"
#include "daemon/pool.h"
#include "daemon/registry.h"
#include "daemon/waitqueue.h"

/* Who is at the other end, as the kernel says it. */
struct peer {
    pid_t pid; /* for people only: 0 from another pid namespace */
    uid_t uid;
    gid_t gid;
};

struct membership {
    LIST_ENTRY(membership) in_session;
    struct pool *pool;
    uint32_t member;
    bool write;
};

struct session {
    TAILQ_ENTRY(session) in_broker;
    struct registry_session *entry;
    uint64_t id;
    struct peer peer;
    char name[PROTOCOL_NAME_MAX + 1];
    bool witnessed;
    bool doubted;     /* it was logged that its state can't be found out */
    void *connection; /* the rim's; NULL once the connection is gone */
    void *keeper;     /* what was its connection last: it sees to the session's end */
    LIST_HEAD(, membership) memberships;
    uint32_t membership_count;
    struct waiter_list waiters;
    struct listener_list listeners;
    struct grower_list growers;
    uint32_t waiter_count; /* of all three */
    struct user *user;     /* of the instance; the broker's to set, with what is charged to it */
    struct charge counted;
};

TAILQ_HEAD(session_list, session);

/*
 * Of an entry that is READY; makes the witness if asked. 0 or a negated errno, then nothing is left
 * behind.
 */
int session_new(struct session **session_made, struct registry_session *entry,
                const struct peer *peer, const char *name, bool witnessed);

/* Of an entry that a dead daemon left, READY. 0 or -ENOMEM. */
int session_recover(struct session **session_made, struct registry_session *entry);

/* Who is at the other end now. */
void session_set_peer(struct session *session, const struct peer *peer);

/* Whether these are the bytes of its token, in a time that doesn't tell how many of them are right. */
bool session_has_token(const struct session *session, const uint8_t *token, size_t size);

/* Removes the witness and clears the registry's entry. */
void session_remove(struct session *session);

/* Its memberships and waiters are gone already. */
void session_free(struct session *session);

/* A descriptor of the witness for the client, or a negated errno. */
int session_witness(const struct session *session);

/*
 * Whether the client may still have pools mapped. If that can't be found out it counts as alive; if
 * its witness was removed by somebody, for as long as it is connected. Both is logged.
 */
bool session_is_alive(struct session *session);

/* NULL if the session hasn't opened the pool. */
struct membership *session_membership(const struct session *session, uint32_t pool);

/* Joins the pool, if it hasn't yet. NULL without memory or member numbers. */
struct membership *session_join(struct session *session, struct pool *pool, bool write);

/* Is that member of the pool already. 0 or -ENOMEM. */
int session_rejoin(struct session *session, struct pool *pool, uint32_t member);

/* Leaves the pool. Returns how many slots that freed. */
uint32_t session_leave(struct session *session, struct membership *membership, int64_t now);

/* Forgets the membership; the pool itself is going. */
void session_forget(struct session *session, struct membership *membership);

/* Slots that it holds, in all its pools. */
uint64_t session_usage(const struct session *session);

#endif
