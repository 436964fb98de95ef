/* SPDX-License-Identifier: MIT */
#include "client/settle.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 64u

int settle_init(struct settle *settle)
{
    *settle = (struct settle){.entries = NULL};
    return settle_reserve(settle, CAPACITY_FIRST);
}

void settle_deinit(struct settle *settle)
{
    free(settle->entries);
}

int settle_reserve(struct settle *settle, size_t count)
{
    if (count <= settle->capacity)
        return 0;
    size_t capacity = count > 2 * settle->capacity ? count : 2 * settle->capacity;
    struct settle_entry *entries = realloc(settle->entries, capacity * sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    settle->entries = entries;
    settle->capacity = capacity;
    return 0;
}

void settle_add(struct settle *settle, uint64_t number)
{
    settle->entries[settle->count++] = (struct settle_entry){.number = number};
    settle->unnamed++;
}

void settle_name(struct settle *settle, uint32_t msgid, struct settle_request *request)
{
    size_t size = 0;
    for (size_t i = 0; i < settle->count && size < sizeof(settle->numbers); i++) {
        struct settle_entry *entry = &settle->entries[i];
        uint64_t wire = htole64(entry->number);
        if (entry->named)
            continue;
        entry->named = true;
        entry->msgid = msgid;
        settle->unnamed--;
        memcpy(settle->numbers + size, &wire, sizeof(wire));
        size += sizeof(wire);
    }
    *request = (struct settle_request){.requests = {settle->numbers, size}};
}

bool settle_answer(struct settle *settle, uint32_t msgid, bool failed)
{
    size_t kept = 0, named = 0;
    for (size_t i = 0; i < settle->count; i++) {
        struct settle_entry *entry = &settle->entries[i];
        bool is_answered = entry->named && entry->msgid == msgid;
        named += is_answered;
        if (is_answered && !failed)
            continue;
        entry->named &= !is_answered;
        settle->entries[kept++] = *entry;
    }
    settle->count = kept;
    if (failed)
        settle->unnamed += named;
    return named > 0;
}

void settle_restart(struct settle *settle)
{
    for (size_t i = 0; i < settle->count; i++)
        settle->entries[i].named = false;
    settle->unnamed = settle->count;
}
