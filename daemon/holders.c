/* SPDX-License-Identifier: MIT */
#include "daemon/holders.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/order.h"

/* ---- Entries --------------------------------------------------------------------------------- */

static uint32_t entry_index(uint64_t entry)
{
    return (uint32_t)(entry >> FASTALLOC_WORD_MEMBER_BITS);
}

static uint32_t entry_member(uint64_t entry)
{
    return (uint32_t)entry & SLOT_MEMBER_POOL;
}

static size_t table_size(uint32_t room)
{
    return room * sizeof(uint64_t);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

/* Puts the entry into the lists that it names. It is in none yet. */
static void enlist(struct holders *holders, uint32_t at)
{
    uint64_t entry = field_load(&holders->entries[at]);
    uint32_t index = entry_index(entry), member = entry_member(entry);

    assert(index < holders->slot_count);
    assert(member != SLOT_MEMBER_NONE && member < holders->member_count);
    chain_append(&holders->slots[index], holders->slot_links, at);
    chain_append(&holders->members[member], holders->member_links, at);
    holders->shared += holders->slots[index].count == 1;
}

static void enlist_free(struct holders *holders, uint32_t at)
{
    chain_append(&holders->free, holders->slot_links, at);
}

/* Takes the hold out of its lists and frees its entry. */
static void give_up(struct holders *holders, uint32_t at)
{
    uint64_t entry = field_load(&holders->entries[at]);

    field_store(&holders->entries[at], 0);
    chain_remove(&holders->slots[entry_index(entry)], holders->slot_links, at);
    chain_remove(&holders->members[entry_member(entry)], holders->member_links, at);
    holders->shared -= holders->slots[entry_index(entry)].count == 0;
    enlist_free(holders, at);
}

/* ---- Room ------------------------------------------------------------------------------------ */

uint64_t holders_size(const struct holders *holders)
{
    return table_size(holders->room);
}

uint32_t holders_limit(uint32_t capacity)
{
    uint64_t limit = (uint64_t)capacity * HOLDERS_PER_SLOT;
    if (limit < HOLDERS_LEAST)
        return HOLDERS_LEAST;
    return limit < HOLDERS_MOST ? (uint32_t)limit : HOLDERS_MOST;
}

static int grow_lists(struct chain **lists, uint32_t *count, uint32_t needed)
{
    if (needed <= *count)
        return 0;
    struct chain *larger = realloc(*lists, needed * sizeof(larger[0]));
    if (!larger)
        return -ENOMEM;
    *lists = larger;
    while (*count < needed)
        larger[(*count)++] = CHAIN_EMPTY;
    return 0;
}

static int grow_links(struct chain_link **links, uint32_t room)
{
    struct chain_link *larger = realloc(*links, room * sizeof(larger[0]));
    if (!larger)
        return -ENOMEM;
    *links = larger;
    return 0;
}

static int create_table(struct holders *holders, size_t size)
{
    int fd = segment_create(holders->name, size);
    if (fd < 0)
        return fd;

    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int result = mapping == MAP_FAILED ? -errno : 0;
    close(fd);
    if (result < 0)
        segment_unlink(holders->name);
    else
        holders->entries = mapping;
    return result;
}

/* The mapping grows first: it can be made shorter again, whatever the machine has left. */
static int grow_table(struct holders *holders, size_t old_size, size_t new_size)
{
    void *mapping = mremap(holders->entries, old_size, new_size, MREMAP_MAYMOVE);
    if (mapping == MAP_FAILED)
        return -errno;

    holders->entries = mapping;
    int result = segment_resize(holders->name, old_size, new_size);
    if (result < 0)
        munmap((char *)mapping + old_size, new_size - old_size);
    return result;
}

static int grow_room(struct holders *holders, uint64_t needed)
{
    if (needed <= holders->room)
        return 0;
    uint32_t room = holders->room ? holders->room : HOLDERS_FIRST;
    while (room < needed)
        room *= 2;

    int result = grow_links(&holders->slot_links, room);
    if (result == 0)
        result = grow_links(&holders->member_links, room);
    if (result == 0)
        result = holders->room ? grow_table(holders, table_size(holders->room), table_size(room))
                               : create_table(holders, table_size(room));
    if (result < 0)
        return result;
    /* The entry freed last is used first, so the list is filled from its far end. */
    for (uint32_t at = room; at-- > holders->room;)
        enlist_free(holders, at);
    holders->room = room;
    return 0;
}

int holders_reserve(struct holders *holders, uint32_t more, uint32_t capacity, uint32_t member)
{
    uint64_t needed = (uint64_t)holders_total(holders) + more;
    if (needed > holders_limit(capacity))
        return -EDQUOT;

    int result = grow_lists(&holders->slots, &holders->slot_count, capacity);
    if (result == 0)
        result = grow_lists(&holders->members, &holders->member_count, member + 1);
    if (result == 0)
        result = grow_room(holders, needed);
    return result;
}

/* ---- What is there already ------------------------------------------------------------------- */

/* A table that was being doubled has what is beyond it zero. */
static int map_table(struct holders *holders)
{
    struct stat status;
    int fd = segment_open(holders->name, true);
    if (fd < 0)
        return fd;
    int result = fstat(fd, &status) < 0 ? -errno : 0;
    uint32_t room = HOLDERS_FIRST;
    while (result == 0 && room < HOLDERS_MOST && table_size(2 * room) <= (uint64_t)status.st_size)
        room *= 2;
    if (result == 0 && table_size(room) > (uint64_t)status.st_size)
        result = -ENODATA;
    void *mapping = MAP_FAILED;
    if (result == 0)
        mapping = mmap(NULL, table_size(room), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (result == 0 && mapping == MAP_FAILED)
        result = -errno;
    close(fd);
    if (result < 0)
        return result;
    holders->entries = mapping;
    holders->room = room;
    return segment_resize(holders->name, (size_t)status.st_size, table_size(room));
}

static int take_lists(struct holders *holders, uint32_t capacity, uint32_t member)
{
    int result = grow_lists(&holders->slots, &holders->slot_count, capacity);
    if (result == 0)
        result = grow_lists(&holders->members, &holders->member_count, member + 1);
    if (result == 0)
        result = grow_links(&holders->slot_links, holders->room);
    return result == 0 ? grow_links(&holders->member_links, holders->room) : result;
}

int holders_load(struct holders *holders, uint32_t capacity, uint32_t member, holders_keep keep,
                 void *context)
{
    int result = map_table(holders);
    if (result == -ENODATA) /* killed while it was made: nothing stands there yet */
        return segment_unlink(holders->name);
    if (result == -ENOENT)
        return 0;
    if (result == 0)
        result = take_lists(holders, capacity, member);
    for (uint32_t at = holders->room; result == 0 && at-- > 0;) {
        uint64_t entry = field_load(&holders->entries[at]);
        uint32_t index = entry_index(entry), of = entry_member(entry);
        bool kept = entry != 0 && index < capacity && of != SLOT_MEMBER_NONE && of <= member &&
                    keep(context, entry >> 45, index, of);
        if (!kept && entry != 0)
            field_store(&holders->entries[at], 0);
        if (kept)
            enlist(holders, at);
        else
            enlist_free(holders, at);
    }
    return result;
}

/* ---- Holders --------------------------------------------------------------------------------- */

void holders_init(struct holders *holders, const char name[SEGMENT_NAME_SIZE])
{
    *holders = (struct holders){.free = CHAIN_EMPTY};
    snprintf(holders->name, sizeof(holders->name), "%s", name);
}

void holders_deinit(struct holders *holders)
{
    if (holders->room > 0)
        munmap(holders->entries, table_size(holders->room));
    free(holders->slot_links);
    free(holders->member_links);
    free(holders->slots);
    free(holders->members);
    *holders = (struct holders){.free = CHAIN_EMPTY};
}

void holders_add(struct holders *holders, uint32_t index, uint64_t generation, uint32_t member)
{
    uint32_t at = holders->free.last;
    assert(at != HOLDERS_NONE);
    field_store(&holders->entries[at], layout_holder_entry(generation, index, member));
    chain_remove(&holders->free, holders->slot_links, at);
    enlist(holders, at);
}

/* The oldest hold of the member on the slot from `at` on; HOLDERS_NONE if there is none. */
static uint32_t find(const struct holders *holders, uint32_t at, uint32_t member)
{
    while (at != HOLDERS_NONE && entry_member(field_load(&holders->entries[at])) != member)
        at = holders->slot_links[at].next;
    return at;
}

static uint32_t slot_first(const struct holders *holders, uint32_t index)
{
    return index < holders->slot_count ? holders->slots[index].first : HOLDERS_NONE;
}

/* A hold of the member on the slot, found in the shorter of the two lists; or HOLDERS_NONE. */
static uint32_t find_hold(const struct holders *holders, uint32_t index, uint32_t member)
{
    if (holders_count(holders, index) <= holders_member_count(holders, member))
        return find(holders, slot_first(holders, index), member);
    if (holders_member_count(holders, member) == 0)
        return HOLDERS_NONE;
    uint32_t at = holders->members[member].first;
    while (at != HOLDERS_NONE && entry_index(field_load(&holders->entries[at])) != index)
        at = holders->member_links[at].next;
    return at;
}

bool holders_remove(struct holders *holders, uint32_t index, uint32_t member)
{
    uint32_t at = find_hold(holders, index, member);
    if (at == HOLDERS_NONE)
        return false;
    give_up(holders, at);
    return true;
}

uint32_t holders_remove_oldest(struct holders *holders, uint32_t member)
{
    uint32_t index = holders_oldest(holders, member);
    if (index != HOLDERS_NONE)
        give_up(holders, holders->members[member].first);
    return index;
}

bool holders_move(struct holders *holders, uint32_t index, uint32_t from, uint32_t to)
{
    uint32_t at = find_hold(holders, index, from);
    if (at == HOLDERS_NONE)
        return false;
    uint64_t entry = field_load(&holders->entries[at]);
    field_store(&holders->entries[at], (entry & ~(uint64_t)SLOT_MEMBER_POOL) | to);
    chain_remove(&holders->members[from], holders->member_links, at);
    chain_append(&holders->members[to], holders->member_links, at);
    return true;
}

uint32_t holders_clear(struct holders *holders, uint32_t index)
{
    uint32_t count = holders_count(holders, index);
    for (uint32_t i = 0; i < count; i++)
        give_up(holders, holders->slots[index].first);
    return count;
}

uint32_t holders_total(const struct holders *holders)
{
    return holders->room - holders->free.count;
}

uint32_t holders_shared(const struct holders *holders)
{
    return holders->shared;
}

uint32_t holders_count(const struct holders *holders, uint32_t index)
{
    return index < holders->slot_count ? holders->slots[index].count : 0;
}

uint32_t holders_member_count(const struct holders *holders, uint32_t member)
{
    return member < holders->member_count ? holders->members[member].count : 0;
}

uint32_t holders_count_of(const struct holders *holders, uint32_t index, uint32_t member)
{
    uint32_t count = 0;
    for (uint32_t at = find(holders, slot_first(holders, index), member); at != HOLDERS_NONE;
         at = find(holders, holders->slot_links[at].next, member))
        count++;
    return count;
}

uint32_t holders_oldest(const struct holders *holders, uint32_t member)
{
    if (holders_member_count(holders, member) == 0)
        return HOLDERS_NONE;
    return entry_index(field_load(&holders->entries[holders->members[member].first]));
}

bool holders_has(const struct holders *holders, uint32_t index, uint32_t member)
{
    return find_hold(holders, index, member) != HOLDERS_NONE;
}

bool holders_has_all(const struct holders *holders, uint32_t index, uint32_t member)
{
    uint32_t at = slot_first(holders, index);
    if (holders_member_count(holders, member) < holders_count(holders, index))
        return false;
    while (at != HOLDERS_NONE && entry_member(field_load(&holders->entries[at])) == member)
        at = holders->slot_links[at].next;
    return at == HOLDERS_NONE;
}

/* ---- Laws ------------------------------------------------------------------------------------ */

/* `mask` and `value`: the bits that the list's entries have in common. */
static uint32_t check_list(const struct holders *holders, const struct chain *list,
                           const struct chain_link *links, uint64_t mask, uint64_t value)
{
    chain_check(list, links, holders->room);
    for (uint32_t at = list->first; at != CHAIN_END; at = links[at].next)
        assert((field_load(&holders->entries[at]) & mask) == value);
    return list->count;
}

static uint64_t slot_generation_bits(const struct holders *holders, uint32_t index)
{
    uint32_t first = slot_first(holders, index);
    return first < holders->room ? holders->entries[first] & layout_holder_entry(UINT64_MAX, 0, 0)
                                 : 0;
}

void holders_check(const struct holders *holders)
{
    const uint64_t of_slot = layout_holder_entry(UINT64_MAX, UINT32_MAX, 0);
    const uint64_t of_member = layout_holder_entry(0, 0, SLOT_MEMBER_POOL);
    uint32_t of_slots = 0, of_members = 0, shared = 0;
    uint32_t unused = check_list(holders, &holders->free, holders->slot_links, UINT64_MAX, 0);

    for (uint32_t i = 0; i < holders->slot_count; i++)
        shared += holders->slots[i].count > 0;
    assert(shared == holders->shared);
    for (uint32_t i = 0; i < holders->slot_count; i++)
        of_slots += check_list(holders, &holders->slots[i], holders->slot_links, of_slot,
                               slot_generation_bits(holders, i) | layout_holder_entry(0, i, 0));
    for (uint32_t i = 0; i < holders->member_count; i++)
        of_members += check_list(holders, &holders->members[i], holders->member_links, of_member,
                                 layout_holder_entry(0, 0, i));
    assert(of_slots == of_members && of_slots + unused == holders->room);
    assert(holders_member_count(holders, SLOT_MEMBER_NONE) == 0);
}
