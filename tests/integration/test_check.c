/* SPDX-License-Identifier: MIT */
/*
 * The check of what an instance keeps, by the programs: of one that is served, whatever goes on in it,
 * by its daemon; of one whose daemon was killed, by `fastallocd --check`. Each fault that is seeded into a
 * file is named.
 */
#include <fastalloc/admin.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/registry.h"
#include "shm/geometry.h"
#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/private_shm.h"
#include "tests/lib/program.h"
#include "tests/unit/suite.h"

#define BROKERED "frames"
#define LEASED "cells"
#define CAPACITY 16u
#define ROUNDS 200
#define NOBODY 65534u

enum { SOUND = 0, FAULTY = 1, IMPOSSIBLE = 3 };

static struct test_daemon server;
static fastalloc_connection_t *connection;
static fastalloc_pool_t *frames, *cells;
static struct program program;

static void setup(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_handle_t handles[4], cell;

    test_daemon_start(&server, (const char *const[]){"--log-level", "error", NULL});
    connection = test_daemon_connect(&server);
    options.create = true;
    options.object_size = 64;
    options.capacity = CAPACITY;
    options.kind = FASTALLOC_BROKERED;
    ck_assert_int_eq(fastalloc_open(connection, BROKERED, &options, &frames, NULL), 0);
    options.kind = FASTALLOC_LEASED;
    ck_assert_int_eq(fastalloc_open(connection, LEASED, &options, &cells, NULL), 0);
    ck_assert_int_eq(fastalloc_allocate_many(frames, 4, FASTALLOC_NOWAIT, handles, NULL), 0);
    ck_assert_int_eq(fastalloc_retain(frames, &handles[1], 1, NULL), 0);
    ck_assert_int_eq(fastalloc_detach(frames, &handles[2], 1, NULL), 0);
    ck_assert_int_eq(fastalloc_free(frames, handles[3], NULL), 0);
    ck_assert_int_eq(fastalloc_try_allocate(cells, &cell, NULL), 0);
}

