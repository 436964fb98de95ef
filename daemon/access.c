/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

bool access_may_destroy(const struct layout_ctl *ctl, const struct peer *peer, uid_t daemon)
{
    return peer->uid == 0 || peer->uid == daemon || peer->uid == ctl->uid;
}

bool access_may_open(const struct layout_ctl *ctl, const struct peer *peer, uid_t daemon,
                     bool write)
{
    uint32_t wanted = write ? 06 : 04;
    if (peer->uid == 0 || peer->uid == daemon)
        return true;
    if (peer->uid == ctl->uid)
        return (ctl->mode >> 6 & wanted) == wanted;
    if (peer->gid == ctl->gid)
        return (ctl->mode >> 3 & wanted) == wanted;
    return (ctl->mode & wanted) == wanted;
}
