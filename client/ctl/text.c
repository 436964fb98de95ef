/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* The length of the UTF-8 sequence that begins here, and its code point; 0 if it is none. */
static size_t decode(const unsigned char *text, uint32_t *code_point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : 4;

    if (length == 1) {
        *code_point = text[0];
        return 1;
    }
    if (length == 4 && text[0] >> 3 != 30)
        return 0;
    uint32_t value = text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code_point = value;
    return length;
}

static bool is_harmless(uint32_t code_point)
{
    return code_point >= 0x20 && !(code_point >= 0x7f && code_point <= 0x9f) &&
           code_point != 0x061c && !(code_point >= 0x200e && code_point <= 0x200f) &&
           !(code_point >= 0x2028 && code_point <= 0x202e) &&
           !(code_point >= 0x2066 && code_point <= 0x2069);
}

char *text_clean(const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    char *clean = must(malloc(4 * strlen(text) + 1));
    char *out = clean;

    while (*in) {
        uint32_t code_point = 0;
        size_t length = decode(in, &code_point);
        if (length && is_harmless(code_point)) {
            memcpy(out, in, length);
            in += length;
            out += length;
            continue;
        }
        for (size_t i = 0; i < (length ? length : 1); i++)
            out += sprintf(out, "\\x%02x", *in++);
    }
    *out = '\0';
    return clean;
}

void text_write(FILE *file, const char *text)
{
    char *clean = text_clean(text);

    fputs(clean, file);
    free(clean);
}

size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text >> 6) != 2;
    return width;
}

const char *text_number(uint64_t number, char buffer[TEXT_NUMBER_SIZE])
{
    char digits[TEXT_NUMBER_SIZE];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    char *out = buffer;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return buffer;
}

const char *text_size(uint64_t bytes, char buffer[TEXT_NUMBER_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.95 && unit < sizeof(units) / sizeof(units[0]) - 1) {
        value /= 1024;
        unit++;
    }
    bool whole = bytes % (UINT64_C(1) << (10 * unit)) == 0;
    snprintf(buffer, TEXT_NUMBER_SIZE, whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return buffer;
}

const char *text_duration(uint64_t nanoseconds, char buffer[TEXT_NUMBER_SIZE])
{
    double value = (double)nanoseconds;
    uint64_t seconds = nanoseconds / 1000000000;

    if (nanoseconds < 1000)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%" PRIu64 " ns", nanoseconds);
    else if (nanoseconds < 1000000)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%.0f us", value / 1e3);
    else if (nanoseconds < 1000000000)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%.1f ms", value / 1e6);
    else if (seconds < 60)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%.2f s", value / 1e9);
    else if (seconds < 3600)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%" PRIu64 " min %" PRIu64 " s", seconds / 60,
                 seconds % 60);
    else if (seconds < 86400)
        snprintf(buffer, TEXT_NUMBER_SIZE, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
                 seconds / 60 % 60);
    else
        snprintf(buffer, TEXT_NUMBER_SIZE, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400,
                 seconds / 3600 % 24);
    return buffer;
}
