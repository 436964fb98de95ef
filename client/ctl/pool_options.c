/* SPDX-License-Identifier: MIT */
#include "pool_options.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>

#include "number.h"
#include "report.h"

const struct option pool_options[] = {
    {"--size", "BYTES", "of an object; K, M or G behind the number for 1024, 1024^2, 1024^3", true},
    {"--capacity", "SLOTS", "how many objects there is room for, at first", true},
    {"--max", "SLOTS", "how many there may ever be; needed with --growth, without which it", false},
    {"", NULL, "comes to that only by `pool grow`", false},
    {"--growth", "POLICY", "how it grows when it has no room: none (default), linear:SLOTS,",
     false},
    {"", NULL, "exponential:FACTOR or custom:SLOTS,SLOTS,... (to the next of these)", false},
    {"--grow-ahead", "SLOTS", "grow already when fewer than these are free", false},
    {"--leased", NULL, "members allocate and free by themselves, and trust one another", false},
    {"--align", "BYTES", "a power of two up to 4096 (default: 16)", false},
    {"--type", "TYPE", "a name for what the objects are; who opens the pool can ask for it", false},
    {"--mode", "MODE", "who may use it, as of a file, in octal (default: 0600)", false},
    {"--group", "GROUP", "name or number of its group, one of yours (default: your primary)",
     false},
    {"--owner-frees", NULL, "only who holds an object may free it", false},
    {"--reserve-critical", "SLOTS", "free slots that only critical requests get", false},
    {"--reserve-normal", "SLOTS", "and those, beside them, that best-effort requests don't", false},
    {"--session-slots", "SLOTS", "what one process may hold (default: all)", false},
    {"--user-slots", "SLOTS", "what all processes of one user may hold (default: all)", false},
    {"--zero", "WHEN", "clear objects: never (default), on allocate or on free", false},
    {"--template", "FILE", "what each object begins with; up to 32768 bytes", false},
    {"--watermark", "LEVEL", "warn at that usage (\"90%\", the default), or when fewer slots are",
     false},
    {"", NULL, "left (\"10\"); off", false},
    {"--hold-limit", "DURATION", "tell of objects that are held for longer: 500ms, 10s, 5m, 2h",
     false},
    {"--trim-after", "DURATION", "give free memory back after so long without allocations or frees",
     false},
    {"--prefault", NULL, "members have all pages mapped before they first use them", false},
    {"--lock", NULL, "members have them locked in memory", false},
    {"--huge", NULL, "members have them in huge pages, where there are any", false},
    {NULL, NULL, NULL, false},
};

_Static_assert(sizeof(pool_options) / sizeof(pool_options[0]) <= CALL_OPTIONS_MAX + 1,
               "a call has room for them");

static const char *const zero_names[] = {
    [FASTALLOC_ZERO_NEVER] = "never",
    [FASTALLOC_ZERO_ON_ALLOCATE] = "allocate",
    [FASTALLOC_ZERO_ON_FREE] = "free",
};

#define ZERO_COUNT (sizeof(zero_names) / sizeof(zero_names[0]))

const char *kind_name(int32_t kind)
{
    return kind == FASTALLOC_LEASED     ? "leased"
           : kind == FASTALLOC_BROKERED ? "brokered"
                                        : "unknown";
}

const char *zero_name(int32_t zero)
{
    return zero >= 0 && (size_t)zero < ZERO_COUNT ? zero_names[zero] : "unknown";
}

const char *growth_text(const fastalloc_pool_info_t *info)
{
    return info->growth[0] ? info->growth : "none";
}

const char *watermark_text(const fastalloc_pool_info_t *info)
{
    return info->watermark[0] ? info->watermark : "90%";
}

static int wrong(const struct call *call, const char *option, const char *allowed)
{
    return report_usage(call, "%s %s: must be %s", option, command_option(call, option), allowed);
}

static int parse_sizes(const struct call *call, fastalloc_open_options_t *config)
{
    const char *align = command_option(call, "--align");
    uint64_t alignment = 0;

    if (number_parse_size(command_option(call, "--size"), INT64_MAX, &config->object_size) < 0)
        return wrong(call, "--size",
                     "a number of bytes below 2^63, with K, M or G for 1024, 1024^2, 1024^3");
    if (align && (number_parse_size(align, UINT32_MAX, &alignment) < 0 || alignment == 0))
        return wrong(call, "--align", "a power of two up to 4096");
    config->alignment = (uint32_t)alignment;
    return STATUS_OK;
}

