/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

bool access_may_everything(uid_t uid, uid_t daemon)
{
    return uid == 0 || uid == daemon;
}

static bool is_in_group(const struct credentials *who, gid_t gid)
{
    for (unsigned i = 0; i < who->group_count; i++)
        if (who->groups[i] == gid)
            return true;
    return who->peer.gid == gid;
}

static uint32_t bits_for(const struct ownership *ownership, const struct credentials *who)
{
    if (who->peer.uid == ownership->uid)
        return ownership->mode >> 6 | ACCESS_ADMIN;
    return is_in_group(who, ownership->gid) ? ownership->mode >> 3 : ownership->mode;
}

bool access_is_let(const struct ownership *ownership, const struct credentials *who, uid_t daemon,
                   enum access access)
{
    return access_may_everything(who->peer.uid, daemon) ||
           (bits_for(ownership, who) & access) == access;
}

bool access_is_allowed(const struct layout_ctl *ctl, const struct credentials *who, uid_t daemon,
                       enum access access)
{
    const struct ownership ownership = {.uid = ctl->uid, .gid = ctl->gid, .mode = ctl->mode};
    return access_is_let(&ownership, who, daemon, access);
}

bool access_may_give(const struct credentials *who, uid_t daemon, gid_t gid)
{
    return access_may_everything(who->peer.uid, daemon) || is_in_group(who, gid);
}

bool access_may_create(const struct create_rule *rule, const struct credentials *who, uid_t daemon)
{
    switch (rule->creators) {
    case CREATORS_ANYONE:
        return true;
    case CREATORS_GROUP:
        return access_may_everything(who->peer.uid, daemon) || is_in_group(who, rule->gid);
    case CREATORS_OWNER:
        break;
    }
    return access_may_everything(who->peer.uid, daemon);
}
