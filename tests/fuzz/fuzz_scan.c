/* SPDX-License-Identifier: MIT */
/*
 * Bytes from a socket: the scanner, however they drip in, and, if it lets them through, the envelope
 * and the message in it. An input is
 *
 *   pieces : 1    how the bytes drip in
 *   ballast : 1   not 0: they are the second element of an array, behind so many times 256 bytes
 *   type : 1      as which message what is in the envelope is decoded, beside what it says it is
 *   the bytes
 */
#include "proto/envelope.h"
#include "proto/scan.h"
#include "tests/fuzz/fuzz.h"

#define BALLAST_HEADER 4u
#define PAYLOAD_MAX 8192u
#define ELEMENT_MAX 1024u

#define TYPE_OF(name, fields) &name##_type,
static const struct message_type *const types[] = {PROTOCOL_MESSAGES(TYPE_OF)};
#define TYPES (sizeof(types) / sizeof(types[0]))

#define UNION_MEMBER(name, fields) struct name name;
union message {
    PROTOCOL_MESSAGES(UNION_MEMBER)
};

static struct decoder decoder, again;

/* Of the sanitizer, if there is one. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

/* ---- Scanning -------------------------------------------------------------------------------- */

static enum scan_result scan_whole(struct scan *scan, const uint8_t *bytes, size_t size)
{
    scan_init(scan);
    return scan_continue(scan, bytes, size);
}

/*
 * Each time a copy of just what is there, so that a byte behind it isn't looked at. After a step of
 * the seed comes the next.
 */
static enum scan_result scan_in_pieces(struct scan *scan, const uint8_t *bytes, size_t size,
                                       uint8_t seed)
{
    enum scan_result result = SCAN_MORE;
    size_t there = 0;
    uint32_t state = seed;
    scan_init(scan);
    for (unsigned piece = 0; result == SCAN_MORE && there < size; piece++) {
        state = state * 1103515245 + 12345;
        there += piece < 16 ? 1 + (state >> 16) % (seed % 32 + 1) : size;
        there = there < size ? there : size;
        uint8_t *copy = malloc(there);
        FUZZ_REQUIRE(copy);
        memcpy(copy, bytes, there);
        result = scan_continue(scan, copy, there);
        FUZZ_REQUIRE(scan->position <= there);
        free(copy);
    }
    return result;
}

static enum scan_result check_scan(const uint8_t *bytes, size_t size, uint8_t seed, size_t *length)
{
    static struct scan whole, pieces;
    enum scan_result result = scan_whole(&whole, bytes, size);
    FUZZ_REQUIRE(scan_result_text(result)[0] != '\0');
    FUZZ_REQUIRE(whole.position <= size && whole.position <= SCAN_MESSAGE_MAX);
    FUZZ_REQUIRE(result != SCAN_MORE || size < SCAN_MESSAGE_MAX);
    FUZZ_REQUIRE(size == 0 || scan_in_pieces(&pieces, bytes, size, seed) == result);
    FUZZ_REQUIRE(result != SCAN_DONE || pieces.position == whole.position);
    *length = whole.position;
    return result;
}

/* What the scanner lets through msgpack-c takes, all of it, and in no more memory than follows. */
static void check_unpack(const uint8_t *bytes, size_t size)
{
    msgpack_object object;
    size_t offset = 0, before = allocated();
    msgpack_zone_clear(&again.zone);
    FUZZ_REQUIRE(msgpack_unpack((const char *)bytes, size, &offset, &again.zone, &object) ==
                 MSGPACK_UNPACK_SUCCESS);
    FUZZ_REQUIRE(offset == size);
    FUZZ_REQUIRE(allocated() - before <= 4 * sizeof(msgpack_object) * size + 16384);
    msgpack_zone_clear(&again.zone);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static bool decode(const struct message_type *type, const msgpack_object *map, bool strict,
                   union message *message)
{
    struct error error = {.code = ERROR_NONE};
    FUZZ_REQUIRE(type->size <= sizeof(*message));
    if (message_decode(type, map, strict, message, &error))
        return true;
    FUZZ_REQUIRE(error.code == ERROR_INVALID_ARGUMENT && error.message[0] != '\0');
    return false;
}

/* What stands in a list becomes structs, as they are encoded of. False if one is none. */
static bool decode_list(const struct message_type *type, bool strict, struct list *list)
{
    static uint8_t elements[2][PROTOCOL_LIST_MAX * ELEMENT_MAX];
    static unsigned turn;
    uint8_t *place = elements[turn++ % 2];
    const msgpack_object *items = list->items;
    FUZZ_REQUIRE(list->count <= PROTOCOL_LIST_MAX && type->size <= ELEMENT_MAX);
    for (size_t i = 0; i < list->count; i++) {
        static union message element;
        if (!decode(type, &items[i], strict, &element))
            return false;
        memcpy(place + i * type->size, &element, type->size);
    }
    list->items = place;
    return true;
}

static bool decode_lists(const struct message_type *type, bool strict, union message *message)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct message_field *field = &type->fields[i];
        void *place = (char *)message + field->offset;
        if (field->kind == FIELD_LIST && !decode_list(field->element, strict, place))
            return false;
    }
    return true;
}

static bool is_same(const struct message_type *type, const void *one, const void *other);

static bool is_same_list(const struct message_field *field, const struct list *one,
                         const struct list *other)
{
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++)
        same = is_same(field->element, (const char *)one->items + i * field->element->size,
                       (const char *)other->items + i * field->element->size);
    return same;
}

