/* SPDX-License-Identifier: MIT */
/*
 * The audit of a pool's slots: the ledger is the authority, and the word, the holders and the intent
 * agree with it, but for what the order of stores (daemon/pool.h) lets a killed daemon leave.
 */
#include "daemon/audit_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/lease.h"
#include "shm/order.h"

#define WORD_TEXT_SIZE 96

/* For people: what the word says. */
static const char *describe(uint64_t word, char text[WORD_TEXT_SIZE])
{
    static const char *const states[] = {"IDLE",     "CACHED",  "LIVE",    "SHARED",
                                         "RETURNED", "RETIRED", "state 6", "state 7"};
    snprintf(text, WORD_TEXT_SIZE, "%s, member %" PRIu32 ", generation %" PRIu64, states[word & 7],
             slot_member(word), slot_generation(word));
    return text;
}

static void disagree(struct audit_view *view, uint32_t index, const char *what, uint64_t word)
{
    char text[WORD_TEXT_SIZE];
    audit_violation(view, "slot %" PRIu32 " %s, and its word says %s", index, what,
                    describe(word, text));
}

static bool is_shared(const struct audit_view *view, uint32_t index)
{
    return view->shared[index / 64] >> index % 64 & 1;
}

/* Whether the number in a word is the member's, or that of one of its threads. */
static bool is_of(const struct audit_view *view, uint32_t number, uint32_t member)
{
    if (number == member)
        return true;
    return number >= LAYOUT_THREAD_FIRST && audit_is_leased(view) &&
           audit_session(view, number) != 0 &&
           audit_session(view, number) == audit_session(view, member);
}

/* ---- The intent ------------------------------------------------------------------------------ */

static bool is_intended(const struct audit_view *view, uint32_t index)
{
    return view->head.intent.kind != LAYOUT_INTENT_NONE && view->head.intent.index == index;
}

static bool is_possible_intent(const struct audit_view *view)
{
    const struct layout_intent *intent = &view->head.intent;
    bool share = intent->kind == LAYOUT_INTENT_SHARE;
    return intent->kind <= LAYOUT_INTENT_SHARE && intent->index < view->capacity &&
           audit_is_holder(view, intent->from) && audit_is_holder(view, intent->to) &&
           intent->entry == layout_ledger_entry(0, share ? SLOT_MEMBER_POOL : intent->to);
}

/* The word shows one of the two sides, or, in a leased pool, what members made of either. */
static bool is_a_side(const struct audit_view *view, uint64_t word)
{
    const struct layout_intent *intent = &view->head.intent;
    bool share = intent->kind == LAYOUT_INTENT_SHARE;
    uint32_t to = share ? SLOT_MEMBER_POOL : intent->to;
    enum slot_state state = share ? SLOT_SHARED : SLOT_LIVE;
    if (word == slot_word(intent->generation, to, state))
        return true;
    if (!audit_is_leased(view))
        return word == slot_word(intent->generation, intent->from, SLOT_LIVE);
    return slot_generation(word) >= intent->generation &&
           (is_of(view, slot_member(word), intent->from) ||
            is_of(view, slot_member(word), intent->to));
}

static void judge_intent(struct audit_view *view)
{
    const struct layout_intent *intent = &view->head.intent;
    if (intent->kind == LAYOUT_INTENT_NONE)
        return;
    if (!is_possible_intent(view)) {
        audit_violation(view,
                        "its intent can't be one: kind %" PRIu32 ", slot %" PRIu32
                        ", from member %" PRIu32 " to %" PRIu32,
                        intent->kind, intent->index, intent->from, intent->to);
        return;
    }
    uint64_t word = word_load(&view->words[intent->index]);
    uint64_t entry = field_load(&view->ledger[intent->index]);
    audit_unfinished(view, "slot %" PRIu32 " was changing hands", intent->index);
    if (!is_a_side(view, word))
        disagree(view, intent->index, "was changing hands", word);
    if (entry != intent->entry && layout_ledger_member(entry) != intent->from)
        audit_violation(view,
                        "slot %" PRIu32 " was changing hands, and is granted to member %" PRIu32
                        ", who had nothing to do with that",
                        intent->index, layout_ledger_member(entry));
}

/* ---- Holders --------------------------------------------------------------------------------- */

static void judge_hold(struct audit_view *view, uint64_t hold)
{
    uint32_t index = (uint32_t)(hold >> FASTALLOC_WORD_MEMBER_BITS);
    uint32_t member = layout_ledger_member(hold);
    if (index >= view->capacity) {
        audit_violation(view, "a hold is on slot %" PRIu32 ", which there isn't", index);
        return;
    }
    if (!audit_is_holder(view, member))
        audit_violation(view,
                        "a hold on slot %" PRIu32 " is of member %" PRIu32 ", whom there isn't",
                        index, member);
    uint64_t word = word_load(&view->words[index]);
    if (slot_state(word) != SLOT_SHARED ||
        layout_holder_entry(slot_generation(word), index, member) != hold)
        disagree(view, index, "has a hold on another object", word);
    view->shared[index / 64] |= UINT64_C(1) << index % 64;
}

