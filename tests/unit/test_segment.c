/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* fallocate */
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define PAGE UINT64_C(4096)
#define SMALL_SHM (UINT64_C(1) << 20)

/* ---- A /dev/shm of the test's own ------------------------------------------------------------ */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Makes this user root of a user namespace, which may mount. */
static bool become_root(void)
{
    char users[64], groups[64];

    snprintf(users, sizeof(users), "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/gid_map", groups);
}

/* Hides the machine's /dev/shm from this process behind a tmpfs of 1 MiB. */
static bool hide_shm(void)
{
    return (unshare(CLONE_NEWNS) == 0 || become_root()) &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/dev/shm", "tmpfs", 0, "size=1M,mode=1777") == 0;
}

static char name[SEGMENT_NAME_SIZE];
static char path[SEGMENT_NAME_SIZE + 16];

/* Each test has a name that no other has, whatever /dev/shm it sees. */
static void choose_name(void)
{
    snprintf(name, sizeof(name), "/fastalloc-test.%d", (int)getpid());
    snprintf(path, sizeof(path), "/dev/shm%s", name);
}

static void remove_name(void)
{
    unlink(path);
    rmdir(path);
}

static int create(size_t size)
{
    int fd = segment_create(name, size);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static bool name_exists(void)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

START_TEST(test_segment_name_is_the_key_and_the_part)
{
    static const uint8_t key[SEGMENT_KEY_SIZE] = {0x00, 0x01, 0x0f, 0x10, 0xab, 0xff};
    char text[SEGMENT_NAME_SIZE];

    segment_name(key, "witness", text);
    ck_assert_str_eq(text, "/fastalloc.00010f10abff00000000000000000000.witness");
}
END_TEST

/* ---- Creating and opening -------------------------------------------------------------------- */

START_TEST(test_segment_create_reserves_all_its_memory)
{
    struct stat status;
    int fd = create(10 * PAGE);

    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_size, 10 * PAGE);
    ck_assert_int_eq(status.st_blocks * 512, 10 * PAGE);
    close(fd);
}
END_TEST

START_TEST(test_segment_create_gives_mode_0600_under_any_umask)
{
    struct stat status;

    umask(0777);
    int fd = create(PAGE);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_mode, S_IFREG | 0600);
    close(fd);
}
END_TEST

START_TEST(test_segment_descriptors_are_closed_by_exec)
{
    int fd = create(PAGE);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    int again = segment_open(name, false);
    ck_assert_int_eq(fcntl(again, F_GETFD), FD_CLOEXEC);
    close(fd);
    close(again);
}
END_TEST

START_TEST(test_segment_create_refuses_a_taken_name)
{
    int fd = create(PAGE);

    ck_assert_int_eq(segment_create(name, PAGE), -EEXIST);
    ck_assert(name_exists());
    close(fd);
}
END_TEST

START_TEST(test_segment_create_refuses_a_planted_link)
{
    ck_assert_int_eq(symlink("/dev/shm/fastalloc-nowhere", path), 0);
    ck_assert_int_eq(segment_create(name, PAGE), -EEXIST);
}
END_TEST

START_TEST(test_segment_create_refuses_no_bytes_and_leaves_nothing)
{
    ck_assert_int_eq(segment_create(name, 0), -EINVAL);
    ck_assert(!name_exists());
}
END_TEST

START_TEST(test_segment_open_finds_the_same_bytes)
{
    int fd = create(PAGE);
    ck_assert_int_eq(pwrite(fd, "here", 4, 100), 4);

    char bytes[4];
    int again = segment_open(name, false);
    ck_assert_int_ge(again, 0);
    ck_assert_int_eq(pread(again, bytes, 4, 100), 4);
    ck_assert_mem_eq(bytes, "here", 4);
    close(fd);
    close(again);
}
END_TEST

