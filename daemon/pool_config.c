/* SPDX-License-Identifier: MIT */
#include "daemon/pool_config.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/name.h"

static bool refuse_size(const struct pool_config *config, struct error *error)
{
    error_set(error, ERROR_INVALID_OBJECT_SIZE,
              "pool '%s': an object size of %" PRIu64
              " bytes is not possible; choose 1 to %" PRIu64,
              config->name, config->object_size, GEOMETRY_OBJECT_MAX);
    error->requested = config->object_size;
    error->max = GEOMETRY_OBJECT_MAX;
    return false;
}

static bool refuse_alignment(const struct pool_config *config, struct error *error)
{
    error_set(error, ERROR_INVALID_ALIGNMENT,
              "pool '%s': an alignment of %" PRIu32 " is not possible; choose a power of two up to "
              "%u",
              config->name, config->alignment, GEOMETRY_ALIGNMENT_MAX);
    error->alignment = config->alignment;
    error->max = GEOMETRY_ALIGNMENT_MAX;
    return false;
}

static bool refuse_capacity(const struct pool_config *config, const char *what, uint64_t capacity,
                            uint64_t min, uint64_t max, struct error *error)
{
    error_set(error, ERROR_INVALID_CAPACITY,
              "pool '%s': a %s of %" PRIu64 " slot%s of %" PRIu64
              " byte%s is not possible; choose %" PRIu64 " to %" PRIu64,
              config->name, what, capacity, capacity == 1 ? "" : "s", config->object_size,
              config->object_size == 1 ? "" : "s", min, max);
    error->capacity = capacity;
    error->max = max;
    return false;
}

static bool refuse_field(const struct pool_config *config, const char *field, const char *text,
                         const char *why, struct error *error)
{
    error_set(error, ERROR_INVALID_ARGUMENT, "pool '%s': %s '%s' %s", config->name, field, text,
              why);
    name_copy(error->field, field);
    return false;
}

static bool check_number(const struct pool_config *config, const char *field, uint64_t value,
                         uint64_t max, const char *of, struct error *error)
{
    if (value <= max)
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT,
              "pool '%s': %s = %" PRIu64 " is not possible; choose 0 to %" PRIu64 ", %s",
              config->name, field, value, max, of);
    name_copy(error->field, field);
    return false;
}

static uint64_t slots_max(const struct pool_config *config)
{
    return config->capacity_max ? config->capacity_max : config->capacity;
}

static bool check_policies(const struct pool_config *config, struct pool_plan *plan,
                           struct error *error)
{
    const char *growth = config->growth ? config->growth : "";
    const char *watermark = config->watermark ? config->watermark : "";
    const char *why = growth_parse(&plan->growth, growth);
    if (why)
        return refuse_field(config, "growth", growth, why, error);
    why = watermark_parse(&plan->watermark, watermark);
    if (why)
        return refuse_field(config, "watermark", watermark, why, error);
    if (plan->watermark.kind == WATERMARK_LEFT && plan->watermark.level > slots_max(config))
        return refuse_field(config, "watermark", watermark,
                            "is more slots than the pool ever has; a share ends with %", error);
    if (plan->growth.kind != GROWTH_NONE && config->capacity_max == 0)
        return refuse_field(
            config, "growth", growth,
            "needs a limit: give a maximum, capacity_max, above which it never grows", error);
    return true;
}

static bool check_capacities(const struct pool_config *config, struct pool_plan *plan,
                             struct error *error)
{
    uint64_t limit = geometry_capacity_limit(config->object_size, config->alignment);
    uint64_t max = slots_max(config);
    if (config->capacity == 0 || config->capacity > limit)
        return refuse_capacity(config, "capacity", config->capacity, 1, limit, error);
    if (max < config->capacity || max > limit)
        return refuse_capacity(config, "maximum capacity", max, config->capacity, limit, error);
    plan->capacity = (uint32_t)config->capacity;
    plan->capacity_max = (uint32_t)max;
    return true;
}

