/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* F_SETLEASE, prlimit */
/* How the daemon begins and ends: what it takes over, what it leaves, and what it says about it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <fastalloc/fastalloc.h>

#include "daemon/registry.h"
#include "shm/layout.h"
#include "tests/lib/bare.h"
#include "tests/lib/child.h"
#include "tests/lib/daemon.h"
#include "tests/lib/private_shm.h"
#include "tests/lib/program.h"
#include "tests/unit/suite.h"

#define SOON 10000         /* ms, for what must happen */
#define SESSION_OBJECTS 4u /* ctl, slots and data of its pool, and its witness */

static char folder[64];
static char socket_path[96], directory[96], registry_path[112];
static struct program daemon_program, other;

static void set_up(void)
{
    test_private_shm(16 << 20);
    strcpy(folder, "/tmp/fastalloc-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/x.sock", folder);
    snprintf(directory, sizeof(directory), "%s/x.d", folder);
    snprintf(registry_path, sizeof(registry_path), "%s/registry", directory);
}

/* Nothing may be left of the daemon, wherever it lived. */
static void tear_down(void)
{
    ck_assert_uint_eq(test_shm_files(), 0);
    ck_assert_msg(rmdir(folder) == 0, "%s isn't empty", folder);
}

#define DAEMON(...)                                                                                \
    (const char *const[])                                                                          \
    {                                                                                              \
        getenv("FASTALLOCD"), __VA_ARGS__, NULL                                                    \
    }

static void start(void)
{
    program_start(&daemon_program, DAEMON("--socket", socket_path));
    ck_assert_msg(program_says(&daemon_program, "serving", SOON), "%s", daemon_program.text);
}

static void stop(void)
{
    ck_assert_int_eq(program_end(&daemon_program, SIGTERM), 0);
}

/* It exits with this status and says this. */
static void refuses(int status, const char *what, const char *const arguments[])
{
    int actual = program_run(&other, arguments);
    ck_assert_msg(actual == status, "%d: %s", actual, other.text);
    ck_assert_msg(strstr(other.text, what), "'%s' isn't in: %s", what, other.text);
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static fastalloc_connection_t *connect_to(const char *path)
{
    fastalloc_connection_t *connection;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.socket = path;
    ck_assert_msg(fastalloc_connect(&options, &connection, &error) == 0, "%s", error.message);
    return connection;
}

/* In another process: maps a pool and holds a slot of it, until it is told to end. */
static void hold(int control, const void *path)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_pool_t *pool = child_open(path, "frames", &connection);
    child_require(fastalloc_allocate(pool, 0, &handle, NULL) == 0);
    memset(fastalloc_get(pool, handle), 0x77, 64);
    child_say(control, 'r');
    child_listen(control);
    const char *bytes =
        fastalloc_get(pool, handle); /* still mapped, whatever became of the daemon */
    child_require(!bytes || bytes[63] == 0x77);
    child_say(control, 'e');
}

static void start_holder(struct test_child *holder)
{
    fastalloc_connection_t *connection = connect_to(socket_path);
    fastalloc_close(test_daemon_pool(connection, "frames", 64, 4));
    fastalloc_disconnect(connection);
    test_child_start(holder, hold, socket_path);
    test_child_hear(holder, 'r');
}

static void end_holder(struct test_child *holder)
{
    test_child_tell(holder, 'x');
    test_child_hear(holder, 'e');
    ck_assert_int_eq(test_child_join(holder), 0);
}

/* ---- The usual end --------------------------------------------------------------------------- */

static void check_clean_end(int signal)
{
    start();
    fastalloc_connection_t *connection = connect_to(socket_path);
    fastalloc_close(test_daemon_pool(connection, "frames", 64, 4));
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);
    fastalloc_disconnect(connection);
    ck_assert_int_eq(program_end(&daemon_program, signal), 0);
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "nothing left behind"));
}

START_TEST(test_sigterm_leaves_nothing)
{
    check_clean_end(SIGTERM);
}
END_TEST

START_TEST(test_sigint_leaves_nothing)
{
    check_clean_end(SIGINT);
}
END_TEST

START_TEST(test_sigterm_ends_connections_that_map_nothing)
{
    struct bare bare;
    char byte;
    start();
    bare_connect(&bare, socket_path);
    bare_hello(&bare, false);
    stop();
    ck_assert_int_eq(recv(bare.fd, &byte, 1, 0), 0);
    bare_close(&bare);
}
END_TEST

