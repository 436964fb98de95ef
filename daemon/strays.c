/* SPDX-License-Identifier: MIT */
#include "daemon/strays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool is_stray(const struct registry_file *file, const struct keys *keys, const char *name)
{
    uint8_t key[SEGMENT_KEY_SIZE];
    return segment_read_name(name, key) && memcmp(key, &file->prefix, sizeof(file->prefix)) == 0 &&
           !bsearch(key, keys->list, keys->count, SEGMENT_KEY_SIZE, compare);
}

/* As segment_open() would take it: others may have made something else of that name. */
static bool is_object(int folder, const char *name)
{
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
           status.st_uid == geteuid();
}

static int remove_stray(int folder, const char *name)
{
    bool removed = !is_object(folder, name) || unlinkat(folder, name, 0) == 0 || errno == ENOENT;
    return removed ? 0 : -errno;
}

int strays_remove(const struct registry_file *file)
{
    static struct keys keys;
    const struct dirent *entry;
    int status = 0;
    DIR *folder = opendir("/dev/shm");
    if (!folder)
        return -errno;
    list_keys(file, &keys);
    while ((entry = readdir(folder))) {
        int result =
            is_stray(file, &keys, entry->d_name) ? remove_stray(dirfd(folder), entry->d_name) : 0;
        status = result < 0 ? result : status;
    }
    closedir(folder);
    return status;
}
