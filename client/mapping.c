/* SPDX-License-Identifier: MIT */
#include "client/mapping.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/error.h"
#include "client/memory.h"

/* ---- Checking -------------------------------------------------------------------------------- */

/* What the head contradicts, or NULL. */
static const char *check_identity(const struct layout_ctl *head, const char *name,
                                  const struct pool_open_reply *reply)
{
    if (head->magic != LAYOUT_MAGIC)
        return "it isn't a pool";
    if (head->version != LAYOUT_VERSION)
        return "its layout is of another version than this library's";
    if (head->kind != LAYOUT_BROKERED && head->kind != LAYOUT_LEASED)
        return "it is of a kind that this library doesn't know";
    if (head->kind != reply->kind)
        return "it is of another kind than the daemon's reply says";
    if (head->pool != reply->pool || head->nonce != reply->nonce ||
        strncmp(head->name, name, sizeof(head->name)) != 0)
        return "it is another pool";
    return NULL;
}

static const char *check_geometry(const struct layout_ctl *head,
                                  const struct pool_open_reply *reply, struct geometry *geometry)
{
    if (head->alignment == 0 || geometry_init(geometry, head->kind, head->object_size,
                                              head->alignment, head->reserve) != GEOMETRY_OK)
        return "its sizes are impossible";
    if (head->stride != geometry->stride || head->capacity_max > geometry->reserve)
        return "its sizes contradict each other";
    if (head->object_size != reply->object_size || head->stride != reply->stride ||
        head->alignment != reply->alignment)
        return "its sizes are others than the daemon's reply says";
    if (head->capacity == 0 || head->capacity > head->capacity_max)
        return "its capacity is impossible";
    return NULL;
}

/*
 * Reads the head by pread(), not through the mapping: it must not change between the check and the
 * use, nor be a SIGBUS when the file is too short.
 */
static int read_head(struct layout_ctl *head, int fd, const char *name,
                     const struct pool_open_reply *reply, struct geometry *geometry,
                     fastalloc_error_t *error)
{
    ssize_t size = pread(fd, head, sizeof(*head), 0);
    if (size < 0) {
        int result = -errno;
        return error_raise(error, result, "cannot read the head of pool '%s': %s", name,
                           error_text(-result));
    }
    const char *wrong = size == (ssize_t)sizeof(*head) ? NULL : "it is too short";
    if (!wrong && head->magic == LAYOUT_MAGIC && head->version == 0) {
        fastalloc_error_t fields = {.code = FASTALLOC_ERR_POOL_DESTROYED};
        memcpy(fields.pool, name, strlen(name));
        return error_raise_with(error, &fields, "pool '%s' was destroyed while it was opened",
                                name);
    }
    if (!wrong)
        wrong = check_identity(head, name, reply);
    if (!wrong)
        wrong = check_geometry(head, reply, geometry);
    if (wrong)
        return error_raise(error, FASTALLOC_ERR_MALFORMED,
                           "cannot use what the daemon sent for pool '%s': %s", name, wrong);
    return 0;
}

/* ---- Mapping --------------------------------------------------------------------------------- */

static size_t part_size(const struct geometry *geometry, enum mapping_part part, uint32_t capacity)
{
    switch (part) {
    case MAPPING_CTL:
        return geometry_ctl_size(geometry, capacity);
    case MAPPING_SLOTS:
        return geometry_slots_size(geometry, capacity);
    default:
        return geometry_data_size(geometry, capacity);
    }
}

static int map_part(struct mapping *mapping, enum mapping_part part, int fd, uint32_t capacity,
                    bool write, const char *name, fastalloc_error_t *error)
{
    static const char *const names[] = {"state", "slots", "objects"};
    const struct geometry *geometry = &mapping->geometry;
    size_t size = part_size(geometry, part, geometry->reserve);
    int result = region_map(&mapping->parts[part], fd, part_size(geometry, part, capacity), size,
                            write ? PROT_READ | PROT_WRITE : PROT_READ);
    if (result == -ENODATA)
        return error_raise(error, FASTALLOC_ERR_MALFORMED,
                           "the daemon sent a file for the %s of pool '%s' that is too short, or "
                           "no memory",
                           names[part], name);
    if (result < 0)
        return error_raise(error, result, "cannot map the %s of pool '%s', %zu bytes: %s",
                           names[part], name, size, error_text(-result));
    return 0;
}

int mapping_init(struct mapping *mapping, const int fds[MAPPING_PARTS], const char *name,
                 const struct pool_open_reply *reply, bool write, fastalloc_error_t *error)
{
    struct mapping made = {.identity = (uint64_t)reply->pool << 16 | reply->nonce};
    struct layout_ctl head;
    int result = read_head(&head, fds[MAPPING_CTL], name, reply, &made.geometry, error);
    const bool writes[] = {
        [MAPPING_CTL] = false,
        [MAPPING_SLOTS] = write && reply->kind == LAYOUT_LEASED,
        [MAPPING_DATA] = write,
    };
    for (enum mapping_part part = 0; part < MAPPING_PARTS && result == 0; part++)
        result = map_part(&made, part, fds[part], head.capacity, writes[part], name, error);
    made.flags = head.flags;
    if (result == 0)
        result = memory_prepare(made.parts[MAPPING_DATA].address,
                                geometry_data_size(&made.geometry, head.capacity), head.flags,
                                write, name, error);
    if (result < 0) {
        mapping_deinit(&made);
        return result;
    }
    *mapping = made;
    return 0;
}

void mapping_deinit(struct mapping *mapping)
{
    for (enum mapping_part part = 0; part < MAPPING_PARTS; part++)
        region_unmap(&mapping->parts[part]);
}

fastalloc_view_t mapping_view(const struct mapping *mapping)
{
    const struct layout_ctl *ctl = mapping->parts[MAPPING_CTL].address;
    const char *slots = mapping->parts[MAPPING_SLOTS].address;
    return (fastalloc_view_t){
        .identity = ~mapping->identity,
        .capacity = &ctl->capacity,
        .words = (const uint64_t *)(const void *)(slots + mapping->geometry.words_offset),
        .data = mapping->parts[MAPPING_DATA].address,
        .stride = mapping->geometry.stride,
    };
}