START_TEST(test_two_signals_are_as_good_as_one)
{
    start();
    kill(daemon_program.pid, SIGTERM);
    kill(daemon_program.pid, SIGINT);
    stop();
}
END_TEST

/* Runs the command that the daemon's last words name, as a person would paste it. */
static void run_purge_command(void)
{
    static const char introduction[] = "to remove it: ";
    char program[512], path[4096], command[512];
    const char *said = strstr(daemon_program.text, introduction);
    ck_assert_msg(said, "%s", daemon_program.text);
    said += strlen(introduction);
    snprintf(command, sizeof(command), "%.*s", (int)strcspn(said, "\n"), said);
    snprintf(program, sizeof(program), "%s", getenv("FASTALLOCD"));
    snprintf(path, sizeof(path), "%s:%s", dirname(program), getenv("PATH"));
    setenv("PATH", path, 1);
    int status = program_run(&other, (const char *const[]){"/bin/sh", "-c", command, NULL});
    ck_assert_msg(status == 0, "%s: %s", command, other.text);
    ck_assert_ptr_nonnull(strstr(other.text, "pools=1 sessions=1"));
}

static void check_kept_and_purged(void)
{
    struct test_child holder;
    start();
    start_holder(&holder);
    stop();
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "pools=1 sessions=1"));
    ck_assert(!exists(socket_path));
    end_holder(&holder);
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);
    run_purge_command();
    ck_assert_uint_eq(test_shm_files(), 0);
}

START_TEST(test_sigterm_keeps_what_is_mapped_and_says_how_to_remove_it)
{
    check_kept_and_purged();
}
END_TEST

START_TEST(test_purge_command_is_right_for_an_odd_path)
{
    char odd[80];
    snprintf(odd, sizeof(odd), "%s/it's a $folder", folder);
    snprintf(socket_path, sizeof(socket_path), "%s/x.sock", odd);
    check_kept_and_purged();
    ck_assert_int_eq(rmdir(odd), 0);
}
END_TEST

START_TEST(test_purge_takes_nothing_from_who_still_maps)
{
    struct test_child holder;
    start();
    start_holder(&holder);
    stop();
    ck_assert_int_eq(program_run(&other, DAEMON("--socket", socket_path, "--purge")), 0);
    ck_assert_uint_eq(test_shm_files(), 0);
    end_holder(&holder); /* it looks at its object once more */
}
END_TEST

/* ---- After a kill ---------------------------------------------------------------------------- */

START_TEST(test_start_after_a_kill_goes_on_with_what_was_left)
{
    struct test_child holder;
    start();
    start_holder(&holder);
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);
    end_holder(&holder);

    start();
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS - 1);
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "pools=1 sessions=0 ended=1"));
    fastalloc_disconnect(connect_to(socket_path));
    stop();
}
END_TEST

START_TEST(test_start_after_a_kill_with_nothing_says_nothing)
{
    start();
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    start();
    ck_assert_ptr_null(strstr(daemon_program.text, "removed"));
    stop();
}
END_TEST

/* The registry of a daemon that was killed, with one field changed. */
static void leave_registry(size_t offset, uint32_t value)
{
    struct test_child holder;
    start();
    start_holder(&holder);
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    end_holder(&holder);
    int fd = open(registry_path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
    close(fd);
}

static void read_registry(struct registry_file *file)
{
    int fd = open(registry_path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, file, sizeof(*file)), sizeof(*file));
    close(fd);
}

START_TEST(test_registry_of_another_version_is_refused_and_untouched)
{
    static struct registry_file before, after;
    const size_t offset = offsetof(struct registry_file, version);
    uint32_t version = REGISTRY_VERSION;

    leave_registry(offset, REGISTRY_VERSION + 1);
    read_registry(&before);
    refuses(4, registry_path, DAEMON("--socket", socket_path));
    refuses(4, "no registry of this version", DAEMON("--socket", socket_path));
    refuses(4, "the same 16 digits", DAEMON("--socket", socket_path, "--purge"));
    read_registry(&after);
    ck_assert_mem_eq(&before, &after, sizeof(after));
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);

    int fd = open(registry_path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, &version, sizeof(version), (off_t)offset), sizeof(version));
    close(fd);
    start();
    stop();
}
END_TEST

