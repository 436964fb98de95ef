/* SPDX-License-Identifier: MIT */
/* The audit of a pool: its objects, its head, its members and its counters. */
#include "daemon/audit_part.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/growth.h"
#include "daemon/holders.h"
#include "daemon/name.h"
#include "daemon/watermark.h"
#include "proto/text.h"
#include "shm/bias.h"
#include "shm/lease.h"
#include "shm/order.h"

#define FLAGS                                                                                      \
    (LAYOUT_OWNER_FREES | LAYOUT_ZERO_ALLOCATE | LAYOUT_ZERO_FREE | LAYOUT_PREFAULT |              \
     LAYOUT_LOCK | LAYOUT_HUGE)

/* ---- Findings -------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 0)))
write_text(char text[AUDIT_TEXT_SIZE], const char *format, va_list arguments)
{
    vsnprintf(text, AUDIT_TEXT_SIZE, format, arguments);
}

void audit_violation(struct audit_view *view, const char *format, ...)
{
    char text[AUDIT_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    write_text(text, format, arguments);
    va_end(arguments);
    audit_report(view->audit, AUDIT_VIOLATION, "%s: %s", view->who, text);
}

void audit_note(struct audit_view *view, const char *format, ...)
{
    char text[AUDIT_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    write_text(text, format, arguments);
    va_end(arguments);
    audit_report(view->audit, AUDIT_NOTE, "%s: %s", view->who, text);
}

void audit_unfinished(struct audit_view *view, const char *format, ...)
{
    char text[AUDIT_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    write_text(text, format, arguments);
    va_end(arguments);
    audit_under_way(view->audit, "%s: %s", view->who, text);
}

/* ---- Objects --------------------------------------------------------------------------------- */

/* Whether it is there, and has what it must. */
static bool judge_object(struct audit_view *view, enum store_object part, uint64_t least,
                         uint64_t most)
{
    const struct audit_object *object = &view->subject->objects[part];
    bool readable = !object->start || object->mapped >= least;
    if (object->status == -ENOENT)
        audit_violation(view, "it has no %s", store_part(part));
    else if (object->status == -EPERM)
        audit_violation(view, "its %s is no file of mode 0600 of the daemon's user",
                        store_part(part));
    else if (object->status < 0)
        audit_note(view, "its %s can't be looked at: %s", store_part(part),
                   strerror(-object->status));
    else if (object->size < least)
        audit_violation(view, "its %s has %" PRIu64 " bytes and must have %" PRIu64,
                        store_part(part), object->size, least);
    else if (object->size > most)
        audit_violation(view, "its %s has %" PRIu64 " bytes and can have %" PRIu64 " at most",
                        store_part(part), object->size, most);
    else if (!readable)
        audit_violation(view, "its %s must have %" PRIu64 " bytes, and the daemon mapped %" PRIu64,
                        store_part(part), least, object->mapped);
    return object->status == 0 && object->size >= least && readable;
}

/* The holders' object is made with the first of them, and the template's where there is one. */
static void judge_others(struct audit_view *view)
{
    const struct audit_object *objects = view->subject->objects;
    const struct audit_object *holders = &objects[STORE_HOLDERS];
    uint64_t size = view->head.policy.template_size;
    uint64_t most = 2 * sizeof(uint64_t) * (uint64_t)holders_limit(view->geometry.reserve);

    judge_object(view, STORE_DATA, geometry_data_size(&view->geometry, view->capacity),
                 geometry_data_size(&view->geometry, view->geometry.reserve));
    if (size > 0 || objects[STORE_TEMPLATE].status != -ENOENT)
        judge_object(view, STORE_TEMPLATE, size, size);
    if (holders->status == -ENOENT || !judge_object(view, STORE_HOLDERS, 0, most))
        return;
    view->holds = holders->start;
    view->hold_room = holders->mapped / sizeof(uint64_t);
}

static bool find_places(struct audit_view *view)
{
    const struct audit_object *objects = view->subject->objects;
    const struct geometry *geometry = &view->geometry;
    uint32_t capacity = view->capacity, reserve = geometry->reserve;
    bool ctl = judge_object(view, STORE_CTL, geometry_ctl_size(geometry, capacity),
                            geometry_ctl_size(geometry, reserve));
    bool slots = judge_object(view, STORE_SLOTS, geometry_slots_size(geometry, capacity),
                              geometry_slots_size(geometry, reserve));
    judge_others(view);
    if (!ctl || !slots)
        return false;
    const char *start = objects[STORE_CTL].start;
    view->members = (const uint64_t *)(start + geometry->members_offset);
    view->ledger = (const uint64_t *)(start + geometry->ledger_offset);
    view->ledger_room =
        (objects[STORE_CTL].mapped - geometry->ledger_offset) / sizeof(view->ledger[0]);
    start = objects[STORE_SLOTS].start;
    view->words = (const uint64_t *)(start + geometry->words_offset);
    return true;
}

