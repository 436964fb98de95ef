/* SPDX-License-Identifier: MIT */
#include "daemon/chain.h"

#include <assert.h>

void chain_append(struct chain *chain, struct chain_link *links, uint32_t index)
{
    links[index] = (struct chain_link){chain->last, CHAIN_END};
    *(chain->last == CHAIN_END ? &chain->first : &links[chain->last].next) = index;
    chain->last = index;
    chain->count++;
}

void chain_remove(struct chain *chain, struct chain_link *links, uint32_t index)
{
    struct chain_link link = links[index];
    *(link.previous == CHAIN_END ? &chain->first : &links[link.previous].next) = link.next;
    *(link.next == CHAIN_END ? &chain->last : &links[link.next].previous) = link.previous;
    chain->count--;
}

void chain_check(const struct chain *chain, const struct chain_link *links, uint32_t room)
{
    uint32_t count = 0, previous = CHAIN_END;
    for (uint32_t i = chain->first; i != CHAIN_END; i = links[i].next) {
        assert(i < room && count < chain->count);
        assert(links[i].previous == previous);
        previous = i;
        count++;
    }
    assert(chain->last == previous && chain->count == count);
}
