/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* fallocate */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/sigbus.h"
#include "shm/order.h"

#define PAGE UINT64_C(4096)

const char *store_part(enum store_object object)
{
    static const char *const parts[STORE_OBJECTS] = {"ctl", "slots", "data", "holders", "template"};
    return parts[object];
}

static void object_name(const uint8_t key[SEGMENT_KEY_SIZE], enum store_object object,
                        char name[SEGMENT_NAME_SIZE])
{
    segment_name(key, store_part(object), name);
}

static size_t object_size(const struct geometry *geometry, enum store_object object,
                          uint32_t capacity)
{
    switch (object) {
    case STORE_CTL:
        return geometry_ctl_size(geometry, capacity);
    case STORE_SLOTS:
        return geometry_slots_size(geometry, capacity);
    default:
        return geometry_data_size(geometry, capacity);
    }
}

uint64_t store_size(const struct geometry *geometry, uint32_t capacity)
{
    uint64_t size = 0;
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++)
        size += object_size(geometry, object, capacity);
    return size;
}

/* ---- Creation -------------------------------------------------------------------------------- */

static int create_object(const struct store *store, enum store_object object, void **base)
{
    const struct geometry *geometry = &store->geometry;
    char name[SEGMENT_NAME_SIZE];
    object_name(store->key, object, name);
    int fd = segment_create(name, object_size(geometry, object, store->capacity));
    if (fd < 0 || object == STORE_DATA) {
        if (fd >= 0)
            close(fd);
        return fd < 0 ? fd : 0;
    }
    void *mapping = mmap(NULL, object_size(geometry, object, geometry->reserve),
                         PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int result = mapping == MAP_FAILED ? -errno : 0;
    close(fd);
    if (result == 0)
        *base = mapping;
    return result;
}

/* With ctl and slots mapped. */
static int set_places(struct store *store)
{
    const struct geometry *geometry = &store->geometry;
    char *ctl = (char *)store->ctl, *slots = store->slots;
    if (!sigbus_protect(slots, object_size(geometry, STORE_SLOTS, geometry->reserve)))
        return -EMFILE;
    store->members = (uint64_t *)(void *)(ctl + geometry->members_offset);
    store->ledger = (uint64_t *)(void *)(ctl + geometry->ledger_offset);
    store->words = (uint64_t *)(void *)(slots + geometry->words_offset);
    return 0;
}

static void fill_words(const struct store *store, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        store->words[i] = slot_word(SLOT_GENERATION_FIRST, SLOT_MEMBER_NONE, SLOT_IDLE);
}

int store_create(struct store *store, const uint8_t key[SEGMENT_KEY_SIZE],
                 const struct geometry *geometry, uint32_t capacity)
{
    void *ctl = NULL, *slots = NULL;
    *store = (struct store){.geometry = *geometry, .capacity = capacity, .data_fd = -1};
    memcpy(store->key, key, sizeof(store->key));
    int result = create_object(store, STORE_CTL, &ctl);
    store->ctl = ctl;
    if (result == 0)
        result = create_object(store, STORE_SLOTS, &slots);
    store->slots = slots;
    if (result == 0)
        result = create_object(store, STORE_DATA, NULL);
    if (result == 0)
        result = set_places(store);
    if (result < 0) {
        store_unlink(key);
        store_close(store);
        return result;
    }
    fill_words(store, 0, capacity);
    return 0;
}

/* ---- What is there already ------------------------------------------------------------------- */

int store_read_head(const uint8_t key[SEGMENT_KEY_SIZE], struct layout_ctl *head)
{
    char name[SEGMENT_NAME_SIZE];
    object_name(key, STORE_CTL, name);
    int fd = segment_open(name, false);
    if (fd < 0)
        return fd;
    ssize_t size = pread(fd, head, sizeof(*head), 0);
    int result = size < 0 ? -errno : 0;
    close(fd);
    return result == 0 && size < (ssize_t)sizeof(*head) ? -ENODATA : result;
}

static int actual_size(const struct store *store, enum store_object object, uint64_t *size)
{
    struct stat status;
    int fd = store_descriptor(store, object, false);
    if (fd < 0)
        return fd;
    int result = fstat(fd, &status) < 0 ? -errno : 0;
    close(fd);
    *size = (uint64_t)status.st_size;
    return result;
}

static int map_object(const struct store *store, enum store_object object, void **base)
{
    int fd = store_descriptor(store, object, true);
    if (fd < 0)
        return fd;
    void *mapping = mmap(NULL, object_size(&store->geometry, object, store->geometry.reserve),
                         PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int result = mapping == MAP_FAILED ? -errno : 0;
    close(fd);
    if (result == 0)
        *base = mapping;
    return result;
}

/* What only the daemon writes to is long enough, or the daemon would touch what isn't there. */
static int check_ctl(const struct store *store)
{
    uint64_t size;
    int result = actual_size(store, STORE_CTL, &size);
    if (result < 0)
        return result;
    return size < object_size(&store->geometry, STORE_CTL, store->capacity) ? -ENODATA : 0;
}

int store_open(struct store *store, const uint8_t key[SEGMENT_KEY_SIZE],
               const struct geometry *geometry, uint32_t capacity)
{
    void *ctl = NULL;
    *store = (struct store){.geometry = *geometry, .capacity = capacity, .data_fd = -1};
    memcpy(store->key, key, sizeof(store->key));
    int result = check_ctl(store);
    if (result == 0)
        result = map_object(store, STORE_CTL, &ctl);
    store->ctl = ctl;
    if (result == 0)
        result = map_object(store, STORE_SLOTS, &store->slots);
    if (result == 0)
        result = set_places(store);
    if (result == 0) /* whether it is there: there may be more pools than descriptors */
        result = store_open_data(store);
    store_close_data(store);
    if (result < 0)
        store_close(store);
    return result;
}

int store_restore(struct store *store, bool *cut)
{
    *cut = false;
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++) {
        uint64_t size = 0, needed = object_size(&store->geometry, object, store->capacity);
        char name[SEGMENT_NAME_SIZE];
        object_name(store->key, object, name);
        int result = actual_size(store, object, &size);
        if (result == 0 && size != needed)
            result = segment_resize(name, size, needed);
        if (result < 0 && result != -ENOSPC) /* who cut it harms this pool alone */
            return result;
        *cut |= size < needed;
    }
    return 0;
}

int store_read_template(const struct store *store, uint8_t *content, size_t size)
{
    int fd = store_descriptor(store, STORE_TEMPLATE, false);
    if (fd < 0)
        return fd;
    ssize_t count = pread(fd, content, size, 0);
    int result = count < 0 ? -errno : 0;
    close(fd);
    return result == 0 && (size_t)count < size ? -ENODATA : result;
}

void store_close(struct store *store)
{
    const struct geometry *geometry = &store->geometry;
    if (store->slots) {
        sigbus_forget(store->slots);
        munmap(store->slots, object_size(geometry, STORE_SLOTS, geometry->reserve));
    }
    if (store->ctl)
        munmap(store->ctl, object_size(geometry, STORE_CTL, geometry->reserve));
    store_close_data(store);
    free(store->trimmed);
    *store = (struct store){.data_fd = -1};
}

/* ---- Growth ---------------------------------------------------------------------------------- */

/* What a growth that failed had taken, beyond the capacity that stands. */
static void shrink(const struct store *store, unsigned objects, uint32_t capacity)
{
    for (enum store_object object = 0; object < objects; object++) {
        char name[SEGMENT_NAME_SIZE];
        object_name(store->key, object, name);
        segment_resize(name, object_size(&store->geometry, object, capacity),
                       object_size(&store->geometry, object, store->capacity));
    }
}

int store_grow(struct store *store, uint32_t capacity)
{
    for (enum store_object object = 0; object < STORE_FOR_CLIENTS; object++) {
        char name[SEGMENT_NAME_SIZE];
        object_name(store->key, object, name);
        int result = segment_resize(name, object_size(&store->geometry, object, store->capacity),
                                    object_size(&store->geometry, object, capacity));
        if (result < 0) {
            shrink(store, object, capacity);
            return result;
        }
    }
    fill_words(store, store->capacity, capacity);
    store->capacity = capacity;
    return 0;
}

/* ---- Content --------------------------------------------------------------------------------- */

int store_open_data(struct store *store)
{
    char name[SEGMENT_NAME_SIZE];
    if (store->data_fd >= 0)
        return 0;
    object_name(store->key, STORE_DATA, name);
    int fd = segment_open(name, true);
    if (fd < 0)
        return fd;
    store->data_fd = fd;
    return 0;
}

void store_close_data(struct store *store)
{
    if (store->data_fd >= 0)
        close(store->data_fd);
    store->data_fd = -1;
}

static int write_all(int fd, const uint8_t *content, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, content, size, (off_t)at);
        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0) {
            content += written;
            size -= (size_t)written;
            at += (uint64_t)written;
        }
    }
    return 0;
}

