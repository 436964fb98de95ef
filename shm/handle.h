/* SPDX-License-Identifier: MIT */
/*
 * Handles as the daemon and the library make, read and print them. The type itself is public, in
 * <fastalloc/handle.h>.
 */
#ifndef SHM_HANDLE_H
#define SHM_HANDLE_H

#include <endian.h>
#include <string.h>

#include <fastalloc/handle.h>

/* The nonce is never 0, and neither is a pool's id, so no handle made here is all zero. */
static inline fastalloc_handle_t handle_make(uint32_t pool, uint32_t index, uint16_t nonce,
                                             uint64_t generation)
{
    return (fastalloc_handle_t){pool, index, (uint64_t)nonce << 48 | generation};
}

static inline uint16_t handle_nonce(fastalloc_handle_t handle)
{
    return (uint16_t)(handle.tag >> 48);
}

static inline uint64_t handle_generation(fastalloc_handle_t handle)
{
    return handle.tag & ((UINT64_C(1) << 48) - 1);
}

/*
 * Writes the text form, "pool:index:tag" (decimal, decimal, 16 hexadecimal digits), NUL included.
 */
void handle_format(fastalloc_handle_t handle, char text[FASTALLOC_HANDLE_TEXT_SIZE]);

/* Reads the text form. False, and the result untouched, if it is anything but exactly that. */
bool handle_parse(const char *text, fastalloc_handle_t *handle);

/* The 16 bytes that stand for a handle on the wire: pool, index, tag, each little-endian. */
#define HANDLE_WIRE_SIZE 16

static inline void handle_to_wire(fastalloc_handle_t handle, uint8_t wire[HANDLE_WIRE_SIZE])
{
    uint32_t halves[2] = {htole32(handle.pool), htole32(handle.index)};
    uint64_t tag = htole64(handle.tag);
    memcpy(wire, halves, 8);
    memcpy(wire + 8, &tag, 8);
}

static inline fastalloc_handle_t handle_from_wire(const uint8_t wire[HANDLE_WIRE_SIZE])
{
    uint32_t halves[2];
    uint64_t tag;
    memcpy(halves, wire, 8);
    memcpy(&tag, wire + 8, 8);
    return (fastalloc_handle_t){le32toh(halves[0]), le32toh(halves[1]), le64toh(tag)};
}

#endif
