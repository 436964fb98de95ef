/* SPDX-License-Identifier: MIT */
#include "client/configuration.h"

#include <inttypes.h>
#include <string.h>

#include "client/error.h"
#include "client/name.h"
#include "client/sized.h"

_Static_assert((int)FASTALLOC_BROKERED == LAYOUT_BROKERED && (int)FASTALLOC_LEASED == LAYOUT_LEASED,
               "what the header says is what is sent");

/* ---- What can't be sent ---------------------------------------------------------------------- */

static int check_access(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    if (options->access == FASTALLOC_WRITE || options->access == FASTALLOC_READ)
        return 0;
    return error_raise_argument(error, "access",
                                "access %d is neither FASTALLOC_WRITE nor FASTALLOC_READ",
                                (int)options->access);
}

static int check_zero(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    if (options->zero >= FASTALLOC_ZERO_NEVER && options->zero <= FASTALLOC_ZERO_ON_FREE)
        return 0;
    return error_raise_argument(error, "zero",
                                "zero %d is none of FASTALLOC_ZERO_NEVER, "
                                "FASTALLOC_ZERO_ON_ALLOCATE and FASTALLOC_ZERO_ON_FREE",
                                (int)options->zero);
}

static int check_kind(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    if (options->kind >= 0 && options->kind <= FASTALLOC_LEASED)
        return 0;
    return error_raise_argument(error, "kind",
                                "kind %d is neither FASTALLOC_BROKERED nor FASTALLOC_LEASED, nor 0",
                                (int)options->kind);
}

static int check_mode(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    if (options->mode <= 0777)
        return 0;
    return error_raise_argument(
        error, "mode", "mode 0%" PRIo32 " has more than permission bits; choose up to 0777",
        options->mode);
}

static int check_time(uint64_t time, const char *field, fastalloc_error_t *error)
{
    if (time <= INT64_MAX)
        return 0;
    return error_raise_argument(error, field,
                                "%s of %" PRIu64 " ns is not possible; choose up to %" PRId64
                                ", or 0 for none",
                                field, time, INT64_MAX);
}

static int check_template(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    if (options->template_size > PROTOCOL_TEMPLATE_MAX)
        return error_raise_argument(error, "template_size",
                                    "a template of %zu bytes is too long: it can have %u",
                                    options->template_size, PROTOCOL_TEMPLATE_MAX);
    if (options->template_size > 0 && !options->template_bytes)
        return error_raise_argument(error, "template_bytes",
                                    "template_size is %zu, but template_bytes is NULL",
                                    options->template_size);
    return 0;
}

static int check(const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    int result = check_access(options, error);
    if (result == 0)
        result = check_zero(options, error);
    if (result == 0)
        result = check_kind(options, error);
    if (result == 0)
        result = check_mode(options, error);
    if (result == 0)
        result = check_time(options->hold_limit, "hold_limit", error);
    if (result == 0)
        result = check_time(options->trim_after, "trim_after", error);
    return result < 0 ? result : check_template(options, error);
}

/* ---- Conversion ------------------------------------------------------------------------------ */

static int copy_texts(struct pool_open_request *request, const char *name,
                      const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    int result = name_copy(request->name, name, "name", error);
    if (result == 0)
        result = name_copy(request->type, options->type, "type", error);
    if (result == 0)
        result =
            text_copy(request->growth, sizeof(request->growth), options->growth, "growth", error);
    return result < 0 ? result
                      : text_copy(request->watermark, sizeof(request->watermark),
                                  options->watermark, "watermark", error);
}

static int convert(struct pool_open_request *request, const char *name,
                   const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    int result = check(options, error);
    if (result < 0)
        return result;
    *request = (struct pool_open_request){
        .write = options->access == FASTALLOC_WRITE,
        .map = true,
        .create = options->create,
        .object_size = options->object_size,
        .alignment = options->alignment,
        .capacity = options->capacity,
        .capacity_max = options->capacity_max,
        .grow_ahead = options->grow_ahead,
        .mode = options->mode,
        .gid = options->gid,
        .owner_frees = options->owner_frees,
        .reserve_critical = options->reserve_critical,
        .reserve_normal = options->reserve_normal,
        .session_slots = options->session_slots,
        .user_slots = options->user_slots,
        .zero = (uint32_t)options->zero,
        .template = {options->template_bytes, options->template_size},
        .hold_limit = options->hold_limit,
        .trim_after = options->trim_after,
        .prefault = options->prefault,
        .lock = options->lock,
        .huge = options->huge,
        .kind = (uint32_t)options->kind,
    };
    return copy_texts(request, name, options, error);
}

int configuration_to_open(struct pool_open_request *request, const char *name,
                          const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    fastalloc_open_options_t own = FASTALLOC_OPEN_OPTIONS_INIT;
    if (options && !sized_read(&own, sizeof(own), options))
        return error_raise_argument(error, "size",
                                    "the options of a pool have no size; begin with "
                                    "FASTALLOC_OPEN_OPTIONS_INIT");
    return convert(request, name, &own, error);
}

#define COPY_FIELD(message, kind, name, limit, presence)                                           \
    memcpy(&request->name, &open.name, sizeof(request->name));

int configuration_to_create(struct pool_create_request *request, const char *name,
                            const fastalloc_open_options_t *options, fastalloc_error_t *error)
{
    struct pool_open_request open;
    int result = configuration_to_open(&open, name, options, error);
    if (result < 0)
        return result;
    memcpy(request->name, open.name, sizeof(request->name));
    POOL_CONFIGURATION(COPY_FIELD, request)
    request->change = 0;
    return 0;
}