static void kill_daemon(void)
{
    ck_assert_int_eq(kill(server.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid);
    server.pid = 0;
}

static void teardown(void)
{
    fastalloc_disconnect(connection);
    if (server.pid == 0)
        test_daemon_restart(&server, (const char *const[]){"--log-level", "error", NULL});
    connection = test_daemon_connect(&server);
    /* Whichever of them a daemon that was killed leaves to the next one. */
    if (fastalloc_pool_destroy(connection, BROKERED, true, NULL) < 0 ||
        fastalloc_pool_destroy(connection, LEASED, true, NULL) < 0)
        ck_assert(true);
    fastalloc_disconnect(connection);
    test_daemon_stop(&server);
}

/* ---- Checking -------------------------------------------------------------------------------- */

static fastalloc_finding_t first; /* of the last check */

static int keep_first(const fastalloc_finding_t *finding, void *context)
{
    (void)context;
    first = *finding;
    return 1;
}

static fastalloc_check_info_t check(void)
{
    fastalloc_check_info_t checked = FASTALLOC_CHECK_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    memset(&first, 0, sizeof(first));
    ck_assert_msg(fastalloc_check(connection, &checked, keep_first, NULL, &error) >= 0, "%s",
                  error.message);
    return checked;
}

static void is_sound(void)
{
    fastalloc_check_info_t checked = check();
    ck_assert_msg(checked.violations == 0 && checked.notes == 0, "%s", first.text);
}

/* What is left, without a daemon. */
static int check_dead(void)
{
    return program_run(&program, (const char *const[]){getenv("FASTALLOCD"), "--socket",
                                                       server.socket, "--check", NULL});
}

static void says(const char *text)
{
    ck_assert_msg(strstr(program.text, text) != NULL, "'%s' isn't in: %s", text, program.text);
}

static int ctl(const char *option)
{
    return program_run(&program, (const char *const[]){getenv("FASTALLOCCTL"), "--socket",
                                                       server.socket, "check", option, NULL});
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Of a pool, by its name. */
static void find_ctl(const char *name, char path[512])
{
    struct layout_ctl head;
    const struct dirent *entry;
    DIR *directory = opendir("/dev/shm");
    bool found = false;
    ck_assert_ptr_nonnull(directory);
    while (!found && (entry = readdir(directory))) {
        size_t length = strlen(entry->d_name);
        if (length < 4 || strcmp(entry->d_name + length - 4, ".ctl") != 0)
            continue;
        snprintf(path, 512, "/dev/shm/%s", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        found = pread(fd, &head, sizeof(head), 0) == sizeof(head) && strcmp(head.name, name) == 0;
        close(fd);
    }
    closedir(directory);
    ck_assert_msg(found, "there is no pool %s", name);
}

static void path_of(const char *pool, const char *part, char path[512])
{
    find_ctl(pool, path);
    size_t length = strlen(path) - strlen("ctl");
    snprintf(path + length, 512 - length, "%s", part);
}

/* Writes the bytes, and leaves those that were there in them. */
static void swap(const char *path, uint64_t at, void *bytes, size_t size)
{
    uint8_t before[64];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, before, size, (off_t)at), (ssize_t)size);
    ck_assert_int_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
    close(fd);
    memcpy(bytes, before, size);
}

/* ---- Of a dead one --------------------------------------------------------------------------- */

static void names(const char *path, uint64_t at, uint64_t value, size_t size, const char *text)
{
    swap(path, at, &value, size);
    int status = check_dead();
    ck_assert_msg(status == FAULTY, "%d for '%s': %s", status, text, program.text);
    says("violation: ");
    says(text);
    swap(path, at, &value, size);
    ck_assert_int_eq(check_dead(), SOUND);
}

START_TEST(test_check_finds_nothing_wrong_in_what_a_killed_daemon_left)
{
    kill_daemon();
    ck_assert_msg(check_dead() == SOUND, "%s", program.text);
    ck_assert_str_eq(program.text, "checked pools=2 sessions=1 slots=32 violations=0 notes=0\n");
}
END_TEST

START_TEST(test_check_names_each_kind_of_fault)
{
    char of[512], registry[512];
    struct geometry geometry;
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_BROKERED, 64, 16, CAPACITY * 4), GEOMETRY_OK);
    kill_daemon();
    ck_assert_int_eq(check_dead(), SOUND);

    find_ctl(BROKERED, of);
    names(of, offsetof(struct layout_ctl, magic), 0, 8, "pool 1 'frames': its ctl is none of");
    names(of, offsetof(struct layout_ctl, capacity), 99, 4, "its capacities don't rise");
    names(of, offsetof(struct layout_ctl, name), '/', 1, "pool 1: its name can't be one");
    names(of, offsetof(struct layout_ctl, kind), 9, 4, "it is of kind 9");
    names(of, offsetof(struct layout_ctl, policy.growth), 'x', 1, "its growth is no policy");
    names(of, offsetof(struct layout_ctl, counters.peak_usage), 0, 8, "its usage is 3");
    names(of, offsetof(struct layout_ctl, intent.kind), 9, 4, "its intent can't be one");
    names(of, geometry.members_offset + 8, 77, 8, "number 1 is of session 77, which there isn't");
    names(of, geometry.ledger_offset, 0, 8, "slot 0 is free, and its word says LIVE");
    names(of, geometry.ledger_offset, 9, 8, "slot 0 is granted to member 9, whom there isn't");
    path_of(BROKERED, "slots", of);
    names(of, geometry.words_offset, 0, 8, "slot 0 can't be at this generation");
    names(of, geometry.words_offset + 8, 1 << 16 | 1 << 3 | 2, 8, "slot 1 has a hold on another");
    path_of(BROKERED, "holders", of);
    names(of, 0, layout_holder_entry(1, 99, 1), 8, "a hold is on slot 99, which there isn't");
    path_of(LEASED, "slots", of);
    geometry_init(&geometry, LAYOUT_LEASED, 64, 16, CAPACITY * 4);
    names(of, geometry.words_offset + 8 * (size_t)(CAPACITY - 1), 7 << 16 | 1 << 3 | 2, 8,
          "pool 2 'cells': slot 15 is free, and its word says LIVE, member 1, generation 7");

    snprintf(registry, sizeof(registry), "%s.d/registry", server.socket);
    names(registry, offsetof(struct registry_file, magic), 0, 8, "registry: it is none of version");
    names(registry, offsetof(struct registry_file, last_pool), 1, 4, "pool 2 was never given out");
    names(registry, offsetof(struct registry_file, sessions), 7, 4, "session 1 is in state 7");
}
END_TEST

