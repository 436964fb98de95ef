/* SPDX-License-Identifier: MIT */
#include "daemon/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "shm/order.h"

int ledger_init(struct ledger *ledger, uint64_t *entries, uint32_t capacity)
{
    *ledger = (struct ledger){.entries = entries};
    if (ledger_reserve(ledger, capacity) < 0 || ledger_add_member(ledger, SLOT_MEMBER_NONE) < 0) {
        ledger_deinit(ledger);
        return -ENOMEM;
    }
    ledger_grow(ledger, capacity);
    return 0;
}

void ledger_deinit(struct ledger *ledger)
{
    free(ledger->links);
    free(ledger->chains);
    *ledger = (struct ledger){0};
}

int ledger_reserve(struct ledger *ledger, uint32_t capacity)
{
    struct chain_link *links = realloc(ledger->links, capacity * sizeof(links[0]));
    if (!links)
        return -ENOMEM;
    ledger->links = links;
    return 0;
}

void ledger_grow(struct ledger *ledger, uint32_t capacity)
{
    assert(capacity >= ledger->capacity);
    ledger->capacity = capacity;
}

void ledger_load(struct ledger *ledger, uint32_t fresh)
{
    ledger->fresh = fresh;
    for (uint32_t i = 0; i < fresh; i++) {
        uint32_t holder = ledger_holder(ledger, i);
        assert(holder < ledger->chain_count);
        chain_append(&ledger->chains[holder], ledger->links, i);
        ledger->held += holder != SLOT_MEMBER_NONE;
    }
}

int ledger_add_member(struct ledger *ledger, uint32_t member)
{
    if (member < ledger->chain_count)
        return 0;
    struct chain *chains = realloc(ledger->chains, (member + 1) * sizeof(chains[0]));
    if (!chains)
        return -ENOMEM;
    ledger->chains = chains;
    while (ledger->chain_count <= member)
        ledger->chains[ledger->chain_count++] = CHAIN_EMPTY;
    return 0;
}

uint32_t ledger_count(const struct ledger *ledger, uint32_t member)
{
    uint32_t count = member < ledger->chain_count ? ledger->chains[member].count : 0;
    return member == SLOT_MEMBER_NONE ? count + ledger->capacity - ledger->fresh : count;
}

uint32_t ledger_oldest(const struct ledger *ledger, uint32_t member)
{
    return member < ledger->chain_count ? ledger->chains[member].first : LEDGER_NONE;
}

uint32_t ledger_after(const struct ledger *ledger, uint32_t index)
{
    return ledger->links[index].next;
}

static void hand_out(struct ledger *ledger, uint32_t index, uint64_t entry)
{
    uint32_t member = layout_ledger_member(entry);
    assert(member != SLOT_MEMBER_NONE && member < ledger->chain_count);
    field_store(&ledger->entries[index], entry);
    chain_append(&ledger->chains[member], ledger->links, index);
}

uint32_t ledger_next(const struct ledger *ledger, uint32_t index)
{
    uint32_t next = index;
    if (index == LEDGER_NONE)
        next = ledger->chains[SLOT_MEMBER_NONE].last;
    else if (index < ledger->fresh)
        next = ledger->links[index].previous;
    else
        return index + 1 < ledger->capacity ? index + 1 : LEDGER_NONE;
    if (next == CHAIN_END && ledger->fresh < ledger->capacity)
        next = ledger->fresh;
    return next;
}

uint32_t ledger_grant(struct ledger *ledger, uint64_t entry)
{
    uint32_t index = ledger_next(ledger, LEDGER_NONE);
    if (index == LEDGER_NONE)
        return LEDGER_NONE;
    if (index == ledger->fresh)
        ledger->fresh++;
    else
        chain_remove(&ledger->chains[SLOT_MEMBER_NONE], ledger->links, index);
    ledger->held++;
    hand_out(ledger, index, entry);
    return index;
}

void ledger_move(struct ledger *ledger, uint32_t index, uint64_t entry)
{
    uint32_t from = ledger_holder(ledger, index);
    assert(from != SLOT_MEMBER_NONE);
    chain_remove(&ledger->chains[from], ledger->links, index);
    hand_out(ledger, index, entry);
}

void ledger_retire(struct ledger *ledger, uint32_t index)
{
    uint32_t holder = ledger_holder(ledger, index);
    ledger->held -= holder != SLOT_MEMBER_NONE;
    chain_remove(&ledger->chains[holder], ledger->links, index);
    field_store(&ledger->entries[index], 0);
    ledger->links[index] = (struct chain_link){index, index}; /* in no chain */
}

void ledger_release(struct ledger *ledger, uint32_t index)
{
    ledger_retire(ledger, index);
    chain_append(&ledger->chains[SLOT_MEMBER_NONE], ledger->links, index);
}

uint64_t ledger_entry(const struct ledger *ledger, uint32_t index)
{
    return field_load(&ledger->entries[index]);
}

uint32_t ledger_holder(const struct ledger *ledger, uint32_t index)
{
    return layout_ledger_member(ledger_entry(ledger, index));
}

static bool is_retired(const struct ledger *ledger, uint32_t index)
{
    return ledger->links[index].next == index;
}

void ledger_check(const struct ledger *ledger)
{
    uint32_t listed = 0, retired = 0;

    assert(ledger->fresh <= ledger->capacity);
    for (uint32_t member = 0; member < ledger->chain_count; member++) {
        const struct chain *chain = &ledger->chains[member];
        chain_check(chain, ledger->links, ledger->fresh);
        for (uint32_t i = chain->first; i != CHAIN_END; i = ledger->links[i].next)
            assert(ledger_holder(ledger, i) == member);
        listed += chain->count;
    }
    for (uint32_t i = 0; i < ledger->fresh; i++)
        retired += is_retired(ledger, i);
    for (uint32_t i = ledger->fresh; i < ledger->capacity; i++)
        assert(ledger_entry(ledger, i) == 0);
    assert(listed + retired == ledger->fresh);
    assert(listed - ledger->chains[SLOT_MEMBER_NONE].count == ledger->held);
}
