/* SPDX-License-Identifier: MIT */
/*
 * A chain: a list of slots by their index, through an array of links of which each slot has one. So
 * a slot stands in at most one of the chains that share an array, and joins or leaves one in
 * constant time and without memory.
 */
#ifndef DAEMON_CHAIN_H
#define DAEMON_CHAIN_H

#include <stdint.h>

#define CHAIN_END UINT32_MAX

struct chain_link {
    uint32_t previous;
    uint32_t next;
};

struct chain {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

#define CHAIN_EMPTY ((struct chain){CHAIN_END, CHAIN_END, 0})

void chain_append(struct chain *chain, struct chain_link *links, uint32_t index);
/* It must stand in this one. */
void chain_remove(struct chain *chain, struct chain_link *links, uint32_t index);

/* Asserts that both directions agree, within `room` links. */
void chain_check(const struct chain *chain, const struct chain_link *links, uint32_t room);

#endif