START_TEST(test_check_names_what_is_missing_and_what_is_stray)
{
    char of[512], aside[512 + 8];
    kill_daemon();
    path_of(LEASED, "data", of);
    snprintf(aside, sizeof(aside), "%.500s.aside", of);
    ck_assert_int_eq(rename(of, aside), 0);
    ck_assert_int_eq(check_dead(), FAULTY);
    says("pool 2 'cells': it has no data");
    says("is of this instance, but of nothing that it has; remove it");
    says("violations=2");
    ck_assert_int_eq(rename(aside, of), 0);
    ck_assert_int_eq(check_dead(), SOUND);
}
END_TEST

START_TEST(test_check_of_what_is_left_changes_nothing)
{
    char registry[512];
    struct stat before, after;
    static struct registry_file kept, now;
    kill_daemon();
    unsigned files = test_shm_files();
    snprintf(registry, sizeof(registry), "%s.d/registry", server.socket);
    int fd = open(registry, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &kept, sizeof(kept), 0), sizeof(kept));
    ck_assert_int_eq(fstat(fd, &before), 0);
    ck_assert_int_eq(check_dead(), SOUND);
    ck_assert_int_eq(pread(fd, &now, sizeof(now), 0), sizeof(now));
    ck_assert_int_eq(fstat(fd, &after), 0);
    close(fd);
    ck_assert_mem_eq(&kept, &now, sizeof(kept));
    ck_assert_int_eq(after.st_nlink, 1);
    ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    ck_assert_uint_eq(test_shm_files(), files);
}
END_TEST

START_TEST(test_check_leaves_an_instance_to_its_daemon)
{
    char pid[32];
    is_sound(); /* so it is there */
    ck_assert_int_eq(check_dead(), IMPOSSIBLE);
    snprintf(pid, sizeof(pid), "as pid %d", (int)server.pid);
    says(pid);
    says("`fastallocctl check`");
    is_sound();
}
END_TEST

START_TEST(test_check_says_where_there_is_nothing)
{
    struct stat status;
    char socket[128];
    snprintf(socket, sizeof(socket), "%s/none.sock", server.directory);
    ck_assert_int_eq(program_run(&program, (const char *const[]){getenv("FASTALLOCD"), "--socket",
                                                                 socket, "--check", NULL}),
                     IMPOSSIBLE);
    says("there is nothing of an instance of");
    snprintf(socket, sizeof(socket), "%s/none.d", server.directory);
    ck_assert_int_lt(stat(socket, &status), 0);
}
END_TEST

/* ---- Of one that is served ------------------------------------------------------------------- */

/* Its daemon may be killed: then nothing more can be done. */
static void must(int result)
{
    for (bool done = result >= 0; !done;) // NOLINT(bugprone-infinite-loop): until it is killed
        pause();
}

static void use_for_ever(int control, const void *argument)
{
    fastalloc_connection_t *own;
    fastalloc_pool_t *pool = child_open(server.socket, argument, &own);
    fastalloc_handle_t handle, others[3];
    child_say(control, 'r');
    for (;;) {
        if (fastalloc_try_allocate(pool, &handle, NULL) == 0) {
            must(fastalloc_retain(pool, &handle, 1, NULL));
            must(fastalloc_release(pool, &handle, 1, NULL));
            must(fastalloc_free(pool, handle, NULL));
        }
        if (fastalloc_allocate_many(pool, 3, FASTALLOC_NOWAIT, others, NULL) == 0)
            must(fastalloc_free_many(pool, others, 3, NULL));
    }
}

START_TEST(test_check_finds_nothing_wrong_while_the_instance_is_busy)
{
    static const char *const pools[] = {BROKERED, LEASED, LEASED};
    struct test_child children[3];
    for (size_t i = 0; i < 3; i++) {
        test_child_start(&children[i], use_for_ever, pools[i]);
        test_child_hear(&children[i], 'r');
    }
    for (int i = 0; i < ROUNDS; i++)
        is_sound();
    ck_assert_int_eq(ctl(NULL), 0);
    says("Looked through 2 pools, 5 sessions and 32 slots: 0 violations, 0 notes.\n");
    for (size_t i = 0; i < 3; i++)
        test_child_kill(&children[i], SIGKILL);
    for (int i = 0; i < ROUNDS; i++)
        is_sound();
}
END_TEST

