/* SPDX-License-Identifier: MIT */
#include "proto/envelope.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/unit/suite.h"
#include "tests/unit/wire.h"

/* Under AddressSanitizer, too, memory that can't be had is NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static struct decoder decoder;
static struct envelope envelope;
static struct error error;

static void setup(void)
{
    ck_assert_int_eq(decoder_init(&decoder), 0);
}

static void teardown(void)
{
    decoder_deinit(&decoder);
}

static bool decode(const void *bytes, size_t size)
{
    memset(&envelope, 0x5a, sizeof(envelope));
    memset(&error, 0, sizeof(error));
    return envelope_decode(&decoder, bytes, size, &envelope, &error);
}

#define DECODE(bytes) decode(bytes, sizeof(bytes) - 1)

static void check_method(const char *expected)
{
    ck_assert_uint_eq(envelope.method.size, strlen(expected));
    ck_assert_mem_eq(envelope.method.data, expected, strlen(expected));
}

/* ---- Frames ---------------------------------------------------------------------------------- */

START_TEST(test_envelope_decodes_a_request)
{
    ck_assert(DECODE("\x94\x00\xce\xff\xff\xff\xff\xa4ping\x80"));
    ck_assert_int_eq(envelope.kind, ENVELOPE_REQUEST);
    ck_assert_uint_eq(envelope.msgid, UINT32_MAX);
    check_method("ping");
    ck_assert_int_eq(envelope.params->type, MSGPACK_OBJECT_MAP);
    ck_assert_ptr_null(envelope.error);
    ck_assert_ptr_null(envelope.result);
}
END_TEST

START_TEST(test_envelope_decodes_a_response)
{
    ck_assert(DECODE("\x94\x01\x05\xc0\x81\xa5"
                     "freed\x01"));
    ck_assert_int_eq(envelope.kind, ENVELOPE_RESPONSE);
    ck_assert_uint_eq(envelope.msgid, 5);
    ck_assert_int_eq(envelope.error->type, MSGPACK_OBJECT_NIL);
    ck_assert_int_eq(envelope.result->type, MSGPACK_OBJECT_MAP);
    ck_assert_ptr_null(envelope.params);
}
END_TEST

START_TEST(test_envelope_decodes_a_notification)
{
    ck_assert(DECODE("\x93\x02\xa5"
                     "error\x80"));
    ck_assert_int_eq(envelope.kind, ENVELOPE_NOTIFICATION);
    check_method("error");
    ck_assert_int_eq(envelope.params->type, MSGPACK_OBJECT_MAP);
}
END_TEST

START_TEST(test_envelope_takes_an_empty_method)
{
    ck_assert(DECODE("\x94\x00\x01\xa0\x80"));
    ck_assert_uint_eq(envelope.method.size, 0);
    ck_assert_int_eq(method_find((const char *)envelope.method.data, 0), METHOD_COUNT);
}
END_TEST

#define FRAME(bytes)                                                                               \
    {                                                                                              \
        bytes, sizeof(bytes) - 1                                                                   \
    }

START_TEST(test_envelope_refuses_what_is_no_frame)
{
    static const struct {
        const char *bytes;
        size_t size;
    } frames[] = {
        FRAME("\xc0"),
        FRAME("\x01"),
        FRAME("\xa4ping"),
        FRAME("\x80"),
        FRAME("\x81\xa1k\xc0"),
        FRAME("\x90"),
        FRAME("\x91\x00"),
        FRAME("\x93\x00\x01\xa4ping"),                       /* a request without params */
        FRAME("\x95\x00\x01\xa4ping\x80\xc0"),               /* one element too many */
        FRAME("\x94\x00\xff\xa4ping\x80"),                   /* msgid -1 */
        FRAME("\x94\x00\xcb\0\0\0\0\0\0\0\0\xa4ping\x80"),   /* msgid 0.0 */
        FRAME("\x94\x00\xcf\0\0\0\x01\0\0\0\0\xa4ping\x80"), /* msgid 2^32 */
        FRAME("\x94\x00\xc0\xa4ping\x80"),
        FRAME("\x94\x00\xa1"
              "1\xa4ping\x80"),
        FRAME("\x94\x00\x01\xc4\x04ping\x80"), /* the method as binary */
        FRAME("\x94\x00\x01\x05\x80"),
        FRAME("\x94\x00\x01\xc0\x80"),
        FRAME("\x93\x01\x05\xc0"), /* a response without result */
        FRAME("\x94\x01\xff\xc0\x80"),
        FRAME("\x94\x02\xa5"
              "error\x80\xc0"),
        FRAME("\x92\x02\xa5"
              "error"),
        FRAME("\x93\x02\x05\x80"),
        FRAME("\x94\x03\x01\xa4ping\x80"),
        FRAME("\x94\xff\x01\xa4ping\x80"),
        FRAME("\x94\xc2\x01\xa4ping\x80"),
        FRAME("\x94\xce\x01\x00\x00\x00\x01\xa4ping\x80"),   /* kind 2^24 */
        FRAME("\x94\xcf\0\0\0\x01\0\0\0\0\x01\xa4ping\x80"), /* kind 2^32 */
        FRAME("\x94\xa1"
              "0\x01\xa4ping\x80"),
    };

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        ck_assert_msg(!decode(frames[i].bytes, frames[i].size), "frame %zu", i);
        ck_assert_int_eq(error.code, ERROR_MALFORMED);
    }
}
END_TEST

