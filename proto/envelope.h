/* SPDX-License-Identifier: MIT */
/*
 * The frames of MessagePack-RPC: request [0, msgid, method, params], response [1, msgid, error,
 * result], notification [2, method, params]. Bytes that the scanner accepted in, frame out, and
 * back.
 */
#ifndef PROTO_ENVELOPE_H
#define PROTO_ENVELOPE_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "proto/message.h"

enum envelope_kind { ENVELOPE_REQUEST = 0, ENVELOPE_RESPONSE = 1, ENVELOPE_NOTIFICATION = 2 };

/* Points into the decoder's memory and the message; good until the next envelope_decode. */
struct envelope {
    enum envelope_kind kind;
    uint32_t msgid;               /* not of a notification */
    struct bytes method;          /* of a request or notification */
    const msgpack_object *params; /* of a request or notification: a map */
    const msgpack_object *error;  /* of a response: nil or a map */
    const msgpack_object *result; /* of a response */
};

/* Holds the memory of one decoded message at a time. */
struct decoder {
    msgpack_zone zone;
};

/* -ENOMEM or 0. */
int decoder_init(struct decoder *decoder);
void decoder_deinit(struct decoder *decoder);

/*
 * Decodes one whole message, which the scanner has accepted. False with MALFORMED (not a frame;
 * nothing can be answered) or OUT_OF_MEMORY.
 */
bool envelope_decode(struct decoder *decoder, const uint8_t *data, size_t size,
                     struct envelope *envelope, struct error *error);

/* Append one frame to the buffer. 0 or -ENOMEM; then the buffer is as it was. */
int envelope_encode_request(msgpack_sbuffer *buffer, uint32_t msgid, enum method method,
                            const void *request);
int envelope_encode_reply(msgpack_sbuffer *buffer, uint32_t msgid, enum method method,
                          const void *reply);
int envelope_encode_error(msgpack_sbuffer *buffer, uint32_t msgid, const struct error *error);

/*
 * The notification [2, "error", {...}]: what is said before a connection is closed for MALFORMED
 * bytes.
 */
int envelope_encode_farewell(msgpack_sbuffer *buffer, const struct error *error);

/* Reads a response's error map. False if it isn't one. Fields that are unknown are passed over. */
bool envelope_decode_error(const msgpack_object *map, struct error *error);

#endif