START_TEST(test_check_finds_what_is_left_of_a_busy_instance_sound)
{
    struct test_child children[2];
    test_child_start(&children[0], use_for_ever, BROKERED);
    test_child_start(&children[1], use_for_ever, LEASED);
    test_child_hear(&children[0], 'r');
    test_child_hear(&children[1], 'r');
    for (int i = 0; i < ROUNDS / 10; i++)
        is_sound();
    kill_daemon(); /* in the middle of something, perhaps: that is a note */
    ck_assert_msg(check_dead() == SOUND, "%s", program.text);
    says("pools=2 sessions=3 slots=32 violations=0");
    test_child_kill(&children[0], SIGKILL);
    test_child_kill(&children[1], SIGKILL);
}
END_TEST

START_TEST(test_check_finds_a_word_that_a_member_spoilt)
{
    char of[512];
    struct geometry geometry;
    uint64_t word = 7 << 16 | 9 << 3 | 2;
    geometry_init(&geometry, LAYOUT_LEASED, 64, 16, CAPACITY * 4);
    is_sound();
    path_of(LEASED, "slots", of);
    swap(of, geometry.words_offset + 8 * (size_t)(CAPACITY - 1), &word, 8);

    fastalloc_check_info_t checked = check();
    ck_assert_uint_eq(checked.violations, 1);
    ck_assert(first.violation);
    ck_assert_str_eq(first.text,
                     "pool 2 'cells': slot 15 is free, and its word says LIVE, member 9, "
                     "generation 7");
    ck_assert_int_eq(ctl(NULL), 1);
    says("KIND       FINDING");
    says("violation  pool 2 'cells': slot 15 is free");
    says("1 violation, 0 notes.\n");
    ck_assert_int_eq(ctl("--json"), 1);
    says("\"violations\": 1");
    says("\"violation\": true");
    swap(of, geometry.words_offset + 8 * (size_t)(CAPACITY - 1), &word, 8);
    is_sound();
}
END_TEST

START_TEST(test_check_finds_a_stray_object_and_shows_no_more_than_a_list_has)
{
    char of[512], stray[600];
    is_sound();
    path_of(BROKERED, "", of);
    for (int i = 0; i < 100; i++) {
        snprintf(stray, sizeof(stray), "%s%d", of, i);
        int fd = open(stray, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
    ck_assert_uint_eq(check().violations, 100);
    ck_assert_ptr_nonnull(strstr(first.text, "is of this instance, but of nothing that it has"));
    ck_assert_int_eq(ctl(NULL), 1);
    says("These are the first of them.\n");
    says("100 violations, 0 notes.\n");
    for (int i = 0; i < 100; i++) {
        snprintf(stray, sizeof(stray), "%s%d", of, i);
        ck_assert_int_eq(unlink(stray), 0);
    }
    is_sound();
    ck_assert_int_eq(ctl("--json"), 0);
    says("\"findings\": []");
}
END_TEST

static void ask_as_nobody(int control, const void *argument)
{
    fastalloc_connection_t *own;
    fastalloc_check_info_t checked = FASTALLOC_CHECK_INFO_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    (void)argument;
    options.socket = server.socket;
    child_require(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    child_require(fastalloc_connect(&options, &own, NULL) == 0);
    child_require(fastalloc_check(own, &checked, NULL, NULL, &error) ==
                  FASTALLOC_ERR_NOT_PERMITTED);
    child_require(strstr(error.message, "may check it") != NULL);
    child_require(checked.pools == 0);
    fastalloc_disconnect(own);
    child_say(control, 'd');
}

START_TEST(test_check_is_refused_to_others)
{
    struct test_child child;
    if (geteuid() != 0)
        return; /* nobody can't be asked */
    is_sound();
    ck_assert_int_eq(chmod(server.directory, 0755), 0);
    ck_assert_int_eq(chmod(server.socket, 0666), 0);
    test_child_start(&child, ask_as_nobody, NULL);
    test_child_hear(&child, 'd');
    ck_assert_int_eq(test_child_join(&child), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_check_finds_nothing_wrong_in_what_a_killed_daemon_left,
        test_check_names_each_kind_of_fault,
        test_check_names_what_is_missing_and_what_is_stray,
        test_check_of_what_is_left_changes_nothing,
        test_check_leaves_an_instance_to_its_daemon,
        test_check_says_where_there_is_nothing,
        test_check_finds_nothing_wrong_while_the_instance_is_busy,
        test_check_finds_what_is_left_of_a_busy_instance_sound,
        test_check_finds_a_word_that_a_member_spoilt,
        test_check_finds_a_stray_object_and_shows_no_more_than_a_list_has,
        test_check_is_refused_to_others,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("check", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
