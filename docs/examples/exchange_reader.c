/* SPDX-License-Identifier: MIT */
/*
 * Reads an object of another process, in place: exchange_writer's, whose handle it gets as text. It
 * neither allocates nor frees, so it opens the pool for reading, and its mapping is read-only.
 *
 *     usage: exchange_reader HANDLE
 */
#include <ctype.h>
#include <err.h>
#include <stdio.h>

#include <fastalloc/fastalloc.h>

/* As the writer's. */
struct message {
    char text[256];
};

struct count {
    unsigned bytes;
    unsigned words;
};

/* Trusts nothing that it finds: the text may end nowhere, and change meanwhile. */
static struct count count_text(const struct message *message)
{
    struct count count = {0, 0};
    bool inside = false;
    for (; count.bytes < sizeof(message->text); count.bytes++) {
        char letter = message->text[count.bytes];
        if (letter == '\0')
            break;
        bool word = !isspace((unsigned char)letter);
        count.words += word && !inside;
        inside = word;
    }
    return count;
}

/* Returns the exit status. Looks, asks whether the object was still there, and only then believes. */
static int read_message(const fastalloc_pool_t *pool, fastalloc_handle_t handle)
{
    const struct message *message = fastalloc_get(pool, handle);
    if (!message) {
        warnx("stale: the object was freed, or this never was a handle of pool '%s'",
              fastalloc_pool_name(pool));
        return 1;
    }
    struct count count = count_text(message);
    if (!fastalloc_still_valid(pool, handle)) {
        warnx("stale: the object was freed while it was read");
        return 1;
    }
    printf("%u bytes, %u words\n", count.bytes, count.words);
    return 0;
}

int main(int argc, char **argv)
{
    fastalloc_handle_t handle;
    if (argc != 2 || fastalloc_handle_parse(argv[1], &handle) < 0)
        errx(2, "usage: exchange_reader HANDLE (as exchange_writer prints it)");

    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    options.access = FASTALLOC_READ;
    options.object_size = sizeof(struct message);
    options.type = "message";
    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "exchange", &options, &pool, &error) < 0)
        errx(1, "%s", error.message);
    int status = read_message(pool, handle);
    fastalloc_disconnect(connection);
    return status;
}
