/* SPDX-License-Identifier: MIT */
#include "client/ctl/failure.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/report.c"  // NOLINT(bugprone-suspicious-include): part of a program

#include <unistd.h>

#include "tests/unit/suite.h"

/* JSON that is no more than the names of the fields that were set, each with a space behind it. */
static char names[512];

static void add_name(const char *name)
{
    size_t length = strlen(names);

    snprintf(names + length, sizeof(names) - length, "%s ", name);
}

json_t *json_new(void)
{
    names[0] = '\0';
    return NULL;
}

void json_set(json_t *object, const char *key, json_t *value)
{
    (void)object;
    (void)value;
    add_name(key);
}

void json_set_number(json_t *object, const char *key, uint64_t number)
{
    (void)number;
    json_set(object, key, NULL);
}

void json_set_string(json_t *object, const char *key, const char *string)
{
    (void)string;
    json_set(object, key, NULL);
}

void json_write(json_t *document)
{
    (void)document;
}

json_t *json_integer(json_int_t value)
{
    (void)value;
    return NULL;
}

char *text_clean(const char *text)
{
    return strdup(text);
}

static char *read_header(void)
{
    const char *source = getenv("SOURCE_DIR");
    char path[4096];
    char *text = NULL;
    size_t room = 0;

    snprintf(path, sizeof(path), "%s/client/include/fastalloc/fastalloc.h", source ? source : ".");
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    ck_assert_int_gt(getdelim(&text, &room, '\0', file), 0);
    fclose(file);
    return text;
}

static bool has_word(const char *text, size_t length, const char *word, size_t word_length)
{
    for (const char *at = text; at + word_length <= text + length; at++) {
        bool begins = at == text || strchr(" ,[", at[-1]);
        if (begins && strncmp(at, word, word_length) == 0 && strchr(" ,]", at[word_length]))
            return true;
    }
    return false;
}

/* "[pool, requested]" of the header, and what it may go on with: "[pool, max, and as above]". */
struct fields {
    const char *text;
    size_t length;
};

#define AS_ABOVE "and as above]"

static bool goes_on(struct fields listed)
{
    size_t length = strlen(AS_ABOVE);

    return listed.length > length &&
           strncmp(listed.text + listed.length - length, AS_ABOVE, length) == 0;
}

/* The fields of a code, in the header's brackets, and in its JSON. */
static void check_fields(const char *name, int code, struct fields listed, struct fields above)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    size_t count = 0, found = 0;

    error.code = code;
    error_to_json(&error);
    for (const char *at = names; *at; at += strcspn(at, " ") + 1) {
        size_t field = strcspn(at, " ");
        if (strncmp(at, "code ", 5) == 0 || strncmp(at, "name ", 5) == 0 ||
            strncmp(at, "message ", 8) == 0)
            continue;
        count++;
        ck_assert_msg(has_word(listed.text, listed.length, at, field) ||
                          (goes_on(listed) && has_word(above.text, above.length, at, field)),
                      "%s: the header has no %.*s", name, (int)field, at);
    }
    for (const char *at = listed.text; at < listed.text + listed.length; at++)
        found += *at == '[' || *at == ',';
    ck_assert_msg(goes_on(listed) ? count >= found : count == found,
                  "%s: the header has %zu fields, JSON %zu", name, found, count);
}

/*
 * What is said of a code stands before it, or on the line that ends with it; "the same" behind it.
 */
START_TEST(test_json_has_the_fields_that_the_header_lists)
{
    char *header = read_header();
    char *at = strstr(header, "enum fastalloc_result {");
    struct fields above = {"", 0}; /* of exhaustion */
    unsigned codes = 0;

    ck_assert_ptr_nonnull(at);
    *strstr(at, "\n};") = '\0';
    for (char *place = NULL; (place = strstr(at, "FASTALLOC_ERR_")); codes++) {
        char *equals = strstr(place, " = ");
        ck_assert_ptr_nonnull(equals);
        char *end = equals + strcspn(equals, "\n");
        char *same = strstr(equals, "/* the same */");
        struct fields listed = {at + strcspn(at, "["), 0};
        if (listed.text < end)
            listed.length = strcspn(listed.text, "]") + 1;
        if (same && same < end)
            listed = above;
        *equals = '\0';
        check_fields(place, (int)strtol(equals + 3, NULL, 10), listed, above);
        if (strcmp(place, "FASTALLOC_ERR_POOL_EXHAUSTED") == 0)
            above = listed;
        at = end;
    }
    ck_assert_uint_gt(codes, 30);
    free(header);
}
END_TEST

START_TEST(test_holders_are_a_second_line)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    const struct call call = {.json = false};
    char text[256] = "";
    FILE *file = tmpfile();
    int saved = dup(2);

    failure_set(&error, FASTALLOC_ERR_POOL_EXHAUSTED, "the pool is exhausted");
    snprintf(error.holders, sizeof(error.holders), "session 7: 9 slots");
    dup2(fileno(file), 2);
    int status = report_error(&call, &error);
    dup2(saved, 2);
    close(saved);
    rewind(file);
    ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    ck_assert_int_eq(status, STATUS_FAILED);
    ck_assert_str_eq(text, "fastallocctl: the pool is exhausted\n"
                           "fastallocctl: held by: session 7: 9 slots\n");
}
END_TEST

START_TEST(test_refusal_by_the_system_is_not_permitted)
{
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;

    error.code = FASTALLOC_ERR_UNREACHABLE;
    error.system_error = EPERM;
    ck_assert_int_eq(status_of(&error), STATUS_NOT_PERMITTED);
    error.system_error = EACCES;
    ck_assert_int_eq(status_of(&error), STATUS_NOT_PERMITTED);
    error.system_error = ENOENT;
    ck_assert_int_eq(status_of(&error), STATUS_UNREACHABLE);
}
END_TEST

SUITE_MAIN("ctl_report", test_json_has_the_fields_that_the_header_lists,
           test_refusal_by_the_system_is_not_permitted, test_holders_are_a_second_line)
