/* SPDX-License-Identifier: MIT */
#include "daemon/instance.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/private_shm.h"
#include "tests/unit/suite.h"

static char folder[] = "/tmp/fastalloc-test.XXXXXX";
static char socket_path[64];
static char text[INSTANCE_TEXT_SIZE];
static struct instance instance;

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/x.sock", folder);
    unsetenv("XDG_RUNTIME_DIR");
}

static void tear_down(void)
{
    test_remove_folder(folder);
}

static bool locate(const struct options *options)
{
    strcpy(text, "");
    return instance_locate(&instance, options, text);
}

static bool locate_socket(const char *path)
{
    return locate(&(struct options){.socket = path});
}

static void check_places(const char *name, const char *socket, const char *directory)
{
    char expected[INSTANCE_PATH_SIZE + 16];
    ck_assert_str_eq(instance.name, name);
    ck_assert_str_eq(instance.socket, socket);
    ck_assert_str_eq(instance.directory, directory);
    snprintf(expected, sizeof(expected), "%s/registry", directory);
    ck_assert_str_eq(instance.registry, expected);
    snprintf(expected, sizeof(expected), "%s/lock", directory);
    ck_assert_str_eq(instance.lock, expected);
    ck_assert_int_eq(instance.lock_fd, -1);
}

/* ---- Where it is ----------------------------------------------------------------------------- */

START_TEST(test_instance_is_the_systems_default_one)
{
    ck_assert(locate(&(struct options){0}));
    check_places("default", "/run/fastalloc/default.sock", "/run/fastalloc/default.d");
    ck_assert(instance.shared);
}
END_TEST

START_TEST(test_instance_has_the_name_that_was_chosen)
{
    ck_assert(locate(&(struct options){.instance = "a.b-c_1"}));
    check_places("a.b-c_1", "/run/fastalloc/a.b-c_1.sock", "/run/fastalloc/a.b-c_1.d");
}
END_TEST

START_TEST(test_instance_of_a_user_is_in_the_runtime_directory)
{
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    ck_assert(locate(&(struct options){.user = true}));
    check_places("default", "/run/user/7/fastalloc/default.sock",
                 "/run/user/7/fastalloc/default.d");
    ck_assert(!instance.shared);
}
END_TEST