/* ---- The head -------------------------------------------------------------------------------- */

static bool judge_identity(struct audit_view *view)
{
    const struct layout_ctl *head = &view->head;
    const struct audit_subject *subject = view->subject;
    if (head->magic != LAYOUT_MAGIC || head->version != LAYOUT_VERSION) {
        audit_violation(view, "its ctl is none of version %u", LAYOUT_VERSION);
        return false;
    }
    if (head->pool != subject->id || head->nonce != subject->nonce)
        audit_violation(view,
                        "its ctl is that of pool %" PRIu32 " and nonce %" PRIu32
                        ", and the registry's nonce is %" PRIu32,
                        head->pool, head->nonce, subject->nonce);
    return true;
}

static bool judge_geometry(struct audit_view *view)
{
    const struct layout_ctl *head = &view->head;
    if (head->kind != LAYOUT_BROKERED && head->kind != LAYOUT_LEASED) {
        audit_violation(view, "it is of kind %" PRIu32 ", which there isn't", head->kind);
        return false;
    }
    if (head->alignment == 0 ||
        geometry_init(&view->geometry, head->kind, head->object_size, head->alignment,
                      head->reserve) != GEOMETRY_OK ||
        head->stride != view->geometry.stride) {
        audit_violation(view,
                        "there can't be %" PRIu32 " slots of %" PRIu64 " bytes, %" PRIu64
                        " apart and aligned to %" PRIu32,
                        head->reserve, head->object_size, head->stride, head->alignment);
        return false;
    }
    view->capacity = head->capacity;
    if (head->capacity > 0 && head->policy.capacity_first <= head->capacity &&
        head->capacity <= head->capacity_max && head->capacity_max <= head->reserve)
        return true;
    audit_violation(view,
                    "its capacities don't rise: %" PRIu32 " at first, %" PRIu32 " now, %" PRIu32
                    " at most, %" PRIu32 " reserved",
                    head->policy.capacity_first, head->capacity, head->capacity_max, head->reserve);
    return head->capacity > 0 && head->capacity <= head->reserve;
}

static bool is_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    return length < size && text_is_plain(text, length);
}

static void judge_texts(struct audit_view *view)
{
    const struct layout_ctl *head = &view->head;
    const struct layout_policy *policy = &head->policy;
    struct growth growth;
    struct watermark watermark;
    if (!is_text(head->name, sizeof(head->name)) || !name_is_valid(head->name))
        audit_violation(view, "its name can't be one");
    if (!is_text(head->type, sizeof(head->type)))
        audit_violation(view, "its type is no text");
    if (!is_text(policy->growth, sizeof(policy->growth)) || growth_parse(&growth, policy->growth))
        audit_violation(view, "its growth is no policy");
    if (!is_text(policy->watermark, sizeof(policy->watermark)) ||
        watermark_parse(&watermark, policy->watermark))
        audit_violation(view, "its watermark is no level");
}

static void judge_number(struct audit_view *view, const char *what, uint64_t value, uint64_t most)
{
    if (value > most)
        audit_violation(view, "its %s is %" PRIu64 " and can be %" PRIu64 " at most", what, value,
                        most);
}

static void judge_policy(struct audit_view *view)
{
    const struct layout_ctl *head = &view->head;
    const struct layout_policy *policy = &head->policy;
    uint32_t most = head->capacity_max;
    uint32_t left = policy->reserve_critical < most ? most - policy->reserve_critical : 0;
    if (head->flags & ~(uint32_t)FLAGS)
        audit_violation(view, "it has flags that there aren't: %#" PRIx32,
                        head->flags & ~(uint32_t)FLAGS);
    judge_number(view, "mode", head->mode, 0777);
    judge_number(view, "reserve for critical requests", policy->reserve_critical, most);
    judge_number(view, "reserve for normal requests", policy->reserve_normal, left);
    judge_number(view, "growth ahead", policy->grow_ahead, most);
    judge_number(view, "template's size", policy->template_size,
                 head->object_size < PROTOCOL_TEMPLATE_MAX ? head->object_size
                                                           : PROTOCOL_TEMPLATE_MAX);
    judge_number(view, "limit to holds", policy->hold_limit, INT64_MAX);
    judge_number(view, "time to trim after", policy->trim_after, INT64_MAX);
}

/* The number of an epoch is stored before the epoch; brokered pools have none. */
static void judge_epoch(struct audit_view *view)
{
    const struct layout_ctl *head = &view->head;
    if (head->waiters >> 1 > head->epochs || (!audit_is_leased(view) && head->epochs > 0))
        audit_violation(view, "its epoch %" PRIu64 " was never given out, the last one is %" PRIu64,
                        head->waiters >> 1, head->epochs);
}

/* ---- Members --------------------------------------------------------------------------------- */

bool audit_is_leased(const struct audit_view *view)
{
    return view->head.kind == LAYOUT_LEASED;
}

