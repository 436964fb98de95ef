/* SPDX-License-Identifier: MIT */
/* What a pool is asked to be, and whether that is possible. */
#ifndef DAEMON_POOL_CONFIG_H
#define DAEMON_POOL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/growth.h"
#include "daemon/watermark.h"
#include "proto/error.h"
#include "proto/message.h"
#include "shm/geometry.h"

struct pool_config {
    const char *name; /* valid */
    const char *type;
    uint64_t object_size;
    uint64_t capacity;
    uint64_t capacity_max; /* 0 = the capacity, unless there is growth */
    uint32_t alignment;    /* 0 = GEOMETRY_ALIGNMENT_DEFAULT */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t kind;         /* enum layout_kind; 0 = brokered */
    uint32_t flags;        /* enum layout_flag */
    const char *growth;    /* as in daemon/growth.h; NULL = none */
    const char *watermark; /* as in daemon/watermark.h; NULL = the default */
    uint64_t reserve_critical;
    uint64_t reserve_normal;
    uint64_t grow_ahead;
    uint64_t session_slots;
    uint64_t user_slots;
    uint64_t hold_limit;
    uint64_t trim_after;
    struct bytes content; /* the template */
};

/* What follows from it. */
struct pool_plan {
    struct geometry geometry;
    uint32_t capacity;
    uint32_t capacity_max;
    struct growth growth;
    struct watermark watermark;
};

/*
 * False with INVALID_OBJECT_SIZE, INVALID_ALIGNMENT, INVALID_CAPACITY, or INVALID_ARGUMENT and the
 * field's name.
 */
bool pool_config_check(const struct pool_config *config, struct pool_plan *plan,
                       struct error *error);

/*
 * The other way round, of a pool that is there: what it was asked to be, and what followed, from
 * its head. The config's texts point into the head. False with what is wrong with it: then it is
 * none that this daemon could have made.
 */
bool pool_config_of(const struct layout_ctl *head, struct pool_config *config,
                    struct pool_plan *plan, struct error *error);

/*
 * Whether a pool that exists is what is asked for, as far as anything is: what is 0, NULL or empty
 * isn't. False with OBJECT_SIZE_MISMATCH, ALIGNMENT_MISMATCH, TYPE_MISMATCH, or CONFIG_MISMATCH and
 * the field's name.
 */
bool pool_config_matches(const struct pool_config *asked, const struct layout_ctl *ctl,
                         const uint8_t *content, struct error *error);

#endif
