/* SPDX-License-Identifier: MIT */
/*
 * The scanner walks MessagePack bytes as they arrive and says where a message ends, before any of
 * them reaches msgpack-c, which by itself can be made to reserve gigabytes by five bytes. It is
 * resumable (a byte is looked at once, however the bytes drip in), iterative, takes no memory, and
 * is pure: bytes in, verdict out.
 *
 * What it lets through: one whole value of at most SCAN_MESSAGE_MAX bytes; nothing deeper than
 * SCAN_DEPTH_MAX; no array or map that declares more than can still follow; maps of at most
 * SCAN_MAP_MAX entries whose keys are strings, each of them once; no ext types.
 */
#ifndef PROTO_SCAN_H
#define PROTO_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define SCAN_MESSAGE_MAX 65536u /* bytes */
#define SCAN_DEPTH_MAX 8u       /* containers inside each other */
#define SCAN_MAP_MAX 32u        /* entries of one map */

enum scan_result {
    SCAN_MORE,      /* nothing wrong so far; needs more bytes */
    SCAN_DONE,      /* a whole message: scan->position bytes */
    SCAN_TOO_LARGE, /* longer than SCAN_MESSAGE_MAX, or declares more than can follow */
    SCAN_TOO_DEEP,
    SCAN_BAD_BYTE, /* 0xc1, or an ext type */
    SCAN_BAD_KEY,  /* a map key that isn't a string, or is longer than 255 bytes */
    SCAN_TOO_MANY_KEYS,
    SCAN_DUPLICATE_KEY,
};

struct scan_level {
    uint32_t remaining; /* elements still to come; keys and values both count */
    uint32_t is_map;
    uint32_t keys; /* seen so far */
    struct {
        uint16_t offset;
        uint8_t length;
    } key[SCAN_MAP_MAX];
};

struct scan {
    size_t position; /* bytes that need no second look */
    uint32_t depth;
    struct scan_level level[SCAN_DEPTH_MAX];
};

/* Begins a new message. */
void scan_init(struct scan *scan);

/*
 * Goes on with the message that begins at data[0], of which `size` bytes are there by now: the same
 * bytes as at the last call, and perhaps more behind them (they may have moved). After SCAN_DONE or
 * an error the scanner has to be begun anew.
 */
enum scan_result scan_continue(struct scan *scan, const uint8_t *data, size_t size);

/* One line for a person: what is wrong with the message. */
const char *scan_result_text(enum scan_result result);

#endif
