/* SPDX-License-Identifier: MIT */
#include "shm/slot.h"

#include "shm/order.h"

bool slot_make_live(uint64_t *word, uint32_t member)
{
    uint64_t old = word_load(word);
    if (slot_state(old) != SLOT_IDLE)
        return false;
    return word_exchange(word, old, slot_word(slot_generation(old), member, SLOT_LIVE));
}

bool slot_change_hands(uint64_t *word, uint64_t generation, uint32_t member, enum slot_state state)
{
    uint64_t old = word_load(word);
    if (!slot_is_allocated(old) || slot_generation(old) != generation)
        return false;
    return word_exchange(word, old, slot_word(generation, member, state));
}

bool slot_make_idle(uint64_t *word, uint64_t generation)
{
    uint64_t old = word_load(word);
    if (!slot_is_allocated(old) || slot_generation(old) != generation)
        return false;

    return word_exchange(word, old, slot_idle_after(generation));
}
