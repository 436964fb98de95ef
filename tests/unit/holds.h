/* SPDX-License-Identifier: MIT */
/* How many holds a member has on a slot, which only tests ask: counted one by one. */
#ifndef TESTS_UNIT_HOLDS_H
#define TESTS_UNIT_HOLDS_H

#include "daemon/holders.h"
#include "shm/slot.h"

static inline uint32_t count_holds(const struct holders *holders, uint32_t index, uint32_t member)
{
    uint32_t count = 0;
    if (index >= holders->slot_count)
        return 0;
    for (uint32_t at = holders->slots[index].first; at != CHAIN_END;
         at = holders->slot_links[at].next)
        count += (holders->entries[at] & SLOT_MEMBER_POOL) == member;
    return count;
}

#endif
