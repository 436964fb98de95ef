/* SPDX-License-Identifier: MIT */
/*
 * docs/protocol.md says what proto/messages.h says: every method, every field with its type and
 * limit, every error, every limit; and each message in it, given as values and as bytes, is one and
 * the same message.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/broker.h"
#include "daemon/connection.h"
#include "daemon/events.h"
#include "daemon/growing.h"
#include "daemon/registry.h"
#include "proto/envelope.h"
#include "proto/scan.h"
#include "tests/unit/document.h"
#include "tests/unit/suite.h"

#define LINE_SIZE 2048
#define EXAMPLE_SIZE 8192

/* ---- The list, as tables --------------------------------------------------------------------- */

#define TYPE_OF(name, fields) &name##_type,
static const struct message_type *const types[] = {PROTOCOL_MESSAGES(TYPE_OF)};
#define TYPES (sizeof(types) / sizeof(types[0]))

static const struct message_field error_fields[] = {
    PROTOCOL_ERROR_FIELDS(MESSAGE_FIELD, error){NULL}};
static const struct message_type error_type = MESSAGE_TYPE("error", struct error, error_fields);

#define CODE_OF(NAME, number, fields) ERROR_##NAME,
static const enum error_code codes[] = {PROTOCOL_ERRORS(CODE_OF)};
#define CODES (sizeof(codes) / sizeof(codes[0]))

static const struct {
    const char *name;
    uint64_t value;
} limits[] = {
    {"bytes of one message", SCAN_MESSAGE_MAX},
    {"arrays and maps inside each other", SCAN_DEPTH_MAX},
    {"entries of one map", SCAN_MAP_MAX},
    {"bytes of a map's key", UINT8_MAX},
    {"bytes of a name", PROTOCOL_NAME_MAX},
    {"handles in one request", PROTOCOL_BATCH_MAX},
    {"requests in one `settle`", PROTOCOL_SETTLE_MAX},
    {"changes of a session that are unanswered", PROTOCOL_CHANGES_MAX},
    {"elements of a list in one reply", PROTOCOL_LIST_MAX},
    {"bytes of a pool's template", PROTOCOL_TEMPLATE_MAX},
    {"events that are kept", EVENTS_KEPT},
    {"bytes of unread replies, above which no request is taken", CONNECTION_UNREAD_MAX},
    {"milliseconds that it may read nothing while it is held", CONNECTION_HELD_MAX_MS},
    {"requests of one session that wait", BROKER_SESSION_WAITERS},
    {"requests of all sessions that wait", BROKER_WAITERS},
    {"sessions", REGISTRY_SESSIONS},
    {"pools", REGISTRY_POOLS},
    {"bytes of an object", GEOMETRY_OBJECT_MAX},
    {"bytes of all objects of a pool", GEOMETRY_DATA_MAX},
    {"slots of a pool", GEOMETRY_CAPACITY_MAX},
    {"alignment", GEOMETRY_ALIGNMENT_MAX},
};
#define LIMITS (sizeof(limits) / sizeof(limits[0]))

/* ---- The checker ----------------------------------------------------------------------------- */

struct checker {
    FILE *report;
    unsigned problems;
    unsigned types_seen[TYPES];
    unsigned error_type_seen;
    unsigned errors_seen;
    unsigned limits_seen;
    unsigned methods_seen;
    unsigned kinds_seen;
    unsigned requests_shown[METHOD_COUNT];
    unsigned replies_shown[METHOD_COUNT];
    unsigned errors_shown;
    unsigned farewells_shown;
    enum method open; /* that of the last request shown, the reply of which comes next */
};

static bool __attribute__((format(printf, 3, 4)))
expect(struct checker *checker, bool holds, const char *format, ...)
{
    if (holds)
        return true;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(checker->report, format, arguments);
    va_end(arguments);
    fputc('\n', checker->report);
    checker->problems++;
    return false;
}

static void expect_text(struct checker *checker, const char *where, const char *said,
                        const char *meant)
{
    expect(checker, strcmp(said, meant) == 0, "%s: the document says '%s', the code '%s'", where,
           said, meant);
}

/* ---- Tables of fields ------------------------------------------------------------------------ */