START_TEST(test_envelope_leaves_params_of_another_type_to_the_decoder)
{
    struct ping_request request;

    ck_assert(DECODE("\x94\x00\x01\xa4ping\xc0"));
    ck_assert(!message_decode(&ping_request_type, envelope.params, true, &request, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_envelope_uses_its_memory_again)
{
    ck_assert(DECODE("\x94\x00\x01\xa4ping\x80"));
    size_t left = decoder.zone.chunk_list.free;

    for (int i = 0; i < 1000; i++) {
        ck_assert(DECODE("\x94\x00\x01\xa4ping\x80"));
        ck_assert_uint_eq(decoder.zone.chunk_list.free, left);
    }
}
END_TEST

/* ---- There and back -------------------------------------------------------------------------- */

START_TEST(test_envelope_request_round_trips_for_every_method)
{
    static const uint8_t empty[512];

    for (enum method method = 0; method < METHOD_COUNT; method++) {
        struct wire wire;
        ck_assert_uint_le(method_table[method].request->size, sizeof(empty));
        wire_init(&wire);
        ck_assert_int_eq(envelope_encode_request(&wire.buffer, method, method, empty), 0);
        wire_unpack(&wire);
        ck_assert(decode(wire.buffer.data, wire.buffer.size));
        ck_assert_int_eq(envelope.kind, ENVELOPE_REQUEST);
        ck_assert_uint_eq(envelope.msgid, method);
        check_method(method_table[method].name);
        wire_deinit(&wire);
    }
}
END_TEST

START_TEST(test_envelope_reply_round_trips)
{
    struct free_reply reply;
    struct wire wire;

    wire_init(&wire);
    ck_assert_int_eq(
        envelope_encode_reply(&wire.buffer, UINT32_MAX, METHOD_FREE, &(struct free_reply){12}), 0);
    wire_unpack(&wire);
    ck_assert(decode(wire.buffer.data, wire.buffer.size));
    ck_assert_int_eq(envelope.kind, ENVELOPE_RESPONSE);
    ck_assert_uint_eq(envelope.msgid, UINT32_MAX);
    ck_assert_int_eq(envelope.error->type, MSGPACK_OBJECT_NIL);
    ck_assert(message_decode(&free_reply_type, envelope.result, true, &reply, &error));
    ck_assert_uint_eq(reply.freed, 12);
    wire_deinit(&wire);
}
END_TEST

START_TEST(test_envelope_error_is_a_response_without_result)
{
    struct error sent;
    struct wire wire;

    error_set(&sent, ERROR_UNKNOWN_METHOD, "there is no method 'fly'");
    wire_init(&wire);
    ck_assert_int_eq(envelope_encode_error(&wire.buffer, 9, &sent), 0);
    wire_unpack(&wire);
    ck_assert(decode(wire.buffer.data, wire.buffer.size));
    ck_assert_int_eq(envelope.kind, ENVELOPE_RESPONSE);
    ck_assert_uint_eq(envelope.msgid, 9);
    ck_assert_int_eq(envelope.result->type, MSGPACK_OBJECT_NIL);
    ck_assert(envelope_decode_error(envelope.error, &error));
    ck_assert_int_eq(error.code, ERROR_UNKNOWN_METHOD);
    ck_assert_str_eq(error.message, sent.message);
    wire_deinit(&wire);
}
END_TEST

START_TEST(test_envelope_farewell_is_a_notification)
{
    struct error sent;
    struct wire wire;

    error_set(&sent, ERROR_MALFORMED, "no");
    wire_init(&wire);
    ck_assert_int_eq(envelope_encode_farewell(&wire.buffer, &sent), 0);
    wire_unpack(&wire);
    ck_assert(decode(wire.buffer.data, wire.buffer.size));
    ck_assert_int_eq(envelope.kind, ENVELOPE_NOTIFICATION);
    check_method("error");
    ck_assert(envelope_decode_error(envelope.params, &error));
    ck_assert_int_eq(error.code, ERROR_MALFORMED);
    wire_deinit(&wire);
}
END_TEST

START_TEST(test_envelope_frames_follow_each_other_in_one_buffer)
{
    struct wire wire;
    struct scan scan;

    wire_init(&wire);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(
            envelope_encode_reply(&wire.buffer, i, METHOD_FREE, &(struct free_reply){i}), 0);
    const uint8_t *data = (const uint8_t *)wire.buffer.data, *end = data + wire.buffer.size;
    for (uint32_t i = 0; i < 3; i++, data += scan.position) {
        scan_init(&scan);
        ck_assert_int_eq(scan_continue(&scan, data, (size_t)(end - data)), SCAN_DONE);
        ck_assert(decode(data, scan.position));
        ck_assert_uint_eq(envelope.msgid, i);
    }
    ck_assert_ptr_eq(data, end);
    wire_deinit(&wire);
}
END_TEST

/* ---- Errors ---------------------------------------------------------------------------------- */

/* The error map that these bytes are, decoded. */
static bool decode_error(const char *bytes, size_t size)
{
    uint8_t frame[512] = {0x94, 0x01, 0x07};

    memcpy(frame + 3, bytes, size);
    frame[3 + size] = 0xc0;
    ck_assert(decode(frame, size + 4));
    return envelope_decode_error(envelope.error, &error);
}

#define DECODE_ERROR(bytes) decode_error(bytes, sizeof(bytes) - 1)

START_TEST(test_envelope_error_of_a_newer_daemon_is_understood)
{
    ck_assert(DECODE_ERROR("\x85\xa4"
                           "code\xcd\x03\xe7\xa4name\xa3NEW\xa7message\xa2hm\xa6"
                           "detail"
                           "\x81\xa3"
                           "abc\x01\xa4more\xc0"));
    ck_assert_int_eq((int)error.code, 999);
    ck_assert_str_eq(error.message, "hm");
}
END_TEST

START_TEST(test_envelope_error_needs_no_detail)
{
    ck_assert(DECODE_ERROR("\x83\xa4"
                           "code\x28\xa4name\xaePOOL_EXHAUSTED\xa7message\xa2no"));
    ck_assert_int_eq(error.code, ERROR_POOL_EXHAUSTED);
    ck_assert_uint_eq(error.capacity, 0);
}
END_TEST

START_TEST(test_envelope_error_passes_over_unknown_detail)
{
    ck_assert(DECODE_ERROR("\x84\xa4"
                           "code\x07\xa4name\xa1x\xa7message\xa1y\xa6"
                           "detail\x82\xa3max\x05"
                           "\xa3new\xc0"));
    ck_assert_uint_eq(error.max, 5);
}
END_TEST

START_TEST(test_envelope_error_that_is_none_is_refused_and_touches_nothing)
{
    error_set(&error, ERROR_TIMEOUT, "before");
    struct error before = error;
    static const struct {
        const char *bytes;
        size_t size;
    } maps[] = {
        FRAME("\xa4oops"),
        FRAME("\x05"),
        FRAME("\x80"),
        FRAME("\x81\xa4"
              "code\x05"),
        FRAME("\x83\xa4"
              "code\xff\xa4name\xa1x\xa7message\xa1y"),
        FRAME("\x83\xa4"
              "code\x00\xa4name\xa1x\xa7message\xa1y"), /* 0 is success */
        FRAME("\x83\xa4"
              "code\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa4name\xa1x\xa7message\xa1y"),
        FRAME("\x83\xa4"
              "code\x07\xa4name\xa1x\xa7message\x05"),
        FRAME("\x84\xa4"
              "code\x07\xa4name\xa1x\xa7message\xa1y\xa6"
              "detail\x05"),
        FRAME("\x84\xa4"
              "code\x07\xa4name\xa1x\xa7message\xa1y\xa6"
              "detail\x80"),
        FRAME("\x84\xa4"
              "code\x07\xa4name\xa1x\xa7message\xa1y\xa6"
              "detail\x81\xa3max\xa1z"),
    };

    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        uint8_t frame[512] = {0x94, 0x01, 0x07};
        struct error ignored;
        memcpy(frame + 3, maps[i].bytes, maps[i].size);
        frame[3 + maps[i].size] = 0xc0;
        ck_assert(envelope_decode(&decoder, frame, maps[i].size + 4, &envelope, &ignored));
        ck_assert_msg(!envelope_decode_error(envelope.error, &error), "map %zu", i);
        ck_assert_mem_eq(&error, &before, sizeof(before));
    }
}
END_TEST

/* ---- Without memory -------------------------------------------------------------------------- */

/* The sanitizers need address space for themselves, and end without it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITHOUT_MEMORY
#else
#define WITHOUT_MEMORY                                                                             \
    test_envelope_decode_without_memory_says_so_and_works_again,                                   \
        test_envelope_encode_without_memory_leaves_the_buffer_as_it_was,

/* From now on this process gets no more address space, or again all that it wants. */
static void limit_memory(bool limited)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = limited ? 4096 : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

START_TEST(test_envelope_decode_without_memory_says_so_and_works_again)
{
    static uint8_t message[SCAN_MESSAGE_MAX] = "\x94\x00\x01\xa4ping\xdc\xff\x00";

    /* 65280 numbers, for which msgpack-c needs 1.5 MB. */
    limit_memory(true);
    bool decoded = decode(message, 11 + 0xff00);
    limit_memory(false);
    ck_assert(!decoded);
    ck_assert_int_eq(error.code, ERROR_OUT_OF_MEMORY);
    ck_assert(decode(message, 11 + 0xff00));
    ck_assert_uint_eq(envelope.params->via.array.size, 0xff00);
}
END_TEST

START_TEST(test_envelope_encode_without_memory_leaves_the_buffer_as_it_was)
{
    const size_t size = (size_t)8 << 20;
    msgpack_sbuffer buffer = {.size = size - 10, .data = malloc(size), .alloc = size};
    struct error sent;

    ck_assert_ptr_nonnull(buffer.data);
    memset(buffer.data, 'x', size);
    error_set(&sent, ERROR_MALFORMED, "longer than what is left");

    /* The frame's first bytes fit, its last don't. */
    limit_memory(true);
    int results[] = {
        envelope_encode_request(&buffer, 1, METHOD_STATS, &(struct stats_request){"frames"}),
        envelope_encode_reply(&buffer, 1, METHOD_PING, &(struct ping_reply){.pid = 1}),
        envelope_encode_error(&buffer, 1, &sent),
        envelope_encode_farewell(&buffer, &sent),
    };
    limit_memory(false);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(results[i], -ENOMEM);
    ck_assert_uint_eq(buffer.size, size - 10);
    ck_assert_int_eq(envelope_encode_error(&buffer, 1, &sent), 0);
    ck_assert(decode(buffer.data + size - 10, buffer.size - (size - 10)));
    msgpack_sbuffer_destroy(&buffer);
}
END_TEST
#endif

SUITE_MAIN_WITH("envelope", setup, teardown, test_envelope_decodes_a_request,
                test_envelope_decodes_a_response, test_envelope_decodes_a_notification,
                test_envelope_takes_an_empty_method, test_envelope_refuses_what_is_no_frame,
                test_envelope_leaves_params_of_another_type_to_the_decoder,
                test_envelope_uses_its_memory_again,
                test_envelope_request_round_trips_for_every_method, test_envelope_reply_round_trips,
                test_envelope_error_is_a_response_without_result,
                test_envelope_farewell_is_a_notification,
                test_envelope_frames_follow_each_other_in_one_buffer,
                test_envelope_error_of_a_newer_daemon_is_understood,
                test_envelope_error_needs_no_detail, test_envelope_error_passes_over_unknown_detail,
                WITHOUT_MEMORY test_envelope_error_that_is_none_is_refused_and_touches_nothing)
