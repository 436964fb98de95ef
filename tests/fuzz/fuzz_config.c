/* SPDX-License-Identifier: MIT */
/*
 * What people type: the texts of policies, numbers and handles, and command lines. An input is a byte
 * that says which, and the text; of a command line the arguments end with a NUL each.
 */
#include <errno.h>
#include <fastalloc/fastalloc.h>
#include <inttypes.h>

#include "client/ctl/number.h"
#include "client/ctl/parse.h"
#include "client/ctl/pool_options.h"
#include "daemon/growth.h"
#include "daemon/instance.h"
#include "daemon/options.h"
#include "daemon/watermark.h"
#include "shm/handle.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX 512u
#define ARGUMENTS_MAX 24u
#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

/* ---- Policies -------------------------------------------------------------------------------- */

static void check_growth_from(const struct growth *growth, uint32_t capacity, uint64_t needed,
                              uint32_t max)
{
    uint32_t next = growth_next(growth, capacity, needed, max);
    if (growth->kind == GROWTH_NONE || needed <= capacity || capacity >= max)
        FUZZ_REQUIRE(next == capacity);
    else
        FUZZ_REQUIRE(next > capacity && next <= max && (next >= needed || next == max));
}

static void check_growth(const char *text)
{
    static const uint32_t capacities[] = {1, 2, 100, 65536, UINT32_MAX - 1, UINT32_MAX};
    struct growth growth, before;
    memset(&growth, 0x5a, sizeof(growth));
    before = growth;
    const char *wrong = growth_parse(&growth, text);
    if (wrong) {
        FUZZ_REQUIRE(wrong[0] != '\0' && memcmp(&growth, &before, sizeof(growth)) == 0);
        return;
    }
    FUZZ_REQUIRE(strlen(text) <= GROWTH_TEXT_MAX && growth.kind <= GROWTH_CUSTOM);
    for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
        check_growth_from(&growth, capacities[i], capacities[i] + UINT64_C(1), UINT32_MAX);
        check_growth_from(&growth, 1, capacities[i], capacities[i]);
        check_growth_from(&growth, 100, UINT64_MAX, capacities[i]);
    }
}

static void check_watermark(const char *text)
{
    static const uint32_t usages[] = {0, 1, 9, 10, 1000, UINT32_MAX};
    struct watermark watermark, before;
    memset(&watermark, 0x5a, sizeof(watermark));
    before.level = watermark.level;
    const char *wrong = watermark_parse(&watermark, text);
    if (wrong) {
        FUZZ_REQUIRE(wrong[0] != '\0' && watermark.level == before.level);
        return;
    }
    FUZZ_REQUIRE(strlen(text) <= WATERMARK_TEXT_MAX && !watermark.above);
    for (size_t i = 0; i < 2 * sizeof(usages) / sizeof(usages[0]); i++) {
        bool above = watermark.above;
        uint32_t usage = usages[i % (sizeof(usages) / sizeof(usages[0]))];
        enum watermark_change change =
            watermark_update(&watermark, usage, i % 2 ? UINT32_MAX : 1000);
        FUZZ_REQUIRE(change == (above == watermark.above ? WATERMARK_SAME
                                : above                  ? WATERMARK_FALLEN
                                                         : WATERMARK_REACHED));
        FUZZ_REQUIRE(watermark.kind != WATERMARK_OFF || !watermark.above);
    }
}

/* ---- Numbers and handles --------------------------------------------------------------------- */

typedef int (*number_parser)(const char *text, uint64_t max, uint64_t *number);

static void check_number_by(number_parser parse, const char *text, uint64_t max)
{
    uint64_t number = UNTOUCHED;
    int result = parse(text, max, &number);
    FUZZ_REQUIRE(result == 0 || result == -EINVAL || result == -ERANGE);
    FUZZ_REQUIRE(result == 0 ? number <= max : number == UNTOUCHED);
}

