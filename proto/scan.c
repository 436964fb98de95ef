/* SPDX-License-Identifier: MIT */
#include "proto/scan.h"

#include <stdbool.h>
#include <string.h>

/* What one byte, and the length that may follow it, announce. */
struct token {
    enum { TOKEN_SCALAR, TOKEN_STRING, TOKEN_ARRAY, TOKEN_MAP, TOKEN_BAD } kind;
    uint32_t header; /* bytes: the first, and those of the length */
    uint64_t count;  /* bytes that follow, elements, or entries */
};

void scan_init(struct scan *scan)
{
    scan->position = 0;
    scan->depth = 0;
}

/* A big-endian length of 1, 2 or 4 bytes. */
static uint64_t read_length(const uint8_t *data, uint32_t bytes)
{
    uint64_t length = 0;
    for (uint32_t i = 0; i < bytes; i++)
        length = length << 8 | data[i];
    return length;
}

/* The kinds and sizes of 0xc0 to 0xdf, from the MessagePack specification. */
static struct token token_of(uint8_t byte)
{
    static const uint8_t scalar_size[] = {
        [0xc0 - 0xc0] = 0, [0xc2 - 0xc0] = 0, [0xc3 - 0xc0] = 0, [0xca - 0xc0] = 4,
        [0xcb - 0xc0] = 8, [0xcc - 0xc0] = 1, [0xcd - 0xc0] = 2, [0xce - 0xc0] = 4,
        [0xcf - 0xc0] = 8, [0xd0 - 0xc0] = 1, [0xd1 - 0xc0] = 2, [0xd2 - 0xc0] = 4,
        [0xd3 - 0xc0] = 8,
    };

    if (byte <= 0x7f || byte >= 0xe0)
        return (struct token){TOKEN_SCALAR, 1, 0};
    if (byte <= 0x8f)
        return (struct token){TOKEN_MAP, 1, byte & 0x0f};
    if (byte <= 0x9f)
        return (struct token){TOKEN_ARRAY, 1, byte & 0x0f};
    if (byte <= 0xbf)
        return (struct token){TOKEN_STRING, 1, byte & 0x1f};

    switch (byte) {
    case 0xc1:          /* never used */
    case 0xc7 ... 0xc9: /* ext */
    case 0xd4 ... 0xd8: /* fixext */
        return (struct token){TOKEN_BAD, 1, 0};
    case 0xc4 ... 0xc6: /* bin */
        return (struct token){TOKEN_SCALAR, 1 + (1u << (byte - 0xc4)), 0};
    case 0xd9 ... 0xdb: /* str */
        return (struct token){TOKEN_STRING, 1 + (1u << (byte - 0xd9)), 0};
    case 0xdc ... 0xdd:
        return (struct token){TOKEN_ARRAY, 1 + (2u << (byte - 0xdc)), 0};
    case 0xde ... 0xdf:
        return (struct token){TOKEN_MAP, 1 + (2u << (byte - 0xde)), 0};
    default:
        return (struct token){TOKEN_SCALAR, 1, scalar_size[byte - 0xc0]};
    }
}

static bool key_is_duplicate(const struct scan_level *level, const uint8_t *data,
                             const uint8_t *key, uint8_t length)
{
    for (uint32_t i = 0; i < level->keys; i++)
        if (level->key[i].length == length && memcmp(data + level->key[i].offset, key, length) == 0)
            return true;
    return false;
}

static enum scan_result take_key(struct scan_level *level, const uint8_t *data, size_t offset,
                                 const struct token *token)
{
    if (token->kind != TOKEN_STRING || token->count > UINT8_MAX)
        return SCAN_BAD_KEY;
    uint8_t length = (uint8_t)token->count;
    if (key_is_duplicate(level, data, data + offset, length))
        return SCAN_DUPLICATE_KEY;
    level->key[level->keys].offset = (uint16_t)offset;
    level->key[level->keys].length = length;
    level->keys++;
    return SCAN_MORE;
}

