/* SPDX-License-Identifier: MIT */
/*
 * Each system call and each allocation that the library makes fails in its turn, alone or with all that
 * follow: every call does what it should or says by name why not, and leaves nothing, neither here nor with
 * the daemon.
 *
 * The test runs this program once more, by inject_calls and with inject_memory, to do one of the steps.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fastalloc/admin.h>

#define SUITE_TIMEOUT 120
#include "tests/inject/injection.h"
#include "tests/lib/child.h"
#include "tests/lib/program.h"
#include "tests/lib/stage.h"

#define CHOICES 4
#define LASTING 2
#define LIMIT (FASTALLOC_SECOND / 10) /* ns; that calls wait for a daemon that they can't reach */
#define PATIENCE 20                   /* seconds that one attempt may take */
#define DESCRIPTORS 256
#define NEW "new"

/* ---- The steps ------------------------------------------------------------------------------- */

struct client {
    const char *socket;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *plain;
    fastalloc_pool_t *leased;
    fastalloc_handle_t handles[4];
    fastalloc_error_t error;
};

static int open_new(struct client *client, enum fastalloc_kind kind, fastalloc_pool_t **pool)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = 5000;
    options.capacity = 8;
    options.capacity_max = 64;
    options.growth = "linear:8";
    options.template_bytes = "template";
    options.template_size = 8;
    options.kind = kind;
    options.prefault = kind == FASTALLOC_BROKERED;
    return fastalloc_open(client->connection, NEW, &options, pool, &client->error);
}

static int join(struct client *client)
{
    fastalloc_connect_options_t options = FASTALLOC_CONNECT_OPTIONS_INIT;
    options.reply_limit = options.reconnect_limit = LIMIT;
    options.socket = client->socket;
    return fastalloc_connect(&options, &client->connection, &client->error);
}

static void require_done(int result)
{
    child_require(result == 0);
}

static void prepare_nothing(struct client *client)
{
    (void)client;
}

static void prepare_connection(struct client *client)
{
    require_done(join(client));
}

static void prepare_brokered(struct client *client)
{
    prepare_connection(client);
    require_done(open_new(client, FASTALLOC_BROKERED, &client->plain));
}

static void prepare_leased(struct client *client)
{
    prepare_connection(client);
    require_done(open_new(client, FASTALLOC_LEASED, &client->leased));
}

static fastalloc_pool_t *pool_of(const struct client *client)
{
    return client->plain ? client->plain : client->leased;
}

static void allocate_some(struct client *client)
{
    require_done(fastalloc_allocate_many(pool_of(client), 4, 0, client->handles, NULL));
}

static void prepare_brokered_objects(struct client *client)
{
    prepare_brokered(client);
    allocate_some(client);
}

static void prepare_leased_objects(struct client *client)
{
    prepare_leased(client);
    allocate_some(client);
}

static int open_brokered(struct client *client)
{
    return open_new(client, FASTALLOC_BROKERED, &client->plain);
}

static int open_leased(struct client *client)
{
    return open_new(client, FASTALLOC_LEASED, &client->leased);
}

static int open_to_read(struct client *client)
{
    fastalloc_pool_t *pool;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    int result = fastalloc_open(client->connection, STAGE_POOL, &options, &pool, &client->error);
    if (result == 0)
        fastalloc_close(pool);
    return result;
}

static int allocate(struct client *client)
{
    fastalloc_handle_t handles[3];
    fastalloc_pool_t *pool = pool_of(client);
    int result = fastalloc_allocate_many(pool, 3, 0, handles, &client->error);
    for (int i = 0; i < 3 && result == 0; i++)
        child_require(memcmp(fastalloc_get(pool, handles[i]), "template", 8) == 0);
    return result;
}

/* The pool grows, and the library maps more of it. */
static int allocate_more(struct client *client)
{
    fastalloc_handle_t handles[20];
    fastalloc_pool_t *pool = pool_of(client);
    int result = fastalloc_allocate_many(pool, 20, FASTALLOC_SECOND / 10, handles, &client->error);
    for (int i = 0; i < 20 && result == 0; i++)
        child_require(fastalloc_get(pool, handles[i]) != NULL);
    return result;
}

static int allocate_in_vain(struct client *client)
{
    fastalloc_handle_t handles[100];
    return fastalloc_allocate_many(pool_of(client), 100, FASTALLOC_MILLISECOND, handles,
                                   &client->error);
}

static int free_all(struct client *client)
{
    return fastalloc_free_many(pool_of(client), client->handles, 4, &client->error);
}

static int hand_on(struct client *client)
{
    fastalloc_pool_t *pool = pool_of(client);
    int result = fastalloc_detach(pool, client->handles, 2, &client->error);
    if (result == 0)
        result = fastalloc_adopt(pool, client->handles, 2, &client->error);
    if (result == 0)
        result = fastalloc_retain(pool, client->handles, 2, &client->error);
    return result < 0 ? result : fastalloc_release(pool, client->handles, 2, &client->error);
}