static void check_numbers(const char *text)
{
    static const number_parser parsers[] = {number_parse, number_parse_size, number_parse_duration};
    static const uint64_t limits[] = {0, UINT32_MAX, INT64_MAX, UINT64_MAX};
    uint32_t mode = 0;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 4; j++)
            check_number_by(parsers[i], text, limits[j]);
    int result = number_parse_mode(text, &mode);
    FUZZ_REQUIRE(result == 0 ? mode > 0 && mode <= 0777 : mode == 0);
}

/* What is taken is said in the same digits again. */
static void check_number(const char *text)
{
    uint64_t number;
    char again[32];
    if (number_parse(text, UINT64_MAX, &number) < 0)
        return;
    snprintf(again, sizeof(again), "%" PRIu64, number);
    while (text[0] == '0' && text[1] != '\0')
        text++;
    FUZZ_REQUIRE(strcmp(again, text) == 0);
}

static void check_handle(const char *text)
{
    fastalloc_handle_t handle = {1, 2, UNTOUCHED};
    char again[FASTALLOC_HANDLE_TEXT_SIZE];
    if (!handle_parse(text, &handle)) {
        FUZZ_REQUIRE(handle.pool == 1 && handle.index == 2 && handle.tag == UNTOUCHED);
        return;
    }
    handle_format(handle, again);
    FUZZ_REQUIRE(strcmp(text, again) == 0);
}

/* ---- Command lines --------------------------------------------------------------------------- */

struct arguments {
    char text[TEXT_MAX + 1];
    char *values[ARGUMENTS_MAX + 2];
    int count;
};

/* `text` ends with a NUL of its own. */
static void split(struct arguments *arguments, char *program, size_t size)
{
    arguments->values[0] = program;
    arguments->count = 1;
    for (size_t at = 0; at < size && arguments->count <= (int)ARGUMENTS_MAX;
         at += strlen(arguments->text + at) + 1)
        arguments->values[arguments->count++] = arguments->text + at;
    arguments->values[arguments->count] = NULL;
}

static void check_daemon(struct arguments *arguments, size_t size)
{
    static char program[] = "fastallocd";
    struct options options;
    struct instance instance;
    char why[INSTANCE_TEXT_SIZE];
    split(arguments, program, size);
    enum options_result result = options_parse(&options, arguments->count, arguments->values);
    FUZZ_REQUIRE(result <= OPTIONS_USAGE);
    if (result == OPTIONS_RUN && !instance_locate(&instance, &options, why))
        FUZZ_REQUIRE(why[0] != '\0');
}

static void check_ctl(struct arguments *arguments, size_t size)
{
    static char program[] = "fastallocctl";
    static struct pool_setup setup;
    struct call call;
    split(arguments, program, size);
    if (parse_arguments(arguments->count, arguments->values, &call) != 0 || !call.command)
        return;
    FUZZ_REQUIRE(call.operand_count <= CALL_OPERANDS_MAX);
    /* A template would be read from a file of any name. */
    if (call.command == &command_pool_create && !call.help && !call.version &&
        !command_option(&call, "--template"))
        pool_options_parse(&call, &setup);
}

/* What is said about them is no news to anybody here. */
static void in_silence(void (*check)(struct arguments *arguments, size_t size),
                       struct arguments *arguments, size_t size)
{
    static FILE *nowhere;
    FILE *out = stdout, *err = stderr;
    if (!nowhere)
        nowhere = fopen("/dev/null", "we");
    FUZZ_REQUIRE(nowhere);
    stdout = stderr = nowhere;
    check(arguments, size);
    stdout = out;
    stderr = err;
}

/* ---- All of it ------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const texts[])(const char *text) = {check_growth, check_watermark, check_numbers,
                                                      check_number, check_handle};
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_choose(&input, 7);
    struct arguments *arguments = calloc(1, sizeof(*arguments));
    FUZZ_REQUIRE(arguments);
    struct fuzz_input text = fuzz_take_bytes(&input, TEXT_MAX);
    if (text.size > 0)
        memcpy(arguments->text, text.data, text.size);
    if (which == 5)
        in_silence(check_daemon, arguments, text.size);
    else if (which == 6)
        in_silence(check_ctl, arguments, text.size);
    else
        texts[which](arguments->text);
    free(arguments);
    return 0;
}
