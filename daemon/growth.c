/* SPDX-License-Identifier: MIT */
#include "daemon/growth.h"

#include <stdbool.h>
#include <string.h>

#include "daemon/decimal.h"

#define SLOTS "1 to 4294967295 slots"

_Static_assert(GROWTH_CAPACITIES_MAX == 16 && GROWTH_FACTOR_MAX == 16, "the complaints say so");

/* ---- Text ------------------------------------------------------------------------------------ */

static bool take_word(const char **text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_slots(const char **text, uint32_t *slots)
{
    return decimal_take(text, slots) && *slots > 0;
}

/* By hand, since strtod() asks the locale what a decimal point is. */
static bool take_factor(const char **text, uint32_t *factor)
{
    uint32_t value;
    if (!decimal_take(text, &value) || value > GROWTH_FACTOR_MAX)
        return false;
    value *= 1000;
    if (take_word(text, ".")) {
        if (!is_digit(**text))
            return false;
        for (uint32_t place = 100; is_digit(**text); place /= 10) {
            if (place == 0)
                return false;
            value += place * (uint32_t)(*(*text)++ - '0');
        }
    }
    *factor = value;
    return value > 1000 && value <= 1000 * GROWTH_FACTOR_MAX;
}

static bool take_capacities(const char **text, uint32_t *capacities, uint32_t *count)
{
    do {
        if (*count == GROWTH_CAPACITIES_MAX || !take_slots(text, &capacities[*count]))
            return false;
        if (*count > 0 && capacities[*count] <= capacities[*count - 1])
            return false;
        ++*count;
    } while (take_word(text, ","));
    return true;
}

const char *growth_parse(struct growth *growth, const char *text)
{
    struct growth new = {.kind = GROWTH_NONE};

    if (take_word(&text, "linear:")) {
        new.kind = GROWTH_LINEAR;
        if (!take_slots(&text, &new.step) || *text)
            return "needs a step of " SLOTS ", as in linear:100";
    } else if (take_word(&text, "exponential:")) {
        new.kind = GROWTH_EXPONENTIAL;
        if (!take_factor(&text, &new.factor) || *text)
            return "needs a factor above 1 and at most 16 with up to three decimals, as in "
                   "exponential:1.5";
    } else if (take_word(&text, "custom:")) {
        new.kind = GROWTH_CUSTOM;
        if (!take_capacities(&text, new.capacities, &new.count) || *text)
            return "needs 1 to 16 capacities of " SLOTS ", each above the last, as in "
                   "custom:100,500,2000";
    } else if (*text && strcmp(text, "none") != 0) {
        return "is no policy; choose none, linear:SLOTS, exponential:FACTOR or "
               "custom:SLOTS,SLOTS,...";
    }
    *growth = new;
    return NULL;
}

/* ---- Growing --------------------------------------------------------------------------------- */

/* The first capacity of the policy, from `capacity` on, that isn't below `wanted`, which is above. */
static uint64_t grow_linear(const struct growth *growth, uint64_t capacity, uint64_t wanted)
{
    uint64_t steps = (wanted - capacity + growth->step - 1) / growth->step;
    return capacity + steps * growth->step;
}

/* Some 17000 steps at most, by the smallest factor from 1 to the end. */
static uint64_t grow_exponential(const struct growth *growth, uint64_t capacity, uint64_t wanted)
{
    while (capacity < wanted) {
        uint64_t grown = capacity * growth->factor / 1000;
        capacity = grown > capacity ? grown : capacity + 1;
    }
    return capacity;
}

static uint64_t grow_custom(const struct growth *growth, uint64_t wanted)
{
    for (uint32_t i = 0; i < growth->count; i++)
        if (growth->capacities[i] >= wanted)
            return growth->capacities[i];
    return UINT64_MAX;
}

uint32_t growth_next(const struct growth *growth, uint32_t capacity, uint64_t needed, uint32_t max)
{
    uint64_t wanted = needed < max ? needed : max, next = capacity;

    if (wanted <= capacity)
        return capacity;
    switch (growth->kind) {
    case GROWTH_NONE:
        return capacity;
    case GROWTH_LINEAR:
        next = grow_linear(growth, capacity, wanted);
        break;
    case GROWTH_EXPONENTIAL:
        next = grow_exponential(growth, capacity, wanted);
        break;
    case GROWTH_CUSTOM:
        next = grow_custom(growth, wanted);
        break;
    }
    return next < max ? (uint32_t)next : max;
}
