/* SPDX-License-Identifier: MIT */
#include "daemon/journal.h"

#include <string.h>

#include "shm/order.h"

_Static_assert(PROTOCOL_CHANGES_MAX == 32, "a bit for each of the last changes, in one word");

void journal_init(struct journal *journal, struct registry *registry)
{
    *journal = (struct journal){.record = &registry->file->change};
}

/* ---- What was carried out -------------------------------------------------------------------- */

/* The number of the last one, and from bit 0 on which of those before it were carried out. */
static uint32_t last_of(uint64_t changes)
{
    return (uint32_t)(changes >> 32);
}

bool journal_is_done(const struct registry_session *session, uint32_t number)
{
    uint64_t changes = field_load(&session->changes);
    uint32_t back = last_of(changes) - number; /* numbers wrap */
    return number != 0 && back < PROTOCOL_CHANGES_MAX && changes >> back & 1;
}

static void mark_done(struct registry_session *session, uint32_t number)
{
    uint64_t changes = field_load(&session->changes);
    uint32_t last = last_of(changes), done = (uint32_t)changes;
    uint32_t ahead = number - last, back = last - number;
    if (back < PROTOCOL_CHANGES_MAX) {
        done |= UINT32_C(1) << back;
    } else {
        done = ahead < PROTOCOL_CHANGES_MAX ? done << ahead | 1 : 1;
        last = number;
    }
    field_store(&session->changes, (uint64_t)last << 32 | done);
}

/* ---- What is under way ----------------------------------------------------------------------- */

void journal_announce(struct journal *journal, struct registry_session *session, uint32_t number)
{
    journal->session = session;
    journal->number = number;
}

void journal_begin(struct journal *journal, enum journal_kind kind, uint32_t pool, uint32_t member,
                   const uint8_t *handles, uint32_t count)
{
    struct registry_change *record = journal->record;
    record->pool = pool;
    record->session = journal->session ? journal->session->id : 0;
    record->number = journal->number;
    record->member = member;
    record->count = count;
    record->progress = JOURNAL_HOLDS_NONE;
    if (count > 0)
        memcpy(record->handles, handles, (size_t)count * HANDLE_WIRE_SIZE);
    field32_store(&record->kind, kind);
}

void journal_step(struct journal *journal, uint32_t position, uint32_t holds)
{
    field_store(&journal->record->progress, (uint64_t)position << 32 | holds);
}

void journal_end(struct journal *journal, bool done)
{
    if (done && journal->session && journal->number != 0)
        mark_done(journal->session, journal->number);
    field32_store(&journal->record->kind, JOURNAL_NONE);
}

uint32_t journal_next(const struct journal *journal)
{
    return (uint32_t)(field_load(&journal->record->progress) >> 32);
}

uint32_t journal_holds(const struct journal *journal)
{
    return (uint32_t)field_load(&journal->record->progress);
}
