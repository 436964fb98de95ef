/* SPDX-License-Identifier: MIT */
#include "daemon/strays.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store.h"

/* What the registry lists, in order. */
struct keys {
    uint32_t count;
    uint8_t list[REGISTRY_POOLS + REGISTRY_SESSIONS][SEGMENT_KEY_SIZE];
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, SEGMENT_KEY_SIZE);
}

static void add_key(struct keys *keys, uint32_t state, const uint8_t key[SEGMENT_KEY_SIZE])
{
    if (state != REGISTRY_FREE)
        memcpy(keys->list[keys->count++], key, SEGMENT_KEY_SIZE);
}

static void list_keys(const struct registry_file *file, struct keys *keys)
{
    keys->count = 0;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        add_key(keys, file->pools[i].state, file->pools[i].key);
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++)
        add_key(keys, file->sessions[i].state, file->sessions[i].witness);
    qsort(keys->list, keys->count, SEGMENT_KEY_SIZE, compare);
}

/* What a daemon makes; others may have made something else of such a name. */
static bool is_part(const char *part)
{
    for (enum store_object object = 0; object < STORE_OBJECTS; object++)
        if (strcmp(part, store_part(object)) == 0)
            return true;
    return strcmp(part, REGISTRY_WITNESS) == 0;
}

static bool is_own(uint64_t prefix, const uint8_t key[SEGMENT_KEY_SIZE])
{
    return memcmp(key, &prefix, sizeof(prefix)) == 0;
}

/* As far as it is an object of ours. */
static int remove_object(const char *name)
{
    char path[SEGMENT_NAME_SIZE];
    snprintf(path, sizeof(path), "/%s", name);
    int fd = segment_open(path, false);
    if (fd == -ENOENT || fd == -EPERM || fd == -EACCES || fd == -ELOOP)
        return 0;
    if (fd < 0)
        return fd;
    close(fd);
    int status = segment_unlink(path);
    return status == -ENOENT ? 0 : status;
}

struct sweep {
    uint64_t prefix;
    struct keys keys;
    int status;
};

static int sweep(void *context, const char *name, const uint8_t key[SEGMENT_KEY_SIZE],
                 const char *part)
{
    struct sweep *sweep = context;
    if (!is_own(sweep->prefix, key) || !is_part(part) ||
        bsearch(key, sweep->keys.list, sweep->keys.count, SEGMENT_KEY_SIZE, compare))
        return 0;
    int status = remove_object(name);
    if (status < 0)
        sweep->status = status;
    return 0;
}

int strays_remove(const struct registry_file *file)
{
    static struct sweep all;
    all.prefix = file->prefix;
    all.status = 0;
    list_keys(file, &all.keys);
    int status = segment_each(sweep, &all);
    return status < 0 ? status : all.status;
}

static int find_own(void *context, const char *name, const uint8_t key[SEGMENT_KEY_SIZE],
                    const char *part)
{
    const uint64_t *prefix = context;
    (void)name;
    (void)part;
    return is_own(*prefix, key);
}

bool strays_went_with_machine(const struct registry_file *file)
{
    uint64_t prefix = file->prefix;
    return registry_is_of_another_boot(file) && segment_each(find_own, &prefix) == 0;
}