START_TEST(test_segment_opened_for_reading_cannot_be_changed)
{
    close(create(PAGE));
    int fd = segment_open(name, false);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_ptr_eq(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
    fd = segment_open(name, true);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
    close(fd);
}
END_TEST

START_TEST(test_segment_open_refuses_a_missing_name)
{
    ck_assert_int_eq(segment_open(name, false), -ENOENT);
    ck_assert_int_eq(segment_open(name, true), -ENOENT);
}
END_TEST

START_TEST(test_segment_open_refuses_another_mode)
{
    static const mode_t modes[] = {0644, 0660, 0601, 0700, 0400, 04600, 01600};
    close(create(PAGE));

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        ck_assert_int_lt(segment_open(name, false), 0);
    }
    ck_assert_int_eq(chmod(path, 0600), 0);
    int fd = segment_open(name, false);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(test_segment_open_refuses_another_owner)
{
    if (geteuid() != 0)
        return; /* only root can give a file away */
    close(create(PAGE));
    ck_assert_int_eq(chown(path, 12345, (gid_t)-1), 0);
    ck_assert_int_eq(segment_open(name, false), -EPERM);
}
END_TEST

START_TEST(test_segment_open_refuses_a_planted_fifo_at_once)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(segment_open(name, false), -EPERM);
    ck_assert_int_eq(segment_open(name, true), -EPERM);
    ck_assert_int_eq(segment_is_in_use(name), -EPERM);
}
END_TEST

START_TEST(test_segment_open_refuses_a_planted_link)
{
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    ck_assert_int_eq(segment_open(name, false), -ELOOP);
}
END_TEST

START_TEST(test_segment_open_refuses_a_planted_directory)
{
    ck_assert_int_eq(mkdir(path, 0600), 0);
    ck_assert_int_lt(segment_open(name, false), 0);
}
END_TEST

START_TEST(test_segment_lives_on_without_its_name)
{
    int fd = create(PAGE);

    ck_assert_int_eq(segment_unlink(name), 0);
    ck_assert_int_eq(segment_unlink(name), -ENOENT);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
    close(fd);
}
END_TEST

/* ---- Making it longer or shorter ------------------------------------------------------------- */

static off_t size_of_object(void)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_blocks * 512, status.st_size);
    return status.st_size;
}

START_TEST(test_segment_resize_keeps_the_bytes_and_reserves_more)
{
    char bytes[2] = "??";
    int fd = create(PAGE);
    ck_assert_int_eq(pwrite(fd, "x", 1, PAGE - 1), 1);
    ck_assert_int_eq(segment_resize(name, PAGE, 3 * PAGE), 0);
    ck_assert_int_eq(size_of_object(), 3 * PAGE);
    ck_assert_int_eq(pread(fd, bytes, 2, PAGE - 1), 2);
    ck_assert_mem_eq(bytes, "x", 2);
    close(fd);
}
END_TEST

START_TEST(test_segment_resize_reaches_a_mapping_that_was_made_longer)
{
    int fd = create(PAGE);
    char *mapping = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
    close(fd);
    mapping[0] = 'x';
    ck_assert_int_eq(segment_resize(name, PAGE, 2 * PAGE), 0);
    ck_assert_int_eq(mapping[0], 'x');
    ck_assert_int_eq(mapping[2 * PAGE - 1], 0);
    munmap(mapping, 2 * PAGE);
}
END_TEST

/* Instead of libc's: the most that was ever reserved at once. */
static off_t reserved_most;

int posix_fallocate(int fd, off_t offset, off_t len)
{
    if (len > reserved_most)
        reserved_most = len;
    return syscall(SYS_fallocate, fd, 0, offset, len) < 0 ? errno : 0;
}

/* Else whoever writes to the object meanwhile would wait for all of it. */
START_TEST(test_segment_resize_reserves_in_pieces)
{
    close(create(PAGE));
    ck_assert_int_eq(segment_resize(name, PAGE, 3 * SEGMENT_RESERVED_AT_ONCE), 0);
    ck_assert_int_eq(size_of_object(), 3 * SEGMENT_RESERVED_AT_ONCE);
    ck_assert_int_eq(reserved_most, SEGMENT_RESERVED_AT_ONCE);
}
END_TEST