static bool check_numbers(const struct pool_config *config, const struct pool_plan *plan,
                          struct error *error)
{
    static const char *const slots = "the pool's maximum capacity";
    uint32_t max = plan->capacity_max;
    uint64_t left = config->reserve_critical <= max ? max - config->reserve_critical : 0;
    uint64_t template_max =
        config->object_size < PROTOCOL_TEMPLATE_MAX ? config->object_size : PROTOCOL_TEMPLATE_MAX;
    return check_number(config, "reserve_critical", config->reserve_critical, max, slots, error) &&
           check_number(config, "reserve_normal", config->reserve_normal, left,
                        "what reserve_critical leaves", error) &&
           check_number(config, "grow_ahead", config->grow_ahead, max, slots, error) &&
           check_number(config, "session_slots", config->session_slots, UINT32_MAX, "0 = all",
                        error) &&
           check_number(config, "user_slots", config->user_slots, UINT32_MAX, "0 = all", error) &&
           check_number(config, "hold_limit", config->hold_limit, INT64_MAX, "nanoseconds",
                        error) &&
           check_number(config, "trim_after", config->trim_after, INT64_MAX, "nanoseconds",
                        error) &&
           check_number(config, "template", config->content.size, template_max,
                        "bytes, at most an object's", error);
}

bool pool_config_check(const struct pool_config *config, struct pool_plan *plan,
                       struct error *error)
{
    struct geometry *geometry = &plan->geometry;
    switch (geometry_init(geometry, config->kind, config->object_size, config->alignment, 1)) {
    case GEOMETRY_BAD_SIZE:
        return refuse_size(config, error);
    case GEOMETRY_BAD_ALIGNMENT:
        return refuse_alignment(config, error);
    default:
        break;
    }
    if (!check_capacities(config, plan, error) || !check_policies(config, plan, error) ||
        !check_numbers(config, plan, error))
        return false;
    uint32_t reserve = geometry_reserve(config->object_size, config->alignment, plan->capacity_max);
    return geometry_init(geometry, config->kind, config->object_size, config->alignment, reserve) ==
           GEOMETRY_OK;
}

/* ---- Of a pool that is there ----------------------------------------------------------------- */

#define FLAGS_ALL                                                                                  \
    (LAYOUT_OWNER_FREES | LAYOUT_ZERO_ALLOCATE | LAYOUT_ZERO_FREE | LAYOUT_PREFAULT |              \
     LAYOUT_LOCK | LAYOUT_HUGE)

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool is_plausible(const struct layout_ctl *head)
{
    const struct layout_policy *policy = &head->policy;
    return ends(head->name, sizeof(head->name)) && ends(head->type, sizeof(head->type)) &&
           ends(policy->growth, sizeof(policy->growth)) &&
           ends(policy->watermark, sizeof(policy->watermark)) && name_is_valid(head->name) &&
           (head->kind == LAYOUT_BROKERED || head->kind == LAYOUT_LEASED) &&
           (head->flags & ~(uint32_t)FLAGS_ALL) == 0 && head->capacity <= head->capacity_max &&
           policy->capacity_first <= head->capacity && head->capacity_max <= head->reserve;
}

static bool refuse_head(struct error *error)
{
    error_set(error, ERROR_INVALID_ARGUMENT, "its head says what can't be");
    return false;
}