START_TEST(test_instance_of_a_user_needs_an_absolute_runtime_directory)
{
    static const char *const wrong[] = {"", "run", "./run"};
    const struct options options = {.user = true};

    ck_assert(!locate(&options));
    ck_assert_ptr_nonnull(strstr(text, "XDG_RUNTIME_DIR"));
    ck_assert_ptr_nonnull(strstr(text, "--socket"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("XDG_RUNTIME_DIR", wrong[i], 1);
        ck_assert(!locate(&options));
    }
}
END_TEST

START_TEST(test_instance_is_called_after_its_socket)
{
    ck_assert(locate_socket("/a/b/frames.sock"));
    check_places("frames", "/a/b/frames.sock", "/a/b/frames.d");
    ck_assert(!instance.shared);
    ck_assert(locate_socket("/a/b/frames"));
    check_places("frames", "/a/b/frames", "/a/b/frames.d");
    ck_assert(locate_socket("frames.sock"));
    check_places("frames", "frames.sock", "frames.d");
    ck_assert(locate_socket("/frames.sock"));
    check_places("frames", "/frames.sock", "/frames.d");
}
END_TEST

START_TEST(test_instance_name_wins_over_the_sockets_but_the_folder_follows_the_socket)
{
    ck_assert(locate(&(struct options){.socket = "/a/b/frames.sock", .instance = "other"}));
    check_places("other", "/a/b/frames.sock", "/a/b/frames.d");
    ck_assert(locate(&(struct options){.socket = "/a/b/.sock", .instance = "other"}));
    check_places("other", "/a/b/.sock", "/a/b/.sock.d");
}
END_TEST

START_TEST(test_instance_refuses_what_cannot_be_a_name)
{
    static const char *const wrong[] = {"", ".hidden", "a/b", "a b", "../x", "-a"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(!locate(&(struct options){.instance = wrong[i]}), "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(text, "--instance"));
        ck_assert_ptr_nonnull(strstr(text, wrong[i]));
    }
    ck_assert(!locate_socket("/a/.sock"));
    ck_assert_ptr_nonnull(strstr(text, "/a/.sock"));
    ck_assert(!locate_socket("/a/"));
    ck_assert(!locate_socket("/a/b c.sock"));
}
END_TEST

START_TEST(test_instance_takes_a_name_of_sixty_three_bytes)
{
    char name[65], path[80];
    memset(name, 'n', 64);
    name[64] = '\0';
    snprintf(path, sizeof(path), "/%s", name);

    ck_assert(!locate(&(struct options){.instance = name}));
    ck_assert(!locate_socket(path));
    name[63] = path[64] = '\0';
    ck_assert(locate(&(struct options){.instance = name}));
    ck_assert(locate_socket(path));
    ck_assert_str_eq(instance.name, name);
}
END_TEST

/* "/ddd...ddd/x.sock", so many bytes. */
static const char *path_of(size_t length)
{
    static char path[200];
    memset(path, 'd', length);
    path[0] = '/';
    memcpy(path + length - 7, "/x.sock", 8);
    return path;
}

START_TEST(test_instance_takes_a_socket_path_of_107_bytes)
{
    ck_assert(locate_socket(path_of(107)));
    ck_assert_uint_eq(strlen(instance.socket), 107);
    ck_assert_uint_eq(strlen(instance.directory), 104);
    ck_assert(!locate_socket(path_of(108)));
    ck_assert_ptr_nonnull(strstr(text, "108"));
    ck_assert_ptr_nonnull(strstr(text, "107"));
    ck_assert(!locate_socket(""));
}
END_TEST

START_TEST(test_instance_counts_the_runtime_directorys_bytes_too)
{
    char base[108];
    const struct options options = {.user = true};
    memset(base, 'r', sizeof(base));
    base[0] = '/';
    char *end = base + 107 - strlen("/fastalloc/default.sock");
    *end = '\0';

    setenv("XDG_RUNTIME_DIR", base, 1);
    ck_assert(locate(&options));
    ck_assert_uint_eq(strlen(instance.socket), 107);
    *end = 'r';
    end[1] = '\0';
    setenv("XDG_RUNTIME_DIR", base, 1);
    ck_assert(!locate(&options));
    ck_assert_ptr_nonnull(strstr(text, "108"));
}
END_TEST

START_TEST(test_instance_locate_touches_nothing)
{
    ck_assert(locate_socket(socket_path));
    ck_assert_int_eq(rmdir(folder), 0); /* it is empty */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
}
END_TEST

/* ---- The lock -------------------------------------------------------------------------------- */

static bool lock(void)
{
    ck_assert(locate_socket(socket_path));
    return instance_lock(&instance, text);
}

static void check_mode(const char *path, mode_t mode)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode, mode);
}

START_TEST(test_instance_lock_makes_private_places)
{
    umask(0);
    ck_assert_msg(lock(), "%s", text);
    check_mode(instance.directory, S_IFDIR | 0700);
    check_mode(instance.lock, S_IFREG | 0600);
    ck_assert_int_eq(fcntl(instance.lock_fd, F_GETFD), FD_CLOEXEC);
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_makes_the_sockets_folder)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/new/x.sock", folder);
    ck_assert(locate_socket(path));
    ck_assert_msg(instance_lock(&instance, text), "%s", text);
    check_mode(instance.base, S_IFDIR | 0700);
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_opens_the_systems_folder_whatever_the_umask)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/new/x.sock", folder);
    ck_assert(locate_socket(path));
    instance.shared = true; /* as /run/fastalloc */
    umask(0077);
    ck_assert_msg(instance_lock(&instance, text), "%s", text);
    check_mode(instance.base, S_IFDIR | 0755);
    check_mode(instance.directory, S_IFDIR | 0700);
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_says_the_pid)
{
    char pid[16] = "", expected[16];
    ck_assert(lock());
    snprintf(expected, sizeof(expected), "%d\n", getpid());
    ck_assert_int_gt(pread(instance.lock_fd, pid, sizeof(pid) - 1, 0), 0);
    ck_assert_str_eq(pid, expected);
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_is_had_by_one_alone)
{
    char expected[32];
    ck_assert(lock());
    struct instance first = instance;

    ck_assert(!lock());
    snprintf(expected, sizeof(expected), "as pid %d ", getpid());
    ck_assert_msg(strstr(text, expected), "%s", text);
    ck_assert_int_eq(instance.lock_fd, -1);
    instance_unlock(&first, true);
    ck_assert(lock());
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_ends_with_the_process)
{
    pid_t child = fork();
    if (child == 0)
        _exit(lock() ? 0 : 1);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(lock());
    instance_unlock(&instance, true);
}
END_TEST

