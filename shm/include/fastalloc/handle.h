/* SPDX-License-Identifier: MIT */
/*
 * A handle names one allocation: the pool, the slot's index in it, and the generation that the slot
 * had when it was allocated. It is a plain value: copy it, store it, send it to another process by
 * any means; there it names the same object. Once the slot is freed the handle is stale for ever.
 *
 * It owns nothing. Looking through it is fastalloc_get(), or fastalloc_view_get() where it counts.
 */
#ifndef FASTALLOC_HANDLE_H
#define FASTALLOC_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * 16 bytes. The tag holds the instance's nonce in its top 16 bits and the slot's generation in the
 * 48 below, so that a handle of another instance, or of one before a reboot, is refused as well
 * (with 65,534 in 65,535). Treat the fields as opaque; only equality has a meaning outside of this
 * library.
 */
typedef struct fastalloc_handle {
    uint32_t pool;
    uint32_t index;
    uint64_t tag;
} fastalloc_handle_t;

/* All zero: never names an object. */
#ifdef __cplusplus
#define FASTALLOC_HANDLE_NONE (fastalloc_handle_t{0, 0, 0})
#else
#define FASTALLOC_HANDLE_NONE ((fastalloc_handle_t){0, 0, 0})
#endif

/* Room for the text form of any handle, the final NUL included. */
#define FASTALLOC_HANDLE_TEXT_SIZE 40

static inline bool fastalloc_handle_is_none(fastalloc_handle_t handle)
{
    return handle.pool == 0 && handle.index == 0 && handle.tag == 0;
}

static inline bool fastalloc_handle_equal(fastalloc_handle_t a, fastalloc_handle_t b)
{
    return a.pool == b.pool && a.index == b.index && a.tag == b.tag;
}

#ifdef __cplusplus
}
#endif

#endif
