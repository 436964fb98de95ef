/* SPDX-License-Identifier: MIT */
/*
 * Handing an object over: the producer, a child process, allocates and fills it and sends its handle
 * through a pipe; the consumer adopts it, after which the producer may end, or be killed, and the
 * object stays. What it never got to send is freed with it.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastalloc/fastalloc.h>

#define TEXT 64

static fastalloc_pool_t *open_pool(fastalloc_connection_t **connection)
{
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.create = true;
    options.object_size = TEXT;
    options.capacity = 16;
    if (fastalloc_connect(NULL, connection, &error) < 0 ||
        fastalloc_open(*connection, "letters", &options, &pool, &error) < 0)
        errx(1, "%s", error.message);
    return pool;
}

/* The handle's 16 bytes are all that travels. It waits to be told that they have arrived. */
static void produce(int to, int from)
{
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    char taken;
    fastalloc_pool_t *pool = open_pool(&connection);
    if (fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handle, &error) < 0)
        errx(1, "%s", error.message);
    snprintf(fastalloc_get(pool, handle), TEXT, "from a process that is gone");
    if (write(to, &handle, sizeof(handle)) != (ssize_t)sizeof(handle) || read(from, &taken, 1) != 1)
        exit(1);
    fastalloc_disconnect(connection);
    exit(0);
}

int main(void)
{
    int there[2], back[2], status;
    fastalloc_connection_t *connection;
    fastalloc_handle_t handle;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    if (pipe(there) < 0 || pipe(back) < 0)
        err(1, "pipe");
    pid_t child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0)
        produce(there[1], back[0]);

    fastalloc_pool_t *pool = open_pool(&connection);
    close(there[1]);
    if (read(there[0], &handle, sizeof(handle)) != (ssize_t)sizeof(handle))
        errx(1, "the producer ended early");
    if (fastalloc_adopt(pool, &handle, 1, &error) < 0)
        errx(1, "%s", error.message);
    if (write(back[1], "", 1) != 1 || waitpid(child, &status, 0) < 0)
        err(1, "cannot let the producer go");

    /* Ours now: it is good until we free it. */
    printf("%s\n", (const char *)fastalloc_get(pool, handle));
    if (fastalloc_free(pool, handle, &error) < 0)
        errx(1, "%s", error.message);
    fastalloc_disconnect(connection);
    return 0;
}