static void describe_type(const struct message_field *field, char *text, size_t size)
{
    static const char *const names[] = {
        [FIELD_U32] = "u32",   [FIELD_U64] = "u64", [FIELD_I64] = "i64",
        [FIELD_BOOL] = "bool", [FIELD_STR] = "str", [FIELD_BIN] = "bin",
    };
    if (field->kind == FIELD_LIST)
        snprintf(text, size, "list of `%s`", field->element->name);
    else
        snprintf(text, size, "%s", names[field->kind]);
}

/* Nothing where the type itself is the limit. */
static void describe_limit(const struct message_field *field, char *text, size_t size)
{
    bool whole = field->limit == (field->kind == FIELD_U32 ? UINT32_MAX : UINT64_MAX);

    text[0] = '\0';
    if ((field->kind == FIELD_U32 || field->kind == FIELD_U64) && !whole)
        snprintf(text, size, "%" PRIu64, field->limit);
    if (field->kind == FIELD_STR || field->kind == FIELD_BIN)
        snprintf(text, size, "%" PRIu64 " bytes", field->limit);
    if (field->kind == FIELD_LIST)
        snprintf(text, size, "%" PRIu64 " elements", field->limit);
}

static void check_field(struct checker *checker, const struct message_field *field,
                        const struct document_row *row, bool has_required)
{
    char meant[LINE_SIZE];

    snprintf(meant, sizeof(meant), "`%s`", field->name);
    expect_text(checker, "field", row->cell[0], meant);
    describe_type(field, meant, sizeof(meant));
    expect_text(checker, field->name, row->cell[1], meant);
    describe_limit(field, meant, sizeof(meant));
    expect_text(checker, field->name, row->cell[2], meant);
    if (has_required)
        expect_text(checker, field->name, row->cell[3], field->required ? "yes" : "");
}

static void check_fields(struct checker *checker, const struct message_type *type,
                         const char **text, bool has_required)
{
    struct document_row row;
    size_t count = 0;

    for (; document_row(text, &row); count++)
        if (expect(checker, count < type->field_count, "%s has no field %s", type->name,
                   row.cell[0]))
            check_field(checker, &type->fields[count], &row, has_required);
    expect(checker, count == type->field_count, "%s has %zu fields, the document %zu", type->name,
           type->field_count, count);
}

/* What the head of a table calls a message: "`hello` request", or "`pool_info`" if no method's. */
static void describe_message(const struct message_type *type, char *text, size_t size)
{
    for (enum method method = 0; method < METHOD_COUNT; method++) {
        const struct method_info *info = &method_table[method];
        if (type == info->request || type == info->reply) {
            snprintf(text, size, "`%s` %s", info->name,
                     type == info->request ? "request" : "reply");
            return;
        }
    }
    snprintf(text, size, "`%s`", type->name);
}

static void check_field_table(struct checker *checker, const char *head, const char **text)
{
    char name[LINE_SIZE];

    for (size_t i = 0; i < TYPES; i++) {
        describe_message(types[i], name, sizeof(name));
        if (strcmp(name, head) != 0)
            continue;
        expect(checker, checker->types_seen[i]++ == 0, "%s has two tables", head);
        check_fields(checker, types[i], text, true);
        return;
    }
    if (!expect(checker, strcmp(head, "`error`") == 0, "there is no message %s", head))
        return;
    checker->error_type_seen++;
    check_fields(checker, &error_type, text, false);
}

/* ---- The other tables ------------------------------------------------------------------------ */

static void describe_detail(const struct message_type *type, char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < type->field_count; i++)
        length += (size_t)snprintf(text + length, size - length, "%s`%s`%s", i == 0 ? "" : ", ",
                                   type->fields[i].name, type->fields[i].required ? "" : "?");
}

static void check_errors(struct checker *checker, const char **text)
{
    struct document_row row;
    char meant[LINE_SIZE];

    for (; document_row(text, &row); checker->errors_seen++) {
        if (!expect(checker, checker->errors_seen < CODES, "there is no error %s", row.cell[0]))
            return;
        enum error_code code = codes[checker->errors_seen];
        snprintf(meant, sizeof(meant), "`%s`", error_name(code));
        expect_text(checker, "error", row.cell[0], meant);
        snprintf(meant, sizeof(meant), "%d", (int)code);
        expect_text(checker, error_name(code), row.cell[1], meant);
        describe_detail(error_detail_type(code), meant, sizeof(meant));
        expect_text(checker, error_name(code), row.cell[2], meant);
    }
}