/* What was given back stays given back: memory is taken for what is new alone. */
START_TEST(test_segment_resize_reserves_only_what_is_new)
{
    struct stat status;
    int fd = create(4 * PAGE);
    ck_assert_int_eq(
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, (off_t)(2 * PAGE)), 0);
    ck_assert_int_eq(segment_resize(name, 4 * PAGE, 6 * PAGE), 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_size, 6 * PAGE);
    ck_assert_int_eq(status.st_blocks * 512, 4 * PAGE);
    close(fd);
}
END_TEST

START_TEST(test_segment_resize_shortens_and_what_comes_again_is_zero)
{
    char bytes[2] = "??";
    int fd = create(3 * PAGE);
    ck_assert_int_eq(pwrite(fd, "x", 1, PAGE - 1), 1);
    ck_assert_int_eq(pwrite(fd, "y", 1, PAGE), 1);
    ck_assert_int_eq(segment_resize(name, 3 * PAGE, PAGE), 0);
    ck_assert_int_eq(size_of_object(), PAGE);
    ck_assert_int_eq(segment_resize(name, PAGE, 2 * PAGE), 0);
    ck_assert_int_eq(size_of_object(), 2 * PAGE);
    ck_assert_int_eq(pread(fd, bytes, 2, PAGE - 1), 2);
    ck_assert_mem_eq(bytes, "x", 2);
    close(fd);
}
END_TEST

START_TEST(test_segment_resize_to_the_size_that_it_has_changes_nothing)
{
    close(create(2 * PAGE));
    ck_assert_int_eq(segment_resize(name, 2 * PAGE, 2 * PAGE), 0);
    ck_assert_int_eq(size_of_object(), 2 * PAGE);
}
END_TEST

START_TEST(test_segment_resize_refuses_a_missing_name_and_makes_none)
{
    ck_assert_int_eq(segment_resize(name, PAGE, 2 * PAGE), -ENOENT);
    ck_assert_int_eq(segment_resize(name, 2 * PAGE, PAGE), -ENOENT);
    ck_assert(!name_exists());
}
END_TEST

START_TEST(test_segment_resize_refuses_an_object_that_is_not_ours)
{
    close(create(PAGE));
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(segment_resize(name, PAGE, 2 * PAGE), -EPERM);
    ck_assert_int_eq(size_of_object(), PAGE);
}
END_TEST

/* ---- A full /dev/shm ------------------------------------------------------------------------- */

START_TEST(test_segment_create_in_a_full_shm_is_enospc_and_leaves_nothing)
{
    ck_assert(hide_shm());
    ck_assert_int_eq(segment_create(name, SMALL_SHM + PAGE), -ENOSPC);
    ck_assert(!name_exists());
    ck_assert_uint_eq(segment_space(), SMALL_SHM);
}
END_TEST

START_TEST(test_segment_create_takes_the_last_byte)
{
    ck_assert(hide_shm());
    int fd = create(SMALL_SHM);
    ck_assert_uint_eq(segment_space(), 0);
    close(fd);
    ck_assert_int_eq(segment_unlink(name), 0);
    ck_assert_uint_eq(segment_space(), SMALL_SHM);
}
END_TEST

START_TEST(test_segment_resize_takes_the_last_byte_and_not_one_more)
{
    ck_assert(hide_shm());
    close(create(PAGE));
    ck_assert_int_eq(segment_resize(name, PAGE, SMALL_SHM + 1), -ENOSPC);
    ck_assert_int_eq(size_of_object(), PAGE);
    ck_assert_uint_eq(segment_space(), SMALL_SHM - PAGE);
    ck_assert_int_eq(segment_resize(name, PAGE, SMALL_SHM), 0);
    ck_assert_int_eq(size_of_object(), SMALL_SHM);
    ck_assert_uint_eq(segment_space(), 0);
}
END_TEST

