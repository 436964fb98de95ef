/* SPDX-License-Identifier: MIT */
/*
 * Text that a peer chose, and that others will decode, print and log: names, types, messages.
 */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether the bytes are well-formed UTF-8 without control characters (U+0000 to U+001F, U+007F to
 * U+009F).
 */
bool text_is_plain(const char *text, size_t size);

#endif