/* Stores the layout version of the pool that a daemon left. */
static void set_layout_version(uint32_t version)
{
    static struct registry_file registry;
    char name[SEGMENT_NAME_SIZE];
    read_registry(&registry);
    segment_name(registry.pools[0].key, "ctl", name);
    int fd = segment_open(name, true);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &version, sizeof(version), offsetof(struct layout_ctl, version)),
                     sizeof(version));
    close(fd);
}

START_TEST(test_what_is_not_understood_is_kept_and_after_three_times_left_alone)
{
    const char *const *again = DAEMON("--socket", socket_path);
    leave_registry(offsetof(struct registry_file, failures), 0);
    set_layout_version(LAYOUT_VERSION + 1);
    refuses(1, "of layout version 5, this fastallocd reads 4", again);
    refuses(1, "all of it is kept", again);
    refuses(4, "fastallocd --check --instance x --socket", again);
    refuses(4, "failed 3 times", again);
    refuses(4, "of layout version 5", DAEMON("--socket", socket_path, "--retry"));
    ck_assert_uint_eq(test_shm_files(), SESSION_OBJECTS);
    ck_assert(!exists(socket_path));

    set_layout_version(LAYOUT_VERSION);
    refuses(4, "failed 4 times", again);
    program_start(&daemon_program, DAEMON("--socket", socket_path, "--retry"));
    ck_assert(program_says(&daemon_program, "serving", SOON));
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    start(); /* it succeeded: they count anew */
    stop();
}
END_TEST

START_TEST(test_what_is_not_understood_can_be_purged)
{
    leave_registry(offsetof(struct registry_file, failures), 3);
    set_layout_version(LAYOUT_VERSION + 1);
    ck_assert_int_eq(program_run(&other, DAEMON("--socket", socket_path, "--purge")), 0);
    ck_assert_ptr_nonnull(strstr(other.text, "purged instance=x pools=1 sessions=1"));
    ck_assert_uint_eq(test_shm_files(), 0);
    start();
    stop();
}
END_TEST

/* As where the folder is on a disk: the registry is still there, and shared memory is empty. */
START_TEST(test_start_after_a_reboot_begins_anew)
{
    leave_registry(offsetof(struct registry_file, boot), 0x12345678);
    test_private_shm(16 << 20);
    refuses(0, "the machine was started since", DAEMON("--socket", socket_path, "--check"));
    start();
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "began anew, since the machine was started"));
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    start();
    ck_assert_ptr_null(strstr(daemon_program.text, "began anew"));
    stop();
}
END_TEST

START_TEST(test_purge_refuses_while_a_daemon_runs)
{
    start();
    refuses(1, "running already", DAEMON("--socket", socket_path, "--purge"));
    stop();
}
END_TEST

START_TEST(test_start_takes_over_a_socket_that_nobody_listens_at)
{
    start();
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    ck_assert(exists(socket_path));
    start();
    fastalloc_disconnect(connect_to(socket_path));
    stop();
}
END_TEST