static void judge_holds(struct audit_view *view)
{
    for (uint64_t at = 0; at < view->hold_room; at++) {
        uint64_t hold = field_load(&view->holds[at]);
        if (hold != 0)
            judge_hold(view, hold);
    }
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static bool is_nobodys(uint64_t word)
{
    return slot_member(word) == SLOT_MEMBER_NONE &&
           (slot_state(word) == SLOT_IDLE || slot_state(word) == SLOT_RETIRED);
}

/* One is retired early only since it was broken, which stands in the pool before. */
static bool is_early(const struct audit_view *view, uint64_t word)
{
    return slot_state(word) == SLOT_RETIRED && slot_generation(word) != SLOT_GENERATION_LAST &&
           !(view->head.damage != LAYOUT_DAMAGE_NONE && slot_member(word) == SLOT_MEMBER_NONE);
}

static void judge_entry(struct audit_view *view, uint32_t index, uint64_t entry)
{
    uint32_t holder = layout_ledger_member(entry);
    if (!audit_is_holder(view, holder))
        audit_violation(view, "slot %" PRIu32 " is granted to member %" PRIu32 ", whom there isn't",
                        index, holder);
    else if (holder != SLOT_MEMBER_POOL &&
             !(field_load(&view->members[holder]) & LAYOUT_MEMBER_WRITES))
        audit_violation(view,
                        "slot %" PRIu32 " is granted to member %" PRIu32 ", who may read only",
                        index, holder);
    if (holder == SLOT_MEMBER_POOL && entry != layout_ledger_entry(0, holder))
        audit_violation(view, "slot %" PRIu32 " is the pool's own, and has a request's number",
                        index);
    if ((entry & LAYOUT_EVICTABLE) && audit_is_leased(view))
        audit_violation(view, "slot %" PRIu32 " is evictable, which those of leased pools aren't",
                        index);
}

static void judge_shared(struct audit_view *view, uint32_t index, uint32_t holder, uint64_t word)
{
    if (holder != SLOT_MEMBER_POOL || slot_member(word) != SLOT_MEMBER_POOL)
        disagree(view, index, "is granted to one member", word);
    else if (!is_shared(view, index))
        audit_unfinished(view, "slot %" PRIu32 " is shared by nobody", index);
}

/* Of a slot that somebody has. */
static void judge_granted(struct audit_view *view, uint32_t index, uint32_t holder, uint64_t word)
{
    char granted[48];
    snprintf(granted, sizeof(granted), "is granted to member %" PRIu32, holder);
    bool his = is_of(view, slot_member(word), holder), leased = audit_is_leased(view);
    bool possible = false;
    switch (slot_state(word)) {
    case SLOT_SHARED:
        judge_shared(view, index, holder, word);
        return;
    case SLOT_LIVE:
        possible = his;
        break;
    case SLOT_CACHED: /* for the pool itself nobody caches */
        possible = leased && his && holder != SLOT_MEMBER_POOL;
        break;
    case SLOT_RETURNED:
    case SLOT_RETIRED:
        possible = leased && his;
        break;
    case SLOT_IDLE:
        break;
    }
    if (!possible)
        disagree(view, index, granted, word);
}

static void judge_slot(struct audit_view *view, uint32_t index)
{
    uint64_t word = word_load(&view->words[index]), entry = field_load(&view->ledger[index]);
    uint32_t holder = layout_ledger_member(entry);
    view->allocated += slot_is_allocated(word);
    if (slot_generation(word) < SLOT_GENERATION_FIRST || is_early(view, word)) {
        disagree(view, index, "can't be at this generation", word);
        return;
    }
    if (holder != SLOT_MEMBER_NONE)
        judge_entry(view, index, entry);
    if (is_intended(view, index))
        return;
    if (holder != SLOT_MEMBER_NONE && is_nobodys(word))
        audit_unfinished(view, "slot %" PRIu32 " was being granted or taken back", index);
    else if (holder != SLOT_MEMBER_NONE)
        judge_granted(view, index, holder, word);
    else if (entry != 0)
        audit_violation(view, "slot %" PRIu32 " is free, and has a request's number", index);
    else if (!is_nobodys(word))
        disagree(view, index, "is free", word);
}

/* Above the capacity nothing was ever granted. */
static void judge_fresh(struct audit_view *view)
{
    for (uint64_t index = view->capacity; index < view->ledger_room; index++)
        if (field_load(&view->ledger[index]) != 0)
            audit_violation(view, "slot %" PRIu64 " is granted, and there are %" PRIu32, index,
                            view->capacity);
}

bool audit_slots(struct audit_view *view)
{
    view->shared = calloc(((size_t)view->capacity + 63) / 64, sizeof(view->shared[0]));
    if (!view->shared) {
        audit_note(view, "its slots can't be looked at: there is no memory for that");
        return false;
    }
    judge_intent(view);
    judge_holds(view);
    for (uint32_t index = 0; index < view->capacity; index++)
        judge_slot(view, index);
    judge_fresh(view);
    free(view->shared);
    view->shared = NULL;
    return true;
}
