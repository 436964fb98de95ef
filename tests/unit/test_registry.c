/* SPDX-License-Identifier: MIT */
#include "daemon/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store.h"
#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static char path[64];
static struct registry registry;

static void set_up(void)
{
    test_private_shm(1 << 20);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/registry", folder);
}

static void tear_down(void)
{
    registry_close(&registry);
    ck_assert_uint_eq(test_shm_files(), 0);
    test_remove_folder(folder);
}

/* The kernel's next answer, if it isn't to be its own. */
static ssize_t random_answer;
static int random_error;

ssize_t __real_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    ssize_t answer = random_answer;
    if (answer == 0)
        return __real_getrandom(bytes, size, flags);
    if (answer > 0)
        memset(bytes, 0x5a, (size_t)answer);
    errno = random_error;
    random_answer = random_error == ENOSYS ? answer : 0; /* for ever */
    return answer;
}

static void create(void)
{
    ck_assert_int_eq(registry_create(&registry, path), 0);
}

static off_t file_size(void)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

static void make_file(const void *bytes, size_t size, off_t length)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    ck_assert_int_eq(ftruncate(fd, length), 0);
    close(fd);
}

/* ---- Creation -------------------------------------------------------------------------------- */

START_TEST(test_registry_create_makes_a_private_file_of_this_version)
{
    struct stat status;
    create();

    ck_assert_uint_eq(registry.file->magic, REGISTRY_MAGIC);
    ck_assert_uint_eq(registry.file->version, REGISTRY_VERSION);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(status.st_size, sizeof(struct registry_file));
}
END_TEST

START_TEST(test_registry_create_leaves_a_file_that_is_there)
{
    create();
    registry_add_pool(&registry);
    registry_close(&registry);

    ck_assert_int_eq(registry_create(&registry, path), -EEXIST);
    ck_assert_int_eq(file_size(), sizeof(struct registry_file));
}
END_TEST

START_TEST(test_registry_create_names_what_is_wrong)
{
    ck_assert_int_eq(registry_create(&registry, "/nowhere/registry"), -ENOENT);
    ck_assert_ptr_null(registry.file);
}
END_TEST

START_TEST(test_registry_create_without_room_leaves_nothing)
{
    test_private_shm_resize(1 << 16, 0);
    ck_assert_int_eq(registry_create(&registry, "/dev/shm/registry"), -ENOSPC);
    ck_assert_uint_eq(test_shm_files(), 0);
}
END_TEST