int store_write_template(struct store *store, const uint8_t *content, size_t size)
{
    char name[SEGMENT_NAME_SIZE];
    object_name(store->key, STORE_TEMPLATE, name);
    int fd = segment_create(name, size);
    if (fd < 0)
        return fd;
    int result = write_all(fd, content, size, 0);
    close(fd);
    return result;
}

int store_write(struct store *store, uint32_t index, const uint8_t *content, size_t size)
{
    int result = store_open_data(store);
    return result < 0 ? result
                      : write_all(store->data_fd, content, size, index * store->geometry.stride);
}

int store_zero(struct store *store, uint32_t index, size_t from)
{
    static const uint8_t zero[65536];
    uint64_t at = index * store->geometry.stride + from;
    size_t left = store->geometry.object_size - from;
    int result = store_open_data(store);
    while (result == 0 && left > 0) {
        size_t size = left < sizeof(zero) ? left : sizeof(zero);
        result = write_all(store->data_fd, zero, size, at);
        at += size;
        left -= size;
    }
    return result;
}

/* ---- Trimming -------------------------------------------------------------------------------- */

struct pages {
    uint64_t first;
    uint64_t end;
};

/* The pages of which a slot has a part. */
static struct pages pages_of(const struct store *store, uint32_t index)
{
    uint64_t stride = store->geometry.stride;
    return (struct pages){index * stride / PAGE, ((index + 1) * stride + PAGE - 1) / PAGE};
}