static int visit_any(const fastalloc_pool_info_t *info, void *context)
{
    return 0;
}

static int administer(struct client *client)
{
    uint64_t bytes;
    fastalloc_stats_t stats = FASTALLOC_STATS_INIT;
    fastalloc_daemon_info_t info = FASTALLOC_DAEMON_INFO_INIT;
    fastalloc_connection_t *connection = client->connection;
    fastalloc_error_t *error = &client->error;
    int result = fastalloc_ping(connection, &info, error);
    if (result == 0)
        result = fastalloc_pool_grow(connection, NEW, 32, 0, error);
    if (result == 0)
        result = fastalloc_pool_trim(connection, NEW, &bytes, error);
    if (result == 0)
        result = fastalloc_pool_stats(connection, NEW, &stats, error);
    if (result == 0)
        result = fastalloc_pool_list(connection, visit_any, NULL, error);
    return result < 0 ? result : fastalloc_pool_destroy(connection, NEW, true, error);
}

static void *work(void *argument)
{
    static __thread fastalloc_error_t error;
    fastalloc_pool_t *pool = argument;
    fastalloc_handle_t handle;
    error.size = sizeof(error);
    for (int i = 0; i < 3; i++)
        if (fastalloc_allocate(pool, 0, &handle, &error) == 0)
            fastalloc_free(pool, handle, &error);
    return NULL;
}

/* Threads come and go; what they get or don't get is theirs. */
static int use_threads(struct client *client)
{
    pthread_t threads[2];
    int count = 0;
    while (count < 2 && pthread_create(&threads[count], NULL, work, pool_of(client)) == 0)
        count++;
    while (count > 0)
        pthread_join(threads[--count], NULL);
    return 0;
}