static void check_limits(struct checker *checker, const char **text)
{
    struct document_row row;
    char meant[LINE_SIZE];

    for (; document_row(text, &row); checker->limits_seen++) {
        if (!expect(checker, checker->limits_seen < LIMITS, "no such limit: %s", row.cell[0]))
            return;
        expect_text(checker, "limit", row.cell[0], limits[checker->limits_seen].name);
        snprintf(meant, sizeof(meant), "%" PRIu64, limits[checker->limits_seen].value);
        expect_text(checker, row.cell[0], row.cell[1], meant);
    }
}

static const char *const kinds[] = {
#define KIND_TEXT(NAME, number, text) text,
    EVENT_KINDS(KIND_TEXT)};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void check_kinds(struct checker *checker, const char **text)
{
    struct document_row row;
    char meant[LINE_SIZE];

    for (; document_row(text, &row); checker->kinds_seen++) {
        if (!expect(checker, checker->kinds_seen < KINDS, "no such event: %s", row.cell[0]))
            return;
        snprintf(meant, sizeof(meant), "`%s`", kinds[checker->kinds_seen]);
        expect_text(checker, "event", row.cell[0], meant);
    }
}

static void check_table(struct checker *checker, const struct document_row *head, const char **text)
{
    if (strcmp(head->cell[1], "type") == 0)
        check_field_table(checker, head->cell[0], text);
    else if (strcmp(head->cell[0], "error") == 0)
        check_errors(checker, text);
    else if (strcmp(head->cell[0], "limit") == 0)
        check_limits(checker, text);
    else if (strcmp(head->cell[0], "kind") == 0)
        check_kinds(checker, text);
}

/* ---- Examples: as values --------------------------------------------------------------------- */

static void render(FILE *out, const msgpack_object *object);

static void render_map(FILE *out, const msgpack_object_map *map)
{
    fputc('{', out);
    for (uint32_t i = 0; i < map->size; i++) {
        fputs(i > 0 ? ", " : "", out);
        render(out, &map->ptr[i].key);
        fputs(": ", out);
        render(out, &map->ptr[i].val);
    }
    fputc('}', out);
}

static void render_array(FILE *out, const msgpack_object_array *array)
{
    fputc('[', out);
    for (uint32_t i = 0; i < array->size; i++) {
        fputs(i > 0 ? ", " : "", out);
        render(out, &array->ptr[i]);
    }
    fputc(']', out);
}

static void render(FILE *out, const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        fputs("nil", out);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        fputs(object->via.boolean ? "true" : "false", out);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        fprintf(out, "%" PRIu64, object->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        fprintf(out, "%" PRId64, object->via.i64);
        break;
    case MSGPACK_OBJECT_STR:
        fprintf(out, "\"%.*s\"", (int)object->via.str.size, object->via.str.ptr);
        break;
    case MSGPACK_OBJECT_BIN:
        fputs("h'", out);
        for (uint32_t i = 0; i < object->via.bin.size; i++)
            fprintf(out, "%02x", (uint8_t)object->via.bin.ptr[i]);
        fputc('\'', out);
        break;
    case MSGPACK_OBJECT_MAP:
        render_map(out, &object->via.map);
        break;
    case MSGPACK_OBJECT_ARRAY:
        render_array(out, &object->via.array);
        break;
    default:
        fputs("?", out);
    }
}

static void check_values(struct checker *checker, const uint8_t *bytes, size_t size,
                         const char *said)
{
    msgpack_unpacked unpacked;
    size_t offset = 0, length;
    char *text;

    FILE *out = open_memstream(&text, &length);
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, (const char *)bytes, size, &offset) ==
        MSGPACK_UNPACK_SUCCESS)
        render(out, &unpacked.data);
    fclose(out);
    expect(checker, strcmp(said, text) == 0, "the example\n  %s\nhas the bytes of\n  %s", said,
           text);
    free(text);
    msgpack_unpacked_destroy(&unpacked);
}

/* ---- Examples: as messages ------------------------------------------------------------------- */

union any_message {
#define ANY_MEMBER(name, fields) struct name name;
    PROTOCOL_MESSAGES(ANY_MEMBER)
};

