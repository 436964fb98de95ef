/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>

#include "must.h"
#include "pool_options.h"
#include "text.h"

json_t *json_new(void)
{
    return must(json_object());
}

json_t *json_new_list(void)
{
    return must(json_array());
}

void json_set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, must(value)) < 0)
        must(NULL);
}

/* Numbers above 2^63 - 1, which only a broken daemon sends, would be negative in jansson. */
void json_set_number(json_t *object, const char *key, uint64_t number)
{
    if (number > INT64_MAX)
        json_set(object, key, json_real((double)number));
    else
        json_set(object, key, json_integer((json_int_t)number));
}

void json_set_string(json_t *object, const char *key, const char *string)
{
    json_t *value = json_string(string);

    if (!value) {
        char *clean = text_clean(string);
        value = json_string(clean);
        free(clean);
    }
    json_set(object, key, value);
}

void json_append(json_t *list, json_t *value)
{
    if (json_array_append_new(list, must(value)) < 0)
        must(NULL);
}

/* A failure to write shows in ferror(), which main() looks at. */
void json_write(json_t *document)
{
    (void)json_dumpf(document, stdout,
                     JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(document);
}

void json_write_line(json_t *document)
{
    (void)json_dumpf(document, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(document);
}

static void set_policies(json_t *object, const fastalloc_pool_info_t *info)
{
    json_set(object, "owner_frees", json_boolean(info->owner_frees));
    json_set_string(object, "growth", growth_text(info));
    json_set_number(object, "grow_ahead", info->grow_ahead);
    json_set_number(object, "reserve_critical", info->reserve_critical);
    json_set_number(object, "reserve_normal", info->reserve_normal);
    json_set_number(object, "session_slots", info->session_slots);
    json_set_number(object, "user_slots", info->user_slots);
    json_set_string(object, "zero", zero_name(info->zero));
    json_set_number(object, "template_size", info->template_size);
    json_set_string(object, "watermark", watermark_text(info));
    json_set_number(object, "hold_limit", info->hold_limit);
    json_set_number(object, "trim_after", info->trim_after);
    json_set(object, "prefault", json_boolean(info->prefault));
    json_set(object, "lock", json_boolean(info->lock));
    json_set(object, "huge", json_boolean(info->huge));
}

json_t *pool_to_json(const fastalloc_pool_info_t *info)
{
    json_t *object = json_new();
    char mode[8];

    snprintf(mode, sizeof(mode), "%04o", info->mode & 07777);
    json_set_string(object, "name", info->name);
    json_set_number(object, "id", info->id);
    json_set_string(object, "type", info->type);
    json_set_string(object, "kind", kind_name(info->kind));
    json_set_number(object, "object_size", info->object_size);
    json_set_number(object, "stride", info->stride);
    json_set_number(object, "alignment", info->alignment);
    json_set_number(object, "capacity", info->capacity);
    json_set_number(object, "capacity_max", info->capacity_max);
    json_set_number(object, "reserve", info->reserve);
    json_set_number(object, "allocated", info->allocated);
    json_set_number(object, "members", info->members);
    json_set_number(object, "memory", info->memory);
    json_set_number(object, "uid", info->uid);
    json_set_number(object, "gid", info->gid);
    json_set_string(object, "mode", mode);
    json_set(object, "damaged", json_boolean(info->damaged));
    set_policies(object, info);
    return object;
}

json_t *session_to_json(const fastalloc_session_info_t *info)
{
    json_t *object = json_new();

    json_set_number(object, "id", info->id);
    json_set_string(object, "name", info->name);
    json_set_number(object, "pid", (uint64_t)info->pid);
    json_set_number(object, "uid", info->uid);
    json_set(object, "connected", json_boolean(info->connected));
    json_set_number(object, "pools", info->pools);
    json_set_number(object, "waiting", info->waiting);
    json_set_number(object, "granted", info->allocated);
    return object;
}

json_t *holder_to_json(const fastalloc_holder_info_t *info, uint64_t capacity)
{
    json_t *object = json_new();

    json_set_number(object, "session", info->session);
    json_set_string(object, "name", info->name);
    json_set_number(object, "pid", (uint64_t)info->pid);
    json_set_number(object, "uid", info->uid);
    json_set(object, "connected", json_boolean(info->connected));
    json_set_number(object, "slots", info->slots);
    json_set(object, "share", json_real(capacity ? (double)info->slots / (double)capacity : 0));
    json_set_number(object, "oldest", info->oldest);
    return object;
}

static void set_times(json_t *object, const fastalloc_stats_t *stats)
{
    json_set_number(object, "waiters", stats->waiters);
    json_set_number(object, "total_waits", stats->total_waits);
    json_set_number(object, "wait_p50", stats->wait_p50);
    json_set_number(object, "wait_p99", stats->wait_p99);
    json_set_number(object, "wait_max", stats->wait_max);
    json_set_number(object, "held_long", stats->held_long);
    json_set_number(object, "total_held_long", stats->total_held_long);
    json_set_number(object, "hold_p50", stats->hold_p50);
    json_set_number(object, "hold_p99", stats->hold_p99);
    json_set_number(object, "hold_max", stats->hold_max);
    json_set_number(object, "age", stats->age);
}

json_t *stats_to_json(const char *pool, uint64_t capacity_max, const fastalloc_stats_t *stats)
{
    json_t *object = json_new();

    json_set_string(object, "pool", pool);
    json_set_number(object, "capacity", stats->capacity);
    json_set_number(object, "capacity_max", capacity_max);
    json_set_number(object, "current_usage", stats->current_usage);
    json_set_number(object, "available", stats->available);
    json_set_number(object, "cached", stats->cached);
    json_set(object, "utilization_rate", json_real(fastalloc_stats_utilization_rate(stats)));
    json_set_number(object, "peak_usage", stats->peak_usage);
    json_set(object, "average_usage", json_real(stats->average_usage));
    json_set_number(object, "total_allocations", stats->total_allocations);
    json_set_number(object, "total_deallocations", stats->total_deallocations);
    json_set_number(object, "allocation_failures", stats->allocation_failures);
    json_set(object, "hit_rate", json_real(fastalloc_stats_hit_rate(stats)));
    json_set_number(object, "growth_count", stats->growth_count);
    json_set_number(object, "timeouts", stats->timeouts);
    json_set_number(object, "reclaimed", stats->reclaimed);
    json_set_number(object, "evictions", stats->evictions);
    json_set_number(object, "watermarks", stats->watermarks);
    set_times(object, stats);
    return object;
}
