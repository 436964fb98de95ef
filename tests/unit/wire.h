/* SPDX-License-Identifier: MIT */
/*
 * Bytes on their way through the protocol's layers, as the daemon and the library send them: packed
 * by hand or by the encoder, judged by the scanner, unpacked.
 */
#ifndef TESTS_UNIT_WIRE_H
#define TESTS_UNIT_WIRE_H

#include <check.h>
#include <msgpack.h>
#include <string.h>

#include "proto/scan.h"

struct wire {
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_unpacked unpacked;
};

static inline void wire_init(struct wire *wire)
{
    msgpack_sbuffer_init(&wire->buffer);
    msgpack_packer_init(&wire->packer, &wire->buffer, msgpack_sbuffer_write);
    msgpack_unpacked_init(&wire->unpacked);
}

static inline void wire_deinit(struct wire *wire)
{
    msgpack_unpacked_destroy(&wire->unpacked);
    msgpack_sbuffer_destroy(&wire->buffer);
}

static inline void wire_pack_text(struct wire *wire, const char *text)
{
    msgpack_pack_str_with_body(&wire->packer, text, strlen(text));
}

/* What was packed, which must be one whole message that the scanner lets through. */
static inline const msgpack_object *wire_unpack(struct wire *wire)
{
    struct scan scan;
    size_t offset = 0;

    scan_init(&scan);
    ck_assert_int_eq(scan_continue(&scan, (const uint8_t *)wire->buffer.data, wire->buffer.size),
                     SCAN_DONE);
    ck_assert_uint_eq(scan.position, wire->buffer.size);
    ck_assert_int_eq(
        msgpack_unpack_next(&wire->unpacked, wire->buffer.data, wire->buffer.size, &offset),
        MSGPACK_UNPACK_SUCCESS);
    return &wire->unpacked.data;
}

#endif