/* Decodes the elements of a reply's lists, of which a decoded message has but msgpack's objects. */
static bool decode_lists(const struct message_type *type, union any_message *message,
                         union any_message *elements, struct error *error)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct message_field *field = &type->fields[i];
        struct list *list = (struct list *)((char *)message + field->offset);
        if (field->kind != FIELD_LIST)
            continue;
        for (size_t j = 0; j < list->count; j++)
            if (!message_decode(field->element, (const msgpack_object *)list->items + j, true,
                                (char *)elements + j * field->element->size, error))
                return false;
        list->items = elements;
    }
    return true;
}

static bool encode_call(struct checker *checker, const struct envelope *envelope,
                        msgpack_sbuffer *buffer, struct error *error)
{
    union any_message message;
    checker->open = method_find((const char *)envelope->method.data, envelope->method.size);
    if (!expect(checker, checker->open < METHOD_COUNT, "an example of no method") ||
        !message_decode(method_table[checker->open].request, envelope->params, true, &message,
                        error))
        return false;
    checker->requests_shown[checker->open]++;
    return envelope_encode_request(buffer, envelope->msgid, checker->open, &message) == 0;
}

static bool encode_answer(struct checker *checker, const struct envelope *envelope,
                          msgpack_sbuffer *buffer, struct error *error)
{
    static union any_message message, elements[PROTOCOL_LIST_MAX];
    if (envelope->error->type != MSGPACK_OBJECT_NIL) {
        checker->errors_shown++;
        return envelope_decode_error(envelope->error, error) &&
               envelope_encode_error(buffer, envelope->msgid, error) == 0;
    }
    if (!expect(checker, checker->open < METHOD_COUNT, "a reply without its request"))
        return false;
    const struct message_type *type = method_table[checker->open].reply;
    checker->replies_shown[checker->open]++;
    return message_decode(type, envelope->result, true, &message, error) &&
           decode_lists(type, &message, elements, error) &&
           envelope_encode_reply(buffer, envelope->msgid, checker->open, &message) == 0;
}

static bool encode_again(struct checker *checker, const struct envelope *envelope,
                         msgpack_sbuffer *buffer, struct error *error)
{
    switch (envelope->kind) {
    case ENVELOPE_REQUEST:
        return encode_call(checker, envelope, buffer, error);
    case ENVELOPE_RESPONSE:
        return encode_answer(checker, envelope, buffer, error);
    case ENVELOPE_NOTIFICATION:
        checker->farewells_shown++;
        return envelope_decode_error(envelope->params, error) &&
               envelope_encode_farewell(buffer, error) == 0;
    }
    return false;
}

static void check_message(struct checker *checker, const uint8_t *bytes, size_t size,
                          const char *said)
{
    struct decoder decoder;
    struct envelope envelope;
    struct error error = {0};
    msgpack_sbuffer buffer;

    msgpack_sbuffer_init(&buffer);
    ck_assert_int_eq(decoder_init(&decoder), 0);
    bool good = envelope_decode(&decoder, bytes, size, &envelope, &error) &&
                encode_again(checker, &envelope, &buffer, &error);
    expect(checker, good, "no message: %s: %s", error.message, said);
    expect(checker, buffer.size == size && memcmp(buffer.data, bytes, size) == 0,
           "encoded anew it has other bytes: %s", said);
    decoder_deinit(&decoder);
    msgpack_sbuffer_destroy(&buffer);
}

/* Appends the line's bytes. False if it isn't pairs of hexadecimal digits. */
static bool take_bytes(const char *line, uint8_t *bytes, size_t *size)
{
    size_t length = strlen(line);

    if (length % 3 != 2 || strspn(line, "0123456789abcdef ") != length)
        return false;
    for (const char *p = line; p < line + length; p += 3) {
        char *end;
        bytes[*size] = (uint8_t)strtoul(p, &end, 16);
        if (end != p + 2)
            return false;
        ck_assert_uint_lt(++*size, EXAMPLE_SIZE);
    }
    return true;
}