static bool is_same_bytes(const struct bytes *one, const struct bytes *other)
{
    return one->size == other->size &&
           (one->size == 0 || memcmp(one->data, other->data, one->size) == 0);
}

static bool is_same_field(const struct message_field *field, const void *one, const void *other)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_U32:
        return *(const uint32_t *)one == *(const uint32_t *)other;
    case FIELD_U64:
    case FIELD_I64:
        return *(const uint64_t *)one == *(const uint64_t *)other;
    case FIELD_BOOL:
        return *(const bool *)one == *(const bool *)other;
    case FIELD_STR:
        return strlen(one) <= field->limit && strcmp(one, other) == 0;
    case FIELD_BIN:
        return is_same_bytes(one, other);
    case FIELD_LIST:
        return is_same_list(field, one, other);
    }
    return false;
}

static bool is_same(const struct message_type *type, const void *one, const void *other)
{
    bool same = true;
    for (size_t i = 0; same && i < type->field_count; i++) {
        size_t offset = type->fields[i].offset;
        same = is_same_field(&type->fields[i], (const char *)one + offset,
                             (const char *)other + offset);
    }
    return same;
}

/* What was encoded is let through, and is decoded to the same. */
static void check_encoded(const struct message_type *type, const union message *message)
{
    static union message back;
    static struct scan scan;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_object object;
    size_t offset = 0;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    message_encode(type, message, &packer);
    FUZZ_REQUIRE(scan_whole(&scan, (const uint8_t *)buffer.data, buffer.size) == SCAN_DONE);
    FUZZ_REQUIRE(scan.position == buffer.size);
    msgpack_zone_clear(&again.zone);
    FUZZ_REQUIRE(msgpack_unpack(buffer.data, buffer.size, &offset, &again.zone, &object) ==
                 MSGPACK_UNPACK_SUCCESS);
    FUZZ_REQUIRE(decode(type, &object, true, &back) && decode_lists(type, true, &back));
    FUZZ_REQUIRE(is_same(type, message, &back));
    msgpack_zone_clear(&again.zone);
    msgpack_sbuffer_destroy(&buffer);
}

static void check_message(const struct message_type *type, const msgpack_object *map)
{
    static union message strict, lenient;
    bool taken = decode(type, map, true, &strict);
    FUZZ_REQUIRE(decode(type, map, false, &lenient) || !taken);
    if (!decode(type, map, false, &lenient) || !decode_lists(type, false, &lenient))
        return;
    check_encoded(type, &lenient);
}

static void check_error(const msgpack_object *map)
{
    struct error error, back, unread;
    struct envelope envelope;
    msgpack_sbuffer buffer;
    if (!envelope_decode_error(map, &error) || !error_name(error.code))
        return;
    msgpack_sbuffer_init(&buffer);
    FUZZ_REQUIRE(envelope_encode_error(&buffer, 1, &error) == 0);
    FUZZ_REQUIRE(
        envelope_decode(&again, (const uint8_t *)buffer.data, buffer.size, &envelope, &unread));
    FUZZ_REQUIRE(envelope.kind == ENVELOPE_RESPONSE);
    FUZZ_REQUIRE(envelope_decode_error(envelope.error, &back));
    FUZZ_REQUIRE(back.code == error.code && strcmp(back.message, error.message) == 0);
    FUZZ_REQUIRE(is_same(error_detail_type(error.code), &error, &back));
    msgpack_zone_clear(&again.zone);
    msgpack_sbuffer_destroy(&buffer);
}

static void check_envelope(const uint8_t *bytes, size_t size, const struct message_type *type)
{
    struct envelope envelope;
    struct error error = {.code = ERROR_NONE};
    if (!envelope_decode(&decoder, bytes, size, &envelope, &error)) {
        FUZZ_REQUIRE(error.code == ERROR_MALFORMED && error.message[0] != '\0');
        return;
    }
    if (envelope.kind == ENVELOPE_RESPONSE) {
        check_error(envelope.error);
        check_message(type, envelope.result);
        return;
    }
    enum method method = method_find((const char *)envelope.method.data, envelope.method.size);
    check_message(method == METHOD_COUNT ? type : method_table[method].request, envelope.params);
    check_error(envelope.params);
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* The bytes in a place of just their size; behind a ballast, if there is one. */
static uint8_t *place(const struct fuzz_input *input, size_t ballast, size_t *size)
{
    size_t payload = input->size < PAYLOAD_MAX ? input->size : PAYLOAD_MAX;
    size_t before = ballast > 0 ? BALLAST_HEADER + ballast : 0;
    uint8_t *bytes = malloc(before + payload + 1);
    FUZZ_REQUIRE(bytes);
    if (ballast > 0) {
        const uint8_t header[BALLAST_HEADER] = {0x92, 0xc5, (uint8_t)(ballast >> 8),
                                                (uint8_t)ballast};
        memcpy(bytes, header, sizeof(header));
        memset(bytes + sizeof(header), 0, ballast);
    }
    memcpy(bytes + before, input->data, payload);
    *size = before + payload;
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t whole, length;
    if (!decoder.zone.chunk_size)
        FUZZ_REQUIRE(decoder_init(&decoder) == 0 && decoder_init(&again) == 0);
    uint8_t seed = (uint8_t)fuzz_take(&input, 1);
    size_t ballast = 256 * fuzz_take(&input, 1);
    const struct message_type *type = types[fuzz_choose(&input, TYPES)];

    uint8_t *bytes = place(&input, ballast, &whole);
    if (check_scan(bytes, whole, seed, &length) == SCAN_DONE) {
        check_unpack(bytes, length);
        check_envelope(bytes, length, type);
    }
    free(bytes);
    return 0;
}
