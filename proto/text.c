/* SPDX-License-Identifier: MIT */
#include "proto/text.h"

#include <stdint.h>

/* Well-formed sequences by their first byte, from table 3-7 of the Unicode standard. */
static const struct form {
    uint8_t first, last;               /* bytes that begin it */
    uint8_t size;                      /* bytes of it */
    uint8_t second_first, second_last; /* where its second byte must lie */
} forms[] = {
    {0x20, 0x7e, 1, 0, 0},       {0xc2, 0xc2, 2, 0xa0, 0xbf}, {0xc3, 0xdf, 2, 0x80, 0xbf},
    {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f},
    {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf},
    {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct form *find_form(uint8_t byte)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (byte >= forms[i].first && byte <= forms[i].last)
            return &forms[i];
    return NULL;
}

static bool fits(const struct form *form, const uint8_t *bytes, size_t size)
{
    if (size < form->size)
        return false;
    if (form->size > 1 && (bytes[1] < form->second_first || bytes[1] > form->second_last))
        return false;
    for (size_t i = 2; i < form->size; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return false;
    return true;
}

bool text_is_plain(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t step;

    for (size_t i = 0; i < size; i += step) {
        const struct form *form = find_form(bytes[i]);
        if (!form || !fits(form, bytes + i, size - i))
            return false;
        step = form->size;
    }
    return true;
}