/* The lines up to the block's end: first the values, then the bytes. */
static void check_example(struct checker *checker, const char **text)
{
    char said[EXAMPLE_SIZE] = "", line[LINE_SIZE];
    uint8_t bytes[EXAMPLE_SIZE];
    size_t size = 0, length = 0;
    struct scan scan;

    while (document_line(text, line, sizeof(line)) && strcmp(line, "```") != 0) {
        const char *start = line + strspn(line, " ");
        if (take_bytes(line, bytes, &size))
            continue;
        length += (size_t)snprintf(said + length, sizeof(said) - length, "%s%s",
                                   length > 0 ? " " : "", start);
        ck_assert_uint_lt(length, sizeof(said));
    }
    scan_init(&scan);
    if (!expect(checker, scan_continue(&scan, bytes, size) == SCAN_DONE && scan.position == size,
                "these bytes are not one message: %s", said))
        return;
    check_values(checker, bytes, size, said);
    check_message(checker, bytes, size, said);
}

/* ---- The whole document ---------------------------------------------------------------------- */

static void check_heading(struct checker *checker, const char *heading)
{
    if (expect(checker, checker->methods_seen < METHOD_COUNT, "there is no method %s", heading))
        expect_text(checker, "method", heading, method_table[checker->methods_seen].name);
    checker->methods_seen++;
}

/* Whatever is written as an error must be one. */
static void check_words(struct checker *checker, const char *line)
{
    static const char *const others[] = {"PROT_READ",  "MAP_SHARED",       "MADV_DONTFORK",
                                         "SCM_RIGHTS", "MSG_CMSG_CLOEXEC", "CLOCK_MONOTONIC"};
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";

    for (const char *p = line; (p = strchr(p, '`')); p++) {
        size_t length = strspn(p + 1, letters);
        bool known = length == 0 || p[1 + length] != '`';
        for (size_t i = 0; i < CODES; i++)
            known |= strncmp(error_name(codes[i]), p + 1, length) == 0 &&
                     error_name(codes[i])[length] == '\0';
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            known |= strncmp(others[i], p + 1, length) == 0 && others[i][length] == '\0';
        expect(checker, known, "there is no error %.*s", (int)length, p + 1);
    }
}

static void check_complete(struct checker *checker)
{
    for (size_t i = 0; i < TYPES; i++)
        expect(checker, checker->types_seen[i] == (types[i]->field_count > 0),
               "%s has %zu fields and %u tables", types[i]->name, types[i]->field_count,
               checker->types_seen[i]);
    for (enum method method = 0; method < METHOD_COUNT; method++)
        expect(checker, checker->requests_shown[method] > 0 && checker->replies_shown[method] > 0,
               "%s has no example of a request and its reply", method_table[method].name);
    expect(checker, checker->methods_seen == METHOD_COUNT, "methods are missing");
    expect(checker, checker->errors_seen == CODES, "errors are missing");
    expect(checker, checker->limits_seen == LIMITS, "limits are missing");
    expect(checker, checker->kinds_seen == KINDS, "events are missing");
    expect(checker, checker->error_type_seen == 1, "one table of the fields of detail is needed");
    expect(checker, checker->errors_shown > 0, "there is no example of an error");
    expect(checker, checker->farewells_shown > 0, "there is no example of a notification");
}

/* How many problems there are; each is a line of the report. */
static unsigned check_document(const char *text, FILE *report)
{
    struct checker checker = {.report = report, .open = METHOD_COUNT};
    bool in_methods = false;
    char line[LINE_SIZE];
    struct document_row row;

    while (document_line(&text, line, sizeof(line))) {
        check_words(&checker, line);
        if (strncmp(line, "## ", 3) == 0)
            in_methods = strcmp(line, "## Methods") == 0;
        else if (in_methods && strncmp(line, "### ", 4) == 0)
            check_heading(&checker, line + 4);
        else if (strcmp(line, "```") == 0)
            check_example(&checker, &text);
        else if (document_split(line, &row))
            check_table(&checker, &row, &text);
    }
    check_complete(&checker);
    return checker.problems;
}

START_TEST(test_protocol_doc_says_what_the_list_says)
{
    char *text = document_read("protocol.md"), *report;
    size_t size;

    FILE *out = open_memstream(&report, &size);
    unsigned problems = check_document(text, out);
    fclose(out);
    if (problems > 0)
        fprintf(stderr, "%s", report); /* it may be too long for a message */
    ck_assert_msg(problems == 0, "%u problems", problems);
    free(report);
    free(text);
}
END_TEST

