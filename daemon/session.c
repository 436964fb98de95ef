/* SPDX-License-Identifier: MIT */
#include "daemon/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/name.h"
#include "proto/text.h"

#define WITNESS_SIZE 4096

static int make_witness(const struct registry_session *entry)
{
    char name[SEGMENT_NAME_SIZE];
    registry_witness_name(entry, name);
    int fd = segment_create(name, WITNESS_SIZE);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static struct session *make_session(struct registry_session *entry, const struct peer *peer,
                                    bool witnessed)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->entry = entry;
    session->id = entry->id;
    session->peer = *peer;
    session->witnessed = witnessed;
    LIST_INIT(&session->memberships);
    LIST_INIT(&session->waiters);
    LIST_INIT(&session->listeners);
    LIST_INIT(&session->growers);
    return session;
}

static bool has_witness(const struct registry_session *entry)
{
    char name[SEGMENT_NAME_SIZE];
    registry_witness_name(entry, name);
    int fd = segment_open(name, false);
    if (fd >= 0)
        close(fd);
    return fd != -ENOENT;
}

int session_recover(struct session **session_made, struct registry_session *entry)
{
    const struct peer peer = {.pid = (pid_t)entry->pid, .uid = entry->uid};
    struct session *session = make_session(entry, &peer, has_witness(entry));
    if (!session)
        return -ENOMEM;
    /* Killed while the name was written: then it is cut. */
    size_t length = strnlen(entry->name, sizeof(entry->name) - 1);
    if (text_is_plain(entry->name, length))
        memcpy(session->name, entry->name, length);
    *session_made = session;
    return 0;
}

int session_new(struct session **session_made, struct registry_session *entry,
                const struct peer *peer, const char *name, bool witnessed)
{
    struct session *session = make_session(entry, peer, witnessed);
    if (!session)
        return -ENOMEM;
    int status = witnessed ? make_witness(entry) : 0;
    if (status < 0) {
        free(session);
        return status;
    }
    name_copy(entry->name, name);
    session_set_peer(session, peer);
    name_copy(session->name, name);
    *session_made = session;
    return 0;
}

void session_set_peer(struct session *session, const struct peer *peer)
{
    session->peer = *peer;
    session->entry->pid = (uint32_t)peer->pid;
}

bool session_has_token(const struct session *session, const uint8_t *token, size_t size)
{
    volatile uint8_t wrong = 0;
    if (size != PROTOCOL_TOKEN_SIZE)
        return false;
    for (size_t i = 0; i < PROTOCOL_TOKEN_SIZE; i++)
        wrong |= token[i] ^ session->entry->token[i];
    return wrong == 0;
}

void session_remove(struct session *session)
{
    char name[SEGMENT_NAME_SIZE];
    registry_witness_name(session->entry, name);
    if (session->witnessed)
        segment_unlink(name);
    registry_set_state(&session->entry->state, REGISTRY_FREE);
}

void session_free(struct session *session)
{
    assert(LIST_EMPTY(&session->memberships) && LIST_EMPTY(&session->waiters));
    assert(LIST_EMPTY(&session->listeners) && LIST_EMPTY(&session->growers));
    free(session);
}

int session_witness(const struct session *session)
{
    char name[SEGMENT_NAME_SIZE];
    registry_witness_name(session->entry, name);
    return segment_open(name, false);
}

/* The witness says neither yes nor no. */
static bool guess_alive(struct session *session, int result)
{
    if (result == -ENOENT && !session->connection) {
        log_warning("session ended without its witness, which somebody removed from /dev/shm "
                    "session=%" PRIu64 " pid=%d uid=%u",
                    session->id, session->peer.pid, session->peer.uid);
        return false;
    }
    if (!session->doubted)
        log_peer(LOG_LEVEL_WARNING,
                 "session counts as alive since its witness can't be asked: %s session=%" PRIu64
                 " pid=%d uid=%u",
                 strerror(-result), session->id, session->peer.pid, session->peer.uid);
    session->doubted = true;
    return true;
}

bool session_is_alive(struct session *session)
{
    char name[SEGMENT_NAME_SIZE];

    if (!session->witnessed)
        return false;
    registry_witness_name(session->entry, name);
    int result = segment_is_in_use(name);
    return result < 0 ? guess_alive(session, result) : result > 0;
}

struct membership *session_membership(const struct session *session, uint32_t pool)
{
    struct membership *membership;
    LIST_FOREACH (membership, &session->memberships, in_session)
        if (membership->pool->id == pool)
            return membership;
    return NULL;
}

static struct membership *add_membership(struct session *session, struct pool *pool)
{
    struct membership *membership = calloc(1, sizeof(*membership));
    if (!membership)
        return NULL;
    membership->pool = pool;
    LIST_INSERT_HEAD(&session->memberships, membership, in_session);
    session->membership_count++;
    return membership;
}

static void set_member(struct session *session, struct membership *membership, uint32_t member)
{
    membership->member = member;
    membership->pool->accounts[member]->session = session;
}

int session_rejoin(struct session *session, struct pool *pool, uint32_t member)
{
    struct membership *membership = add_membership(session, pool);
    if (!membership || pool_rejoin(pool, member, session->peer.uid) < 0) {
        if (membership)
            session_forget(session, membership);
        return -ENOMEM;
    }
    set_member(session, membership, member);
    membership->write = pool_may_write(pool, member);
    return 0;
}

struct membership *session_join(struct session *session, struct pool *pool, bool write)
{
    struct membership *membership = session_membership(session, pool->id);

    if (!membership) {
        membership = add_membership(session, pool);
        uint32_t member =
            membership ? pool_join(pool, session->id, session->peer.uid) : SLOT_MEMBER_NONE;
        if (member == SLOT_MEMBER_NONE) {
            if (membership)
                session_forget(session, membership);
            return NULL;
        }
        set_member(session, membership, member);
    }
    membership->write |= write;
    if (write)
        pool_allow_write(pool, membership->member);
    return membership;
}

void session_forget(struct session *session, struct membership *membership)
{
    LIST_REMOVE(membership, in_session);
    session->membership_count--;
    free(membership);
}

uint32_t session_leave(struct session *session, struct membership *membership, int64_t now)
{
    uint32_t freed = pool_leave(membership->pool, membership->member, now);
    session_forget(session, membership);
    return freed;
}

uint64_t session_usage(const struct session *session)
{
    uint64_t usage = 0;
    struct membership *membership;
    LIST_FOREACH (membership, &session->memberships, in_session)
        usage += pool_held(membership->pool, membership->member);
    return usage;
}