uint64_t audit_session(const struct audit_view *view, uint32_t number)
{
    if (number == SLOT_MEMBER_NONE || number >= SLOT_MEMBER_POOL)
        return 0;
    return layout_member_session(field_load(&view->members[number]));
}

bool audit_is_holder(const struct audit_view *view, uint32_t number)
{
    if (number == SLOT_MEMBER_POOL)
        return true;
    return number < LAYOUT_THREAD_FIRST && audit_session(view, number) != 0;
}

static void judge_thread(struct audit_view *view, uint32_t number, int session)
{
    if (!audit_is_leased(view))
        audit_violation(view, "it isn't leased, and number %" PRIu32 " is a thread's", number);
    else if (session >= 0 && view->member_of[session] == 0)
        audit_violation(
            view, "number %" PRIu32 " is a thread's of session %" PRIu64 ", which is no member",
            number, audit_session(view, number));
}

static void judge_member(struct audit_view *view, uint32_t number)
{
    const struct audit_sessions *sessions = view->subject->sessions;
    uint64_t entry = field_load(&view->members[number]), id = layout_member_session(entry);
    if (entry == 0)
        return;
    if (number == SLOT_MEMBER_NONE || number == SLOT_MEMBER_POOL) {
        audit_violation(view, "number %" PRIu32 " is a member's, which it never is", number);
        return;
    }
    int session = audit_find_session(sessions, id);
    if (session < 0)
        audit_violation(view, "number %" PRIu32 " is of session %" PRIu64 ", which there isn't",
                        number, id);
    if (bias_is_thread(number)) {
        judge_thread(view, number, session);
        return;
    }
    if (session >= 0 && view->member_of[session] != 0)
        audit_violation(view, "session %" PRIu64 " is member %" PRIu32 " and %" PRIu32, id,
                        view->member_of[session], number);
    else if (session >= 0)
        view->member_of[session] = number;
}

/* ---- Counters -------------------------------------------------------------------------------- */

/*
 * Slots are counted when all of a request are granted, and after each that is freed; those of leased
 * pools as the daemon saw them last.
 */
static void judge_usage(struct audit_view *view, uint64_t usage)
{
    uint64_t allocated = view->allocated;
    uint64_t wrong = usage > allocated ? usage - allocated : allocated - usage;
    if (audit_is_leased(view) || wrong == 0)
        return;
    if (view->audit->live || wrong > PROTOCOL_BATCH_MAX)
        audit_violation(view, "it counts %" PRIu64 " objects and has %" PRIu64, usage, allocated);
    else
        audit_unfinished(view, "it was about to count %" PRIu64 " objects, and counts %" PRIu64,
                         allocated, usage);
}

static void judge_counters(struct audit_view *view)
{
    const struct layout_counters *counters = &view->head.counters;
    if (counters->sequence % 2 != 0) {
        audit_unfinished(view, "its counters were being changed");
        return;
    }
    judge_number(view, "usage", counters->current_usage, view->capacity);
    judge_number(view, "usage", counters->current_usage, counters->peak_usage);
    if (counters->current_usage - counters->reset_usage !=
        counters->total_allocations - counters->total_deallocations)
        audit_violation(view,
                        "it counts %" PRIu64 " objects, but had %" PRIu64 " and then %" PRIu64
                        " allocations and %" PRIu64 " deallocations",
                        counters->current_usage, counters->reset_usage, counters->total_allocations,
                        counters->total_deallocations);
    judge_usage(view, counters->current_usage);
}

/* ---- The pool -------------------------------------------------------------------------------- */

static void judge_content(struct audit_view *view)
{
    judge_texts(view);
    judge_policy(view);
    judge_epoch(view);
    if (!find_places(view))
        return;
    view->audit->slots += view->capacity;
    for (uint32_t number = 0; number < LAYOUT_MEMBERS; number++)
        judge_member(view, number);
    if (audit_slots(view))
        judge_counters(view);
}

void audit_pool(struct audit *audit, const struct audit_subject *subject)
{
    struct audit_view view = {.audit = audit, .subject = subject};
    struct layout_ctl *head = &view.head;

    audit->pools++;
    snprintf(view.who, sizeof(view.who), "pool %" PRIu32, subject->id);
    if (subject->state == REGISTRY_MAKING || subject->state == REGISTRY_ENDING) {
        audit_unfinished(&view, "it was being %s",
                         subject->state == REGISTRY_MAKING ? "made" : "destroyed");
        return;
    }
    if (!judge_object(&view, STORE_CTL, sizeof(*head), UINT64_MAX))
        return;
    memcpy(head, subject->objects[STORE_CTL].start, sizeof(*head));
    if (is_text(head->name, sizeof(head->name)) && name_is_valid(head->name))
        snprintf(view.who, sizeof(view.who), "pool %" PRIu32 " '%s'", subject->id, head->name);
    if (judge_identity(&view) && judge_geometry(&view))
        judge_content(&view);
}
