/* SPDX-License-Identifier: MIT */
#include "daemon/ages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void ages_init(struct ages *ages, int64_t limit)
{
    *ages =
        (struct ages){.held = CHAIN_EMPTY, .limit = limit, .bound = INT64_MIN, .next = CHAIN_END};
}

void ages_deinit(struct ages *ages)
{
    free(ages->since);
    free(ages->links);
}

int ages_reserve(struct ages *ages, uint32_t capacity)
{
    int64_t *since = realloc(ages->since, capacity * sizeof(since[0]));
    if (!since)
        return -ENOMEM;
    ages->since = since;
    struct chain_link *links = realloc(ages->links, capacity * sizeof(links[0]));
    if (!links)
        return -ENOMEM;
    ages->links = links;
    return 0;
}

void ages_begin(struct ages *ages, uint32_t index, int64_t now)
{
    ages->since[index] = now;
    chain_append(&ages->held, ages->links, index);
    if (ages->next == CHAIN_END)
        ages->next = index;
}

int64_t ages_end(struct ages *ages, uint32_t index, int64_t now)
{
    if (ages->since[index] <= ages->bound)
        ages->too_long--;
    else if (ages->next == index)
        ages->next = ages->links[index].next;
    chain_remove(&ages->held, ages->links, index);
    return now - ages->since[index];
}

static int64_t due(const struct ages *ages, uint32_t index)
{
    int64_t since = ages->since[index];
    return ages->limit > AGES_NEVER - since ? AGES_NEVER : since + ages->limit;
}

int64_t ages_next(const struct ages *ages)
{
    return ages->limit == 0 || ages->next == CHAIN_END ? AGES_NEVER : due(ages, ages->next);
}

bool ages_is_due(const struct ages *ages, uint32_t index, int64_t now)
{
    return ages->limit > 0 && due(ages, index) <= now;
}

uint32_t ages_count(struct ages *ages, int64_t now, uint32_t *first)
{
    uint32_t before = ages->too_long;
    if (ages_next(ages) > now)
        return 0;
    *first = ages->next;
    ages->bound = now - ages->limit;
    for (; ages->next != CHAIN_END && ages->since[ages->next] <= ages->bound;
         ages->next = ages->links[ages->next].next)
        ages->too_long++;
    return ages->too_long - before;
}

void ages_check(const struct ages *ages, uint32_t capacity)
{
    uint32_t too_long = 0, next = CHAIN_END;
    int64_t last = INT64_MIN;

    chain_check(&ages->held, ages->links, capacity);
    for (uint32_t i = ages->held.first; i != CHAIN_END; i = ages->links[i].next) {
        assert(ages->since[i] >= last);
        last = ages->since[i];
        if (last <= ages->bound)
            too_long++;
        else if (next == CHAIN_END)
            next = i;
    }
    assert(too_long == ages->too_long && next == ages->next);
}