#define RACERS 4
#define RACES 300

/* In a process of its own: has the lock again and again, and makes a file that only one can make. */
static _Noreturn void race(void)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/held", folder);
    for (int i = 0; i < RACES; i++) {
        if (!locate_socket(socket_path))
            _exit(1);
        if (!instance_lock(&instance, text)) {
            if (!strstr(text, "running already"))
                _exit(2);
            continue;
        }
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            _exit(3);
        close(fd);
        unlink(path);
        instance_unlock(&instance, true);
    }
    _exit(0);
}

START_TEST(test_instance_lock_is_had_by_one_alone_while_others_remove_it)
{
    pid_t racers[RACERS];
    for (int i = 0; i < RACERS; i++)
        if ((racers[i] = fork()) == 0)
            race();
    for (int i = 0; i < RACERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(racers[i], &status, 0), racers[i]);
        ck_assert_msg(status == 0, "racer %d ended with %#x", i, (unsigned)status);
    }
    ck_assert(lock());
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_of_what_is_left_makes_nothing)
{
    struct stat status;
    ck_assert(locate_socket(socket_path));
    ck_assert(!instance_lock_remains(&instance, text));
    ck_assert_ptr_nonnull(strstr(text, "there is nothing of an instance of"));
    ck_assert_int_lt(stat(instance.directory, &status), 0);

    ck_assert_int_eq(mkdir(instance.directory, 0700), 0);
    ck_assert(!instance_lock_remains(&instance, text));
    ck_assert_ptr_nonnull(strstr(text, "there is nothing of an instance of"));
    ck_assert_int_lt(stat(instance.lock, &status), 0);
    ck_assert_int_eq(chmod(instance.directory, 0755), 0);
    ck_assert(!instance_lock_remains(&instance, text));
    ck_assert_ptr_nonnull(strstr(text, "must be a folder of uid"));
    ck_assert_int_eq(chmod(instance.directory, 0700), 0);
}
END_TEST