START_TEST(test_registry_nonce_is_never_zero_and_seldom_the_same)
{
    uint16_t last = 0;
    unsigned same = 0;
    for (int i = 0; i < 100; i++) {
        create();
        ck_assert_uint_ne(registry_nonce(&registry), 0);
        same += registry_nonce(&registry) == last;
        last = registry_nonce(&registry);
        registry_close(&registry);
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_uint_lt(same, 5);
}
END_TEST

/* A signal came between, after some bytes or none: the rest is asked for. */
START_TEST(test_registry_keys_are_whole_whatever_comes_between)
{
    create();
    for (random_error = 0; random_error <= EINTR; random_error += EINTR) {
        uint8_t blank[SEGMENT_KEY_SIZE] = {0};
        random_answer = random_error ? -1 : 3;
        struct registry_session *entry = registry_add_session(&registry, 7);
        ck_assert_ptr_nonnull(entry);
        ck_assert_int_eq(random_answer, 0);
        ck_assert_mem_ne(entry->token + 3, blank, PROTOCOL_TOKEN_SIZE - 3);
    }
}
END_TEST

START_TEST(test_registry_create_without_random_bytes_leaves_nothing)
{
    random_answer = -1;
    random_error = ENOSYS;
    ck_assert_int_eq(registry_create(&registry, path), -ENOSYS);
    ck_assert_int_eq(file_size(), -1);
    random_answer = 0;
    create();
    random_answer = -1;
    ck_assert_ptr_null(registry_add_pool(&registry));
    ck_assert_ptr_null(registry_add_session(&registry, 7));
    random_answer = 0;
    ck_assert_uint_eq(registry_add_pool(&registry)->id, 1);
    ck_assert_uint_eq(registry_add_session(&registry, 7)->id, 1);
}
END_TEST

/* ---- Entries --------------------------------------------------------------------------------- */

START_TEST(test_registry_pool_entry_is_new_and_in_the_making)
{
    create();
    struct registry_pool *first = registry_add_pool(&registry);
    struct registry_pool *second = registry_add_pool(&registry);

    ck_assert_uint_eq(first->state, REGISTRY_MAKING);
    ck_assert_uint_eq(first->id, 1);
    ck_assert_uint_eq(second->id, 2);
    ck_assert_mem_ne(first->key, second->key, SEGMENT_KEY_SIZE);
}
END_TEST

START_TEST(test_registry_session_entry_is_new_and_ready)
{
    create();
    struct registry_session *first = registry_add_session(&registry, 7);
    struct registry_session *second = registry_add_session(&registry, 8);

    ck_assert_uint_eq(first->state, REGISTRY_READY);
    ck_assert_uint_eq(first->uid, 7);
    ck_assert_uint_eq(first->id, 1);
    ck_assert_uint_eq(second->id, 2);
    ck_assert_mem_ne(first->token, second->token, PROTOCOL_TOKEN_SIZE);
    ck_assert_mem_ne(first->witness, second->witness, SEGMENT_KEY_SIZE);
    ck_assert_mem_ne(first->token, first->witness, PROTOCOL_TOKEN_SIZE);
}
END_TEST

START_TEST(test_registry_never_gives_an_id_again)
{
    create();
    for (uint32_t i = 1; i <= 3000; i++) {
        struct registry_pool *pool = registry_add_pool(&registry);
        struct registry_session *session = registry_add_session(&registry, 0);
        ck_assert_uint_eq(pool->id, i);
        ck_assert_uint_eq(session->id, i);
        registry_set_state(&pool->state, REGISTRY_FREE);
        registry_set_state(&session->state, REGISTRY_FREE);
    }
}
END_TEST

START_TEST(test_registry_never_comes_round_to_an_id_again)
{
    create();
    registry.file->last_pool = UINT32_MAX - 1;
    ck_assert_uint_eq(registry_add_pool(&registry)->id, UINT32_MAX);
    ck_assert(!registry_has_numbers(&registry));
    ck_assert_ptr_null(registry_add_pool(&registry));
}
END_TEST

START_TEST(test_registry_takes_its_limit_of_pools_and_no_more)
{
    create();
    struct registry_pool *entry = NULL;
    for (uint32_t i = 0; i < REGISTRY_POOLS; i++)
        ck_assert_ptr_nonnull(entry = registry_add_pool(&registry));
    ck_assert_ptr_null(registry_add_pool(&registry));
    registry_set_state(&entry->state, REGISTRY_FREE);
    ck_assert_ptr_eq(registry_add_pool(&registry), entry);
}
END_TEST

START_TEST(test_registry_takes_its_limit_of_sessions_and_no_more)
{
    create();
    struct registry_session *entry = NULL;
    for (uint32_t i = 0; i < REGISTRY_SESSIONS; i++)
        ck_assert_ptr_nonnull(entry = registry_add_session(&registry, 0));
    ck_assert_ptr_null(registry_add_session(&registry, 0));
    registry_set_state(&entry->state, REGISTRY_FREE);
    ck_assert_ptr_eq(registry_add_session(&registry, 0), entry);
}
END_TEST

START_TEST(test_registry_does_not_reuse_an_entry_that_is_ending)
{
    create();
    struct registry_pool *entry = registry_add_pool(&registry);
    registry_set_state(&entry->state, REGISTRY_ENDING);
    ck_assert_ptr_ne(registry_add_pool(&registry), entry);
}
END_TEST

/* ---- What a dead instance left --------------------------------------------------------------- */

static void reopen(int expected)
{
    registry_close(&registry);
    ck_assert_int_eq(registry_open(&registry, path), expected);
    ck_assert_int_eq(registry.file != NULL, expected == 0);
}

START_TEST(test_registry_open_finds_none)
{
    reopen(-ENOENT);
}
END_TEST

START_TEST(test_registry_open_finds_what_stood_there)
{
    create();
    uint16_t nonce = registry_nonce(&registry);
    uint32_t id = registry_add_pool(&registry)->id;
    uint64_t session = registry_add_session(&registry, 7)->id;

    reopen(0);
    ck_assert_uint_eq(registry_nonce(&registry), nonce);
    ck_assert_uint_eq(registry.file->pools[0].id, id);
    ck_assert_uint_eq(registry.file->pools[0].state, REGISTRY_MAKING);
    ck_assert_uint_eq(registry.file->sessions[0].id, session);
    ck_assert_uint_eq(registry_add_pool(&registry)->id, id + 1);
}
END_TEST

START_TEST(test_registry_keys_begin_with_its_prefix)
{
    create();
    const void *prefix = &registry.file->prefix;
    for (int i = 0; i < 10; i++) {
        ck_assert_mem_eq(registry_add_pool(&registry)->key, prefix, 8);
        ck_assert_mem_eq(registry_add_session(&registry, 0)->witness, prefix, 8);
    }
}
END_TEST

/* The daemon may be killed between any two steps of making the file. */
START_TEST(test_registry_open_removes_a_file_that_was_never_finished)
{
    static const uint64_t magic = REGISTRY_MAGIC;

    make_file("", 0, 0);
    reopen(-ENODATA);
    ck_assert_int_eq(file_size(), -1);
    make_file("", 0, 4097); /* where room is reserved by writing */
    reopen(-ENODATA);
    ck_assert_int_eq(file_size(), -1);
    make_file("", 0, sizeof(struct registry_file));
    reopen(-ENODATA);
    ck_assert_int_eq(file_size(), -1);
    make_file(&magic, sizeof(magic), sizeof(struct registry_file));
    reopen(-ENODATA);
    ck_assert_int_eq(file_size(), -1);
}
END_TEST

/* Refused, and the file is as it was. */
static void check_untouched(off_t size)
{
    reopen(-EPROTO);
    ck_assert_int_eq(file_size(), size);
}

START_TEST(test_registry_open_refuses_another_version)
{
    create();
    registry.file->version = REGISTRY_VERSION + 1;
    check_untouched(sizeof(struct registry_file));
}
END_TEST

START_TEST(test_registry_open_refuses_another_magic)
{
    create();
    registry.file->magic++;
    check_untouched(sizeof(struct registry_file));
}
END_TEST

START_TEST(test_registry_open_refuses_a_file_of_another_size)
{
    static const struct {
        uint64_t magic;
        uint32_t version;
    } head = {REGISTRY_MAGIC, REGISTRY_VERSION};

    make_file(&head, 12, sizeof(struct registry_file) - 1);
    check_untouched(sizeof(struct registry_file) - 1);
    ck_assert_int_eq(truncate(path, sizeof(struct registry_file) + 1), 0);
    check_untouched(sizeof(struct registry_file) + 1);
    ck_assert_int_eq(truncate(path, 12), 0);
    check_untouched(12);
}
END_TEST

START_TEST(test_registry_open_follows_no_link)
{
    char target[80];
    snprintf(target, sizeof(target), "%s.target", path);
    ck_assert_int_eq(symlink(target, path), 0);
    reopen(-ELOOP);
    ck_assert_int_eq(registry_create(&registry, path), -EEXIST);
    ck_assert_int_eq(access(target, F_OK), -1);
}
END_TEST

/* ---- Boots of the machine -------------------------------------------------------------------- */

START_TEST(test_registry_is_of_the_boot_that_it_was_made_in)
{
    create();
    uint8_t *boot = registry.file->boot;
    ck_assert(!registry_is_of_another_boot(registry.file));
    boot[REGISTRY_BOOT_SIZE - 1] ^= 1;
    ck_assert(registry_is_of_another_boot(registry.file));
    registry_note_boot(&registry);
    ck_assert(!registry_is_of_another_boot(registry.file));
    memset(boot, 0, REGISTRY_BOOT_SIZE); /* it couldn't be told */
    ck_assert(!registry_is_of_another_boot(registry.file));
}
END_TEST

/* As the kernel writes it: 32 digits in five groups. */
START_TEST(test_registry_knows_a_boot_by_the_kernels_number)
{
    char expected[64] = "", actual[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(expected, sizeof(expected), file));
    fclose(file);
    create();
    size_t at = 0;
    for (size_t i = 0; i < REGISTRY_BOOT_SIZE; i++)
        at += (size_t)snprintf(actual + at, sizeof(actual) - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                               registry.file->boot[i]);
    ck_assert_str_eq(strtok(expected, "\n"), actual);
}
END_TEST

START_TEST(test_registry_that_is_emptied_lists_nothing_and_counts_on)
{
    create();
    registry_add_pool(&registry);
    registry_set_state(&registry_add_pool(&registry)->state, REGISTRY_READY);
    registry_add_session(&registry, 7);
    registry.file->change.kind = 1;
    registry.file->failures = 3;
    uint16_t nonce = registry_nonce(&registry);
    bool listed = false;
    ck_assert_int_eq(registry_empty(&registry, &listed), 0);
    ck_assert(listed);
    ck_assert_uint_ne(registry_nonce(&registry), 0);
    for (int i = 0; i < 3 && registry_nonce(&registry) == nonce; i++) /* by chance */
        ck_assert_int_eq(registry_empty(&registry, &listed), 0);
    ck_assert_uint_ne(registry_nonce(&registry), nonce);
    ck_assert_int_eq(registry_empty(&registry, &listed), 0);
    ck_assert(!listed);

    ck_assert_uint_eq(registry.file->change.kind, 0);
    ck_assert_uint_eq(registry.file->failures, 0);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(registry.file->pools[i].state, REGISTRY_FREE);
        ck_assert_uint_eq(registry.file->sessions[i].state, REGISTRY_FREE);
    }
    ck_assert_uint_eq(registry_add_pool(&registry)->id, 3);
    ck_assert_uint_eq(registry_add_session(&registry, 7)->id, 2);
}
END_TEST

