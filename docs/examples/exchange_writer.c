/* SPDX-License-Identifier: MIT */
/*
 * Puts a text into an object of shared memory and prints the object's handle, by which any other
 * process finds it: exchange_reader does. Keeps the object until SIGINT or SIGTERM, then frees it.
 * Should this process be killed instead, the daemon frees it.
 *
 *     usage: exchange_writer TEXT
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <fastalloc/fastalloc.h>

/* The object. Both programs say its size and type when they open the pool: they can't differ. */
struct message {
    char text[256];
};

/* Returns the exit status. The handle goes out when the object is complete, not before. */
static int exchange(fastalloc_pool_t *pool, const char *text, const sigset_t *signals)
{
    char name[FASTALLOC_HANDLE_TEXT_SIZE];
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    if (fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handle, &error) < 0) {
        warnx("%s", error.message);
        return 1;
    }

    struct message *message = fastalloc_get(pool, handle);
    if (!message) {
        warnx("somebody freed the object that was just allocated");
        return 1;
    }
    snprintf(message->text, sizeof(message->text), "%s", text);
    fastalloc_handle_format(handle, name);
    printf("%s\n", name);
    fflush(stdout);

    int number;
    sigwait(signals, &number);
    if (fastalloc_free(pool, handle, &error) < 0) {
        warnx("%s", error.message);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2 || strlen(argv[1]) >= sizeof(((struct message *)0)->text))
        errx(2, "usage: exchange_writer TEXT (of less than 256 bytes)");
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = sizeof(struct message);
    options.capacity = 16;
    options.type = "message";
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "exchange", &options, &pool, &error) < 0)
        errx(1, "%s", error.message);
    int status = exchange(pool, argv[1], &signals);
    fastalloc_disconnect(connection);
    return status;
}