/* Where the checker must notice that `part` has become `other`. */
static void check_noticed(const char *part, const char *other)
{
    char *text = document_read("protocol.md"), *report;
    char *wrong = document_replace(text, part, other);
    size_t size;

    FILE *out = open_memstream(&report, &size);
    unsigned problems = check_document(wrong, out);
    fclose(out);
    ck_assert_msg(problems > 0, "'%s' instead of '%s' goes unnoticed", other, part);
    free(report);
    free(wrong);
    free(text);
}

START_TEST(test_protocol_doc_notices_a_wrong_example)
{
    check_noticed("70 69 6e 67 80", "70 69 6e 67 81"); /* no message any more */
    check_noticed("94 00 02 a4 70", "94 00 03 a4 70"); /* another value */
    check_noticed("\"pid\": 4711", "\"pid\": 4712");   /* another value beside it */
    check_noticed("94 00 02 a4 70 69 6e 67 80", "94 00 cc 02 a4 70 69 6e 67 80"); /* other bytes */
    check_noticed("[0, 2, \"ping\", {}]\n94 00 02 a4 70 69 6e 67 80", "");        /* none */
    check_noticed("[1, 3, nil, {\"pool\": 1}]\n94 01 03 c0 81 a4 70 6f 6f 6c 01", "");
}
END_TEST

START_TEST(test_protocol_doc_notices_a_wrong_method)
{
    check_noticed("### ping\n", "### pong\n");
    check_noticed("### ping\n", "");
    check_noticed("### stats\n", "### stats\n\n### fly\n");
    check_noticed("## Errors\n", "### fly\n\n## Errors\n");
}
END_TEST

START_TEST(test_protocol_doc_notices_a_wrong_field)
{
    check_noticed("| `nonce` | u32 | 65535 | yes |", "| `nonce` | u32 | 65536 | yes |");
    check_noticed("| `nonce` | u32 | 65535 | yes |", "| `nonce` | u64 | 65535 | yes |");
    check_noticed("| `nonce` | u32 | 65535 | yes |", "| `nonce` | u32 | 65535 | |");
    check_noticed("| `nonce` | u32 | 65535 | yes |", "| `nonces` | u32 | 65535 | yes |");
    check_noticed("| `created` | bool | | yes | |\n", "");
    check_noticed("| `descriptors` | u32 | 4 | yes | that come with this reply |\n", "");
    check_noticed("| `created` | bool | | yes | |\n",
                  "| `created` | bool | | yes | |\n| `x` | u32 | | | |\n");
    check_noticed("| `sessions` request | type", "| `session` request | type");
    check_noticed("| `position` | u64 |", "| `position` | u32 |");
}
END_TEST

START_TEST(test_protocol_doc_notices_a_wrong_error)
{
    check_noticed("| `TIMEOUT` | 41 |", "| `TIMEOUT` | 44 |");
    check_noticed("| `TIMEOUT` | 41 |", "| `TIMED_OUT` | 41 |");
    check_noticed("| 22 | `pool`, `allocated`, `members` |", "| 22 | `pool`, `allocated` |");
    check_noticed("| 23 | `pool`? |", "| 23 | `pool` |");
    check_noticed("| `UNKNOWN_METHOD` | 2 | | |\n", "");
    check_noticed("Errors: `NOT_A_MEMBER`.\n", "Errors: `NO_MEMBER`.\n");
}
END_TEST

START_TEST(test_protocol_doc_notices_a_wrong_event)
{
    check_noticed("| `held-long` |", "| `held-longer` |");
    check_noticed("| `evicted` | objects were freed for a critical request | objects |\n", "");
    check_noticed("| kind | what happened |", "| sort | what happened |");
}
END_TEST

START_TEST(test_protocol_doc_notices_a_wrong_limit)
{
    check_noticed("| sessions | 4096 |", "| sessions | 4095 |");
    check_noticed("| alignment | 4096 |\n", "");
    check_noticed("| alignment | 4096 |\n", "| alignment | 4096 |\n| wishes | 3 |\n");
}
END_TEST

SUITE_MAIN("protocol_doc", test_protocol_doc_says_what_the_list_says,
           test_protocol_doc_notices_a_wrong_example, test_protocol_doc_notices_a_wrong_method,
           test_protocol_doc_notices_a_wrong_field, test_protocol_doc_notices_a_wrong_error,
           test_protocol_doc_notices_a_wrong_event, test_protocol_doc_notices_a_wrong_limit)
