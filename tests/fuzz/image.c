/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/attempt.h"
#include "daemon/registry.h"
#include "daemon/sigbus.h"
#include "shm/order.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/private_shm.h"

#define SHM "/dev/shm"

static int folder = -1;

/*
 * Of pages as large as the objects have room for, where the kernel has such: an input takes a third
 * less time then.
 */
static bool remount(uint64_t bytes)
{
    char options[64];
    int length = snprintf(options, sizeof(options), "mode=1777,size=%" PRIu64, bytes);
    bool small = mount("none", SHM, NULL, MS_REMOUNT, options) == 0;
    snprintf(options + length, sizeof(options) - (size_t)length, ",huge=within_size");
    return mount("none", SHM, NULL, MS_REMOUNT, options) == 0 || small;
}

void image_begin(uint64_t bytes)
{
    if (folder >= 0)
        return;
    FUZZ_REQUIRE(test_try_private_shm());
    FUZZ_REQUIRE(remount(bytes));
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

/* ---- A copy of the registry, by the linker too ----------------------------------------------- */

/*
 * The audit allocates one. What is so large a sanitizer has the kernel give, page by page, and take
 * back: a quarter of an input's time. This one stays, and can be touched while it is allocated only.
 */
static uint8_t copy[sizeof(struct registry_file) + 1] __attribute__((aligned(16)));
static bool is_copy_allocated;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    if (count != 1 || size != sizeof(copy) || is_copy_allocated)
        return __real_calloc(count, size);
    is_copy_allocated = true;
    ASAN_UNPOISON_MEMORY_REGION(copy, sizeof(copy));
    memset(copy, 0, sizeof(copy));
    return copy;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    if (memory != copy) {
        __real_free(memory);
        return;
    }
    FUZZ_REQUIRE(is_copy_allocated);
    is_copy_allocated = false;
    ASAN_POISON_MEMORY_REGION(copy, sizeof(copy));
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

static void make_room(struct image *image, size_t size)
{
    if (size <= image->room)
        return;
    image->room = 2 * size;
    image->bytes = realloc(image->bytes, image->room);
    FUZZ_REQUIRE(image->bytes);
}

/* Its place is known. */
static void read_file(struct image *image, struct image_file *file)
{
    struct stat status;
    int fd = openat(folder, file->name, O_RDONLY | O_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0 && fstat(fd, &status) == 0);
    file->size = (size_t)status.st_size;
    make_room(image, file->place + file->size);
    FUZZ_REQUIRE(pread(fd, image->bytes + file->place, file->size, 0) == status.st_size);
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

void image_take(struct image *image)
{
    size_t place = 0;
    list_files(image);
    for (unsigned i = 0; i < image->count; i++) {
        image->files[i].place = place;
        read_file(image, &image->files[i]);
        place += image->files[i].size;
    }
}

/* ---- Putting --------------------------------------------------------------------------------- */

static void write_file(const struct image *image, const struct image_file *file)
{
    int fd = openat(folder, file->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    FUZZ_REQUIRE(fd >= 0);
    FUZZ_REQUIRE(pwrite(fd, image->bytes + file->place, file->size, 0) == (ssize_t)file->size);
    FUZZ_REQUIRE(ftruncate(fd, (off_t)file->size) == 0);
    close(fd);
}

void image_put(const struct image *image)
{
    struct image there;
    FUZZ_REQUIRE(!is_copy_allocated);
    list_files(&there);
    for (unsigned i = 0; i < there.count; i++)
        if (!bsearch(&there.files[i], image->files, image->count, sizeof(image->files[0]), compare))
            FUZZ_REQUIRE(unlinkat(folder, there.files[i].name, 0) == 0);
    for (unsigned i = 0; i < image->count; i++)
        write_file(image, &image->files[i]);
}
