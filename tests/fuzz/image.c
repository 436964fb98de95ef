/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/attempt.h"
#include "daemon/sigbus.h"
#include "shm/order.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/private_shm.h"

#define SHM "/dev/shm"

static int folder = -1;

void image_begin(uint64_t bytes)
{
    char options[64];
    if (folder >= 0)
        return;
    snprintf(options, sizeof(options), "mode=1777,size=%" PRIu64, bytes);
    FUZZ_REQUIRE(test_try_private_shm());
    FUZZ_REQUIRE(mount("none", SHM, NULL, MS_REMOUNT, options) == 0);
    folder = open(SHM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_REQUIRE(folder >= 0);
}

/* ---- In place of the kernel's, by the linker ------------------------------------------------- */

static uint64_t state;

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < size; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ((uint8_t *)bytes)[i] = (uint8_t)(state >> 56);
    }
    return (ssize_t)size;
}

void image_restart_random(void)
{
    state = 1;
}

/* ---- Faults, by the linker too --------------------------------------------------------------- */

static uint32_t *failures;

void __wrap_attempt_begin(uint32_t *counted);
void __wrap_attempt_begin(uint32_t *counted)
{
    failures = counted;
}

void __wrap_attempt_end(bool succeeded);
void __wrap_attempt_end(bool succeeded)
{
    field32_store(failures, succeeded ? 0 : field32_load(failures) + 1);
}

/* The handler of a SIGBUS that wasn't foreseen gives up so. */
sighandler_t __wrap_signal(int number, sighandler_t handler);
sighandler_t __wrap_signal(int number, sighandler_t handler)
{
    (void)handler;
    fprintf(stderr, "signal %d wasn't foreseen\n", number);
    abort();
}

void image_watch_faults(void)
{
    FUZZ_REQUIRE(sigbus_install() == 0);
}

/* ---- Taking ---------------------------------------------------------------------------------- */

static void read_file(struct image_file *file)
{
    struct stat status;
    int fd = openat(folder, file->name, O_RDONLY | O_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0 && fstat(fd, &status) == 0);
    file->size = (size_t)status.st_size;
    file->bytes = malloc(file->size + 1);
    FUZZ_REQUIRE(file->bytes && pread(fd, file->bytes, file->size, 0) == status.st_size);
    close(fd);
}

static int compare(const void *one, const void *other)
{
    const struct image_file *first = one, *second = other;
    return strcmp(first->name, second->name);
}

/* The names alone. */
static void list_files(struct image *image)
{
    DIR *directory = opendir(SHM);
    FUZZ_REQUIRE(directory);
    image->count = 0;
    for (const struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        FUZZ_REQUIRE(image->count < IMAGE_FILES_MAX);
        struct image_file *file = &image->files[image->count++];
        *file = (struct image_file){.size = 0};
        FUZZ_REQUIRE(strlen(entry->d_name) < sizeof(file->name));
        memcpy(file->name, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(directory);
    qsort(image->files, image->count, sizeof(image->files[0]), compare);
}

unsigned image_files(void)
{
    struct image there;
    list_files(&there);
    return there.count;
}

void image_forget(struct image *image)
{
    while (image->count > 0)
        free(image->files[--image->count].bytes);
}

void image_take(struct image *image)
{
    image_forget(image);
    list_files(image);
    for (unsigned i = 0; i < image->count; i++)
        read_file(&image->files[i]);
}

/* ---- Putting --------------------------------------------------------------------------------- */

static void write_file(const struct image_file *file)
{
    int fd = openat(folder, file->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    FUZZ_REQUIRE(fd >= 0);
    FUZZ_REQUIRE(pwrite(fd, file->bytes, file->size, 0) == (ssize_t)file->size);
    FUZZ_REQUIRE(ftruncate(fd, (off_t)file->size) == 0);
    close(fd);
}

void image_put(const struct image *image)
{
    struct image there;
    list_files(&there);
    for (unsigned i = 0; i < there.count; i++)
        if (!bsearch(&there.files[i], image->files, image->count, sizeof(image->files[0]), compare))
            FUZZ_REQUIRE(unlinkat(folder, there.files[i].name, 0) == 0);
    for (unsigned i = 0; i < image->count; i++)
        write_file(&image->files[i]);
}
