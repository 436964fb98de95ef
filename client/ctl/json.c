/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>

#include "must.h"
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

json_t *pool_to_json(const fastalloc_pool_info_t *info)
{
    json_t *object = json_new();
    char mode[8];

    snprintf(mode, sizeof(mode), "%04o", info->mode & 07777);
    json_set_string(object, "name", info->name);
    json_set_number(object, "id", info->id);
    json_set_string(object, "type", info->type);
    json_set_number(object, "object_size", info->object_size);
    json_set_number(object, "stride", info->stride);
    json_set_number(object, "alignment", info->alignment);
    json_set_number(object, "capacity", info->capacity);
    json_set_number(object, "allocated", info->allocated);
    json_set_number(object, "members", info->members);
    json_set_number(object, "memory", info->memory);
    json_set_number(object, "uid", info->uid);
    json_set_number(object, "gid", info->gid);
    json_set_string(object, "mode", mode);
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
    json_set_number(object, "allocated", info->allocated);
    return object;
}

json_t *stats_to_json(const char *pool, const fastalloc_stats_t *stats)
{
    json_t *object = json_new();

    json_set_string(object, "pool", pool);
    json_set_number(object, "capacity", stats->capacity);
    json_set_number(object, "current_usage", stats->current_usage);
    json_set_number(object, "available", stats->available);
    json_set(object, "utilization_rate", json_real(fastalloc_stats_utilization_rate(stats)));
    json_set_number(object, "peak_usage", stats->peak_usage);
    json_set_number(object, "total_allocations", stats->total_allocations);
    json_set_number(object, "total_deallocations", stats->total_deallocations);
    json_set_number(object, "allocation_failures", stats->allocation_failures);
    json_set_number(object, "timeouts", stats->timeouts);
    json_set_number(object, "reclaimed", stats->reclaimed);
    json_set_number(object, "waiters", stats->waiters);
    return object;
}