START_TEST(test_segment_memory_comes_back_with_the_last_mapping)
{
    ck_assert(hide_shm());
    int fd = create(SMALL_SHM / 2);
    void *mapping = mmap(NULL, SMALL_SHM / 2, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
    close(fd);
    ck_assert_int_eq(segment_unlink(name), 0);
    ck_assert_uint_eq(segment_space(), SMALL_SHM / 2);
    munmap(mapping, SMALL_SHM / 2);
    ck_assert_uint_eq(segment_space(), SMALL_SHM);
}
END_TEST

/* ---- In use? --------------------------------------------------------------------------------- */

/* Maps the segment as a client does its witness, and closes the descriptor. */
static void *map_witness(void)
{
    int fd = segment_open(name, false);
    ck_assert_int_ge(fd, 0);
    void *mapping = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
    ck_assert_int_eq(madvise(mapping, PAGE, MADV_DONTFORK), 0);
    close(fd);
    return mapping;
}

/* Tells the parent that all is prepared, then waits to be killed. */
static _Noreturn void report_and_wait(int pipe_end)
{
    if (write(pipe_end, "x", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void await_report(int pipe_end)
{
    char byte;
    ck_assert_int_eq(read(pipe_end, &byte, 1), 1);
}

static void kill_and_reap(pid_t child)
{
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(test_segment_is_in_use_while_open)
{
    int fd = create(PAGE);

    ck_assert_int_eq(segment_is_in_use(name), 1);
    close(fd);
    ck_assert_int_eq(segment_is_in_use(name), 0);
}
END_TEST

START_TEST(test_segment_is_in_use_while_mapped)
{
    close(create(PAGE));
    void *mapping = map_witness();

    ck_assert_int_eq(segment_is_in_use(name), 1);
    munmap(mapping, PAGE);
    ck_assert_int_eq(segment_is_in_use(name), 0);
}
END_TEST

START_TEST(test_segment_is_in_use_is_no_change_by_itself)
{
    close(create(PAGE));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(segment_is_in_use(name), 0);

    /* The lease was given back: opening for writing doesn't wait for it. */
    int fd = segment_open(name, true);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(test_segment_is_in_use_until_the_process_is_killed)
{
    int ends[2];
    close(create(PAGE));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);

    pid_t child = fork();
    if (child == 0) {
        map_witness();
        report_and_wait(ends[1]);
    }
    await_report(ends[0]);
    ck_assert_int_eq(segment_is_in_use(name), 1);
    kill_and_reap(child);
    ck_assert_int_eq(segment_is_in_use(name), 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_segment_is_not_kept_in_use_by_a_forked_child)
{
    int ends[2];
    close(create(PAGE));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);

    void *mapping = map_witness();
    pid_t child = fork();
    if (child == 0)
        report_and_wait(ends[1]);
    await_report(ends[0]);
    ck_assert_int_eq(segment_is_in_use(name), 1);
    munmap(mapping, PAGE); /* the parent's mappings are gone, the child lives */
    ck_assert_int_eq(segment_is_in_use(name), 0);
    kill_and_reap(child);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_segment_is_in_use_no_longer_after_exec)
{
    int report[2], idle[2];
    close(create(PAGE));
    ck_assert_int_eq(pipe2(report, O_CLOEXEC) | pipe2(idle, O_CLOEXEC), 0);

    pid_t child = fork();
    if (child == 0) {
        map_witness();
        if (dup2(report[1], STDOUT_FILENO) >= 0 && dup2(idle[0], STDIN_FILENO) >= 0)
            execl("/bin/sh", "sh", "-c", "printf x; read line", NULL);
        _exit(1);
    }
    await_report(report[0]);
    ck_assert_int_eq(segment_is_in_use(name), 0);
    kill_and_reap(child);
    for (int i = 0; i < 2; i++) {
        close(report[i]);
        close(idle[i]);
    }
}
END_TEST

START_TEST(test_segment_leases_work_here)
{
    ck_assert_int_eq(segment_test_leases(), 0);
}
END_TEST

START_TEST(test_segment_is_in_use_says_what_is_missing)
{
    ck_assert_int_eq(segment_is_in_use(name), -ENOENT);
}
END_TEST

/* ---- Names ----------------------------------------------------------------------------------- */

/* Those that begin with our key. */
struct seen {
    uint8_t key[SEGMENT_KEY_SIZE];
    unsigned count;
    char part[SEGMENT_NAME_SIZE];
};

static int see(void *context, const char *whole, const uint8_t key[SEGMENT_KEY_SIZE],
               const char *part)
{
    struct seen *seen = context;
    char again[SEGMENT_NAME_SIZE];
    if (memcmp(key, seen->key, SEGMENT_KEY_SIZE) != 0)
        return 0;
    segment_name(key, part, again);
    ck_assert_str_eq(whole, again + 1);
    snprintf(seen->part, sizeof(seen->part), "%s", part);
    return (int)++seen->count;
}

static void make_empty(const char *named, bool exists)
{
    int fd = exists ? shm_open(named, O_CREAT | O_EXCL | O_RDWR, 0600) : shm_unlink(named);
    ck_assert_int_ge(fd, 0);
    if (exists)
        close(fd);
}

START_TEST(test_segment_each_reads_names_as_they_were_made)
{
    struct seen seen = {.key = {0, 1, 0x9a, 0xff, [15] = 0x10}};
    char made[SEGMENT_NAME_SIZE];
    pid_t own = getpid(); /* others may run this too */
    memcpy(seen.key + 4, &own, sizeof(own));
    segment_name(seen.key, "data", made);
    ck_assert_int_eq(segment_each(see, &seen), 0);
    make_empty(made, true);
    ck_assert_int_eq(segment_each(see, &seen), 1);
    ck_assert_str_eq(seen.part, "data");
    make_empty(made, false);
    for (size_t length = strlen("/fastalloc."); length < strlen(made) - strlen(".data"); length++) {
        char cut[SEGMENT_NAME_SIZE];
        snprintf(cut, sizeof(cut), "%.*s", (int)length, made);
        make_empty(cut, true);
        ck_assert_int_eq(segment_each(see, &seen), 0);
        make_empty(cut, false);
    }
    made[strlen("/fastalloc.") + 5] = 'F';
    make_empty(made, true);
    ck_assert_int_eq(segment_each(see, &seen), 0);
    make_empty(made, false);
}
END_TEST

SUITE_MAIN_WITH(
    "segment", choose_name, remove_name, test_segment_name_is_the_key_and_the_part,
    test_segment_create_reserves_all_its_memory,
    test_segment_create_gives_mode_0600_under_any_umask,
    test_segment_descriptors_are_closed_by_exec, test_segment_create_refuses_a_taken_name,
    test_segment_create_refuses_a_planted_link,
    test_segment_create_refuses_no_bytes_and_leaves_nothing, test_segment_open_finds_the_same_bytes,
    test_segment_opened_for_reading_cannot_be_changed, test_segment_open_refuses_a_missing_name,
    test_segment_open_refuses_another_mode, test_segment_open_refuses_another_owner,
    test_segment_open_refuses_a_planted_fifo_at_once, test_segment_open_refuses_a_planted_link,
    test_segment_open_refuses_a_planted_directory, test_segment_lives_on_without_its_name,
    test_segment_resize_keeps_the_bytes_and_reserves_more,
    test_segment_resize_reaches_a_mapping_that_was_made_longer,
    test_segment_resize_reserves_in_pieces, test_segment_resize_reserves_only_what_is_new,
    test_segment_resize_shortens_and_what_comes_again_is_zero,
    test_segment_resize_to_the_size_that_it_has_changes_nothing,
    test_segment_resize_refuses_a_missing_name_and_makes_none,
    test_segment_resize_refuses_an_object_that_is_not_ours,
    test_segment_create_in_a_full_shm_is_enospc_and_leaves_nothing,
    test_segment_create_takes_the_last_byte,
    test_segment_resize_takes_the_last_byte_and_not_one_more,
    test_segment_memory_comes_back_with_the_last_mapping, test_segment_is_in_use_while_open,
    test_segment_is_in_use_while_mapped, test_segment_is_in_use_is_no_change_by_itself,
    test_segment_is_in_use_until_the_process_is_killed,
    test_segment_is_not_kept_in_use_by_a_forked_child, test_segment_is_in_use_no_longer_after_exec,
    test_segment_leases_work_here, test_segment_is_in_use_says_what_is_missing,
    test_segment_each_reads_names_as_they_were_made)
