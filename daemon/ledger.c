/* SPDX-License-Identifier: MIT */
#include "daemon/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "shm/order.h"

static const struct ledger_list empty_list = {LEDGER_NONE, LEDGER_NONE, 0};

/* ---- Lists ----------------------------------------------------------------------------------- */

static void list_remove(struct ledger *ledger, uint32_t member, uint32_t index)
{
    struct ledger_list *list = &ledger->lists[member];
    struct ledger_link link = ledger->links[index];
    *(link.previous == LEDGER_NONE ? &list->first : &ledger->links[link.previous].next) = link.next;
    *(link.next == LEDGER_NONE ? &list->last : &ledger->links[link.next].previous) = link.previous;
    list->count--;
}

static void list_append(struct ledger *ledger, uint32_t member, uint32_t index)
{
    struct ledger_list *list = &ledger->lists[member];
    ledger->links[index] = (struct ledger_link){list->last, LEDGER_NONE};
    *(list->last == LEDGER_NONE ? &list->first : &ledger->links[list->last].next) = index;
    list->last = index;
    list->count++;
}

/* ---- Ledger ---------------------------------------------------------------------------------- */

int ledger_init(struct ledger *ledger, uint64_t *entries, uint32_t capacity)
{
    struct ledger new = {.entries = entries, .capacity = capacity};
    new.links = malloc(capacity * sizeof(new.links[0]));
    if (!new.links || ledger_add_member(&new, SLOT_MEMBER_NONE) < 0) {
        free(new.links);
        return -ENOMEM;
    }
    /* The slot freed last is granted first, so the list is filled from its far end. */
    for (uint32_t i = capacity; i-- > 0;)
        list_append(&new, SLOT_MEMBER_NONE, i);
    *ledger = new;
    return 0;
}

void ledger_deinit(struct ledger *ledger)
{
    free(ledger->links);
    free(ledger->lists);
    *ledger = (struct ledger){0};
}

int ledger_add_member(struct ledger *ledger, uint32_t member)
{
    if (member < ledger->list_count)
        return 0;
    struct ledger_list *lists = realloc(ledger->lists, (member + 1) * sizeof(lists[0]));
    if (!lists)
        return -ENOMEM;
    ledger->lists = lists;
    while (ledger->list_count <= member)
        ledger->lists[ledger->list_count++] = empty_list;
    return 0;
}

uint32_t ledger_count(const struct ledger *ledger, uint32_t member)
{
    return member < ledger->list_count ? ledger->lists[member].count : 0;
}

uint32_t ledger_oldest(const struct ledger *ledger, uint32_t member)
{
    return member < ledger->list_count ? ledger->lists[member].first : LEDGER_NONE;
}

uint32_t ledger_grant(struct ledger *ledger, uint32_t member, uint64_t request)
{
    assert(member != SLOT_MEMBER_NONE && member < ledger->list_count);
    uint32_t index = ledger->lists[SLOT_MEMBER_NONE].last;
    if (index == LEDGER_NONE)
        return LEDGER_NONE;
    field_store(&ledger->entries[index], layout_ledger_entry(request, member));
    list_remove(ledger, SLOT_MEMBER_NONE, index);
    list_append(ledger, member, index);
    return index;
}

void ledger_retire(struct ledger *ledger, uint32_t index)
{
    list_remove(ledger, ledger_holder(ledger, index), index);
    field_store(&ledger->entries[index], 0);
    ledger->links[index] = (struct ledger_link){index, index}; /* in no list */
}

void ledger_release(struct ledger *ledger, uint32_t index)
{
    ledger_retire(ledger, index);
    list_append(ledger, SLOT_MEMBER_NONE, index);
}

uint32_t ledger_holder(const struct ledger *ledger, uint32_t index)
{
    return layout_ledger_member(field_load(&ledger->entries[index]));
}

static bool is_retired(const struct ledger *ledger, uint32_t index)
{
    return ledger->links[index].next == index;
}

void ledger_check(const struct ledger *ledger)
{
    uint32_t listed = 0, retired = 0;

    for (uint32_t member = 0; member < ledger->list_count; member++) {
        const struct ledger_list *list = &ledger->lists[member];
        uint32_t count = 0, previous = LEDGER_NONE;
        for (uint32_t i = list->first; i != LEDGER_NONE; i = ledger->links[i].next) {
            assert(i < ledger->capacity && count < list->count);
            assert(ledger_holder(ledger, i) == member);
            assert(ledger->links[i].previous == previous);
            previous = i;
            count++;
        }
        assert(list->last == previous && list->count == count);
        listed += count;
    }
    for (uint32_t i = 0; i < ledger->capacity; i++)
        retired += is_retired(ledger, i);
    assert(listed + retired == ledger->capacity);
}
