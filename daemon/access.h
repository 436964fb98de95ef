/* SPDX-License-Identifier: MIT */
/*
 * Who may do what, by the credentials that the kernel gave for the peer: with a pool, by the mode and the
 * owner that it has, as with files; and in the instance, by a rule that stands on its command line. root
 * and the daemon's own user may everything.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>

#include "daemon/session.h"
#include "shm/layout.h"

#define ACCESS_MODE_DEFAULT 0600u

/* A peer, and the groups that it is in beside its primary one, as they were when it connected. */
struct credentials {
    struct peer peer;
    gid_t *groups;
    unsigned group_count;
};

/* The bits of a mode that it takes. */
enum access {
    ACCESS_READ = 04,  /* to map it for reading, and look at objects */
    ACCESS_WRITE = 06, /* to map it for writing, allocate and free */
    ACCESS_ADMIN = 01, /* to do what concerns the pool itself, such as to destroy it */
};

/* Whose a pool is, and what its mode lets who have. */
struct ownership {
    uid_t uid;
    gid_t gid;
    uint32_t mode;
};

/* Whether the user is root or the daemon's own. */
bool access_may_everything(uid_t uid, uid_t daemon);

/*
 * Whether the mode lets the peer have this access: by the owner's bits if it is the owner, else by the
 * group's if it is in that group, else by the others'. The owner may always administer.
 */
bool access_is_let(const struct ownership *ownership, const struct credentials *who, uid_t daemon,
                   enum access access);
bool access_is_allowed(const struct layout_ctl *ctl, const struct credentials *who, uid_t daemon,
                       enum access access);

/* Whether the peer may give a pool of its own to that group: to one that it is in. */
bool access_may_give(const struct credentials *who, uid_t daemon, gid_t gid);

enum creators {
    CREATORS_ANYONE,
    CREATORS_OWNER, /* nobody but root and the daemon's own user */
    CREATORS_GROUP, /* the members of one group as well */
};

/* Who may make pools. All zero is anyone. */
struct create_rule {
    enum creators creators;
    gid_t gid;        /* with CREATORS_GROUP */
    const char *text; /* as it was given, for people; NULL: it wasn't */
};

bool access_may_create(const struct create_rule *rule, const struct credentials *who, uid_t daemon);

#endif
