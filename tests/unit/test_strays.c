/* SPDX-License-Identifier: MIT */
#include "daemon/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

static struct registry_file file;

static void set_up(void)
{
    test_private_shm(1 << 20);
    memset(&file, 0, sizeof(file));
    memset(&file.prefix, 0xab, sizeof(file.prefix));
}

static void tear_down(void)
{
    ck_assert_int_eq(strays_remove(&file), 0);
    ck_assert_uint_eq(test_shm_files(), 0);
}

/* One of the instance's, and of that number. */
static const uint8_t *key_of(uint8_t number)
{
    static uint8_t key[SEGMENT_KEY_SIZE];
    memset(key, 0xab, sizeof(key));
    key[8] = number;
    return key;
}

static const char *name_of(uint8_t number, const char *part)
{
    static char name[SEGMENT_NAME_SIZE];
    segment_name(key_of(number), part, name);
    return name;
}

static void make(uint8_t number, const char *part)
{
    int fd = segment_create(name_of(number, part), 4096);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

START_TEST(test_strays_are_what_no_entry_names)
{
    for (uint8_t number = 0; number < 100; number++) {
        file.pools[number].state = number % 2 ? REGISTRY_ENDING : REGISTRY_FREE;
        memcpy(file.pools[number].key, key_of(number), SEGMENT_KEY_SIZE);
        make(number, "ctl");
        file.sessions[number].state = number % 2 ? REGISTRY_FREE : REGISTRY_READY;
        memcpy(file.sessions[number].witness, key_of(100 + number), SEGMENT_KEY_SIZE);
        make(100 + number, REGISTRY_WITNESS);
    }
    ck_assert_int_eq(strays_remove(&file), 0);
    ck_assert_uint_eq(test_shm_files(), 100);
    for (uint8_t number = 0; number < 100; number++) {
        ck_assert_int_eq(segment_unlink(name_of(number, "ctl")), number % 2 ? 0 : -ENOENT);
        ck_assert_int_eq(segment_unlink(name_of(100 + number, REGISTRY_WITNESS)),
                         number % 2 ? -ENOENT : 0);
    }
}
END_TEST

/* What the daemon couldn't have made is left alone. */
START_TEST(test_strays_are_objects_alone)
{
    char path[SEGMENT_NAME_SIZE + 16];
    snprintf(path, sizeof(path), "/dev/shm%s", name_of(1, "ctl"));
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(strays_remove(&file), 0);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(symlink("/nowhere", path), 0);
    ck_assert_int_eq(strays_remove(&file), 0);
    ck_assert_int_eq(unlink(path), 0);
    make(1, "ctl.saved");
    make(1, "ctl");
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(strays_remove(&file), 0);
    ck_assert_uint_eq(test_shm_files(), 2);
    ck_assert_int_eq(segment_unlink(name_of(1, "ctl.saved")), 0);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(test_strays_went_with_the_machine_only_if_none_is_left)
{
    memset(file.boot, 1, sizeof(file.boot));
    ck_assert(strays_went_with_machine(&file));
    make(1, "ctl.saved");
    ck_assert(!strays_went_with_machine(&file));
    ck_assert_int_eq(segment_unlink(name_of(1, "ctl.saved")), 0);
    ck_assert(strays_went_with_machine(&file));
    memset(file.boot, 0, sizeof(file.boot));
    ck_assert(!strays_went_with_machine(&file));
}
END_TEST

START_TEST(test_strays_that_can_not_be_removed_are_said)
{
    make(1, "ctl");
    make(2, "ctl");
    ck_assert_int_eq(mount("none", "/dev/shm", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    ck_assert_int_eq(strays_remove(&file), -EROFS);
    ck_assert_int_eq(mount("none", "/dev/shm", NULL, MS_REMOUNT, NULL), 0);
    ck_assert_uint_eq(test_shm_files(), 2);
}
END_TEST

START_TEST(test_strays_can_not_be_found_without_a_descriptor)
{
    struct rlimit limit, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(strays_remove(&file), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

SUITE_MAIN_WITH("strays", set_up, tear_down, test_strays_are_what_no_entry_names,
                test_strays_are_objects_alone,
                test_strays_went_with_the_machine_only_if_none_is_left,
                test_strays_that_can_not_be_removed_are_said,
                test_strays_can_not_be_found_without_a_descriptor)