START_TEST(test_instance_lock_of_what_is_left_is_had_by_one_alone)
{
    ck_assert(locate_socket(socket_path));
    ck_assert(instance_lock(&instance, text));
    struct instance other = instance;
    ck_assert(!instance_lock_remains(&other, text));
    ck_assert_ptr_nonnull(strstr(text, "is running already, as pid"));
    instance_unlock(&instance, false);

    ck_assert(instance_lock_remains(&instance, text));
    ck_assert(!instance_lock(&other, text));
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_unlock_leaves_nothing_if_asked)
{
    ck_assert(lock());
    close(open(instance.registry, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    instance_unlock(&instance, true);
    ck_assert_int_eq(access(instance.directory, F_OK), -1);
    instance_unlock(&instance, true); /* no lock any more: nothing happens */
}
END_TEST

START_TEST(test_instance_unlock_keeps_the_registry_else)
{
    ck_assert(lock());
    close(open(instance.registry, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    instance_unlock(&instance, false);
    ck_assert_int_eq(access(instance.registry, F_OK), 0);
    ck_assert(lock());
    instance_unlock(&instance, true);
}
END_TEST

START_TEST(test_instance_lock_refuses_a_folder_that_others_may_enter)
{
    static const mode_t modes[] = {0701, 0710, 0750, 0777, 01777};
    ck_assert(locate_socket(socket_path));
    ck_assert_int_eq(mkdir(instance.directory, 0700), 0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(chmod(instance.directory, modes[i]), 0);
        ck_assert_msg(!instance_lock(&instance, text), "%o", modes[i]);
        ck_assert_ptr_nonnull(strstr(text, instance.directory));
    }
    ck_assert_int_eq(access(instance.lock, F_OK), -1);
}
END_TEST

START_TEST(test_instance_lock_refuses_another_users_folder)
{
    if (geteuid() != 0)
        return; /* only root can give a folder away */
    ck_assert(locate_socket(socket_path));
    ck_assert_int_eq(mkdir(instance.directory, 0700), 0);
    ck_assert_int_eq(chown(instance.directory, 12345, (gid_t)-1), 0);
    ck_assert(!instance_lock(&instance, text));
    ck_assert_ptr_nonnull(strstr(text, "uid 0"));
}
END_TEST

START_TEST(test_instance_lock_refuses_a_planted_link_or_file)
{
    char target[80];
    snprintf(target, sizeof(target), "%s/target", folder);
    ck_assert_int_eq(mkdir(target, 0700), 0);
    ck_assert(locate_socket(socket_path));
    ck_assert_int_eq(symlink(target, instance.directory), 0);
    ck_assert(!instance_lock(&instance, text));
    ck_assert_int_eq(unlink(instance.directory), 0);

    close(open(instance.directory, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert(!instance_lock(&instance, text));
    ck_assert_int_eq(rmdir(target), 0); /* still empty */
}
END_TEST

START_TEST(test_instance_lock_follows_no_link)
{
    char target[80];
    snprintf(target, sizeof(target), "%s/target", folder);
    ck_assert(locate_socket(socket_path));
    ck_assert_int_eq(mkdir(instance.directory, 0700), 0);
    ck_assert_int_eq(symlink(target, instance.lock), 0);
    ck_assert(!instance_lock(&instance, text));
    ck_assert_int_eq(access(target, F_OK), -1);
}
END_TEST

START_TEST(test_instance_lock_says_which_folder_cannot_be_made)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/a/b/x.sock", folder);
    ck_assert(locate_socket(path));
    ck_assert(!instance_lock(&instance, text));
    ck_assert_ptr_nonnull(strstr(text, instance.base));
    ck_assert_ptr_nonnull(strstr(text, "No such file"));
}
END_TEST

SUITE_MAIN_WITH(
    "instance", set_up, tear_down, test_instance_is_the_systems_default_one,
    test_instance_has_the_name_that_was_chosen, test_instance_of_a_user_is_in_the_runtime_directory,
    test_instance_of_a_user_needs_an_absolute_runtime_directory,
    test_instance_is_called_after_its_socket,
    test_instance_name_wins_over_the_sockets_but_the_folder_follows_the_socket,
    test_instance_refuses_what_cannot_be_a_name, test_instance_takes_a_name_of_sixty_three_bytes,
    test_instance_takes_a_socket_path_of_107_bytes,
    test_instance_counts_the_runtime_directorys_bytes_too, test_instance_locate_touches_nothing,
    test_instance_lock_makes_private_places, test_instance_lock_makes_the_sockets_folder,
    test_instance_lock_opens_the_systems_folder_whatever_the_umask, test_instance_lock_says_the_pid,
    test_instance_lock_is_had_by_one_alone, test_instance_lock_ends_with_the_process,
    test_instance_lock_is_had_by_one_alone_while_others_remove_it,
    test_instance_lock_of_what_is_left_makes_nothing,
    test_instance_lock_of_what_is_left_is_had_by_one_alone,
    test_instance_unlock_leaves_nothing_if_asked, test_instance_unlock_keeps_the_registry_else,
    test_instance_lock_refuses_a_folder_that_others_may_enter,
    test_instance_lock_refuses_another_users_folder,
    test_instance_lock_refuses_a_planted_link_or_file, test_instance_lock_follows_no_link,
    test_instance_lock_says_which_folder_cannot_be_made)