/* The pages that belong to these slots alone; the last slots have the file's last page. */
static struct pages pages_within(const struct store *store, uint32_t first, uint32_t end,
                                 uint32_t capacity)
{
    uint64_t stride = store->geometry.stride;
    uint64_t last =
        end == capacity ? geometry_data_size(&store->geometry, end) / PAGE : end * stride / PAGE;
    return (struct pages){(first * stride + PAGE - 1) / PAGE, last};
}

/* Sets the pages' marks; returns how many changed. */
static uint32_t mark(struct store *store, struct pages pages, bool trimmed)
{
    uint32_t changed = 0;
    for (uint64_t page = pages.first; page < pages.end; page++) {
        changed += store->trimmed[page] != trimmed;
        store->trimmed[page] = trimmed;
    }
    return changed;
}

static int make_marks(struct store *store)
{
    uint64_t all = geometry_data_size(&store->geometry, store->geometry.reserve) / PAGE;
    if (!store->trimmed)
        store->trimmed = calloc(all, 1);
    return store->trimmed ? 0 : -ENOMEM;
}

/*
 * Those that the file system tells of. A member may have inflated the file, so not beyond our end;
 * and may fill holes and punch others while they are looked for, so each step goes on by a page at
 * least.
 */
static void mark_holes(struct store *store)
{
    off_t size = (off_t)geometry_data_size(&store->geometry, store->capacity);
    off_t hole = lseek(store->data_fd, 0, SEEK_HOLE);
    while (hole >= 0 && hole < size) {
        off_t end = lseek(store->data_fd, hole, SEEK_DATA);
        if (end == hole)
            end += (off_t)PAGE;
        if (end < 0 || end > size)
            end = size;
        struct pages pages = {(uint64_t)hole / PAGE, (uint64_t)end / PAGE};
        store->trimmed_count += mark(store, pages, true);
        hole = end < size ? lseek(store->data_fd, end, SEEK_HOLE) : size;
    }
}

