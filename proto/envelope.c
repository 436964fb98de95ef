/* SPDX-License-Identifier: MIT */
#include "proto/envelope.h"

#include <errno.h>
#include <string.h>

#define ZONE_CHUNK 8192

int decoder_init(struct decoder *decoder)
{
    return msgpack_zone_init(&decoder->zone, ZONE_CHUNK) ? 0 : -ENOMEM;
}

void decoder_deinit(struct decoder *decoder)
{
    msgpack_zone_destroy(&decoder->zone);
}

/* ---- Decoding -------------------------------------------------------------------------------- */

static bool malformed(struct error *error, const char *what)
{
    error_set(error, ERROR_MALFORMED, "not a MessagePack-RPC message: %s", what);
    return false;
}

static bool take_msgid(const msgpack_object *object, struct envelope *envelope)
{
    envelope->msgid = (uint32_t)object->via.u64;
    return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= UINT32_MAX;
}

static bool take_call(const msgpack_object *method, const msgpack_object *params,
                      struct envelope *envelope)
{
    envelope->method = (struct bytes){(const uint8_t *)method->via.str.ptr, method->via.str.size};
    envelope->params = params;
    return method->type == MSGPACK_OBJECT_STR;
}

static bool take_frame(const msgpack_object *frame, struct envelope *envelope, struct error *error)
{
    if (frame->type != MSGPACK_OBJECT_ARRAY || frame->via.array.size < 1)
        return malformed(error, "it must be an array");

    const msgpack_object *elements = frame->via.array.ptr;
    uint32_t size = frame->via.array.size;
    bool is_kind = elements[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    uint64_t kind = elements[0].via.u64;

    *envelope = (struct envelope){.kind = (enum envelope_kind)kind};
    if (is_kind && kind == ENVELOPE_REQUEST && size == 4)
        return (take_msgid(&elements[1], envelope) &&
                take_call(&elements[2], &elements[3], envelope)) ||
               malformed(error, "a request is [0, msgid, method, params]");
    if (is_kind && kind == ENVELOPE_RESPONSE && size == 4) {
        envelope->error = &elements[2];
        envelope->result = &elements[3];
        return take_msgid(&elements[1], envelope) ||
               malformed(error, "a response is [1, msgid, error, result]");
    }
    if (is_kind && kind == ENVELOPE_NOTIFICATION && size == 3)
        return take_call(&elements[1], &elements[2], envelope) ||
               malformed(error, "a notification is [2, method, params]");
    return malformed(error, "its first element must be 0, 1 or 2, and its length fit that");
}

bool envelope_decode(struct decoder *decoder, const uint8_t *data, size_t size,
                     struct envelope *envelope, struct error *error)
{
    msgpack_object frame;
    size_t offset = 0;

    msgpack_zone_clear(&decoder->zone);
    switch (msgpack_unpack((const char *)data, size, &offset, &decoder->zone, &frame)) {
    case MSGPACK_UNPACK_SUCCESS:
        return take_frame(&frame, envelope, error);
    case MSGPACK_UNPACK_NOMEM_ERROR:
        error_set(error, ERROR_OUT_OF_MEMORY, "no memory to decode a message of %zu bytes", size);
        return false;
    default:
        return malformed(error, "msgpack-c refuses it");
    }
}

static const msgpack_object *find_detail(const msgpack_object *map)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_str *key = &map->via.map.ptr[i].key.via.str;
        if (key->size == 6 && memcmp(key->ptr, "detail", 6) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

bool envelope_decode_error(const msgpack_object *map, struct error *error)
{
    struct error_head head;
    struct error decoded, ignored;

    if (!message_decode(&error_head_type, map, false, &head, &ignored) || head.code == ERROR_NONE)
        return false;

    const struct message_type *type = error_detail_type((enum error_code)head.code);
    const msgpack_object *detail = find_detail(map);
    memset(&decoded, 0, sizeof(decoded));
    if (type && detail && !message_decode(type, detail, false, &decoded, &ignored))
        return false;
    decoded.code = (enum error_code)head.code;
    memcpy(decoded.message, head.message, sizeof(decoded.message));
    *error = decoded;
    return true;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* msgpack-c's own buffer fails only for want of memory; then what was written of the frame goes. */
struct frame {
    msgpack_sbuffer *buffer;
    size_t start;
    bool failed;
};

static int frame_write(void *data, const char *bytes, size_t size)
{
    struct frame *frame = data;
    msgpack_sbuffer *buffer = frame->buffer;
    if (size == 1 && buffer->size < buffer->alloc) { /* every other piece is one byte */
        buffer->data[buffer->size++] = *bytes;
        return 0;
    }
    if (!frame->failed && msgpack_sbuffer_write(buffer, bytes, size) < 0)
        frame->failed = true;
    return frame->failed ? -1 : 0;
}

static void frame_begin(struct frame *frame, msgpack_sbuffer *buffer, msgpack_packer *packer,
                        enum envelope_kind kind)
{
    *frame = (struct frame){buffer, buffer->size, false};
    msgpack_packer_init(packer, frame, frame_write);
    msgpack_pack_array(packer, kind == ENVELOPE_NOTIFICATION ? 3 : 4);
    msgpack_pack_uint8(packer, (uint8_t)kind);
}

static int frame_end(struct frame *frame)
{
    if (!frame->failed)
        return 0;
    frame->buffer->size = frame->start;
    return -ENOMEM;
}

static void pack_text(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str_with_body(packer, text, strlen(text));
}

static void pack_error(msgpack_packer *packer, const struct error *error)
{
    msgpack_pack_map(packer, 4);
    pack_text(packer, "code");
    msgpack_pack_uint32(packer, (uint32_t)error->code);
    pack_text(packer, "name");
    pack_text(packer, error_name(error->code));
    pack_text(packer, "message");
    pack_text(packer, error->message);
    pack_text(packer, "detail");
    message_encode(error_detail_type(error->code), error, packer);
}

int envelope_encode_request(msgpack_sbuffer *buffer, uint32_t msgid, enum method method,
                            const void *request)
{
    struct frame frame;
    msgpack_packer packer;
    frame_begin(&frame, buffer, &packer, ENVELOPE_REQUEST);
    msgpack_pack_uint32(&packer, msgid);
    pack_text(&packer, method_table[method].name);
    message_encode(method_table[method].request, request, &packer);
    return frame_end(&frame);
}

int envelope_encode_reply(msgpack_sbuffer *buffer, uint32_t msgid, enum method method,
                          const void *reply)
{
    struct frame frame;
    msgpack_packer packer;
    frame_begin(&frame, buffer, &packer, ENVELOPE_RESPONSE);
    msgpack_pack_uint32(&packer, msgid);
    msgpack_pack_nil(&packer);
    message_encode(method_table[method].reply, reply, &packer);
    return frame_end(&frame);
}

int envelope_encode_error(msgpack_sbuffer *buffer, uint32_t msgid, const struct error *error)
{
    struct frame frame;
    msgpack_packer packer;
    frame_begin(&frame, buffer, &packer, ENVELOPE_RESPONSE);
    msgpack_pack_uint32(&packer, msgid);
    pack_error(&packer, error);
    msgpack_pack_nil(&packer);
    return frame_end(&frame);
}

int envelope_encode_farewell(msgpack_sbuffer *buffer, const struct error *error)
{
    struct frame frame;
    msgpack_packer packer;
    frame_begin(&frame, buffer, &packer, ENVELOPE_NOTIFICATION);
    pack_text(&packer, "error");
    pack_error(&packer, error);
    return frame_end(&frame);
}