SUITE_MAIN_WITH(
    "registry", set_up, tear_down, test_registry_create_makes_a_private_file_of_this_version,
    test_registry_create_leaves_a_file_that_is_there, test_registry_create_names_what_is_wrong,
    test_registry_create_without_room_leaves_nothing,
    test_registry_nonce_is_never_zero_and_seldom_the_same,
    test_registry_keys_are_whole_whatever_comes_between,
    test_registry_create_without_random_bytes_leaves_nothing,
    test_registry_pool_entry_is_new_and_in_the_making, test_registry_session_entry_is_new_and_ready,
    test_registry_never_gives_an_id_again, test_registry_never_comes_round_to_an_id_again,
    test_registry_takes_its_limit_of_pools_and_no_more,
    test_registry_takes_its_limit_of_sessions_and_no_more,
    test_registry_does_not_reuse_an_entry_that_is_ending, test_registry_open_finds_none,
    test_registry_open_finds_what_stood_there, test_registry_keys_begin_with_its_prefix,
    test_registry_open_removes_a_file_that_was_never_finished,
    test_registry_open_refuses_another_version, test_registry_open_refuses_another_magic,
    test_registry_open_refuses_a_file_of_another_size, test_registry_open_follows_no_link,
    test_registry_is_of_the_boot_that_it_was_made_in,
    test_registry_knows_a_boot_by_the_kernels_number,
    test_registry_that_is_emptied_lists_nothing_and_counts_on)