/* Whether the element that comes next is a map's key. */
static bool expects_key(const struct scan *scan)
{
    if (scan->depth == 0)
        return false;
    const struct scan_level *level = &scan->level[scan->depth - 1];
    return level->is_map && level->remaining % 2 == 0;
}

/* One element is over; so are the containers that it was the last of. */
static enum scan_result leave(struct scan *scan)
{
    while (scan->depth > 0) {
        if (--scan->level[scan->depth - 1].remaining > 0)
            return SCAN_MORE;
        scan->depth--;
    }
    return SCAN_DONE;
}

static enum scan_result enter(struct scan *scan, const struct token *token)
{
    bool is_map = token->kind == TOKEN_MAP;
    uint64_t elements = is_map ? 2 * token->count : token->count;
    if (elements > SCAN_MESSAGE_MAX - scan->position)
        return SCAN_TOO_LARGE;
    if (is_map && token->count > SCAN_MAP_MAX)
        return SCAN_TOO_MANY_KEYS;
    if (scan->depth == SCAN_DEPTH_MAX)
        return SCAN_TOO_DEEP;
    if (elements == 0)
        return leave(scan);

    struct scan_level *level = &scan->level[scan->depth++];
    level->remaining = (uint32_t)elements;
    level->is_map = is_map;
    level->keys = 0;
    return SCAN_MORE;
}

/* Reads the token at the position, its length included. False if its header isn't all there yet. */
static bool read_token(const struct scan *scan, const uint8_t *data, size_t size,
                       struct token *token)
{
    if (scan->position == size)
        return false;
    *token = token_of(data[scan->position]);
    if (size - scan->position < token->header)
        return false;
    if (token->header > 1)
        token->count = read_length(data + scan->position + 1, token->header - 1);
    return true;
}

static enum scan_result take_token(struct scan *scan, const uint8_t *data,
                                   const struct token *token)
{
    size_t content = scan->position + token->header;
    if (expects_key(scan)) {
        enum scan_result result = take_key(&scan->level[scan->depth - 1], data, content, token);
        if (result != SCAN_MORE)
            return result;
    }
    bool is_container = token->kind == TOKEN_ARRAY || token->kind == TOKEN_MAP;
    scan->position = is_container ? content : content + token->count;
    return is_container ? enter(scan, token) : leave(scan);
}

enum scan_result scan_continue(struct scan *scan, const uint8_t *data, size_t size)
{
    enum scan_result result = SCAN_MORE;
    struct token token;

    while (result == SCAN_MORE && read_token(scan, data, size, &token)) {
        if (token.kind == TOKEN_BAD)
            return SCAN_BAD_BYTE;
        bool is_container = token.kind == TOKEN_ARRAY || token.kind == TOKEN_MAP;
        uint64_t bytes = token.header + (is_container ? 0 : token.count);
        if (bytes > SCAN_MESSAGE_MAX - scan->position)
            return SCAN_TOO_LARGE;
        if (bytes > size - scan->position)
            break;
        result = take_token(scan, data, &token);
    }
    return result == SCAN_MORE && size >= SCAN_MESSAGE_MAX ? SCAN_TOO_LARGE : result;
}

const char *scan_result_text(enum scan_result result)
{
    switch (result) {
    case SCAN_MORE:
        return "the message is not complete";
    case SCAN_DONE:
        return "the message is well-formed";
    case SCAN_TOO_LARGE:
        return "the message is longer than 65536 bytes";
    case SCAN_TOO_DEEP:
        return "the message nests more than 8 arrays and maps";
    case SCAN_BAD_BYTE:
        return "the message has a byte that MessagePack doesn't define, or an ext type";
    case SCAN_BAD_KEY:
        return "a map has a key that is not a string of at most 255 bytes";
    case SCAN_TOO_MANY_KEYS:
        return "a map has more than 32 entries";
    case SCAN_DUPLICATE_KEY:
        return "a map has the same key twice";
    }
    return "unknown";
}
