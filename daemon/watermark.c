/* SPDX-License-Identifier: MIT */
#include "daemon/watermark.h"

#include <string.h>

#include "daemon/decimal.h"

#define HYSTERESIS 16u /* that part of the capacity */

const char *watermark_parse(struct watermark *watermark, const char *text)
{
    static const char complaint[] = "is no level; choose 1% to 100% in use, 1 to 4294967295 slots "
                                    "left, or off";
    struct watermark new = {.kind = WATERMARK_OFF};

    if (!*text)
        text = WATERMARK_DEFAULT;
    if (strcmp(text, "off") != 0) {
        if (!decimal_take(&text, &new.level) || new.level == 0)
            return complaint;
        new.kind = *text ? WATERMARK_SHARE : WATERMARK_LEFT;
        if (*text && (strcmp(text, "%") != 0 || new.level > 100))
            return complaint;
    }
    *watermark = new;
    return NULL;
}

/* The least usage that is at the level: 0 if any is. */
static uint64_t least_reached(const struct watermark *watermark, uint64_t capacity)
{
    if (watermark->kind == WATERMARK_SHARE)
        return (capacity * watermark->level + 99) / 100;
    return watermark->level > capacity ? 0 : capacity - watermark->level + 1;
}

enum watermark_change watermark_update(struct watermark *watermark, uint32_t usage,
                                       uint32_t capacity)
{
    if (watermark->kind == WATERMARK_OFF)
        return WATERMARK_SAME;

    uint64_t least = least_reached(watermark, capacity);
    uint64_t margin = capacity / HYSTERESIS; /* 0 is 1: usage is below the level anyhow */
    if (!watermark->above && usage >= least) {
        watermark->above = true;
        return WATERMARK_REACHED;
    }
    if (watermark->above && usage < least && (usage == 0 || usage + margin <= least)) {
        watermark->above = false;
        return WATERMARK_FALLEN;
    }
    return WATERMARK_SAME;
}
