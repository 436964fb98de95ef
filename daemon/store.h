/* SPDX-License-Identifier: MIT */
/*
 * A store: the shared-memory objects of one pool, what the daemon has mapped of them, and the
 * memory in them. ctl and slots are mapped once, at the most they can grow to; data isn't mapped,
 * what the daemon writes to it goes by pwrite().
 *
 * It knows no ledger and no member. Every function returns 0 or a negated errno unless it says
 * otherwise; -ENOSPC is a full /dev/shm.
 */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/geometry.h"
#include "shm/segment.h"

/* What clients get, in the order in which it travels; then what they don't. */
enum store_object {
    STORE_CTL,
    STORE_SLOTS,
    STORE_DATA,
    STORE_FOR_CLIENTS,
    STORE_HOLDERS = STORE_FOR_CLIENTS,
    STORE_TEMPLATE,
    STORE_OBJECTS,
};

struct store {
    uint8_t key[SEGMENT_KEY_SIZE]; /* names the objects */
    struct geometry geometry;
    uint32_t capacity; /* slots that there is memory for */
    struct layout_ctl *ctl;
    void *slots;
    uint64_t *members; /* in ctl */
    uint64_t *ledger;  /* in ctl */
    uint64_t *words;   /* in slots */
    int data_fd;       /* -1 until it is needed */
    uint8_t *trimmed;  /* a byte a page of data whose memory was given back; NULL: none ever */
    uint32_t trimmed_count;
};

/*
 * Makes ctl, slots and data for that many slots, with all their memory. The words are IDLE at their
 * first generation, the rest is zero. On failure nothing is left behind.
 */
int store_create(struct store *store, const uint8_t key[SEGMENT_KEY_SIZE],
                 const struct geometry *geometry, uint32_t capacity);

/* The head of ctl, as it stands there, whatever that is. -ENODATA if it isn't all there. */
int store_read_head(const uint8_t key[SEGMENT_KEY_SIZE], struct layout_ctl *head);

/*
 * Takes over the objects that are there, as those of a pool with that many slots. Nothing of them
 * is touched yet. -ENODATA if ctl is too short for that.
 */
int store_open(struct store *store, const uint8_t key[SEGMENT_KEY_SIZE],
               const struct geometry *geometry, uint32_t capacity);

/*
 * Makes the objects as long as they must be: a growth may not have come to its end, and members may
 * have changed what they can write to. Where something was missing it is zero, and *cut is set.
 */
int store_restore(struct store *store, bool *cut);

/*
 * Finds out which pages of data have no memory: to be asked after store_restore(), before anything
 * is trimmed. Those that were never written may count as such, which does no harm.
 */
int store_find_trimmed(struct store *store);

/* Reads the template object. */
int store_read_template(const struct store *store, uint8_t *content, size_t size);

/* Unmaps; the objects stay. */
void store_close(struct store *store);

/*
 * Takes the memory for more slots and makes their words. May run in a thread of its own, while the
 * slots there are go on being used, written, trimmed and untrimmed; `capacity` is the thread's
 * until it is through. On failure everything is as it was.
 */
int store_grow(struct store *store, uint32_t capacity);

/* Writes the template object, of which there is none yet. */
int store_write_template(struct store *store, const uint8_t *content, size_t size);

/* Opens data for writing now, not when something is first written, which then can't fail for it. */
int store_open_data(struct store *store);
void store_close_data(struct store *store);

/* The slot's memory counts as there, as it was before a member gave it back. */
void store_forget_trimmed(struct store *store, uint32_t index);

/* Writes to the object of a slot: the bytes at its beginning; zero from `from` to its end. */
int store_write(struct store *store, uint32_t index, const uint8_t *content, size_t size);
int store_zero(struct store *store, uint32_t index, size_t from);

/*
 * Gives back the memory of whole pages that belong to none but the slots from `first` to below
 * `end`; to the last of `capacity` slots, which are those in use, belongs the rest of their page.
 * Their content is zero then; until they are untrimmed a write to them may be a SIGBUS.
 */
int store_trim(struct store *store, uint32_t first, uint32_t end, uint32_t capacity);
/* Takes memory for the slot's pages again, where it was given back. */
int store_untrim(struct store *store, uint32_t index);
bool store_is_trimmed(const struct store *store, uint32_t index);
/* Bytes that are given back. */
uint64_t store_trimmed_size(const struct store *store);

/*
 * Whether data has the size that it must have, which whoever has it open for writing can change.
 * True as well if that can't be told. Not while store_grow() runs.
 */
bool store_is_whole(const struct store *store);

/* A new descriptor of an object, for a client, or a negated errno. */
int store_descriptor(const struct store *store, enum store_object object, bool writable);

/* What its name ends with. */
const char *store_part(enum store_object object);

void store_name(const struct store *store, enum store_object object, char name[SEGMENT_NAME_SIZE]);

/* Removes the objects of a key, of whichever there are. Returns how many there were. */
unsigned store_unlink(const uint8_t key[SEGMENT_KEY_SIZE]);

/* Bytes that ctl, slots and data have with that many slots. */
uint64_t store_size(const struct geometry *geometry, uint32_t capacity);

#endif
