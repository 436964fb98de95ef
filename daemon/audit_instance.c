/* SPDX-License-Identifier: MIT */
/* Where what is audited stands: the registry's file, and /dev/shm. */
#include "daemon/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/sigbus.h"

/* ---- Objects --------------------------------------------------------------------------------- */

/* Whoever has it open for writing may cut it short while it is looked at. */
static int map(struct audit_object *object, int fd)
{
    if (object->size == 0)
        return 0;
    void *start = mmap(NULL, object->size, PROT_READ, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED)
        return -errno;
    if (!sigbus_protect(start, object->size)) {
        munmap(start, object->size);
        return -EMFILE;
    }
    object->start = start;
    object->mapped = object->size;
    return 0;
}

struct audit_object audit_take_object(const char *name, bool with_content)
{
    struct audit_object object = {.start = NULL};
    struct stat status;
    int fd = segment_open(name, false);
    if (fd < 0)
        return (struct audit_object){.status = fd};
    if (fstat(fd, &status) < 0)
        object.status = -errno;
    else
        object.size = (uint64_t)status.st_size;
    if (object.status == 0 && with_content)
        object.status = map(&object, fd);
    close(fd);
    return object;
}

void audit_forget_object(const struct audit_object *object)
{
    if (!object->start)
        return;
    sigbus_forget(object->start);
    munmap(object->start, object->mapped);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static bool has_content(enum store_object part)
{
    return part == STORE_CTL || part == STORE_SLOTS || part == STORE_HOLDERS;
}

static void judge_pool(struct audit *audit, const struct registry_file *file,
                       const struct audit_sessions *sessions, const struct registry_pool *pool)
{
    struct audit_subject subject = {
        .id = pool->id, .nonce = file->nonce, .state = pool->state, .sessions = sessions};
    for (enum store_object part = 0; part < STORE_OBJECTS; part++) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(pool->key, store_part(part), name);
        subject.objects[part] = audit_take_object(name, has_content(part));
    }
    audit_pool(audit, &subject);
    for (enum store_object part = 0; part < STORE_OBJECTS; part++)
        audit_forget_object(&subject.objects[part]);
}

struct naming {
    struct audit *audit;
    const struct registry_file *file;
};

static int judge_name(void *context, const char *name, const uint8_t key[SEGMENT_KEY_SIZE],
                      const char *part)
{
    const struct naming *naming = context;
    audit_name(naming->audit, naming->file, name, key, part);
    return 0;
}

void audit_names(struct audit *audit, const struct registry_file *file)
{
    struct naming naming = {audit, file};
    int status = segment_each(judge_name, &naming);
    if (status < 0)
        audit_report(audit, AUDIT_NOTE, "what stands in /dev/shm can't be listed: %s",
                     strerror(-status));
}

/* ---- The instance ---------------------------------------------------------------------------- */

static void judge_instance(struct audit *audit, const struct registry_file *file, uint64_t size)
{
    struct audit_sessions sessions;
    if (!audit_registry(audit, file, size, &sessions))
        return;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        if (file->pools[i].state != REGISTRY_FREE)
            judge_pool(audit, file, &sessions, &file->pools[i]);
    audit_names(audit, file);
}

/* As much of it as a registry has, and one byte more, so that a longer file is seen to be one. */
static int read_registry(int fd, void *bytes, uint64_t *size)
{
    *size = 0;
    while (*size <= sizeof(struct registry_file)) {
        ssize_t got = pread(fd, (char *)bytes + *size, sizeof(struct registry_file) + 1 - *size,
                            (off_t)*size);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -errno;
        *size += got > 0 ? (uint64_t)got : 0;
    }
    return 0;
}

int audit_instance(struct audit *audit, const char *path)
{
    uint64_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct registry_file *file = calloc(1, sizeof(*file) + 1);
    int result = file ? read_registry(fd, file, &size) : -ENOMEM;
    close(fd);
    if (result == 0)
        judge_instance(audit, file, size);
    free(file);
    return result;
}