/* It accepts again by itself, and neither spins meanwhile nor says more than once that it can't. */
static void want_descriptors(bool with_client)
{
    struct rlimit limit;
    struct bare bare;
    start();
    fastalloc_connection_t *connection = connect_to(socket_path); /* now it runs */
    if (!with_client)
        fastalloc_disconnect(connection);
    ck_assert_int_eq(prlimit(daemon_program.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    const struct rlimit none = {3, limit.rlim_max};
    ck_assert_int_eq(prlimit(daemon_program.pid, RLIMIT_NOFILE, &none, NULL), 0);
    bare_connect(&bare, socket_path);
    ck_assert(program_says(&daemon_program, "no more connections", SOON));
    ck_assert_int_eq(prlimit(daemon_program.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    bare_hello(&bare, false);
    bare_close(&bare);
    if (with_client)
        fastalloc_disconnect(connection);
    stop();
    const char *first = strstr(daemon_program.text, "no more connections");
    ck_assert_ptr_null(strstr(first + 1, "no more connections"));
}

START_TEST(test_want_of_descriptors_passes)
{
    want_descriptors(false);
}
END_TEST

START_TEST(test_want_of_descriptors_passes_while_a_client_stays)
{
    want_descriptors(true);
}
END_TEST

/* Each pool that overwrites what is freed keeps a descriptor, from the moment on when it is taken over. */
START_TEST(test_start_takes_over_more_pools_than_it_may_have_descriptors_at_first)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    static fastalloc_pool_t *pools[40];
    struct rlimit limit;
    options.create = true;
    options.object_size = 8;
    options.capacity = 1;
    options.zero = FASTALLOC_ZERO_ON_FREE;
    start();
    fastalloc_connection_t *connection = connect_to(socket_path);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "pool%d", i);
        ck_assert_int_eq(fastalloc_open(connection, name, &options, &pools[i], NULL), 0);
    }
    fastalloc_disconnect(connection);
    ck_assert_int_eq(program_end(&daemon_program, SIGKILL), -SIGKILL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit few = {32, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    start();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "pools=40"));
    stop();
}
END_TEST

/* As with leases-enable = 0, or on a file system that knows no leases. */
static void refuse_leases(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETLEASE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(test_start_where_leases_do_not_work_is_refused)
{
    refuse_leases();
    refuses(1, "leases", DAEMON("--socket", socket_path));
    ck_assert(!exists(directory));
}
END_TEST

START_TEST(test_start_without_standard_descriptors_gives_them_to_nobody)
{
    const char *const command[] = {
        "/bin/sh",   "-c", "exec \"$0\" --socket \"$1\" <&- >&- 2>&-", getenv("FASTALLOCD"),
        socket_path, NULL,
    };
    program_start(&daemon_program, command);
    fastalloc_disconnect(connect_to(socket_path)); /* it is up */
    for (int fd = 0; fd < 3; fd++) {
        char path[64], target[64] = "";
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", daemon_program.pid, fd);
        ck_assert_int_ge(readlink(path, target, sizeof(target) - 1), 0);
        ck_assert_str_eq(target, "/dev/null");
    }
    stop();
}
END_TEST

/* ---- Who else is there ----------------------------------------------------------------------- */

START_TEST(test_second_instance_says_which_process_is_the_first)
{
    char expected[64];
    start();
    snprintf(expected, sizeof(expected), "running already, as pid %d ", daemon_program.pid);
    refuses(1, expected, DAEMON("--socket", socket_path));
    refuses(1, expected, DAEMON("--socket", socket_path, "--exit-idle", "0"));
    fastalloc_disconnect(connect_to(socket_path));
    stop();
}
END_TEST

START_TEST(test_instances_of_other_names_live_side_by_side)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/y.sock", folder);
    start();
    program_start(&other, DAEMON("--socket", path));
    ck_assert(program_says(&other, "serving", SOON));
    fastalloc_disconnect(connect_to(path));
    ck_assert_int_eq(program_end(&other, SIGTERM), 0);
    fastalloc_disconnect(connect_to(socket_path));
    stop();
}
END_TEST

START_TEST(test_path_of_a_file_is_refused)
{
    close(open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    refuses(1, "no socket", DAEMON("--socket", socket_path));
    ck_assert_int_eq(unlink(socket_path), 0);
}
END_TEST

static int serve_there(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    if (type != SOCK_DGRAM)
        ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(test_path_of_another_server_is_refused)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        int fd = serve_there(types[i]);
        refuses(1, "another server", DAEMON("--socket", socket_path));
        ck_assert_int_eq(unlink(socket_path), 0); /* it is still there */
        close(fd);
    }
}
END_TEST

START_TEST(test_path_of_a_second_name_for_the_first_is_refused)
{
    start();
    refuses(1, "running already", DAEMON("--socket", socket_path, "--instance", "y"));
    fastalloc_disconnect(connect_to(socket_path));
    stop();
}
END_TEST

/* Somebody removed our socket, and another server took the path. */
START_TEST(test_end_leaves_another_servers_socket)
{
    start();
    ck_assert_int_eq(unlink(socket_path), 0);
    int fd = serve_there(SOCK_STREAM);
    stop();
    ck_assert_int_eq(unlink(socket_path), 0); /* it is still there */
    close(fd);
}
END_TEST

START_TEST(test_planted_folder_is_refused)
{
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ck_assert_int_eq(chmod(directory, 0755), 0);
    refuses(1, directory, DAEMON("--socket", socket_path));
    ck_assert_int_eq(chmod(directory, 0700), 0);
    if (chown(directory, 12345, (gid_t)-1) == 0) /* which only the machine's root can */
        refuses(1, directory, DAEMON("--socket", socket_path));
    ck_assert_int_eq(rmdir(directory), 0); /* still empty */
}
END_TEST

START_TEST(test_start_that_finds_no_room_for_its_registry_fails)
{
    ck_assert_int_eq(mount("none", folder, "tmpfs", 0, "size=64k"), 0);
    refuses(1, registry_path, DAEMON("--socket", socket_path));
    ck_assert(!exists(directory));
    ck_assert(!exists(socket_path));
    ck_assert_int_eq(umount(folder), 0);
}
END_TEST

/* ---- Where it lives -------------------------------------------------------------------------- */

START_TEST(test_socket_is_the_users_own)
{
    struct stat status;
    umask(0);
    start();
    ck_assert_int_eq(stat(socket_path, &status), 0);
    ck_assert_int_eq(status.st_mode, S_IFSOCK | 0600);
    stop();
}
END_TEST

START_TEST(test_user_instance_lives_in_the_runtime_directory)
{
    char path[128];
    setenv("XDG_RUNTIME_DIR", folder, 1);
    program_start(&daemon_program, DAEMON("--user"));
    ck_assert(program_says(&daemon_program, "serving", SOON));
    snprintf(path, sizeof(path), "%s/fastalloc/default.sock", folder);
    fastalloc_disconnect(connect_to(path));
    fastalloc_disconnect(connect_to(NULL)); /* the library looks there too */
    stop();
    snprintf(path, sizeof(path), "%s/fastalloc", folder);
    ck_assert_int_eq(rmdir(path), 0); /* empty */
}
END_TEST

START_TEST(test_user_instance_needs_the_runtime_directory)
{
    unsetenv("XDG_RUNTIME_DIR");
    refuses(1, "XDG_RUNTIME_DIR", DAEMON("--user"));
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    refuses(1, "XDG_RUNTIME_DIR", DAEMON("--user"));
}
END_TEST

START_TEST(test_socket_path_has_107_bytes_at_most)
{
    char deep[112], path[128];
    memset(deep, 'd', sizeof(deep));
    memcpy(deep, folder, strlen(folder));
    deep[strlen(folder)] = '/';
    deep[100] = '\0';
    snprintf(path, sizeof(path), "%s/xy.sock", deep);

    ck_assert_uint_eq(strlen(path), 108);
    refuses(1, "108", DAEMON("--socket", path));
    ck_assert(!exists(deep));
    snprintf(path, sizeof(path), "%s/x.sock", deep);
    program_start(&daemon_program, DAEMON("--socket", path));
    ck_assert(program_says(&daemon_program, "serving", SOON));
    fastalloc_disconnect(connect_to(path));
    stop();
    ck_assert_int_eq(rmdir(deep), 0);
}
END_TEST

/* ---- Idle ------------------------------------------------------------------------------------ */

START_TEST(test_exit_idle_zero_ends_at_once)
{
    ck_assert_int_eq(program_run(&other, DAEMON("--socket", socket_path, "--exit-idle", "0")), 0);
    ck_assert_ptr_nonnull(strstr(other.text, "reason=idle"));
}
END_TEST

/* It came before the daemon, on the socket that a service manager hands over. */
START_TEST(test_exit_idle_zero_serves_who_waits_in_the_backlog)
{
    char script[128];
    struct bare bare;
    int listener = serve_there(SOCK_STREAM);
    int inherited = dup(listener); /* without O_CLOEXEC */
    snprintf(script, sizeof(script),
             "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" --socket \"$1\" --exit-idle 0 3<&%d",
             inherited);
    bare_connect(&bare, socket_path);
    program_start(&daemon_program, (const char *const[]){"/bin/sh", "-c", script,
                                                         getenv("FASTALLOCD"), socket_path, NULL});
    bare_hello(&bare, false);
    bare_close(&bare);
    ck_assert_int_eq(program_wait(&daemon_program), 0);
    close(inherited);
    close(listener);
    ck_assert_int_eq(unlink(socket_path), 0);
}
END_TEST

START_TEST(test_exit_idle_waits_for_the_last_client)
{
    program_start(&daemon_program, DAEMON("--socket", socket_path, "--exit-idle", "1"));
    ck_assert(program_says(&daemon_program, "serving", SOON));
    fastalloc_connection_t *connection = connect_to(socket_path);
    fastalloc_disconnect(connect_to(socket_path));
    ck_assert(!program_says(&daemon_program, "ending", 1300));
    fastalloc_disconnect(connection);
    ck_assert_int_eq(program_wait(&daemon_program), 0);
    ck_assert_ptr_nonnull(strstr(daemon_program.text, "reason=idle"));
}
END_TEST

START_TEST(test_exit_idle_waits_for_a_session_that_is_only_mapped)
{
    struct test_child holder;
    program_start(&daemon_program, DAEMON("--socket", socket_path, "--exit-idle", "1"));
    ck_assert(program_says(&daemon_program, "serving", SOON));
    start_holder(&holder);
    ck_assert(!program_says(&daemon_program, "ending", 1300));
    end_holder(&holder);
    ck_assert_int_eq(program_wait(&daemon_program), 0);
}
END_TEST

/* ---- The command line ------------------------------------------------------------------------ */

START_TEST(test_help_and_version_exit_with_zero)
{
    refuses(0, "--exit-idle", DAEMON("--help"));
    refuses(0, "fastallocd " FASTALLOC_VERSION, DAEMON("--version"));
}
END_TEST

START_TEST(test_wrong_options_exit_with_two_and_name_the_option)
{
    refuses(2, "--nonsense", DAEMON("--nonsense"));
    refuses(2, "--exit-idle", DAEMON("--exit-idle", "soon"));
    refuses(2, "--exit-idle", DAEMON("--exit-idle", "31536001"));
    refuses(2, "--log-level", DAEMON("--log-level", "loud"));
    refuses(2, "--socket", DAEMON("--socket"));
    refuses(2, "'stray'", DAEMON("stray"));
    refuses(1, "--instance", DAEMON("--instance", "no/name"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_sigterm_leaves_nothing,
        test_sigint_leaves_nothing,
        test_sigterm_ends_connections_that_map_nothing,
        test_two_signals_are_as_good_as_one,
        test_sigterm_keeps_what_is_mapped_and_says_how_to_remove_it,
        test_purge_command_is_right_for_an_odd_path,
        test_purge_takes_nothing_from_who_still_maps,
        test_start_after_a_kill_goes_on_with_what_was_left,
        test_start_after_a_kill_with_nothing_says_nothing,
        test_registry_of_another_version_is_refused_and_untouched,
        test_what_is_not_understood_is_kept_and_after_three_times_left_alone,
        test_what_is_not_understood_can_be_purged,
        test_start_after_a_reboot_begins_anew,
        test_purge_refuses_while_a_daemon_runs,
        test_start_takes_over_a_socket_that_nobody_listens_at,
        test_want_of_descriptors_passes,
        test_start_takes_over_more_pools_than_it_may_have_descriptors_at_first,
        test_want_of_descriptors_passes_while_a_client_stays,
        test_start_where_leases_do_not_work_is_refused,
        test_start_without_standard_descriptors_gives_them_to_nobody,
        test_second_instance_says_which_process_is_the_first,
        test_instances_of_other_names_live_side_by_side,
        test_path_of_a_file_is_refused,
        test_path_of_another_server_is_refused,
        test_path_of_a_second_name_for_the_first_is_refused,
        test_end_leaves_another_servers_socket,
        test_planted_folder_is_refused,
        test_start_that_finds_no_room_for_its_registry_fails,
        test_socket_is_the_users_own,
        test_user_instance_lives_in_the_runtime_directory,
        test_user_instance_needs_the_runtime_directory,
        test_socket_path_has_107_bytes_at_most,
        test_exit_idle_zero_ends_at_once,
        test_exit_idle_zero_serves_who_waits_in_the_backlog,
        test_exit_idle_waits_for_the_last_client,
        test_exit_idle_waits_for_a_session_that_is_only_mapped,
        test_help_and_version_exit_with_zero,
        test_wrong_options_exit_with_two_and_name_the_option,
    };
    if (!test_daemon_is_built())
        return 77;
    return suite_run("daemon_lifecycle", set_up, tear_down, tests,
                     sizeof(tests) / sizeof(tests[0]));
}