static const struct step {
    const char *name;
    void (*prepare)(struct client *client);
    int (*operate)(struct client *client);
    int refusal; /* that is right, too */
} steps[] = {
    {"connect", prepare_nothing, join, 0},
    {"open brokered", prepare_connection, open_brokered, 0},
    {"open leased", prepare_connection, open_leased, 0},
    {"open to read", prepare_connection, open_to_read, 0},
    {"administer", prepare_brokered, administer, 0},
    {"allocate brokered", prepare_brokered, allocate, 0},
    {"allocate leased", prepare_leased, allocate, 0},
    {"grow brokered", prepare_brokered, allocate_more, FASTALLOC_ERR_TIMEOUT},
    {"grow leased", prepare_leased, allocate_more, FASTALLOC_ERR_TIMEOUT},
    {"exhaust", prepare_brokered, allocate_in_vain, FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED},
    {"free brokered", prepare_brokered_objects, free_all, 0},
    {"hand on brokered", prepare_brokered_objects, hand_on, 0},
    {"hand on leased", prepare_leased_objects, hand_on, 0},
    {"threads", prepare_leased, use_threads, 0},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* ---- In the program -------------------------------------------------------------------------- */

static struct injection *injection;
static fastalloc_connection_t *admin;

static void begin_way(unsigned way, uint64_t number)
{
    injection->memory = way >= CHOICES + LASTING;
    injection->lasting =
        (way >= CHOICES && way < CHOICES + LASTING) || way == CHOICES + LASTING + 1;
    injection->choice = injection->memory ? 0 : way % CHOICES;
    injection->at = number;
    injection->calls = injection->failed = 0;
    injection->number = injection->error = 0;
}

static void require_named(const struct client *client, const struct step *step, int result)
{
    bool named = strcmp(fastalloc_result_name(result), "unknown") != 0 &&
                 client->error.code == result && client->error.message[0] != '\0';
    if (result == 0 || (named && (injection->failed > 0 || result == step->refusal)))
        return;
    fprintf(stderr, "%s gives %d (%s): %s\n", step->name, result, fastalloc_result_name(result),
            client->error.message);
    _exit(1);
}

static void leave(struct client *client)
{
    fastalloc_close(client->plain);
    fastalloc_close(client->leased);
    fastalloc_disconnect(client->connection);
}

static int count_one(const fastalloc_session_info_t *info, void *context)
{
    unsigned *count = context;
    (*count)++;
    return 0;
}

/* The daemon notices the end of a session when it comes to it. Two are the stage's and ours. */
static void require_nothing_left(void)
{
    unsigned count;
    fastalloc_check_info_t info = FASTALLOC_CHECK_INFO_INIT;
    do {
        count = 0;
        require_done(fastalloc_session_list(admin, count_one, &count, NULL));
    } while (count > 2);
    int result = fastalloc_pool_destroy(admin, NEW, true, NULL);
    child_require(result == 0 || result == FASTALLOC_ERR_NO_SUCH_POOL);
    require_done(fastalloc_check(admin, &info, NULL, NULL, NULL));
    child_require(info.violations == 0);
}

/* False if there was no call of that number. */
static bool attempt(const char *socket, const struct step *step, unsigned way, uint64_t number)
{
    struct client client = {.socket = socket};
    client.error = FASTALLOC_ERROR_INIT;
    step->prepare(&client);
    alarm(PATIENCE);
    begin_way(way, number);
    __atomic_store_n(&injection->armed, 1, __ATOMIC_SEQ_CST);
    int result = step->operate(&client);
    __atomic_store_n(&injection->armed, 0, __ATOMIC_SEQ_CST);
    require_named(&client, step, result);
    leave(&client);
    alarm(0);
    require_nothing_left();
    return injection->calls >= number;
}

/* Leaving may fail in the same way, and has nobody to tell. */
static bool attempt_leaving(const char *socket, unsigned way, uint64_t number)
{
    struct client client = {.socket = socket};
    prepare_leased_objects(&client);
    alarm(PATIENCE);
    begin_way(way, number);
    __atomic_store_n(&injection->armed, 1, __ATOMIC_SEQ_CST);
    leave(&client);
    __atomic_store_n(&injection->armed, 0, __ATOMIC_SEQ_CST);
    alarm(0);
    require_nothing_left();
    return injection->calls >= number;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void go_through(const char *socket, const struct step *step)
{
    unsigned ways = CHOICES + LASTING + (getenv("LD_PRELOAD") ? 2 : 0);
    unsigned stride = getenv("LD_PRELOAD") ? 1 : 7;
    uint64_t failures = 0;
    attempt(socket, step, 0, UINT64_MAX); /* so that all is there that stays */
    attempt_leaving(socket, 0, UINT64_MAX);
    unsigned descriptors = count_descriptors();
    int64_t kept = injection->kept;
    for (unsigned way = 0; way < ways; way++) {
        uint64_t number = 1;
        while (attempt(socket, step, way, number)) {
            child_require(count_descriptors() == descriptors);
            child_require(injection->kept == kept);
            failures += injection->failed;
            number += stride;
        }
        number = 1;
        while (step == steps && attempt_leaving(socket, way, number))
            number += stride;
    }
    child_require(failures > 0);
}

static int run_step(const char *file, const char *socket, const char *name)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    injection = mmap(NULL, sizeof(*injection), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    child_require(injection != MAP_FAILED);
    struct client client = {.socket = socket};
    require_done(join(&client));
    admin = client.connection;
    for (size_t i = 0; i < STEPS; i++)
        if (strcmp(steps[i].name, name) == 0)
            go_through(socket, &steps[i]);
    fastalloc_disconnect(admin);
    return 0;
}

/* ---- The test -------------------------------------------------------------------------------- */

static char file[] = "/tmp/fastalloc-inject.XXXXXX";
static struct program program;

/* The sanitizers bring a malloc of their own, and can't look for leaks in a process that is traced. */
static void set_environment(void)
{
    const char *sanitizers = getenv("FASTALLOC_SANITIZE");
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    if (sanitizers && sanitizers[0])
        return;
    setenv("FASTALLOC_INJECT_MEMORY", file, 1);
    const char *memory = getenv("INJECT_MEMORY");
    setenv("LD_PRELOAD", memory ? memory : "", 1);
}

static struct injection read_injection(int fd)
{
    struct injection result;
    ck_assert_int_eq(pread(fd, &result, sizeof(result), 0), sizeof(result));
    return result;
}

START_TEST(test_client_survives_whatever_fails)
{
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, sizeof(struct injection)), 0);
    char self[256] = {0};
    ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
    const char *const arguments[] = {getenv("INJECT_CALLS"), file,           self, file,
                                     stage.daemon.socket,    steps[_i].name, NULL};
    set_environment();
    program_start(&program, arguments);
    while (!program.ended)
        program_says(&program, "\n\n", 1000 * SUITE_TIMEOUT);
    int status = program_wait(&program);
    struct injection last = read_injection(fd);
    unlink(file);
    close(fd);
    ck_assert_msg(status == 0, "%s: %d after %s %d by %d, number %d%s: %s", steps[_i].name, status,
                  last.memory ? "allocation" : "system call", last.number, last.error, (int)last.at,
                  last.lasting ? " and all that follow" : "", program.text);
    stage_settle();
}
END_TEST

int main(int argc, char *argv[])
{
    if (argc > 3)
        return run_step(argv[1], argv[2], argv[3]);
    if (!test_daemon_is_built() || !getenv("INJECT_CALLS"))
        return 77;
    Suite *suite = suite_create("inject_client");
    TCase *tcase = tcase_create("inject_client");
    tcase_set_timeout(tcase, SUITE_TIMEOUT);
    tcase_add_checked_fixture(tcase, suite_setup, suite_teardown);
    tcase_add_checked_fixture(tcase, stage_setup, stage_teardown);
    tcase_add_loop_test(tcase, test_client_survives_whatever_fails, 0, STEPS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