int store_find_trimmed(struct store *store)
{
    struct stat status;
    int result = store_open_data(store);
    if (result < 0)
        return result;
    if (fstat(store->data_fd, &status) < 0)
        return -errno;
    if ((uint64_t)status.st_blocks * 512 >= (uint64_t)status.st_size)
        return 0;
    result = make_marks(store);
    if (result == 0)
        mark_holes(store);
    return result;
}

int store_trim(struct store *store, uint32_t first, uint32_t end, uint32_t capacity)
{
    struct pages pages = pages_within(store, first, end, capacity);
    if (pages.first >= pages.end)
        return 0;
    int result = make_marks(store);
    if (result == 0)
        result = store_open_data(store);
    if (result < 0)
        return result;
    if (fallocate(store->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(pages.first * PAGE), (off_t)((pages.end - pages.first) * PAGE)) < 0)
        return -errno;
    store->trimmed_count += mark(store, pages, true);
    return 0;
}

int store_untrim(struct store *store, uint32_t index)
{
    if (!store_is_trimmed(store, index))
        return 0;
    struct pages pages = pages_of(store, index);
    int result;
    do
        result = posix_fallocate(store->data_fd, (off_t)(pages.first * PAGE),
                                 (off_t)((pages.end - pages.first) * PAGE));
    while (result == EINTR);
    if (result == 0)
        store->trimmed_count -= mark(store, pages, false);
    return -result;
}

void store_forget_trimmed(struct store *store, uint32_t index)
{
    if (store_is_trimmed(store, index))
        store->trimmed_count -= mark(store, pages_of(store, index), false);
}

bool store_is_trimmed(const struct store *store, uint32_t index)
{
    if (store->trimmed_count == 0)
        return false;
    struct pages pages = pages_of(store, index);
    for (uint64_t page = pages.first; page < pages.end; page++)
        if (store->trimmed[page])
            return true;
    return false;
}

uint64_t store_trimmed_size(const struct store *store)
{
    return store->trimmed_count * PAGE;
}

/* ---- Objects --------------------------------------------------------------------------------- */

void store_name(const struct store *store, enum store_object object, char name[SEGMENT_NAME_SIZE])
{
    object_name(store->key, object, name);
}

bool store_is_whole(const struct store *store)
{
    struct stat status;
    int fd = store_descriptor(store, STORE_DATA, false);
    if (fd < 0)
        return true;
    bool known = fstat(fd, &status) == 0;
    close(fd);
    return !known ||
           (uint64_t)status.st_size == geometry_data_size(&store->geometry, store->capacity);
}

int store_descriptor(const struct store *store, enum store_object object, bool writable)
{
    char name[SEGMENT_NAME_SIZE];
    object_name(store->key, object, name);
    return segment_open(name, writable);
}

unsigned store_unlink(const uint8_t key[SEGMENT_KEY_SIZE])
{
    unsigned removed = 0;
    for (enum store_object object = 0; object < STORE_OBJECTS; object++) {
        char name[SEGMENT_NAME_SIZE];
        object_name(key, object, name);
        removed += segment_unlink(name) == 0;
    }
    return removed;
}
