/* SPDX-License-Identifier: MIT */
#include "advice.h"

#include <string.h>

#define CAPACITY_MAX ((uint64_t)UINT32_MAX)

/* Rounded up. What would be more than any pool has stays at that. */
static uint64_t add_margin(uint64_t slots, uint64_t margin)
{
    if (slots > CAPACITY_MAX)
        return CAPACITY_MAX;
    uint64_t more = (slots * margin + 99) / 100;
    return slots + more < CAPACITY_MAX ? slots + more : CAPACITY_MAX;
}

static bool grows(const fastalloc_pool_info_t *info)
{
    return info->growth[0] && strcmp(info->growth, "none") != 0;
}

static enum advice_action action_for(const fastalloc_pool_info_t *info, uint64_t capacity)
{
    if (capacity <= info->capacity_max)
        return ADVICE_GROW;
    return capacity <= info->reserve ? ADVICE_GROW_RAISE : ADVICE_REPLACE;
}

uint64_t advice_reserve(const fastalloc_pool_info_t *info, uint64_t capacity, uint64_t slots)
{
    if (slots > capacity)
        return 0;
    if (slots + info->reserve_critical > capacity)
        return info->reserve_critical;
    return info->reserve_critical + info->reserve_normal;
}

static enum advice_verdict verdict_on(const fastalloc_pool_info_t *info, uint64_t capacity)
{
    uint64_t reach = grows(info) ? info->capacity_max : info->capacity;

    if (capacity > reach)
        return ADVICE_TOO_SMALL;
    if (info->capacity / 2 <= capacity)
        return ADVICE_RIGHT;
    return info->kind == FASTALLOC_LEASED ? ADVICE_UNKNOWN : ADVICE_TOO_LARGE;
}

struct advice advice_on(const fastalloc_pool_info_t *info, const fastalloc_stats_t *stats,
                        uint64_t needed, uint64_t margin)
{
    struct advice advice = {0, ADVICE_UNKNOWN, ADVICE_NOTHING};

    if (stats->peak_usage == 0 && needed == 0)
        return advice;
    advice.capacity = add_margin(stats->peak_usage, margin);
    uint64_t least = info->reserve_critical + info->reserve_normal + 1;
    if (least < needed)
        least = needed;
    if (advice.capacity < least)
        advice.capacity = least < CAPACITY_MAX ? least : CAPACITY_MAX;
    advice.verdict = verdict_on(info, advice.capacity);
    if (advice.verdict == ADVICE_TOO_SMALL)
        advice.action = action_for(info, advice.capacity);
    else if (advice.verdict == ADVICE_TOO_LARGE)
        advice.action = ADVICE_REPLACE;
    else if (advice.verdict == ADVICE_UNKNOWN)
        advice.capacity = 0;
    return advice;
}

const char *advice_verdict_name(enum advice_verdict verdict)
{
    static const char *const names[] = {
        [ADVICE_UNKNOWN] = "unknown",
        [ADVICE_TOO_SMALL] = "too-small",
        [ADVICE_RIGHT] = "right",
        [ADVICE_TOO_LARGE] = "too-large",
    };

    return names[verdict];
}
