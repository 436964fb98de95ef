/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: bytes taken from an input, and laws. A target is one file,
 * fuzz_NAME.c, with LLVMFuzzerTestOneInput(); libFuzzer calls it with inputs of its own, replay.c
 * with those of corpus/NAME. Whatever the input, it leaves nothing behind.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds whatever the input is, assertions or none. */
#define FUZZ_REQUIRE(condition) fuzz_require(condition, #condition, __FILE__, __LINE__)

static inline void fuzz_require(bool holds, const char *text, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, text);
    abort();
}

/* What is left of an input. Beyond its end all is zero. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline uint64_t fuzz_take(struct fuzz_input *input, size_t bytes)
{
    uint64_t value = 0;
    size_t count = bytes < input->size ? bytes : input->size;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)input->data[i] << (8 * i);
    input->data += count;
    input->size -= count;
    return value;
}

/* So many bytes, or those that are left. */
static inline struct fuzz_input fuzz_take_bytes(struct fuzz_input *input, size_t bytes)
{
    struct fuzz_input taken = {input->data, bytes < input->size ? bytes : input->size};
    input->data += taken.size;
    input->size -= taken.size;
    return taken;
}

/* One byte: a number below `count`. */
static inline unsigned fuzz_choose(struct fuzz_input *input, unsigned count)
{
    return (unsigned)(fuzz_take(input, 1) % count);
}

#endif