static int parse_slots(const struct call *call, fastalloc_open_options_t *config)
{
    const struct {
        const char *option;
        uint64_t *slots;
        bool limits; /* where the library takes 0 for none */
    } numbers[] = {
        {"--capacity", &config->capacity, false},
        {"--max", &config->capacity_max, true},
        {"--grow-ahead", &config->grow_ahead, false},
        {"--reserve-critical", &config->reserve_critical, false},
        {"--reserve-normal", &config->reserve_normal, false},
        {"--session-slots", &config->session_slots, true},
        {"--user-slots", &config->user_slots, true},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *text = command_option(call, numbers[i].option);
        if (text && number_parse(text, UINT32_MAX, numbers[i].slots) < 0)
            return wrong(call, numbers[i].option, "a number of slots below 2^32");
        if (text && numbers[i].limits && *numbers[i].slots == 0)
            return wrong(call, numbers[i].option, "a number of slots, 1 to 2^32 - 1");
    }
    return STATUS_OK;
}

static int parse_durations(const struct call *call, fastalloc_open_options_t *config)
{
    const struct {
        const char *option;
        uint64_t *duration;
    } numbers[] = {
        {"--hold-limit", &config->hold_limit},
        {"--trim-after", &config->trim_after},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *text = command_option(call, numbers[i].option);
        if (text && number_parse_duration(text, INT64_MAX, numbers[i].duration) < 0)
            return wrong(call, numbers[i].option, NUMBER_DURATION_ALLOWED);
    }
    return STATUS_OK;
}

/* A number is a gid, even if a group should have it as its name. */
static int parse_group(const struct call *call, fastalloc_open_options_t *config)
{
    const char *text = command_option(call, "--group");
    uint64_t number = 0;

    if (!text)
        return STATUS_OK;
    if (number_parse(text, UINT32_MAX - 1, &number) == 0) {
        config->gid = (gid_t)number;
        return STATUS_OK;
    }
    const struct group *group = getgrnam(text);
    if (!group)
        return wrong(call, "--group", "the name of a group that exists, or a number");
    config->gid = group->gr_gid;
    return STATUS_OK;
}

static int parse_access(const struct call *call, fastalloc_open_options_t *config)
{
    const char *mode = command_option(call, "--mode");
    const char *zero = command_option(call, "--zero");

    if (mode && number_parse_mode(mode, &config->mode) < 0)
        return wrong(call, "--mode", "octal, 0001 to 0777");
    if (zero) {
        size_t i = 0;
        while (i < ZERO_COUNT && strcmp(zero, zero_names[i]) != 0)
            i++;
        if (i == ZERO_COUNT)
            return wrong(call, "--zero", "never, allocate or free");
        config->zero = (int32_t)i;
    }
    return parse_group(call, config);
}

static int read_template(const struct call *call, struct pool_setup *setup)
{
    const char *path = command_option(call, "--template");

    if (!path)
        return STATUS_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return report_failure(call, -errno, "--template %s: %s", path, strerror(errno));
    errno = 0;
    size_t size = fread(setup->bytes, 1, sizeof(setup->bytes), file);
    bool more = size == sizeof(setup->bytes) && fgetc(file) != EOF;
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed)
        return report_failure(call, -failed, "--template %s: %s", path, strerror(failed));
    if (more || size == 0)
        return report_failure(call, -EINVAL, "--template %s: must have 1 to %d bytes", path,
                              POOL_TEMPLATE_MAX);
    setup->config.template_bytes = setup->bytes;
    setup->config.template_size = size;
    return STATUS_OK;
}

int pool_options_parse(const struct call *call, struct pool_setup *setup)
{
    fastalloc_open_options_t *config = &setup->config;
    int status = STATUS_OK;

    *config = FASTALLOC_OPEN_OPTIONS_INIT;
    config->type = command_option(call, "--type");
    config->growth = command_option(call, "--growth");
    config->watermark = command_option(call, "--watermark");
    config->kind = command_option(call, "--leased") ? FASTALLOC_LEASED : 0;
    config->owner_frees = command_option(call, "--owner-frees");
    config->prefault = command_option(call, "--prefault");
    config->lock = command_option(call, "--lock");
    config->huge = command_option(call, "--huge");
    status = parse_sizes(call, config);
    if (status == STATUS_OK)
        status = parse_slots(call, config);
    if (status == STATUS_OK)
        status = parse_durations(call, config);
    if (status == STATUS_OK)
        status = parse_access(call, config);
    return status == STATUS_OK ? read_template(call, setup) : status;
}
