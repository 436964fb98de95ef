/* SPDX-License-Identifier: MIT */
#include "daemon/registry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/order.h"

/* The kernel's random bytes: 0, or a negated errno where it gives none at all. */
static int fill_random(void *bytes, size_t size)
{
    uint8_t *next = bytes;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            next += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

static int reserve(int fd)
{
    int result;
    do
        result = posix_fallocate(fd, 0, sizeof(struct registry_file));
    while (result == EINTR);
    return -result;
}

/*
 * Killed while it reserved the file's room (where the file system can't and the C library writes
 * instead, a part of it is there): then nothing stands at its beginning yet.
 */
static bool is_blank(int fd)
{
    uint8_t head[offsetof(struct registry_file, last_pool)] = {0}, blank[sizeof(head)] = {0};
    return pread(fd, head, sizeof(head), 0) >= 0 && memcmp(head, blank, sizeof(head)) == 0;
}

static int map_file(struct registry *registry, const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0)
        return -errno;

    int result = 0;
    struct stat status;
    if (flags & O_CREAT)
        result = reserve(fd);
    else if (fstat(fd, &status) < 0)
        result = -errno;
    else if (status.st_size != sizeof(struct registry_file))
        result = status.st_size < (off_t)sizeof(struct registry_file) && is_blank(fd) ? -ENODATA
                                                                                      : -EPROTO;

    void *mapping = MAP_FAILED;
    if (result == 0)
        mapping =
            mmap(NULL, sizeof(struct registry_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (result == 0 && mapping == MAP_FAILED)
        result = -errno;
    close(fd);
    if (result == 0)
        registry->file = mapping;
    return result;
}

void registry_close(struct registry *registry)
{
    if (registry->file)
        munmap(registry->file, sizeof(struct registry_file));
    registry->file = NULL;
}

/* ---- What a dead instance left --------------------------------------------------------------- */

/* Something was made by it, so that it was finished once. */
static bool has_numbers(const struct registry_file *file)
{
    return file->last_pool != 0 || file->last_session != 0;
}

int registry_open(struct registry *registry, const char *path)
{
    int result = map_file(registry, path, 0);
    /* Too short and blank, or version 0: killed while it made the file, when it had nothing yet. */
    if (result == 0 && registry->file->version == 0 && !has_numbers(registry->file))
        result = -ENODATA;
    else if (result == 0 && (registry->file->magic != REGISTRY_MAGIC ||
                             registry->file->version != REGISTRY_VERSION))
        result = -EPROTO;
    if (result < 0)
        registry_close(registry);
    if (result == -ENODATA && unlink(path) < 0)
        result = -errno;
    return result;
}

/* ---- Boots of the machine -------------------------------------------------------------------- */

#define BOOT_ID "/proc/sys/kernel/random/boot_id" /* hexadecimal digits, in groups */

/* False if it can't be told. */
static bool read_boot(uint8_t boot[REGISTRY_BOOT_SIZE])
{
    char text[64] = "";
    const char *next = text;
    int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; size > 0 && i < REGISTRY_BOOT_SIZE; i++, next += 2) {
        next += *next == '-';
        if (!isxdigit((unsigned char)next[0]) || !isxdigit((unsigned char)next[1]))
            return false;
        const char digits[] = {next[0], next[1], '\0'};
        boot[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return size > 0;
}

bool registry_is_of_another_boot(const struct registry_file *file)
{
    static const uint8_t unknown[REGISTRY_BOOT_SIZE];
    uint8_t boot[REGISTRY_BOOT_SIZE];
    return memcmp(file->boot, unknown, sizeof(unknown)) != 0 && read_boot(boot) &&
           memcmp(file->boot, boot, sizeof(boot)) != 0;
}

void registry_note_boot(struct registry *registry)
{
    uint8_t boot[REGISTRY_BOOT_SIZE];
    if (read_boot(boot))
        memcpy(registry->file->boot, boot, sizeof(boot));
}

static int draw_nonce(struct registry_file *file)
{
    uint16_t nonce = 0;
    int result = 0;
    while (result == 0 && nonce == 0)
        result = fill_random(&nonce, sizeof(nonce));
    if (result == 0)
        field32_store(&file->nonce, nonce);
    return result;
}

static bool forget(uint32_t *state)
{
    bool listed = *state != REGISTRY_FREE;
    registry_set_state(state, REGISTRY_FREE);
    return listed;
}

int registry_empty(struct registry *registry, bool *listed)
{
    struct registry_file *file = registry->file;
    int result = draw_nonce(file);
    *listed = false;
    if (result < 0)
        return result;
    field32_store(&file->change.kind, 0);
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        *listed |= forget(&file->pools[i].state);
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++)
        *listed |= forget(&file->sessions[i].state);
    field32_store(&file->failures, 0);
    return 0;
}

/* ---- A new one ------------------------------------------------------------------------------- */

int registry_create(struct registry *registry, const char *path)
{
    int result = map_file(registry, path, O_CREAT | O_EXCL);
    if (result < 0) {
        if (result != -EEXIST)
            unlink(path);
        return result;
    }
    struct registry_file *file = registry->file;
    result = draw_nonce(file);
    if (result == 0)
        result = fill_random(&file->prefix, sizeof(file->prefix));
    if (result < 0) {
        unlink(path);
        registry_close(registry);
        return result;
    }
    registry_note_boot(registry);
    file->magic = REGISTRY_MAGIC;
    field32_store(&file->version, REGISTRY_VERSION);
    return 0;
}

uint16_t registry_nonce(const struct registry *registry)
{
    return (uint16_t)registry->file->nonce;
}

bool registry_has_numbers(const struct registry *registry)
{
    return registry->file->last_pool < UINT32_MAX;
}

void registry_set_state(uint32_t *state, enum registry_state value)
{
    field32_store(state, value);
}

static bool make_key(const struct registry *registry, uint8_t key[SEGMENT_KEY_SIZE])
{
    const size_t prefix = sizeof(registry->file->prefix);
    memcpy(key, &registry->file->prefix, prefix);
    return fill_random(key + prefix, SEGMENT_KEY_SIZE - prefix) == 0;
}

struct registry_pool *registry_add_pool(struct registry *registry)
{
    if (!registry_has_numbers(registry))
        return NULL;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++) {
        struct registry_pool *entry = &registry->file->pools[i];
        if (entry->state != REGISTRY_FREE)
            continue;
        if (!make_key(registry, entry->key))
            return NULL;
        entry->id = ++registry->file->last_pool;
        registry_set_state(&entry->state, REGISTRY_MAKING);
        return entry;
    }
    return NULL;
}

struct registry_session *registry_add_session(struct registry *registry, uint32_t uid)
{
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++) {
        struct registry_session *entry = &registry->file->sessions[i];
        if (entry->state != REGISTRY_FREE)
            continue;
        if (fill_random(entry->token, sizeof(entry->token)) < 0 ||
            !make_key(registry, entry->witness))
            return NULL;
        entry->uid = uid;
        entry->changes = 0;
        entry->pid = 0;
        memset(entry->name, 0, sizeof(entry->name));
        entry->id = ++registry->file->last_session;
        registry_set_state(&entry->state, REGISTRY_READY);
        return entry;
    }
    return NULL;
}

void registry_witness_name(const struct registry_session *session, char name[SEGMENT_NAME_SIZE])
{
    segment_name(session->witness, REGISTRY_WITNESS, name);
}