bool pool_config_of(const struct layout_ctl *head, struct pool_config *config,
                    struct pool_plan *plan, struct error *error)
{
    const struct layout_policy *policy = &head->policy;
    if (!is_plausible(head))
        return refuse_head(error);
    *config = (struct pool_config){
        .name = head->name,
        .type = head->type,
        .object_size = head->object_size,
        .capacity = policy->capacity_first,
        .capacity_max = head->capacity_max,
        .alignment = head->alignment,
        .mode = head->mode,
        .uid = head->uid,
        .gid = head->gid,
        .kind = head->kind,
        .flags = head->flags,
        .growth = policy->growth,
        .watermark = policy->watermark,
        .reserve_critical = policy->reserve_critical,
        .reserve_normal = policy->reserve_normal,
        .grow_ahead = policy->grow_ahead,
        .session_slots = policy->session_slots,
        .user_slots = policy->user_slots,
        .hold_limit = policy->hold_limit,
        .trim_after = policy->trim_after,
        .content = {NULL, policy->template_size},
    };
    if (!pool_config_check(config, plan, error))
        return false;
    /* The maximum may have been raised since the reserve was made. */
    plan->capacity = head->capacity;
    return (geometry_init(&plan->geometry, head->kind, head->object_size, head->alignment,
                          head->reserve) == GEOMETRY_OK &&
            plan->geometry.stride == head->stride) ||
           refuse_head(error);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static bool refuse_mismatch(const struct layout_ctl *ctl, enum error_code code, const char *what,
                            uint64_t requested, uint64_t actual, struct error *error)
{
    error_set(error, code,
              "pool '%s' has objects with %s of %" PRIu64 " byte%s, the caller expects %" PRIu64
              "; use one definition of the object, or a pool of its own",
              ctl->name, what, actual, actual == 1 ? "" : "s", requested);
    name_copy(error->pool, ctl->name);
    error->requested = requested;
    error->actual = actual;
    return false;
}

static bool refuse_type(const struct layout_ctl *ctl, const char *type, struct error *error)
{
    error_set(error, ERROR_TYPE_MISMATCH,
              "pool '%s' holds objects of type '%s', the caller expects '%s'; use another pool",
              ctl->name, ctl->type, type);
    name_copy(error->pool, ctl->name);
    name_copy(error->requested_type, type);
    name_copy(error->actual_type, ctl->type);
    return false;
}

static bool refuse_difference(const struct layout_ctl *ctl, const char *field, struct error *error)
{
    name_copy(error->pool, ctl->name);
    name_copy(error->field, field);
    return false;
}

static bool same_number(const struct layout_ctl *ctl, const char *field, uint64_t asked,
                        uint64_t actual, struct error *error)
{
    if (asked == 0 || asked == actual)
        return true;
    error_set(error, ERROR_CONFIG_MISMATCH,
              "pool '%s' exists with %s = %" PRIu64 ", not %" PRIu64
              "; ask for what it is, or for nothing, or use another pool",
              ctl->name, field, actual, asked);
    return refuse_difference(ctl, field, error);
}

static bool same_mode(const struct layout_ctl *ctl, uint32_t asked, struct error *error)
{
    if (asked == 0 || asked == ctl->mode)
        return true;
    error_set(error, ERROR_CONFIG_MISMATCH,
              "pool '%s' exists with mode %04" PRIo32 ", not %04" PRIo32
              "; ask for what it is, or for nothing, or use another pool",
              ctl->name, ctl->mode, asked);
    return refuse_difference(ctl, "mode", error);
}

static bool refuse_text(const struct layout_ctl *ctl, const char *field, const char *asked,
                        const char *actual, struct error *error)
{
    error_set(error, ERROR_CONFIG_MISMATCH,
              "pool '%s' exists with %s '%s', not '%s'; ask for what it is, or for nothing, or use "
              "another pool",
              ctl->name, field, actual, asked);
    return refuse_difference(ctl, field, error);
}

static const char *kind_name(uint32_t kind)
{
    return kind == LAYOUT_LEASED ? "leased" : "brokered";
}

static bool same_kind(const struct layout_ctl *ctl, uint32_t asked, struct error *error)
{
    return asked == 0 || asked == ctl->kind ||
           refuse_text(ctl, "kind", kind_name(asked), kind_name(ctl->kind), error);
}

/* There is more than one text for a policy, the empty one among them. */
static bool same_growth(const struct layout_ctl *ctl, const char *asked, struct error *error)
{
    const char *actual = ctl->policy.growth;
    struct growth a, b;
    if (!asked || asked[0] == '\0' || strcmp(asked, actual) == 0)
        return true;
    if (!growth_parse(&a, asked) && !growth_parse(&b, actual) && memcmp(&a, &b, sizeof(a)) == 0)
        return true;
    return refuse_text(ctl, "growth", asked, actual[0] ? actual : "none", error);
}

static bool same_watermark(const struct layout_ctl *ctl, const char *asked, struct error *error)
{
    const char *actual = ctl->policy.watermark;
    struct watermark a, b;
    if (!asked || asked[0] == '\0' || strcmp(asked, actual) == 0)
        return true;
    if (!watermark_parse(&a, asked) && !watermark_parse(&b, actual) && a.kind == b.kind &&
        a.level == b.level)
        return true;
    return refuse_text(ctl, "watermark", asked, actual[0] ? actual : WATERMARK_DEFAULT, error);
}

static bool same_flags(const struct pool_config *asked, const struct layout_ctl *ctl,
                       struct error *error)
{
    static const struct {
        const char *field;
        const char *value;
    } flags[] = {{"owner_frees", ""},  {"zero", " on allocate"},
                 {"zero", " on free"}, {"prefault", ""},
                 {"lock", ""},         {"huge", ""}};
    for (uint32_t bit = 0; bit < sizeof(flags) / sizeof(flags[0]); bit++)
        if (asked->flags & ~ctl->flags & 1u << bit) {
            error_set(error, ERROR_CONFIG_MISMATCH,
                      "pool '%s' exists without %s%s; use another pool", ctl->name,
                      flags[bit].field, flags[bit].value);
            return refuse_difference(ctl, flags[bit].field, error);
        }
    return true;
}

static bool same_content(const struct pool_config *asked, const struct layout_ctl *ctl,
                         const uint8_t *content, struct error *error)
{
    size_t size = asked->content.size;
    if (size == 0 ||
        (size == ctl->policy.template_size && memcmp(asked->content.data, content, size) == 0))
        return true;
    error_set(error, ERROR_CONFIG_MISMATCH, "pool '%s' exists with another template", ctl->name);
    return refuse_difference(ctl, "template", error);
}

/* The maximum may have been raised meanwhile, which does no harm. */
static bool enough_capacity(const struct pool_config *asked, const struct layout_ctl *ctl,
                            struct error *error)
{
    return asked->capacity_max <= ctl->capacity_max ||
           same_number(ctl, "capacity_max", asked->capacity_max, ctl->capacity_max, error);
}

bool pool_config_matches(const struct pool_config *asked, const struct layout_ctl *ctl,
                         const uint8_t *content, struct error *error)
{
    const struct layout_policy *policy = &ctl->policy;
    if (asked->object_size != 0 && asked->object_size != ctl->object_size)
        return refuse_mismatch(ctl, ERROR_OBJECT_SIZE_MISMATCH, "a size", asked->object_size,
                               ctl->object_size, error);
    if (asked->alignment != 0 && asked->alignment != ctl->alignment)
        return refuse_mismatch(ctl, ERROR_ALIGNMENT_MISMATCH, "an alignment", asked->alignment,
                               ctl->alignment, error);
    if (asked->type[0] != '\0' && strcmp(asked->type, ctl->type) != 0)
        return refuse_type(ctl, asked->type, error);
    return same_kind(ctl, asked->kind, error) &&
           same_number(ctl, "capacity", asked->capacity, policy->capacity_first, error) &&
           enough_capacity(asked, ctl, error) && same_growth(ctl, asked->growth, error) &&
           same_number(ctl, "grow_ahead", asked->grow_ahead, policy->grow_ahead, error) &&
           same_mode(ctl, asked->mode, error) &&
           same_number(ctl, "reserve_critical", asked->reserve_critical, policy->reserve_critical,
                       error) &&
           same_number(ctl, "reserve_normal", asked->reserve_normal, policy->reserve_normal,
                       error) &&
           same_number(ctl, "session_slots", asked->session_slots, policy->session_slots, error) &&
           same_number(ctl, "user_slots", asked->user_slots, policy->user_slots, error) &&
           same_watermark(ctl, asked->watermark, error) &&
           same_number(ctl, "hold_limit", asked->hold_limit, policy->hold_limit, error) &&
           same_number(ctl, "trim_after", asked->trim_after, policy->trim_after, error) &&
           same_flags(asked, ctl, error) && same_content(asked, ctl, content, error);
}
